//! Guesses by a model's module for multi-token prediction save passes and change nothing: on `golden/mtp`, whose weights are
//! random, and on the same model with weights by which each token decides the next, so that the module is right.

use crate::common::{MODELS, answers, exact, ids, open, requests};
use picnic_engine::{Completion, Counters, Engine, Limits, Request, Sampling, Wants, generate};
use picnic_model::arch::Followed;
use picnic_model::checkpoint::{Checkpoint, FloatType, SHARD_BYTES};
use picnic_model::config::ModelConfig;
use picnic_model::init::initial_values;
use picnic_model::layers::{Absorbed, Past};
use picnic_model::ops::{CachedSpan, Position};
use picnic_model::{
    Batch, CacheForm, CpuOps, Model, Ops, OutOfMemory, ParamStore, SharedModel, Source, Tape, WeightForm, initialise,
    load, save,
};
use std::fs;
use std::path::Path;

/// `golden/mtp` with other weights. Neither attention nor feed-forward adds anything, so that the likeliest token follows
/// from the one before it alone; and the module's projection passes the embedding of the token that it hears on, so that
/// the module says what the main model is about to say.
fn knowing(ops: &CpuOps) -> SharedModel<CpuOps> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/mtp");
    let model = Model::new(Checkpoint::open(folder).unwrap().config().unwrap());
    let params = ParamStore::new(ops, model.specs().to_vec(), false, |spec| {
        let name = spec.name.as_str();
        let values = match &spec.shape[..] {
            &[n, k] if name.ends_with("eh_proj.weight") => {
                (0..n * k).map(|i| f32::from(u8::from(i / k == i % k))).collect()
            }
            _ if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") => vec![0.0; spec.len()],
            _ => initial_values(spec, 0.5, 7),
        };
        Ok::<_, OutOfMemory>(Source::Values(values))
    });
    SharedModel::new(model, params.unwrap())
}

