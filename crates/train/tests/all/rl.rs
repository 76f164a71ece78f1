//! Whole runs of RL on a model that knows nothing: presets, dynamic sampling, rollouts in 8 bits, and that threads do
//! not show.
//! Left out: what the objectives compute (`golden.rs`) and whether anything is learned.

use picnic_train::progress::{Display, Event, Progress, Quiet};
use picnic_train::recipe::{Recipe, Rl};
use picnic_train::rl::rl;
use picnic_train::tokenizer::train_tokenizer;
use picnic_train::training::{Outcome, Setting, Start};
use picnic_train::{Error, LockedFolder};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Some steps of RL by the smoke recipe: the outcome and the bytes of the model.
fn run(overrides: &[&str], threads: usize) -> (Outcome, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let outcome = rl_in(&folder, overrides, threads, false).unwrap();
    (outcome, fs::read(folder.path().join("out/model.safetensors")).unwrap())
}

fn rl_in(folder: &TempDir, overrides: &[&str], threads: usize, resume: bool) -> Result<Outcome, Error> {
    rl_shown(folder, overrides, threads, resume, Progress::new(Quiet))
}

fn rl_shown(
    folder: &TempDir,
    overrides: &[&str],
    threads: usize,
    resume: bool,
    progress: Progress,
) -> Result<Outcome, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/smoke");
    // The recipe's own objective would win over a preset's.
    let text = fs::read_to_string(root.join("rl.toml")).unwrap().replace("clip_epsilon = 0.2", "");
    fs::copy(root.join("common.toml"), folder.path().join("common.toml")).unwrap();
    fs::write(folder.path().join("rl.toml"), text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let recipe = Recipe::<Rl>::load(&folder.path().join("rl.toml"), &overrides).unwrap();
    let chat = train_tokenizer(&recipe.common).unwrap();
    let out = LockedFolder::take(&folder.path().join("out"))?;
    let setting = Setting { out, threads, resume, progress: &progress };
    rl(&recipe, &setting, Start::Fresh, chat)
}

fn curve(outcome: &Outcome, name: &str) -> Vec<f64> {
    let curve = outcome.curves.iter().find(|curve| curve.name == name).unwrap_or_else(|| panic!("no curve {name}"));
    curve.points.iter().map(|&(_, value)| value).collect()
}

#[test]
fn every_preset_runs_and_threads_do_not_show() {
    // A coin as the reward: what an untrained model says earns nothing, so that nothing would move.
    let coin = ["reward=random", "steps=2", "extra_rollouts=1"];
    let (_, plain) = run(&coin, 2);
    for preset in ["r1-zero", "r1", "dapo", "dr-grpo", "gspo", "cispo", "v3.2"] {
        let preset = format!("preset={preset}");
        let overrides = [&coin[..], &[&preset]].concat();
        let (outcome, model) = run(&overrides, 1);
        assert!(model == run(&overrides, 3).1, "{preset}");
        assert!(curve(&outcome, "grad norm").iter().all(|&norm| norm > 0.0), "{preset}");
        let is_r1 = preset.contains("=r1");
        assert_eq!(model == plain, is_r1, "{preset}: R1's are the defaults, the others change the objective");
    }
}

#[test]
fn on_policy_neither_ratios_nor_masks_show() {
    let on_policy = ["reward=random", "steps=2", "minibatches=1"];
    let (outcome, grpo) = run(&on_policy, 2);
    let loose = ["ratio=sequence", "off_policy_delta=0", "surrogate=cispo", "kl_estimator=unbiased", "kl_beta=0"];
    let (other, loose) = run(&[&on_policy[..], &loose].concat(), 2);
    for outcome in [&outcome, &other] {
        assert_eq!(curve(outcome, "clip share low"), [0.0; 2]);
        assert_eq!(curve(outcome, "clip share high"), [0.0; 2]);
    }
    assert_eq!(curve(&other, "masked"), [0.0; 2]);
    // π/π_old is exactly 1, so all of them take the same step.
    assert!(loose == run(&[&on_policy[..], &["kl_beta=0"]].concat(), 2).1);
    assert!(loose != grpo, "and nearness to the reference is another one");
}

