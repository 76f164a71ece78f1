//! Models: what they are ([`config`], [`Model`]), what they are stored in ([`checkpoint`], [`ParamStore`]), what
//! computes them ([`Ops`]) and how gradients come back ([`Tape`]). No training loop.

pub mod arch;
pub mod backend;
pub mod checkpoint;
pub mod config;
mod counting;
mod cpu;
pub mod init;
pub mod layers;
mod load;
pub mod ops;
mod params;
mod pool;
mod shared;
mod tape;

pub use arch::{Batch, Model};
pub use backend::Backend;
pub use counting::{Cost, Counting};
pub use cpu::CpuOps;
pub use load::{initialise, load, save};
pub use ops::{CacheForm, Ops, OutOfMemory, WeightForm};
pub use params::{Grads, Param, ParamId, ParamSpec, ParamStore, Role, Source, rows_of, write_rows};
pub use picnic_kernels as kernels;
pub use shared::{Params, SharedModel};
pub use tape::{Balance, Statistics, Tally, Tape, Var, add_counts};
