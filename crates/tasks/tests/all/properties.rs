//! What holds for every problem of every task.

use std::collections::HashSet;

use picnic_tasks::arithmetic::{self, Arithmetic};
use picnic_tasks::beyond::{self, Beyond};
use picnic_tasks::calculations::{self, Calculations};
use picnic_tasks::countdown::{self, Countdown};
use picnic_tasks::knights_knaves::{self, KnightsKnaves};
use picnic_tasks::larger::{self, Larger};
use picnic_tasks::letters::{self, Letters};
use picnic_tasks::sequences::{self, Sequences};
use picnic_tasks::small_talk::{self, SmallTalk};
use picnic_tasks::word_problems::{self, WordProblems};
use picnic_tasks::{Format, RewardWeights, Split, Task, score};
use proptest::prelude::*;

fn tasks(seed: u64) -> Vec<Box<dyn Task>> {
    let sure = countdown::Config { skill: 1.0, foresight: 1.0, ..Default::default() };
    let small = arithmetic::Config { digits: [1, 4], multiplier_digits: 2, ..Default::default() };
    let long = word_problems::Config { steps: [1, 4], ..Default::default() };
    let all = countdown::Config { numbers: [2, 3], exhaustive: true, ..Default::default() };
    vec![
        Box::new(Countdown::new(sure, seed).unwrap()),
        Box::new(Arithmetic::new(arithmetic::Config::default(), seed).unwrap()),
        Box::new(Arithmetic::new(small, seed).unwrap()),
        Box::new(Letters::new(letters::Config::default(), seed).unwrap()),
        Box::new(Larger::new(larger::Config::default(), seed).unwrap()),
        Box::new(Sequences::new(sequences::Config::default(), seed).unwrap()),
        Box::new(KnightsKnaves::new(knights_knaves::Config::default(), seed).unwrap()),
        Box::new(SmallTalk::new(small_talk::Config::default(), seed).unwrap()),
        Box::new(Beyond::new(beyond::Config::default(), seed).unwrap()),
        Box::new(Calculations::new(calculations::Config::default(), seed).unwrap()),
        Box::new(Countdown::new(all, seed).unwrap()),
        Box::new(WordProblems::english(long.clone(), seed).unwrap()),
        Box::new(WordProblems::russian(long, seed).unwrap()),
    ]
}

#[test]
fn train_and_held_out_never_meet() {
    // Different seeds too: one run's training set against another's evaluation.
    for (ours, theirs) in tasks(1).iter().zip(&tasks(2)) {
        let ids =
            |task: &dyn Task, split| -> HashSet<String> { (0..10_000).map(|i| task.problem(split, i).id).collect() };
        let train = ids(ours.as_ref(), Split::Train);
        let held_out = ids(theirs.as_ref(), Split::HeldOut);
        assert!(train.is_disjoint(&held_out));
        // There are only so many puzzles; of the rest, draws hardly ever repeat.
        let fewest = if ours.name() == "knights_knaves" { (1_000, 200) } else { (5_000, 1_000) };
        assert!(train.len() > fewest.0 && held_out.len() > fewest.1, "{} {}", train.len(), held_out.len());
    }
}

#[test]
fn an_evaluation_set_has_distinct_problems() {
    for task in tasks(3) {
        let set = task.held_out(200).unwrap();
        let ids: HashSet<_> = set.iter().map(|problem| &problem.id).collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|id| Split::of(id) == Split::HeldOut));
        assert_eq!(set, task.held_out(200).unwrap());
        assert_eq!(set[..20], task.held_out(20).unwrap());
    }
    let tiny = arithmetic::Config { digits: [1, 1], ..Default::default() };
    let error = Arithmetic::new(tiny, 0).unwrap().held_out(500).unwrap_err();
    assert!(error.to_string().contains("500 distinct"), "{error}");
}

#[test]
fn examples_are_questions_of_the_task() {
    for task in tasks(3) {
        let examples = task.examples();
        // Nobody has to try what a model cannot do.
        let fewest = usize::from(task.name() != "beyond");
        assert!((fewest..=2).contains(&examples.len()), "{}", task.name());
        assert!(examples.iter().all(|example| example.chars().count() <= 160), "{examples:?}");
        assert_eq!(examples, task.examples());
    }
    // By hand where the dials allow it, else drawn.
    let arithmetic = |digits, operations| {
        let config = arithmetic::Config { digits, operations, ..Default::default() };
        Arithmetic::new(config, 0).unwrap().examples().concat()
    };
    use arithmetic::Operation::{Add, Multiply, Subtract};
    assert_eq!(arithmetic([1, 4], vec![Add, Multiply]), "What is 347+289?");
    assert_eq!(arithmetic([1, 2], vec![Subtract]), "What is 34-28?");
    assert_eq!(arithmetic([9, 9], vec![Multiply]), "What is 347625918*2?");
    let countdown = |numbers| {
        let config = countdown::Config { numbers, ..Default::default() };
        Countdown::new(config, 0).unwrap().examples().concat()
    };
    assert_eq!(countdown([3, 4]), "Use 25, 3, 19 to make 41.");
    assert_eq!(countdown([5, 5]).matches(',').count(), 4);
}

