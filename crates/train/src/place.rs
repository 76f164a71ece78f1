//! Where a model is that somebody names: a Hugging Face folder, a GGUF file, or `nano`, the built-in model. A name that
//! is none of these is answered with the models that there are.

use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The name of the built-in model. A folder of that name is `./nano`.
pub const NANO: &str = "nano";

/// Names in an answer at most.
const MAX_SHOWN: usize = 6;
/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 1000;

/// Where a model is.
pub struct Place {
    /// Its folder or file.
    pub path: PathBuf,
    /// What to call it: the name of its folder or file.
    pub name: String,
    /// Keeps the built-in model's files, which go with this.
    _unpacked: Option<TempDir>,
}

impl Place {
    /// What `model` is called, without unpacking it.
    ///
    /// # Errors
    /// [`Error::NoModel`] if there is nothing of that name.
    pub fn name_of(model: &Path) -> Result<String, Error> {
        missing(model).map_or_else(|| Ok(name(model)), Err)
    }

    /// Where `model` is; the built-in one is unpacked.
    ///
    /// # Errors
    /// [`Error::NoModel`] if there is nothing of that name; no room for the built-in model's files.
    pub fn of(model: &Path) -> Result<Place, Error> {
        if let Some(error) = missing(model) {
            return Err(error);
        }
        if model != Path::new(NANO) {
            return Ok(Place { path: model.to_owned(), name: name(model), _unpacked: None });
        }
        // One way of reading a model: from its folder.
        let unpacking = |source| Error::Io {
            path: std::env::temp_dir(),
            source,
            cure: "the built-in model is unpacked there: make room for temporary files",
        };
        let folder = tempfile::tempdir().map_err(unpacking)?;
        for (name, bytes) in BUILT_IN.into_iter().flatten() {
            fs::write(folder.path().join(name), bytes).map_err(unpacking)?;
        }
        Ok(Place { path: folder.path().to_owned(), name: NANO.to_owned(), _unpacked: Some(folder) })
    }
}

/// What the model at `path` is called: the name of its folder or file.
fn name(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The models of a folder that holds several, each with its path below the folder for its name; none if the folder is a model
/// itself.
pub fn models_of(folder: &Path) -> Vec<(String, PathBuf)> {
    if !folder.is_dir() || is_described(folder) {
        return Vec::new();
    }
    let mut models: Vec<(String, PathBuf)> = models_in(folder, 2)
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let below = if path.is_dir() { below.to_owned() } else { below.with_extension("") };
            (below.to_string_lossy().replace('\\', "/"), path)
        })
        .collect();
    models.sort();
    models
}

/// Bytes of the weights of the model at `path`, by the sizes of its files.
pub fn bytes(path: &Path) -> u64 {
    if path == Path::new(NANO) {
        return BUILT_IN.into_iter().flatten().map(|(_, bytes)| bytes.len() as u64).sum();
    }
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    match path.is_dir() {
        false => size(path),
        true => fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
            .map(|path| size(&path))
            .sum(),
    }
}

/// Whether `path` is the folder of a model or of an adapter.
fn is_described(path: &Path) -> bool {
    ["config.json", "adapter_config.json"].iter().any(|file| path.join(file).exists())
}

/// The files of the built-in model's folder.
type Files = [(&'static str, &'static [u8]); 5];

#[cfg(nano)]
const BUILT_IN: Option<Files> = {
    macro_rules! file {
        ($name:literal) => {
            ($name, include_bytes!(concat!("../../../models/nano/", $name)))
        };
    }
    Some([
        file!("config.json"),
        file!("generation_config.json"),
        file!("model.safetensors"),
        file!("tokenizer.json"),
        file!("tokenizer_config.json"),
    ])
};
#[cfg(not(nano))]
const BUILT_IN: Option<Files> = None;

/// Whether the model `nano` is built in.
pub const HAS_NANO: bool = BUILT_IN.is_some();

/// The error of a name under which there is no model: nothing, or a folder that only holds folders with models.
pub(crate) fn missing(asked: &Path) -> Option<Error> {
    if asked == Path::new(NANO) {
        let gone = || Error::NoModel {
            problem: "this build has no built-in model".to_owned(),
            known: "name a Hugging Face folder or a GGUF file".to_owned(),
        };
        return BUILT_IN.is_none().then(gone);
    }
    let below = if asked.is_dir() && !is_described(asked) { models_in(asked, 2) } else { Vec::new() };
    let asked_name = format!("{:?}", asked.display().to_string());
    let problem = match (asked.exists(), below.is_empty()) {
        (true, true) => return None,
        (true, false) => format!("{asked_name} is a folder without a model of its own"),
        (false, _) => format!("there is no model {asked_name}"),
    };
    Some(Error::NoModel { problem, known: known(asked, below, Path::new("runs")) })
}

