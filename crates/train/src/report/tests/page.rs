//! What a page holds, and that it is whole.

use super::*;

#[test]
fn hostile_text_stays_text() {
    let page = html(&report(HOSTILE));
    assert_eq!(page.matches("<script").count(), 0);
    assert_eq!(page.matches("<img").count(), 0);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(!page.contains("onload='a'\"") && !page.contains("x\" onload"));
    assert!(!page.contains(['\u{202e}', '\u{0}']));
    assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"));
}

#[test]
fn page_asks_for_nothing_from_elsewhere() {
    let page = html(&report("a run"));
    for request in ["http:", "https:", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(request), "{request}");
    }
    // Links lead to places in the page, which are there.
    let links: Vec<&str> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.len() > 5);
    for link in links {
        let place = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads out of the page"));
        assert!(page.contains(&format!("id=\"{place}\"")), "{link} leads nowhere");
    }
}

#[test]
fn thinking_is_dimmed_and_the_answer_is_not() {
    let page = html(&report("sum"));
    let expected = "<span class=\"thinking\">&lt;think&gt;sum&lt;/think&gt;</span>&lt;answer&gt;7&lt;/answer&gt;";
    assert!(page.contains(expected));
}

#[test]
fn every_question_is_asked_of_the_whole_recipe() {
    let run = whole_recipe();
    let page = html(&run);
    assert_eq!(answered(&run).count(), QUESTIONS.len());
    for (question, difference) in answered(&run) {
        assert!(page.contains(question.text) && difference.paired, "{}", question.text);
    }
    for part in [
        "majority", "pass@4", "Rewards", "language reward", "in its language", "Student: on-policy distilled",
        "problem by problem",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_curriculum_has_a_plot_for_each_task() {
    let mut run = whole_recipe();
    let points = run.curves[&Stage::Rl][0].points.clone();
    let arms = ["sums, level 0", "sums, level 1", "riddles, level 0"];
    let rate = |arm: &&str| Curve { name: format!("pass rate: {arm}"), unit: String::new(), points: points.clone() };
    let plots = |run: &Report| html(run).matches("<figure").count();
    let without = plots(&run);
    run.curves.get_mut(&Stage::Rl).unwrap().extend(arms.iter().map(rate));
    assert_eq!(plots(&run), without + 2);
    let page = html(&run);
    assert!(page.contains("Pass rates by task and level") && page.contains("level 1"));
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
    assert!(well_formed(&html(&empty)).ends_with("</html>"));
}

#[test]
fn pages_are_well_formed() {
    let mut run = whole_recipe();
    let many = run.samples[0].clone();
    let (pairs, samples) = choose(vec![many; 7], 4);
    (run.pairs, run.samples) = (Some(pairs), samples);
    well_formed(&html(&run));
    well_formed(&html(&report(HOSTILE)));
    let alone = [RunKind::Pretrain, RunKind::Sft, RunKind::Rl, RunKind::Reject, RunKind::Distill, RunKind::Eval];
    for kind in alone {
        well_formed(&html(&Report { kind, ..report("alone") }));
    }
}

#[test]
fn the_page_opens_with_its_story_and_ends_with_the_guide() {
    let page = html(&whole_recipe());
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    let order = [
        "class=\"story\"", "class=\"big\"", "id=\"questions\"", "id=\"results\"", "id=\"samples\"", "id=\"curves\"",
        "id=\"cost\"", "id=\"next\"", "id=\"recipe\"", "id=\"guide\"",
    ];
    assert!(order.windows(2).all(|pair| place(pair[0]) < place(pair[1])));
    // The guide is the page in docs/, in whole.
    let guide = &page[place("id=\"guide\"")..];
    for heading in
        include_str!("../../../../../docs/reading-the-report.md").lines().filter_map(|l| l.strip_prefix("## "))
    {
        assert!(guide.contains(heading), "{heading}");
    }
}

#[test]
fn sizes_and_commands_stand_on_the_page() {
    let page = page(&whole_recipe(), Path::new("runs/tiny"));
    for text in
        ["1.85 M", "970.1 k", "picnic chat runs/tiny/rl2", "picnic r1 runs/tiny/recipe.toml seed=2 --out", "--against"]
    {
        assert!(page.contains(text), "{text}");
    }
    // A dense model has one number.
    let mut dense = report("dense");
    dense.models = BTreeMap::from([(Stage::Rl, Parameters { all: 7_000_000, active: 7_000_000 })]);
    let page = html(&dense);
    assert!(page.contains("7.00 M") && !page.contains("active in each token"));
}

#[test]
fn samples_are_shown_in_their_shares_under_the_rule() {
    use Verdict::{Right, Wrong};
    let set = |number: usize| {
        let (before, after) = match number {
            0..60 => (Wrong, Right),
            60..80 => (Right, Wrong),
            80..160 => (Right, Right),
            _ => (Wrong, Wrong),
        };
        let [before, after] = [before, after].map(|verdict| sample("7", verdict));
        let (task, problem) = ("sums".to_owned(), format!("{number}+1?"));
        SampleSet { task, problem, gold: "7".to_owned(), before, after }
    };
    let (pairs, samples) = choose((0..200).map(set).collect(), 10);
    let page = html(&Report { pairs: Some(pairs), samples, ..report("a run") });
    for text in [
        "200 pairs in all", "right after: 60 of 200 (30.0 %), 3 shown", "wrong after: 20 of 200 (10.0 %), 1 shown",
        "Right both times: 80 of 200 (40.0 %), 4 shown", "Wrong both times: 40 of 200 (20.0 %), 2 shown",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("<article>").count(), 10);
    // An old report has no shares, and claims none.
    assert!(html(&report("a run")).contains("even distances") && !page.contains("even distances"));
}

#[test]
fn a_reference_of_countdown_reads_as_an_equation() {
    let mut run = report("a run");
    run.samples[0].gold = r#"{"numbers":[17,46,23],"target":6}"#.to_owned();
    assert!(html(&run).contains("reference: 23 − 17 = 6"));
}

#[test]
fn a_flat_plot_is_folded_away() {
    let mut run = whole_recipe();
    let still =
        |name: &str| Curve { name: name.to_owned(), unit: String::new(), points: (1..=9).map(|i| (i, 0.0)).collect() };
    run.curves = BTreeMap::from([(Stage::Rl, vec![still("could not judge"), still("kl")])]);
    let page = html(&run);
    assert!(page.contains("could not judge never moves (0)") && page.contains("kl never moves (0)"));
    let first_plot = page.find("<figure").unwrap();
    assert!(page[..first_plot].rfind("<details").unwrap() > page[..first_plot].rfind("</details>").unwrap());
    assert!(page.contains("Kullback-Leibler"), "terms are explained");
}
