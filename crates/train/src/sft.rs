//! Supervised fine-tuning in the think/answer format. Only completions are learned, and of texts that are replayed from
//! pre-training every token.
//!
//! On worked problems it is R1's cold start (DeepSeek-R1, section 2.3.1); on answers that rejection sampling kept, the
//! fine-tuning of its second round (2.3.3), or on a smaller model distillation (2.4).

use crate::error::Error;
use crate::lanes::{BatchLoss, Sequence};
use crate::load::check_positions;
use crate::recipe::{Recipe, Sft};
use crate::run_folder::hash_of;
use crate::traces::read_examples;
use crate::training::{Opening, Outcome, Setting, Start, StepPlan, Training};
use crate::watch;
use picnic_chat::{ChatFormat, with_deep_stack};
use picnic_data::{Example, ProblemFormat, shuffled};
use picnic_tasks::{Corpus, Mixture, Problem, Split, Task};
use picnic_tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Problems of earlier turns start here, far from those that are learned and from RL's.
const FIRST_EARLIER: u64 = 1 << 49;
/// Replayed texts start here, far from those of pre-training.
const FIRST_TEXT: u64 = 1 << 40;

/// Fine-tunes the model of `start` into `setting.out`, on the worked problems of the recipe's tasks or on those in
/// `traces`.
///
/// # Errors
/// An empty set of examples, a folder in use, a checkpoint that cannot be written, a loss that is no number.
pub fn sft(
    recipe: &Recipe<Sft>,
    setting: &Setting,
    start: Start,
    traces: Option<&Path>,
    chat: ChatFormat,
) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let mut fingerprint = recipe.fingerprint()?;
    if let Some(traces) = traces {
        // Other contents under the same name are another recipe.
        let bytes = fs::read(traces).map_err(Error::reading(traces))?;
        fingerprint += &format!("# The file of traces has the hash {}.\n", hash_of(bytes));
    }
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let (examples, left_out) = examples(recipe, traces, &chat)?;
    if let Some(said) = left_out.said(stage.max_tokens) {
        setting.progress.note(&said);
    }
    let mut order = Order::default();
    let teaches = match traces {
        None => Mixture::new(&common.tasks, common.seed)?.examples(),
        // Nobody has said what kinds of question these are.
        Some(_) => Vec::new(),
    };
    let opening = Opening {
        stage: "sft",
        mtp_weight: stage.mtp_weight,
        rule: stage.optimizer.rule,
        fingerprint,
        teaches: Some(teaches),
    };
    let mut run = Training::open(opening, setting, common, start, chat)?;
    let longest = examples.iter().map(|example| example.ids.len()).max().unwrap_or(0);
    check_positions("the longest example", longest, run.policy.model().config().max_position_embeddings)?;
    let mean_tokens = examples.iter().map(|example| example.ids.len()).sum::<usize>() as f64 / examples.len() as f64;
    let mut display = run.open_display(stage.steps as u64, Some(mean_tokens));
    while run.step < stage.steps as u64 {
        let clock = Instant::now();
        let mut sequences = batch(&examples, recipe, run.step, &mut order);
        if stage.even_lanes {
            deal_evenly(&mut sequences, common.lanes);
        }
        // Each token of the batch weighs the same, in a long example and in a short one.
        let targets: usize = sequences.iter().map(Sequence::targets).sum();
        let loss = BatchLoss::Constant(-1.0 / targets.max(1) as f32);
        let plan = StepPlan {
            optimizer: &stage.optimizer,
            step: run.step,
            steps: stage.steps as u64,
            balance_alpha: stage.balance_alpha,
            entropy: false,
            teaches: true,
        };
        let done = run.step(common, &sequences, plan, &loss)?;
        run.balance_experts(&done.expert_counts, stage.router_bias_speed);
        let sum: f64 = done.tokens.iter().flat_map(|t| &t.logprob).map(|&l| f64::from(l)).sum();
        let tokens: usize = sequences.iter().map(|s| s.ids.len()).sum();
        let mut values = vec![
            ("loss", -sum / targets.max(1) as f64),
            ("lr", done.lr),
            ("grad norm", done.grad_norm),
            ("tokens/s", tokens as f64 / clock.elapsed().as_secs_f64()),
        ];
        values.extend(done.mtp_loss.map(|loss| ("mtp loss", loss)));
        run.end_step(&values, stage.checkpoint_every)?;
        display.step(run.step, &values);
    }
    run.finish()
}

/// How many examples of each task were drawn, and how many of these were too long. Few of all may be all that a task has
/// of a kind, which the model then never learns.
#[derive(Debug, Default)]
pub struct LeftOut(BTreeMap<String, Drawn>);

