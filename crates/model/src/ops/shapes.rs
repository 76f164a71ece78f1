//! The sizes and settings that operations take, in the words of the papers and of nobody's kernels.
//!
//! A backend translates them into what its kernels want. Left out: what a loss is made of (`loss.rs`).

use crate::config::{GroupScore, RopeStyle, Scoring};
use std::ops::Range;
use std::sync::Arc;

/// Inputs and outputs of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    /// Inputs.
    pub k: usize,
    /// Outputs.
    pub n: usize,
}

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; `heads` is a multiple, and query head h reads head h / (heads / kv_heads).
    pub kv_heads: usize,
    /// Width of a query or key.
    pub dk: usize,
    /// Width of a value.
    pub dv: usize,
    /// What q·k is multiplied by, usually dk^−½.
    pub scale: f32,
    /// Whether a value is the first `dv` numbers of its key, so that a cache has keys alone (MLA's latents).
    pub latent: bool,
}

/// Sizes of multi-head latent attention.
#[derive(Clone, Copy, Debug)]
pub struct MlaDims {
    /// Heads.
    pub heads: usize,
    /// Key width without position, `qk_nope_head_dim`.
    pub nope: usize,
    /// Key width with position, `qk_rope_head_dim`.
    pub rope: usize,
    /// Value width, `v_head_dim`.
    pub v: usize,
}

/// How fast the pairs of a head turn. A backend may keep what it derives from one as long as the table lives.
#[derive(Debug)]
pub struct RotaryTable {
    /// Angle by which pair i turns from one position to the next.
    pub inv_freq: Vec<f32>,
    /// Multiplies cosines and sines: 1 but for YaRN.
    pub attention_factor: f32,
    /// Other frequencies for the rows of sequences longer than the model's positions ("dynamic" scaling).
    pub growth: Option<Growth>,
}

/// How the base of rotary frequencies grows with the sequence: beyond `positions` it is
/// theta·(factor·length/positions − (factor − 1))^(dim/(dim − 2)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// The base of shorter sequences.
    pub theta: f64,
    /// How fast it grows.
    pub factor: f64,
    /// The model's positions, up to which it does not.
    pub positions: usize,
}

/// Where a row stands in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its place, from 0.
    pub at: u32,
    /// How long the sequence is for it, which matters to frequencies that grow: what is read at once has the length of
    /// it all, a token that is generated stands at its end.
    pub length: u32,
}

impl Position {
    /// Those of `count` tokens from `start` on, in what is read at once as `length` tokens; beyond these, each is the
    /// last of its sequence.
    pub fn range(start: usize, count: usize, length: usize) -> impl Iterator<Item = Position> {
        (start..start + count).map(move |at| Position { at: at as u32, length: length.max(at + 1) as u32 })
    }
}

/// Where and how heads are rotated (Su et al. 2021), without the positions.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Width of a head; a row has a multiple of it.
    pub head_dim: usize,
    /// First rotated element of a head.
    pub offset: usize,
    /// Rotated elements of a head.
    pub dim: usize,
    /// Which elements pair up.
    pub style: RopeStyle,
    /// How fast.
    pub table: Arc<RotaryTable>,
}

/// The gate of a layer with experts.
#[derive(Clone, Copy, Debug)]
pub struct RouterConfig {
    /// Routed experts, `n_routed_experts`.
    pub experts: usize,
    /// Experts of a token, `num_experts_per_tok`.
    pub top_k: usize,
    /// Groups of consecutive experts, `n_group`; 1 for none.
    pub groups: usize,
    /// Groups from which a token may choose, `topk_group`.
    pub top_groups: usize,
    /// Logits to scores, `scoring_func`.
    pub scoring: Scoring,
    /// Scores to a group's score, from `topk_method`.
    pub group_score: GroupScore,
    /// Whether mixing weights are made to sum to 1, `norm_topk_prob`.
    pub normalise: bool,
    /// Factor on the mixing weights, `routed_scaling_factor`.
    pub scale: f32,
}

/// One step's settings of AdamW (Loshchilov and Hutter 2019). In f64, because 1 − β₂ and the bias corrections are.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root in the denominator.
    pub eps: f64,
    /// Share of `lr` by which a parameter shrinks.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// One step's settings of Muon (Jordan et al. 2024; Liu et al. 2025).
#[derive(Clone, Copy, Debug)]
pub struct Muon {
    /// Learning rate, of the size that AdamW's has.
    pub lr: f64,
    /// Decay of the sum of gradients.
    pub momentum: f64,
    /// Share of `lr` by which a parameter shrinks.
    pub weight_decay: f64,
}

