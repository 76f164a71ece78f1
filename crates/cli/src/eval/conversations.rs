//! `picnic eval --conversation N`: a recipe's held-out problems one after another in conversations, kept as `picnic chat`
//! keeps them, so that a model which is right at first and talks nonsense later shows.

use crate::chat::{Conversation, Ending, Interrupt, Settings, leave};
use crate::load::Loaded;
use anyhow::{Result, ensure};
use picnic_data::shuffled;
use picnic_engine::Sampling;
use picnic_model::CacheForm;
use picnic_tasks::{Mixture, Verdict};
use picnic_train::recipe::{Eval, Recipe};
use picnic_train::report::Share;

/// How many are right at which time of a conversation.
pub struct Conversations {
    /// Conversations held; what was too little for another is left out.
    pub conversations: usize,
    /// Questions in each.
    pub questions: usize,
    /// Share of right answers in the first, the second and the last third, with intervals over conversations.
    pub thirds: [Share; 3],
    /// By how much the last third is better than the first, in the same conversation.
    pub last_minus_first: Share,
    /// Answers that no rule could judge. They count neither way.
    pub could_not_judge: usize,
}

/// Holds conversations of `questions` questions each, in a cache of `cache`'s form. The problems of all tasks come in a random order; the model sees its
/// own answers, right or wrong, as far back as its conversations go.
///
/// # Errors
/// Fewer than three questions, fewer problems than one conversation has, or a question that the model refuses.
pub fn hold(
    recipe: &Recipe<Eval>,
    loaded: Loaded,
    cache: CacheForm,
    questions: usize,
    progress: impl Fn(usize, usize),
) -> Result<Conversations> {
    let Recipe { common, stage } = recipe;
    ensure!(questions >= 3, "--conversation {questions} has no first, second and last third: give 3 or more");
    let tasks = Mixture::new(&common.tasks, stage.problem_seed)?;
    let mut problems = Vec::new();
    for task in tasks.tasks() {
        problems.extend(task.held_out(stage.problems)?.into_iter().map(|problem| (task, problem)));
    }
    ensure!(
        problems.len() >= questions,
        "the recipe has {} held-out problems and a conversation {questions} questions: raise `problems` or lower \
         --conversation",
        problems.len()
    );
    let order = shuffled(problems.len(), stage.problem_seed, 0);
    let settings = Settings {
        system: None,
        sampling: Sampling { temperature: stage.temperature as f32, top_p: stage.top_p as f32, ..Sampling::GREEDY },
        thinking_budget: None,
        max_tokens: stage.max_tokens,
        seed: stage.problem_seed,
    };
    let mut conversation = Conversation::new(loaded, cache, settings, Interrupt::listen()?);
    let (mut judged, mut could_not_judge) = (Vec::new(), 0);
    let conversations = order.len() / questions;
    for (done, places) in order.chunks_exact(questions).enumerate() {
        conversation.clear();
        let mut right = Vec::with_capacity(questions);
        for &place in places {
            let (task, problem) = &problems[place];
            let answered = conversation.ask(&problem.prompt, |_| Ok(()))?;
            if answered.ending == Ending::Interrupted {
                leave();
            }
            let said = conversation.exchanges().last().and_then(|exchange| exchange.answer.content.as_deref());
            right.push(match task.verify(problem, said.unwrap_or_default()) {
                Verdict::CouldNotJudge(_) => None,
                verdict => Some(verdict.is_right()),
            });
        }
        could_not_judge += right.iter().filter(|right| right.is_none()).count();
        judged.push(thirds(&right));
        progress(done + 1, conversations);
    }
    let share = |values: Vec<f64>| Share::of(&values, stage.problem_seed);
    let third = |at: usize| share(judged.iter().filter_map(|thirds| thirds[at]).collect());
    let differences = judged.iter().filter_map(|thirds| Some(thirds[2]? - thirds[0]?)).collect();
    Ok(Conversations {
        conversations,
        questions,
        thirds: [third(0), third(1), third(2)],
        last_minus_first: share(differences),
        could_not_judge,
    })
}

/// The share of right answers in the first, the second and the last third of a conversation; `None` where none was judged.
fn thirds(right: &[Option<bool>]) -> [Option<f64>; 3] {
    let third = right.len() / 3;
    [&right[..third], &right[third..right.len() - third], &right[right.len() - third..]].map(|part| {
        let judged: Vec<bool> = part.iter().flatten().copied().collect();
        (!judged.is_empty()).then(|| judged.iter().filter(|right| **right).count() as f64 / judged.len() as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_falls_into_thirds() {
        let right = |text: &str| -> Vec<Option<bool>> {
            text.chars().map(|c| if c == '?' { None } else { Some(c == '+') }).collect()
        };
        assert_eq!(thirds(&right("++-----")), [Some(1.0), Some(0.0), Some(0.0)]);
        assert_eq!(thirds(&right("-+?-++++")), [Some(0.5), Some(2.0 / 3.0), Some(1.0)]);
        assert_eq!(thirds(&right("?-+")), [None, Some(0.0), Some(1.0)]);
    }
}
