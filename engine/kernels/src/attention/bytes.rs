//! Both products of attention over pages in 8 bits: keys by dot products with quantized queries, values as floats.

use super::halves::registers;
use super::query::{EXTRA, Scores};
use crate::activations::Activations;
use crate::isa::Isa;
use crate::layout::{GROUPS_PER_BLOCK, LUT_GROUP};
use crate::page::{CACHE_BLOCK, HeadLayout, PAGE_POSITIONS};

/// The fine digit of a block that is not refined.
static NO_DIGIT: [i8; CACHE_BLOCK] = [0; CACHE_BLOCK];

/// One block of a query.
#[derive(Clone, Copy)]
struct Block {
    /// 32 values of each digit.
    digits: [*const i8; 2],
    sums: [i32; 2],
    /// The unit of 64 * first + second.
    scale: f32,
}

/// Block `block` of a query.
#[inline(always)]
fn block_of(quantized: &Activations, query: usize, block: usize) -> Block {
    let token = quantized.token(query);
    let coarse = token.coarse.values[block * CACHE_BLOCK..][..CACHE_BLOCK].as_ptr();
    let (sum, scale) = (token.coarse.sums[block], token.scales[block]);
    if token.refined[block] {
        let fine = token.fine.values[block * CACHE_BLOCK..][..CACHE_BLOCK].as_ptr();
        Block { digits: [coarse, fine], sums: [sum, token.fine.sums[block]], scale }
    } else {
        // With every block refined, only those of zeros, or with values that are not finite, have no fine digit.
        Block { digits: [coarse, NO_DIGIT.as_ptr()], sums: [sum, 0], scale: scale * (1.0 / 64.0) }
    }
}

/// The queries with these indexes in `quantized` times the first `count` of the part's keys, (padded / 4, 64, 4). Scores
/// from `count` on are arbitrary.
#[inline(always)]
pub(super) fn scores<I: Isa, const QUERIES: usize>(
    isa: I,
    quantized: &Activations,
    numbers: [usize; QUERIES],
    count: usize,
    layout: HeadLayout,
    part: &[u8],
) -> Scores<QUERIES> {
    let lanes = I::WIDTH / 4;
    let blocks = layout.padded() / CACHE_BLOCK;
    let (keys, scales) = (part.as_ptr(), part[layout.scales()..].as_ptr());
    assert_eq!(part.len(), layout.bytes());
    // Each query needs sums for two digits.
    let registers = if I::REGISTERS == 32 { 4 } else { 2 };
    let registers = match QUERIES {
        ..=2 => registers,
        3..=4 => registers / 2,
        _ => 1,
    };
    let registers = registers.min(PAGE_POSITIONS / lanes);
    assert!(count <= PAGE_POSITIONS);
    let mut scores = [[0.0f32; PAGE_POSITIONS]; QUERIES];
    for block in 0..blocks {
        let mut queries = [Block { digits: [NO_DIGIT.as_ptr(); 2], sums: [0; 2], scale: 0.0 }; QUERIES];
        for (query, &number) in queries.iter_mut().zip(&numbers) {
            *query = block_of(quantized, number, block);
        }
        for at in (0..count).step_by(registers * lanes) {
            // SAFETY: block < blocks, and at + registers * lanes <= 64 because both factors are powers of two: keys and
            // scales are within the part, whose length is asserted above, and scores within 64. A digit has 32 values.
            unsafe {
                let mut sums = [[[isa.byte_zero(); 2]; 4]; QUERIES];
                for group in 0..GROUPS_PER_BLOCK {
                    let row = (block * GROUPS_PER_BLOCK + group) * PAGE_POSITIONS + at;
                    // The values, as many bytes, are read next.
                    for line in (0..registers * I::WIDTH).step_by(64) {
                        isa.prefetch(keys.wrapping_add(layout.values() + LUT_GROUP * row + line));
                    }
                    for r in 0..registers {
                        let codes = isa.load(keys.add(LUT_GROUP * (row + r * lanes)));
                        for query in 0..QUERIES {
                            for digit in 0..2 {
                                let quad = isa.quad(queries[query].digits[digit].add(LUT_GROUP * group));
                                sums[query][r][digit] = isa.byte_dot(sums[query][r][digit], codes, quad);
                            }
                        }
                    }
                }
                for r in 0..registers {
                    let scale = isa.load_halves(scales.add(2 * (block * PAGE_POSITIONS + at + r * lanes)));
                    for query in 0..QUERIES {
                        let Block { sums: [coarse, fine], scale: unit, .. } = queries[query];
                        // A key's byte is its code plus 128.
                        let offset = 128 + I::BYTE_OFFSET;
                        let coarse = isa.byte_total(sums[query][r][0], -offset * coarse);
                        let fine = isa.byte_total(sums[query][r][1], -offset * fine);
                        let product = isa.to_floats(isa.refine(coarse, fine));
                        let product = isa.mul(isa.mul(product, scale), isa.splat(unit));
                        let score = scores[query].as_mut_ptr().add(at + r * lanes);
                        isa.store_floats(score, isa.add(isa.load_floats(score), product));
                    }
                }
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
    let stride = padded + EXTRA;
    let values = &part[layout.values()..];
    let scales = &values[layout.scales()..];
    assert!(count <= PAGE_POSITIONS && part.len() == layout.bytes() && totals.len() == QUERIES * stride);
    let registers = registers::<I, QUERIES>().min(CACHE_BLOCK / lanes);
    for block in 0..padded / CACHE_BLOCK {
        // SAFETY: block * 32 + at + registers * lanes <= padded and position < 64, so values, scales, weights and totals
        // are within the lengths asserted above.
        unsafe {
            // The weights times the scales of the block's values.
            let mut scaled = [[0.0f32; PAGE_POSITIONS]; QUERIES];
            for position in (0..PAGE_POSITIONS).step_by(lanes) {
                let scale = isa.load_halves(scales.as_ptr().add(2 * (block * PAGE_POSITIONS + position)));
                for query in 0..QUERIES {
                    let weight = isa.load_floats(weights[query].as_ptr().add(position));
                    isa.store_floats(scaled[query].as_mut_ptr().add(position), isa.mul(weight, scale));
                }
            }
            let values = values.as_ptr().add(block * PAGE_POSITIONS * CACHE_BLOCK);
            for at in (0..CACHE_BLOCK).step_by(registers * lanes) {
                let totals = totals.as_mut_ptr().add(block * CACHE_BLOCK + at);
                let mut sums = [[isa.splat(0.0); 8]; QUERIES];
                for query in 0..QUERIES {
                    for r in 0..registers {
                        let total = isa.load_floats(totals.add(query * stride + r * lanes));
                        sums[query][r] = isa.mul(total, isa.splat(correction[query]));
                    }
                }
                for position in 0..count {
                    let row = block * PAGE_POSITIONS + position;
                    isa.prefetch(next.wrapping_add(row * CACHE_BLOCK + at));
                    for r in 0..registers {
                        let value =
                            isa.load_signed_bytes(values.add(position * CACHE_BLOCK + at + r * lanes).cast());
                        for query in 0..QUERIES {
                            let weight = isa.splat(*scaled[query].get_unchecked(position));
                            sums[query][r] = isa.add(sums[query][r], isa.mul(weight, value));
                        }
                    }
                }
                for query in 0..QUERIES {
                    for r in 0..registers {
                        isa.store_floats(totals.add(query * stride + r * lanes), sums[query][r]);
                    }
                }
            }
        }
    }
}