/// The keys and values of one sequence's past, and the rows that now extend it.
#[derive(Clone, Debug)]
pub struct CachedSpan {
    /// Rows of the batch.
    pub rows: Range<usize>,
    /// Position of the first row.
    pub start: usize,
    /// Tokens of the prompt, with which the sequence begins; those behind it are an answer.
    pub prompt: usize,
    /// Pages of the sequence in order, enough for all its positions.
    pub pages: Vec<u32>,
}

impl CachedSpan {
    /// The rows of the prompt and those of the answer.
    pub(crate) fn by_kind(&self) -> [CachedSpan; 2] {
        let prompt = self.prompt.saturating_sub(self.start).min(self.rows.len());
        let middle = self.rows.start + prompt;
        let part = |rows, start| CachedSpan { rows, start, ..self.clone() };
        [part(self.rows.start..middle, self.start), part(middle..self.rows.end, self.start + prompt)]
    }
}

/// How a cache keeps keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheForm {
    /// As the pass over a whole sequence has them.
    #[default]
    Exact,
    /// In 16-bit floats: half the memory. Of MLA the latents, from which all heads' keys and values are made.
    F16,
    /// In bytes with a scale for each position and head: somewhat more than a quarter of the memory; else as
    /// [`F16`](CacheForm::F16).
    Q8,
}

/// How often the experts of a layer were chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpertLoad {
    /// Tokens that chose each expert.
    pub counts: Vec<u64>,
    /// The layer's sequence-wise balance loss.
    pub balance_loss: f64,
}

/// How a token is drawn from a row of logits: they are changed, what is not allowed falls away, the temperature makes
/// probabilities of them, the limits keep the likelier ones, and a random number picks one of those.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// What is done to the logits of some tokens first.
    pub changes: Vec<LogitChange>,
    /// The tokens that may be drawn.
    pub allowed: AllowedTokens,
    /// Divides the logits; 0, or anything below 1e-6, takes the likeliest token.
    pub temperature: f32,
    /// Which of the likeliest tokens are drawn from.
    pub limits: DrawLimits,
    /// The random number that decides, from 0 (included) to 1 (excluded).
    pub uniform: f64,
    /// How many of the likeliest tokens are wanted.
    pub likeliest: usize,
}

impl Draw {
    /// The likeliest token.
    pub const GREEDY: Draw = Draw {
        changes: Vec::new(),
        allowed: AllowedTokens::All,
        temperature: 0.0,
        limits: DrawLimits::NONE,
        uniform: 0.0,
        likeliest: 0,
    };
}

/// What is done to the logit of a token: one above 0 is divided by `repetition`, one below multiplied (Keskar et al. 2019),
/// and `add` is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitChange {
    /// The token.
    pub token: u32,
    /// Above 0; 1 for nothing.
    pub repetition: f32,
    /// May be −∞.
    pub add: f32,
}

/// The tokens that may be drawn; there must be one.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AllowedTokens {
    /// All.
    #[default]
    All,
    /// This one.
    One(u32),
    /// Those whose bits are set: token i has bit i mod 32 of word i / 32. Tokens past the end are not among them.
    Of(Arc<[u32]>),
}

/// Limits to the tokens that are drawn from, applied in this order, each to the probabilities that those before it left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawLimits {
    /// So many of the likeliest; 0 for all.
    pub top_k: usize,
    /// The likeliest that together have this probability, the one that crosses it included (Holtzman et al. 2020); 1 for
    /// all.
    pub top_p: f32,
    /// Those that have at least this share of the likeliest one's probability (Nguyen et al. 2024); 0 for all.
    pub min_p: f32,
    /// Those whose surprise is closest to the entropy and which together have this probability (Meister et al. 2023); 1
    /// for all.
    pub typical_p: f32,
}

impl DrawLimits {
    /// None.
    pub const NONE: DrawLimits = DrawLimits { top_k: 0, top_p: 1.0, min_p: 0.0, typical_p: 1.0 };
}

/// A token that was drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    /// Its id.
    pub token: u32,
    /// Its log-probability at temperature 1, in nats, before any change.
    pub logprob: f32,
    /// If any were wanted: the token and then the likeliest ones, with their log-probabilities in nats under the
    /// distribution that was drawn from; a greedy draw tells those at temperature 1.
    pub likeliest: Vec<(u32, f32)>,
}
