//! What a request gets is its own: neither the engine's limits, nor how its prompt is cut, nor its neighbours, nor the
//! threads change a bit of it. On the checkpoints of `golden/`, whose weights are random.

use picnic_engine::{
    Completion, Constraint, Control, Engine, Finish, Limits, Reading, Request, RequestError, Sampling, Thinking, Wants,
    generate,
};
use picnic_model::checkpoint::Checkpoint;
use picnic_model::layers::{Absorbed, Past, Targets};
use picnic_model::ops::{AllowedTokens, CachedSpan, Contract, Loss, Position};
use picnic_model::{Batch, CacheForm, CpuOps, Ops, SharedModel, Tape, WeightForm, load};
use std::path::Path;

const MODELS: [&str; 4] = ["deepseek_v3", "deepseek_v3_nolora", "llama", "qwen3"];

fn open(ops: &CpuOps, name: &str) -> SharedModel<CpuOps> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name);
    let (model, params) = load(ops, &Checkpoint::open(folder).unwrap(), Some(WeightForm::Exact)).unwrap();
    SharedModel::new(model, params)
}

/// Token ids that look random; the fixtures' vocabulary has 61.
fn ids(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 7 + i * 13 + seed * 31) % 61) as u32).collect()
}

/// Prompts from one token to more than two pages, drawn in every way.
fn requests() -> Vec<Request> {
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

fn exact(answers: &[Completion]) -> Vec<(Vec<u32>, Vec<u32>, Finish)> {
    let logprobs = |c: &Completion| c.logprobs.iter().map(|l| l.to_bits()).collect();
    answers.iter().map(|c| (c.tokens.clone(), logprobs(c), c.finish)).collect()
}

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
            let wants = Wants { prompt_logprobs: true, hidden: Vec::new() };
            let request = Request { wants, ..Request::new(ids(100, 5), 1) };
            let limits = Limits { cache, ..Limits::new(1, 33, 1 << 10) };
            generate(&ops, &model, limits, vec![request]).unwrap().remove(0).reading.prompt_logprobs
        };
        let exact = said(CacheForm::Exact);
        for (cache, within) in [(CacheForm::F16, 0.01), (CacheForm::Q8, 0.1)] {
            let off = exact.iter().zip(said(cache)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off > 0.0 && off < within, "{name}: {cache:?} is off by {off}");
        }
        // A token of MLA takes one latent instead of a key and a value for each head.
        let bytes = |cache| ops.page_bytes(&model.model().cache_layout(cache), cache);
        assert!(bytes(CacheForm::F16) * 2 <= bytes(CacheForm::Exact), "{name}");
    }
}

/// What is answered to each request, by the order in which they are given in, and the engine.
fn answers(
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
struct Answered {
    tokens: Vec<u32>,
    logprobs: Vec<u32>,
    reused: usize,
}

/// The samples of one question read its prompt once, and each gets what it gets alone.
#[test]
fn samples_share_their_prompt() {
    let sample = |seed| Request {
        sampling: Sampling { temperature: 1.0, seed, ..Sampling::GREEDY },
        ..Request::new(ids(75, 3), 40)
    };
    let samples: Vec<Request> = (0..8).map(sample).collect();
    for name in MODELS {
        for threads in 1..=3 {
            let ops = CpuOps::with_threads(threads).unwrap();
            let model = open(&ops, name);
            let limits = Limits::new(8, 64, 2048);
            let alone: Vec<Answered> = samples
                .iter()
                .map(|sample| answers(&ops, &model, limits, std::slice::from_ref(sample)).0.remove(0))
                .collect();
            let (together, engine) = answers(&ops, &model, limits, &samples);
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!((&alone.tokens, &alone.logprobs), (&together.tokens, &together.logprobs), "{name}");
            }
            // Two whole pages of 75 tokens, by all but the first.
            let counters = engine.counters();
            assert_eq!(together.iter().map(|answer| answer.reused).sum::<usize>(), 7 * 64, "{name}, {threads} threads");
            assert_eq!((counters.prompt_tokens, counters.reused_tokens), (8 * 75, 7 * 64));
            assert_eq!(counters.rows, 64 + 8 * (11 + 39), "each row was read once");
            assert_eq!((counters.used_tokens, counters.idle_tokens, counters.finished), (0, 0, 8));
        }
    }
}

