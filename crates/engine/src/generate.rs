//! All answers to a list of requests.

use crate::engine::Engine;
use crate::limits::Limits;
use crate::request::{Completion, Finish, Reading, Request, RequestError};
use picnic_model::SharedModel;
use picnic_model::ops::{Ops, OutOfMemory};
use std::collections::HashMap;

/// Tokens that sequences go ahead before anybody hears of them.
const ROUNDS: usize = 32;

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A request that cannot be served.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A request that did not fit into memory.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

/// Answers all `requests`, in their order.
///
/// # Errors
/// If one of them cannot be served.
pub fn generate<O: Ops>(
    ops: &O,
    model: &SharedModel<O>,
    limits: Limits,
    requests: Vec<Request>,
) -> Result<Vec<Completion>, GenerateError> {
    generate_counted(ops, model, limits, requests, |_| ())
}

/// [`generate`], calling `finished` after every step with the number of answers that are whole.
///
/// # Errors
/// If one of the requests cannot be served.
pub fn generate_counted<O: Ops>(
    ops: &O,
    model: &SharedModel<O>,
    limits: Limits,
    requests: Vec<Request>,
    mut finished: impl FnMut(usize),
) -> Result<Vec<Completion>, GenerateError> {
    let mut engine = Engine::new(ops.clone(), model.clone(), limits);
    let mut places = HashMap::new();
    let mut answers = Vec::with_capacity(requests.len());
    for (place, request) in requests.into_iter().enumerate() {
        places.insert(engine.submit(request)?, place);
        let reading = Reading::default();
        answers.push(Completion { tokens: Vec::new(), logprobs: Vec::new(), finish: Finish::Length, reading });
    }
    let mut whole = 0;
    while !engine.is_idle() {
        let step = engine.steps(ROUNDS);
        if let Some(dropped) = step.dropped.into_iter().next() {
            return Err(dropped.source.into());
        }
        for event in step.events {
            whole += usize::from(event.finish.is_some());
            let answer = &mut answers[places[&event.id]];
            answer.tokens.push(event.token);
            answer.logprobs.push(event.logprob);
            answer.finish = event.finish.unwrap_or(answer.finish);
            answer.reading = event.reading.map_or_else(Reading::default, |reading| *reading);
        }
        finished(whole);
    }
    Ok(answers)
}
