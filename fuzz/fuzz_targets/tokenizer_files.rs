//! Tokenizer files: any bytes are read or refused, and what is read can be used. The first byte chooses the kind of
//! file: `tokenizer.json`, `tokenizer.model`, or `vocab.json` and `merges.txt` with a zero byte between them.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use picnic_tokenizer::{DecodeStream, Tokenizer};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let tokenizer = match kind % 3 {
        0 => Tokenizer::from_bytes(bytes),
        1 => from_folder(&[("tokenizer.model", bytes)]),
        _ => {
            let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let (vocab, merges) = bytes.split_at(cut);
            from_folder(&[("vocab.json", vocab), ("merges.txt", merges.get(1..).unwrap_or_default())])
        }
    };
    let Ok(tokenizer) = tokenizer else { return };
    let ids = tokenizer.encode("Hello <s> ab 12 é\n", true).unwrap_or_default();
    let ids: Vec<u32> = ids.into_iter().chain([0, 1, 2, 300, u32::MAX]).collect();
    let mut stream = DecodeStream::new(false);
    let pieces: String = ids.iter().map(|id| stream.push(&tokenizer, *id)).collect();
    assert_eq!(pieces + &stream.finish(), tokenizer.decode(&ids, false));
    tokenizer.to_json().expect("what was read can be written");
});

fn from_folder(files: &[(&str, &[u8])]) -> picnic_tokenizer::Result<Tokenizer> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("a file in it");
    }
    Tokenizer::from_dir(dir.path())
}
