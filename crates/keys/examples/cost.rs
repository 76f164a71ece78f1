//! What keys cost: the time to let a request pass, and to have what it used on disk, by 1, 8 and 64 threads at once.
//!
//! `cargo run --release -p picnic-keys --example cost`

use picnic_keys::{Keys, NewKey, Scope, Timestamp, Usage};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    // In this folder, since that for temporary files may be in memory.
    let folder = tempfile::tempdir_in(".")?;
    let keys = Keys::open(&folder.path().join("keys.sqlite"))?;
    let (_, secret) = keys.create(&NewKey::named("a"), Timestamp::now())?;
    let authorize = || keys.authorize(secret.reveal(), Scope::Inference, Timestamp::now());
    let start = Instant::now();
    for _ in 0..10_000 {
        authorize()?;
    }
    println!("a request that passes: {:?}", start.elapsed() / 10_000);
    for threads in [1, 8, 64] {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let grant = authorize().expect("a key without limits");
                        keys.record(&grant, Usage::of_request(3, 5), Timestamp::now()).expect("a disk with room");
                    }
                });
            }
        });
        let each = start.elapsed() / 100;
        println!("{threads} threads: a record takes {each:?}, {:.0} a second", f64::from(threads) / each.as_secs_f64());
    }
    Ok(())
}
