//! A report on disk: `report.json` and `report.html` in the folder of the run.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Report, page};

/// Why a report could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is none, or it is none of ours.
    #[error("{path}: {problem}; name the folder of a run that picnic r1 or one of its stages has finished")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system refused.
    #[error("cannot write {path}: {source}; check free space and permissions, then write it again")]
    Write {
        /// The file or folder in question.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The report has no JSON form.
    #[error("cannot turn the report into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes `report.json` and `report.html` into `dir`, making the folder if it is missing.
///
/// Each file is written beside its place and renamed into it, so a reader sees the old or the new
/// report and never half of one.
///
/// # Errors
/// [`ReportError::Write`] names the file when the disk is full or the folder cannot be written.
pub fn write(dir: &Path, report: &Report) -> Result<(), ReportError> {
    fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_owned(), source })?;
    let mut json = serde_json::to_string(report)?;
    json.push('\n');
    replace_file(&dir.join("report.json"), json.as_bytes())?;
    replace_file(&dir.join("report.html"), page(report, dir).as_bytes())
}

/// Reads `report.json` in `dir`.
///
/// # Errors
/// [`ReportError::Read`] if there is no such file, or none that is a report.
pub fn read(dir: &Path) -> Result<Report, ReportError> {
    let path = dir.join("report.json");
    let bad = |problem: String| ReportError::Read { path: path.clone(), problem };
    let text = fs::read(&path).map_err(|e| bad(format!("cannot read a report here ({e})")))?;
    serde_json::from_slice(&text).map_err(|e| bad(format!("is no whole report ({e})")))
}

/// Writes a page beside its place and renames it.
///
/// # Errors
/// [`ReportError::Write`] if the file system refuses.
pub fn write_page(path: &Path, page: &str) -> Result<(), ReportError> {
    replace_file(path, page.as_bytes())
}

fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let temporary = path.with_added_extension("tmp");
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The write has failed already; a leftover temporary file is the lesser news.
        let _ = fs::remove_file(&temporary);
        ReportError::Write { path: path.to_owned(), source }
    })
}
