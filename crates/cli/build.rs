//! Says how the program is built, for `picnic doctor`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["PROFILE", "OPT_LEVEL", "TARGET"] {
        let value = std::env::var(name).unwrap_or_default();
        println!("cargo::rustc-env=PICNIC_{name}={value}");
    }
}
