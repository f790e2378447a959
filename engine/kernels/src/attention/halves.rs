//! Both products of attention over pages in half precision.

use super::{EXTRA, Scores};
use crate::isa::Isa;
use crate::page::{HeadLayout, PAGE_POSITIONS};

/// Registers that sums take: half of those there are.
const fn budget<I: Isa>() -> usize {
    I::REGISTERS / 2
}

/// `queries` (HEADS, head_dim) times the part's keys, (padded, 64).
#[inline(always)]
pub(super) fn scores<I: Isa, const HEADS: usize>(
    isa: I,
    queries: &[f32],
    layout: HeadLayout,
    part: &[u8],
) -> Scores<HEADS> {
    let lanes = I::WIDTH / 4;
    let head_dim = layout.head_dim();
    let keys: *const u8 = part.as_ptr();
    // A power of two of registers a head, so that runs divide 64 positions.
    let registers = (budget::<I>() / HEADS.next_power_of_two()).min(PAGE_POSITIONS / lanes);
    let mut scores = [[0.0; PAGE_POSITIONS]; HEADS];
    assert!(queries.len() == HEADS * head_dim && 2 * head_dim * PAGE_POSITIONS <= part.len());
    for at in (0..PAGE_POSITIONS).step_by(registers * lanes) {
        let mut sums = [[isa.splat(0.0); 16]; HEADS];
        for d in 0..head_dim {
            // The values, of which a row is as long, come next.
            for line in (0..2 * registers * lanes).step_by(64) {
                isa.prefetch(keys.wrapping_add(layout.values() + 2 * (d * PAGE_POSITIONS + at) + line));
            }
            for r in 0..registers {
                // SAFETY: at + registers * lanes <= 64 and d < head_dim, so the part's length covers it.
                let key = unsafe { isa.load_halves(keys.add(2 * (d * PAGE_POSITIONS + at + r * lanes))) };
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

/// `totals = totals * correction + weights (HEADS, count) x values (count, padded)`. What is at `next`, the keys
/// of the next page, is wanted soon.
#[inline(always)]
#[expect(clippy::too_many_arguments)]
pub(super) fn accumulate<I: Isa, const HEADS: usize>(
    isa: I,
    weights: &Scores<HEADS>,
    count: usize,
    correction: [f32; HEADS],
    layout: HeadLayout,
    part: &[u8],
    next: *const u8,
    totals: &mut [f32],
) {
    let (lanes, padded) = (I::WIDTH / 4, layout.padded());
    let values = &part[layout.values()..];
    assert!(count <= PAGE_POSITIONS && 2 * count * padded <= values.len());
    assert!(padded.is_multiple_of(lanes) && totals.len() == HEADS * (padded + EXTRA));
    let wide = budget::<I>() / HEADS.next_power_of_two();
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
/// At most 64 rows; `padded` elements of each of their values are readable, and `padded + EXTRA` totals a head
/// writable; the elements are below `padded`.
#[inline(always)]
#[expect(clippy::too_many_arguments)]
unsafe fn run<I: Isa, const HEADS: usize>(
    isa: I,
    weights: &Scores<HEADS>,
    count: usize,
    correction: [f32; HEADS],
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
        let mut sums = [[isa.splat(0.0); 16]; HEADS];
        for head in 0..HEADS {
            for r in 0..registers {
                let total = isa.load_floats(totals.add(head * stride + at + r * lanes));
                sums[head][r] = isa.mul(total, isa.splat(correction[head]));
            }
        }
        for position in 0..count {
            for line in (0..2 * registers * lanes).step_by(64) {
                isa.prefetch(next.wrapping_add(2 * (position * padded + at) + line));
            }
            for r in 0..registers {
                let value = isa.load_halves(values.add(2 * (position * padded + at + r * lanes)));
                for head in 0..HEADS {
                    let weight = isa.splat(*weights[head].get_unchecked(position));
                    sums[head][r] = isa.add(sums[head][r], isa.mul(weight, value));
                }
            }
        }
        for head in 0..HEADS {
            for r in 0..registers {
                isa.store_floats(totals.add(head * stride + at + r * lanes), sums[head][r]);
            }
        }
    }
}
