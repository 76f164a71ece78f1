//! Pages on disk do not show in answers: what is read there is what would have been computed, whoever wrote it and whatever
//! became of it since. On the checkpoints of `golden/`, whose weights are random.

use crate::common::{Answered, MODELS, answers, ids, open, requests};
use picnic_engine::{Counters, DiskCache, DiskError, DiskSettings, Engine, Limits, Request};
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{CacheForm, CpuOps, SharedModel, WeightForm};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// An engine with a disk.
struct Server {
    engine: Engine<CpuOps>,
    said: Arc<Mutex<Vec<String>>>,
    writer: picnic_engine::DiskWriter,
}

fn settings(folder: &Path, name: &str) -> DiskSettings {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name);
    let weights = Checkpoint::open(golden).unwrap().fingerprint();
    DiskSettings { folder: folder.to_owned(), bytes: 1 << 30, weights, form: WeightForm::Exact }
}

fn limits() -> Limits {
    Limits { kept_tokens: 1024, ..Limits::new(4, 64, 1024) }
}

impl Server {
    fn start(ops: &CpuOps, model: &SharedModel<CpuOps>, limits: Limits, settings: DiskSettings) -> Server {
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&said);
        let disk = DiskCache::open(settings, move |line| lines.lock().unwrap().push(line.to_owned())).unwrap();
        let (writer, mut engine) = (disk.writer(), Engine::new(ops.clone(), model.clone(), limits));
        engine.attach(disk);
        Server { engine, said, writer }
    }

    /// What is answered to requests that come at once, when all is written.
    fn ask(&mut self, requests: &[Request]) -> Vec<Answered> {
        let sent: Vec<_> = requests.iter().map(|request| self.engine.submit(request.clone()).unwrap()).collect();
        let mut answers = vec![Answered::default(); sent.len()];
        while !self.engine.is_idle() {
            for event in self.engine.step().events {
                let Some(at) = sent.iter().position(|id| *id == event.id) else { continue };
                answers[at].tokens.push(event.token);
                answers[at].logprobs.push(event.logprob.to_bits());
                answers[at].reused = event.reused;
            }
        }
        self.writer.wait(Duration::from_secs(60));
        answers
    }

    fn counters(&self) -> Counters {
        self.engine.counters()
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

/// The files of pages, by name.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "page")).collect();
    pages.sort();
    pages
}

fn bytes(folder: &Path) -> u64 {
    pages(folder).iter().map(|page| page.metadata().unwrap().len()).sum()
}