/// Both models, each with its name.
fn models(ops: &CpuOps) -> [(&'static str, SharedModel<CpuOps>); 2] {
    [("random", open(ops, "mtp")), ("knowing", knowing(ops))]
}

/// Requests of every kind, long greedy ones, and some that begin alike, drawn near the likeliest tokens and far from them.
fn many() -> Vec<Request> {
    let mut all = requests();
    all.extend((0..4).map(|i| Request::new(ids(3 + 11 * i, 40 + i), 90)));
    all.extend((0..6).map(|i| Request {
        sampling: Sampling { temperature: 0.2 * (i % 4) as f32, seed: 100 + i as u64, ..Sampling::GREEDY },
        ..Request::new([ids(70, 3), ids(i, i)].concat(), 40 + i)
    }));
    all
}

/// The tokens of an answer, and the bits of their log-probabilities.
type Bits = (Vec<u32>, Vec<u32>);

/// The answers under these limits, and what was counted.
fn counted(ops: &CpuOps, model: &SharedModel<CpuOps>, limits: Limits, requests: &[Request]) -> (Vec<Bits>, Counters) {
    let (answers, engine) = answers(ops, model, limits, requests);
    (answers.into_iter().map(|answer| (answer.tokens, answer.logprobs)).collect(), engine.counters())
}

#[test]
fn guesses_of_the_module_do_not_show() {
    let ops = CpuOps::with_threads(1).unwrap();
    let mut right = 0;
    for (name, model) in models(&ops) {
        for cache in [CacheForm::Exact, CacheForm::F16, CacheForm::Q8] {
            let wide = Limits { cache, ..Limits::new(64, 4096, 1 << 14) };
            let plain = counted(&ops, &model, wide, &many()).0;
            for limits in [
                Limits { draft_tokens: 1, ..wide },
                Limits { draft_tokens: 5, sequences: 1, ..wide },
                // Prompts are read in pieces, beginnings are shared, and pages run out.
                Limits { draft_tokens: 3, kept_tokens: 1 << 14, batch_tokens: 9, ..wide },
                Limits { draft_tokens: 4, cache_tokens: 256, kept_tokens: 128, ..wide },
                Limits { draft_tokens: 2, sequences: 2, batch_tokens: 3, ..wide },
            ] {
                let (got, counters) = counted(&ops, &model, limits, &many());
                assert_eq!(plain, got, "{name}: {limits:?}");
                assert!(counters.guessed_by_module > 0, "{name}: {limits:?}");
                assert!(limits.cache_tokens > 256 || counters.preempted > 0, "{name}: {counters:?}");
                assert!(limits.kept_tokens == 0 || counters.reused_tokens > 0, "{name}: {counters:?}");
                right += counters.guessed_by_module_right;
            }
        }
    }
    assert!(right > 60, "{right} guesses were right");
}

/// On every thread a share of the sequences, each of which guesses.
#[test]
fn threads_do_not_show() {
    for (at, cache) in [(0, CacheForm::Exact), (1, CacheForm::Exact), (1, CacheForm::Q8)] {
        let one = CpuOps::with_threads(1).unwrap();
        let wide = Limits { cache, ..Limits::new(64, 4096, 1 << 14) };
        let plain = exact(&generate(&one, &models(&one)[at].1, wide, many()).unwrap());
        for threads in 2..=3 {
            let ops = CpuOps::with_threads(threads).unwrap();
            let model = &models(&ops)[at].1;
            for limits in [wide, Limits { cache_tokens: 320, kept_tokens: 128, ..wide }] {
                let got = generate(&ops, model, Limits { draft_tokens: 3, ..limits }, many()).unwrap();
                assert_eq!(plain, exact(&got), "{threads} threads, {limits:?}");
            }
        }
    }
}

/// Where the module always knows what comes, all that it guesses comes, and each guess saves a pass.
#[test]
fn what_the_module_knows_saves_passes() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = knowing(&ops);
    let requests: Vec<Request> = (0..61).map(|id| Request::new(vec![id], 40)).collect();
    let (plain, without) = counted(&ops, &model, Limits::new(1, 64, 1024), &requests);
    let (got, with) = counted(&ops, &model, Limits { draft_tokens: 1, ..Limits::new(1, 64, 1024) }, &requests);
    assert_eq!(plain, got);
    assert_eq!((without.guessed, with.drawn), (0, without.drawn));
    assert!(with.guessed_by_module > 0, "{with:?}");
    assert_eq!(with.guessed_by_module, with.guessed_by_module_right, "{with:?}");
    let passes = with.passes + with.guessed_right;
    assert!((without.passes..=without.passes + with.finished).contains(&passes), "{with:?}, {without:?}");
}

/// A model without a module has no more of a cache than it had, and nobody to ask.
#[test]
fn a_model_without_a_module_is_as_it_was() {
    let ops = CpuOps::with_threads(1).unwrap();
    let tokens = |model: &SharedModel<CpuOps>, draft_tokens, cache| {
        Limits { draft_tokens, cache, ..Limits::new(1, 64, 1024) }.cache_in(&ops, model.model(), 1 << 22)
    };
    for name in MODELS {
        let model = open(&ops, name);
        for cache in [CacheForm::Exact, CacheForm::F16, CacheForm::Q8] {
            assert_eq!(tokens(&model, 0, cache), tokens(&model, 4, cache), "{name}");
        }
        let counters = counted(&ops, &model, Limits { draft_tokens: 4, ..Limits::new(8, 64, 2048) }, &many()).1;
        assert_eq!((counters.guessed_by_module, counters.guessed_by_module_right), (0, 0), "{name}");
    }
    // One with a module has a third layer in the cache, and only if there are guesses.
    let model = open(&ops, "mtp");
    let page = |model: &Model, form, layers: usize| {
        let layout = [model.cache_layout(form), model.mtp_cache(form).into_iter().collect()].concat();
        ops.page_bytes(&layout[..layers], form)
    };
    for cache in [CacheForm::Exact, CacheForm::F16, CacheForm::Q8] {
        for (draft_tokens, layers) in [(0, 2), (4, 3)] {
            let pages = (1 << 22) / page(model.model(), cache, layers);
            assert_eq!(tokens(&model, draft_tokens, cache), pages * CpuOps::PAGE_TOKENS, "{cache:?}");
        }
    }
    let counters = counted(&ops, &model, Limits::new(8, 64, 2048), &many()).1;
    assert_eq!((counters.guessed, counters.guessed_by_module), (0, 0));
}