#[test]
fn groups_without_variance_are_drawn_again_with_other_questions() {
    // Everything that an untrained model says earns nothing: each draw is thrown away whole.
    let (none, still) = run(&["steps=2", "overlong_share=0"], 2);
    assert!(none.curves.iter().all(|curve| !curve.name.starts_with("thrown")));
    let (some, other) = run(&["steps=2", "overlong_share=0", "extra_rollouts=3"], 2);
    assert_eq!(curve(&some, "zero-variance groups"), [1.0; 2]);
    assert_eq!(curve(&some, "thrown groups"), [12.0; 2]);
    let thrown: f64 = curve(&some, "thrown tokens").iter().sum();
    // 12 groups of 4, each with its prompt and at least one token, beside what was kept; answers differ in length.
    assert!(thrown >= 2.0 * 12.0 * 4.0 * 2.0, "{thrown}");
    assert!(some.tokens as f64 > thrown + 2.0 * 16.0);
    assert!(curve(&some, "length") != curve(&none, "length"), "other questions, other answers");
    assert!(still == other, "none of which teaches anything");
    // With a coin most groups have variance and stay.
    let (coin, _) = run(&["steps=2", "extra_rollouts=3", "reward=random"], 2);
    assert!(curve(&coin, "thrown groups").iter().all(|&n| n < 12.0));
}

#[test]
fn a_batch_without_any_advantage_moves_nothing() {
    // Adam would make full steps of the balance loss alone, and decay and the router's bias need no gradient.
    let pull = ["optimizer.weight_decay=1", "balance_alpha=0.1", "router_bias_speed=0.01", "kl_beta=0.1"];
    let dead = [&pull[..], &["overlong_share=0"]].concat();
    let steps = |n, settings: &[&str]| run(&[settings, &[n]].concat(), 2);
    let (outcome, three) = steps("steps=3", &dead);
    assert_eq!(curve(&outcome, "zero-variance groups"), [1.0; 3]);
    assert_eq!(curve(&outcome, "grad norm"), [0.0; 3]);
    assert!(three == steps("steps=1", &dead).1);
    assert!(steps("steps=3", &pull).1 != steps("steps=1", &pull).1, "with rewards there are advantages");
    // The learning rate is that of the step all the same.
    let falling = [&dead[..], &["optimizer.decay=linear", "optimizer.final_lr_ratio=0"]].concat();
    let rates = curve(&steps("steps=3", &falling).0, "lr");
    assert!(rates[0] > rates[1] && rates[1] > rates[2], "{rates:?}");
}

#[test]
fn long_answers_are_punished() {
    let (outcome, _) = run(&["steps=1", "overlong_share=1"], 2);
    let (punishment, length) = (curve(&outcome, "overlong punishment")[0], curve(&outcome, "length")[0]);
    // Linear from 0 on, at most 48 tokens; nothing else is earned.
    assert!((punishment + length / 48.0).abs() < 1e-9, "{punishment} {length}");
    assert!((curve(&outcome, "reward")[0] - punishment).abs() < 1e-9);
}

#[test]
fn questions_can_be_put_as_r1_zero_was_asked() {
    let (outcome, asked) =
        run(&["steps=1", "reward=random", "template=r1-zero", "model.max_position_embeddings=1024"], 2);
    assert!(curve(&outcome, "grad norm")[0] > 0.0);
    assert!(asked != run(&["steps=1", "reward=random", "model.max_position_embeddings=1024"], 2).1);
}

/// Rewards, and steps off the policy that drew.
const IN_8_BITS: [&str; 5] = ["rollout=q8", "reward=random", "steps=3", "minibatches=2", "extra_rollouts=1"];

const OF_THE_COPY: [&str; 3] = ["importance weight", "importance cut", "rollout gap"];

#[test]
fn a_copy_in_8_bits_draws() {
    let (outcome, model) = run(&IN_8_BITS, 1);
    let (other, same) = run(&IN_8_BITS, 3);
    assert!(model == same, "threads do not show");
    let [weight, cut, gap] = OF_THE_COPY.map(|name| curve(&outcome, name));
    assert_eq!([&weight, &cut, &gap], OF_THE_COPY.map(|name| curve(&other, name)).each_ref());
    for step in 0..3 {
        // The copy is near the policy, and not the policy.
        assert!(gap[step] > 0.0 && gap[step] < 0.1, "{gap:?}");
        assert!(weight[step] != 1.0 && (weight[step] - 1.0).abs() < 0.05, "{weight:?}");
        assert!(cut[step] == 0.0, "{cut:?}");
    }
    let (exact, plain) = run(&[&["rollout=exact"], &IN_8_BITS[1..]].concat(), 2);
    assert!(plain == run(&IN_8_BITS[1..], 2).1, "which is what happens by itself");
    assert!(plain != model && exact.curves.iter().all(|curve| !OF_THE_COPY.contains(&curve.name.as_str())));
}