/// Bytes of the file of a page.
fn page_bytes(ops: &CpuOps, model: &SharedModel<CpuOps>, name: &str) -> u64 {
    let folder = folder();
    Server::start(ops, model, limits(), settings(folder.path(), name)).ask(&[Request::new(ids(33, 9), 1)]);
    assert_eq!(pages(folder.path()).len(), 1);
    bytes(folder.path())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn same(answers: &[Answered], expected: &[Answered], what: &str) {
    for (at, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        assert_eq!((&answer.tokens, &answer.logprobs), (&expected.tokens, &expected.logprobs), "{what}, request {at}");
    }
}

#[test]
fn a_prompt_is_read_from_disk_after_a_restart() {
    for (name, threads) in MODELS.into_iter().zip([1, 2, 3, 1]) {
        for cache in [CacheForm::Exact, CacheForm::F16, CacheForm::Q8] {
            let (folder, ops) = (folder(), CpuOps::with_threads(threads).unwrap());
            let model = open(&ops, name);
            let limits = Limits { cache, draft_tokens: 3, ..limits() };
            let first = Request::new(ids(70, 1), 40);
            let said = answers(&ops, &model, limits, std::slice::from_ref(&first)).0.remove(0);
            let next = Request::new([&first.prompt[..], &said.tokens, &ids(9, 2)].concat(), 20);
            let fresh = answers(&ops, &model, limits, std::slice::from_ref(&next)).0;

            let mut server = Server::start(&ops, &model, limits, settings(folder.path(), name));
            same(&server.ask(&[first]), &[said], name);
            // 70 and 39 tokens, of which whole pages are kept.
            let counters = server.counters();
            assert_eq!((counters.disk_pages_written, counters.disk_pages_unwritten), (3, 0));
            assert_eq!((counters.disk_bytes, counters.disk_pages_read), (bytes(folder.path()), 0));
            drop(server);

            let mut server = Server::start(&ops, &model, limits, settings(folder.path(), name));
            let answer = server.ask(&[next]);
            same(&answer, &fresh, name);
            let counters = server.counters();
            // Over latents a prompt that quotes the answer has another page there: its tokens are computed in another form.
            let found = if model.model().cache_layout(cache).iter().any(|layer| layer.latent) { 2 } else { 3 };
            let tokens = 32 * found;
            assert_eq!((answer[0].reused as u64, counters.reused_tokens), (tokens, tokens), "{name}");
            assert_eq!(
                (counters.disk_pages_read, counters.prompt_tokens, counters.disk_pages_refused),
                (found, 119, 0)
            );
            // 119 and 19 tokens fill four pages.
            assert_eq!((counters.disk_pages_written, pages(folder.path()).len() as u64), (4 - found, 7 - found));
            assert!(counters.rows < 119 - tokens + 20 + 3 * 20 && server.said().is_empty(), "{counters:?}");
        }
    }
}

/// Whatever a page's content follows from keeps it from being found by others.
#[test]
fn nobody_reads_the_pages_of_another() {
    let (folder, ops) = (folder(), CpuOps::with_threads(1).unwrap());
    let (llama, qwen) = (open(&ops, "llama"), open(&ops, "qwen3"));
    let request = Request::new(ids(100, 1), 5);
    let own = || settings(folder.path(), "llama");
    let others = || DiskSettings { weights: [7; 32], ..own() };
    let rounded = || DiskSettings { form: WeightForm::Q8, ..own() };
    let f16 = Limits { cache: CacheForm::F16, ..limits() };
    let tenant = |tenant| Request { tenant, ..request.clone() };
    let cases = [
        (&llama, limits(), own(), tenant(0), 0),
        (&llama, limits(), own(), tenant(0), 3),
        (&llama, limits(), own(), tenant(1), 0),
        (&llama, limits(), others(), tenant(0), 0),
        (&llama, limits(), rounded(), tenant(0), 0),
        (&llama, f16, own(), tenant(0), 0),
        // Of another model that pretends to have the same weights.
        (&qwen, limits(), own(), tenant(0), 0),
        (&qwen, limits(), settings(folder.path(), "qwen3"), tenant(0), 0),
        // All of them have pages of their own now.
        (&llama, limits(), own(), tenant(1), 3),
        (&llama, limits(), others(), tenant(0), 3),
        (&llama, f16, own(), tenant(0), 3),
        (&qwen, limits(), settings(folder.path(), "qwen3"), tenant(0), 3),
    ];
    for (at, (model, limits, settings, request, read)) in cases.into_iter().enumerate() {
        let alone = answers(&ops, model, limits, std::slice::from_ref(&request)).0;
        let mut server = Server::start(&ops, model, limits, settings);
        let answer = server.ask(&[request]);
        same(&answer, &alone, &format!("case {at}"));
        assert_eq!((answer[0].reused, server.counters().disk_pages_read), (32 * read, read as u64), "case {at}");
        assert_eq!(server.counters().disk_pages_refused, 0);
    }
    assert_eq!(pages(folder.path()).len(), 7 * 3);
}

/// Where frequencies grow with the prompt, a page is of prompts of one length.
#[test]
fn under_dynamic_scaling_only_prompts_of_one_length_share() {
    let (folder, ops) = (folder(), CpuOps::with_threads(1).unwrap());
    let model = open(&ops, "llama_dynamic");
    for (length, read) in [(100, 0), (101, 0), (100, 3), (101, 3), (102, 0)] {
        let request = Request::new(ids(length, 1), 5);
        let alone = answers(&ops, &model, limits(), std::slice::from_ref(&request)).0;
        let mut server = Server::start(&ops, &model, limits(), settings(folder.path(), "llama_dynamic"));
        same(&server.ask(&[request]), &alone, "dynamic scaling");
        assert_eq!(server.counters().disk_pages_read, read, "{length} tokens");
    }
    assert_eq!(pages(folder.path()).len(), 3 * 3);
}

/// Two checkpoints that differ in one bit of one weight.
#[test]
fn one_bit_of_the_weights_is_another_fingerprint() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/llama");
    let folder = folder();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(file), folder.path().join(file)).unwrap();
    }
    let fingerprint = || Checkpoint::open(folder.path()).unwrap().fingerprint();
    let before = fingerprint();
    assert_eq!(before, Checkpoint::open(golden).unwrap().fingerprint());
    let path = folder.path().join("model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(&path, weights).unwrap();
    assert_ne!(before, fingerprint());
}

