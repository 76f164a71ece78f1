//! A [`Guide`] as the engine knows it. The engine has the trait and no text, [`picnic_chat`] has the text and no engine;
//! here they meet.

use picnic_chat::Guide;
use picnic_engine::Constraint;
use picnic_model::ops::AllowedTokens;

/// A guide for the engine.
#[derive(Clone, Debug)]
pub(crate) struct Held(pub Guide);

impl Constraint for Held {
    fn allowed(&mut self) -> AllowedTokens {
        AllowedTokens::Of(self.0.allowed())
    }

    fn accept(&mut self, token: u32) -> bool {
        self.0.accept(token)
    }

    fn boxed(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}
