//! Reports to test with. The tests: what a page holds (`page.rs`), the questions and what a difference says
//! (`questions.rs`), the sentences (`story.rs`), several runs (`several.rs`), the files (`files.rs`).

mod files;
mod page;
mod questions;
mod several;
mod story;

use super::*;

const HOSTILE: &str =
    "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='a' & \u{202e}\u{0}";

fn sample(text: &str, verdict: Verdict) -> Sample {
    Sample { text: text.to_owned(), verdict }
}

fn task(accuracy: f64, ci95: [f64; 2], n: u64) -> TaskResult {
    TaskResult { accuracy, ci95, n, pass_at_k: BTreeMap::new(), majority: None }
}

fn result(accuracy: f64) -> StageResult {
    let ci95 = [accuracy - 0.05, accuracy + 0.05];
    StageResult {
        accuracy,
        ci95,
        by_task: BTreeMap::from([("countdown".to_owned(), task(accuracy, ci95, 200))]),
        pass_at_k: BTreeMap::new(),
        majority: None,
        scores: BTreeMap::new(),
        problem_set: String::new(),
        well_formed: 0.97,
        mean_length: 88.0,
        language: None,
        could_not_judge: 2,
        loss: None,
        loss_ci95: None,
    }
}

/// A report with `text` in every place that takes text.
fn report(text: &str) -> Report {
    let curve = |points| Curve { name: text.to_owned(), unit: text.to_owned(), points };
    let mut tagged = result(0.4);
    tagged.by_task.insert(text.to_owned(), task(0.4, [0.3, 0.5], 9));
    Report {
        kind: RunKind::Chain,
        recipe_name: text.to_owned(),
        seconds: 1210.0,
        core_hours: 0.66,
        tokens: 12_345_678,
        peak_rss_mb: 640.0,
        stages: BTreeMap::from([
            (Stage::Rl, result(0.62)),
            (Stage::Sft, tagged),
            (Stage::ControlSftMore, result(0.45)),
        ]),
        curves: BTreeMap::from([
            (Stage::Rl, vec![curve(vec![(1, 0.1), (2, f64::NAN), (3, 0.4)])]),
            (Stage::ControlRandomReward, vec![curve(Vec::new())]),
            (Stage::Sft, vec![curve(vec![(7, 2.0)])]),
        ]),
        models: BTreeMap::from([(Stage::Rl, Parameters { all: 1_851_000, active: 970_100 })]),
        pairs: None,
        samples: vec![SampleSet {
            task: text.to_owned(),
            problem: text.to_owned(),
            gold: text.to_owned(),
            before: sample(text, Verdict::Wrong),
            after: sample(&format!("<think>{text}</think><answer>7</answer>"), Verdict::Right),
        }],
        costs: vec![StageCost { stage: text.to_owned(), seconds: 0.0, tokens: 5, core_hours: 0.0 }],
        recipe_toml: text.to_owned(),
        notes: vec![text.to_owned()],
    }
}

/// The page of a run in some folder.
fn html(report: &Report) -> String {
    page(report, Path::new("runs/some"))
}

/// The page again, whose every tag is closed in its turn and whose every attribute has its quotes.
fn well_formed(page: &str) -> &str {
    const VOID: [&str; 3] = ["meta", "br", "hr"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>') || open.last() == Some(&"style"), "a stray > in {:?}", &rest[..at]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        assert!(tag.matches('"').count().is_multiple_of(2), "<{tag}> has half a pair of quotes");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "closes another tag after {open:?}"),
            None => {
                let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
                assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
                open.extend((!VOID.contains(&name)).then_some(name));
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?} stay open");
    page
}

/// What each of 50 problems scores under a model that solves `share` of them, in steps that two models share.
fn scores(share: f64, shift: usize) -> Vec<f32> {
    (0..50).map(|i| if ((i * 7 + shift) % 50) as f64 + 0.5 < 50.0 * share { 1.0 } else { 0.0 }).collect()
}

/// A run of the whole recipe: every stage, two tasks, curves, answers to every question.
fn whole_recipe() -> Report {
    use Stage::*;
    let reached = [
        (Base, 0.02),
        (BaseTemplate, 0.04),
        (Zero, 0.2),
        (Sft, 0.3),
        (Rl, 0.5),
        (Sft2, 0.52),
        (Rl2, 0.6),
        (StudentBase, 0.0),
        (StudentSft, 0.2),
        (StudentRl, 0.3),
        (StudentDistilled, 0.44),
        (StudentOnPolicy, 0.46),
        (ControlSftMore, 0.38),
        (ControlRandomReward, 0.24),
    ];
    let stage = |(i, (stage, share)): (usize, (Stage, f64))| {
        let of_task = [("arithmetic", share + 0.2), ("countdown", share)].map(|(name, s)| (name, scores(s, i / 9)));
        let wide = |scores: &[f32]| scores.iter().map(|&s| f64::from(s)).collect::<Vec<_>>();
        let more = |share: Share| Share { value: share.value, ci95: share.ci95 };
        let by_task = of_task.iter().map(|(name, scores)| {
            let all = Share::of(&wide(scores), 1);
            let ks = BTreeMap::from([(2, more(all)), (4, more(all))]);
            let n = scores.len() as u64;
            let task = TaskResult { pass_at_k: ks, majority: Some(all), ..task(all.value, all.ci95, n) };
            ((*name).to_owned(), task)
        });
        let all = Share::of(&of_task.iter().flat_map(|(_, s)| wide(s)).collect::<Vec<_>>(), 1);
        let result = StageResult {
            accuracy: all.value,
            ci95: all.ci95,
            by_task: by_task.collect(),
            pass_at_k: BTreeMap::from([(2, all), (4, all)]),
            majority: Some(all),
            problem_set: "0123456789abcdef".to_owned(),
            loss: Some(0.2),
            loss_ci95: Some([0.19, 0.21]),
            scores: of_task
                .into_iter()
                .map(|(name, of)| (name.to_owned(), of.into_iter().map(Some).collect()))
                .collect(),
            language: Some(0.99),
            ..result(0.0)
        };
        (stage, result)
    };
    let stages: BTreeMap<Stage, StageResult> = reached.into_iter().enumerate().map(stage).collect();
    let wave = |name: &str, at: usize| Curve {
        name: name.to_owned(),
        unit: String::new(),
        points: (1..=60).map(|step| (step, (step as f64 / 9.0 + at as f64).sin() + step as f64 / 20.0)).collect(),
    };
    let of_rl = ["reward", "accuracy reward", "format reward", "language reward", "length", "truncated", "kl", "loss"];
    let curves = stages.keys().enumerate().map(|(at, &stage)| {
        let names = match stage {
            Zero | Rl | Rl2 | StudentRl | ControlRandomReward => &of_rl[..],
            _ => &["loss", "lr"][..],
        };
        (stage, names.iter().map(|name| wave(name, at)).collect())
    });
    Report { curves: curves.collect(), stages, recipe_toml: "seed = 1\n".to_owned(), ..report("whole") }
}
