//! Mixture of experts: tokens to their experts' slots and back (DeepSeek-V3, section 2.1.2, equation 12).
//!
//! Slots are ordered by expert, so that each expert sees its tokens as consecutive rows; no token is dropped. Left out:
//! the gate (router.rs) and the experts themselves.
//!
//! T: tokens, K: experts a token has, D: width.

use crate::Cpu;
use crate::simd::LANES;
use crate::team::Shared;
use std::ops::Range;

/// Which slot each choice of an expert gets.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Expert e has the slots `offsets[e]..offsets[e + 1]`.
    pub offsets: Vec<usize>,
    /// The token of each slot, ascending within an expert, `[T·K]`.
    pub token_of_slot: Vec<u32>,
    /// The slot of choice j of token t at `[t·K + j]`.
    pub slot_of: Vec<u32>,
}

impl Dispatch {
    /// Sorts the choices `ids` `[tokens, top_k]` by expert, keeping their order within an expert.
    pub fn new(ids: &[u32], tokens: usize, top_k: usize, experts: usize) -> Dispatch {
        assert_eq!(ids.len(), tokens * top_k, "moe: ids are not {tokens} × {top_k}");
        let mut offsets = vec![0; experts + 1];
        for &id in ids {
            assert!((id as usize) < experts, "moe: expert {id} of {experts}");
            offsets[id as usize + 1] += 1;
        }
        for e in 0..experts {
            offsets[e + 1] += offsets[e];
        }
        let mut next = offsets.clone();
        let (mut token_of_slot, mut slot_of) = (vec![0; ids.len()], vec![0; ids.len()]);
        for (choice, &id) in ids.iter().enumerate() {
            let slot = next[id as usize];
            next[id as usize] += 1;
            token_of_slot[slot] = (choice / top_k) as u32;
            slot_of[choice] = slot as u32;
        }
        Dispatch { offsets, token_of_slot, slot_of }
    }

    /// The slots of `expert`.
    pub fn slots(&self, expert: usize) -> Range<usize> {
        self.offsets[expert]..self.offsets[expert + 1]
    }
}

/// `out` `[T·K, D]` = the row of `x` `[T, D]` that each slot's token has.
pub fn gather(cpu: &Cpu, x: &[f32], token_of_slot: &[u32], out: &mut [f32]) {
    crate::embedding::forward(cpu, x, token_of_slot, out);
}

/// `dx` `[T, D]` += the rows of `dout` `[T·K, D]` of each token's slots, in the order of its choices.
pub fn gather_backward(cpu: &Cpu, dout: &[f32], slot_of: &[u32], dx: &mut [f32]) {
    let Some((dim, top_k)) = widths(dout.len(), slot_of.len(), dx.len()) else { return };
    let dx = Shared::new(dx);
    cpu.split_rows(slot_of.len() / top_k, dim * top_k, |tokens| {
        // SAFETY: teams get disjoint tokens.
        let dx = unsafe { dx.part(tokens.start * dim..tokens.end * dim) };
        add_slots(cpu.isa, dout, None, &slot_of[tokens.start * top_k..tokens.end * top_k], top_k, dim, dx);
    });
}

/// `out` `[T, D]` = Σⱼ `weights[t, j]`·`y[slot_of[t, j]]`: chains over j ascending from 0.
pub fn combine(cpu: &Cpu, y: &[f32], weights: &[f32], slot_of: &[u32], out: &mut [f32]) {
    let Some((dim, top_k)) = widths(y.len(), slot_of.len(), out.len()) else { return };
    assert_eq!(weights.len(), slot_of.len(), "moe: one weight a slot");
    let out = Shared::new(out);
    cpu.split_rows(slot_of.len() / top_k, dim * top_k, |tokens| {
        let choices = tokens.start * top_k..tokens.end * top_k;
        // SAFETY: teams get disjoint tokens.
        let out = unsafe { out.part(tokens.start * dim..tokens.end * dim) };
        out.fill(0.0);
        add_slots(cpu.isa, y, Some(&weights[choices.clone()]), &slot_of[choices], top_k, dim, out);
    });
}

