//! Helpers, and the check over every golden checkpoint.

mod folder;
mod gguf;
mod gguf_file;

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::ModelConfig;

fn config() -> ModelConfig {
    let value = json!({
        "model_type": "llama", "vocab_size": 4, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
    });
    ModelConfig::from_value(&value, Path::new("test")).unwrap()
}

fn folder_with(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn open_error(name: &str, bytes: &[u8]) -> String {
    let (_dir, path) = folder_with(name, bytes);
    let line = Checkpoint::open(&path).expect_err("a bad file").to_string();
    assert!(line.contains(name) && line.contains("; "), "{line}");
    assert!(!line.contains('\n'), "{line}");
    line
}

fn safetensors_bytes(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data].concat()
}

/// Whether the folder's `model_type` is one that can be run.
fn is_known(folder: &Path) -> bool {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    let model_type = config["model_type"].as_str().unwrap_or_default();
    crate::config::Family::named(model_type).is_some()
}

/// Every golden checkpoint opens and reads whole, where the fixtures are present.
#[test]
fn golden_folders_read() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("PICNIC_SHARED").map_or(root.join("../shared"), PathBuf::from);
    let Ok(folders) = fs::read_dir(shared.join("golden")) else {
        println!("skipped: no golden checkpoints (set PICNIC_SHARED to their folder)");
        return;
    };
    for folder in folders.map(|entry| entry.unwrap().path()) {
        // There are fixtures of families that cannot be run yet.
        if !folder.join("config.json").exists() || !is_known(&folder) {
            continue;
        }
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let config = checkpoint.config().unwrap();
        assert_eq!(checkpoint.notes(), [""; 0]);
        let mut parameters = 0;
        for name in checkpoint.tensor_names() {
            let values = checkpoint.read_f32(name).unwrap();
            assert!(values.iter().all(|x| x.is_finite()));
            // Counted by the configuration: matrices, and norms over the hidden width.
            let narrow = ["bias", "a_layernorm.weight", "q_norm.weight", "k_norm.weight"];
            if !narrow.iter().any(|end| name.ends_with(end)) {
                parameters += values.len() as u128;
            }
        }
        assert_eq!(parameters, config.num_parameters(), "{}", folder.display());
        let golden = Checkpoint::open(folder.join("golden.safetensors")).unwrap();
        assert!(golden.read_i64("input_ids").unwrap().len() >= 80);
        assert_eq!(golden.config().unwrap(), config);
    }
}
