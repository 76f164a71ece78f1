//! Safetensors folders: any header is read or refused, and every tensor of what is read can be asked for. The bytes are a
//! `config.json` and `model.safetensors` with a zero byte between them: what stands in the former decides how tensors of
//! the latter are scaled, renamed and taken apart.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use picnic_model::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (config, weights) = bytes.split_at(cut);
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("config.json"), config).expect("a file in it");
    // The header's length is the fuzzer's least interesting number: it is put right.
    let weights = weights.get(1..).unwrap_or_default();
    let end = weights.iter().position(|byte| *byte == b'\n').unwrap_or(weights.len());
    let (header, data) = weights.split_at(end);
    let whole = [&(header.len() as u64).to_le_bytes(), header, data.get(1..).unwrap_or_default()].concat();
    fs::write(dir.path().join("model.safetensors"), whole).expect("a file in it");
    let Ok(checkpoint) = Checkpoint::open(dir.path()) else { return };
    let _ = checkpoint.config();
    for name in checkpoint.tensor_names() {
        let shape = checkpoint.shape(name).expect("a listed tensor has a shape");
        if let Ok(values) = checkpoint.read_f32(name) {
            assert_eq!(values.len(), shape.iter().product::<usize>());
        }
        if let Ok(shape) = <[usize; 2]>::try_from(shape)
            && let Ok(rows) = checkpoint.stored_rows(name, shape)
        {
            for row in 0..shape[0] {
                let _ = (rows.row(row), rows.scales().map(|scales| scales.row(row)));
            }
        }
    }
});
