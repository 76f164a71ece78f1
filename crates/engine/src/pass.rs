//! One forward pass over new tokens of some sequences, and what is read from it.

use crate::mtp::{Heard, Said};
use picnic_model::layers::{Absorbed, Past, Targets};
use picnic_model::ops::{CachedSpan, Draw, Drawn, Loss, Ops, OutOfMemory, Position};
use picnic_model::{Batch, Model, ParamStore, Tape};
use std::ops::Range;
use std::time::Duration;

/// Rows whose logits stand beside each other when the likeliest tokens of a prompt are wanted.
const LIKELIEST_ROWS: usize = 64;

/// What a pass goes through.
pub(crate) struct Weights<'m, O: Ops> {
    pub(crate) model: &'m Model,
    pub(crate) params: &'m ParamStore<O>,
    pub(crate) absorbed: &'m Absorbed<O>,
    /// Whether the model's module for multi-token prediction reads along, and guesses for who wants it.
    pub(crate) asks_module: bool,
}

/// The rows of a pass.
#[derive(Default)]
pub(crate) struct Plan {
    ids: Vec<u32>,
    positions: Vec<Position>,
    spans: Vec<CachedSpan>,
    parts: Vec<Part>,
}

/// The rows of one sequence and what is wanted of them.
pub(crate) struct Part {
    /// Which of the sequences.
    pub(crate) sequence: usize,
    /// Rows of the pass.
    pub(crate) rows: Range<usize>,
    /// A token is drawn by each of them, from as many of the last rows.
    pub(crate) draws: Vec<Draw>,
    /// The token after its rows, if it is known.
    pub(crate) follows: Option<u32>,
    /// Rows that predict a token of the prompt, with that token.
    pub(crate) predict: Vec<(u32, u32)>,
    /// How many of the likeliest tokens are wanted of each of these rows.
    pub(crate) likeliest: usize,
    /// Rows whose hidden states are wanted.
    pub(crate) states: Range<u32>,
}

/// What a part came to.
pub(crate) struct Done {
    /// Which of the sequences.
    pub(crate) sequence: usize,
    /// Its rows that are in the cache now.
    pub(crate) rows: usize,
    /// What was drawn from the last of them.
    pub(crate) drawn: Vec<Drawn>,
    /// The log-probability of each token that was predicted.
    pub(crate) predicted: Vec<f32>,
    /// The likeliest tokens in its place.
    pub(crate) likeliest: Vec<Vec<(u32, f32)>>,
    /// The hidden states that were wanted, one after another, `[states, width]`.
    pub(crate) states: Vec<f32>,
    /// The width of each.
    pub(crate) width: usize,
    /// What the model's module says comes after what was drawn, if it was asked.
    pub(crate) guess: Option<u32>,
}

/// What a pass came to.
pub(crate) struct Passed {
    /// Its parts.
    pub(crate) done: Vec<Done>,
    /// How many of them the module guessed for.
    pub(crate) guesses: usize,
    /// What that took. Reading along for it is not in there: the module does so whether or not it guesses.
    pub(crate) guessing: Duration,
}

impl Plan {
    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds the tokens `ids` of a sequence from position `start` on, whose prompt has `prompt` tokens and whose pages are
    /// `pages`.
    pub(crate) fn add(
        &mut self,
        ids: &[u32],
        (start, prompt): (usize, usize),
        pages: &[u32],
        part: impl FnOnce(Range<usize>) -> Part,
    ) {
        let rows = self.len()..self.len() + ids.len();
        self.ids.extend_from_slice(ids);
        // However the prompt is cut into passes, it is read as a whole.
        self.positions.extend(Position::range(start, ids.len(), prompt));
        self.spans.push(CachedSpan { rows: rows.clone(), start, prompt, pages: pages.to_vec() });
        self.parts.push(part(rows));
    }

    /// Tokens that are drawn.
    pub(crate) fn draws(&self) -> usize {
        self.parts.iter().map(|part| part.draws.len()).sum()
    }

    /// The sequence that was admitted last.
    pub(crate) fn last_sequence(&self) -> Option<usize> {
        self.parts.iter().map(|part| part.sequence).max()
    }