#[derive(Debug, Default)]
struct Drawn {
    all: u64,
    too_long: u64,
}

impl LeftOut {
    fn count(&mut self, task: &str, is_too_long: bool) {
        let drawn = self.0.entry(task.to_owned()).or_default();
        drawn.all += 1;
        drawn.too_long += u64::from(is_too_long);
    }

    /// A line about those over `limit` tokens; `None` if there are none.
    fn said(&self, limit: usize) -> Option<String> {
        let total = |of: fn(&Drawn) -> u64| self.0.values().map(of).sum::<u64>();
        let (too_long, all) = (total(|drawn| drawn.too_long), total(|drawn| drawn.all));
        let named = self.0.iter().filter(|(task, drawn)| !task.is_empty() && drawn.too_long > 0);
        let named: Vec<String> =
            named.map(|(task, drawn)| format!("{} of {} of {task}", drawn.too_long, drawn.all)).collect();
        let tasks = if named.is_empty() { String::new() } else { format!(", {}", named.join(", ")) };
        (too_long > 0).then(|| format!("{too_long} of {all} examples are left out: over {limit} tokens{tasks}"))
    }
}

/// What is learned from, as far as it is short enough, and what was too long: the first rows of `traces`, or else
/// the first problems of the training split that have a worked solution; then the texts that are replayed beside them.
///
/// # Errors
/// A file that cannot be read, a chat template that fails, or nothing short enough to learn from.
pub fn examples(
    recipe: &Recipe<Sft>,
    traces: Option<&Path>,
    chat: &ChatFormat,
) -> Result<(Vec<Sequence>, LeftOut), Error> {
    // Hundreds of thousands of conversations are rendered, which a thread for each would make several times slower.
    with_deep_stack(|| gather(recipe, traces, chat))?
}

fn gather(recipe: &Recipe<Sft>, traces: Option<&Path>, chat: &ChatFormat) -> Result<(Vec<Sequence>, LeftOut), Error> {
    let Recipe { common, stage } = recipe;
    let format = ProblemFormat::new(chat)?;
    let fits = |example: &Example| example.ids.len() <= stage.max_tokens;
    let (mut examples, mut left_out) = (Vec::new(), LeftOut::default());
    if let Some(traces) = traces {
        examples = read_examples(traces, &format, stage.examples)?;
        // Nobody has said of what task these are.
        examples.iter().for_each(|example| left_out.count("", !fits(example)));
        examples.retain(fits);
    } else {
        let tasks = Mixture::new(&common.tasks, common.seed)?;
        let mark = watch::counting("examples: worked out", stage.examples, "problems");
        // A task whose solutions are all too long must not keep us here for ever.
        for index in 0..20 * stage.examples as u64 {
            if examples.len() == stage.examples {
                break;
            }
            let problem = tasks.problem(Split::Train, index);
            let Some(worked) = tasks.sft_example(&problem) else { continue };
            let example = format.example_after(&earlier(recipe, &tasks, index), &worked)?;
            left_out.count(&problem.task, !fits(&example));
            if fits(&example) {
                examples.push(example);
                mark.done(examples.len() as u64);
            }
        }
    }
    if examples.is_empty() {
        return Err(Error::Empty {
            what: format!("no worked solution fits into sft.max_tokens = {}", stage.max_tokens),
            cure: "raise it or choose tasks with shorter solutions",
        });
    }
    let replayed = (stage.replay / (1.0 - stage.replay) * examples.len() as f64).round() as u64;
    let sequence = |Example { ids, prompt }| Sequence { ids, first_target: prompt };
    let mut examples: Vec<Sequence> = examples.into_iter().map(sequence).collect();
    if replayed > 0 {
        let corpus = Corpus::new(&common.corpus, &common.tasks, common.seed)?;
        for index in 0..replayed {
            examples.push(replay(&corpus.text(FIRST_TEXT + index), chat.tokenizer(), stage.max_tokens)?);
        }
    }
    Ok((examples, left_out))
}

/// What was asked and answered before example `index`.
fn earlier(recipe: &Recipe<Sft>, tasks: &Mixture, index: u64) -> Vec<(String, String)> {
    let most = recipe.stage.turns as u64;
    let drawn = picnic_random::part(recipe.common.seed, FIRST_EARLIER, index);
    // Three quarters of the examples stand alone: what was said before is read, not learned, and costs as much.
    let count = if most == 1 || !drawn.is_multiple_of(4) { 0 } else { 1 + drawn / 4 % (most - 1) };
    let problems = (0..count).map(|turn| tasks.problem(Split::Train, FIRST_EARLIER + index * most + turn));
    let exchange = |problem: Problem| Some((problem.prompt.clone(), tasks.trace(&problem)?.answer));
    problems.filter_map(exchange).collect()
}

