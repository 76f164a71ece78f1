//! `--cache-dir` and `--cache-disk`: a folder in which pages of the cache outlast the program.

use picnic_engine::{DiskCache, DiskSettings};
use picnic_model::WeightForm;
use std::io::Write;
use std::path::PathBuf;

/// Where pages of the cache are kept, as typed.
#[derive(clap::Args, Clone)]
pub struct DiskOptions {
    /// Keep what the model has read in this folder, so that a conversation is not read again after a restart. Whoever can
    /// read the folder can learn what was said; it is made for its owner alone
    #[arg(long, value_name = "FOLDER")]
    cache_dir: Option<PathBuf>,
    /// Disk space that --cache-dir may take, such as 8GiB or 500MB; what was not used for the longest time is deleted
    /// first
    #[arg(long, value_name = "SIZE", default_value = "8GiB", requires = "cache_dir", value_parser = size)]
    cache_disk: u64,
}

impl DiskOptions {
    /// Whether a folder was named.
    pub fn is_wanted(&self) -> bool {
        self.cache_dir.is_some()
    }

    /// The same in a folder of this name below it.
    pub fn below(&self, name: &str) -> DiskOptions {
        DiskOptions { cache_dir: self.cache_dir.as_ref().map(|folder| folder.join(name)), ..self.clone() }
    }

    /// The folder, for weights of this fingerprint that are multiplied in this form. `None` without one, or if it cannot be
    /// used: then a note says why, and everything works without it.
    pub fn open(&self, weights: [u8; 32], form: WeightForm) -> Option<DiskCache> {
        let folder = self.cache_dir.clone()?;
        let opened = DiskCache::open(DiskSettings { folder, bytes: self.cache_disk, weights, form }, note);
        opened.inspect_err(|error| note(&format!("there is no cache on disk: {error}"))).ok()
    }
}

/// Tells a person; a closed standard error is no reason to stop.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "note: {line}");
}

/// Bytes of a size with a unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "give a number and a unit, as in 8GiB or 500MB".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => f64::from(1 << 10),
        "m" | "mib" => f64::from(1 << 20),
        "g" | "gib" => f64::from(1 << 30),
        "t" | "tib" => f64::from(1 << 30) * 1024.0,
        _ => return Err(wrong()),
    };
    Ok((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("8GiB", 8 << 30),
            ("1.5 MiB", 3 << 19),
            ("500MB", 500_000_000),
            ("2g", 2 << 30),
            ("7", 7),
            ("0b", 0),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "8 gigs", "-1GiB", "1.2.3MB", "NaN", "inf", "8GiBs"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