/// The models that may have been meant, nearest first: those `below` the folder that was asked for or beside the name,
/// what finished in the folder `runs`, and the built-in one.
fn known(asked: &Path, below: Vec<PathBuf>, runs: &Path) -> String {
    let mut paths = below;
    if paths.is_empty() {
        // A name alone has the empty path as its parent.
        let beside = asked.parent().filter(|parent| !parent.as_os_str().is_empty());
        paths.extend(models_in(beside.unwrap_or(Path::new(".")), 1));
    }
    paths.extend(models_in(runs, 2));
    let mut names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.sort_unstable();
    names.dedup();
    let nearness = |name: &str| {
        let last = |path: &str| Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let asked = asked.display().to_string();
        strsim::jaro_winkler(&asked, name).max(strsim::jaro_winkler(&last(&asked), &last(name)))
    };
    names.sort_by(|a, b| nearness(b).total_cmp(&nearness(a)));
    let more = names.len().saturating_sub(MAX_SHOWN);
    names.truncate(MAX_SHOWN);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    if BUILT_IN.is_some() {
        names.push(format!("{NANO} (built in)"));
    }
    match names.len() {
        0 => "make one by `picnic r1`, or name a Hugging Face folder or a GGUF file".to_owned(),
        1 => format!("there is {}", names[0]),
        _ => format!("there are {}", names.join(", ")),
    }
}

/// The models in `folder`, and in its folders down to `depth`. A stage that is not finished has none: its checkpoints
/// are not looked at.
fn models_in(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let mut models = Vec::new();
    for entry in entries {
        // `./name` is `name`.
        let path = if folder == Path::new(".") { entry.file_name().into() } else { entry.path() };
        let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        let weights = ["model.safetensors", "model.safetensors.index.json"];
        let is_folder = path.join("config.json").exists() && weights.iter().any(|file| path.join(file).exists());
        if is_folder || is_gguf && path.is_file() {
            models.push(path);
        } else if depth > 1 && path.is_dir() {
            models.extend(models_in(&path, depth - 1));
        }
    }
    models
}

#[cfg(all(test, nano))]
mod tests {
    use super::*;

    /// A folder with runs: a finished chain, a stage that is under way, and a GGUF file.
    fn runs() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, files) in [
            ("runs/tiny/base", &["config.json", "model.safetensors"][..]),
            ("runs/tiny/rl", &["config.json", "model.safetensors"]),
            ("runs/tiny/sft/checkpoints/step-00000002", &["config.json", "model.safetensors"]),
            ("runs/large", &["config.json", "model.safetensors.index.json"]),
            ("runs/files", &["tiny.gguf", "notes.txt"]),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|file| fs::write(path.join(file), "").unwrap());
        }
        folder
    }

    #[test]
    fn the_nearest_name_comes_first_and_unfinished_stages_not_at_all() {
        let folder = runs();
        let runs = folder.path().join("runs");
        let shown = |asked: &Path| known(asked, Vec::new(), &runs).replace(&format!("{}/", runs.display()), "");
        assert_eq!(
            shown(&runs.join("tiny/rll")),
            "there are tiny/rl, tiny/base, large, files/tiny.gguf, nano (built in)"
        );
        assert!(shown(Path::new("elsewhere/base")).starts_with("there are tiny/base, "));
        assert!(shown(Path::new("lagre")).starts_with("there are large, "));
    }

    #[test]
    fn what_is_there_is_not_missing() {
        let folder = runs();
        let at = |path: &str| missing(&folder.path().join(path)).map(|error| error.to_string());
        assert_eq!(at("runs/tiny/rl"), None);
        assert_eq!(at("runs/files/tiny.gguf"), None);
        assert_eq!(at("runs/tiny/sft/checkpoints/step-00000002"), None);
        let error = at("runs/tiny").unwrap();
        assert!(error.contains("without a model of its own") && error.contains("tiny/rl"), "{error}");
        assert!(at("runs/tiny/rll").unwrap().contains("there is no model"));
    }

    #[test]
    fn many_models_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        (0..20).for_each(|i| fs::write(folder.path().join(format!("{i}.gguf")), "").unwrap());
        let error = missing(&folder.path().join("x.gguf")).unwrap().to_string();
        assert!(error.contains("14 more, nano (built in)") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn the_built_in_model_is_unpacked_and_goes_again() {
        let place = Place::of(Path::new(NANO)).unwrap();
        assert_eq!(place.name, "nano");
        let path = place.path.clone();
        assert!(path.join("model.safetensors").exists());
        drop(place);
        assert!(!path.exists());
    }
}
