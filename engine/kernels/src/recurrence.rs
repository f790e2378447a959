//! Layers with a state in place of keys and values: causal convolutions and the gated delta rule (arXiv 2412.06464). Tokens
//! are taken one after the other, so that any division of a text into passes gives the same bits.

use crate::float::{silu, sum_of};
use crate::isa::{Isa, Job};

/// Channels that are computed together.
const PIECE: usize = 16;
/// Most elements of a head.
const MAX_HEAD: usize = 256;
/// Added to the square of a length before dividing by it.
const L2_EPS: f32 = 1e-6;

/// See [`crate::Kernels::causal_conv`].
pub(crate) struct CausalConv<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) kernel: &'a [f32],
    pub(crate) before: &'a mut [f32],
    pub(crate) channels: usize,
    pub(crate) silu: bool,
}

impl<I: Isa> Job<I> for CausalConv<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let CausalConv { x, kernel, before, channels, silu: activate } = self;
        let (earlier, own) = kernel.split_at(before.len());
        for x in x.chunks_exact_mut(channels) {
            for (piece, (x, own)) in x.chunks_mut(PIECE).zip(own.chunks(PIECE)).enumerate() {
                let mut sums = [0.0f32; PIECE];
                for start in (piece * PIECE..before.len()).step_by(channels) {
                    let row = earlier[start..].iter().zip(&before[start..]);
                    for (sum, (&tap, &before)) in sums.iter_mut().zip(row).take(x.len()) {
                        *sum += tap * before;
                    }
                }
                // The oldest token leaves, this one comes.
                for start in (piece * PIECE..before.len()).step_by(channels) {
                    let next = start + channels;
                    if next < before.len() {
                        before.copy_within(next..next + x.len(), start);
                    } else {
                        before[start..start + x.len()].copy_from_slice(x);
                    }
                }
                for ((x, &tap), &sum) in x.iter_mut().zip(own).zip(&sums) {
                    let sum = sum + tap * *x;
                    *x = if activate { silu(sum) } else { sum };
                }
            }
        }
    }
}

/// What the heads of a gated delta rule read. For each token and head, in order:
///
/// ```text
/// state = decay * state
/// state = state + k x (beta * (v - k state))
/// output = q state
/// ```
/// where k is the key divided by its length, and q the query divided by its length and by sqrt(key_dim).
#[derive(Clone, Copy, Debug)]
pub struct DeltaHeads<'a> {
    /// (tokens, 2 * key_heads * key_dim + heads * value_dim): all queries of a token, all keys, all values
    pub qkv: &'a [f32],
    /// (tokens, heads)
    pub decay: &'a [f32],
    /// (tokens, heads)
    pub beta: &'a [f32],
    /// Heads of queries and keys; as many heads of values share each.
    pub key_heads: usize,
    /// Value head i reads key head i modulo their number, in place of consecutive ones sharing one.
    pub interleaved: bool,
    /// Heads of values.
    pub heads: usize,
    /// Elements of a head's query and key.
    pub key_dim: usize,
    /// Elements of a head's value.
    pub value_dim: usize,
}

impl<'a> DeltaHeads<'a> {
    /// Floats of a token's row of `qkv`.
    fn width(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.heads * self.value_dim
    }

    /// The lengths of a head's state and output.
    ///
    /// # Panics
    /// If the lengths do not match, or a head has more than 256 elements.
    pub(crate) fn check(&self, state: usize, output: usize) -> (usize, usize) {
        let (key, value) = (self.key_dim, self.value_dim);
        assert!(
            (1..=MAX_HEAD).contains(&key) && (1..=MAX_HEAD).contains(&value),
            "heads of {key} and {value}"
        );
        assert!(self.key_heads > 0 && self.heads > 0 && self.heads.is_multiple_of(self.key_heads));
        let tokens = self.decay.len() / self.heads;
        assert!(self.decay.len() == tokens * self.heads && self.beta.len() == self.decay.len());
        assert_eq!(self.qkv.len(), tokens * self.width());
        assert!(state == self.heads * key * value && output == self.heads * tokens * value);
        (key * value, tokens * value)
    }

