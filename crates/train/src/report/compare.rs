//! Two runs side by side, or one recipe from several seeds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Answer, Difference, QUESTIONS, Report, Stage, StageResult, answered, difference};

/// What two runs reached, and in what their recipes differ.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The stages that either run has.
    pub stages: BTreeMap<Stage, Pair>,
    /// The keys of the resolved recipes that are not alike.
    pub recipe: Vec<Changed>,
}

/// One stage of two runs.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Accuracy in the first run.
    pub a: Option<f64>,
    /// Accuracy in the second run.
    pub b: Option<f64>,
    /// The second less the first, where both have the stage.
    pub difference: Option<Difference>,
}

/// A key of two recipes with other values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// Dotted, as on the command line; a task's keys stand under its name.
    pub key: String,
    /// In the first recipe, as TOML; `None` if it has no such key.
    pub a: Option<String>,
    /// In the second recipe.
    pub b: Option<String>,
}

/// Compares the run `b` with the run `a`.
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let pair = |&stage: &Stage| {
        let (in_a, in_b) = (a.stages.get(&stage), b.stages.get(&stage));
        let accuracy = |result: Option<&StageResult>| result.map(|r| r.accuracy);
        let difference = in_a.zip(in_b).map(|(a, b)| difference(b, a));
        (stage, Pair { a: accuracy(in_a), b: accuracy(in_b), difference })
    };
    let stages = a.stages.keys().chain(b.stages.keys()).map(pair).collect();
    Comparison { stages, recipe: changed(&a.recipe_toml, &b.recipe_toml) }
}

/// The keys in which two resolved recipes differ. A text that is no TOML counts as one key, `recipe`.
pub fn changed(a: &str, b: &str) -> Vec<Changed> {
    let (a, b) = (flat(a), flat(b));
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    let of = |key: &String| Changed { key: key.clone(), a: a.get(key).cloned(), b: b.get(key).cloned() };
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).map(of).collect()
}

fn flat(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    match text.parse::<toml::Table>() {
        Ok(table) => flatten("", &toml::Value::Table(table), &mut keys),
        Err(_) => drop(keys.insert("recipe".to_owned(), text.to_owned())),
    }
    keys
}

fn flatten(at: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    let is_table = |value: &toml::Value| value.is_table();
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&below(key), value, keys)),
        toml::Value::Array(rows) if !rows.is_empty() && rows.iter().all(is_table) => {
            for (i, row) in rows.iter().enumerate() {
                let name = row.get("name").and_then(|name| name.as_str()).map_or_else(|| i.to_string(), str::to_owned);
                flatten(&below(&name), row, keys);
            }
        }
        value => drop(keys.insert(at.to_owned(), value.to_string())),
    }
}

/// One recipe's runs from several seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Seeds {
    /// Stages that every run has.
    pub stages: BTreeMap<Stage, Spread>,
    /// Questions that every run can answer.
    pub questions: Vec<Asked>,
}

/// A stage's accuracies over the seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// A question and its answer in each run.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// What is asked.
    pub question: &'static str,
    /// In the order of the runs.
    pub answers: Vec<Answered>,
}

/// One run's answer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Answered {
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// What it says.
    pub answer: Answer,
}

/// Sets runs of one recipe side by side.
///
/// # Errors
/// The keys other than `seed` and `name` in which the recipe of a run differs from the first's, and the place of that
/// run.
pub fn seeds(runs: &[Report]) -> Result<Seeds, (usize, Vec<String>)> {
    let Some((first, others)) = runs.split_first() else {
        return Ok(Seeds { stages: BTreeMap::new(), questions: Vec::new() });
    };
    for (i, other) in others.iter().enumerate() {
        let keys = changed(&first.recipe_toml, &other.recipe_toml).into_iter().map(|c| c.key);
        let keys: Vec<String> = keys.filter(|key| key != "seed" && key != "name").collect();
        if !keys.is_empty() {
            return Err((i + 1, keys));
        }
    }
    let spread = |&stage: &Stage| {
        let accuracy = |run: &Report| run.stages.get(&stage).map(|result| result.accuracy);
        let mut all = runs.iter().map(accuracy).collect::<Option<Vec<f64>>>()?;
        all.sort_by(f64::total_cmp);
        let median = (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0;
        Some((stage, Spread { median, min: all[0], max: all[all.len() - 1] }))
    };
    let asked = QUESTIONS.iter().filter_map(|question| {
        let answer = |run| {
            let (_, difference) = answered(run).find(|(other, _)| other.text == question.text)?;
            Some(Answered { difference, answer: difference.answer() })
        };
        Some(Asked { question: question.text, answers: runs.iter().map(answer).collect::<Option<_>>()? })
    });
    Ok(Seeds { stages: first.stages.keys().filter_map(spread).collect(), questions: asked.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_differ_by_dotted_keys() {
        let a = "seed = 0\nlr = 0.1\n[rl]\nsteps = 6\n[[tasks]]\nname = \"countdown\"\nnumbers = [3, 4]\n";
        let b = "seed = 1\nlr = 0.1\n[rl]\nsteps = 6\nmore = true\n[[tasks]]\nname = \"countdown\"\nnumbers = [3, 5]\n";
        let keys: Vec<(String, Option<String>, Option<String>)> =
            changed(a, b).into_iter().map(|c| (c.key, c.a, c.b)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            keys,
            [
                ("rl.more".to_owned(), None, some("true")),
                ("seed".to_owned(), some("0"), some("1")),
                ("tasks.countdown.numbers".to_owned(), some("[3, 4]"), some("[3, 5]")),
            ]
        );
        assert!(changed(a, a).is_empty());
        assert_eq!(changed(a, "= no toml").last().unwrap().key, "tasks.countdown.numbers");
        assert_eq!(changed("=", "=="), [Changed { key: "recipe".to_owned(), a: some("="), b: some("==") }]);
    }
}