/// What the module makes of a row over its cache, whether the rows before it were only kept or read whole, is bit for bit
/// what it makes of the row in training.
#[test]
fn the_module_hears_in_pieces_what_it_hears_at_once() {
    let ops = CpuOps::with_threads(2).unwrap();
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    for (name, shared) in models(&ops) {
        let (model, params) = (shared.model(), shared.params());
        let sequence = ids(75, 3);
        let whole = Batch::sequences([&sequence[..]]);
        let mut tape = Tape::inference(&ops);
        let hidden = model.forward(&mut tape, &params, &whole, &mut Past::Within(whole.spans.clone())).unwrap();
        let (expected, _) = model.mtp(&mut tape, &params, &hidden, &whole).unwrap().unwrap();
        let row = |at: usize| bits(&expected.value()[at * expected.width..][..expected.width]);

        let layout = [model.cache_layout(CacheForm::Exact), model.mtp_cache(CacheForm::Exact).into_iter().collect()];
        for piece in [1, 7, 32, 40, 74] {
            for keeps in [false, true] {
                let mut cache = ops.cache(&layout.concat(), CacheForm::Exact);
                let mut said = 0;
                for start in (0..74).step_by(piece) {
                    let end = (start + piece).min(74);
                    // The engine's way: all but the last are kept, and the last says what comes.
                    let kept = if keeps { end - 1 } else { start };
                    for (part, is_kept) in [(start..kept, true), (kept..end, false)] {
                        if part.is_empty() {
                            continue;
                        }
                        let followed = Followed {
                            rows: part.clone().map(|at| at as u32).collect(),
                            next: Batch {
                                ids: sequence[part.start + 1..=part.end].to_vec(),
                                positions: Position::range(part.start, part.len(), 75).collect(),
                                spans: std::iter::once(0..part.len()).collect(),
                            },
                        };
                        // Pages in no order.
                        let spans =
                            [CachedSpan { rows: 0..part.len(), start: part.start, prompt: 75, pages: vec![4, 0, 2] }];
                        let absorbed = Absorbed::default();
                        let mut past = Past::Cached(&mut cache, &spans, &absorbed);
                        if is_kept {
                            model.mtp_keep(&mut tape, &params, &hidden, &followed, &mut past).unwrap();
                            continue;
                        }
                        let states = model.mtp_rows(&mut tape, &params, &hidden, &followed, &mut past).unwrap();
                        for (state, at) in states.value().chunks_exact(states.width).zip(part) {
                            assert_eq!(bits(state), row(at), "{name}: row {at} in pieces of {piece}");
                            said += 1;
                        }
                    }
                }
                assert_eq!(said, if keeps { 74_usize.div_ceil(piece) } else { 74 });
            }
        }
    }
}

/// `golden/mtp` with rows of whole blocks, so that its matrices, the module's among them, are multiplied in integers.
fn in_blocks(ops: &CpuOps, form: WeightForm) -> SharedModel<CpuOps> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/mtp/config.json");
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&golden).unwrap()).unwrap();
    for (key, size) in [
        ("hidden_size", 64),
        ("intermediate_size", 64),
        ("moe_intermediate_size", 32),
        ("q_lora_rank", 32),
        ("kv_lora_rank", 32),
        ("num_attention_heads", 4),
        ("num_key_value_heads", 4),
        ("v_head_dim", 16),
    ] {
        config[key] = size.into();
    }
    let model = Model::new(ModelConfig::from_value(&config, &golden).unwrap());
    let folder = tempfile::tempdir().unwrap();
    save(ops, &model, &initialise(ops, &model, 5).unwrap(), folder.path(), FloatType::F32, SHARD_BYTES).unwrap();
    let (model, params) = load(ops, &Checkpoint::open(folder.path()).unwrap(), Some(form)).unwrap();
    SharedModel::new(model, params)
}

