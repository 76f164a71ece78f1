//! Reports on disk, and what going on with a run keeps of them.

use super::*;
use std::fs;

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
