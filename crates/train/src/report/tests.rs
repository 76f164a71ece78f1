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

#[test]
fn controls_are_judged_against_the_interval_after_rl() {
    let mut run = report("a run");
    assert!(html::page(&run).contains("The control stays below RL's interval."));
    run.stages.insert(Stage::ControlRandomReward, result(0.58));
    assert!(html::page(&run).contains("cannot be put down to RL's reward: Control: random reward."));
    run.stages.insert(Stage::ControlRandomReward, result(0.41));
    assert!(html::page(&run).contains("Both controls stay below RL's interval."));
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
    run.curves.clear(); // NaN becomes null, which does not come back
    write(&out, &run).unwrap();
    write(&out, &run).unwrap();

    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["report.html", "report.json"]);

    let text = fs::read_to_string(out.join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), run);
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
    new.scores = BTreeMap::from([("countdown".to_owned(), vec![0.0, 1.0 / 3.0])]);
    let text = serde_json::to_string(&new).unwrap();
    assert!(text.contains(r#""2":{"value":0.25"#), "{text}");
    assert_eq!(serde_json::from_str::<StageResult>(&text).unwrap(), new);
}
