//! The tasks that a recipe can name, and the weighted mixture of them.
//!
//! ```toml
//! [[tasks]]
//! name = "countdown"
//! weight = 0.7
//! numbers = [3, 4]
//! ```
//! A new task gets a line in the list below.

use serde::{Deserialize, Serialize};

use crate::draw;
use crate::task::{self, Language, Problem, Split, Task, TaskError, Trace, Verdict};

/// Makes [`TaskSpec`] of lines `Variant(dials) => constructor`; the recipe's name is the variant's in snake case.
macro_rules! tasks {
    ($($(#[$doc:meta])* $variant:ident($config:ty) => $new:expr,)*) => {
        /// One `[[tasks]]` table of a recipe: its `name` says which dials the rest are. Unknown names
        /// and keys are errors.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum TaskSpec {
            $($(#[$doc])* $variant($config),)*
        }

        impl TaskSpec {
            /// The task's weight in the mixture and the task itself.
            fn build(&self, seed: u64) -> Result<(f64, Box<dyn Task>), TaskError> {
                Ok(match self {
                    $(Self::$variant(config) => (config.weight, Box::new($new(config.clone(), seed)?)),)*
                })
            }
        }
    };
}

tasks! {
    /// Multi-digit arithmetic.
    Arithmetic(crate::arithmetic::Config) => crate::arithmetic::Arithmetic::new,
    /// What people type into a calculator.
    Calculations(crate::calculations::Config) => crate::calculations::Calculations::new,
    /// The Countdown numbers game.
    Countdown(crate::countdown::Config) => crate::countdown::Countdown::new,
    /// Word problems from a file.
    Gsm8k(crate::gsm8k::Config) => crate::gsm8k::Gsm8k::new,
    /// The letters of words.
    Letters(crate::letters::Config) => crate::letters::Letters::new,
    /// Which of two numbers is larger.
    Larger(crate::larger::Config) => crate::larger::Larger::new,
    /// Who tells the truth.
    KnightsKnaves(crate::knights_knaves::Config) => crate::knights_knaves::KnightsKnaves::new,
    /// Questions of a file that are to be answered; nothing is trained on them.
    Questions(crate::questions::Config) => crate::questions::Questions::answered,
    /// Those of the same file that are to be declined.
    DeclinedQuestions(crate::questions::Config) => crate::questions::Questions::declined,
    /// The next number.
    Sequences(crate::sequences::Config) => crate::sequences::Sequences::new,
    /// Hello, who are you, thanks.
    SmallTalk(crate::small_talk::Config) => crate::small_talk::SmallTalk::new,
    /// What is to be declined.
    Beyond(crate::beyond::Config) => crate::beyond::Beyond::new,
    /// Stories with numbers, in English.
    WordProblems(crate::word_problems::Config) => crate::word_problems::WordProblems::english,
    /// The same in Russian.
    WordProblemsRu(crate::word_problems::Config) => crate::word_problems::WordProblems::russian,
}

/// One task of a mixture at one level of difficulty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// The task's name.
    pub task: String,
    /// The level, 0 the easiest.
    pub level: u8,
    /// The task's weight in the mixture, shared equally between its levels.
    pub weight: f64,
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
            let is_drawn = !matches!(spec, TaskSpec::Questions(_) | TaskSpec::DeclinedQuestions(_));
            if is_drawn && !(weight > 0.0 && weight.is_finite()) || !is_drawn && weight != 0.0 {
                let fault =
                    format!("{name} has weight {weight}; give {}", if is_drawn { "a positive number" } else { "0" });
                return Err(TaskError::Mixture(fault));
            }
            if tasks.iter().any(|(_, other)| other.name() == name) {
                let fault = format!("{name} stands twice; merge the two, dials take ranges");
                return Err(TaskError::Mixture(fault));
            }
            tasks.push((weight, task));
        }
        if tasks.iter().all(|(weight, _)| *weight == 0.0) {
            let fault = match tasks.is_empty() {
                true => "none given; name at least one in [[tasks]]",
                false => "only held-back questions, which are never drawn; name another task beside them in [[tasks]]",
            };
            return Err(TaskError::Mixture(fault.to_owned()));
        }
        Ok(Self { tasks, seed })
    }

    /// The tasks in the order of the recipe, for an evaluation task by task.
    pub fn tasks(&self) -> impl Iterator<Item = &dyn Task> {
        self.tasks.iter().map(|(_, task)| task.as_ref())
    }

    /// Every task at every level, in the order of the recipe.
    pub fn arms(&self) -> Vec<Arm> {
        let arms = |(weight, task): &(f64, Box<dyn Task>)| -> Vec<Arm> {
            let levels = task.levels().max(1);
            let arm = |level| Arm { task: task.name().to_owned(), level, weight: weight / f64::from(levels) };
            (0..levels).map(arm).collect()
        };
        self.tasks.iter().filter(|(weight, _)| *weight > 0.0).flat_map(arms).collect()
    }

    /// Problem `index` of `split` of one arm; `None` if its task is not part of the mixture.
    pub fn problem_of(&self, arm: &Arm, split: Split, index: u64) -> Option<Problem> {
        let task = self.tasks().find(|task| task.name() == arm.task)?;
        Some(self.first_free(split, index, |index| task.problem_at(split, arm.level, index)))
    }

    /// The problem of this index, or in its place, where it is for training and worded like a question that is held
    /// back, one of another index.
    fn first_free(&self, split: Split, index: u64, problem: impl Fn(u64) -> Problem) -> Problem {
        let holds_back = |prompt: &str| split == Split::Train && self.tasks().any(|task| task.holds_back(prompt));
        let mut posed = problem(index);
        let mut again = 0;
        while holds_back(&posed.prompt) {
            again += 1;
            posed = problem(picnic_random::child(index, again));
        }
        posed
    }

    /// The task that made this problem, if it is part of the mixture.
    pub fn task_of(&self, problem: &Problem) -> Option<&dyn Task> {
        self.tasks().find(|task| task.name() == problem.task)
    }
}

