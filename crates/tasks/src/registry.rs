//! The tasks that a recipe can name, and the weighted mixture of them.
//!
//! ```toml
//! [[tasks]]
//! name = "countdown"
//! weight = 0.7
//! numbers = [3, 4]
//! ```
//! A new task gets a line in [`TaskSpec`] and one in [`TaskSpec::build`].

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::arithmetic::{self, Arithmetic};
use crate::countdown::{self, Countdown};
use crate::draw;
use crate::gsm8k::{self, Gsm8k};
use crate::task::{Problem, Split, Task, TaskError, Trace, Verdict};

/// One `[[tasks]]` table of a recipe: its `name` says which dials the rest are. Unknown names
/// and keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum TaskSpec {
    /// Multi-digit arithmetic.
    Arithmetic(arithmetic::Config),
    /// The Countdown numbers game.
    Countdown(countdown::Config),
    /// Word problems from a file.
    Gsm8k(gsm8k::Config),
}

impl TaskSpec {
    /// The task's weight in the mixture and the task itself.
    fn build(&self, seed: u64) -> Result<(f64, Box<dyn Task>), TaskError> {
        Ok(match self {
            Self::Arithmetic(c) => (c.weight, Box::new(Arithmetic::new(c.clone(), seed)?)),
            Self::Countdown(c) => (c.weight, Box::new(Countdown::new(c.clone(), seed)?)),
            Self::Gsm8k(c) => (c.weight, Box::new(Gsm8k::new(c, seed)?)),
        })
    }
}

/// Several tasks as one stream of problems.
pub struct Mixture {
    tasks: Vec<(f64, Box<dyn Task>)>,
    seed: u64,
}

impl Mixture {
    /// Sets up every task; all draw from the one seed.
    ///
    /// # Errors
    /// Whatever a task finds wrong with its dials or files, and [`TaskError::Mixture`] for a
    /// list that is empty, repeats a task or has a weight that is not positive.
    pub fn new(specs: &[TaskSpec], seed: u64) -> Result<Self, TaskError> {
        let mut tasks: Vec<(f64, Box<dyn Task>)> = Vec::new();
        for spec in specs {
            let (weight, task) = spec.build(seed)?;
            let name = task.name();
            if !(weight > 0.0 && weight.is_finite()) {
                let fault = format!("{name} has weight {weight}; give a positive number");
                return Err(TaskError::Mixture(fault));
            }
            if tasks.iter().any(|(_, other)| other.name() == name) {
                let fault = format!("{name} stands twice; merge the two, dials take ranges");
                return Err(TaskError::Mixture(fault));
            }
            tasks.push((weight, task));
        }
        if tasks.is_empty() {
            let fault = "none given; name at least one in [[tasks]]".to_owned();
            return Err(TaskError::Mixture(fault));
        }
        Ok(Self { tasks, seed })
    }

    /// The tasks in the order of the recipe, for an evaluation task by task.
    pub fn tasks(&self) -> impl Iterator<Item = &dyn Task> {
        self.tasks.iter().map(|(_, task)| task.as_ref())
    }

    /// The task that made this problem, if it is part of the mixture.
    pub fn task_of(&self, problem: &Problem) -> Option<&dyn Task> {
        self.tasks().find(|task| task.name() == problem.task)
    }
}

/// A mixture is itself a task: each problem comes from, and is judged by, one of its parts.
impl Task for Mixture {
    fn name(&self) -> &'static str {
        "mixture"
    }

    /// Each task as often as its weight says.
    fn problem(&self, split: Split, index: u64) -> Problem {
        let mut rng = draw::rng(self.seed, "mixture", split as u64, index);
        let total: f64 = self.tasks.iter().map(|(weight, _)| weight).sum();
        let mut point = rng.random::<f64>() * total;
        let mut chosen = &self.tasks[0].1;
        for (weight, task) in &self.tasks {
            chosen = task;
            if point < *weight {
                break;
            }
            point -= weight;
        }
        chosen.problem(split, index)
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        self.task_of(problem)?.trace(problem)
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        match self.task_of(problem) {
            Some(task) => task.verify(problem, answer),
            None => Verdict::CouldNotJudge(format!("no task {:?} in this mixture", problem.task)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, score};
    use std::collections::HashSet;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Recipe {
        tasks: Vec<TaskSpec>,
    }

    fn parse(text: &str) -> Result<Vec<TaskSpec>, String> {
        toml::from_str::<Recipe>(text).map(|recipe| recipe.tasks).map_err(|error| error.to_string())
    }

    const TWO: &str = "
        [[tasks]]
        name = \"countdown\"
        weight = 0.75
        numbers = [3, 3]
        [[tasks]]
        name = \"arithmetic\"
        weight = 0.25
        operations = [\"+\", \"-\"]
    ";

    #[test]
    fn a_recipe_makes_a_mixture_by_weight() {
        let specs = parse(TWO).unwrap();
        let mixture = Mixture::new(&specs, 7).unwrap();
        let countdown = (0..4000).filter(|&i| mixture.problem(Split::Train, i).task == "countdown").count();
        // Binomial(4000, 3/4): mean 3000, sd 27; five of them.
        assert!((countdown as i64 - 3000).abs() < 137, "{countdown}");
        let ids: HashSet<_> = mixture.held_out(100).unwrap().into_iter().map(|p| p.id).collect();
        assert_eq!(ids.len(), 100);
        // The resolved recipe reads back.
        let text = toml::to_string(&specs[0]).unwrap();
        assert_eq!(toml::from_str::<TaskSpec>(&text).unwrap(), specs[0]);
    }

    #[test]
    fn unknown_names_and_keys_are_errors() {
        let error = parse("[[tasks]]\nname = \"countdown\"\nskil = 1.0").unwrap_err();
        assert!(error.contains("skil") && error.contains("skill"), "{error}");
        let error = parse("[[tasks]]\nname = \"chess\"").unwrap_err();
        assert!(error.contains("chess") && error.contains("countdown"), "{error}");
        assert!(parse("[[tasks]]\nweight = 1.0").is_err());
        assert!(parse("[[tasks]]\nname = \"gsm8k\"").unwrap_err().contains("path"));
    }

    #[test]
    fn impossible_mixtures_are_errors() {
        let fault = |specs: &[TaskSpec]| Mixture::new(specs, 0).map(|_| ()).unwrap_err().to_string();
        assert!(fault(&[]).contains("at least one"));
        let mut specs = parse(TWO).unwrap();
        specs.push(specs[0].clone());
        assert!(fault(&specs).contains("countdown stands twice"));
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let spec = TaskSpec::Countdown(countdown::Config { weight, ..Default::default() });
            assert!(fault(&[spec]).contains("weight"));
        }
    }

    #[test]
    fn a_strangers_problem_is_not_judged() {
        let mixture = Mixture::new(&parse(TWO).unwrap(), 0).unwrap();
        let mut problem = mixture.problem(Split::Train, 0);
        problem.task = "chess".into();
        assert!(matches!(mixture.verify(&problem, "e4"), Verdict::CouldNotJudge(_)));
        assert_eq!(mixture.trace(&problem), None);
        let text = "<think>so</think><answer>e4</answer>";
        let reward = score(&mixture, &problem, text, Format::default());
        assert_eq!((reward.format, reward.total), (true, None));
    }
}
