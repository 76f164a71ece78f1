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

#[test]
fn hostile_text_stays_text() {
    let page = html::page(&report(HOSTILE));
    assert_eq!(page.matches("<script").count(), 0);
    assert_eq!(page.matches("<img").count(), 0);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(!page.contains("onload='a'\"") && !page.contains("x\" onload"));
    assert!(!page.contains(['\u{202e}', '\u{0}']));
    assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"));
}

#[test]
fn page_asks_for_nothing_from_elsewhere() {
    let page = html::page(&report("a run"));
    for request in ["http:", "https:", "src=", "href=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(request), "{request}");
    }
}

#[test]
fn thinking_is_dimmed_and_the_answer_is_not() {
    let page = html::page(&report("sum"));
    let expected = "<span class=\"thinking\">&lt;think&gt;sum&lt;/think&gt;</span>&lt;answer&gt;7&lt;/answer&gt;";
    assert!(page.contains(expected));
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

#[test]
fn every_question_is_asked_of_the_whole_recipe() {
    let run = whole_recipe();
    let page = html::page(&run);
    assert_eq!(answered(&run).count(), QUESTIONS.len());
    for (question, difference) in answered(&run) {
        assert!(page.contains(question.text) && difference.paired, "{}", question.text);
    }
    for part in [
        "majority",
        "pass@4",
        "Rewards",
        "language reward",
        "in its language",
        "Student: on-policy distilled",
        "problem by problem",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn answers_follow_the_interval_of_the_difference() {
    let mut run = report("a run");
    let answer = |run: &Report, text: &str| {
        answered(run).find(|(question, _)| question.text.contains(text)).map(|(_, difference)| difference.answer())
    };
    // The two shares are 0.62 and 0.45, each ± 0.05.
    assert_eq!(answer(&run, "equal compute"), Some(Answer::Yes));
    assert_eq!(answer(&run, "the reward that helps"), None);
    run.stages.insert(Stage::ControlRandomReward, result(0.58));
    assert_eq!(answer(&run, "the reward that helps"), Some(Answer::Open));
    run.stages.insert(Stage::ControlRandomReward, result(0.7));
    assert_eq!(answer(&run, "the reward that helps"), Some(Answer::No));
    assert!(html::page(&run).contains("No, the reverse"));
}

#[test]
fn other_problems_are_not_compared_one_by_one() {
    let run = whole_recipe();
    let (rl, mut other) = (&run.stages[&Stage::Rl], run.stages[&Stage::Sft].clone());
    let paired = difference(rl, &other);
    other.problem_set = "another".to_owned();
    let unpaired = difference(rl, &other);
    assert!(paired.paired && !unpaired.paired);
    assert!((paired.value - unpaired.value).abs() < 1e-12);
    assert!(paired.ci95[0] > unpaired.ci95[0], "{paired:?} {unpaired:?}");
    assert_eq!(difference_on("chess", rl, &other), None);
    // What one of them could not be judged on is left out of both.
    let mut unjudged = run.stages[&Stage::Sft].clone();
    let task = unjudged.scores.get_mut("countdown").unwrap();
    let right: Vec<usize> = (0..task.len()).filter(|&i| task[i] == Some(1.0)).collect();
    right.iter().for_each(|&i| task[i] = None);
    let on_the_others = difference_on("countdown", rl, &unjudged).unwrap();
    let others = rl.scores["countdown"].iter().enumerate().filter(|(i, _)| !right.contains(i));
    let mean = others.clone().filter_map(|(_, score)| score.map(f64::from)).sum::<f64>() / others.count() as f64;
    assert!(on_the_others.paired && (on_the_others.value - mean).abs() < 1e-12, "{on_the_others:?} {mean}");
}

#[test]
fn a_curriculum_has_a_plot_for_each_task() {
    let mut run = whole_recipe();
    let points = run.curves[&Stage::Rl][0].points.clone();
    let arms = ["sums, level 0", "sums, level 1", "riddles, level 0"];
    let rate = |arm: &&str| Curve { name: format!("pass rate: {arm}"), unit: String::new(), points: points.clone() };
    let plots = |run: &Report| html::page(run).matches("<figure").count();
    let without = plots(&run);
    run.curves.get_mut(&Stage::Rl).unwrap().extend(arms.iter().map(rate));
    assert_eq!(plots(&run), without + 2);
    let page = html::page(&run);
    assert!(page.contains("Pass rates by task and level") && page.contains("level 1"));
}

#[test]
fn going_on_with_a_finished_run_costs_what_making_it_did() {
    let cost =
        |stage: &str, seconds| StageCost { stage: stage.to_owned(), seconds, tokens: 5, core_hours: seconds / 1800.0 };
    let run = |costs: [StageCost; 2], peak_rss_mb| Report {
        seconds: costs.iter().map(|cost| cost.seconds).sum(),
        core_hours: costs.iter().map(|cost| cost.core_hours).sum(),
        costs: costs.to_vec(),
        peak_rss_mb,
        ..report("a run")
    };
    // The second stage was made anew, and took longer than before.
    let earlier = run([cost("sft", 90.0), cost("rl", 180.0)], 600.0);
    let mut later = run([cost("sft", 36.0), cost("rl", 270.0)], 20.0);
    later.keep_costs(&earlier);
    assert_eq!(later.costs.iter().map(|cost| cost.seconds).collect::<Vec<_>>(), [90.0, 270.0]);
    assert_eq!((later.seconds, later.peak_rss_mb), (360.0, 600.0));
    assert!((later.core_hours - 0.2).abs() < 1e-12);
}

#[test]
fn an_empty_report_is_still_a_page() {
    let empty = Report {
        stages: BTreeMap::new(),
        curves: BTreeMap::new(),
        samples: Vec::new(),
        costs: Vec::new(),
        notes: Vec::new(),
        ..report("nothing ran")
    };
    assert!(html::page(&empty).ends_with("</html>"));
}

#[test]
fn writes_both_files_and_leaves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut run = report("a run");
    run.curves.clear(); // they hold a NaN, which equals nothing
    write(&out, &run).unwrap();
    write(&out, &run).unwrap();

    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["report.html", "report.json"]);

    let text = fs::read_to_string(out.join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), run);
    assert_eq!(read(&out).unwrap(), run);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["stages", "seconds", "core_hours", "tokens", "peak_rss_mb"] {
        assert!(!json[key].is_null(), "{key}");
    }
    for key in ["accuracy", "ci95", "by_task", "well_formed"] {
        assert!(!json["stages"]["control_sft_more"][key].is_null(), "{key}");
    }
}

