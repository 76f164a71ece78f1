//! The binary `picnic`.
fn main() {}
