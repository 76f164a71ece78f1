//! Problems with verifiable answers, and what an answer is worth.
//!
//! A [`Task`] poses problems, works them out in writing for the cold start, and judges
//! answers. [`Mixture`] is the weighted set of tasks that a recipe names, [`score`] is R1's
//! rule-based reward (accuracy + format), [`Curriculum`] chooses what to ask next, and [`Corpus`] writes the text from
//! which a tiny base model learns digits and arithmetic before it ever sees a problem.
//!
//! Strings in, scores out: tokens, models and chat templates are other crates' business. The
//! answers come from a model and are treated as hostile: a verifier never panics, ends in time
//! linear in the answer, and says "could not judge" when the fault is not the answer's.
//!
//! Everything is a function of (seed, split, index). Which split a problem belongs to is
//! decided by a hash of what it asks ([`Split::of`]), whatever the seed or the dials, so
//! training problems and held-out ones cannot meet.
//!
//! To add a task, write one file like [`larger`] and name it in `registry.rs` (docs/adding-a-task.md).

pub mod arithmetic;
pub mod beyond;
pub mod calculations;
pub mod countdown;
pub mod gsm8k;
pub mod knights_knaves;
pub mod larger;
pub mod letters;
pub mod questions;
pub mod sequences;
pub mod small_talk;
pub mod word_problems;

mod corpus;
mod curriculum;
mod draw;
mod lessons;
mod number;
mod pretrain;
mod registry;
mod reward;
mod task;
mod wording;
mod words;

pub use corpus::{Corpus, CorpusKind, CorpusPart, default_parts};
pub use curriculum::{Curriculum, CurriculumSettings};
pub use registry::{Arm, Mixture, TaskSpec};
pub use reward::{Format, Parts, Reward, RewardWeights, language_share, score};
pub use task::{Language, Problem, SftExample, Source, Split, Task, TaskError, Trace, Verdict};
