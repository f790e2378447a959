//! Both products of attention over pages in half precision.

use super::{EXTRA, MAX_HEAD_DIM, Scores};
use crate::isa::Isa;
use crate::page::{HeadLayout, PAGE_POSITIONS};
use std::mem::MaybeUninit;

/// Registers of sums that each query gets: of those there are, about half. One for many queries: then the product's
/// operand is broadcast as it is loaded, where `vbroadcastss` for two takes half a cycle of Zen 4's multipliers.
#[inline(always)]
pub(super) const fn registers<I: Isa, const QUERIES: usize>() -> usize {
    match (I::REGISTERS == 32, QUERIES) {
        (_, 5..) => 1,
        (true, _) => 16 / QUERIES.next_power_of_two(),
        (false, _) => 8 / QUERIES.next_power_of_two(),
    }
}

/// Room for queries, (head_dim, QUERIES): then a loop over the elements has one pointer for all queries.
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
        // SAFETY: all of them were just written.
        unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), head_dim) }
    }
}

/// `queries`, (head_dim, QUERIES), times the first `count` of the part's keys, (padded, 64). What is behind `count`
/// is arbitrary.
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
    // A power of two of registers a query, so that runs divide 64 positions.
    let registers = registers::<I, QUERIES>().min(PAGE_POSITIONS / lanes);
    let mut scores = [[0.0; PAGE_POSITIONS]; QUERIES];
    assert!(queries.len() == head_dim && 2 * head_dim * PAGE_POSITIONS <= part.len());
    assert!(count <= PAGE_POSITIONS);
    for at in (0..count).step_by(registers * lanes) {
        let mut sums = [[isa.splat(0.0); 16]; QUERIES];
        for (d, queries) in queries.iter().enumerate() {
            // The values, of which a row is as long, come next.
            for line in (0..2 * registers * lanes).step_by(64) {
                isa.prefetch(keys.wrapping_add(layout.values() + 2 * (d * PAGE_POSITIONS + at) + line));
            }
            let mut loaded = [isa.splat(0.0); 16];
            for r in 0..registers {
                // SAFETY: at + registers * lanes <= 64 and d < head_dim, so the part's length covers it.
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
                // SAFETY: at + registers * lanes <= 64.
                unsafe { isa.store_floats(scores.as_mut_ptr().add(at + r * lanes), sum) };
            }
        }
    }
    scores
}

/// `totals = totals * correction + weights (QUERIES, count) x values (count, padded)`. What is at `next`, the keys
/// of the next page, is wanted soon.
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
    // SAFETY: at + registers * lanes <= padded in every run, the length of each row of `values` and `totals`.
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
/// At most 64 rows; `padded` elements of each of their values are readable, and `padded + EXTRA` totals a query
/// writable; the elements are below `padded`.
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
    // SAFETY: the caller's.
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
