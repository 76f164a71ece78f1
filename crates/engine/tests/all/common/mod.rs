//! Models with random weights, requests of every kind, and what is answered to them.
#![allow(dead_code, reason = "each test uses a part of it")]

use picnic_engine::{Completion, Control, Engine, Finish, Limits, Request, Sampling, Thinking};
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{CpuOps, SharedModel, WeightForm, load};
use std::path::Path;

pub const MODELS: [&str; 4] = ["deepseek_v3", "deepseek_v3_nolora", "llama", "qwen3"];

pub fn open(ops: &CpuOps, name: &str) -> SharedModel<CpuOps> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name);
    let (model, params) = load(ops, &Checkpoint::open(folder).unwrap(), Some(WeightForm::Exact)).unwrap();
    SharedModel::new(model, params)
}

/// Token ids that look random; the fixtures' vocabulary has 61.
pub fn ids(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 7 + i * 13 + seed * 31) % 61) as u32).collect()
}

/// Prompts from one token to more than two pages, drawn in every way.
pub fn requests() -> Vec<Request> {
    let request = |(i, (length, temperature, top_p)): (usize, (usize, f32, f32))| Request {
        stop: vec![7, 8],
        sampling: Sampling { temperature, top_p, seed: i as u64, ..Sampling::GREEDY },
        ..Request::new(ids(length, i), 20 + 5 * (i % 3))
    };
    let kinds = [(1, 1.0, 1.0), (70, 0.0, 1.0), (33, 0.6, 0.95), (5, 1.3, 0.5), (32, 1.0, 1.0), (12, 1.0, 0.9)];
    let mut requests: Vec<Request> = kinds.into_iter().enumerate().map(request).collect();
    // Two with everything that there is.
    for (i, base) in [(0, requests[2].clone()), (1, requests[0].clone())] {
        let sampling = Sampling {
            top_k: 30 - 10 * i,
            min_p: 0.01,
            typical_p: 0.9,
            presence_penalty: 0.3,
            frequency_penalty: 0.2,
            repetition_penalty: 1.1,
            likeliest: 3,
            ..base.sampling
        };
        let thinking = (i == 1).then_some(Thinking { budget: 9, open: None, close: 1 });
        let control = Control { bias: vec![(7, f32::NEG_INFINITY), (8, -2.0), (60, 1.5)], thinking, constraint: None };
        requests.push(Request { sampling, control, ..base });
    }
    requests
}

pub fn exact(answers: &[Completion]) -> Vec<(Vec<u32>, Vec<u32>, Finish)> {
    let logprobs = |c: &Completion| c.logprobs.iter().map(|l| l.to_bits()).collect();
    answers.iter().map(|c| (c.tokens.clone(), logprobs(c), c.finish)).collect()
}

/// What is answered to each request, by the order in which they are given in, and the engine.
pub fn answers(
    ops: &CpuOps,
    model: &SharedModel<CpuOps>,
    limits: Limits,
    requests: &[Request],
) -> (Vec<Answered>, Engine<CpuOps>) {
    let mut engine = Engine::new(ops.clone(), model.clone(), limits);
    let ids: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
    let mut answers = vec![Answered::default(); ids.len()];
    while !engine.is_idle() {
        for event in engine.step().events {
            let answer = &mut answers[ids.iter().position(|id| *id == event.id).unwrap()];
            answer.tokens.push(event.token);
            answer.logprobs.push(event.logprob.to_bits());
            answer.reused = event.reused;
        }
    }
    (answers, engine)
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    pub tokens: Vec<u32>,
    pub logprobs: Vec<u32>,
    pub reused: usize,
}