/// Prompts that begin alike start on several threads while others are in the middle of the same beginning.
#[test]
fn beginnings_are_shared_across_threads() {
    let model = open(&CpuOps::with_threads(1).unwrap(), "llama");
    let request = |i: usize| Request::new(ids(40 + i * 37 % 150, i % 2), 1 + i % 9);
    let requests: Vec<Request> = (0..120).map(request).collect();
    let (alone, _) = answers(&CpuOps::with_threads(1).unwrap(), &model, Limits::new(1, 64, 1024), &requests);
    for threads in 2..=3 {
        let ops = CpuOps::with_threads(threads).unwrap();
        for (sequences, cache_tokens, rounds) in [(6, 4096, 8), (8, 768, 3), (9, 512, 16)] {
            let limits = Limits { kept_tokens: 256, ..Limits::new(sequences, 32, cache_tokens) };
            let mut engine = Engine::new(ops.clone(), open(&ops, "llama"), limits);
            let sent: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
            let mut tokens = vec![Vec::new(); sent.len()];
            while !engine.is_idle() {
                for event in engine.steps(rounds).events {
                    tokens[sent.iter().position(|id| *id == event.id).unwrap()].push(event.token);
                }
            }
            assert!(alone.iter().zip(&tokens).all(|(alone, tokens)| alone.tokens == *tokens), "{threads} threads");
            assert!(engine.counters().reused_tokens > 0 && engine.cache_tokens_used() == 0);
        }
    }
}

/// Whoever reads for others may go in the middle of it: another goes on from there.
#[test]
fn a_reader_for_others_may_be_cancelled() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = open(&ops, "deepseek_v3");
    let limits = Limits { kept_tokens: 2048, ..Limits::new(6, 20, 2048) };
    let request = Request::new(ids(75, 3), 10);
    let alone = answers(&ops, &model, limits, std::slice::from_ref(&request)).0.remove(0);
    let mut engine = Engine::new(ops, model, limits);
    let sent: Vec<_> = (0..3).map(|_| engine.submit(request.clone()).unwrap()).collect();
    // 20 and 40 of 75 tokens were read.
    assert_eq!((engine.step().events.len(), engine.step().events.len()), (0, 0));
    engine.cancel(sent[0]);
    let mut tokens = [Vec::new(), Vec::new()];
    while !engine.is_idle() {
        for event in engine.step().events {
            tokens[sent.iter().position(|id| *id == event.id).unwrap() - 1].push(event.token);
        }
    }
    assert_eq!(tokens, [alone.tokens.clone(), alone.tokens]);
    assert_eq!(engine.counters().rows, 64 + 2 * (11 + 9));
    assert_eq!((engine.counters().cancelled, engine.cache_tokens_used()), (1, 0));
}

/// The next question of a conversation finds what was said before; another tenant does not.
#[test]
fn a_conversation_is_not_read_again() {
    for (name, threads) in MODELS.into_iter().zip([1, 2, 2, 1]) {
        let ops = CpuOps::with_threads(threads).unwrap();
        let model = open(&ops, name);
        let limits = Limits { kept_tokens: 1024, ..Limits::new(4, 64, 1024) };
        let first = Request::new(ids(40, 1), 60);
        let mut engine = Engine::new(ops.clone(), model.clone(), limits);
        let mut ask = |request: &Request| {
            let id = engine.submit(request.clone()).unwrap();
            let mut answer = Answered::default();
            while !engine.is_idle() {
                for event in engine.step().events.into_iter().filter(|event| event.id == id) {
                    answer.tokens.push(event.token);
                    answer.logprobs.push(event.logprob.to_bits());
                    answer.reused = event.reused;
                }
            }
            answer
        };
        let said = ask(&first);
        assert_eq!(said.reused, 0);
        let prompt = [&first.prompt[..], &said.tokens, &ids(10, 2)].concat();
        let next = Request::new(prompt, 20);
        let fresh = answers(&ops, &model, limits, std::slice::from_ref(&next)).0.remove(0);
        let other = ask(&Request { tenant: 1, ..next.clone() });
        let again = ask(&next);
        // 40 and 59 tokens that were read, in whole pages of 32.
        assert_eq!((fresh.reused, other.reused, again.reused), (0, 0, 96), "{name}");
        for answer in [other, again] {
            assert_eq!((&answer.tokens, &answer.logprobs), (&fresh.tokens, &fresh.logprobs), "{name}");
        }
        // Who wants to know something of each token of the prompt reads it.
        let wants = Wants { prompt_logprobs: true, hidden: Vec::new() };
        assert_eq!(ask(&Request { wants, ..next }).reused, 0);
    }
}

