//! Rows cut and put together by columns, forward and backward: no arithmetic but the sums of the gradients.
//!
//! T: rows (tokens), H: heads.

use crate::Cpu;
use crate::team::Shared;
use std::ops::Range;

/// `x` `[T, a + b]` → `left` `[T, a]` and `right` `[T, b]` for `widths` (a, b).
pub fn split_columns(cpu: &Cpu, x: &[f32], left: &mut [f32], right: &mut [f32], widths: (usize, usize)) {
    let (a, b) = widths;
    let rows = check_split(x.len(), left.len(), right.len(), widths);
    let (left, right) = (Shared::new(left), Shared::new(right));
    cpu.split_rows(rows, a + b, |rows| {
        let x = &x[of_width(&rows, a + b)];
        // SAFETY: teams get disjoint rows.
        let (left, right) = unsafe { (left.part(of_width(&rows, a)), right.part(of_width(&rows, b))) };
        for (t, x) in x.chunks_exact(a + b).enumerate() {
            left[t * a..][..a].copy_from_slice(&x[..a]);
            right[t * b..][..b].copy_from_slice(&x[a..]);
        }
    });
}

/// `dx` `[T, a + b]` = `dleft` `[T, a]` beside `dright` `[T, b]`.
pub fn split_columns_backward(cpu: &Cpu, dleft: &[f32], dright: &[f32], dx: &mut [f32], widths: (usize, usize)) {
    let (a, b) = widths;
    let rows = check_split(dx.len(), dleft.len(), dright.len(), widths);
    let dx = Shared::new(dx);
    cpu.split_rows(rows, a + b, |rows| {
        // SAFETY: teams get disjoint rows.
        let dx = unsafe { dx.part(of_width(&rows, a + b)) };
        for (t, dx) in rows.zip(dx.chunks_exact_mut(a + b)) {
            dx[..a].copy_from_slice(&dleft[t * a..][..a]);
            dx[a..].copy_from_slice(&dright[t * b..][..b]);
        }
    });
}

/// Widths of multi-head latent attention (DeepSeek-V2, section 2.1).
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

/// `kv` `[T, H, nope + v]` and `k_rope` `[T, rope]`, which all heads share → `k` `[T, H, nope + rope]`, `v` `[T, H,
/// v]`.
pub fn mla_keys(cpu: &Cpu, kv: &[f32], k_rope: &[f32], k: &mut [f32], v: &mut [f32], dims: MlaDims) {
    let MlaDims { heads, nope, rope, v: dv } = dims;
    let tokens = dims.check(kv.len(), k_rope.len(), k.len(), v.len());
    let (k, v) = (Shared::new(k), Shared::new(v));
    cpu.split_rows(tokens, heads * (nope + rope + dv), |tokens| {
        let from = of_width(&tokens, heads);
        // SAFETY: teams get disjoint tokens.
        let (k, v) = unsafe { (k.part(of_width(&from, nope + rope)), v.part(of_width(&from, dv))) };
        for (i, head) in from.enumerate() {
            let kv = &kv[head * (nope + dv)..][..nope + dv];
            let k = &mut k[i * (nope + rope)..][..nope + rope];
            k[..nope].copy_from_slice(&kv[..nope]);
            k[nope..].copy_from_slice(&k_rope[head / heads * rope..][..rope]);
            v[i * dv..][..dv].copy_from_slice(&kv[nope..]);
        }
    });
}

/// The gradients of [`mla_keys`], overwriting `dkv` and `dk_rope`; the latter sums over heads in ascending order.
pub fn mla_keys_backward(cpu: &Cpu, dk: &[f32], dv: &[f32], dkv: &mut [f32], dk_rope: &mut [f32], dims: MlaDims) {
    let MlaDims { heads, nope, rope, v } = dims;
    let tokens = dims.check(dkv.len(), dk_rope.len(), dk.len(), dv.len());
    let (dkv, dk_rope) = (Shared::new(dkv), Shared::new(dk_rope));
    cpu.split_rows(tokens, heads * (nope + rope + v), |tokens| {
        let from = of_width(&tokens, heads);
        // SAFETY: teams get disjoint tokens.
        let (dkv, dk_rope) = unsafe { (dkv.part(of_width(&from, nope + v)), dk_rope.part(of_width(&tokens, rope))) };
        dk_rope.fill(0.0);
        for (i, head) in from.enumerate() {
            let dk = &dk[head * (nope + rope)..][..nope + rope];
            let dkv = &mut dkv[i * (nope + v)..][..nope + v];
            dkv[..nope].copy_from_slice(&dk[..nope]);
            dkv[nope..].copy_from_slice(&dv[head * v..][..v]);
            add_to(&mut dk_rope[i / heads * rope..][..rope], &dk[nope..]);
        }
    });
}

impl MlaDims {
    /// The number of tokens; panics if the buffers disagree about it.
    fn check(&self, kv: usize, k_rope: usize, k: usize, v: usize) -> usize {
        let key = self.heads * (self.nope + self.rope);
        assert!(key > 0, "mla: no key width in {self:?}");
        let tokens = k / key;
        let fits = k == tokens * key
            && v == tokens * self.heads * self.v
            && kv == tokens * self.heads * (self.nope + self.v)
            && k_rope == tokens * self.rope;
        assert!(fits, "mla: kv {kv}, k_rope {k_rope}, k {k}, v {v} for {self:?}");
        tokens
    }
}