    /// Runs the pass. `wants_guess` says, for one of the sequences and the tokens that came for it, whether the model's
    /// module is to guess what comes next.
    pub(crate) fn run<O: Ops>(
        self,
        ops: &O,
        weights: &Weights<O>,
        cache: &mut O::Cache,
        wants_guess: impl Fn(usize, &[u32]) -> bool,
    ) -> Result<Passed, OutOfMemory> {
        let Plan { ids, positions, spans, parts } = self;
        let Weights { model, params, absorbed, .. } = *weights;
        let rows = spans.iter().map(|span| span.rows.clone()).collect();
        let batch = Batch { ids, positions: positions.into(), spans: rows };
        let mut tape = Tape::inference(ops);
        let hidden = model.forward(&mut tape, params, &batch, &mut Past::Cached(cache, &spans, absorbed))?;
        let head = model.head(params);

        let drawing = |part: &Part| (part.rows.end - part.draws.len()) as u32..part.rows.end as u32;
        let rows: Vec<u32> = parts.iter().flat_map(drawing).collect();
        let draws: Vec<Draw> = parts.iter().flat_map(|part| &part.draws).cloned().collect();
        let drawn = match rows.is_empty() {
            true => Vec::new(),
            false => ops.sample(tape.logits(&hidden, head, &rows)?.value(), &draws)?,
        };
        let (rows, ids): (Vec<u32>, Vec<u32>) = parts.iter().flat_map(|part| &part.predict).copied().unzip();
        let predicted = match rows.is_empty() {
            true => Vec::new(),
            false => {
                let targets = Targets { rows: &rows, ids: &ids, entropy: false };
                tape.token_loss(&hidden, head, targets, Loss::Constant(0.0))?.logprob
            }
        };
        // Logits are as wide as the vocabulary: some rows at a time.
        let mut likeliest = Vec::new();
        for part in &parts {
            let rows: Vec<u32> = part.predict.iter().filter(|_| part.likeliest > 0).map(|(row, _)| *row).collect();
            for rows in rows.chunks(LIKELIEST_ROWS) {
                let draws = vec![Draw { likeliest: part.likeliest, ..Draw::GREEDY }; rows.len()];
                let drawn = ops.sample(tape.logits(&hidden, head, rows)?.value(), &draws)?;
                // The one that would be drawn comes first, and again among the likeliest.
                likeliest.extend(drawn.into_iter().map(|drawn| drawn.likeliest.get(1..).unwrap_or_default().to_vec()));
            }
        }
        let rows: Vec<u32> = parts.iter().flat_map(|part| part.states.clone()).collect();
        let states = match rows.is_empty() {
            true => Vec::new(),
            false => ops.download(tape.take_rows(&hidden, &rows)?.value()),
        };

        let (mut drawn, mut predicted, mut likeliest) =
            (drawn.into_iter(), predicted.into_iter(), likeliest.into_iter());
        let (mut states, width) = (states.into_iter(), hidden.width);
        let done = parts.iter().map(|part| Done {
            sequence: part.sequence,
            rows: part.rows.len(),
            drawn: drawn.by_ref().take(part.draws.len()).collect(),
            predicted: predicted.by_ref().take(part.predict.len()).collect(),
            likeliest: likeliest.by_ref().take(if part.likeliest > 0 { part.predict.len() } else { 0 }).collect(),
            states: states.by_ref().take(part.states.len() * width).collect(),
            width,
            guess: None,
        });
        let mut done: Vec<Done> = done.collect();
        let mut said = Said::default();
        if weights.asks_module {
            // Beside prompts that go on being read there is no row to try a guess in.
            let may_guess = parts.iter().all(|part| !part.draws.is_empty());
            let mut heard = Heard::default();
            for ((part, done), span) in parts.iter().zip(&done).zip(&spans) {
                let (next, came) = part.followed_by(&batch.ids, &done.drawn);
                let asks = may_guess && wants_guess(part.sequence, &next[next.len() - came..]);
                heard.add(span, &batch.positions, &next, asks);
            }
            said = heard.say(&mut tape, weights, cache, &hidden)?;
            done.iter_mut().zip(said.guesses).for_each(|(done, guess)| done.guess = guess);
        }
        Ok(Passed { done, guesses: said.count, guessing: said.took })
    }
}

impl Part {
    /// The tokens after its rows in a pass over `ids` which drew `drawn` for it, one for each row that is the sequence's own
    /// now; and how many of them came by this pass. What was tried out and did not come has no row among these.
    fn followed_by(&self, ids: &[u32], drawn: &[Drawn]) -> (Vec<u32>, usize) {
        let own = self.rows.end - drawn.len().saturating_sub(1);
        let mut next = ids[self.rows.start + 1..own].to_vec();
        let tried = &ids[own..self.rows.end];
        let right = tried.iter().zip(drawn).take_while(|(tried, drawn)| **tried == drawn.token).count();
        let came = drawn.len().min(right + 1);
        next.extend(drawn[..came].iter().map(|drawn| drawn.token));
        next.extend(self.follows.filter(|_| drawn.is_empty()));
        (next, came)
    }
}