/// Files that were changed in every way are computed anew and written again.
#[test]
fn what_is_damaged_is_computed() {
    let (folder, ops) = (folder(), CpuOps::with_threads(2).unwrap());
    let model = open(&ops, "deepseek_v3");
    let request = Request::new(ids(200, 4), 10);
    let alone = answers(&ops, &model, limits(), std::slice::from_ref(&request)).0;
    let start = || Server::start(&ops, &model, limits(), settings(folder.path(), "deepseek_v3"));
    same(&start().ask(std::slice::from_ref(&request)), &alone, "at first");
    let whole: Vec<Vec<u8>> = pages(folder.path()).iter().map(|page| fs::read(page).unwrap()).collect();
    assert_eq!(whole.len(), 6);
    let damages: [fn(&mut Vec<u8>); 6] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        |bytes| *bytes = vec![b'x'; bytes.len()],
        |bytes| *bytes.last_mut().unwrap() ^= 0x80,
        |bytes| bytes[100] ^= 1,
        |bytes| bytes.push(0),
    ];
    for every in [1, 2, 5] {
        for (at, damage) in damages.iter().enumerate() {
            let damaged: Vec<PathBuf> = pages(folder.path()).into_iter().step_by(every).collect();
            for page in &damaged {
                let mut bytes = fs::read(page).unwrap();
                damage(&mut bytes);
                fs::write(page, bytes).unwrap();
            }
            let mut server = start();
            same(&server.ask(std::slice::from_ref(&request)), &alone, &format!("damage {at}"));
            let counters = server.counters();
            assert_eq!(counters.disk_pages_refused, damaged.len() as u64, "damage {at}");
            assert_eq!(counters.disk_pages_read, (6 - damaged.len()) as u64, "damage {at}");
            let said = server.said();
            assert!(
                said.len() == damaged.len() && said.iter().all(|line| line.ends_with("it was deleted")),
                "{said:?}"
            );
            drop(server);
            let again: Vec<Vec<u8>> = pages(folder.path()).iter().map(|page| fs::read(page).unwrap()).collect();
            assert!(again == whole, "the same files as before");
        }
    }
}

#[test]
fn the_budget_is_kept_and_the_end_goes_before_the_beginning() {
    let (folder, ops) = (folder(), CpuOps::with_threads(1).unwrap());
    let model = open(&ops, "llama");
    let text = |seed| Request::new(ids(100, seed), 1);
    let page = page_bytes(&ops, &model, "llama");
    // Seven pages, of which a text has three.
    let start = || {
        let settings = DiskSettings { bytes: 7 * page + page / 2, ..settings(folder.path(), "llama") };
        Server::start(&ops, &model, limits(), settings)
    };
    // Of the first text two are found, and of the second all: it was used again, in memory, before the third came.
    let mut server = start();
    for seed in [2, 1, 2, 3] {
        server.ask(&[text(seed)]);
        assert!(bytes(folder.path()) <= 7 * page);
    }
    assert_eq!(pages(folder.path()).len(), 7);
    drop(server);
    for (seed, read) in [(2, 3), (3, 3), (1, 1)] {
        let mut server = start();
        assert_eq!(
            (server.ask(&[text(seed)])[0].reused, server.counters().disk_bytes),
            (32 * read, 7 * page),
            "{seed}"
        );
    }
    // One page does not fit.
    let settings = DiskSettings { bytes: page - 1, ..settings(folder.path(), "llama") };
    let mut server = Server::start(&ops, &model, limits(), settings);
    assert!(server.said()[0].contains("--cache-disk") && pages(folder.path()).is_empty());
    server.ask(&[text(1)]);
    assert_eq!(server.counters().disk_bytes, 0);
}

