//! What is not read here, recognised by what it is: quantised formats, adapters, other containers, pages saved instead
//! of files. Each refusal says what was found and what to do; without it a user would hear of a missing tensor.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::error::{CheckpointError, quoted};

/// What to do with weights that some tool quantised for a GPU.
const UNQUANTISED: &str = "use the model that it was made from, or a GGUF file of it (Q8_0, Q4_K_M, …)";

/// An error if `config`, the content of `config.json`, says that the weights are quantised in a way that is not read.
pub(super) fn by_config(path: &Path, config: &Value) -> Option<CheckpointError> {
    for key in ["quantization_config", "compression_config", "quantization"] {
        let section = match config.get(key) {
            None | Some(Value::Null) => continue,
            Some(section) => section,
        };
        let method = section.get("quant_method").and_then(Value::as_str);
        // MLX writes group_size and bits alone, and the same under either key.
        if key == "quantization" || method.is_none() && section.get("group_size").is_some() {
            return Some(mlx(path));
        }
        let what = match method {
            // The latter two with E4M3 weights have their factors as the former has.
            Some("fp8" | "fbgemm_fp8") => continue,
            Some("compressed-tensors") if section.get("format").and_then(Value::as_str) == Some("float-quantized") => {
                continue;
            }
            Some("gptq" | "marlin") => "holds weights quantised by GPTQ".to_owned(),
            Some("awq") => "holds weights quantised by AWQ".to_owned(),
            Some("bitsandbytes") => {
                let bits = if section.get("load_in_8bit") == Some(&Value::Bool(true)) { 8 } else { 4 };
                format!("holds weights quantised by bitsandbytes in {bits} bits")
            }
            Some("hqq") => "holds weights quantised by HQQ".to_owned(),
            Some("compressed-tensors") => "holds weights in the format compressed-tensors".to_owned(),
            Some(other) => format!("holds weights quantised by {}, which is not known here", quoted(other)),
            None if section.get("load_in_4bit") == Some(&Value::Bool(true)) => {
                "holds weights quantised by bitsandbytes in 4 bits".to_owned()
            }
            None if section.get("load_in_8bit") == Some(&Value::Bool(true)) => {
                "holds weights quantised by bitsandbytes in 8 bits".to_owned()
            }
            None => format!("has a `{key}` of an unknown kind"),
        };
        return Some(CheckpointError::refused(path, what, UNQUANTISED));
    }
    None
}

/// An error if the names of the tensors show a quantised format or an adapter, as they do where `config.json` is silent.
pub(super) fn by_names<'a>(path: &Path, names: impl Iterator<Item = &'a str> + Clone) -> Option<CheckpointError> {
    let any = |ends: &[&str]| names.clone().any(|name| ends.iter().any(|end| name.ends_with(end)));
    let what = if any(&[".lora_A.weight", ".lora_B.weight", ".lora_A.default.weight", ".lora_A", ".lora_embedding_A"]) {
        return Some(adapter(path));
    } else if any(&[".scales"]) && any(&[".biases"]) {
        return Some(mlx(path));
    } else if any(&[".g_idx"]) {
        "holds weights quantised by GPTQ"
    } else if any(&[".qweight"]) {
        "holds weights quantised by GPTQ or AWQ (`qweight`)"
    } else if any(&[".weight.absmax", ".weight.quant_map"]) {
        "holds weights quantised by bitsandbytes in 4 bits"
    } else if any(&[".weight.SCB", ".SCB"]) {
        "holds weights quantised by bitsandbytes in 8 bits"
    } else if any(&[".W_q"]) {
        "holds weights quantised by HQQ"
    } else if any(&[".weight_packed"]) {
        "holds weights in the format compressed-tensors"
    } else {
        return None;
    };
    Some(CheckpointError::refused(path, what, UNQUANTISED))
}

/// Why the folder `path` holds no model that is read, by the names of the files in it.
pub(super) fn by_files(path: &Path, models_below: &[String]) -> CheckpointError {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    let has = |test: &dyn Fn(&str) -> bool| names.iter().find(|name| test(name)).map(|name| quoted(name));
    let refused = |what: String, cure: &str| CheckpointError::refused(path, what, cure);
    if has(&|name| name == "adapter_config.json" || name.starts_with("adapter_model.")).is_some() {
        return adapter(path);
    }
    if let Some(file) = has(&|name| name.ends_with(".gguf")) {
        return refused(format!("is a folder with {file}"), "give that file itself");
    }
    if let Some(file) = has(&|name| name.ends_with(".safetensors.incomplete") || name.ends_with(".part")) {
        return refused(format!("holds {file}, a download that is not complete"), "let it finish, or fetch it again");
    }
    if let Some(file) = has(&|name| name.starts_with("model-") && name.ends_with(".safetensors")) {
        let cure = "fetch model.safetensors.index.json too, which says what is in which";
        return refused(format!("holds shards, {file} first, without their index"), cure);
    }
    if let Some(file) = has(&|name| name.starts_with("pytorch_model") && name.contains(".bin")) {
        let cure = "use a version with safetensors, or convert it with transformers' save_pretrained";
        return refused(format!("holds weights as {file}, a Python pickle that may run any code"), cure);
    }
    if let Some(file) = has(&|name| name.starts_with("consolidated.")) {
        let cure = "use the version for transformers, with config.json and model.safetensors";
        return refused(format!("holds {file}, weights under their maker's own names"), cure);
    }
    for (end, what) in [
        (".onnx", "an ONNX graph"),
        (".pth", "a Python pickle that may run any code"),
        (".pt", "a Python pickle that may run any code"),
        (".ckpt", "a Python pickle that may run any code"),
        (".bin", "weights in an unknown format"),
        (".h5", "weights for TensorFlow"),
        (".msgpack", "weights for Flax"),
        (".mlmodel", "a model for Core ML"),
        (".mlpackage", "a model for Core ML"),
        (".tflite", "a model for TensorFlow Lite"),
        (".npz", "arrays of NumPy"),
    ] {
        if let Some(file) = has(&|name| name.ends_with(end)) {
            return refused(format!("holds {file}, {what}"), "use a version with safetensors, or a GGUF file");
        }
    }
    let cure = match models_below {
        [] => "give a Hugging Face folder with safetensors weights".to_owned(),
        models => format!("give one of the models in it: {}", models.join(", ")),
    };
    refused("has neither model.safetensors nor model.safetensors.index.json".to_owned(), &cure)
}

