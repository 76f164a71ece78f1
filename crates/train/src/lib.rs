//! The stages of the R1 chain and what a person sees of them.
//!
//! One file a stage: [`tokenizer`], [`pretrain`](mod@pretrain), [`sft`](mod@sft), [`rl`](mod@rl),
//! [`reject`](mod@reject), [`distill`](mod@distill), [`eval`], and all of them in order in [`r1`](mod@r1). What they
//! share: [`recipe`] (everything that decides what is computed), [`place`] (what a name stands for), [`load`] (a model from its files), [`training`] (model,
//! step, checkpoint), [`lanes`] (gradients on threads), [`optimizer`], [`rollout`], [`grpo`] (the objective) and [`importance`] (answers of a rounded
//! policy). What a person sees: [`plan`] and
//! [`progress`] (what there is to do and what happens), [`watch`] (what a run that stalls is at), [`report`]
//! and [`alone`] (the report of one stage by itself).

pub mod alone;
mod book;
pub mod distill;
mod error;
pub mod eval;
pub mod grpo;
pub mod importance;
pub mod lanes;
pub mod likelihood;
pub mod load;
mod locked_folder;
pub mod optimizer;
pub mod parity;
pub mod place;
pub mod plan;
pub mod pretrain;
pub mod progress;
pub mod r1;
pub mod recipe;
pub mod reject;
pub mod report;
pub mod rl;
pub mod rollout;
mod run_folder;
pub mod sft;
pub mod tokenizer;
pub mod traces;
pub mod training;
pub mod watch;

pub use error::Error;
pub use locked_folder::LockedFolder;
