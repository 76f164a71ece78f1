//! The shipped recipes, layers and overrides, and what is refused with which words.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes").join(name)
}

fn words(overrides: &[&str]) -> Vec<String> {
    overrides.iter().map(|&text| text.to_owned()).collect()
}

/// What `load` refuses with, which must be one line.
fn refusal<S: Stage>(path: &Path, overrides: &[&str]) -> String {
    let error = Recipe::<S>::load(path, &words(overrides)).map(|_| ()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error:?}");
    error
}

/// The recipe parses, and what it resolves to parses to the same.
fn round_trip<S: Stage + PartialEq + std::fmt::Debug>(path: &Path, overrides: &[&str]) -> Recipe<S> {
    let recipe = Recipe::<S>::load(path, &words(overrides)).unwrap_or_else(|e| panic!("{e}"));
    let folder = TempDir::new().unwrap();
    let resolved = folder.path().join("recipe.toml");
    fs::write(&resolved, recipe.resolved_toml()).unwrap();
    assert_eq!(Recipe::<S>::load(&resolved, &[]).unwrap_or_else(|e| panic!("{e}")), recipe);
    recipe
}

/// A folder with the files of a model and of 40 word problems, and the overrides that name them.
fn base_and_data() -> (TempDir, [String; 2]) {
    let folder = TempDir::new().unwrap();
    let rows: Vec<_> =
        (0..40).map(|i| format!(r#"{{"question": "{i} and 1?", "answer": "So.\n#### {}"}}"#, i + 1)).collect();
    fs::write(folder.path().join("train.jsonl"), rows.join("\n")).unwrap();
    fs::write(folder.path().join("model.gguf"), "").unwrap();
    let name = |key: &str, file: &str| format!("{key}={}", folder.path().join(file).display());
    let overrides = [name("base", "model.gguf"), name("data", "train.jsonl")];
    (folder, overrides)
}

#[test]
fn every_shipped_recipe_parses() {
    for folder in ["tiny", "smoke", "nano"] {
        let file = |name: &str| shipped(folder).join(name);
        // Its questions lie where the program runs, which is not where tests do.
        let questions = shipped("nano/questions.jsonl").display().to_string();
        let places = [9, 10].map(|place| format!("tasks.{place}.path={questions}"));
        let places: Vec<&str> = places.iter().map(String::as_str).filter(|_| folder == "nano").collect();
        let r1 = round_trip::<R1>(&file("r1.toml"), &places);
        assert_eq!(r1.stage.controls, folder != "nano");
        // A stage alone is the stage in the chain.
        let pretrain = round_trip::<Pretrain>(&file("pretrain.toml"), &places);
        assert_eq!((pretrain.common, Some(pretrain.stage)), (r1.common.clone(), r1.stage.pretrain));
        let sft = round_trip::<Sft>(&file("sft.toml"), &places);
        assert_eq!((sft.common, sft.stage), (r1.common.clone(), r1.stage.sft));
        let rl = round_trip::<Rl>(&file("rl.toml"), &places);
        assert_eq!((rl.common, rl.stage), (r1.common.clone(), r1.stage.rl));
        let eval = round_trip::<Eval>(&file("eval.toml"), &places);
        assert_eq!((eval.common, eval.stage), (r1.common, r1.stage.eval));
        if folder == "nano" {
            round_trip::<Sft>(&file("polish.toml"), &places);
            continue;
        }
        let full = round_trip::<R1>(&file("full.toml"), &[]);
        let zero = round_trip::<Rl>(&file("zero.toml"), &[]);
        assert!(zero.stage.template.is_some() && Some(zero.stage) == full.stage.zero);
        assert_eq!(Some(round_trip::<Reject>(&file("reject.toml"), &[]).stage), full.stage.reject);
        assert_eq!(Some(round_trip::<OnPolicy>(&file("on_policy.toml"), &[]).stage), full.stage.on_policy);
        assert!(full.stage.sft2.is_some() && full.stage.rl2.is_some() && full.stage.distill.is_some());
        assert!(full.stage.student.is_some());
    }
    let (_folder, overrides) = base_and_data();
    let smollm2 = round_trip::<R1>(&shipped("smollm2/r1.toml"), &overrides.each_ref().map(String::as_str));
    assert!(!smollm2.stage.controls && smollm2.common.base.is_some());
    let TaskSpec::Gsm8k(task) = &smollm2.common.tasks[0] else { panic!("another task") };
    assert_eq!(Some(&task.path), smollm2.common.data.as_ref());
    let overrides = overrides.each_ref().map(String::as_str);
    assert_eq!(round_trip::<Sft>(&shipped("smollm2/sft.toml"), &overrides).stage, smollm2.stage.sft);
    assert_eq!(round_trip::<Rl>(&shipped("smollm2/rl.toml"), &overrides).stage, smollm2.stage.rl);
    assert_eq!(round_trip::<Eval>(&shipped("smollm2/eval.toml"), &overrides).stage, smollm2.stage.eval);

    let to_try = round_trip::<Rl>(&shipped("tiny/rl-preset.toml"), &[]);
    assert_eq!(to_try.stage.preset.as_deref(), Some("r1-zero"));

    let known = ["tiny", "smoke", "nano", "smollm2", "presets"];
    for entry in fs::read_dir(shipped("")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(known.iter().any(|&known| name == known), "{name:?} is not tested here");
    }
}

#[test]
fn stages_need_what_they_learn_from() {
    let full = shipped("smoke/full.toml");
    let folder = TempDir::new().unwrap();
    let without = |missing: &str| {
        let mut table: Table = toml::from_str(&Recipe::<R1>::load(&full, &[]).unwrap().resolved_toml()).unwrap();
        table.remove(missing).unwrap();
        let path = folder.path().join("r1.toml");
        fs::write(&path, table.to_string()).unwrap();
        refusal::<R1>(&path, &[])
    };
    for (missing, stage) in [("reject", "sft2"), ("sft2", "rl2"), ("student", "distill"), ("distill", "on_policy")] {
        let line = without(missing);
        assert!(line.contains(&format!("{stage}: needs {missing}")), "{line}");
    }
    for (key, word) in [
        ("student.model.hidden_sise=4", "hidden_size"),
        ("student.model.max_position_embeddings=8", "128 of the large model"),
        ("student.colour=1", "colour"),
        ("zero.template=ask", "{question}"),
        ("on_policy.teacher=/", "makes its own"),
        ("distill.traces=/", "makes its own"),
    ] {
        let line = refusal::<R1>(&full, &[key]);
        assert!(line.contains(word), "{key}: {line}");
    }
    assert!(refusal::<OnPolicy>(&shipped("smoke/on_policy.toml"), &["teacher=nowhere"]).contains("nowhere"));
}

#[test]
fn every_shipped_preset_parses_and_says_where_it_is_from() {
    let files: Vec<_> = fs::read_dir(shipped("presets")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files.len(), presets::PRESETS.len());
    for (name, text) in presets::PRESETS {
        assert_eq!(fs::read_to_string(shipped("presets").join(format!("{name}.toml"))).unwrap(), text, "{name}");
        let preset: Table = toml::from_str(text).unwrap();
        // Every key has its source beside it, in the brackets that stand for a paper.
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            assert!(line.split_once('#').is_some_and(|(_, note)| note.contains('[')), "{name}: {line}");
        }
        // A recipe that is silent on the objective gets all of it.
        let recipe = round_trip::<Rl>(&shipped("tiny/rl-preset.toml"), &[&format!("preset={name}")]);
        let resolved: Table = toml::from_str(&recipe.resolved_toml()).unwrap();
        let own: Table = toml::from_str(&fs::read_to_string(shipped("tiny/rl-preset.toml")).unwrap()).unwrap();
        for (key, value) in &preset {
            assert_eq!(resolved.get(key), own.get(key).or(Some(value)), "{name}: {key}");
        }
    }
}

#[test]
fn a_preset_gives_way_to_recipe_and_command_line() {
    let tiny = shipped("tiny/rl.toml");
    let plain = Recipe::<Rl>::load(&tiny, &[]).unwrap().stage;
    assert!(plain.preset.is_none() && plain.extra_rollouts == 0 && plain.ratio == Ratio::Token);
    let dapo = round_trip::<Rl>(&tiny, &["preset=dapo", "extra_rollouts=1"]).stage;
    // The recipe's, the command line's, the preset's.
    assert_eq!((dapo.kl_beta, dapo.minibatches), (plain.kl_beta, plain.minibatches));
    assert_eq!(dapo.extra_rollouts, 1);
    assert_eq!((dapo.clip_epsilon_high, dapo.loss, dapo.overlong_share), (Some(0.28), LossAverage::Token, 0.2));
    // In the chain the stage of RL has it.
    let chain = round_trip::<R1>(&shipped("tiny/r1.toml"), &["rl.preset=dapo", "rl.extra_rollouts=1"]);
    assert_eq!(chain.stage.rl, dapo);
    // The name alone, without what the preset stands for, changes nothing.
    let named = Rl { preset: Some("r1-zero".into()), ..plain.clone() };
    let r1_zero = Recipe::<Rl>::load(&tiny, &words(&["preset=r1-zero"])).unwrap().stage;
    assert_eq!(r1_zero, named, "tiny states all that R1-Zero's preset does, or has its defaults");

    let list = "use one of r1-zero, r1, dapo, dr-grpo, gspo, cispo, v3.2";
    for (recipe, key) in [("tiny/rl.toml", "preset"), ("tiny/r1.toml", "rl.preset")] {
        let load = |value: &str| {
            let change = [format!("{key}={value}")];
            match key {
                "preset" => Recipe::<Rl>::load(&shipped(recipe), &change).unwrap_err().to_string(),
                _ => R1Recipe::load(&shipped(recipe), &change).unwrap_err().to_string(),
            }
        };
        assert_eq!(load("dappo"), format!("command line: {key}: \"dappo\" is unknown; {list}"));
        assert_eq!(load("3"), format!("command line: {key}: is integer, not a name; {list}"));
    }
    assert!(refusal::<Sft>(&shipped("tiny/sft.toml"), &["preset=dapo"]).contains("preset: is unknown"));
    // A value of the preset that does not fit is the preset's.
    let to_try = shipped("tiny/rl-preset.toml");
    let text =
        fs::read_to_string(&to_try).unwrap().replace("minibatches = 4", "#").replace("questions = 32", "questions = 3");
    let folder = TempDir::new().unwrap();
    fs::copy(shipped("tiny/common.toml"), folder.path().join("common.toml")).unwrap();
    fs::write(folder.path().join("rl.toml"), text.replace("group_size = 16", "group_size = 2")).unwrap();
    let error = refusal::<Rl>(&folder.path().join("rl.toml"), &["preset=gspo"]);
    assert!(error.starts_with("preset gspo: minibatches: 4 does not divide the 6 samples"), "{error}");
}

#[test]
fn the_tiny_model_is_tiny() {
    let common = R1Recipe::load(&shipped("tiny/r1.toml"), &[]).unwrap().common;
    let config = common.model_config(512).unwrap();
    let parameters = config.num_parameters();
    // The built-in model is made by this recipe: in BF16 it has to fit into 8 MB.
    assert!((1_000_000..4_000_000).contains(&parameters), "{parameters}");
}

#[test]
fn overrides_reach_every_corner() {
    let overrides = [
        "steps=7", "optimizer.lr=1e-3", "optimizer.decay=linear", "optimizer={beta2=0.99, clip = 2}", "name=my run",
        "model.hidden_size=64", "tasks.0.weight=0.25", "tasks.1={digits=[2, 4]}",
    ];
    let sft = Recipe::<Sft>::load(&shipped("tiny/sft.toml"), &words(&overrides)[..7]).unwrap();
    let optimizer = &sft.stage.optimizer;
    assert_eq!((sft.stage.steps, optimizer.lr, optimizer.decay), (7, 1e-3, Decay::Linear));
    assert_eq!((optimizer.beta2, optimizer.clip, optimizer.warmup_steps), (0.99, 2.0, 20));
    assert_eq!(sft.common.name, "my run");
    assert_eq!(sft.common.model_config(512).unwrap().hidden_size, 64);
    assert!(matches!(&sft.common.tasks[0], TaskSpec::Countdown(task) if task.weight == 0.25));
    let r1 = R1Recipe::load(&shipped("tiny/r1.toml"), &words(&["rl.steps=3", "controls=false", "seed=9"])).unwrap();
    assert_eq!((r1.stage.rl.steps, r1.stage.controls, r1.common.seed), (3, false, 9));
    // An item of a list is named by its parts only.
    assert!(refusal::<Sft>(&shipped("tiny/sft.toml"), &overrides[7..]).contains("count items from 0"));
}

#[test]
fn a_recipe_chooses_its_text() {
    let tiny = round_trip::<Pretrain>(&shipped("tiny/pretrain.toml"), &[]).common;
    let kinds: Vec<_> = tiny.corpus.iter().map(|part| part.weight).collect();
    assert_eq!(kinds, [30, 5, 35, 25, 5]);
    let chosen = "corpus=[{kind=\"facts\", weight=1}, {kind=\"dialogues\", weight=2}]";
    let recipe = round_trip::<Pretrain>(&shipped("tiny/pretrain.toml"), &[chosen]);
    let text = recipe.common.text().unwrap();
    assert!((0..50).any(|i| text.text(i).starts_with("User: Use ")));
    for (corpus, fault) in [
        ("corpus=[]", "corpus: there is no text"),
        ("corpus=[{kind=\"facts\", weight=0}]", "corpus: there is no text"),
        ("corpus=[{kind=\"chess\", weight=1}]", "corpus.0.kind: \"chess\" is unknown"),
        ("corpus=[{kind=\"facts\", weight=0.5}]", "corpus.0.weight: is floating point"),
        ("corpus=[{kind=\"facts\"}]", "corpus.0.weight: is missing"),
    ] {
        let error = refusal::<Pretrain>(&shipped("tiny/pretrain.toml"), &[corpus]);
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_its_neighbours() {
    let tiny = |name: &str| shipped("tiny").join(name);
    let said = |error: String, parts: &[&str]| {
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    };
    said(refusal::<Sft>(&tiny("sft.toml"), &["stepz=3"]), &["command line: stepz:", "steps"]);
    said(refusal::<Sft>(&tiny("sft.toml"), &["optimizer.leer=3"]), &["command line: optimizer.leer:", "lr"]);
    said(refusal::<Sft>(&tiny("sft.toml"), &["lane=3"]), &["command line: lane:", "lanes"]);
    said(refusal::<R1>(&tiny("r1.toml"), &["rl.group=3"]), &["command line: rl.group:", "group_size"]);
    said(refusal::<R1>(&tiny("r1.toml"), &["sft.seed=3"]), &["command line: sft.seed:"]);
    said(refusal::<R1>(&tiny("r1.toml"), &["tasks.0.skil=1"]), &["command line: tasks.0.skil:", "skill"]);
    said(refusal::<R1>(&tiny("r1.toml"), &["model.hiden_size=1"]), &["command line: model.hiden_size:", "hidden_size"]);
    said(
        refusal::<R1>(&tiny("r1.toml"), &["model.rope_scaling.factr=1"]),
        &["command line: model.rope_scaling.factr:", "factor"],
    );
}

#[test]
fn faults_in_files_are_named_as_they_stand_there() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let common = fs::read_to_string(shipped("smoke/common.toml")).unwrap();
    for name in ["pretrain.toml", "sft.toml", "rl.toml", "eval.toml", "r1.toml"] {
        fs::copy(shipped("smoke").join(name), folder.path().join(name)).unwrap();
    }
    write("common.toml", &common);
    let r1 = folder.path().join("r1.toml");
    assert!(R1Recipe::load(&r1, &[]).is_ok());

    // Right recipes for another command.
    assert!(refusal::<Sft>(&r1, &[]).contains("is for `picnic r1`"));
    assert!(refusal::<R1>(&folder.path().join("rl.toml"), &[]).contains("run `picnic rl`"));

    write("common.toml", &format!("lenes = 3\n{common}"));
    assert!(refusal::<R1>(&r1, &[]).contains("common.toml: lenes: is unknown; did you mean lanes"));
    write("common.toml", &common);

    let rl = fs::read_to_string(shipped("smoke/rl.toml")).unwrap();
    write("rl.toml", &rl.replace("group_size = 4", "group_size = 1"));
    assert!(refusal::<R1>(&r1, &[]).contains("rl.toml: group_size: 1 is out of range; give a value from 2"));
    write("rl.toml", &rl.replace("lr = 1e-3", ""));
    assert!(refusal::<R1>(&r1, &[]).contains("rl.toml: optimizer.lr: is missing"));
    write("rl.toml", &rl.replace("steps = 3", "steps = 3\nlanes = 4"));
    assert!(refusal::<R1>(&r1, &[]).contains("rl.toml: lanes: is shared by all stages"));
    assert_eq!(Recipe::<Rl>::load(&folder.path().join("rl.toml"), &[]).unwrap().common.lanes, 4);
    write("rl.toml", "steps = 3\nsteps = ");
    assert!(refusal::<R1>(&r1, &[]).contains("rl.toml: (whole file): line 2 is not TOML"));
    fs::remove_file(folder.path().join("rl.toml")).unwrap();
    assert!(refusal::<R1>(&r1, &[]).contains("rl.toml: (whole file): cannot be read"));

    let a = write("a.toml", "extends = \"b.toml\"");
    write("b.toml", "extends = \"a.toml\"");
    assert!(refusal::<R1>(&a, &[]).contains("a.toml: extends: leads back"));
    for i in 0..20 {
        write(&format!("{i}.toml"), &format!("extends = \"{}.toml\"", i + 1));
    }
    assert!(refusal::<R1>(&folder.path().join("0.toml"), &[]).contains("in a row"));
    // Deep enough to end the stack of whoever walks it naively.
    for deep in [
        "a.".repeat(200_000) + "a = 1",
        format!("a = {}", "[".repeat(500_000)),
        "[a.".to_owned() + &"a.".repeat(200_000) + "a]",
    ] {
        let deep = write("deep.toml", &deep);
        refusal::<R1>(&deep, &[]);
    }
    let two_lines = write("lines.toml", "\"a\\nb\" = 1");
    refusal::<R1>(&two_lines, &[]);
    let huge = write("huge.toml", &"#".repeat(2 << 20));
    assert!(refusal::<R1>(&huge, &[]).contains("is larger than"));
    fs::write(&huge, [0xff, 0xfe]).unwrap();
    assert!(refusal::<R1>(&huge, &[]).contains("UTF-8"));
    assert!(refusal::<R1>(folder.path(), &[]).contains("cannot be read"));
}

#[test]
fn values_that_no_run_can_work_with_are_refused() {
    let tiny = shipped("tiny/r1.toml");
    for (change, part) in [
        ("name=''", "name: is empty"),
        ("name=../../x", "name: is no name of a folder"),
        ("seed=-1", "seed: is integer `-1`; give a whole number"),
        ("lanes=0", "lanes: 0 is out of range; give a value from 1 to 64"),
        ("lanes=two", "lanes: is string \"two\"; give a whole number of 0 or more"),
        ("micro_batch_tokens=0", "micro_batch_tokens: 0"),
        ("controls=maybe", "controls: is string \"maybe\"; give true or false"),
        ("tasks=[]", "tasks: has no task"),
        ("tasks.0.weight=0", "tasks: countdown has weight 0"),
        ("tasks.0.name=chess", "tasks.0.name: \"chess\" is unknown; use one of arithmetic, calculations, countdown,"),
        ("tasks.0.numbers=[9, 9]", "task countdown: numbers = [9, 9]"),
        ("tasks.2.weight=1", "points to no item"),
        ("tokenizer.vocab_size=100", "tokenizer.vocab_size: 100 is out of range"),
        ("tokenizer.words=100", "tokenizer.words: is given, but characters are merged"),
        ("sft.optimizer.rule=lion", "optimizer.rule: "),
        ("sft.optimizer.momentum=1", "optimizer.momentum: 1 is out of range"),
        ("tokenizer=5", "tokenizer: is integer `5`"),
        ("model.vocab_size=512", "model.vocab_size: is the tokenizer's to say"),
        ("model.hidden_size=0", "model.hidden_size: 0 is not between"),
        ("model.initializer_range=nan", "model.initializer_range: is not finite"),
        ("model.n_group=3", "model.n_group: 3 does not divide"),
        ("base=/nowhere/model.gguf", "base: there is no model \"/nowhere/model.gguf\""),
        ("data=x.jsonl", "data: is given, but no task"),
        ("pretrain.steps=0", "pretrain.steps: 0 is out of range"),
        ("pretrain.sequence_tokens=513", "pretrain.sequence_tokens: 513 tokens are too many for the 512 positions"),
        ("pretrain.optimizer.lr=nan", "pretrain.optimizer.lr: NaN is out of range"),
        ("pretrain.optimizer.decay=slow", "optimizer.decay: \"slow\" is unknown; use one of constant, cosine, linear"),
        ("sft.examples=0", "sft.examples: 0"),
        ("sft.optimizer.lr=inf", "sft.optimizer.lr: inf"),
        ("rl.group_size=1", "rl.group_size: 1"),
        ("rl.minibatches=3", "rl.minibatches: 3 does not divide the 512 samples"),
        ("rl.temperature=0", "rl.temperature: 0 makes all samples"),
        ("rl.clip_epsilon=-0.2", "rl.clip_epsilon: -0.2"),
        ("rl.max_tokens=512", "rl.max_tokens: 512 tokens are too many"),
        ("rl.off_policy_delta=-1", "rl.off_policy_delta: -1"),
        ("rl.rollout=q4", "rl.rollout: \"q4\" is unknown; use one of exact, q8"),
        ("rl.rollout_cap=0", "rl.rollout_cap: 0 is out of range"),
        ("rl.rollout_cap=-2", "rl.rollout_cap: -2 is out of range"),
        ("rl.rollout_cap=nan", "rl.rollout_cap: NaN is out of range"),
        ("rl.rollout_cap=2", "rl.rollout_cap: is given, but the policy itself draws"),
        ("rl.overlong_share=1.5", "rl.overlong_share: 1.5"),
        ("rl.extra_rollouts=1000", "rl.extra_rollouts: 1000"),
        ("rl.ratio=word", "rl.ratio: \"word\" is unknown; use one of token, sequence"),
        ("rl.reward=3", "rl.reward: is 3, not a name; use one of rules, random"),
        ("eval.top_p=0", "eval.top_p: 0"),
        ("eval=nothing", "eval: is string \"nothing\""),
        ("nothing", "nothing: is not key=value"),
        ("rl..steps=3", "rl..steps: is not a key"),
        ("seed.deep=3", "seed.deep: seed holds no keys"),
    ] {
        let error = refusal::<R1>(&tiny, &[change]);
        assert!(error.contains(part), "{change}: {error}");
    }
}

#[test]
fn a_run_needs_something_to_start_from() {
    let smollm2 = shipped("smollm2/r1.toml");
    let (_folder, [base, data]) = base_and_data();
    assert!(refusal::<R1>(&smollm2, &[&base]).contains("give data=FILE.jsonl"));
    assert!(refusal::<R1>(&smollm2, &[&data]).contains("give base=MODEL"));
    assert!(refusal::<R1>(&smollm2, &[&base, "data=/nowhere.jsonl"]).contains("/nowhere.jsonl"));

    let folder = TempDir::new().unwrap();
    let text = fs::read_to_string(shipped("smoke/common.toml")).unwrap();
    fs::write(folder.path().join("common.toml"), text).unwrap();
    let chain = fs::read_to_string(shipped("smoke/r1.toml")).unwrap().replace("pretrain =", "# ");
    fs::write(folder.path().join("r1.toml"), chain).unwrap();
    for name in ["sft.toml", "rl.toml", "eval.toml"] {
        fs::copy(shipped("smoke").join(name), folder.path().join(name)).unwrap();
    }
    let r1 = folder.path().join("r1.toml");
    assert!(refusal::<R1>(&r1, &[]).contains("r1.toml: pretrain: is missing"));
    assert!(R1Recipe::load(&r1, &[base]).unwrap().stage.pretrain.is_none());
}

/// Files that each set some of these keys, the lowest first, then overrides.
fn layer() -> impl Strategy<Value = Vec<(&'static str, u32)>> {
    let keys = ["seed", "lanes", "steps", "optimizer.warmup_steps", "model.max_position_embeddings"];
    prop::collection::vec((prop::sample::select(keys.to_vec()), 10_u32..60), 0..5)
}

proptest! {
    // Each case sets up tasks and reads a dozen files.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The last to set a key wins: file over extended file, override over file, later over earlier.
    #[test]
    fn the_last_to_speak_wins(files in prop::collection::vec(layer(), 1..4), overrides in layer()) {
        let folder = TempDir::new().unwrap();
        fs::copy(shipped("smoke/common.toml"), folder.path().join("common.toml")).unwrap();
        let base = fs::read_to_string(shipped("smoke/sft.toml")).unwrap().replace("max_tokens = 96", "max_tokens = 8");
        fs::write(folder.path().join("0.toml"), base).unwrap();
        let mut wanted = std::collections::HashMap::new();
        for (i, layer) in files.iter().enumerate() {
            // A key stands once in a file.
            let own: std::collections::BTreeMap<_, _> = layer.iter().copied().collect();
            let lines: Vec<_> = own.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            let text = format!("extends = \"{i}.toml\"\n{}", lines.join("\n"));
            fs::write(folder.path().join(format!("{}.toml", i + 1)), text).unwrap();
            wanted.extend(own);
        }
        wanted.extend(overrides.iter().copied());
        let spoken: Vec<_> = overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let top = folder.path().join(format!("{}.toml", files.len()));
        let recipe = Recipe::<Sft>::load(&top, &spoken).unwrap();
        let found = |key| match key {
            "seed" => recipe.common.seed as usize,
            "lanes" => recipe.common.lanes,
            "steps" => recipe.stage.steps,
            "optimizer.warmup_steps" => recipe.stage.optimizer.warmup_steps,
            _ => recipe.common.model_config(300).unwrap().max_position_embeddings,
        };
        for (key, value) in wanted {
            prop_assert_eq!(found(key), value as usize, "{}", key);
        }
    }

    /// An override with a key that is none is refused by that key, in any table, whatever its value.
    #[test]
    fn unknown_keys_are_refused_everywhere(
        table in prop::sample::select(vec!["", "model.", "tokenizer.", "tasks.0.", "rl.", "rl.optimizer.", "eval."]),
        key in "zz[a-z_]{0,12}",
        value in "[ -~]{0,12}",
    ) {
        let error = refusal::<R1>(&shipped("smoke/r1.toml"), &[&format!("{table}{key}={value}")]);
        prop_assert!(error.starts_with(&format!("command line: {table}{key}: is unknown")), "{}", error);
    }

    /// Whatever is typed after a recipe, it ends in a recipe or an error of one line.
    #[test]
    fn no_override_panics(text in "(rl|tasks|model|seed|[a-z.0-9\\[\"]{0,8})(\\.[a-z0-9_]{0,5}){0,3}=?\\PC{0,12}") {
        if let Err(error) = R1Recipe::load(&shipped("smoke/r1.toml"), &[text]) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
