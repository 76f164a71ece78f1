//! Damaged checkpoints: whatever the bytes, opening and reading neither panics nor allocates more
//! than the file's own size warrants. A binary of its own, since it counts every allocation.

#[path = "../src/checkpoint/tests/gguf_file.rs"]
mod gguf_file;

use std::fs;
use std::path::Path;

use peak_alloc::PeakAlloc;
use picnic_model::checkpoint::Checkpoint;
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// An edit of a file: at a place, given as a share of its length, put bytes in place of others.
type Edit = (f64, usize, Vec<u8>);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    // Small numbers, all ones and high powers of two are what sizes and offsets fail on.
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9),
        any::<u64>().prop_map(|n| n.to_le_bytes().to_vec()),
        (0u32..64).prop_map(|n| (1u64 << n).to_le_bytes().to_vec()),
        Just(vec![0xff; 8]),
        prop_oneof!["[0-9]{1,20}", "-[0-9]{1,3}", "[\\[\\]{}\":,]", "[A-Z][0-9_A-Z]{1,4}"].prop_map(String::into_bytes),
    ];
    prop::collection::vec((0.0..1.0, 0usize..9, bytes), 1..4)
}

fn damage(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, removed, new) in edits {
        let at = (bytes.len() as f64 * place) as usize;
        let end = (at + removed).min(bytes.len());
        bytes.splice(at..end, new.iter().copied());
    }
    bytes
}

fn tiny_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]},
        "b":{"dtype":"BF16","shape":[8],"data_offsets":[32,48]},"c":{"dtype":"I64","shape":[],"data_offsets":[48,56]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[1; 56]].concat()
}

/// Opens the file and reads all that it has; returns the most bytes held at any moment.
fn peak_of_reading(path: &Path) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    match Checkpoint::open(path) {
        Err(error) => assert!(!error.to_string().contains('\n')),
        Ok(checkpoint) => {
            for name in checkpoint.tensor_names() {
                let (floats, ids) = (checkpoint.read_f32(name), checkpoint.read_i64(name));
                assert!(floats.is_err() || ids.is_err());
            }
            drop(checkpoint.config());
        }
    }
    ALLOCATOR.peak_usage() - before
}

#[test]
fn damaged_files_are_refused_or_read() {
    let (metadata, tensors) = gguf_file::tiny_gguf();
    let files = [("model.gguf", gguf_file::whole(&metadata, &tensors)), ("model.safetensors", tiny_safetensors())];
    let dir = tempfile::tempdir().unwrap();
    let config = ProptestConfig { cases: 4000, ..ProptestConfig::default() };
    proptest!(config, |(edits in edits(), which in 0usize..2)| {
        let (name, good) = &files[which];
        let bytes = damage(good, &edits);
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        // Sixteen: an entry of a table is up to that much larger in memory than in the file. The
        // constant is for paths, messages and the configuration.
        let allowed = 16 * bytes.len() + 16_384;
        let peak = peak_of_reading(&path);
        prop_assert!(peak <= allowed, "{peak} bytes for a file of {}", bytes.len());
    });
}