impl task::Source for Mixture {
    /// Each task as often as its weight says.
    fn problem(&self, split: Split, index: u64) -> Problem {
        let drawn: Vec<&(f64, Box<dyn Task>)> = self.tasks.iter().filter(|(weight, _)| *weight > 0.0).collect();
        let weights: Vec<f64> = drawn.iter().map(|(weight, _)| *weight).collect();
        self.first_free(split, index, |index| {
            let mut rng = draw::rng(self.seed, "mixture", split as u64, index);
            drawn[draw::weighted(&weights, &mut rng)].1.problem(split, index)
        })
    }
}

/// A mixture is itself a task: each problem comes from, and is judged by, one of its parts.
impl Task for Mixture {
    fn name(&self) -> &'static str {
        "mixture"
    }

    fn source(&self) -> &dyn task::Source {
        self
    }

    /// Those of every task, in the order of the recipe.
    fn examples(&self) -> Vec<String> {
        self.tasks().flat_map(Task::examples).collect()
    }

    fn language(&self, problem: &Problem) -> Language {
        self.task_of(problem).map_or(Language::English, |task| task.language(problem))
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
    use crate::countdown;
    use crate::{Format, RewardWeights, score};
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
    fn arms_are_tasks_at_levels() {
        let mixture = Mixture::new(&parse(&TWO.replace("[3, 3]", "[2, 4]")).unwrap(), 7).unwrap();
        let arms = mixture.arms();
        let named: Vec<_> = arms.iter().map(|arm| (arm.task.as_str(), arm.level, arm.weight)).collect();
        assert_eq!(
            named,
            [("countdown", 0, 0.25), ("countdown", 1, 0.25), ("countdown", 2, 0.25), ("arithmetic", 0, 0.25)]
        );
        for (arm, numbers) in arms.iter().zip(2..=4) {
            for split in [Split::Train, Split::HeldOut] {
                let problem = mixture.problem_of(arm, split, 3).unwrap();
                assert_eq!(problem, mixture.problem_of(arm, split, 3).unwrap());
                assert_eq!(Split::of(&problem.id), split);
                assert_eq!(problem.gold["numbers"].as_array().unwrap().len(), numbers);
            }
        }
        let beyond = Arm { level: 99, ..arms[2].clone() };
        assert_eq!(mixture.problem_of(&beyond, Split::Train, 3), mixture.problem_of(&arms[2], Split::Train, 3));
        assert_eq!(mixture.problem_of(&Arm { task: "chess".into(), ..beyond }, Split::Train, 3), None);
    }

    #[test]
    fn a_strangers_problem_is_not_judged() {
        let mixture = Mixture::new(&parse(TWO).unwrap(), 0).unwrap();
        let mut problem = mixture.problem(Split::Train, 0);
        problem.task = "chess".into();
        assert!(matches!(mixture.verify(&problem, "e4"), Verdict::CouldNotJudge(_)));
        assert_eq!(mixture.trace(&problem), None);
        let text = "<think>so</think><answer>e4</answer>";
        let reward = score(&mixture, &problem, text, Format::default(), RewardWeights::default());
        assert_eq!((reward.format, reward.total), (true, None));
    }
}
