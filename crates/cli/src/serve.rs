//! `picnic serve`: a model over HTTP until Ctrl-C or SIGTERM.

use crate::disk::DiskOptions;
use crate::load::{self, Forms, Loaded, NANO, TemplateVariables};
use crate::output::line;
use anyhow::{Context, Result};
use picnic_engine::DiskCache;
use picnic_server::{Limits, Served};
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

/// Keys and values of all requests together.
const CACHE_BYTES: usize = 1 << 30;

/// How long the end waits until what was read is on disk.
const WRITING: Duration = Duration::from_secs(5);

/// What was typed.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    #[arg(default_value = NANO)]
    model: String,
    /// Port to listen on; 0 for any that is free
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    #[command(flatten)]
    forms: Forms,
    #[command(flatten)]
    disk: DiskOptions,
    #[command(flatten)]
    template: TemplateVariables,
}

/// Loads the model, then listens. The first Ctrl-C or SIGTERM lets answers under way end, a second does not.
pub fn run(args: ServeArgs) -> Result<()> {
    let (loaded, disk) = load::load_with_disk(&args.model, args.forms.weights(), &args.disk)?;
    let Loaded { name, model, ops, chat } = loaded;
    let chat = chat.with_variables(args.template.map());
    if let Err(error) = chat.template() {
        eprintln!("note: conversations will be refused: {error}");
    }
    let limits = Limits::new(&ops, model.model(), args.forms.cache(), CACHE_BYTES);
    let writer = disk.as_ref().map(DiskCache::writer);
    let served = Served { name, model, ops, chat, limits, disk };
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads: close other programs and try again")?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::bind((args.host, args.port)).await.with_context(|| {
            format!("cannot listen on {} port {}: choose another with --port", args.host, args.port)
        })?;
        let (name, address) = (served.name.clone(), listener.local_addr()?);
        if !args.host.is_loopback() {
            eprintln!("note: whoever reaches {address} can use the model; there are no keys");
        }
        line(format_args!("{name} is served on http://{address}/v1"))?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let server = picnic_server::serve(served, listener, async {
            let _ = stopped.await;
        });
        let interrupted = async {
            told_to_end().await?;
            eprintln!("finishing the answers under way; Ctrl-C again to drop them");
            let _ = stop.send(());
            told_to_end().await
        };
        tokio::select! {
            ended = server => Ok(ended?),
            signal = interrupted => signal.context("cannot listen for signals"),
        }
    });
    if let Some(writer) = writer {
        writer.wait(WRITING);
    }
    ended
}

/// Waits for Ctrl-C, or for SIGTERM, by which service managers and containers end a program. As the first process of a
/// container the program would not even get a SIGTERM that nobody waits for.
async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    ctrl_c().await
}