/// Weights in blocks of integers have bits of their own, and guesses do not change these either.
#[test]
fn weights_of_fewer_bits_are_guessed_for_too() {
    let ops = CpuOps::with_threads(1).unwrap();
    let answers = [WeightForm::Exact, WeightForm::Q8, WeightForm::Q4].map(|form| {
        let model = in_blocks(&ops, form);
        let plain = counted(&ops, &model, Limits::new(8, 64, 2048), &many()).0;
        let (got, counters) = counted(&ops, &model, Limits { draft_tokens: 4, ..Limits::new(8, 64, 2048) }, &many());
        assert!(plain == got && counters.guessed_by_module > 0, "{form:?}");
        got
    });
    assert!(answers[0] != answers[1] && answers[1] != answers[2], "all forms multiply alike");
}

/// Whoever wants hidden states or log-probabilities of the prompt reads them as without guesses.
#[test]
fn readings_do_not_change() {
    let ops = CpuOps::with_threads(1).unwrap();
    for (name, model) in models(&ops) {
        let wants = Wants { prompt_logprobs: true, prompt_states: true, ..Wants::default() };
        let request = Request { wants, ..Request::new(ids(40, 1), 20) };
        let answer = |draft_tokens| -> Completion {
            let limits = Limits { draft_tokens, ..Limits::new(4, 16, 1024) };
            generate(&ops, &model, limits, vec![request.clone()]).unwrap().remove(0)
        };
        assert_eq!(answer(0), answer(4), "{name}");
    }
}

/// What changed weights leave of the module's keys is forgotten with the others, and who runs goes on.
#[test]
fn changed_weights_and_cancelled_requests_leave_nothing() {
    let ops = CpuOps::with_threads(2).unwrap();
    let model = knowing(&ops);
    let limits = Limits { draft_tokens: 2, kept_tokens: 1024, ..Limits::new(4, 64, 1024) };
    let mut engine = Engine::new(ops, model.clone(), limits);
    let ids: Vec<_> = many().into_iter().take(8).map(|request| engine.submit(request).unwrap()).collect();
    for step in 0.. {
        if engine.is_idle() {
            break;
        }
        match step {
            3 => model.change(|_, _| ()),
            7 => engine.cancel(ids[2]),
            _ => {}
        }
        assert!(engine.steps(1 + step % 3).dropped.is_empty());
    }
    assert_eq!(engine.cache_tokens_used(), 0);
}

/// Where memory runs out, in the module as well, the long request ends alone; what the other gets is what it gets alone.
#[test]
fn a_request_without_memory_ends_alone() {
    let ops = CpuOps::with_threads(1).unwrap();
    let shared = open(&ops, "mtp");
    let limits = Limits { draft_tokens: 3, ..Limits::new(8, 64, 1 << 20) };
    let small = Request { stop: Vec::new(), ..requests().remove(0) };
    let alone = counted(&ops, &shared, limits, std::slice::from_ref(&small)).0;
    // Pages for some hundred tokens; the parameters are in another pool.
    let layout = [
        shared.model().cache_layout(CacheForm::Exact),
        shared.model().mtp_cache(CacheForm::Exact).into_iter().collect(),
    ];
    let tight = ops.with_memory_limit((1 << 20) + 20 * ops.page_bytes(&layout.concat(), CacheForm::Exact));
    let mut engine = Engine::new(tight, shared, limits);
    let id = engine.submit(small).unwrap();
    let large = engine.submit(Request::new(ids(900, 1), 4000)).unwrap();
    let (mut dropped, mut answer) = (Vec::new(), (Vec::new(), Vec::new()));
    while !engine.is_idle() {
        let step = engine.step();
        for event in step.events.into_iter().filter(|event| event.id == id) {
            answer.0.push(event.token);
            answer.1.push(event.logprob.to_bits());
        }
        dropped.extend(step.dropped.into_iter().map(|dropped| dropped.id));
    }
    assert_eq!((dropped, vec![answer], engine.cache_tokens_used()), (vec![large], alone, 0));
}
