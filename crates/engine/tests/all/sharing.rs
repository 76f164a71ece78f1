//! What requests share does not show in their answers: pages of prompts that begin alike, passes, places, and pages that
//! one has to give back to another. On the checkpoints of `golden/`, whose weights are random.

use crate::common::{Answered, MODELS, answers, ids, open, requests};
use picnic_engine::{Engine, Limits, Request, Sampling, Wants, generate};
use picnic_model::CpuOps;

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
        let wants = Wants { prompt_logprobs: true, ..Wants::default() };
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
