//! `picnic report`: the page of a run again, or several runs side by side.

use crate::output::line;
use anyhow::{Result, bail};
use clap::Args;
use picnic_train::report;
use std::path::PathBuf;

/// Arguments of `picnic report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Folders of finished runs
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
}

/// Writes the page.
pub fn run(args: &ReportArgs) -> Result<()> {
    let [dir] = &args.runs[..] else { bail!("name one folder") };
    let page = dir.join("report.html");
    report::write_page(&page, &report::page(&report::read(dir)?))?;
    line(format_args!("report: {}", page.display()))
}
