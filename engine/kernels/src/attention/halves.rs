//! Both products of attention over pages in half precision.

use super::query::{EXTRA, MAX_HEAD_DIM, Scores};
use crate::isa::Isa;
use crate::page::{HeadLayout, PAGE_POSITIONS};
use std::mem::MaybeUninit;

/// Registers of sums for each query, such that all queries use about half of the registers. For many queries only one:
/// then the multiplication broadcasts its operand as it loads it, where a `vbroadcastss` shared by two registers takes
/// half a cycle of Zen 4's multipliers.
#[inline(always)]
pub(super) const fn registers<I: Isa, const QUERIES: usize>() -> usize {
    match (I::REGISTERS == 32, QUERIES) {
        (_, 5..) => 1,
        (true, _) => 16 / QUERIES.next_power_of_two(),
        (false, _) => 8 / QUERIES.next_power_of_two(),
    }
}

/// Room for transposed queries, (head_dim, QUERIES), so that a loop over the elements needs one pointer for all of them.
pub(super) struct Transposed<const QUERIES: usize>([[MaybeUninit<f32>; QUERIES]; MAX_HEAD_DIM]);

impl<const QUERIES: usize> Transposed<QUERIES> {
    #[inline(always)]
    pub(super) const fn uninit() -> Self {
        Transposed([[const { MaybeUninit::uninit() }; QUERIES]; MAX_HEAD_DIM])
    }

    /// Copies the queries, (head_dim) each.
    #[inline(always)]
    pub(super) fn fill(&mut self, head_dim: usize, queries: [&[f32]; QUERIES]) -> &[[f32; QUERIES]] {
        let rows = &mut self.0[..head_dim];
        for (d, row) in rows.iter_mut().enumerate() {
            for (to, query) in row.iter_mut().zip(&queries) {
                to.write(query[d]);
            }
        }
        // SAFETY: the loop has written all elements of all `head_dim` rows.
        unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), head_dim) }
    }
}

/// `queries`, (head_dim, QUERIES), times the first `count` of the part's keys, (padded, 64). Scores from `count` on are
/// arbitrary.
#[inline(always)]
pub(super) fn scores<I: Isa, const QUERIES: usize>(
    isa: I,
    queries: &[[f32; QUERIES]],
    count: usize,
    layout: HeadLayout,
    part: &[u8],
) -> Scores<QUERIES> {
    let lanes = I::WIDTH / 4;
    let head_dim = layout.head_dim();
    let keys: *const u8 = part.as_ptr();
    // A power of two for each query, so that runs divide 64 positions.
    let registers = registers::<I, QUERIES>().min(PAGE_POSITIONS / lanes);
    let mut scores = [[0.0; PAGE_POSITIONS]; QUERIES];
    assert!(queries.len() == head_dim && 2 * head_dim * PAGE_POSITIONS <= part.len());
    assert!(count <= PAGE_POSITIONS);
    for at in (0..count).step_by(registers * lanes) {
        let mut sums = [[isa.splat(0.0); 16]; QUERIES];
        for (d, queries) in queries.iter().enumerate() {
            // The values, in rows of the same length, are read next.
            for line in (0..2 * registers * lanes).step_by(64) {
                isa.prefetch(keys.wrapping_add(layout.values() + 2 * (d * PAGE_POSITIONS + at) + line));
            }
            let mut loaded = [isa.splat(0.0); 16];
            for r in 0..registers {
                // SAFETY: at + registers * lanes <= 64 and d < head_dim, so the load is within the first
                // 2 * head_dim * 64 bytes of the part, whose length is asserted above.
                loaded[r] = unsafe { isa.load_halves(keys.add(2 * (d * PAGE_POSITIONS + at + r * lanes))) };
            }
            for (query, sums) in queries.iter().zip(sums.iter_mut()) {
                let query = isa.splat(*query);
                for r in 0..registers {
                    sums[r] = isa.add(sums[r], isa.mul(query, loaded[r]));
                }
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (r, sum) in sums.into_iter().enumerate().take(registers) {
                // SAFETY: at + registers * lanes <= 64, the number of a query's scores.
                unsafe { isa.store_floats(scores.as_mut_ptr().add(at + r * lanes), sum) };
            }
        }
    }
    scores
}

/// `totals = totals * correction + weights (QUERIES, count) x values (count, padded)`. Prefetches from `next`, the keys of
/// the next page.
#[inline(always)]
#[expect(clippy::too_many_arguments)]
pub(super) fn accumulate<I: Isa, const QUERIES: usize>(
    isa: I,
    weights: &Scores<QUERIES>,
    count: usize,
    correction: [f32; QUERIES],
    layout: HeadLayout,
    part: &[u8],
    next: *const u8,
    totals: &mut [f32],
) {
    let (lanes, padded) = (I::WIDTH / 4, layout.padded());
    let values = &part[layout.values()..];
    assert!(count <= PAGE_POSITIONS && 2 * count * padded <= values.len());
    assert!(padded.is_multiple_of(lanes) && totals.len() == QUERIES * (padded + EXTRA));
    let wide = registers::<I, QUERIES>();
    let mut at = 0;
    // SAFETY: at + registers * lanes <= padded in every run; the lengths asserted above are those that `run` needs.
    unsafe {
        while at + wide * lanes <= padded {
            run(
                isa,
                weights,
                count,
                correction,
                padded,
                values.as_ptr(),
                next,
                totals.as_mut_ptr(),
                at,
                wide,
            );
            at += wide * lanes;
        }
        while at < padded {
            run(isa, weights, count, correction, padded, values.as_ptr(), next, totals.as_mut_ptr(), at, 1);
            at += lanes;
        }
    }
}

/// Elements `at..at + registers * lanes` of [`accumulate`].
///
/// # Safety
/// `count` is at most 64; (count, padded) halves are readable at `values`, (QUERIES, padded + EXTRA) floats readable and
/// writable at `totals`; `at + registers * lanes` is at most `padded`.
#[inline(always)]
#[expect(clippy::too_many_arguments)]
unsafe fn run<I: Isa, const QUERIES: usize>(
    isa: I,
    weights: &Scores<QUERIES>,
    count: usize,
    correction: [f32; QUERIES],
    padded: usize,
    values: *const u8,
    next: *const u8,
    totals: *mut f32,
    at: usize,
    registers: usize,
) {
    let (lanes, stride) = (I::WIDTH / 4, padded + EXTRA);
    // SAFETY: r < registers, so elements are below `padded` in each row; position < count, of 64 weights.
    unsafe {
        let mut sums = [[isa.splat(0.0); 16]; QUERIES];
        for query in 0..QUERIES {
            for r in 0..registers {
                let total = isa.load_floats(totals.add(query * stride + at + r * lanes));
                sums[query][r] = isa.mul(total, isa.splat(correction[query]));
            }
        }
        for position in 0..count {
            for line in (0..2 * registers * lanes).step_by(64) {
                isa.prefetch(next.wrapping_add(2 * (position * padded + at) + line));
            }
            let mut loaded = [isa.splat(0.0); 16];
            for r in 0..registers {
                loaded[r] = isa.load_halves(values.add(2 * (position * padded + at + r * lanes)));
            }
            for query in 0..QUERIES {
                let weight = isa.splat(*weights[query].get_unchecked(position));
                for r in 0..registers {
                    sums[query][r] = isa.add(sums[query][r], isa.mul(weight, loaded[r]));
                }
            }
        }
        for query in 0..QUERIES {
            for r in 0..registers {
                isa.store_floats(totals.add(query * stride + at + r * lanes), sums[query][r]);
            }
        }
    }
}