/// The number of rows; panics if the buffers disagree about it.
fn check_split(x: usize, left: usize, right: usize, (a, b): (usize, usize)) -> usize {
    assert!(a + b > 0, "split_columns: no columns");
    let rows = x / (a + b);
    let fits = x == rows * (a + b) && left == rows * a && right == rows * b;
    assert!(fits, "split_columns: {x} values into {left} and {right} of widths {a} and {b}");
    rows
}

/// The elements of `rows` that are `width` wide.
fn of_width(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

fn add_to(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn split_equals_the_definition(rows in 0usize..300, a in 0usize..80, b in 1usize..80, seed: u32) {
            let (x, dl, dr) = (noise(rows * (a + b), seed), noise(rows * a, seed ^ 1), noise(rows * b, seed ^ 2));
            let [left, right, dx] = same_everywhere(|cpu| {
                let (mut left, mut right, mut dx) = (vec![0.0; rows * a], vec![0.0; rows * b], x.clone());
                split_columns(cpu, &x, &mut left, &mut right, (a, b));
                split_columns_backward(cpu, &dl, &dr, &mut dx, (a, b));
                [left, right, dx]
            });
            for t in 0..rows {
                for i in 0..a + b {
                    let (forward, d) = if i < a { (left[t * a + i], dl[t * a + i]) } else { (right[t * b + i - a], dr[t * b + i - a]) };
                    let x = x[t * (a + b) + i];
                    prop_assert_eq!((forward, dx[t * (a + b) + i]), (x, d));
                }
            }
        }

        #[test]
        fn mla_keys_equal_the_definition(tokens in 0usize..150, heads in 1usize..5, nope in 1usize..20, rope in 0usize..20, v in 0usize..20, seed: u32) {
            let dims = MlaDims { heads, nope, rope, v };
            let (kv, k_rope) = (noise(tokens * heads * (nope + v), seed), noise(tokens * rope, seed ^ 1));
            let (dk, dv) = (noise(tokens * heads * (nope + rope), seed ^ 2), noise(tokens * heads * v, seed ^ 3));
            let [k, values, dkv, dk_rope] = same_everywhere(|cpu| {
                let (mut k, mut values) = (vec![0.0; dk.len()], vec![0.0; dv.len()]);
                mla_keys(cpu, &kv, &k_rope, &mut k, &mut values, dims);
                let (mut dkv, mut dk_rope) = (kv.clone(), k_rope.clone());
                mla_keys_backward(cpu, &dk, &dv, &mut dkv, &mut dk_rope, dims);
                [k, values, dkv, dk_rope]
            });
            let mut slow_rope = vec![0.0; k_rope.len()];
            for head in 0..tokens * heads {
                let t = head / heads;
                for i in 0..nope + rope {
                    let (k, d) = (k[head * (nope + rope) + i], dk[head * (nope + rope) + i]);
                    if i < nope {
                        let at = head * (nope + v) + i;
                        prop_assert_eq!((k, dkv[at]), (kv[at], d));
                    } else {
                        prop_assert_eq!(k, k_rope[t * rope + i - nope]);
                        slow_rope[t * rope + i - nope] += d;
                    }
                }
                for i in 0..v {
                    let at = head * (nope + v) + nope + i;
                    prop_assert_eq!((values[head * v + i], dkv[at]), (kv[at], dv[head * v + i]));
                }
            }
            assert_same_bits("dk_rope", &dk_rope, &slow_rope);
        }
    }

    #[test]
    fn backwards_are_the_derivatives() {
        let (a, b, tokens) = (3, 2, 4);
        let (x, dout) = (noise(tokens * (a + b), 1), noise(tokens * (a + b), 2));
        let (dleft, dright) = dout.split_at(tokens * a);
        let mut dx = vec![9.0; x.len()];
        split_columns_backward(&plain(), dleft, dright, &mut dx, (a, b));
        let expected = linear_gradient(&x, &dout, |x| {
            let (mut left, mut right) = (vec![0.0; tokens * a], vec![0.0; tokens * b]);
            split_columns(&plain(), x, &mut left, &mut right, (a, b));
            [left, right].concat()
        });
        assert_close("dx", &dx, &expected, 1e-6);

        let dims = MlaDims { heads: 2, nope: 3, rope: 2, v: 4 };
        let (kv_len, rope_len) = (tokens * 2 * 7, tokens * 2);
        let (inputs, dout) = (noise(kv_len + rope_len, 3), noise(tokens * 2 * 9, 4));
        let (dk, dv) = dout.split_at(tokens * 2 * 5);
        let (mut dkv, mut dk_rope) = (vec![9.0; kv_len], vec![9.0; rope_len]);
        mla_keys_backward(&plain(), dk, dv, &mut dkv, &mut dk_rope, dims);
        let expected = linear_gradient(&inputs, &dout, |inputs| {
            let (mut k, mut v) = (vec![0.0; dk.len()], vec![0.0; dv.len()]);
            mla_keys(&plain(), &inputs[..kv_len], &inputs[kv_len..], &mut k, &mut v, dims);
            [k, v].concat()
        });
        assert_close("dkv and dk_rope", &[dkv, dk_rope].concat(), &expected, 2e-6);
    }
}