/// Gradients of [`combine`], both overwritten: `dy[slot]` = weight·`dout[token]` and `dweights[t, j]` =
/// ⟨`dout[t]`, `y[slot]`⟩.
pub fn combine_backward(
    cpu: &Cpu,
    dout: &[f32],
    y: &[f32],
    weights: &[f32],
    dispatch: &Dispatch,
    dy: &mut [f32],
    dweights: &mut [f32],
) {
    let Dispatch { token_of_slot, slot_of, .. } = dispatch;
    let Some((dim, top_k)) = widths(y.len(), slot_of.len(), dout.len()) else { return };
    let slots = slot_of.len();
    assert!(token_of_slot.len() == slots && weights.len() == slots, "moe: one token and one weight a slot");
    assert!(dweights.len() == slots && dy.len() == y.len(), "moe: gradients are not like their values");
    let (dy, dweights) = (Shared::new(dy), Shared::new(dweights));
    cpu.split_rows(slots, 2 * dim, |slots| {
        for slot in slots {
            let token = token_of_slot[slot] as usize;
            let choices = &slot_of[token * top_k..(token + 1) * top_k];
            let j = choices.iter().position(|&s| s as usize == slot).expect("slot_of and token_of_slot agree");
            let choice = token * top_k + j;
            // SAFETY: teams get disjoint slots; two slots never have the same choice, for a choice has one slot.
            let (dy, dweight) = unsafe { (dy.part(slot * dim..(slot + 1) * dim), dweights.part(choice..choice + 1)) };
            let (dout, y) = (&dout[token * dim..(token + 1) * dim], &y[slot * dim..(slot + 1) * dim]);
            dweight[0] = combine_backward_slot(cpu.isa, dout, y, weights[choice], dy);
        }
    });
}

crate::kernel! {
    /// Adds to each row of `out` the rows `slot_of` of `y`, times `weights` or 1.
    fn add_slots<S>(s, y: &[f32], weights: Option<&[f32]>, slot_of: &[u32], top_k: usize, dim: usize, out: &mut [f32]) {
        for (t, out) in out.chunks_exact_mut(dim).enumerate() {
            for i in (0..dim).step_by(LANES) {
                let mut sum = s.load_partial(&out[i..], 0.0);
                for choice in t * top_k..(t + 1) * top_k {
                    let slot = slot_of[choice] as usize;
                    let weight = s.splat(weights.map_or(1.0, |weights| weights[choice]));
                    sum = s.fma(weight, s.load_partial(&y[slot * dim..][i..dim], 0.0), sum);
                }
                s.store_partial(&mut out[i..], sum);
            }
        }
    }
}

crate::kernel! {
    fn combine_backward_slot<S>(s, dout: &[f32], y: &[f32], weight: f32, dy: &mut [f32]) -> f32 {
        let (weight, mut dot) = (s.splat(weight), s.splat(0.0));
        for i in (0..dy.len()).step_by(LANES) {
            let d = s.load_partial(&dout[i..], 0.0);
            dot = s.fma(d, s.load_partial(&y[i..], 0.0), dot);
            s.store_partial(&mut dy[i..], s.mul(weight, d));
        }
        s.sum(dot)
    }
}

