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
        let Attention { queries, head_dim, pages, positions, .. } = self.attention;
        let padded = head_dim.next_multiple_of(HEAD_ALIGNMENT);
        assert!(padded <= MAX_HEAD_DIM && positions <= pages.len() * PAGE_POSITIONS);
        assert!(queries.len() == self.output.len() && queries.len().is_multiple_of(head_dim));
        // Heads together load and convert each key and value once.
        let mut done = 0;
        while done < queries.len() {
            let heads = ((queries.len() - done) / head_dim).min(4);
            let range = done..done + heads * head_dim;
            let attention = Attention { queries: &queries[range.clone()], ..self.attention };
            let output = &mut self.output[range];
            match heads {
                1 => attend::<I, 1>(isa, attention, output),
                2 => attend::<I, 2>(isa, attention, output),
                3 => attend::<I, 3>(isa, attention, output),
                _ => attend::<I, 4>(isa, attention, output),
            }
            done += heads * head_dim;
        }
    }
}

#[inline(always)]
fn attend<I: Isa, const HEADS: usize>(isa: I, attention: Attention<'_>, output: &mut [f32]) {
    let Attention { queries, head_dim, pages, keys, values, positions } = attention;
    let padded = head_dim.next_multiple_of(HEAD_ALIGNMENT);
    let mut totals = [[0.0f32; MAX_HEAD_DIM]; HEADS];
    for total in &mut totals {
        total[..padded].fill(0.0);
    }
    let (mut max, mut weight) = ([f32::NEG_INFINITY; HEADS], [0.0f32; HEADS]);
    for (index, page) in pages[..positions.div_ceil(PAGE_POSITIONS)].iter().enumerate() {
        let count = PAGE_POSITIONS.min(positions - index * PAGE_POSITIONS);
        let keys = &page[keys..keys + padded * PAGE_POSITIONS];
        let values = &page[values..values + padded * PAGE_POSITIONS];
        let mut scores = scores::<I, HEADS>(isa, queries, keys);
        let mut correction = [0.0; HEADS];
        for head in 0..HEADS {
            let scores = &mut scores[head];
            let mut highest = max[head];
            for &score in &scores[..count] {
                highest = if score > highest { score } else { highest };
            }
            for score in scores.iter_mut() {
                *score = exp(*score - highest);
            }
            scores[count..].fill(0.0);
            correction[head] = exp(max[head] - highest);
            weight[head] = weight[head] * correction[head] + sum(scores);
            max[head] = highest;
        }
        accumulate(isa, &scores, count, values, correction, padded, &mut totals);
    }
    for (head, output) in output.chunks_exact_mut(head_dim).enumerate() {
        for (output, total) in output.iter_mut().zip(&totals[head]) {
            *output = *total / weight[head];
        }
    }
}

/// Registers that sums take: half of those there are.
const fn budget<I: Isa>() -> usize {
    I::REGISTERS / 2
}

/// `queries` (HEADS, head_dim) times `keys` (padded head_dim, 64).
#[inline(always)]
fn scores<I: Isa, const HEADS: usize>(
    isa: I,
    queries: &[f32],
    keys: &[u16],
) -> [[f32; PAGE_POSITIONS]; HEADS] {
    let lanes = I::WIDTH / 4;
    let head_dim = queries.len() / HEADS;
    // A power of two of registers a head, so that runs divide 64 positions.
    let registers = (budget::<I>() / HEADS.next_power_of_two()).min(PAGE_POSITIONS / lanes);
    let mut scores = [[0.0; PAGE_POSITIONS]; HEADS];
    assert!(head_dim * PAGE_POSITIONS <= keys.len());
    for at in (0..PAGE_POSITIONS).step_by(registers * lanes) {
        let mut sums = [[isa.splat(0.0); 16]; HEADS];
        for d in 0..head_dim {
            for r in 0..registers {
                // SAFETY: at + registers * lanes <= 64 and d < head_dim, so the keys' length covers it.
                let key =
                    unsafe { isa.load_halves(keys.as_ptr().add(d * PAGE_POSITIONS + at + r * lanes).cast()) };
                for (head, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: d < head_dim, and there are HEADS queries.
                    let query = isa.splat(unsafe { *queries.get_unchecked(head * head_dim + d) });
                    sums[r] = isa.add(sums[r], isa.mul(query, key));
                }
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (r, sum) in sums.into_iter().enumerate().take(registers) {
                // SAFETY: at + registers * lanes <= 64.
                unsafe { isa.store_floats(scores.as_mut_ptr().add(at + r * lanes), sum) };
            }
        }
    }
    scores
}

/// `totals = totals * correction + weights (HEADS, count) x values (count, padded head_dim)`.
#[inline(always)]
fn accumulate<I: Isa, const HEADS: usize>(
    isa: I,
    weights: &[[f32; PAGE_POSITIONS]; HEADS],
    count: usize,
    values: &[u16],
    correction: [f32; HEADS],
    padded: usize,
    totals: &mut [[f32; MAX_HEAD_DIM]; HEADS],
) {
    let lanes = I::WIDTH / 4;
    // 16 floats are a whole number of registers of any width.
    let registers = (budget::<I>() / HEADS.next_power_of_two()).min(HEAD_ALIGNMENT.max(lanes) / lanes);
    assert!(count <= PAGE_POSITIONS && count * padded <= values.len());
    assert!(padded <= MAX_HEAD_DIM && padded.is_multiple_of(HEAD_ALIGNMENT));
    for at in (0..padded).step_by(registers * lanes) {
        // SAFETY: at + registers * lanes <= padded, the length of each row of `values` and at most of `totals`.
        unsafe {
            let mut sums = [[isa.splat(0.0); 16]; HEADS];
            for head in 0..HEADS {
                for r in 0..registers {
                    let total = isa.load_floats(totals[head].as_ptr().add(at + r * lanes));
                    sums[head][r] = isa.mul(total, isa.splat(correction[head]));
                }
            }
            for position in 0..count {
                for r in 0..registers {
                    let value =
                        isa.load_halves(values.as_ptr().add(position * padded + at + r * lanes).cast());
                    for head in 0..HEADS {
                        let weight = isa.splat(*weights[head].get_unchecked(position));
                        sums[head][r] = isa.add(sums[head][r], isa.mul(weight, value));
                    }
                }
            }
            for head in 0..HEADS {
                for r in 0..registers {
                    isa.store_floats(totals[head].as_mut_ptr().add(at + r * lanes), sums[head][r]);
                }
            }
        }
    }
}
