//! The words of the page in plain words, to stand beside where they are used.

use maud::{Markup, html};

use super::words::visible;

/// A list of terms that unfolds. Nothing of no terms.
pub fn terms(summary: &str, terms: &[(String, &str)]) -> Markup {
    html! {
        @if !terms.is_empty() {
            details.terms {
                summary { (summary) }
                dl { @for (term, meaning) in terms { dt { dfn { (visible(term)) } } dd { (meaning) } } }
            }
        }
    }
}

/// What a task asks, in a line; `None` of a task that is not ours.
pub fn task_line(task: &str) -> Option<&'static str> {
    Some(match task {
        "arithmetic" => "Sums, differences and products of numbers with several digits.",
        "beyond" => "Say that it is none of what the model can do.",
        "calculations" => "What people type to a calculator, in their own words.",
        "countdown" => "Reach a target from given numbers, each used at most once, by + − × ÷.",
        "gsm8k" => "Word problems of grade-school mathematics (GSM8K), whose answer is a number.",
        "knights_knaves" => "Knights always tell the truth and knaves never do: who is which?",
        "larger" => "Say which of two numbers is larger.",
        "letters" => "Spell a word, write it backwards, count its letters.",
        "questions" => "Questions in people's own words that nothing was trained on.",
        "declined_questions" => "Such questions that the model is to decline.",
        "sequences" => "Say which number comes next.",
        "small_talk" => "Reply to a greeting, or to a question about oneself.",
        "word_problems" => "Short stories with numbers: who has how many in the end?",
        "word_problems_ru" => "Short stories with numbers, in Russian.",
        _ => return None,
    })
}

/// What a curve measures; `None` of a name that explains itself or is not known.
pub fn curve(name: &str) -> Option<&'static str> {
    Some(match name {
        "loss" => {
            "What training lowers. In pre-training and fine-tuning it is the mean surprise at the right next token, in \
             nats; in RL it is the objective with its sign turned, which is near 0 and says little."
        }
        "mtp loss" => "The same surprise for the token after the next (multi-token prediction).",
        "reward" => "What the rules pay for an answer, averaged over a step's answers.",
        "accuracy reward" => "The share of a step's answers that are right.",
        "format reward" => "The share of a step's answers in the think/answer format.",
        "language reward" => "The mean share of the thinking's words that are in the question's language.",
        "length" => "The mean length of an answer.",
        "truncated" => "The share of answers that were cut off at the greatest length.",
        "zero-variance groups" => {
            "The share of questions all of whose answers earned alike, so that none taught anything."
        }
        "could not judge" => "The share of answers on which the verifier gave no verdict.",
        "kl" => {
            "The Kullback-Leibler divergence: how far the policy has moved from its reference (in distillation, from the \
             teacher), in nats per token; 0 is not at all."
        }
        "entropy" => {
            "How undecided the model is at each token, in nats: 0 is certain of one token, and ln 2 = 0.69 is torn between \
             two."
        }
        "clip share low" | "clip share high" => {
            "The share of tokens that no longer teach, because their probability has fallen or risen by as much as one \
             rollout may change it."
        }
        "importance weight" => {
            "How much a token counts on average where a copy of the model in 8 bits drew the answers: 1 if the copy is like \
             the model, less by what the cap takes away."
        }
        "importance cut" => "The share of tokens whose importance weight the cap held down.",
        "rollout gap" => {
            "How far the copy in 8 bits that drew the answers is from the model itself: the mean difference of the \
             log-probabilities of a token, either way, in nats."
        }
        "grad norm" => "The length of the gradient before clipping; spikes mark steps that wanted to go far.",
        "lr" => "The learning rate that the schedule gives each step.",
        "tokens/s" => "Training speed, which is no part of the result.",
        "right" => "The share of answers of a batch that are right.",
        "kept" => "How many right answers were kept so far.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_ours_is_explained() {
        let registry = include_str!("../../../../tasks/src/registry.rs");
        let (_, list) = registry.split_once("tasks! {\n").expect("the registry lists the tasks");
        let variants = list.lines().take_while(|line| *line != "}").filter_map(|line| line.trim().split_once('('));
        let mut found = 0;
        for (variant, _) in variants.filter(|(variant, _)| variant.chars().all(char::is_alphanumeric)) {
            let mut name = String::new();
            for c in variant.chars() {
                if c.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.extend(c.to_lowercase());
            }
            assert!(task_line(&name).is_some(), "{name} has no line in terms.rs");
            found += 1;
        }
        assert!(found >= 9, "{found} tasks were found in the registry");
    }
}