/// D and K of `slots` rows that belong to `tokens` values of rows; `None` where there is nothing to do.
fn widths(slot_values: usize, slots: usize, token_values: usize) -> Option<(usize, usize)> {
    if slots == 0 || token_values == 0 {
        assert_eq!(slot_values, 0, "moe: rows without slots");
        return None;
    }
    let dim = slot_values / slots;
    assert!(dim > 0 && slot_values == dim * slots, "moe: not one row a slot");
    let tokens = token_values / dim;
    assert!(token_values == tokens * dim && slots.is_multiple_of(tokens), "moe: not as many slots for each token");
    Some((dim, slots / tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    /// Distinct experts for each token.
    fn choices(tokens: usize, top_k: usize, experts: usize, seed: u32) -> Vec<u32> {
        let start = |t: usize| t.wrapping_mul(2_654_435_761).wrapping_add(seed as usize) >> 3;
        (0..tokens * top_k).map(|c| ((start(c / top_k) + c % top_k) % experts) as u32).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn equals_the_definition(tokens in 0usize..150, top_k in 1usize..5, more in 0usize..6, dim in 1usize..150, seed: u32) {
            let experts = top_k + more;
            let ids = choices(tokens, top_k, experts, seed);
            let dispatch = Dispatch::new(&ids, tokens, top_k, experts);
            for expert in 0..experts {
                let expected: Vec<u32> = (0..ids.len()).filter(|&c| ids[c] as usize == expert).map(|c| (c / top_k) as u32).collect();
                prop_assert_eq!(&dispatch.token_of_slot[dispatch.slots(expert)], &expected);
            }
            let (x, y, weights) = (noise(tokens * dim, seed), noise(tokens * top_k * dim, seed ^ 1), noise(tokens * top_k, seed ^ 2));
            let [gathered, dx, out, dy, dweights] = same_everywhere(|cpu| {
                let (mut gathered, mut dx, mut out) = (y.clone(), x.clone(), x.clone());
                gather(cpu, &x, &dispatch.token_of_slot, &mut gathered);
                gather_backward(cpu, &y, &dispatch.slot_of, &mut dx);
                combine(cpu, &y, &weights, &dispatch.slot_of, &mut out);
                let (mut dy, mut dweights) = (y.clone(), weights.clone());
                combine_backward(cpu, &x, &y, &weights, &dispatch, &mut dy, &mut dweights);
                [gathered, dx, out, dy, dweights]
            });
            let (mut slow_dx, mut slow_out, mut dots) = (x.clone(), vec![0f32; x.len()], vec![0f64; weights.len()]);
            for choice in 0..tokens * top_k {
                let (t, slot) = (choice / top_k, dispatch.slot_of[choice] as usize);
                prop_assert_eq!(dispatch.token_of_slot[slot] as usize, t);
                for i in 0..dim {
                    let (at_token, at_slot) = (t * dim + i, slot * dim + i);
                    prop_assert_eq!(gathered[at_slot], x[at_token]);
                    prop_assert_eq!(dy[at_slot], weights[choice] * x[at_token]);
                    slow_dx[at_token] += y[at_slot];
                    slow_out[at_token] = weights[choice].mul_add(y[at_slot], slow_out[at_token]);
                    dots[choice] += x[at_token] as f64 * y[at_slot] as f64;
                }
            }
            assert_same_bits("dx", &dx, &slow_dx);
            assert_same_bits("out", &out, &slow_out);
            // Chains of 5 and five levels of tree; the terms sum to at most 150 in absolute value.
            assert_close("dweights", &dweights, &dots, 150.0 * 10.0 * 6e-8);
        }
    }

    /// `dy` and `dweights` above are exact products and dot products; here they are the derivative of [`combine`].
    #[test]
    fn combine_backward_is_the_derivative() {
        let (tokens, top_k, dim) = (4, 2, 5);
        let dispatch = Dispatch::new(&choices(tokens, top_k, 3, 1), tokens, top_k, 3);
        let (y, weights, dout) = (noise(tokens * top_k * dim, 1), noise(tokens * top_k, 2), noise(tokens * dim, 3));
        let (mut dy, mut dweights) = (vec![0.0; y.len()], vec![0.0; weights.len()]);
        combine_backward(&plain(), &dout, &y, &weights, &dispatch, &mut dy, &mut dweights);
        let loss = |y: &[f64], weights: &[f64]| -> f64 {
            let choice =
                |c: usize| dot(&y[dispatch.slot_of[c] as usize * dim..][..dim], &dout[c / top_k * dim..][..dim]);
            weights.iter().enumerate().map(|(c, w)| w * choice(c)).sum()
        };
        let (y64, weights64) = (to_f64(&y), to_f64(&weights));
        // One product, or five of them added: a few roundings.
        assert_close("dy", &dy, &gradient(&y, |y| loss(y, &weights64)), 5e-7);
        assert_close("dweights", &dweights, &gradient(&weights, |w| loss(&y64, w)), 5e-7);
    }

    #[test]
    fn gather_backward_is_the_derivative() {
        let (tokens, top_k, dim) = (4, 2, 5);
        let dispatch = Dispatch::new(&choices(tokens, top_k, 3, 1), tokens, top_k, 3);
        let (x, dout) = (noise(tokens * dim, 1), noise(tokens * top_k * dim, 2));
        let mut dx = vec![0.0; x.len()];
        gather_backward(&plain(), &dout, &dispatch.slot_of, &mut dx);
        let expected = linear_gradient(&x, &dout, |x| {
            let mut out = vec![0.0; dout.len()];
            gather(&plain(), x, &dispatch.token_of_slot, &mut out);
            out
        });
        assert_close("dx", &dx, &expected, 1e-6);
    }
}
