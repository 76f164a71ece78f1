//! What a request gets is its own: neither the engine's limits, nor how its prompt is cut, nor its neighbours, nor the
//! threads change a bit of it. On the checkpoints of `golden/`, whose weights are random.

use crate::common::{MODELS, exact, ids, open, requests};
use picnic_engine::{
    Constraint, Control, Engine, Finish, Limits, Reading, Request, RequestError, Sampling, Thinking, Wants, generate,
};
use picnic_model::layers::{Absorbed, Past, Targets};
use picnic_model::ops::{AllowedTokens, CachedSpan, Contract, Loss, Position};
use picnic_model::{Batch, CacheForm, CpuOps, Ops, SharedModel, Tape};

#[test]
fn limits_and_threads_do_not_show() {
    for name in MODELS {
        let ops = CpuOps::with_threads(1).unwrap();
        let model = open(&ops, name);
        let wide = Limits::new(64, 4096, 1 << 14);
        let answers = exact(&generate(&ops, &model, wide, requests()).unwrap());
        assert!(answers.iter().all(|(tokens, logprobs, _)| !tokens.is_empty() && tokens.len() == logprobs.len()));
        for limits in [
            Limits { sequences: 1, ..wide },
            Limits { sequences: 2, batch_tokens: 1, ..wide },
            Limits { batch_tokens: 3, ..wide },
            Limits { batch_tokens: 33, ..wide },
            // Room for one long request at a time: the others wait for its pages, or have theirs taken and begin again.
            Limits { cache_tokens: 128, ..wide },
            Limits { cache_tokens: 256, kept_tokens: 256, batch_tokens: 40, ..wide },
            Limits { draft_tokens: 5, ..wide },
            Limits { draft_tokens: 3, kept_tokens: 1 << 14, batch_tokens: 9, ..wide },
        ] {
            assert_eq!(answers, exact(&generate(&ops, &model, limits, requests()).unwrap()), "{limits:?}");
        }
        for (i, request) in requests().into_iter().enumerate() {
            let alone = generate(&ops, &model, wide, vec![request]).unwrap();
            assert_eq!(answers[i..=i], exact(&alone), "{name}: alone");
        }
        for threads in 2..=3 {
            let ops = CpuOps::with_threads(threads).unwrap();
            let model = open(&ops, name);
            for limits in [wide, Limits { cache_tokens: 256, kept_tokens: 128, draft_tokens: 2, ..wide }] {
                let got = exact(&generate(&ops, &model, limits, requests()).unwrap());
                assert_eq!(answers, got, "{threads} threads, {limits:?}");
            }
        }
    }
}

/// A cache of fewer bits changes the answers, and nothing else does: not the limits, the threads or a neighbour.
#[test]
fn a_rounded_cache_depends_on_nothing_else() {
    for name in MODELS {
        let ops = CpuOps::with_threads(1).unwrap();
        let model = open(&ops, name);
        let exactly = exact(&generate(&ops, &model, Limits::new(64, 4096, 1 << 14), requests()).unwrap());
        for cache in [CacheForm::F16, CacheForm::Q8] {
            let wide = Limits { cache, ..Limits::new(64, 4096, 1 << 14) };
            let answers = exact(&generate(&ops, &model, wide, requests()).unwrap());
            assert_ne!(answers, exactly, "{name}: {cache:?} rounds");
            let tight = Limits { cache, kept_tokens: 128, draft_tokens: 3, ..Limits::new(6, 7, 256) };
            assert_eq!(answers, exact(&generate(&ops, &model, tight, requests()).unwrap()), "{name}: {cache:?}");
            let ops = CpuOps::with_threads(3).unwrap();
            let model = open(&ops, name);
            assert_eq!(answers, exact(&generate(&ops, &model, wide, requests()).unwrap()), "{name}: {cache:?}");
        }
    }
}