/// The files beside the weights without which a model cannot be used.
const TEXT_FILES: [&str; 8] = [
    "config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "vocab.json", "merges.txt", "chat_template.jinja",
];

/// An error if a file beside the weights is what a download leaves in its place.
pub(super) fn by_text_files(folder: &Path) -> Option<CheckpointError> {
    TEXT_FILES.iter().find_map(|name| {
        let path = folder.join(name);
        let mut start = Vec::new();
        File::open(&path).ok()?.take(256).read_to_end(&mut start).ok()?;
        let (what, cure) = download(&start)?;
        Some(CheckpointError::refused(&path, what, cure))
    })
}

/// What stands in a file instead of what was asked for, and what to do about it.
fn download(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(start).trim_start().to_lowercase();
    let messages =
        ["entry not found", "not found", "access to model", "invalid username", "unauthorized", "{\"error\""];
    if text.starts_with("version https://git-lfs") {
        let cure = "run `git lfs pull` in its folder, or download the file itself";
        Some(("is a Git LFS pointer, not the file that it points to", cure))
    } else if ["<!doctype", "<html", "<?xml"].iter().any(|page| text.starts_with(page)) {
        let cure = "download the file itself; a gated model needs you to be logged in";
        Some(("is a web page, not the file that it shows", cure))
    } else if messages.iter().any(|message| text.starts_with(message)) {
        let cure = "download the file again; a gated model needs you to be logged in";
        Some(("is a server's error message, not the file that was asked for", cure))
    } else {
        None
    }
}

/// An error if a file that should hold weights begins as something else.
pub(super) fn by_bytes(path: &Path, bytes: &[u8]) -> Option<CheckpointError> {
    let start = &bytes[..bytes.len().min(256)];
    let (what, cure) = if let Some(found) = download(start) {
        found
    } else if start.starts_with(b"PK\x03\x04") {
        ("is a zip archive or a PyTorch checkpoint", "unpack it, or use a version with safetensors")
    } else if start.starts_with(&[0x80, 2]) || start.starts_with(&[0x80, 4]) {
        ("is a Python pickle, which may run any code", "use a version with safetensors")
    } else if start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        ("is compressed", "unpack it first")
    } else if start.starts_with(b"GGUF") {
        ("is a GGUF file under another name", "name it *.gguf")
    } else if start.starts_with(b"lmgg") || start.starts_with(b"tjgg") || start.starts_with(b"fmgg") {
        ("is a GGML file from before GGUF", "use a GGUF file")
    } else if !start.is_empty() && bytes.iter().take(4096).all(|&byte| byte == 0) {
        ("is nothing but zeros, as a download leaves that has not got there yet", "let it finish, or fetch it again")
    } else {
        return None;
    };
    Some(CheckpointError::refused(path, what, cure))
}

/// A GGUF file that holds something else than a model, by its `general.type` or its architecture.
pub(super) fn by_gguf_kind(path: &Path, kind: Option<&str>, architecture: Option<&str>) -> Option<CheckpointError> {
    let (what, cure) = match (kind, architecture) {
        (Some("adapter"), _) => return Some(adapter(path)),
        (Some("imatrix"), _) | (_, Some("imatrix")) => {
            ("is an importance matrix, not a model", "give the model itself")
        }
        (Some("mmproj"), _) | (_, Some("clip")) => {
            ("is the part of a model that reads images, not the model", "give the file of its text model")
        }
        (Some("vocab"), _) => ("holds a vocabulary alone", "give the model itself"),
        _ => return None,
    };
    Some(CheckpointError::refused(path, what, cure))
}

/// A GGUF file written on a big-endian machine.
pub(super) fn big_endian(path: &Path) -> CheckpointError {
    CheckpointError::refused(path, "is a big-endian GGUF file", "use the little-endian one, or convert it with gguf-py")
}

/// No file at all, which opening never leaves.
pub(super) fn nothing(path: &Path) -> CheckpointError {
    CheckpointError::refused(path, "holds no file", "give a model")
}

fn adapter(path: &Path) -> CheckpointError {
    let cure = "merge it into the model that it was trained on, and give the merged model";
    CheckpointError::refused(path, "is a lone adapter (LoRA), not a model", cure)
}

fn mlx(path: &Path) -> CheckpointError {
    CheckpointError::refused(path, "holds weights quantised by MLX", UNQUANTISED)
}
