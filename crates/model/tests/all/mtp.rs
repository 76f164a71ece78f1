//! The module of multi-token prediction in checkpoints: upstream's names, folders that name it and lack it, and a main
//! model that does not notice it. Left out: what it computes, which torch (`golden/mtp`) and finite differences check.

use picnic_model::checkpoint::{Checkpoint, FloatType, SHARD_BYTES};
use picnic_model::layers::Past;
use picnic_model::{Batch, CpuOps, Model, ParamStore, Tape, WeightForm, load, save};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

/// `golden/mtp` with that many modules in its configuration and without the tensors whose names contain `without`.
fn changed(modules: usize, without: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read(golden("mtp").join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config["num_nextn_predict_layers"] = modules.into();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(golden("mtp").join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let kept = tensors.into_iter().filter(|(name, _)| without.is_empty() || !name.contains(without));
    safetensors::serialize_to_file(kept, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

fn open(ops: &CpuOps, folder: &Path) -> (Model, ParamStore<CpuOps>) {
    load(ops, &Checkpoint::open(folder).unwrap(), None).unwrap()
}

fn modules(model: &Model) -> (usize, usize) {
    (model.config().num_nextn_predict_layers, model.mtp_params().count())
}

#[test]
fn the_checkpoint_decides() {
    let ops = CpuOps::with_threads(1).unwrap();
    let (whole, params) = open(&ops, &golden("mtp"));
    // Two norms before, the projection, a block of nine experts, a norm after.
    let own = modules(&whole).1;
    assert_eq!(modules(&whole), (1, 3 + (2 + 7 + 2 + 3 * (9 + 1)) + 1));
    assert_eq!(params.iter().count(), whole.specs().len());
    // A folder that transformers saved keeps the key and drops the tensors.
    assert_eq!(modules(&open(&ops, &golden("deepseek_v3")).0), (0, 0));
    assert_eq!(modules(&open(&ops, changed(1, "layers.2.").path()).0), (0, 0));
    assert_eq!(modules(&open(&ops, changed(0, "").path()).0), (0, 0));
    assert_eq!(modules(&open(&ops, changed(3, "").path()).0), (1, own), "the first of several");
    // The copies are not read, all else has to be there.
    assert_eq!(modules(&open(&ops, changed(1, "layers.2.embed_tokens").path()).0), (1, own));
    let torn = changed(1, "layers.2.shared_head.norm");
    let error = load(&ops, &Checkpoint::open(torn.path()).unwrap(), Some(WeightForm::Exact)).err().unwrap().to_string();
    assert!(error.contains("model.layers.2.shared_head.norm.weight"), "{error}");
}

#[test]
fn what_is_written_is_upstreams() {
    let ops = CpuOps::with_threads(1).unwrap();
    let (model, params) = open(&ops, &golden("mtp"));
    let folder = tempfile::tempdir().unwrap();
    save(&ops, &model, &params, folder.path(), FloatType::F32, SHARD_BYTES).unwrap();
    let [ours, theirs] = [folder.path(), &golden("mtp")].map(|path| Checkpoint::open(path).unwrap());
    assert!(ours.tensor_names().eq(theirs.tensor_names()));
    for name in theirs.tensor_names() {
        assert_eq!(ours.shape(name), theirs.shape(name), "{name}");
        assert_eq!(ours.read_f32(name).unwrap(), theirs.read_f32(name).unwrap(), "{name}");
    }
    assert_eq!(ours.config().unwrap().num_nextn_predict_layers, 1);
    // Without the module there is nothing to name.
    let folder = tempfile::tempdir().unwrap();
    let (model, params) = open(&ops, &golden("deepseek_v3"));
    save(&ops, &model, &params, folder.path(), FloatType::F32, SHARD_BYTES).unwrap();
    let written = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(written.config().unwrap().num_nextn_predict_layers, 0);
    assert!(written.tensor_names().all(|name| !name.starts_with("model.layers.2.")));
}

#[test]
fn the_main_model_does_not_notice() {
    let ops = CpuOps::with_threads(1).unwrap();
    let bare = changed(0, "");
    let batch = Batch::sequences([&[3, 1, 4, 1, 5][..], &[9, 2, 6]]);
    let [with, without] = [&golden("mtp"), bare.path()].map(|folder| {
        let (model, params) = open(&ops, folder);
        let mut tape = Tape::inference(&ops);
        let hidden = model.forward(&mut tape, &params, &batch, &mut Past::Within(batch.spans.clone())).unwrap();
        let rows: Vec<u32> = (0..hidden.rows as u32).collect();
        let logits = tape.logits(&hidden, model.head(&params), &rows).unwrap();
        let bits: Vec<u32> = logits.value().iter().map(|x| x.to_bits()).collect();
        (bits, model.matmul_params(), model.router_biases().len())
    });
    assert!(with.0 == without.0 && with.1 == without.1);
    assert_eq!((with.2, without.2), (2, 1));
}

/// Row t has seen token t + 1 and no later one, and nothing of its neighbours.
#[test]
fn rows_see_one_token_more() {
    let ops = CpuOps::with_threads(1).unwrap();
    let (model, params) = open(&ops, &golden("mtp"));
    let rows = |sequences: &[&[u32]]| -> Vec<Vec<u32>> {
        let batch = Batch::sequences(sequences.iter().copied());
        let mut tape = Tape::inference(&ops);
        let hidden = model.forward(&mut tape, &params, &batch, &mut Past::Within(batch.spans.clone())).unwrap();
        let Some((second, next)) = model.mtp(&mut tape, &params, &hidden, &batch).unwrap() else { return Vec::new() };
        assert_eq!(next.spans.len(), sequences.len());
        let row = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect();
        second.value().chunks(second.width).map(row).collect()
    };
    let one = rows(&[&[3, 1, 4, 1, 5, 9]]);
    let other = rows(&[&[3, 1, 4, 2, 6, 5]]);
    assert_eq!((one.len(), &one[..2]), (5, &other[..2]));
    assert!(one[2] != other[2], "row 2 has seen token 3");
    let together = rows(&[&[7], &[3, 1, 4, 1, 5, 9], &[], &[8, 8]]);
    assert_eq!((together.len(), &together[..5]), (6, &one[..]), "neighbours do not show");
    assert!(rows(&[&[7], &[8]]).is_empty());
}
