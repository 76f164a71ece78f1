//! `picnic keys`: from a key's creation to its end, on one file.

use crate::program::{Folder, picnic, refuse};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};

/// What a command that must succeed says on standard output and on standard error.
fn said(file: &Path, args: &[&str]) -> (String, String) {
    let mut command = picnic(&[&["keys"], args, &["--file", file.to_str().unwrap()]].concat());
    let Output { status, stdout, stderr } = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(status.success(), "{args:?}: {stderr}");
    (stdout, stderr)
}

#[test]
fn the_life_of_a_key() {
    let folder = Folder::new();
    let file = folder.join("inner/keys.sqlite");
    let (secret, note) = said(&file, &["create", "laptop"]);
    let secret = secret.strip_suffix('\n').unwrap();
    assert!(secret.starts_with("pk-") && secret.len() == 46, "{secret}");
    assert!(note.contains("will not be shown again") && note.contains("keys.sqlite"), "{note}");
    let guest = ["create", "guest", "--expires", "7d", "--requests-per-minute", "10", "--models", "nano,b", "--json"];
    let guest: Value = serde_json::from_str(&said(&file, &guest).0).unwrap();
    assert_eq!((&guest["key"]["limits"]["requests_per_minute"], &guest["key"]["models"][1]), (&10.into(), &"b".into()));
    assert_ne!(guest["secret"], secret);

    // What a server records is seen by the command while the server goes on.
    let keys = picnic_keys::Keys::open(&file).unwrap();
    let now = picnic_keys::Timestamp::now();
    let grant = keys.authorize(secret, picnic_keys::Scope::Inference, now).unwrap();
    keys.record(&grant, picnic_keys::Usage::of_request(120, 3), now).unwrap();
    let (table, _) = said(&file, &["list"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows.len() == 3 && rows[0].contains("last used"), "{table}");
    assert!(["laptop", "in force", " 123 "].iter().all(|word| rows[1].contains(word)), "{table}");
    assert!(
        ["guest", "until 20", "10 requests/min, nano b", "never"].iter().all(|word| rows[2].contains(word)),
        "{table}"
    );
    assert!(!table.contains(&secret[..8]), "{table}");
    assert!(said(&file, &["usage", "laptop"]).0.lines().nth(1).unwrap().contains("120"));
    let day: Value = serde_json::from_str(&said(&file, &["usage", "1", "--json"]).0).unwrap();
    assert_eq!((&day["name"], &day["completion_tokens"]), (&"laptop".into(), &3.into()));
    assert!(said(&file, &["usage", "guest"]).1.contains("not been used"));

    // What the command revokes, a server that runs refuses from then on.
    assert!(said(&file, &["revoke", "laptop"]).0.contains("key 1 (laptop) is revoked"));
    let refusal = keys.authorize(secret, picnic_keys::Scope::Inference, now).unwrap_err();
    assert!(matches!(refusal, picnic_keys::Refusal::Revoked));
    let lines = said(&file, &["list", "--json"]).0;
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(first["revoked"].is_string() && first["used"]["prompt_tokens"] == 120, "{first}");
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let folder = Folder::new();
    let file = folder.join("keys.sqlite");
    let at = |args: &[&str]| picnic(&[&["keys"], args, &["--file", file.to_str().unwrap()]].concat());
    assert!(said(&file, &["list"]).1.contains("picnic keys create"));
    said(&file, &["create", "a"]);
    refuse(&mut at(&["create", "a"]), &["named \"a\" already", "revoke"]);
    refuse(&mut at(&["create", "12"]), &["digits"]);
    refuse(&mut at(&["create", "b", "--tokens", "0"]), &["no tokens"]);
    refuse(&mut at(&["revoke", "b"]), &["\"b\"", "picnic keys list"]);
    refuse(&mut at(&["usage", "7"]), &["\"7\""]);
    std::fs::write(
        &file,
        "no keys at all, but a text that is about as long as a database's header would have been. ".repeat(9),
    )
    .unwrap();
    refuse(&mut at(&["list"]), &["keys.sqlite is damaged", "put a copy of it back"]);
}