/// What a rounded cache changes of log-probabilities is small: of 16 bits about 2⁻¹¹ of values of order 1, of bytes about
/// 2⁻⁸. MLA's latents are among them, whose sums are in another order as well.
#[test]
fn a_rounded_cache_is_near_the_exact_one() {
    let ops = CpuOps::with_threads(2).unwrap();
    for name in MODELS {
        let model = open(&ops, name);
        let said = |cache| {
            let wants = Wants { prompt_logprobs: true, ..Wants::default() };
            let request = Request { wants, ..Request::new(ids(100, 5), 1) };
            let limits = Limits { cache, ..Limits::new(1, 33, 1 << 10) };
            generate(&ops, &model, limits, vec![request]).unwrap().remove(0).reading.prompt_logprobs
        };
        let exact = said(CacheForm::Exact);
        for (cache, within) in [(CacheForm::F16, 0.01), (CacheForm::Q8, 0.1)] {
            let off = exact.iter().zip(said(cache)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off > 0.0 && off < within, "{name}: {cache:?} is off by {off}");
        }
        // What an answer's tokens were drawn with: over latents they are computed in another form than a prompt's.
        for (cache, within) in [(CacheForm::F16, 0.01), (CacheForm::Q8, 0.1)] {
            let request = Request::new(ids(50, 6), 40);
            let limits = Limits { cache, ..Limits::new(1, 33, 1 << 10) };
            let answer = generate(&ops, &model, limits, vec![request.clone()]).unwrap().remove(0);
            let wants = Wants { prompt_logprobs: true, ..Wants::default() };
            let whole = Request { wants, ..Request::new([request.prompt, answer.tokens.clone()].concat(), 1) };
            let exact = generate(&ops, &model, Limits::new(1, 33, 1 << 10), vec![whole]).unwrap().remove(0);
            let exact = exact.reading.prompt_logprobs.into_iter().rev().take(answer.tokens.len()).rev();
            let off = exact.zip(answer.logprobs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off > 0.0 && off < within, "{name}: {cache:?} is off by {off} in an answer");
        }
        // A token of MLA takes one latent instead of a key and a value for each head.
        let bytes = |cache| ops.page_bytes(&model.model().cache_layout(cache), cache);
        assert!(bytes(CacheForm::F16) * 2 <= bytes(CacheForm::Exact), "{name}");
    }
}

/// Logits from a cache, filled in pieces of any size, are those of one pass over the whole sequence.
#[test]
fn a_cache_filled_in_pieces_gives_the_bits_of_one_pass() {
    let ops = CpuOps::with_threads(2).unwrap();
    for name in MODELS {
        let shared = open(&ops, name);
        let (model, params) = (shared.model(), shared.params());
        let sequence = ids(75, 3);
        let whole = Batch::sequences([&sequence[..]]);
        let all: Vec<u32> = (0..75).collect();
        let mut tape = Tape::inference(&ops);
        let hidden = model.forward(&mut tape, &params, &whole, &mut Past::Within(whole.spans.clone())).unwrap();
        let expected = ops.download(tape.logits(&hidden, model.head(&params), &all).unwrap().value());

        for piece in [1, 7, 32, 40, 75] {
            let mut cache = ops.cache(&model.cache_layout(CacheForm::Exact), CacheForm::Exact);
            let mut logits = Vec::new();
            for start in (0..75).step_by(piece) {
                let end = (start + piece).min(75);
                let batch = Batch {
                    ids: sequence[start..end].to_vec(),
                    positions: Position::range(start, end - start, 75).collect(),
                    spans: std::iter::once(0..end - start).collect(),
                };
                // Pages in no order.
                let spans = [CachedSpan { rows: 0..end - start, start, prompt: 75, pages: vec![4, 0, 2] }];
                let mut tape = Tape::inference(&ops);
                let hidden = model
                    .forward(&mut tape, &params, &batch, &mut Past::Cached(&mut cache, &spans, &Absorbed::default()))
                    .unwrap();
                let rows: Vec<u32> = (0..(end - start) as u32).collect();
                logits.extend(ops.download(tape.logits(&hidden, model.head(&params), &rows).unwrap().value()));
            }
            let same = logits.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same && logits.len() == expected.len(), "{name}: pieces of {piece}");
        }
    }
}

