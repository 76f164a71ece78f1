//! What a model says as blocks one after another: thinking, text, calls. Responses and Anthropic's messages are made of such,
//! each in its own words.

use crate::hall::Said;

/// A block while it is written.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// What it says so far; of a call its arguments.
    pub(crate) text: String,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Thinking,
    Text,
    /// A call of a function.
    Call {
        /// Which of the answer's calls.
        index: usize,
        id: String,
        name: String,
    },
}

/// Tells of blocks in the words of a contract.
pub(crate) trait Teller {
    fn begin(&mut self, block: &Block);
    /// `text` was added to `block`.
    fn add(&mut self, block: &Block, text: &str);
    fn end(&mut self, block: Block);
}

/// Sorts what is said into blocks.
#[derive(Default)]
pub(crate) struct Blocks(Option<Block>);

impl Blocks {
    /// Takes what the model says next.
    pub(crate) fn hear(&mut self, mut said: Said, teller: &mut impl Teller) {
        let calls = said.take_calls();
        for (kind, text) in [(Kind::Thinking, said.piece.reasoning), (Kind::Text, said.piece.content)] {
            if !text.is_empty() {
                self.turn_to(kind, teller);
                self.add(&text, teller);
            }
        }
        for call in calls {
            let is_open = |block: &Block| matches!(block.kind, Kind::Call { index, .. } if index == call.index);
            if !self.0.as_ref().is_some_and(is_open) {
                let (id, name) = (call.id.unwrap_or_default(), call.name.unwrap_or_default());
                self.turn_to(Kind::Call { index: call.index, id, name }, teller);
            }
            if !call.arguments.is_empty() {
                self.add(&call.arguments, teller);
            }
        }
    }

    /// Completes the open block.
    pub(crate) fn end(&mut self, teller: &mut impl Teller) {
        if let Some(block) = self.0.take() {
            teller.end(block);
        }
    }

    fn turn_to(&mut self, kind: Kind, teller: &mut impl Teller) {
        if self.0.as_ref().is_none_or(|block| block.kind != kind) {
            self.end(teller);
            let block = self.0.insert(Block { kind, text: String::new() });
            teller.begin(block);
        }
    }

    fn add(&mut self, text: &str, teller: &mut impl Teller) {
        if let Some(block) = &mut self.0 {
            block.text += text;
            teller.add(block, text);
        }
    }
}
