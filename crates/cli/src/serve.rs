//! `picnic serve`: models over HTTP until Ctrl-C or SIGTERM.

use crate::disk::DiskOptions;
use crate::load::{self, Forms, Loaded, NANO, TemplateVariables};
use crate::output::line;
use anyhow::{Context, Result, anyhow};
use picnic_engine::DiskWriter;
use picnic_keys::Keys;
use picnic_server::{Hosted, House, Limits, Listed, Served, Server, Settings};
use picnic_train::place;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

/// Keys and values of all requests together.
const CACHE_BYTES: usize = 1 << 30;

/// Responses that `--store-responses` keeps.
const STORED_BYTES: usize = 64 << 20;

/// How long the end waits until what was read is on disk.
const WRITING: Duration = Duration::from_secs(5);

/// What was typed.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// A Hugging Face folder, a GGUF file, `nano`, or a folder with several models, each loaded when it is asked for
    #[arg(default_value = NANO)]
    model: String,
    /// Port to listen on; 0 for any that is free
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Another name for a model, such as gpt-4o=nano; may be given more than once
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = alias)]
    aliases: Vec<(String, String)>,
    /// Memory that the models of a folder may take together, such as 8GiB; those not used for the longest time are unloaded
    /// first. By default three quarters of what the machine has
    #[arg(long, value_name = "SIZE", value_parser = crate::disk::size)]
    memory: Option<u64>,
    /// An origin whose pages may use the server from a browser, such as http://localhost:3000, or * for all; may be given more
    /// than once. Pages of this machine may always use a server on loopback
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Write a line of JSON to standard error for every request
    #[arg(long)]
    log: bool,
    /// Answer only those who have a key of `picnic keys`, on loopback too; on any other address this is so by itself
    #[arg(long)]
    require_keys: bool,
    /// Answer whoever reaches another address than loopback, without keys
    #[arg(long, conflicts_with = "require_keys")]
    without_keys: bool,
    /// The file of keys; by default that of `picnic keys`
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Keep the latest responses of /v1/responses in memory, 64 MiB of them, so that a request can go on from one by
    /// `previous_response_id`. They are gone when the server ends
    #[arg(long)]
    store_responses: bool,
    #[command(flatten)]
    forms: Forms,
    #[command(flatten)]
    disk: DiskOptions,
    #[command(flatten)]
    template: TemplateVariables,
}

fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => Ok((name.to_owned(), model.to_owned())),
        _ => Err("give a name and the model that it stands for, as in gpt-4o=nano".to_owned()),
    }
}

/// Listens, and loads the first model. The first Ctrl-C or SIGTERM lets answers under way end, a second does not.
pub fn run(args: ServeArgs) -> Result<()> {
    let writers = Writers::default();
    let models = models(&args, &writers)?;
    let only = (models.len() == 1).then(|| models[0].name.clone());
    let shown = only.clone().unwrap_or_else(|| format!("a folder of {} models", models.len()));
    let aliases: BTreeMap<String, String> = args.aliases.iter().cloned().collect();
    let house = House::new(models, aliases, args.memory.unwrap_or_else(three_quarters))?;
    let (host, port) = (args.host, args.port);
    let settings = Settings {
        keys: keys(&args)?,
        is_loopback: host.is_loopback(),
        origins: args.origins.clone(),
        connections: connections(),
        logs: args.log,
        stored_bytes: if args.store_responses { STORED_BYTES } else { 0 },
        ..Settings::default()
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads: close other programs and try again")?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::bind((host, port))
            .await
            .with_context(|| format!("cannot listen on {host} port {port}: choose another with --port"))?;
        let address = listener.local_addr()?;
        if !host.is_loopback() && args.without_keys {
            eprintln!("note: whoever reaches {address} can use the model");
        }
        let server = Server::new(house, settings);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = server.serve(listener, async {
            let _ = stopped.await;
        });
        let interrupted = async {
            interruption().await?;
            eprintln!("finishing the answers under way; once more to drop them");
            let _ = stop.send(());
            interruption().await
        };
        let ready = async {
            // A folder's models are loaded when they are asked for.
            if only.is_some() {
                server.load().await.map_err(|problem| anyhow!(problem))?;
            }
            line(format_args!("{shown} is served on http://{address}/v1"))?;
            std::future::pending().await
        };
        tokio::select! {
            ended = serving => Ok(ended?),
            signal = interrupted => signal.context("cannot listen for signals"),
            failed = ready => failed,
        }
    });
    for writer in writers.lock().unwrap_or_else(PoisonError::into_inner).values() {
        writer.wait(WRITING);
    }
    // A model that is being loaded would be waited for.
    runtime.shutdown_background();
    ended
}

