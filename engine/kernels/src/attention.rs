//! Attention of one token over cached keys and values, block by block with an online softmax.
//!
//! The cache is a list of pages of [`PAGE_POSITIONS`] positions. In a page, the keys of a head are
//! (head_dim, 64) and the values (64, head_dim), half precision: both products run along lanes, with no
//! horizontal sums, and the order of operations does not depend on the vector width. Prefill and decode walk
//! the same pages in the same order, so they agree bit for bit.

use crate::float::{exp, sum};
use crate::isa::{Isa, Job};

/// Positions of a page.
pub const PAGE_POSITIONS: usize = 64;
/// Head width is padded to a multiple of this.
pub const HEAD_ALIGNMENT: usize = 16;
/// Largest padded head width.
pub const MAX_HEAD_DIM: usize = 1024;

/// Query heads of one token that share a key-value head, and where that head's cache is.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Queries, (heads, head_dim), already scaled by 1 / sqrt(head_dim).
    pub queries: &'a [f32],
    /// Width of a head.
    pub head_dim: usize,
    /// Pages, half-precision bit patterns.
    pub pages: &'a [Box<[u16]>],
    /// Where the head's keys, (padded head_dim, 64), begin in each page.
    pub keys: usize,
    /// Where the head's values, (64, padded head_dim), begin in each page.
    pub values: usize,
    /// Number of positions to attend to, at least 1.
    pub positions: usize,
}

pub(crate) struct AttendJob<'a> {
    pub(crate) attention: Attention<'a>,
    pub(crate) output: &'a mut [f32],
}

impl<I: Isa> Job<I> for AttendJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let Attention { queries, head_dim, pages, keys, values, positions } = self.attention;
        let padded = head_dim.next_multiple_of(HEAD_ALIGNMENT);
        assert!(padded <= MAX_HEAD_DIM && positions <= pages.len() * PAGE_POSITIONS);
        assert_eq!(queries.len(), self.output.len());
        for (query, output) in queries.chunks_exact(head_dim).zip(self.output.chunks_exact_mut(head_dim)) {
            let mut total = [0.0f32; MAX_HEAD_DIM];
            let total = &mut total[..padded];
            let (mut max, mut weight) = (f32::NEG_INFINITY, 0.0f32);
            for (index, page) in pages[..positions.div_ceil(PAGE_POSITIONS)].iter().enumerate() {
                let count = PAGE_POSITIONS.min(positions - index * PAGE_POSITIONS);
                let keys = &page[keys..keys + padded * PAGE_POSITIONS];
                let values = &page[values..values + padded * PAGE_POSITIONS];
                let mut scores = scores(isa, query, keys);
                let mut highest = max;
                for &score in &scores[..count] {
                    highest = if score > highest { score } else { highest };
                }
                for score in &mut scores {
                    *score = exp(*score - highest);
                }
                scores[count..].fill(0.0);
                let correction = exp(max - highest);
                weight = weight * correction + sum(&scores);
                max = highest;
                accumulate(isa, &scores[..count], values, correction, total);
            }
            for (output, total) in output.iter_mut().zip(total) {
                *output = *total / weight;
            }
        }
    }
}

/// `query` (head_dim) times `keys` (padded head_dim, 64).
#[inline(always)]
fn scores<I: Isa>(isa: I, query: &[f32], keys: &[u16]) -> [f32; PAGE_POSITIONS] {
    let lanes = I::WIDTH / 4;
    let mut scores = [0.0; PAGE_POSITIONS];
    // Half of the registers that 64 positions need at 128 bits, so that they stay registers there.
    let run = PAGE_POSITIONS.min(8 * lanes);
    assert!(query.len() * PAGE_POSITIONS <= keys.len());
    for at in (0..PAGE_POSITIONS).step_by(run) {
        let mut sums = [isa.splat(0.0); 8];
        for (d, &query) in query.iter().enumerate() {
            let query = isa.splat(query);
            for (r, sum) in sums.iter_mut().enumerate().take(run / lanes) {
                // SAFETY: at + run <= 64 and d < head_dim, so the keys' length covers it.
                let key =
                    unsafe { isa.load_halves(keys.as_ptr().add(d * PAGE_POSITIONS + at + r * lanes).cast()) };
                *sum = isa.add(*sum, isa.mul(query, key));
            }
        }
        for (r, sum) in sums.into_iter().enumerate().take(run / lanes) {
            // SAFETY: at + run <= 64.
            unsafe { isa.store_floats(scores.as_mut_ptr().add(at + r * lanes), sum) };
        }
    }
    scores
}

/// `total = total * correction + weights (positions) x values (positions, padded head_dim)`.
#[inline(always)]
fn accumulate<I: Isa>(isa: I, weights: &[f32], values: &[u16], correction: f32, total: &mut [f32]) {
    let lanes = I::WIDTH / 4;
    let padded = total.len();
    let correction = isa.splat(correction);
    assert!(weights.len() * padded <= values.len() && padded.is_multiple_of(HEAD_ALIGNMENT));
    let mut at = 0;
    while at < padded {
        let run = (padded - at).min(8 * lanes);
        // SAFETY: at + run <= padded, the length of `total` and of each row of `values`.
        unsafe {
            let to = total.as_mut_ptr().add(at);
            let mut sums = [isa.splat(0.0); 8];
            for (r, sum) in sums.iter_mut().enumerate().take(run / lanes) {
                *sum = isa.mul(isa.load_floats(to.add(r * lanes)), correction);
            }
            for (position, &weight) in weights.iter().enumerate() {
                let weight = isa.splat(weight);
                let row = values.as_ptr().add(position * padded + at);
                for (r, sum) in sums.iter_mut().enumerate().take(run / lanes) {
                    let value = isa.load_halves(row.add(r * lanes).cast());
                    *sum = isa.add(*sum, isa.mul(weight, value));
                }
            }
            for (r, sum) in sums.into_iter().enumerate().take(run / lanes) {
                isa.store_floats(to.add(r * lanes), sum);
            }
        }
        at += run;
    }
}
