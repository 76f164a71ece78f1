//! `picnic serve`: a model over HTTP until Ctrl-C.

use crate::load::{self, Forms, Loaded, NANO, TemplateVariables};
use crate::output::line;
use anyhow::{Context, Result};
use picnic_server::{Limits, Served};
use std::net::IpAddr;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

/// Keys and values of all requests together.
const CACHE_BYTES: usize = 1 << 30;

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
    template: TemplateVariables,
}

/// Loads the model, then listens. The first Ctrl-C lets answers under way end, a second does not.
pub fn run(args: ServeArgs) -> Result<()> {
    let Loaded { name, model, ops, chat } = load::load(&args.model, args.forms.weights())?;
    let chat = chat.with_variables(args.template.map());
    if let Err(error) = chat.template() {
        eprintln!("note: conversations will be refused: {error}");
    }
    let limits = Limits::new(&ops, model.model(), args.forms.cache(), CACHE_BYTES);
    let served = Served { name, model, ops, chat, limits };
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads: close other programs and try again")?;
    runtime.block_on(async {
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
            ctrl_c().await?;
            eprintln!("finishing the answers under way; Ctrl-C again to drop them");
            let _ = stop.send(());
            ctrl_c().await
        };
        tokio::select! {
            ended = server => Ok(ended?),
            signal = interrupted => signal.context("cannot listen for Ctrl-C"),
        }
    })
}
