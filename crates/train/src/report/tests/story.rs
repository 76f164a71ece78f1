//! The sentences of a run in each case. Their numbers are those of the tables.

use super::*;

/// A chain whose cold start gets `before` right and whose RL `after`, on problems that are compared one by one.
fn chain(before: f64, after: f64, controls: &[(Stage, f64)]) -> Report {
    let stage = |share: f64| {
        let scores = scores(share, 0);
        let all = Share::of(&scores.iter().map(|&s| f64::from(s)).collect::<Vec<_>>(), 1);
        StageResult {
            accuracy: all.value,
            ci95: all.ci95,
            by_task: BTreeMap::from([("countdown".to_owned(), task(all.value, all.ci95, 50))]),
            scores: BTreeMap::from([("countdown".to_owned(), scores.into_iter().map(Some).collect())]),
            problem_set: "0123456789abcdef".to_owned(),
            ..result(0.0)
        }
    };
    let mut stages = BTreeMap::from([(Stage::Sft, stage(before)), (Stage::Rl, stage(after))]);
    stages.extend(controls.iter().map(|&(control, share)| (control, stage(share))));
    Report { stages, curves: BTreeMap::new(), recipe_toml: "seed = 0\n".to_owned(), ..report("tiny") }
}

/// The numbers of a sentence that have a decimal point, as they stand on the rest of the page.
fn assert_numbers_on_page(run: &Report) {
    let page = html(run).replace('\u{a0}', " ");
    let (_, rest) = page.split_once("class=\"big\"").or_else(|| page.split_once("class=\"headline\"")).unwrap();
    for sentence in of_run(run) {
        let numbers = sentence.split(|c: char| !c.is_ascii_digit() && c != '.').map(|n| n.trim_matches('.'));
        for number in numbers.filter(|number| number.contains('.')) {
            assert!(rest.contains(number), "{number} of {sentence:?} is in no table");
        }
    }
}

#[test]
fn a_gain_over_both_controls() {
    let run = chain(0.2, 0.7, &[(Stage::ControlSftMore, 0.4), (Stage::ControlRandomReward, 0.1)]);
    let [made, gave, open] = of_run(&run);
    assert!(
        made.starts_with("In 20 min 10 s, controls included, this run made a language model from nothing"),
        "{made}"
    );
    assert!(made.contains("with 1.85 M parameters, of which 970.1 k take part in each token"), "{made}");
    assert!(
        made.ends_with(
            ": the model was pre-trained, fine-tuned on worked solutions and improved by reinforcement learning (RL)."
        ),
        "{made}"
    );
    assert!(
        gave.starts_with("RL raised the share of right answers to held-out problems from 20.0 % to 70.0 % (+50.0"),
        "{gave}"
    );
    assert!(gave.contains("30.0 points more than the 40.0 % of the same compute spent on more fine-tuning"), "{gave}");
    assert!(gave.contains("60.0 points more than the 10.0 % of RL with a coin for a reward"), "{gave}");
    assert_eq!(open, "What these numbers cannot tell is what another seed would give, for this is one run.");
    assert_numbers_on_page(&run);
}

#[test]
fn a_control_that_does_as_well_cannot_be_told_apart() {
    let run = chain(0.2, 0.7, &[(Stage::ControlSftMore, 0.68), (Stage::ControlRandomReward, 0.9)]);
    let [_, gave, open] = of_run(&run);
    assert!(
        gave.contains("20.0 points less than the 90.0 % of RL with a coin") && !gave.contains("more fine-tuning"),
        "{gave}"
    );
    assert!(
        open.contains("cannot tell is whether RL gives more than the same compute spent on more fine-tuning (+2.0"),
        "{open}"
    );
    assert!(open.ends_with(", and what another seed would give, for this is one run."), "{open}");
    assert_numbers_on_page(&run);
}

#[test]
fn a_loss() {
    let [_, gave, _] = of_run(&chain(0.7, 0.2, &[]));
    assert!(
        gave.starts_with("RL lowered the share of right answers to held-out problems from 70.0 % to 20.0 % (−50.0"),
        "{gave}"
    );
}

#[test]
fn a_difference_that_may_be_chance() {
    let run = chain(0.5, 0.52, &[]);
    let [_, gave, open] = of_run(&run);
    assert!(
        gave.contains("went from 50.0 % to 52.0 % with RL, which may be chance (+2.0 points, 95 % interval −"),
        "{gave}"
    );
    // Without controls nothing is said of them but that they are missing.
    assert!(!gave.contains("than the") && open.contains("for this run has no controls"), "{gave} {open}");
    assert_numbers_on_page(&run);
}

#[test]
fn a_given_model_is_named() {
    let mut run = chain(0.2, 0.7, &[]);
    run.recipe_toml = "base = \"SmolLM2.gguf\"\n[sft]\ntraces = \"mine.jsonl\"\n".to_owned();
    let [made, ..] = of_run(&run);
    assert!(made.contains("took the language model SmolLM2.gguf, which has 1.85 M"), "{made}");
    assert!(made.contains(": the model was fine-tuned on given answers") && !made.contains("controls"), "{made}");
}

