//! Two runs side by side.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Difference, Report, Stage, StageResult, difference, difference_on};

/// Something over all problems, and the same of each task.
#[derive(Clone, Debug, Serialize)]
pub struct OverTasks<T> {
    /// Of all problems.
    #[serde(flatten)]
    pub all: T,
    /// Task by task; empty where there is one alone.
    pub by_task: BTreeMap<String, T>,
}

impl<T> OverTasks<T> {
    /// What `of` gives of all problems (`None`) and of each task of `results` (its name), as far as it gives anything.
    pub(super) fn new<'r>(
        results: impl Iterator<Item = &'r StageResult>,
        of: impl Fn(Option<&str>) -> Option<T>,
    ) -> Option<OverTasks<T>> {
        let mut tasks: Vec<&String> = results.flat_map(|result| result.by_task.keys()).collect();
        tasks.sort();
        tasks.dedup();
        let several = if tasks.len() > 1 { tasks } else { Vec::new() };
        let by_task = several.into_iter().filter_map(|task| Some((task.clone(), of(Some(task))?)));
        Some(OverTasks { all: of(None)?, by_task: by_task.collect() })
    }
}

/// Accuracy over all problems, or on one task.
pub(super) fn accuracy(result: &StageResult, task: Option<&str>) -> Option<f64> {
    match task {
        None => Some(result.accuracy),
        Some(task) => result.by_task.get(task).map(|of_task| of_task.accuracy),
    }
}

/// How much more accurate `a` is than `b`, over all problems or on one task.
pub(super) fn difference_of(a: &StageResult, b: &StageResult, task: Option<&str>) -> Option<Difference> {
    match task {
        None => Some(difference(a, b)),
        Some(task) => difference_on(task, a, b),
    }
}

/// What two runs reached, and in what their recipes differ.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The stages that either run has.
    pub stages: BTreeMap<Stage, OverTasks<Pair>>,
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
        let of = |task: Option<&str>| {
            Some(Pair {
                a: in_a.and_then(|result| accuracy(result, task)),
                b: in_b.and_then(|result| accuracy(result, task)),
                difference: in_a.zip(in_b).and_then(|(a, b)| difference_of(b, a, task)),
            })
        };
        Some((stage, OverTasks::new(in_a.into_iter().chain(in_b), of)?))
    };
    let stages = a.stages.keys().chain(b.stages.keys()).filter_map(pair).collect();
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

/// The changes for people to read: a table of several keys that only one of the recipes has is one row.
pub fn brief(changes: &[Changed]) -> Vec<Changed> {
    /// Fewer keys of a table are named.
    const MANY: usize = 4;
    let table = |change: &Changed| change.key.split_once('.').map(|(table, _)| table.to_owned());
    let side = |change: &Changed| (change.a.is_none(), change.b.is_none());
    let alike =
        |one: &Changed, other: &Changed| table(one).is_some() && table(one) == table(other) && side(one) == side(other);
    let of_run = |run: &[Changed]| match (&run[0], table(&run[0])) {
        (first, Some(table)) if run.len() >= MANY && side(first) != (false, false) => {
            let keys = Some(format!("{} keys", run.len()));
            let (a, b) = (first.a.as_ref().and(keys.clone()), first.b.as_ref().and(keys));
            vec![Changed { key: table, a, b }]
        }
        _ => run.to_vec(),
    };
    changes.chunk_by(alike).flat_map(of_run).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_one_recipe_lacks_is_one_row() {
        let a = "[rl]\nsteps = 6\n";
        let b = "[rl]\nsteps = 9\nlr = 1\n[zero]\na = 1\nb = 2\nc = 3\nd = 4\n[few]\na = 1\nb = 2\n";
        let row = |change: Changed| format!("{}: {} {}", change.key, change.a.is_some(), change.b.unwrap_or_default());
        let rows = |a, b| brief(&changed(a, b)).into_iter().map(row).collect::<Vec<_>>();
        let expected = ["few.a: false 1", "few.b: false 2", "rl.lr: false 1", "rl.steps: true 9", "zero: false 4 keys"];
        assert_eq!(rows(a, b), expected);
        assert_eq!(rows(b, a).last().unwrap(), "zero: true ");
    }

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
