//! The rooms before the hall: each speaks one contract and translates it to an [`Ask`](crate::hall::Ask) and back.

pub(crate) mod openai;
pub(crate) mod stream;
pub(crate) mod take;
