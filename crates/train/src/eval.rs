//! Evaluation: k samples of each held-out problem (R1: temperature 0.6, top-p 0.95), judged by rules.

use crate::error::Error;
use crate::lanes::{Lanes, Pass, Sequence};
use crate::load::{Loaded, load};
use crate::place::Place;
use crate::recipe::{Common, Eval};
use crate::report::{Share, StageResult, TaskResult, bootstrap_ratio_ci, counted_as, majority, pass_at_k, shown_ks};
use crate::rollout::{Draw, Sample, judge, prompts, roll_out};
use crate::run_folder::hash_of;
use crate::watch;
use picnic_chat::ChatFormat;
use picnic_data::ProblemFormat;
use picnic_engine::Finish;
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{Backend, CacheForm, SharedModel, WeightForm, backend};
use picnic_tasks::{Mixture, Problem, Reward, RewardWeights, Task, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A model to be judged.
pub struct Judged {
    /// The model, frozen.
    pub model: SharedModel<Backend>,
    /// How it is talked to.
    pub chat: ChatFormat,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
    pub(crate) forms: Forms,
    pub(crate) ops: Backend,
    pub(crate) lanes: Lanes,
}

/// How a model that only answers keeps its numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forms {
    /// Its weights.
    pub weights: WeightForm,
    /// Keys and values of what it has read.
    pub cache: CacheForm,
}

/// One judged answer.
pub struct Answer {
    /// The problem.
    pub problem: Problem,
    /// What the model said.
    pub text: String,
    /// What the rules said.
    pub reward: Reward,
}

/// An evaluation with its answers, problem by problem.
pub struct Evaluation {
    /// The figures.
    pub result: StageResult,
    /// Every sample.
    pub answers: Vec<Answer>,
    /// Tokens read and written.
    pub tokens: u64,
}

impl Judged {
    /// Reads a model.
    ///
    /// # Errors
    /// Weights that cannot be read, or another model's tokenizer.
    pub fn open(model: &Path, chat: ChatFormat, forms: Forms, lanes: usize, threads: usize) -> Result<Judged, Error> {
        let ops = backend::with_threads(threads)?;
        let place = Place::of(model)?;
        let Loaded { model, params, notes } = load(&ops, &Checkpoint::open(&place.path)?, &chat, Some(forms.weights))?;
        let lanes = Lanes::new(&ops, lanes)?;
        Ok(Judged { model: SharedModel::new(model, params), chat, notes, forms, ops, lanes })
    }

    /// `draw.samples` answers to each question, in order.
    ///
    /// # Errors
    /// If a prompt cannot be made or is refused.
    pub fn answer(&mut self, problems: &[Problem], draw: Draw) -> Result<Vec<Sample>, Error> {
        let prompts = prompts(&ProblemFormat::new(&self.chat)?, problems)?;
        roll_out(&self.ops, &self.model, &prompts, self.chat.ends().ids(), self.forms.cache, draw)
    }