#[test]
fn what_the_copy_drew_is_read_once_more() {
    // Nothing is thrown away, so every token is drawn, read by the reference, and learned from for three.
    let (exact, _) = run(&["steps=2"], 2);
    assert_eq!(exact.passes * 3, exact.tokens * 5);
    let (in_8_bits, _) = run(&["steps=2", "rollout=q8"], 2);
    assert_eq!(in_8_bits.passes * 4, in_8_bits.tokens * 6);
    let (without_reference, _) = run(&["steps=2", "rollout=q8", "kl_beta=0"], 2);
    assert_eq!(without_reference.passes * 3, without_reference.tokens * 5);
}

#[test]
fn the_cap_holds_weights_down() {
    let (outcome, capped) = run(&[&IN_8_BITS[..], &["rollout_cap=0.5"]].concat(), 2);
    // Ratios are near 1, so that every one is cut.
    assert_eq!(curve(&outcome, "importance weight"), [0.5; 3]);
    assert_eq!(curve(&outcome, "importance cut"), [1.0; 3]);
    assert!(capped != run(&IN_8_BITS, 2).1);
    assert!(run(&[&IN_8_BITS[..], &["rollout_cap=2"]].concat(), 2).1 == run(&IN_8_BITS, 2).1, "2 is the default");
}

/// Copies the run's folder when a checkpoint is written, which is what a kill right after it would leave.
struct Copying {
    from: PathBuf,
    to: PathBuf,
}

impl Display for Copying {
    fn show(&mut self, event: &Event) {
        if *event == Event::Saved(2) {
            copy_folder(&self.from, &self.to);
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_copy_in_8_bits_survives_a_kill() {
    let [whole, killed] = [(); 2].map(|()| TempDir::new().unwrap());
    let (from, to) = (whole.path().join("out"), killed.path().join("out"));
    let progress = Progress::new(Copying { from: from.clone(), to: to.clone() });
    let outcome = rl_shown(&whole, &IN_8_BITS, 1, false, progress).unwrap();
    assert!(to.join("checkpoints/step-00000002").exists());
    let resumed = rl_in(&killed, &IN_8_BITS, 3, true).unwrap();
    let [one, other] = [from, to].map(|out| fs::read(out.join("model.safetensors")).unwrap());
    assert!(one == other);
    for name in OF_THE_COPY.iter().chain(&["reward", "loss", "kl", "grad norm"]) {
        assert_eq!(curve(&outcome, name), curve(&resumed, name), "{name}");
    }
    assert_eq!((outcome.tokens, outcome.passes), (resumed.tokens, resumed.passes));
}

#[test]
fn without_its_weight_there_is_no_reference() {
    for (beta, is_kept) in [("kl_beta=0", false), ("kl_beta=0.001", true)] {
        let (folder, overrides) = (TempDir::new().unwrap(), ["steps=1", beta]);
        // A folder where the finished run wants to write its recipe, so that its checkpoint is left to look into.
        let in_the_way = folder.path().join("out/recipe.toml");
        fs::create_dir_all(&in_the_way).unwrap();
        rl_in(&folder, &overrides, 2, false).unwrap_err();
        fs::remove_dir(in_the_way).unwrap();
        let left = folder.path().join("out/checkpoints/step-00000001");
        assert!(left.exists(), "{beta}");
        let reference = left.join("training/reference");
        assert_eq!(reference.exists(), is_kept, "{beta}");
        if is_kept {
            fs::remove_dir_all(reference).unwrap();
            let error = rl_in(&folder, &overrides, 2, true).unwrap_err().to_string();
            assert!(error.contains("lacks the reference policy"), "{error}");
        }
    }
}

#[test]
fn a_curriculum_follows_what_was_right() {
    let followed = ["steps=3", "curriculum={smoothing=0.5}"];
    let (outcome, model) = run(&followed, 2);
    let names: Vec<&str> =
        outcome.curves.iter().map(|c| c.name.as_str()).filter(|name| name.starts_with("pass rate")).collect();
    assert!(names.len() == 2 && names.contains(&"pass rate: countdown, level 0"), "{names:?}");
    // Nothing is right, so what was asked falls from one half and what was not stays there.
    let asked = names.iter().filter(|name| curve(&outcome, name)[2] < 0.5).count();
    let rates = names.iter().flat_map(|name| curve(&outcome, name));
    assert!(asked > 0 && rates.into_iter().all(|rate| rate <= 0.5));
    assert!(model == run(&followed, 1).1);
    assert!(model != run(&["steps=3"], 1).1, "other questions are asked");
}
