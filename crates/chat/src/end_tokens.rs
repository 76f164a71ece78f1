//! Where an answer ends: one set of tokens for drawing and for training.

use picnic_tokenizer::Tokenizer;

/// The tokens that end the model's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTokens {
    /// Sorted, each once.
    ids: Vec<u32>,
    turn: Option<u32>,
}

impl EndTokens {
    pub(crate) fn of(tokenizer: &Tokenizer) -> EndTokens {
        EndTokens { ids: tokenizer.eos().into_iter().collect(), turn: tokenizer.eos() }
    }

    pub(crate) fn add(&mut self, more: impl IntoIterator<Item = u32>) {
        self.ids.extend(more);
        self.ids.sort_unstable();
        self.ids.dedup();
        self.turn = self.turn.or(self.ids.first().copied());
    }

    /// All of them: drawing any ends an answer.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether drawing `id` ends an answer.
    pub fn contains(&self, id: u32) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// The one that an answer is taught to end with. `None` if there is none at all.
    pub fn turn(&self) -> Option<u32> {
        self.turn
    }
}
