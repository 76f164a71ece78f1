//! Sets `cfg(nano)` where the built-in model's folder is there to be embedded, and says how the program is built.

use std::path::Path;

fn main() {
    let file = "../../models/nano/model.safetensors";
    println!("cargo::rerun-if-changed={file}");
    println!("cargo::rustc-check-cfg=cfg(nano)");
    if Path::new(file).exists() {
        println!("cargo::rustc-cfg=nano");
    }
    for name in ["PROFILE", "OPT_LEVEL", "TARGET"] {
        let value = std::env::var(name).unwrap_or_default();
        println!("cargo::rustc-env=PICNIC_{name}={value}");
    }
}