/// Those who write the caches of loaded models to disk.
type Writers = Arc<Mutex<BTreeMap<String, DiskWriter>>>;

/// The models that `args` name.
fn models(args: &ServeArgs, writers: &Writers) -> Result<Vec<Listed>> {
    let folder = Path::new(&args.model);
    let several = if args.model == NANO { Vec::new() } else { place::models_of(folder) };
    let is_one = several.is_empty();
    let named: Vec<(String, PathBuf)> = match is_one {
        true => vec![(place::Place::name_of(folder)?, folder.to_owned())],
        false => several,
    };
    let listed = named.into_iter().map(|(name, path)| {
        // A folder of pages is one model's.
        let disk = if is_one { args.disk.clone() } else { args.disk.below(&name) };
        let (forms, template) = (args.forms, args.template.map());
        let (named, writers) = (name.clone(), Arc::clone(writers));
        let bytes = place::bytes(&path).saturating_add(CACHE_BYTES as u64);
        let load = move || {
            let hosted = || {
                // That of the same model before it was unloaded still holds the folder.
                writers.lock().unwrap_or_else(PoisonError::into_inner).remove(&named);
                let (loaded, disk) = load::load_with_disk(&path.to_string_lossy(), forms.weights(), &disk)?;
                let Loaded { model, ops, chat, .. } = loaded;
                let chat = chat.with_variables(template.clone());
                if let Err(error) = chat.template() {
                    eprintln!("note: conversations with {named} will be refused: {error}");
                }
                let limits = Limits::new(&ops, model.model(), forms.cache(), CACHE_BYTES);
                if let Some(disk) = &disk {
                    writers.lock().unwrap_or_else(PoisonError::into_inner).insert(named.clone(), disk.writer());
                }
                anyhow::Ok(Hosted::new(Served { name: named.clone(), model, ops, chat, limits, disk })?)
            };
            hosted().map_err(|error| format!("{error:#}"))
        };
        Listed { name, bytes, load: Arc::new(load) }
    });
    Ok(listed.collect())
}

/// The keys of those who may use the server, if it asks for any.
fn keys(args: &ServeArgs) -> Result<Option<Arc<Keys>>> {
    if !args.require_keys && (args.host.is_loopback() || args.without_keys) {
        return Ok(None);
    }
    let file = args.keys.clone().map_or_else(crate::keys::default_file, Ok)?;
    let keys = Keys::open(&file)?;
    if keys.list()?.iter().all(|key| key.revoked.is_some()) {
        let by = if args.keys.is_some() { format!(" --file {}", file.display()) } else { String::new() };
        return Err(anyhow!(
            "on {} only those with a key are answered, and there is no key: make one by `picnic keys create NAME{by}`, or add \
             --without-keys",
            args.host
        ));
    }
    Ok(Some(Arc::new(keys)))
}

/// Connections that the system has file descriptors for, after asking it for as many as it gives.
fn connections() -> usize {
    /// For files, the database of keys, and whatever else is open.
    const OTHERS: u64 = 128;
    const MOST: u64 = 8192;
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let wanted = limit.maximum.unwrap_or(MOST + OTHERS).min(MOST + OTHERS).max(limit.current.unwrap_or(0));
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok();
        let there = if raised { wanted } else { limit.current.unwrap_or(MOST) };
        there.saturating_sub(OTHERS).clamp(16, MOST) as usize
    }
    #[cfg(not(unix))]
    {
        MOST as usize
    }
}

/// Bytes of three quarters of the memory that there is for this program; no bound where that cannot be told.
fn three_quarters() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else { return u64::MAX };
    system.refresh_memory();
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    system.total_memory().min(limit) / 4 * 3
}

/// Resolves when somebody wants the program to end.
async fn interruption() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    ctrl_c().await
}