/// What a request asks of its prompt is what one pass over the sequence says.
#[test]
fn readings_are_those_of_one_pass() {
    let ops = CpuOps::with_threads(2).unwrap();
    assert_eq!(CpuOps::CONTRACT, Contract::Exact);
    for name in MODELS {
        let shared = open(&ops, name);
        let (model, params) = (shared.model(), shared.params());
        let asking = Request {
            stop: Vec::new(),
            max_tokens: 8,
            wants: Wants { prompt_logprobs: true, prompt_states: true, ..Wants::default() },
            ..requests().remove(1)
        };
        let prompt = asking.prompt.clone();
        let mut all = requests();
        all.push(asking);
        for batch_tokens in [7, 33, 4096] {
            let limits = Limits::new(64, batch_tokens, 1 << 14);
            let mut answers = generate(&ops, &shared, limits, all.clone()).unwrap();
            let asked = answers.pop().unwrap();
            assert!(answers.iter().all(|answer| answer.reading == Reading::default()), "nobody else asked");

            let sequence = [&prompt[..], &asked.tokens].concat();
            let whole = Batch::sequences([&sequence[..]]);
            let mut tape = Tape::inference(&ops);
            let states = model.forward(&mut tape, &params, &whole, &mut Past::Within(whole.spans.clone())).unwrap();
            let rows: Vec<u32> = (0..prompt.len() as u32 - 1).collect();
            let targets = Targets { rows: &rows, ids: &prompt[1..], entropy: false };
            let said = tape.token_loss(&states, model.head(&params), targets, Loss::Constant(0.0)).unwrap();
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&asked.reading.prompt_logprobs), bits(&said.logprob), "{name}");
            let mut sum = vec![0f64; states.width];
            for state in states.value().chunks_exact(states.width).take(prompt.len()) {
                sum.iter_mut().zip(state).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            assert_eq!(asked.reading.prompt_states, sum, "{name}");
        }
    }
}

/// Weights that change between two steps leave nothing of the old ones behind.
#[test]
fn changed_weights_invalidate_what_was_cached() {
    let ops = CpuOps::with_threads(2).unwrap();
    for name in MODELS {
        let [model, moved] = [0, 1].map(|_| open(&ops, name));
        let change = |model: &SharedModel<CpuOps>| {
            model.change(|_, params| {
                params.learning_mut().for_each(|(_, _, values)| values.iter_mut().for_each(|x| *x *= 1.1));
            });
        };
        change(&moved);
        let limits = Limits::new(4, 64, 1024);
        let request = Request { stop: Vec::new(), max_tokens: 12, ..requests().remove(1) };
        let mut engine = Engine::new(ops.clone(), model.clone(), limits);
        engine.submit(request.clone()).unwrap();
        let mut tokens = Vec::new();
        while tokens.len() < 4 {
            tokens.extend(engine.step().events.into_iter().map(|event| event.token));
        }
        change(&model);
        let mut logprobs = Vec::new();
        while !engine.is_idle() {
            for event in engine.step().events {
                tokens.push(event.token);
                logprobs.push(event.logprob.to_bits());
            }
        }
        // Greedy from where the old weights left off, by the new ones alone.
        let go_on = Request { prompt: [&request.prompt[..], &tokens[..4]].concat(), max_tokens: 8, ..request };
        let fresh = generate(&ops, &moved, limits, vec![go_on]).unwrap().remove(0);
        assert_eq!(fresh.tokens, tokens[4..], "{name}");
        assert_eq!(fresh.logprobs.iter().map(|l| l.to_bits()).collect::<Vec<_>>(), logprobs, "{name}");
    }
}

/// A request that does not fit ends alone; what the others get is what they get without it.
#[test]
fn a_request_without_memory_ends_alone() {
    let ops = CpuOps::with_threads(2).unwrap();
    let shared = open(&ops, "llama");
    let limits = Limits::new(8, 64, 1 << 20);
    let small = || requests().into_iter().take(1);
    let alone = exact(&generate(&ops, &shared, limits, small().collect()).unwrap());
    // Pages for some hundred tokens; the parameters are in another pool.
    let page_bytes = ops.page_bytes(&shared.model().cache_layout(CacheForm::Exact), CacheForm::Exact);
    let tight = ops.with_memory_limit((1 << 20) + 20 * page_bytes);
    let mut engine = Engine::new(tight, shared.clone(), limits);
    let id = engine.submit(small().next().unwrap()).unwrap();
    let endless = Request { prompt: ids(900, 1), max_tokens: 4000, stop: Vec::new(), ..requests().remove(1) };
    let large = engine.submit(endless).unwrap();
    let (mut dropped, mut answer) = (Vec::new(), (Vec::new(), Vec::new(), Finish::Length));
    while !engine.is_idle() {
        let step = engine.step();
        for event in step.events.into_iter().filter(|event| event.id == id) {
            answer.0.push(event.token);
            answer.1.push(event.logprob.to_bits());
            answer.2 = event.finish.unwrap_or(answer.2);
        }
        dropped.extend(step.dropped.into_iter().map(|dropped| dropped.id));
    }
    assert_eq!((dropped, vec![answer]), (vec![large], alone));
    assert_eq!(engine.cache_tokens_used(), 0);
}

