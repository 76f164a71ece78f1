//! The rooms before the hall: each speaks one contract and translates it to an [`Ask`](crate::hall::Ask) and back.

pub(crate) mod anthropic;
pub(crate) mod azure;
pub(crate) mod deepseek;
pub(crate) mod nim;
pub(crate) mod openai;
pub(crate) mod stream;
pub(crate) mod take;
pub(crate) mod tools;
