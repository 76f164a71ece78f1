//! Several runs: two of them, one recipe's seeds, two recipes' seeds.

use super::*;

/// A run of `recipe` from `seed` whose RL gets `share` right, and less before it, by ten points and one more for each seed.
fn seeded(recipe: &str, seed: u64, share: f64) -> Report {
    let mut run = report("a run");
    run.recipe_toml = format!("seed = {seed}\n{recipe}");
    let of = |share: f64| StageResult { problem_set: "0123456789abcdef".to_owned(), ..result(share) };
    run.stages = BTreeMap::from([(Stage::Sft, of(share - 0.1 - 0.01 * seed as f64)), (Stage::Rl, of(share))]);
    run
}

fn group(recipe: &str, runs: &[(u64, f64)]) -> Vec<Report> {
    runs.iter().map(|&(seed, share)| seeded(recipe, seed, share)).collect()
}

const A: &str = "[rl]\nsteps = 60\n";
const B: &str = "[rl]\nsteps = 120\n";

#[test]
fn two_recipes_are_paired_where_their_seeds_match() {
    let a = group(A, &[(0, 0.40), (1, 0.50), (2, 0.60)]);
    // Always 8 to 10 points better, in another order of seeds: the pairs show it, the means alone would not.
    let b = group(B, &[(2, 0.70), (0, 0.48), (1, 0.59)]);
    let found = recipes(&a, &b).unwrap();
    let rl = &found.stages[&Stage::Rl].all;
    assert!(found.paired && found.same_problems && rl.answer == Answer::Yes, "{rl:?}");
    assert!((rl.difference.value - 0.09).abs() < 1e-12);
    // 8, 9 and 10: deviation 1, so 9 ± 4.3027 / √3.
    let [lo, hi] = rl.difference.ci95.map(|end| 100.0 * end);
    assert!((lo - (9.0 - 2.4842)).abs() < 1e-3 && (hi - (9.0 + 2.4842)).abs() < 1e-3, "{lo} {hi}");
    let [made, told, not_told] = of_recipes(&found);
    assert_eq!(
        made,
        "Recipe A ran from 3 seeds and recipe B from 3 seeds, the same seeds, so that runs are compared in pairs; \
        they differ in rl.steps (60 against 120)."
    );
    assert!(
        told.starts_with("B gets more held-out problems right than A (RL): 59.0 % against 50.0 % on average (+9.0"),
        "{told}"
    );
    assert!(told.contains("95 % interval over seeds +6.5 to +11.5"), "{told}");
    assert!(not_told.contains("less than about 2.5 points"), "{not_told}");
    let page = recipes_page([&["a-0".to_owned()], &["b-0".to_owned()]], [&a, &b], &found);
    for text in ["B is better", "+6.5 to +11.5", "seed by seed", "59.0\u{a0}%", "rl.steps", "<svg"] {
        assert!(well_formed(&page).contains(text), "{text}");
    }

    // The other way round it is the reverse; from other seeds nothing can be told.
    assert_eq!(recipes(&b, &a).unwrap().stages[&Stage::Rl].all.answer, Answer::No);
    let others = recipes(&a, &group(B, &[(3, 0.70), (4, 0.48), (5, 0.59)])).unwrap();
    let rl = &others.stages[&Stage::Rl].all;
    assert!(!others.paired && rl.answer == Answer::Open && !rl.difference.paired, "{rl:?}");
    assert!(
        of_recipes(&others)[1].starts_with("Whether B gets more held-out problems right than A (RL) cannot be told")
    );
}

#[test]
fn a_seed_that_ran_twice_makes_no_pair() {
    let a = group(A, &[(0, 0.40), (0, 0.41), (2, 0.60)]);
    assert!(!recipes(&a, &group(B, &[(0, 0.40), (0, 0.41), (2, 0.60)])).unwrap().paired);
    assert!(!recipes(&a[1..], &group(B, &[(0, 0.40), (1, 0.41), (2, 0.60)])).unwrap().paired);
}

#[test]
fn a_stranger_among_the_runs_is_named() {
    let (a, mut b) = (group(A, &[(0, 0.4), (1, 0.5)]), group(B, &[(0, 0.4), (1, 0.5)]));
    b.push(seeded(A, 2, 0.5));
    let (side, other) = recipes(&a, &b).unwrap_err();
    assert_eq!((side, other.run, other.keys), (1, 2, vec!["rl.steps".to_owned()]));
    assert_eq!(seeds(&b).unwrap_err().run, 2);
}

#[test]
fn other_problems_are_said() {
    let (a, mut b) = (group(A, &[(0, 0.4), (1, 0.5)]), group(B, &[(0, 0.4), (1, 0.6)]));
    b[1].stages.get_mut(&Stage::Rl).unwrap().problem_set = "another".to_owned();
    let found = recipes(&a, &b).unwrap();
    assert!(!found.same_problems && of_recipes(&found)[2].contains("not all runs were asked the same"));
}

#[test]
fn the_story_of_seeds_and_of_two_runs() {
    let runs = group(A, &[(0, 0.40), (1, 0.50), (2, 0.61)]);
    let over_seeds = seeds(&runs).unwrap();
    let [made, told, _] = of_seeds(runs.len(), &over_seeds);
    assert_eq!(made, "One recipe ran from 3 seeds.");
    // 10, 11 and 12 points.
    assert!(
        told.starts_with(
            "Does RL improve on the cold start? Yes, over these seeds: on average +11.0 points, 95 % interval over seeds +8.5"
        ),
        "{told}"
    );
    let names = ["a", "b", "c"].map(str::to_owned);
    assert!(well_formed(&seeds_page("tiny", &names, &over_seeds)).contains("class=\"dot run\""));

    let other = seeded(B, 0, 0.7);
    let comparison = compare(&runs[0], &other);
    let [made, told, not_told] = of_comparison(&comparison);
    assert_eq!(made, "The runs A and B differ in rl.steps (60 against 120).");
    assert!(
        told.starts_with("B gets more held-out problems right than A (RL): 70.0 % against 40.0 % (+30.0"),
        "{told}"
    );
    assert!(not_told.contains("--against"), "{not_told}");
    well_formed(&compare_page(["a", "b"], [&runs[0], &other], &comparison));
    // What stands still on both sides is folded away; what moves on one is not.
    let curve = |name: &str, of: fn(f64) -> f64| Curve {
        name: name.to_owned(),
        unit: String::new(),
        points: (1..=20).map(|step| (step, of(step as f64))).collect(),
    };
    let mut sides = [runs[0].clone(), other];
    for (side, reward) in sides.iter_mut().zip([(|_| 0.5) as fn(f64) -> f64, f64::sqrt]) {
        side.curves.insert(Stage::Rl, vec![curve("reward", reward), curve("truncated", |_| 0.0)]);
    }
    let page = compare_page(["a", "b"], sides.each_ref(), &comparison);
    let page = well_formed(&page);
    assert!(page.contains("Folded away: truncated never moves (0)") && !page.contains("reward never moves"));
    assert_eq!(of_comparison(&compare(&runs[0], &runs[0].clone()))[0], "The runs A and B have the same recipe.");
}

#[test]
fn seeds_that_disagree_cannot_tell() {
    let mut runs = group(A, &[(0, 0.40), (1, 0.50), (2, 0.61)]);
    runs[1].stages.insert(Stage::Sft, result(0.7));
    let [_, told, _] = of_seeds(3, &seeds(&runs).unwrap());
    assert!(told.starts_with("Does RL improve on the cold start? These seeds cannot tell: on average "), "{told}");
}
