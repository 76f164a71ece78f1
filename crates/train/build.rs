//! Sets `cfg(nano)` where the built-in model's folder is there to be embedded.

use std::path::Path;

fn main() {
    let file = "../../models/nano/model.safetensors";
    println!("cargo::rerun-if-changed={file}");
    println!("cargo::rustc-check-cfg=cfg(nano)");
    if Path::new(file).exists() {
        println!("cargo::rustc-cfg=nano");
    }
}