    /// `draw.samples` answers to each prompt as text, each with why it ended (`stop` or `length`).
    ///
    /// # Errors
    /// If a prompt cannot be made or is refused.
    pub fn texts(&mut self, prompts: &[&str], draw: Draw) -> Result<Vec<(String, &'static str)>, Error> {
        let format = ProblemFormat::new(&self.chat)?;
        let prompts = prompts.iter().map(|p| Ok(format.prompt(p)?)).collect::<Result<Vec<_>, Error>>()?;
        let samples = roll_out(&self.ops, &self.model, &prompts, self.chat.ends().ids(), self.forms.cache, draw)?;
        let said = samples.iter().map(|sample| {
            let finish = match sample.completion.finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
            };
            (self.chat.text(&sample.completion.tokens), finish)
        });
        Ok(said.collect())
    }

    /// Judges the model on held-out problems of every task of the recipe.
    ///
    /// # Errors
    /// If a task has too few problems or a prompt is refused.
    pub fn evaluate(&mut self, common: &Common, eval: &Eval) -> Result<Evaluation, Error> {
        let tasks = Mixture::new(&common.tasks, eval.problem_seed)?;
        let (mut answers, mut length, mut read) = (Vec::new(), 0, 0);
        let (mut by_task, mut all, mut scores, mut held_out) =
            (BTreeMap::new(), Marks::new(eval.samples), BTreeMap::new(), Vec::new());
        for (i, task) in tasks.tasks().enumerate() {
            let _evaluating = watch::at(format!("evaluation: task {}", task.name()));
            let problems = task.held_out(eval.problems)?;
            let draw = Draw {
                samples: eval.samples,
                max_tokens: eval.max_tokens,
                temperature: eval.temperature,
                top_p: eval.top_p,
                seed: picnic_random::child(eval.problem_seed, i as u64),
            };
            let samples = self.answer(&problems, draw)?;
            let format = ProblemFormat::new(&self.chat)?;
            read += eval.samples * prompts(&format, &problems)?.iter().map(Vec::len).sum::<usize>();
            let mut of_task = Marks::new(eval.samples);
            for group in samples.chunks(eval.samples) {
                let judged = |s| judge(task, &format, &problems, s, RewardWeights::default());
                let rewards: Vec<Reward> = group.iter().map(judged).collect();
                let texts: Vec<String> = group.iter().map(|s| format.text(&s.completion.tokens)).collect();
                let votes = texts.iter().map(|text| format.layout.parse(text).map(|parts| counted_as(parts.answer)));
                let judged = rewards.iter().zip(votes).filter_map(|(reward, vote)| match reward.accuracy {
                    Verdict::CouldNotJudge(_) => None,
                    _ => Some((reward.accuracy.is_right(), vote)),
                });
                of_task.add(&judged.collect::<Vec<_>>());
                for ((sample, text), reward) in group.iter().zip(texts).zip(rewards) {
                    length += sample.completion.tokens.len() as u64;
                    answers.push(Answer { problem: problems[sample.prompt].clone(), text, reward });
                }
            }
            let result = of_task.result(eval.problem_seed);
            if result.n > 0 {
                by_task.insert(task.name().to_owned(), result);
            }
            scores.insert(task.name().to_owned(), of_task.scores());
            all.extend(of_task);
            held_out.extend(problems);
        }
        if by_task.is_empty() {
            let what = "no answer could be judged".to_owned();
            return Err(Error::Empty { what, cure: "a verifier that fails on everything is at fault: mend it" });
        }
        let worked = self.worked(common, &tasks, &held_out)?;
        let TaskResult { accuracy, ci95, pass_at_k, majority, .. } = all.result(eval.problem_seed);
        let result = StageResult {
            accuracy,
            ci95,
            by_task,
            pass_at_k,
            majority,
            scores,
            problem_set: hash_of(held_out.iter().flat_map(|problem| problem.id.bytes().chain([b'\n']))),
            well_formed: mean(answers.iter().map(|a| f64::from(u8::from(a.reward.format)))),
            mean_length: length as f64 / answers.len().max(1) as f64,
            language: Some(mean(answers.iter().map(|a| f64::from(a.reward.language)))),
            could_not_judge: answers.iter().filter(|a| a.reward.total.is_none()).count() as u64,
            loss: worked.mean(),
            loss_ci95: bootstrap_ratio_ci(&worked.losses, eval.problem_seed),
        };
        let tokens = length + (read + worked.tokens) as u64;
        Ok(Evaluation { result, answers, tokens })
    }

    /// How likely the model finds the worked solutions of held-out problems.
    fn worked(&mut self, common: &Common, tasks: &Mixture, problems: &[Problem]) -> Result<Worked, Error> {
        let format = ProblemFormat::new(&self.chat)?;
        let mut sequences = Vec::new();
        for worked in problems.iter().filter_map(|problem| tasks.sft_example(problem)) {
            let example = format.example(&worked)?;
            if example.ids.len() > self.model.model().config().max_position_embeddings {
                continue; // The model has not learned to read that far.
            }
            sequences.push(Sequence { ids: example.ids, first_target: example.prompt });
        }
        let pass = Pass::new(common.micro_batch_tokens);
        let stats = self.lanes.logprobs(self.model.model(), &self.model.params(), &sequences, pass)?;
        let loss = |logprobs: &[f32]| -logprobs.iter().map(|&l| f64::from(l)).sum::<f64>();
        Ok(Worked {
            losses: stats.iter().map(|s| (loss(&s.logprob), s.logprob.len() as f64)).collect(),
            tokens: sequences.iter().map(|s| s.ids.len()).sum(),
        })
    }
}

/// What the samples of each problem came to. Where the verifier failed nobody knows whether a sample was right: it counts
/// neither way, and a problem takes part in what it has enough judged samples for.
struct Marks {
    /// Share of right samples; `None` where none was judged.
    right: Vec<Option<f64>>,
    /// For each k of [`shown_ks`], pass@k.
    pass_at: BTreeMap<usize, Vec<f64>>,
    /// 1 where the most frequent answer is right, else 0.
    voted: Vec<f64>,
}

impl Marks {
    fn new(samples: usize) -> Marks {
        let pass_at = shown_ks(samples).into_iter().map(|k| (k, Vec::new())).collect();
        Marks { right: Vec::new(), pass_at, voted: Vec::new() }
    }