/// Requests of every kind come and go at random, in a cache and on a disk that are too small for them.
#[test]
fn answers_are_the_same_in_tight_memory_on_a_tight_disk() {
    for (name, threads) in [("llama", 1), ("deepseek_v3", 2)] {
        let (folder, ops) = (folder(), CpuOps::with_threads(threads).unwrap());
        let model = open(&ops, name);
        let kinds: Vec<Request> = (0..24)
            .map(|i: usize| Request { tenant: i as u64 % 2, ..Request::new(ids(20 + i * 37 % 150, i % 3), 1 + i % 40) })
            .chain(requests())
            .collect();
        let (alone, _) = answers(&ops, &model, Limits::new(1, 64, 1024), &kinds);
        let tight = Limits { kept_tokens: 96, draft_tokens: 3, ..Limits::new(6, 48, 320) };
        let (mut read, mut random) = (0, 7_u64);
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let budget = 12 * page_bytes(&ops, &model, name);
        for _ in 0..4 {
            let settings = DiskSettings { bytes: budget, ..settings(folder.path(), name) };
            let mut server = Server::start(&ops, &model, tight, settings);
            let mut sent = Vec::new();
            let mut tokens = Vec::new();
            for _ in 0..400 {
                if sent.len() < 60 && next(3) == 0 {
                    let kind = next(kinds.len());
                    sent.push((server.engine.submit(kinds[kind].clone()).unwrap(), kind));
                    tokens.push(Some(Vec::new()));
                }
                if !sent.is_empty() && next(40) == 0 {
                    let at = next(sent.len());
                    server.engine.cancel(sent[at].0);
                    tokens[at] = None;
                }
                if next(150) == 0 {
                    // Whoever panicked has everything begin again.
                    server.engine.clear();
                    tokens.iter_mut().for_each(|tokens| *tokens = None);
                }
                for event in server.engine.step().events {
                    let at = sent.iter().position(|(id, _)| *id == event.id).unwrap();
                    tokens[at].as_mut().unwrap().push(event.token);
                }
                if next(20) == 0 {
                    server.writer.wait(Duration::from_secs(60));
                    assert!(bytes(folder.path()) <= budget);
                }
            }
            while !server.engine.is_idle() {
                for event in server.engine.step().events {
                    let at = sent.iter().position(|(id, _)| *id == event.id).unwrap();
                    tokens[at].as_mut().unwrap().push(event.token);
                }
            }
            for ((_, kind), tokens) in
                sent.iter().zip(&tokens).filter_map(|(sent, tokens)| Some((sent, tokens.as_ref()?)))
            {
                assert_eq!(alone[*kind].tokens, *tokens, "{name}, kind {kind}");
            }
            let counters = server.counters();
            assert!(counters.reused_tokens <= counters.prompt_tokens && counters.used_tokens == 0);
            assert_eq!((server.said(), counters.disk_pages_refused), (Vec::new(), 0));
            read += counters.disk_pages_read;
        }
        assert!(read > 0, "{name}");
    }
}

#[test]
fn an_engine_goes_on_without_its_disk() {
    let (folder, ops) = (folder(), CpuOps::with_threads(1).unwrap());
    let model = open(&ops, "llama");
    let cache = folder.path().join("cache");
    let request = Request::new(ids(100, 1), 20);
    let alone = answers(&ops, &model, limits(), std::slice::from_ref(&request)).0;
    let mut server = Server::start(&ops, &model, limits(), settings(&cache, "llama"));
    let silent = |_: &str| ();
    assert!(matches!(DiskCache::open(settings(&cache, "llama"), silent), Err(DiskError::Held(_))));
    fs::remove_dir_all(&cache).unwrap();
    same(&server.ask(std::slice::from_ref(&request)), &alone, "without a folder");
    let said = server.said();
    assert!(said.len() == 1 && said[0].contains("answers go on without it"), "{said:?}");
    assert_eq!((server.counters().disk_pages_written, server.counters().disk_pages_unwritten), (0, 3));
    drop(server);
    // Weights that change have no pages on disk, neither before nor after.
    let mut server = Server::start(&ops, &model, limits(), settings(&cache, "llama"));
    same(&server.ask(std::slice::from_ref(&request)), &alone, "with a folder");
    model.change(|_, _| ());
    let answer = server.ask(std::slice::from_ref(&request));
    same(&answer, &alone, "with weights that are the same and need not be");
    assert_eq!(answer[0].reused, 0);
    assert!(server.said().len() == 1 && server.said()[0].contains("the weights were changed"), "{:?}", server.said());
    drop(server);
    let late = Server::start(&ops, &model, limits(), settings(&cache, "llama"));
    assert!(late.said()[0].contains("the weights were changed") && late.counters().disk_bytes == 0);
}
