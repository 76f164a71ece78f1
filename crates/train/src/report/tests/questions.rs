//! What a difference says of a question.

use super::*;

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
    assert!(html(&run).contains("No, the reverse"));
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
