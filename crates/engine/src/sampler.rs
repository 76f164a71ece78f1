//! What a request's next token is drawn by: its random stream, of which each token takes one number, and whatever what
//! was written so far changes in the logits or rules out.

use crate::control::{Constraint, Control, Thinking};
use crate::request::Sampling;
use picnic_model::ops::{AllowedTokens, Draw, DrawLimits, LogitChange};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Says how the next token is drawn.
#[derive(Clone)]
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// Taken from the stream for a token that has not come yet.
    pending: Option<f64>,
    /// How often each token stands in the answer; those of the prompt are there too. Empty where nothing asks for it.
    seen: BTreeMap<u32, u32>,
    bias: BTreeMap<u32, f32>,
    constraint: Option<Box<dyn Constraint>>,
    /// As long as the answer thinks.
    thinking: Option<Thinking>,
    /// Tokens of the answer so far.
    written: usize,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling, control: Control, prompt: &[u32]) -> Sampler {
        let Control { bias, thinking, constraint } = control;
        let seen = if sampling.repetition_penalty != 1.0 { prompt } else { &[] };
        Sampler {
            sampling,
            rng: picnic_random::stream(sampling.seed),
            pending: None,
            seen: seen.iter().map(|&token| (token, 0)).collect(),
            bias: bias.into_iter().collect(),
            constraint,
            thinking,
            written: 0,
        }
    }

    /// The next draw; the same until [`Sampler::drawn`], so that a pass that failed can be repeated.
    pub(crate) fn next(&mut self) -> Draw {
        let Sampling { temperature, top_k, top_p, min_p, typical_p, likeliest, .. } = self.sampling;
        let rng = &mut self.rng;
        let uniform = *self.pending.get_or_insert_with(|| picnic_random::uniform(rng));
        let allowed = match (&self.thinking, &mut self.constraint) {
            // What has not begun yet is not ended.
            (Some(thinking), _) if self.written >= thinking.budget.max(usize::from(thinking.open.is_some())) => {
                AllowedTokens::One(thinking.close)
            }
            (_, Some(constraint)) => constraint.allowed(),
            (_, None) => AllowedTokens::All,
        };
        let limits = DrawLimits { top_k, top_p, min_p, typical_p };
        Draw { changes: self.changes(), allowed, temperature, limits, uniform, likeliest }
    }

    /// Whether nothing has to be asked about a token before it has come. A constraint is never asked about one that may not.
    pub(crate) fn can_look_ahead(&self) -> bool {
        self.constraint.is_none()
    }

    /// The next draw, and those after it if `tokens` come, one by one.
    pub(crate) fn draws(&mut self, tokens: &[u32]) -> Vec<Draw> {
        let mut draws = vec![self.next()];
        if !tokens.is_empty() {
            let mut ahead = self.clone();
            for &token in tokens {
                ahead.drawn(token);
                draws.push(ahead.next());
            }
        }
        draws
    }

    /// What penalties and bias do to the logits, by token.
    fn changes(&self) -> Vec<LogitChange> {
        let Sampling { presence_penalty, frequency_penalty, repetition_penalty, .. } = self.sampling;
        let mut changes = BTreeMap::new();
        for (&token, &count) in &self.seen {
            let add = if count > 0 { -(presence_penalty + frequency_penalty * count as f32) } else { 0.0 };
            changes.insert(token, LogitChange { token, repetition: repetition_penalty, add });
        }
        for (&token, &bias) in &self.bias {
            changes.entry(token).or_insert(LogitChange { token, repetition: 1.0, add: 0.0 }).add += bias;
        }
        changes.into_values().collect()
    }

    /// The token has come. Returns whether a constraint says that the answer is whole.
    pub(crate) fn drawn(&mut self, token: u32) -> bool {
        if self.pending.take().is_none() {
            picnic_random::uniform(&mut self.rng);
        }
        let Sampling { presence_penalty, frequency_penalty, repetition_penalty, .. } = self.sampling;
        if presence_penalty != 0.0 || frequency_penalty != 0.0 || repetition_penalty != 1.0 {
            *self.seen.entry(token).or_default() += 1;
        }
        self.written += 1;
        self.thinking.take_if(|thinking| {
            let does_not_think = self.written == 1 && thinking.open.is_some_and(|open| open != token);
            does_not_think || token == thinking.close
        });
        self.constraint.as_mut().is_some_and(|constraint| constraint.accept(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(sampling: Sampling, control: Control, prompt: &[u32]) -> Sampler {
        Sampler::new(sampling, control, prompt)
    }

    #[test]
    fn a_draw_is_repeated_until_its_token_has_come() {
        let sampling = Sampling { temperature: 0.5, top_p: 0.9, seed: 3, ..Sampling::GREEDY };
        let mut sampler = sampler(sampling, Control::default(), &[1]);
        let first = sampler.next();
        assert_eq!((first.temperature, first.limits.top_p, sampler.next()), (0.5, 0.9, first.clone()));
        sampler.drawn(5);
        assert_ne!(sampler.next().uniform, first.uniform);
        assert_eq!((first.changes, first.allowed), (vec![], AllowedTokens::All));
    }

    #[test]
    fn draws_ahead_are_those_that_come() {
        let sampling = Sampling { temperature: 1.0, frequency_penalty: 0.5, seed: 3, ..Sampling::GREEDY };
        let thinking = Some(Thinking { budget: 2, open: None, close: 2 });
        let mut sampler = sampler(sampling, Control { thinking, ..Control::default() }, &[1]);
        let ahead = sampler.draws(&[5, 5, 6]);
        assert_eq!((ahead.len(), &ahead[2].allowed), (4, &AllowedTokens::One(2)));
        let one_by_one = [5, 5, 6].map(|token| {
            let draw = sampler.next();
            sampler.drawn(token);
            draw
        });
        assert_eq!((&ahead[..3], &ahead[3]), (&one_by_one[..], &sampler.next()));
        // A token that nobody asked for takes its number all the same.
        let mut other = Sampler::new(sampling, Control { thinking, ..Control::default() }, &[1]);
        [5, 5, 6].iter().for_each(|&token| _ = other.drawn(token));
        assert_eq!(other.next(), ahead[3]);
    }

    #[test]
    fn penalties_count_the_answer_and_repetition_the_prompt_too() {
        let sampling =
            Sampling { presence_penalty: 0.5, frequency_penalty: 0.25, repetition_penalty: 2.0, ..Sampling::GREEDY };
        let control = Control { bias: vec![(7, -3.0), (9, 1.0)], ..Control::default() };
        let mut sampler = sampler(sampling, control, &[4, 7, 4]);
        for token in [5, 5, 7] {
            sampler.drawn(token);
        }
        let change = |token, repetition, add| LogitChange { token, repetition, add };
        assert_eq!(
            sampler.next().changes,
            [change(4, 2.0, 0.0), change(5, 2.0, -1.0), change(7, 2.0, -3.75), change(9, 1.0, 1.0)]
        );
        // Nothing is counted where nothing is asked for.
        let mut plain = Sampler::new(Sampling::GREEDY, Control::default(), &[4]);
        plain.drawn(5);
        assert_eq!(plain.next().changes, []);
    }

    #[test]
    fn thinking_is_closed_when_its_budget_is_used_up() {
        let next_of = |budget, open, tokens: &[u32]| {
            let thinking = Some(Thinking { budget, open, close: 2 });
            let mut sampler = Sampler::new(Sampling::GREEDY, Control { thinking, ..Control::default() }, &[9]);
            tokens.iter().for_each(|&token| _ = sampler.drawn(token));
            sampler.next().allowed
        };
        let next = |open, tokens| next_of(3, open, tokens);
        assert_eq!(next(Some(1), &[1, 8]), AllowedTokens::All);
        assert_eq!(next(Some(1), &[1, 8, 8]), AllowedTokens::One(2));
        assert_eq!(next(Some(1), &[1, 8, 8, 2]), AllowedTokens::All, "once");
        assert_eq!(next(Some(1), &[1, 8, 2]), AllowedTokens::All, "it was closed within the budget");
        assert_eq!(next(Some(1), &[8, 8, 8]), AllowedTokens::All, "it never thought");
        assert_eq!(next(None, &[8, 8, 8]), AllowedTokens::One(2), "the prompt opened it");
        assert_eq!(next_of(0, None, &[]), AllowedTokens::One(2));
        assert_eq!((next_of(0, Some(1), &[]), next_of(0, Some(1), &[1])), (AllowedTokens::All, AllowedTokens::One(2)));
    }

    /// Even and odd tokens in turn, four of them.
    #[derive(Clone, Debug, Default)]
    struct InTurn(u32);

    impl Constraint for InTurn {
        fn allowed(&mut self) -> AllowedTokens {
            AllowedTokens::Of([if self.0.is_multiple_of(2) { 0x5555_5555 } else { 0xaaaa_aaaa }].into())
        }

        fn accept(&mut self, _: u32) -> bool {
            self.0 += 1;
            self.0 == 4
        }

        fn boxed(&self) -> Box<dyn Constraint> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn a_constraint_says_what_comes_next_and_when_it_is_over() {
        let control = Control { constraint: Some(Box::new(InTurn::default())), ..Control::default() };
        let mut sampler = Sampler::new(Sampling::GREEDY, control, &[9]);
        assert_eq!(sampler.next().allowed, AllowedTokens::Of([0x5555_5555].into()));
        assert!(!sampler.drawn(4));
        assert_eq!(sampler.next().allowed, AllowedTokens::Of([0xaaaa_aaaa].into()));
        assert_eq!([1, 2, 3].map(|token| sampler.drawn(token)), [false, false, true]);
    }
}