    /// The judged samples of the next problem: whether each is right, and its vote; one that is not in the format has
    /// none.
    fn add(&mut self, judged: &[(bool, Option<String>)]) {
        if judged.is_empty() {
            return self.right.push(None);
        }
        let right = judged.iter().filter(|(is_right, _)| *is_right).count();
        self.right.push(Some(right as f64 / judged.len() as f64));
        for (&k, of_k) in self.pass_at.iter_mut().filter(|(k, _)| **k <= judged.len()) {
            of_k.push(pass_at_k(judged.len(), right, k));
        }
        let votes: Vec<Option<String>> = judged.iter().map(|(_, vote)| vote.clone()).collect();
        self.voted.push(f64::from(u8::from(majority(&votes).is_some_and(|winner| judged[winner].0))));
    }

    /// Problem by problem, for reports.
    fn scores(&self) -> Vec<Option<f32>> {
        self.right.iter().map(|share| share.map(|share| share as f32)).collect()
    }

    fn extend(&mut self, more: Marks) {
        self.right.extend(more.right);
        self.voted.extend(more.voted);
        for (k, of_k) in more.pass_at {
            self.pass_at.entry(k).or_default().extend(of_k);
        }
    }

    fn result(&self, seed: u64) -> TaskResult {
        let right: Vec<f64> = self.right.iter().flatten().copied().collect();
        let Share { value: accuracy, ci95 } = Share::of(&right, seed);
        TaskResult {
            accuracy,
            ci95,
            n: right.len() as u64,
            pass_at_k: (self.pass_at.iter())
                .filter(|(_, of_k)| !of_k.is_empty())
                .map(|(&k, of_k)| (k, Share::of(of_k, seed)))
                .collect(),
            majority: (!self.pass_at.is_empty() && !self.voted.is_empty()).then(|| Share::of(&self.voted, seed)),
        }
    }
}

/// The model's loss on worked solutions.
struct Worked {
    /// For each solution its cross-entropy in nats, summed over its tokens, and their number.
    losses: Vec<(f64, f64)>,
    /// Tokens that were read for it, prompts too.
    tokens: usize,
}

impl Worked {
    /// Nats per token over all solutions; `None` without any.
    fn mean(&self) -> Option<f64> {
        let (sum, count) = self.losses.iter().fold((0.0, 0.0), |(s, c), &(sum, count)| (s + sum, c + count));
        (count > 0.0).then(|| sum / count)
    }
}

/// Anyone's problem.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// Whatever names it, text or number.
    pub id: serde_json::Value,
    /// What the model is asked.
    pub prompt: String,
}

/// Reads `{"id", "prompt"}` rows; other keys are ignored.
///
/// # Errors
/// A file that cannot be read or is empty, or a row that is no such object, with its line.
pub fn read_questions(path: &Path) -> Result<Vec<Question>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::reading(path))?;
    let rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let questions = rows.map(|(i, line)| {
        serde_json::from_str(line).map_err(|e| Error::Problems {
            path: path.to_owned(),
            line: i + 1,
            problem: format!("{e}; each line is an object with \"id\" and \"prompt\""),
        })
    });
    let questions = questions.collect::<Result<Vec<Question>, Error>>()?;
    if questions.is_empty() {
        return Err(Error::Empty { what: format!("{} has no problems", path.display()), cure: "give one a line" });
    }
    Ok(questions)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_problem_are_those_of_its_samples() {
        let vote = |text: &str| Some(text.to_owned());
        let mut marks = Marks::new(4);
        // The right answer is found once and outvoted; then it wins though one sample is no answer at all.
        marks.add(&[(false, vote("8")), (true, vote("7")), (false, vote("8")), (false, None)]);
        marks.add(&[(true, vote("7")), (false, None), (true, vote("7")), (false, vote("9"))]);
        let result = marks.result(0);
        assert_eq!((result.accuracy, result.n), (0.375, 2));
        assert_eq!(result.majority.unwrap().value, 0.5);
        assert_eq!(result.pass_at_k[&4].value, 1.0);
        // Of six pairs three hold the one right sample, five one of the two.
        assert!((result.pass_at_k[&2].value - (3.0 / 6.0 + 5.0 / 6.0) / 2.0).abs() < 1e-15);
        assert!(Marks::new(1).result(0).majority.is_none());
    }

    #[test]
    fn what_nobody_judged_counts_neither_way() {
        let vote = |text: &str| Some(text.to_owned());
        let mut marks = Marks::new(4);
        marks.add(&[(true, vote("7")), (false, vote("8"))]);
        marks.add(&[]);
        let result = marks.result(0);
        assert_eq!((result.accuracy, result.n), (0.5, 1));
        assert_eq!(marks.scores(), [Some(0.5), None]);
        // Two samples are no four.
        assert_eq!(result.pass_at_k[&2].value, 1.0);
        assert!(!result.pass_at_k.contains_key(&4));
        let nothing = Marks { right: vec![None], ..Marks::new(4) }.result(0);
        assert!(nothing.n == 0 && nothing.majority.is_none() && nothing.pass_at_k.is_empty());
    }
}
