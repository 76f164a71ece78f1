//! `picnic connect`: a configuration on standard output and nothing else there.

use crate::program::{picnic, run};
use std::process::Stdio;

#[test]
fn the_configuration_stands_alone() {
    let said = |args: &[&str]| {
        let output = run(picnic(&[&["connect"], args].concat()).stdout(Stdio::piped()));
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [config, words] = said(&["codex", "--url", "http://10.0.0.1:9/v1/", "--model", "m", "--key", "pk-1"]);
    let table: toml::Table = config.parse().unwrap();
    assert_eq!(table["model_providers"]["picnic"]["base_url"].as_str(), Some("http://10.0.0.1:9/v1"));
    assert!(words.contains("picnic.config.toml") && words.contains("PICNIC_API_KEY=pk-1"), "{words}");
    let [config, words] = said(&["zed"]);
    serde_json::from_str::<serde_json::Value>(&config).unwrap();
    assert!(words.contains("settings.json"), "{words}");
    // What would come out of its quotes is refused, and so is what is no address.
    for wrong in [["--model", "a\"b"], ["--url", "localhost:8000"], ["--key", "$(id)"], ["--context", "0"]] {
        let output = run(&mut picnic(&["connect", "claude", wrong[0], wrong[1]]));
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}
