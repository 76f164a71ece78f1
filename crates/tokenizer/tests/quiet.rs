//! A file on which the library panics gives one error and nothing else. A test of its own process: hooks are global.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};

use picnic_tokenizer::Tokenizer;
use serde_json::json;

static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn the_library_s_panic_says_nothing() {
    panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    // The prefix is longer than the token that it is cut from.
    let json = json!({
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "continuing_subword_prefix": "####", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}
    });
    let error = Tokenizer::from_bytes(json.to_string()).unwrap_err();
    assert!(error.to_string().contains("contradicts itself"), "{error}");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    // Everyone else's panics are as loud as before.
    let _ = panic::catch_unwind(|| panic!("loud"));
    assert_eq!(PANICS.load(Ordering::Relaxed), 1);
}