/// Requests take pages as they grow. When there are none left, the last one gives its own back and is read again.
#[test]
fn who_came_last_gives_way_and_loses_nothing() {
    for (name, threads) in MODELS.into_iter().zip([1, 2, 3, 1]) {
        let ops = CpuOps::with_threads(threads).unwrap();
        let model = open(&ops, name);
        let request = |seed| Request {
            sampling: Sampling { temperature: 1.0, seed, ..Sampling::GREEDY },
            ..Request::new(ids(20 + seed as usize, seed as usize), 100)
        };
        let requests: Vec<Request> = (0..6).map(request).collect();
        let (alone, _) = answers(&ops, &model, Limits::new(1, 64, 1024), &requests);
        // All six begin in six of ten pages, and need 24 in the end.
        let (tight, engine) = answers(&ops, &model, Limits::new(6, 64, 320), &requests);
        assert_eq!(tight, alone, "{name}");
        let counters = engine.counters();
        assert!(counters.preempted > 0 && counters.finished == 6 && counters.used_tokens == 0, "{counters:?}");
    }
}

/// A higher priority takes the place of a lower one, which goes on later where it was.
#[test]
fn priorities() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = open(&ops, "llama");
    let limits = Limits::new(2, 64, 1024);
    let request = |seed, priority| Request { priority, ..Request::new(ids(20, seed), 30) };
    let alone = answers(&ops, &model, limits, &[request(1, 0)]).0.remove(0).tokens;
    let mut engine = Engine::new(ops, model, limits);
    let low = [request(0, 0), request(1, 0), request(2, 0)].map(|request| engine.submit(request).unwrap());
    (0..5).for_each(|_| assert_eq!(engine.step().events.len(), 2));
    let high = engine.submit(request(3, 1)).unwrap();
    let mut order = Vec::new();
    let mut tokens = alone[..5].to_vec();
    while !engine.is_idle() {
        for event in engine.step().events {
            order.extend(event.finish.map(|_| event.id));
            tokens.extend((event.id == low[1]).then_some(event.token));
        }
    }
    assert_eq!(order, [low[0], high, low[1], low[2]]);
    assert_eq!(tokens, alone);
    assert_eq!(engine.counters().preempted, 1);
}

/// Guesses save passes and change nothing.
#[test]
fn guesses_do_not_show() {
    let mut right = 0;
    for name in MODELS {
        let ops = CpuOps::with_threads(1).unwrap();
        let model = open(&ops, name);
        let mut requests = requests();
        // Likeliest tokens of random weights go round in circles.
        requests.push(Request::new(ids(9, 4), 150));
        let (plain, without) = answers(&ops, &model, Limits::new(1, 64, 1024), &requests);
        let (guessed, with) = answers(&ops, &model, Limits { draft_tokens: 6, ..Limits::new(1, 64, 1024) }, &requests);
        assert_eq!(plain, guessed, "{name}");
        let (with, without) = (with.counters(), without.counters());
        assert_eq!((without.guessed, with.drawn), (0, without.drawn));
        // Each right guess saves a pass, but for one that ended the answer.
        let passes = with.passes + with.guessed_right;
        assert!((without.passes..=without.passes + with.finished).contains(&passes), "{with:?}, {without:?}");
        right += with.guessed_right;
    }
    assert!(right > 20, "{right} guesses were right");
}

/// A long prompt keeps nobody waiting: those that write go on while it is read, and a short one is read at once.
#[test]
fn a_long_prompt_holds_nobody_up() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = open(&ops, "llama");
    let limits = Limits::new(8, 32, 1024);
    let mut engine = Engine::new(ops, model, limits);
    let request = |length: usize, max_tokens: usize| Request::new(ids(length, length), max_tokens);
    let writer = engine.submit(request(4, 60)).unwrap();
    assert_eq!(engine.step().events.len(), 1);
    let long = engine.submit(request(100, 2)).unwrap();
    let short = engine.submit(request(3, 2)).unwrap();
    let (mut steps_of_short, mut steps_of_long) = (Vec::new(), Vec::new());
    for step in 1..=40 {
        let ids: Vec<_> = engine.step().events.iter().map(|event| event.id).collect();
        assert!(ids.contains(&writer), "the writer waits in step {step}");
        steps_of_short.extend(ids.contains(&short).then_some(step));
        steps_of_long.extend(ids.contains(&long).then_some(step));
    }
    assert_eq!(steps_of_short, [1, 2]);
    // A quarter of each pass, shared with the short prompt in the first.
    assert_eq!(steps_of_long[0], 13);
}

