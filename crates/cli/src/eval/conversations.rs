//! `picnic eval --conversation N`: a recipe's held-out problems one after another in conversations, kept as `picnic chat`
//! keeps them, so that a model which is right at first and talks nonsense later shows.

use crate::chat::{Conversation, Ending, Interrupt, Settings, leave};
use crate::load::Loaded;
use anyhow::{Result, ensure};
use picnic_data::shuffled;
use picnic_tasks::Mixture;
use picnic_train::recipe::{Eval, Recipe};
use picnic_train::report::Share;
use std::io::{IsTerminal, stderr};

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
}

/// Holds conversations of `questions` questions each. The problems of all tasks come in a random order; the model sees its
/// own answers, right or wrong, as far back as its conversations go.
///
/// # Errors
/// Fewer than three questions, fewer problems than one conversation has, or a question that the model refuses.
pub fn hold(recipe: &Recipe<Eval>, loaded: Loaded, questions: usize) -> Result<Conversations> {
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
        temperature: stage.temperature as f32,
        max_tokens: stage.max_tokens,
        seed: stage.problem_seed,
    };
    let mut conversation = Conversation::new(loaded, settings, Interrupt::listen()?);
    let shows = stderr().is_terminal();
    let (mut thirds, mut differences) = ([vec![], vec![], vec![]], Vec::new());
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
            right.push(f64::from(u8::from(task.verify(problem, said.unwrap_or_default()).is_right())));
        }
        let third = questions / 3;
        let parts = [&right[..third], &right[third..questions - third], &right[questions - third..]];
        let shares = parts.map(|part| part.iter().sum::<f64>() / part.len() as f64);
        thirds.iter_mut().zip(shares).for_each(|(all, share)| all.push(share));
        differences.push(shares[2] - shares[0]);
        if shows {
            eprint!("\r{} of {conversations} conversations", done + 1);
        }
    }
    if shows {
        eprintln!();
    }
    Ok(Conversations {
        conversations,
        questions,
        thirds: thirds.map(|shares| Share::of(&shares, stage.problem_seed)),
        last_minus_first: Share::of(&differences, stage.problem_seed),
    })
}