#[test]
fn without_rl_there_is_nothing_to_say_of_it() {
    let mut run = chain(0.2, 0.7, &[]);
    run.stages.remove(&Stage::Rl);
    run.models.clear();
    let [made, gave, _] = of_run(&run);
    assert!(made.ends_with("the model was pre-trained and fine-tuned on worked solutions."), "{made}");
    assert!(gave.starts_with("RL made no model in this run"), "{gave}");
}

#[test]
fn the_whole_recipe_names_what_stands_beside() {
    let run = whole_recipe();
    let [made, ..] = of_run(&run);
    let beside = "; beside it stand a second round of RL, a small student and R1-Zero, which has no cold start.";
    assert!(made.ends_with(beside), "{made}");
    assert_numbers_on_page(&run);
}

fn alone(kind: RunKind, stage: Stage, curves: &[(&str, &str)], recipe: &str) -> Report {
    let curve = |&(name, unit): &(&str, &str)| Curve {
        name: name.to_owned(),
        unit: unit.to_owned(),
        points: (1..=90).map(|step| (step, 4.5 - step as f64 / 30.0)).collect(),
    };
    Report {
        kind,
        stages: BTreeMap::new(),
        curves: BTreeMap::from([(stage, curves.iter().map(curve).collect())]),
        models: BTreeMap::from([(stage, Parameters { all: 170_000, active: 170_000 })]),
        samples: Vec::new(),
        recipe_toml: recipe.to_owned(),
        ..report("alone")
    }
}

#[test]
fn a_stage_alone_tells_how_training_went_and_what_that_does_not_say() {
    let run = alone(RunKind::Pretrain, Stage::Base, &[("loss", "nats per token")], "");
    let [made, told, not_told] = of_run(&run);
    assert_eq!(
        made,
        "This run pre-trained a fresh model of 170.0 k parameters: 90 steps over 12.35 M tokens took 20 min 10 s."
    );
    assert!(told.contains("went from 4.47 nats per token at the first step to 1.55 at the end"), "{told}");
    assert!(not_told.contains("it was asked nothing") && not_told.ends_with("picnic eval does that."), "{not_told}");
    assert_numbers_on_page(&run);

    let base = "base = \"runs/sft\"\n";
    let [made, told, not_told] = of_run(&alone(RunKind::Rl, Stage::Rl, &[("reward", "")], base));
    assert!(made.contains("trained the model runs/sft of 170.0 k parameters by reinforcement learning (RL)"), "{made}");
    assert!(told.starts_with("The mean reward of its answers to training problems went from 4.47 at"), "{told}");
    assert!(not_told.starts_with("What RL gave on held-out problems cannot be told"), "{not_told}");

    let [made, told, _] = of_run(&alone(RunKind::Sft, Stage::Sft, &[("loss", "nats per token")], base));
    assert!(
        made.contains("fine-tuned the model runs/sft") && told.contains("answers that it imitates"),
        "{made} {told}"
    );
    let [made, told, _] = of_run(&alone(RunKind::Distill, Stage::StudentOnPolicy, &[("kl", "nats per token")], base));
    assert!(made.contains("distilled a teacher into the model runs/sft") && told.contains("KL"), "{made} {told}");
    let [_, told, _] = of_run(&alone(RunKind::Sft, Stage::Sft, &[], base));
    assert_eq!(told, "It recorded no curve to tell how it went.");
}

#[test]
fn rejection_sampling_tells_what_it_kept() {
    let recipe = "base = \"runs/rl\"\nquestions = 24\nsamples = 4\nkeep = 2\n";
    let mut run = alone(RunKind::Reject, Stage::Traces, &[("kept", "")], recipe);
    let [made, told, _] = of_run(&run);
    assert!(made.starts_with("This run drew 4 answers from the model runs/rl to each of 24 problems"), "{made}");
    assert!(told.contains("at most 2 a problem"), "{told}");
    run.curves
        .insert(Stage::Traces, vec![Curve { name: "kept".to_owned(), unit: String::new(), points: vec![(1, 0.0)] }]);
    assert!(of_run(&run)[1].starts_with("It kept none"));
}

#[test]
fn an_evaluation_tells_what_was_right() {
    let mut run = alone(RunKind::Eval, Stage::Judged, &[], "base = \"runs/rl\"\nsamples = 4\n");
    run.stages.insert(Stage::Judged, result(0.62));
    let [made, told, not_told] = of_run(&run);
    assert_eq!(
        made,
        "This run asked the model runs/rl of 170.0 k parameters 200 held-out problems, 4 samples of each."
    );
    assert!(told.contains("answers 62.0 % right, with a 95 % interval over problems from 57.0 % to 67.0 %"), "{told}");
    assert!(
        told.contains("97.0 % of its answers have the form") && not_told.contains("picnic report"),
        "{told} {not_told}"
    );
}
