//! `picnic parity DIR`: our numbers beside another implementation's.

use crate::output::line;
use anyhow::{Context, Result, bail};
use clap::Args;
use picnic_model::backend;
use picnic_train::parity::{GRADS_TOLERANCE, LOGITS_TOLERANCE, parity};
use safetensors::tensor::{Dtype, TensorView};
use std::path::PathBuf;

/// Arguments of `picnic parity`.
#[derive(Args)]
pub struct ParityArgs {
    /// Folder with a checkpoint, golden.safetensors and golden_grads.safetensors
    dir: PathBuf,
    /// Write our logits, logits_long and greedy to this safetensors file
    #[arg(long)]
    out: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, value_parser = crate::train::threads)]
    threads: Option<usize>,
}

/// Compares, prints, and fails unless everything is within tolerance.
pub fn run(args: &ParityArgs) -> Result<()> {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let ops = backend::with_threads(threads)?;
    let (ours, differences) = parity(&ops, &args.dir)?;
    let logits = |name: &str, difference: f64| {
        line(format_args!("{name:<12} {difference:.2e}  (at most {LOGITS_TOLERANCE:.0e})"))
    };
    let lacks = |name: &str| line(format_args!("{name:<12} not in this folder"));
    logits("logits", differences.logits)?;
    match differences.logits_long {
        Some(difference) => logits("logits_long", difference)?,
        None => lacks("logits_long")?,
    }
    match differences.greedy {
        Some(differ) => line(format_args!("{:<12} {differ} of {} tokens differ", "greedy", ours.greedy.len()))?,
        None => lacks("greedy")?,
    }
    match differences.loss {
        Some(difference) => line(format_args!(
            "{:<12} {difference:.2e}  (at most {LOGITS_TOLERANCE:.0e}), ours {:.6}",
            "loss", ours.loss
        ))?,
        None => lacks("loss")?,
    }
    match differences.grads.clone() {
        Some(mut grads) => {
            grads.sort_by(|a, b| b.1.total_cmp(&a.1));
            let (count, most) = (grads.len(), format!("{GRADS_TOLERANCE:.0e}"));
            line(format_args!("gradients    {count} tensors, each over its largest entry (at most {most}):"))?;
            for (name, difference) in grads.iter().take(5) {
                line(format_args!("  {difference:.2e}  {name}"))?;
            }
        }
        None => lacks("gradients")?,
    }
    if let Some(path) = &args.out {
        let greedy: Vec<u8> = ours.greedy.iter().flat_map(|id| id.to_le_bytes()).collect();
        let [logits, long] =
            [&ours.logits, &ours.logits_long].map(|x| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        let tensors = [
            ("logits", TensorView::new(Dtype::F32, ours.logits_shape.clone(), &logits)?),
            ("logits_long", TensorView::new(Dtype::F32, ours.logits_long_shape.clone(), &long)?),
            ("greedy", TensorView::new(Dtype::I64, vec![1, ours.greedy.len()], &greedy)?),
        ];
        safetensors::serialize_to_file(tensors, None, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !differences.within() {
        bail!("{}: the differences are larger than rounding explains", args.dir.display());
    }
    Ok(())
}