#[test]
fn order_makes_no_new_problem() {
    let task = &tasks(4)[0];
    let problem = task.problem(Split::Train, 0);
    let (numbers, target) = problem.id.split_once('/').unwrap().1.split_once('=').unwrap();
    let numbers: Vec<u32> = numbers.split(',').map(|n| n.parse().unwrap()).collect();
    assert!(numbers.is_sorted());
    assert!(problem.prompt.ends_with(&format!("to make {target}.")));
}

#[test]
fn levels_are_problems_of_the_task() {
    for task in tasks(8) {
        let levels = task.levels();
        assert!((1..=8).contains(&levels), "{}", task.name());
        for level in 0..levels {
            for split in [Split::Train, Split::HeldOut] {
                let problems: Vec<_> = (0..50).map(|i| task.problem_at(split, level, i)).collect();
                assert!(problems.iter().all(|problem| Split::of(&problem.id) == split && problem.task == task.name()));
                assert_eq!(problems[7], task.problem_at(split, level, 7));
                // Without a list of levels there is nothing to narrow.
                let only = ["beyond", "larger", "small_talk"].contains(&task.name());
                assert!(!only || problems[7] == task.problem(split, 7));
                // Levels do not repeat each other's problems, nor the mixed ones, unless there are few: two people have
                // 46 puzzles, and half of the mixed ones are theirs.
                let few = task.name() == "knights_knaves" && level == 0;
                let others = (0..50).map(|i| task.problem(split, i).id);
                let ids: HashSet<_> = problems.into_iter().map(|problem| problem.id).collect();
                assert!(ids.len() > 2, "{} {level}", task.name());
                assert!(only || few || others.filter(|id| ids.contains(id)).count() < 25, "{} {level}", task.name());
            }
        }
    }
}

proptest! {
    #[test]
    fn a_trace_that_solves_earns_the_full_reward(seed: u64, index: u64, held_out: bool, open: bool) {
        let split = if held_out { Split::HeldOut } else { Split::Train };
        let format = Format { think_open_in_prompt: open };
        for task in tasks(seed) {
            let problem = task.problem(split, index);
            prop_assert_eq!(&problem, &task.problem(split, index));
            prop_assert_eq!(Split::of(&problem.id), split);
            let Some(trace) = task.trace(&problem) else {
                // All attempts at it would solve a held-out problem on their way.
                prop_assert_eq!(task.name(), "countdown", "{}", problem.prompt);
                continue;
            };
            prop_assert_eq!(task.trace(&problem), Some(trace.clone()));
            let completion = format.render(&trace.thinking, &trace.answer);
            let reward = score(task.as_ref(), &problem, &completion, format, RewardWeights::default());
            // Countdown's search goes on from its last result, which a few solutions do not.
            let solved = !trace.thinking.ends_with(" no") || trace.answer.starts_with("I found no way");
            prop_assert_eq!(reward.total, Some(1.0 + f32::from(solved)), "{} {}", problem.prompt, completion);
            prop_assert_eq!(reward.language, 1.0, "{}", completion);
            // Through a file and back, as evaluation sets go.
            let row = serde_json::to_string(&problem).unwrap();
            prop_assert_eq!(serde_json::from_str::<picnic_tasks::Problem>(&row).unwrap(), problem);
        }
    }

    #[test]
    fn a_search_is_honest_about_its_end(index: u64, skill in 0.0..=1.0, foresight in 0.0..=1.0, give_up in 0.0..=1.0) {
        let config = countdown::Config { skill, foresight, give_up, ..Default::default() };
        let task = Countdown::new(config, 5).unwrap();
        let problem = task.problem(Split::Train, index);
        let Some(trace) = task.trace(&problem) else { return Ok(()) };
        let lines: Vec<_> = trace.thinking.lines().collect();
        prop_assert!((1..=countdown::Config::default().max_attempts).contains(&lines.len()));
        prop_assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len());
        prop_assert_eq!(
            task.verify(&problem, &trace.answer).is_right(), trace.thinking.ends_with(" yes"));
    }

    #[test]
    fn no_string_makes_a_verifier_panic(index in 0..1000_u64, text in "(?s).{0,400}") {
        for task in tasks(6) {
            let problem = task.problem(Split::HeldOut, index);
            let _ = task.verify(&problem, &text);
            let _ = score(task.as_ref(), &problem, &text, Format::default(), RewardWeights::default());
        }
    }

    #[test]
    fn no_gold_makes_a_task_panic(numbers: Vec<u32>, target: u32, answer in "[-+*/()0-9]{0,60}") {
        let mut numbers = numbers;
        numbers.truncate(8);
        for task in tasks(7) {
            let mut problem = task.problem(Split::Train, 0);
            for gold in [
                serde_json::json!({"numbers": numbers, "target": target}),
                serde_json::json!({"left": target, "operation": "*", "right": target}),
                serde_json::json!({"start": {"has": target}, "changes": [{"less": target / 2}], "end": {"bags": 3}}),
                serde_json::json!([{"is": [target, true]}, {"same": [0, target, true]}]),
                serde_json::json!(["stone", "-", ""]),
                serde_json::json!(numbers),
                serde_json::Value::Null,
            ] {
                problem.gold = gold;
                let _ = (task.verify(&problem, &answer), task.trace(&problem));
            }
        }
    }
}