/// Pages change hands while a request runs, and it does not notice.
#[test]
fn cancelled_neighbours_do_not_show() {
    let ops = CpuOps::with_threads(1).unwrap();
    for name in MODELS {
        let model = open(&ops, name);
        let limits = Limits::new(3, 16, 512);
        let watched = Request { stop: Vec::new(), ..requests().remove(2) };
        let alone = generate(&ops, &model, limits, vec![watched.clone()]).unwrap().remove(0);

        let mut engine = Engine::new(ops.clone(), model.clone(), limits);
        let mut others: Vec<_> = requests().into_iter().take(2).map(|r| engine.submit(r).unwrap()).collect();
        let id = engine.submit(watched).unwrap();
        let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
        for step in 0.. {
            if engine.is_idle() {
                break;
            }
            if step % 4 == 3 {
                engine.cancel(others.remove(0));
                others.push(engine.submit(requests().remove(step % 6)).unwrap());
            }
            for event in engine.step().events.into_iter().filter(|event| event.id == id) {
                tokens.push(event.token);
                logprobs.push(event.logprob.to_bits());
                if event.finish.is_some() {
                    others.drain(..).for_each(|other| engine.cancel(other));
                }
            }
            if others.is_empty() {
                break;
            }
        }
        assert_eq!((tokens, logprobs), (alone.tokens, alone.logprobs.iter().map(|l| l.to_bits()).collect()), "{name}");
        assert!(engine.is_idle() && engine.cache_tokens_used() == 0, "{name}: everything is free again");
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
                let spans = [CachedSpan { rows: 0..end - start, start, pages: vec![4, 0, 2] }];
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
        let hidden = vec![0, 31, 32, 69, 72, 500];
        let asking = Request {
            stop: Vec::new(),
            max_tokens: 8,
            wants: Wants { prompt_logprobs: true, hidden: hidden.clone() },
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
            let read: Vec<usize> = asked.reading.hidden.iter().map(|(position, _)| *position).collect();
            assert_eq!(read, hidden[..5], "the last position was never read");
            for (position, state) in &asked.reading.hidden {
                assert_eq!(bits(state), bits(&states.value()[position * states.width..][..states.width]), "{name}");
            }
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

/// Requests of every kind that come and go at random, in a cache that is too small for them: each gets what it gets
/// alone, and nothing is left in the end.
#[test]
fn what_comes_and_goes_leaves_nothing() {
    let ops = CpuOps::with_threads(2).unwrap();
    let model = open(&ops, "llama");
    let mut kinds = requests();
    // Many that begin alike: some start while others, on another thread, are reading the same.
    kinds.extend((0..20).map(|i| Request::new(ids(70 + 7 * i, 3), 1 + i % 9)));
    let (alone, _) = answers(&ops, &model, Limits::new(1, 64, 1024), &kinds);
    let limits = Limits { kept_tokens: 256, draft_tokens: 3, ..Limits::new(8, 48, 352) };
    let mut engine = Engine::new(ops, model, limits);
    let mut random = picnic_random::stream(5);
    let mut below = |n: usize| (picnic_random::uniform(&mut random) * n as f64) as usize;
    let (mut under_way, mut ended) = (Vec::new(), 0);
    for step in 0..1500 {
        if step < 1200 && under_way.len() < 20 && below(2) == 0 {
            let kind = below(kinds.len());
            let request = Request { priority: below(2) as i32, tenant: below(2) as u64, ..kinds[kind].clone() };
            under_way.push((engine.submit(request).unwrap(), kind, Vec::new()));
        }
        if !under_way.is_empty() && below(25) == 0 {
            let (id, ..) = under_way.swap_remove(below(under_way.len()));
            engine.cancel(id);
        }
        for event in engine.steps(1 + below(8)).events {
            let Some(at) = under_way.iter().position(|(id, ..)| *id == event.id) else { panic!("it was cancelled") };
            under_way[at].2.push(event.token);
            if event.finish.is_some() {
                let (_, kind, tokens) = under_way.swap_remove(at);
                assert_eq!(tokens, alone[kind].tokens);
                ended += 1;
            }
        }
    }
    let counters = engine.counters();
    assert!(under_way.is_empty() && engine.is_idle() && ended > 200, "{ended} ended, {counters:?}");
    assert_eq!((counters.finished, counters.used_tokens, counters.waiting, counters.running), (ended, 0, 0, 0));
    assert_eq!(counters.submitted, counters.finished + counters.cancelled);
    assert!(counters.preempted > 0 && counters.reused_tokens > 0, "{counters:?}");
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
