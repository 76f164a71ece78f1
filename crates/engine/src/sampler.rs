//! The random stream of a request, from which each of its tokens takes one number.

use crate::request::Sampling;
use picnic_model::ops::Draw;
use rand_chacha::ChaCha8Rng;

/// Says how the next token is drawn.
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// Taken from the stream for a token that has not come yet.
    pending: Option<Draw>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Sampler {
        Sampler { sampling, rng: picnic_random::stream(sampling.seed), pending: None }
    }

    /// The next draw; the same until [`Sampler::drawn`], so that a pass that failed can be repeated.
    pub(crate) fn next(&mut self) -> Draw {
        let Sampling { temperature, top_p, .. } = self.sampling;
        let rng = &mut self.rng;
        *self.pending.get_or_insert_with(|| Draw { temperature, top_p, uniform: picnic_random::uniform(rng) })
    }

    /// The token has come.
    pub(crate) fn drawn(&mut self) {
        self.pending = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_repeated_until_its_token_has_come() {
        let mut sampler = Sampler::new(Sampling { temperature: 0.5, top_p: 0.9, seed: 3 });
        let first = sampler.next();
        assert_eq!((first.temperature, first.top_p, sampler.next()), (0.5, 0.9, first));
        sampler.drawn();
        assert_ne!(sampler.next().uniform, first.uniform);
    }
}