    /// The work of one head; `state` is (key_dim, value_dim), `output` (tokens, value_dim).
    pub(crate) fn head<'b>(self, head: usize, state: &'b mut [f32], output: &'b mut [f32]) -> DeltaRule<'b>
    where
        'a: 'b,
    {
        DeltaRule { heads: self, head, state, output }
    }
}

/// See [`DeltaHeads`].
pub(crate) struct DeltaRule<'a> {
    heads: DeltaHeads<'a>,
    head: usize,
    state: &'a mut [f32],
    output: &'a mut [f32],
}

impl<I: Isa> Job<I> for DeltaRule<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let DeltaRule { heads, head, state, output } = self;
        let DeltaHeads { key_heads, key_dim, value_dim, .. } = heads;
        let key_head = if heads.interleaved { head % key_heads } else { head / (heads.heads / key_heads) };
        let scale = 1.0 / (key_dim as f32).sqrt();
        let rows = heads.qkv.chunks_exact(heads.width()).zip(output.chunks_exact_mut(value_dim));
        for (token, (row, output)) in rows.enumerate() {
            let at = token * heads.heads + head;
            let (decay, beta) = (heads.decay[at], heads.beta[at]);
            let (mut q, mut k) = ([0.0f32; MAX_HEAD], [0.0f32; MAX_HEAD]);
            let (q, k) = (&mut q[..key_dim], &mut k[..key_dim]);
            unit(&row[key_head * key_dim..][..key_dim], scale, q);
            unit(&row[(key_heads + key_head) * key_dim..][..key_dim], 1.0, k);
            let v = &row[2 * key_heads * key_dim + head * value_dim..][..value_dim];
            let mut change = [0.0f32; MAX_HEAD];
            let change = &mut change[..value_dim];
            for (state, &k) in state.chunks_exact_mut(value_dim).zip(&*k) {
                for (state, read) in state.iter_mut().zip(&mut *change) {
                    *state *= decay;
                    *read += k * *state;
                }
            }
            for (change, &v) in change.iter_mut().zip(v) {
                *change = beta * (v - *change);
            }
            output.fill(0.0);
            for ((state, &k), &q) in state.chunks_exact_mut(value_dim).zip(&*k).zip(&*q) {
                for ((state, &change), output) in state.iter_mut().zip(&*change).zip(&mut *output) {
                    *state += k * change;
                    *output += q * *state;
                }
            }
        }
    }
}

