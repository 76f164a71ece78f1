//! What a model thinks of given text: perplexity of a text, and the likeliest of several continuations.
//!
//! Both read log-probabilities off one forward pass; nothing is generated and no chat template is used. Perplexity is
//! exp of the mean of −ln p(token | the tokens before it in its window). The text is cut into windows of `context` tokens
//! that do not overlap, so a figure depends on `context`, and figures of different tokenizers compare only as bits per
//! byte. Continuations are scored as lm-eval does: by their sum of ln p, and by that over their bytes, which favours no
//! length.

use crate::error::Error;
use crate::eval::Judged;
use crate::lanes::{Pass, Sequence};
use crate::load::check_positions;
use crate::report::bootstrap_ci;
use picnic_engine::{Completion, Limits, Request, Wants, generate};
use picnic_model::{Backend, Balance, CacheForm};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Tokens of a micro-batch: enough rows to keep the products busy.
const MICRO_BATCH: usize = 1024;

/// Sequences that the engine reads at once.
const READERS: usize = 8;

/// Windows or continuations that pass through the model at once.
const BATCH: usize = 64;

/// Perplexity of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// exp of the mean negative log-probability of a token.
    pub perplexity: f64,
    /// That mean, in nats.
    pub nats_per_token: f64,
    /// The sum in bits over the bytes of the text.
    pub bits_per_byte: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Tokens of a window.
    pub context: usize,
}

/// How a model fares on questions with several answers to choose from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choices {
    /// Share of questions whose right answer has the highest log-likelihood.
    pub accuracy: f64,
    /// Its 95 % interval over questions.
    pub accuracy_ci: [f64; 2],
    /// Share whose right answer has the highest log-likelihood a byte.
    pub accuracy_per_byte: f64,
    /// Its 95 % interval over questions.
    pub accuracy_per_byte_ci: [f64; 2],
    /// Share that guessing gets right.
    pub chance: f64,
    /// Questions.
    pub questions: usize,
}

/// A question with answers to choose from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ChoiceQuestion {
    /// Its name, if it has one.
    #[serde(default)]
    pub id: Option<serde_json::Value>,
    /// What stands before the answer.
    #[serde(alias = "question", alias = "query", alias = "context", alias = "ctx")]
    pub prompt: String,
    /// The answers.
    #[serde(alias = "endings", alias = "options")]
    pub choices: Vec<String>,
    /// The right one: its index from 0, its letter from A, or its text.
    #[serde(alias = "label", alias = "gold", alias = "target")]
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Answer {
    Index(usize),
    Text(String),
}

impl ChoiceQuestion {
    /// Index of the right answer; `None` if it names none of them.
    pub fn right(&self) -> Option<usize> {
        let index = match &self.answer {
            Answer::Index(index) => *index,
            Answer::Text(text) => {
                let named = self.choices.iter().position(|choice| choice == text);
                let letter = || match text.as_bytes() {
                    [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
                    _ => text.parse().ok(),
                };
                named.or_else(letter)?
            }
        };
        (index < self.choices.len()).then_some(index)
    }
}

/// Reads questions from a file with one JSON object a line.
///
/// # Errors
/// A file that cannot be read or is empty, or a row that is no such question, with its line.
pub fn read_choices(path: &Path) -> Result<Vec<ChoiceQuestion>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::reading(path))?;
    // Editors on Windows begin a file with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let questions = rows.map(|(i, line)| {
        let fault = |problem: String| Error::Problems { path: path.to_owned(), line: i + 1, problem };
        let question: ChoiceQuestion = serde_json::from_str(line)
            .map_err(|e| fault(format!("{e}; each line is an object with \"prompt\", \"choices\" and \"answer\"")))?;
        if question.choices.len() < 2 {
            return Err(fault(format!("has {} choices, fewer than two", question.choices.len())));
        }
        if question.right().is_none() {
            return Err(fault(format!(
                "the answer names none of its {} choices; give its index from 0, its letter from A, or its text",
                question.choices.len()
            )));
        }
        Ok(question)
    });
    let questions = questions.collect::<Result<Vec<_>, Error>>()?;
    if questions.is_empty() {
        return Err(Error::Empty { what: format!("{} has no questions", path.display()), cure: "give one a line" });
    }
    Ok(questions)
}

