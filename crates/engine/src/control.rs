//! What steers an answer beside its sampling: a bias for single tokens, an end to thinking, and a constraint that says
//! which tokens may come next.

use picnic_model::ops::AllowedTokens;
use std::fmt;

/// What steers an answer; by default nothing does.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Added to the logits of these tokens; −∞ rules one out. Of two entries for a token the later one counts.
    pub bias: Vec<(u32, f32)>,
    /// When thinking has to end.
    pub thinking: Option<Thinking>,
    /// Which tokens may come next.
    pub constraint: Option<Box<dyn Constraint>>,
}

/// An end to thinking: an answer that is still thinking after its first `budget` tokens writes `close` next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// Tokens of the answer.
    pub budget: usize,
    /// The token of `<think>`, with which an answer that thinks begins; `None` if the prompt has it already.
    pub open: Option<u32>,
    /// The token of `</think>`.
    pub close: u32,
}

/// Says, token by token, what may come next: a grammar, a schema, a list of choices.
pub trait Constraint: fmt::Debug + Send {
    /// The tokens that may come next, at least one. It may be asked more than once for one token.
    fn allowed(&mut self) -> AllowedTokens;

    /// This token has come. Returns whether the answer is whole and ends with it.
    fn accept(&mut self, token: u32) -> bool;

    /// A copy, in the same state.
    fn boxed(&self) -> Box<dyn Constraint>;
}

impl Clone for Box<dyn Constraint> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}