/// `out = x / |x| * scale`
#[inline(always)]
fn unit(x: &[f32], scale: f32, out: &mut [f32]) {
    let inverse = 1.0 / (sum_of(x, |x| x * x) + L2_EPS).sqrt();
    for (out, &x) in out.iter_mut().zip(x) {
        *out = (x * inverse) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use crate::random::Random;

    #[test]
    fn a_convolution_sees_the_tokens_before_in_any_division() {
        let kernels = crate::available()[0];
        for (channels, taps) in [(1, 2), (17, 3), (40, 4)] {
            let mut random = Random(1);
            let mut floats = |count: usize| (0..count).map(|_| random.float()).collect::<Vec<f32>>();
            let (kernel, x) = (floats(taps * channels), floats(9 * channels));
            let (mut expected, mut before) = (x.clone(), vec![0.0; (taps - 1) * channels]);
            kernels.causal_conv(&mut expected, &kernel, &mut before, false);
            for (at, &actual) in expected.iter().enumerate() {
                let (token, channel) = (at / channels, at % channels);
                let sum: f64 = (0..taps)
                    .filter(|tap| token + tap + 1 >= taps)
                    .map(|tap| {
                        let x = x[(token + tap + 1 - taps) * channels + channel];
                        f64::from(x) * f64::from(kernel[tap * channels + channel])
                    })
                    .sum();
                assert!((f64::from(actual) - sum).abs() < 1e-5, "{channels}, {taps}: {at}");
            }
            let (mut parts, mut state) = (x.clone(), vec![0.0; before.len()]);
            for part in parts.chunks_mut(2 * channels) {
                kernels.causal_conv(part, &kernel, &mut state, false);
            }
            assert_eq!((&parts, &state), (&expected, &before));
            kernels.causal_conv(&mut parts, &kernel, &mut vec![0.0; before.len()], true);
            assert_ne!(parts, expected);
        }
    }

    /// One token at a time, in double precision, straight from the definition.
    #[test]
    fn the_delta_rule_is_the_definition() {
        let (key_heads, heads, key_dim, value_dim, tokens) = (2, 4, 6, 5, 7);
        let mut random = Random(2);
        let mut floats = |count: usize| (0..count).map(|_| random.float()).collect::<Vec<f32>>();
        let width = 2 * key_heads * key_dim + heads * value_dim;
        let qkv = floats(tokens * width);
        let [decay, beta] =
            [(); 2].map(|()| floats(tokens * heads).iter().map(|x| x.abs()).collect::<Vec<f32>>());
        let inputs = |range: std::ops::Range<usize>| DeltaHeads {
            qkv: &qkv[range.start * width..range.end * width],
            decay: &decay[range.start * heads..range.end * heads],
            beta: &beta[range.start * heads..range.end * heads],
            key_heads,
            interleaved: false,
            heads,
            key_dim,
            value_dim,
        };
        let (kernels, pool) = (crate::available()[0], Pool::new());
        let (mut state, mut output) =
            (vec![0.0; heads * key_dim * value_dim], vec![f32::NAN; heads * tokens * value_dim]);
        kernels.delta_rule(&pool, inputs(0..tokens), &mut state, &mut output);
        for head in 0..heads {
            let mut matrix = vec![0.0f64; key_dim * value_dim];
            for token in 0..tokens {
                let row = &qkv[token * width..];
                let vector = |start: usize, len: usize| row[start..start + len].iter().map(|&x| f64::from(x));
                let unit = |start: usize| {
                    let length = vector(start, key_dim).map(|x| x * x).sum::<f64>().sqrt();
                    vector(start, key_dim).map(|x| x / length).collect::<Vec<f64>>()
                };
                let (q, k) = (unit(head / 2 * key_dim), unit((key_heads + head / 2) * key_dim));
                let v: Vec<f64> = vector(2 * key_heads * key_dim + head * value_dim, value_dim).collect();
                let at = token * heads + head;
                matrix.iter_mut().for_each(|x| *x *= f64::from(decay[at]));
                let times = |x: &[f64], matrix: &[f64], j: usize| -> f64 {
                    (0..key_dim).map(|i| x[i] * matrix[i * value_dim + j]).sum()
                };
                let change: Vec<f64> =
                    (0..value_dim).map(|j| f64::from(beta[at]) * (v[j] - times(&k, &matrix, j))).collect();
                for i in 0..key_dim {
                    for j in 0..value_dim {
                        matrix[i * value_dim + j] += k[i] * change[j];
                    }
                }
                for j in 0..value_dim {
                    let expected = times(&q, &matrix, j) / (key_dim as f64).sqrt();
                    let actual = f64::from(output[(head * tokens + token) * value_dim + j]);
                    assert!(
                        (actual - expected).abs() < 1e-4,
                        "{head} {token}: {actual} instead of {expected}"
                    );
                }
            }
        }
        // Token by token.
        let (mut carried, mut one) = (vec![0.0; state.len()], vec![0.0; heads * value_dim]);
        for token in 0..tokens {
            kernels.delta_rule(&pool, inputs(token..token + 1), &mut carried, &mut one);
            for (head, one) in one.chunks_exact(value_dim).enumerate() {
                assert_eq!(one, &output[(head * tokens + token) * value_dim..][..value_dim]);
            }
        }
        assert_eq!(state, carried);
    }
}
