//! GGUF files: any bytes are read or refused, and every tensor of what is read can be asked for.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use picnic_model::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    fs::write(&path, bytes).expect("a file in it");
    let Ok(checkpoint) = Checkpoint::open(&path) else { return };
    let config = checkpoint.config().expect("a GGUF file that opens has a configuration");
    assert!(checkpoint.gguf_tokenizer().is_some_and(|tokenizer| tokenizer.tokens.len() <= config.vocab_size));
    for name in checkpoint.tensor_names() {
        let shape = checkpoint.shape(name).expect("a listed tensor has a shape");
        let values = checkpoint.read_f32(name);
        if let Ok(values) = &values {
            assert_eq!(values.len(), shape.iter().product::<usize>());
        }
        let Ok(shape) = <[usize; 2]>::try_from(shape) else { continue };
        let Ok(rows) = checkpoint.stored_rows(name, shape) else { continue };
        let mut row = vec![0.0; shape[1]];
        for (i, whole) in values.expect("rows that are there can be decoded").chunks_exact(shape[1]).enumerate() {
            rows.stored().decode(rows.row(i), &mut row);
            assert!(row.iter().zip(whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}, row {i}");
        }
        checkpoint.release(name);
    }
});