#[test]
fn an_unwritable_place_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("occupied");
    fs::write(&file, "").unwrap();
    let error = write(&file, &report("a run")).unwrap_err().to_string();
    assert!(error.contains("occupied"), "{error}");
}

#[test]
fn an_evaluation_from_before_pass_at_k_still_reads() {
    let old = r#"{"accuracy": 0.25, "ci95": [0.1, 0.4], "by_task": {"countdown":
        {"accuracy": 0.25, "ci95": [0.1, 0.4], "n": 20}}, "well_formed": 1.0, "mean_length": 9.5,
        "could_not_judge": 0, "loss": null, "loss_ci95": null}"#;
    let read: StageResult = serde_json::from_str(old).unwrap();
    assert!(read.pass_at_k.is_empty() && read.majority.is_none() && read.scores.is_empty());
    let mut new = read.clone();
    new.pass_at_k = BTreeMap::from([(2, Share::of(&[0.0, 0.5], 1))]);
    new.majority = Some(Share::of(&[0.0, 1.0], 1));
    new.scores = BTreeMap::from([("countdown".to_owned(), vec![Some(0.0), None, Some(1.0 / 3.0)])]);
    let text = serde_json::to_string(&new).unwrap();
    assert!(text.contains(r#""2":{"value":0.25"#), "{text}");
    assert_eq!(serde_json::from_str::<StageResult>(&text).unwrap(), new);
}

#[test]
fn what_was_not_finite_reads_as_nan() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &report("a run")).unwrap();
    let points = &read(dir.path()).unwrap().curves[&Stage::Rl][0].points;
    assert!(points[1].1.is_nan() && points[2] == (3, 0.4));
}

#[test]
fn broken_reports_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for broken in [None, Some("{"), Some("[]"), Some("\u{0}"), Some("{\"recipe_name\": 3}")] {
        if let Some(text) = broken {
            fs::write(dir.path().join("report.json"), text).unwrap();
        }
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("report.json") && error.contains("picnic r1") && !error.contains('\n'), "{error}");
    }
}