/// A text as pre-training has it, by itself and cut to `most` tokens.
fn replay(text: &str, tokenizer: &Tokenizer, most: usize) -> Result<Sequence, Error> {
    let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
    ids.extend(tokenizer.encode(text, false)?);
    ids.extend(tokenizer.eos());
    ids.truncate(most);
    Ok(Sequence { ids, first_target: 1 })
}

/// The order of the examples in one epoch, kept from step to step.
#[derive(Default)]
struct Order {
    epoch: Option<u64>,
    places: Vec<usize>,
}

/// The examples of a step: the set in a new order in each epoch.
fn batch(examples: &[Sequence], recipe: &Recipe<Sft>, step: u64, order: &mut Order) -> Vec<Sequence> {
    let (n, size) = (examples.len() as u64, recipe.stage.batch_examples as u64);
    let mut pick = |place: u64| {
        if order.epoch != Some(place / n) {
            order.epoch = Some(place / n);
            order.places = shuffled(examples.len(), recipe.common.seed, place / n);
        }
        examples[order.places[(place % n) as usize]].clone()
    };
    (step * size..(step + 1) * size).map(&mut pick).collect()
}

/// Orders the sequences so that lanes, which take them in turn, get about as many tokens each: the longest first, then
/// to and fro.
fn deal_evenly(sequences: &mut [Sequence], lanes: usize) {
    sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.ids.len()));
    for back in sequences.chunks_mut(lanes.max(1)).skip(1).step_by(2) {
        back.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::train_tokenizer;

    /// The smoke recipe's 60 examples, and their format.
    fn set(change: &str) -> (Vec<Sequence>, ChatFormat) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/smoke/sft.toml");
        let recipe = Recipe::<Sft>::load(&file, &["examples=60", "max_tokens=128", change].map(str::to_owned)).unwrap();
        let chat = train_tokenizer(&recipe.common).unwrap();
        (examples(&recipe, None, &chat).unwrap().0, chat)
    }

    #[test]
    fn some_examples_end_a_conversation() {
        let ((alone, chat), (talks, _)) = (set("turns=1"), set("turns=3"));
        let asked = |s: &Sequence| chat.text(&s.ids[..s.first_target]).matches("<|user|>").count();
        assert!(alone.iter().all(|s| asked(s) == 1));
        // A quarter have a question before the last; binomial(60, 1/4), mean 15, sd 3.4, five of them.
        let longer = talks.iter().filter(|s| asked(s) > 1).count();
        assert!((1..=32).contains(&longer) && talks.iter().all(|s| asked(s) <= 3), "{longer}");
        for (alone, talk) in alone.iter().zip(&talks) {
            assert_eq!(alone.ids[alone.first_target..], talk.ids[talk.first_target..], "what is learned stays");
        }
    }

    #[test]
    fn what_is_left_out_is_said_by_task() {
        let mut left_out = LeftOut::default();
        for task in ["countdown", "knights_knaves"] {
            left_out.count(task, false);
        }
        assert_eq!(left_out.said(64), None);
        left_out.count("knights_knaves", true);
        let said = "1 of 3 examples are left out: over 64 tokens, 1 of 2 of knights_knaves";
        assert_eq!(left_out.said(64).as_deref(), Some(said));
        let mut rows = LeftOut::default();
        rows.count("", true);
        assert_eq!(rows.said(64).as_deref(), Some("1 of 1 examples are left out: over 64 tokens"));
    }

    #[test]
    fn lanes_get_about_as_much_each() {
        for lanes in [1, 2, 3, 4] {
            let of = |length: usize| Sequence { ids: vec![0; length], first_target: 1 };
            let mut dealt: Vec<Sequence> = (1..=24).map(of).collect();
            deal_evenly(&mut dealt, lanes);
            let tokens = |lane: usize| dealt.iter().skip(lane).step_by(lanes).map(|s| s.ids.len()).sum::<usize>();
            assert!((0..lanes).all(|lane| tokens(lane) == 300 / lanes), "{lanes} lanes");
        }
    }

    #[test]
    fn a_share_of_the_examples_is_text() {
        let (without, with) = (set("replay=0.0").0, set("replay=0.25").0);
        assert_eq!((without.len(), with.len()), (60, 80));
        assert_eq!(
            with[..60].iter().map(|s| &s.ids).collect::<Vec<_>>(),
            without.iter().map(|s| &s.ids).collect::<Vec<_>>()
        );
        assert!(with[60..].iter().all(|s| s.first_target == 1 && s.ids.len() > 2));
    }
}