impl Judged {
    /// Perplexity of `text` in windows of `context` tokens, each after the token that begins every text, if the model
    /// has one. `done` hears how many tokens of how many are read.
    ///
    /// # Errors
    /// A text without a token to predict, or a window longer than the model's positions.
    pub fn perplexity(
        &mut self,
        text: &str,
        context: usize,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Perplexity, Error> {
        let ids = self.chat.tokenizer().encode(text, false)?;
        let windows = windows(&ids, self.first_token()?, context);
        let total: usize = windows.iter().map(Sequence::targets).sum();
        if total == 0 {
            return Err(Error::Empty { what: "the text has no token to predict".into(), cure: "give a longer one" });
        }
        let (mut nats, mut tokens) = (0.0, 0);
        for part in windows.chunks(BATCH) {
            for sums in self.log_likelihoods(part)? {
                nats -= sums;
            }
            tokens += part.iter().map(Sequence::targets).sum::<usize>();
            done(tokens, total);
        }
        let nats_per_token = nats / tokens as f64;
        Ok(Perplexity {
            perplexity: libm::exp(nats_per_token),
            nats_per_token,
            bits_per_byte: nats / std::f64::consts::LN_2 / text.len() as f64,
            tokens,
            context,
        })
    }

    /// ln p of each choice of each question, summed over its tokens.
    ///
    /// # Errors
    /// A question longer than the model's positions.
    pub fn choice_likelihoods(&mut self, questions: &[ChoiceQuestion]) -> Result<Vec<Vec<f64>>, Error> {
        let first = self.first_token()?;
        let mut sequences = Vec::new();
        for question in questions {
            for choice in &question.choices {
                sequences.push(self.continuation(first, &question.prompt, choice)?);
            }
        }
        let mut sums = Vec::with_capacity(sequences.len());
        for part in sequences.chunks(BATCH) {
            sums.extend(self.log_likelihoods(part)?);
        }
        let mut sums = sums.into_iter();
        Ok(questions.iter().map(|question| sums.by_ref().take(question.choices.len()).collect()).collect())
    }

    /// The token that begins every text of this model, if there is one.
    fn first_token(&self) -> Result<Option<u32>, Error> {
        let around_nothing = self.chat.tokenizer().encode("", true)?;
        Ok(self.chat.tokenizer().bos().filter(|bos| around_nothing.first() == Some(bos)))
    }

    /// `prompt` and `choice` as one text, of which the choice's tokens are predicted. A token across the two belongs to
    /// the choice; where neither brings a space one is put between them.
    fn continuation(&self, first: Option<u32>, prompt: &str, choice: &str) -> Result<Sequence, Error> {
        let glue = match (prompt.chars().last(), choice.chars().next()) {
            (Some(before), Some(after)) if !before.is_whitespace() && !after.is_whitespace() => " ",
            _ => "",
        };
        let whole = self.chat.tokenizer().encode(&format!("{prompt}{glue}{choice}"), false)?;
        let alone = self.chat.tokenizer().encode(prompt, false)?;
        let shared = whole.iter().zip(&alone).take_while(|(a, b)| a == b).count();
        let begin = first.iter().count();
        let ids: Vec<u32> = first.into_iter().chain(whole).collect();
        // The very first token has nothing to be predicted from.
        Ok(Sequence { first_target: (begin + shared).max(1), ids })
    }

    /// The sum of ln p over each sequence's targets.
    fn log_likelihoods(&mut self, sequences: &[Sequence]) -> Result<Vec<f64>, Error> {
        let longest = sequences.iter().map(|sequence| sequence.ids.len()).max().unwrap_or(0);
        check_positions("the longest text", longest, self.model.model().config().context())?;
        if self.forms.cache != CacheForm::Exact {
            return self.through_cache(sequences, longest);
        }
        let pass = Pass {
            micro_batch_tokens: MICRO_BATCH,
            balance: Balance::default(),
            entropy: false,
            mtp_weight: 0.0,
            recompute: false,
        };
        let said = self.lanes.logprobs(self.model.model(), &self.model.params(), sequences, pass)?;
        Ok(said.iter().map(|tokens| tokens.logprob.iter().map(|&l| f64::from(l)).sum()).collect())
    }

    /// The same as the engine reads the sequences, of which the longest has `longest` tokens: what a token attends to is in
    /// a cache that rounds.
    fn through_cache(&self, sequences: &[Sequence], longest: usize) -> Result<Vec<f64>, Error> {
        let cache_tokens = Limits::cache_for::<Backend>(READERS, longest + 1);
        let limits = Limits { cache: self.forms.cache, ..Limits::new(READERS, MICRO_BATCH, cache_tokens) };
        let wants = Wants { prompt_logprobs: true, ..Wants::default() };
        let request = |sequence: &Sequence| Request { wants: wants.clone(), ..Request::new(sequence.ids.clone(), 1) };
        let answers = generate(&self.ops, &self.model, limits, sequences.iter().map(request).collect())?;
        let sum = |(sequence, answer): (&Sequence, Completion)| {
            // The first token has none.
            answer.reading.prompt_logprobs.iter().skip(sequence.first_target - 1).map(|&l| f64::from(l)).sum()
        };
        Ok(sequences.iter().zip(answers).map(sum).collect())
    }
}

/// `ids` in windows of at most `context` tokens, `first` before each of them among those.
fn windows(ids: &[u32], first: Option<u32>, context: usize) -> Vec<Sequence> {
    let begin = first.iter().count();
    let fresh = context.saturating_sub(begin).max(1);
    let window =
        |part: &[u32]| Sequence { ids: first.into_iter().chain(part.iter().copied()).collect(), first_target: 1 };
    ids.chunks(fresh).map(window).filter(|window| window.targets() > 0).collect()
}

/// Accuracy of log-likelihoods by [`Judged::choice_likelihoods`].
pub fn score_choices(questions: &[ChoiceQuestion], likelihoods: &[Vec<f64>]) -> Choices {
    let best = |scores: Vec<f64>| -> usize {
        let better = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
        (1..scores.len()).fold(0, better)
    };
    let (mut whole, mut per_byte, mut chance) = (Vec::new(), Vec::new(), 0.0);
    for (question, sums) in questions.iter().zip(likelihoods) {
        let is_right = |index: usize| f64::from(u8::from(question.right() == Some(index)));
        let bytes = question.choices.iter().map(|choice| choice.len().max(1) as f64);
        whole.push(is_right(best(sums.clone())));
        per_byte.push(is_right(best(sums.iter().zip(bytes).map(|(sum, bytes)| sum / bytes).collect())));
        chance += 1.0 / question.choices.len() as f64 / questions.len() as f64;
    }
    let mean = |marks: &[f64]| marks.iter().sum::<f64>() / marks.len().max(1) as f64;
    Choices {
        accuracy: mean(&whole),
        accuracy_ci: bootstrap_ci(&whole, 0),
        accuracy_per_byte: mean(&per_byte),
        accuracy_per_byte_ci: bootstrap_ci(&per_byte, 0),
        chance,
        questions: questions.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(answer: &str) -> Result<ChoiceQuestion, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"question": "q", "choices": ["x", "yy", "C"], "answer": {answer}}}"#))
    }

    #[test]
    fn the_right_answer_is_an_index_a_letter_or_a_text() {
        for (answer, right) in [("1", Some(1)), ("\"B\"", Some(1)), ("\"yy\"", Some(1)), ("\"1\"", Some(1))] {
            assert_eq!(question(answer).unwrap().right(), right, "{answer}");
        }
        // A text that is also a letter is meant as the text.
        assert_eq!(question("\"C\"").unwrap().right(), Some(2));
        for answer in ["3", "\"D\"", "\"z\"", "\"\""] {
            assert_eq!(question(answer).unwrap().right(), None, "{answer}");
        }
        assert!(question("1.5").is_err());
    }

    #[test]
    fn windows_cover_the_text_once() {
        let ids: Vec<u32> = (0..10).collect();
        let predicted = |windows: &[Sequence]| -> Vec<u32> {
            windows.iter().flat_map(|w| w.ids[w.first_target..].to_vec()).collect()
        };
        // With a token before each window all are predicted, without one the first of each is not.
        let with = windows(&ids, Some(99), 4);
        assert_eq!(predicted(&with), ids);
        assert!(with.iter().all(|w| w.ids[0] == 99 && w.ids.len() <= 4));
        assert_eq!(predicted(&windows(&ids, None, 4)), [1, 2, 3, 5, 6, 7, 9]);
        assert_eq!(predicted(&windows(&ids[..9], None, 4)), [1, 2, 3, 5, 6, 7]);
        assert!(windows(&[], Some(1), 4).is_empty() && windows(&[5], None, 4).is_empty());
    }

    #[test]
    fn scores_count_bytes_or_not() {
        let questions = [question("0").unwrap(), question("1").unwrap()];
        let scored = score_choices(&questions, &[vec![-3.0, -4.0, -9.0], vec![-3.0, -4.0, -9.0]]);
        // By the sum x wins both times; a byte of yy costs 2, one of x 3.
        assert_eq!((scored.accuracy, scored.accuracy_per_byte), (0.5, 0.5));
        let first = score_choices(&questions[..1], &[vec![-3.0, -4.0, -9.0]]);
        assert_eq!((first.accuracy, first.accuracy_per_byte), (1.0, 0.0));
        assert!((first.chance - 1.0 / 3.0).abs() < 1e-12);
    }
}