#[test]
fn requests_that_can_never_be_served_are_refused() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = open(&ops, "llama");
    let mut engine: Engine<CpuOps> = Engine::new(ops.clone(), model.clone(), Limits::new(1, 8, 64));
    let good = Request::new(vec![1], 5);
    let sampling = |temperature, top_p| Sampling { temperature, top_p, ..Sampling::GREEDY };
    let bad = [
        (Request { prompt: Vec::new(), ..good.clone() }, RequestError::EmptyPrompt),
        (Request { max_tokens: 0, ..good.clone() }, RequestError::NoTokens),
        (Request { max_tokens: 64, ..good.clone() }, RequestError::TooLong { needed: 65, limit: 64 }),
        (Request { max_tokens: usize::MAX, ..good.clone() }, RequestError::TooLong { needed: usize::MAX, limit: 64 }),
        (
            Request { prompt: vec![1, 61], ..good.clone() },
            RequestError::UnknownToken { index: 1, id: 61, vocabulary: 61 },
        ),
    ];
    for (request, error) in bad {
        assert_eq!(engine.submit(request), Err(error));
    }
    let greedy = Sampling::GREEDY;
    for wrong in [
        sampling(f32::NAN, 1.0),
        sampling(-1.0, 1.0),
        sampling(1.0, 0.0),
        sampling(1.0, f32::NAN),
        Sampling { min_p: 1.5, ..greedy },
        Sampling { typical_p: 0.0, ..greedy },
        Sampling { presence_penalty: f32::INFINITY, ..greedy },
        Sampling { frequency_penalty: f32::NAN, ..greedy },
        Sampling { repetition_penalty: 0.0, ..greedy },
    ] {
        assert!(matches!(
            engine.submit(Request { sampling: wrong, ..good.clone() }),
            Err(RequestError::Sampling { .. })
        ));
    }
    let bias = Control { bias: vec![(3, f32::NAN)], ..Control::default() };
    assert!(matches!(
        engine.submit(Request { control: bias, ..good.clone() }),
        Err(RequestError::Bias { token: 3, .. })
    ));
    assert!(engine.is_idle());
    // No more pages than page numbers, however many tokens the limit names.
    let endless = Limits::new(1, 8, usize::MAX);
    let mut endless: Engine<CpuOps> = Engine::new(ops.clone(), model, endless);
    let long = Request { max_tokens: 100_000_000_000_000, ..good.clone() };
    assert!(matches!(endless.submit(long), Err(RequestError::TooLong { .. })));
    assert!(engine.submit(good).is_ok());
}

/// Of 61 tokens those below 10, and no more than four.
#[derive(Clone, Debug, Default)]
struct FourSmall(usize);

impl Constraint for FourSmall {
    fn allowed(&mut self) -> AllowedTokens {
        AllowedTokens::Of([(1 << 10) - 1].into())
    }

    fn accept(&mut self, _: u32) -> bool {
        self.0 += 1;
        self.0 == 4
    }

    fn boxed(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

#[test]
fn an_answer_is_steered() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = open(&ops, "llama");
    let limits = Limits::new(4, 64, 1 << 12);
    let answer = |control| {
        let sampling = Sampling { temperature: 1.0, likeliest: 2, ..Sampling::GREEDY };
        let request = Request { sampling, control, ..Request::new(ids(5, 1), 20) };
        generate(&ops, &model, limits, vec![request]).unwrap().remove(0)
    };
    let plain = answer(Control::default()).tokens;
    let thinking = Some(Thinking { budget: 6, open: None, close: 60 });
    let closed = answer(Control { thinking, ..Control::default() }).tokens;
    assert_eq!((&closed[..6], closed[6], closed.len()), (&plain[..6], 60, 20));
    // What is ruled out never comes; the rest does.
    let bias = (0..55).map(|token| (token, f32::NEG_INFINITY)).collect();
    assert!(answer(Control { bias, ..Control::default() }).tokens.iter().all(|token| (55..61).contains(token)));
    let constraint = || Some(Box::new(FourSmall::default()) as Box<dyn Constraint>);
    let small = answer(Control { constraint: constraint(), ..Control::default() });
    assert!(small.tokens.len() == 4 && small.tokens.iter().all(|token| *token < 10), "{:?}", small.tokens);
    assert_eq!(small.finish, Finish::Stop);
}
