//! Blocks of one token, as loops over LUT groups that the engine finds as loops.
//!
//! LLVM would unroll them and then compute sum after sum, each over all groups, with all codes kept until the last one:
//! engines run out of registers. What loops gain, and what else was tried, is in docs/architecture.md.

use super::Simd128;
#[cfg(target_feature = "relaxed-simd")]
use crate::activations::TABLE_BIAS;
use crate::isa::{BlockValues, Isa};
use crate::layout::GROUPS_PER_BLOCK;
use std::arch::wasm32::*;
#[cfg(target_feature = "relaxed-simd")]
use std::mem::MaybeUninit;

/// Sums of a block of nibbles, with activations widened to 16 bits that hold both digits: a refined block takes no more
/// than another.
///
/// # Safety
/// As for [`Isa::nibble_block`].
#[inline(always)]
pub(super) unsafe fn nibbles(codes: *const u8, values: BlockValues) -> [v128; 8] {
    // SAFETY: the caller's.
    unsafe {
        let quads = WideQuads::new(values);
        let mut sums = [[start(values); 4]; 2];
        let mask = u16x8_splat(15);
        for group in 0..groups() {
            let [even, odd] = quads.group(group);
            for t in 0..4 {
                // The four nibbles of a 16-bit lane are taken apart without going through bytes.
                let packed = v128_load(codes.add(64 * group + 16 * t).cast());
                let low_even = i32x4_dot_i16x8(v128_and(packed, mask), even);
                let low_odd = i32x4_dot_i16x8(v128_and(u16x8_shr(packed, 8), mask), odd);
                let high_even = i32x4_dot_i16x8(v128_and(u16x8_shr(packed, 4), mask), even);
                let high_odd = i32x4_dot_i16x8(u16x8_shr(packed, 12), odd);
                sums[0][t] = i32x4_add(sums[0][t], i32x4_add(low_even, low_odd));
                sums[1][t] = i32x4_add(sums[1][t], i32x4_add(high_even, high_odd));
            }
        }
        let [[a, b, c, d], [e, f, g, h]] = sums;
        [a, b, c, d, e, f, g, h]
    }
}

/// Sums of a block of nibbles over the first digit, in bytes.
///
/// # Safety
/// As for [`Isa::nibble_block`].
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
pub(super) unsafe fn narrow_nibbles(codes: *const u8, values: BlockValues) -> [v128; 8] {
    // SAFETY: the caller's.
    unsafe {
        // 16-bit sums of pairs, below 8 * 15 * 127 * 2 = 30480.
        let mut sums = [[i16x8_splat(0); 4]; 2];
        let mask = u8x16_splat(15);
        // Two in a turn: where an engine looks at a deadline in each, as wasmtime does, it spills the sums for that.
        for pair in 0..groups() / 2 {
            for group in [2 * pair, 2 * pair + 1] {
                let quad = v128_load32_splat(values.digits[0].add(4 * group).cast());
                for t in 0..4 {
                    let packed = v128_load(codes.add(64 * group + 16 * t).cast());
                    let (low, high) = (v128_and(packed, mask), v128_and(u16x8_shr(packed, 4), mask));
                    sums[0][t] = i16x8_add(sums[0][t], i16x8_relaxed_dot_i8x16_i7x16(quad, low));
                    sums[1][t] = i16x8_add(sums[1][t], i16x8_relaxed_dot_i8x16_i7x16(quad, high));
                }
            }
        }
        let start = i32x4_splat(values.starts[0]);
        let total = |sum| i32x4_add(i32x4_dot_i16x8(sum, i16x8_splat(1)), start);
        let [[a, b, c, d], [e, f, g, h]] = sums;
        [total(a), total(b), total(c), total(d), total(e), total(f), total(g), total(h)]
    }
}

/// Sums of a block of bytes, as [`nibbles`].
///
/// # Safety
/// As for [`Isa::byte_block`].
#[inline(always)]
pub(super) unsafe fn bytes(codes: *const u8, values: BlockValues) -> [v128; 8] {
    // SAFETY: the caller's.
    unsafe {
        let quads = WideQuads::new(values);
        let mut rows = [start(values); 8];
        for group in 0..groups() {
            let [even, odd] = quads.group(group);
            for (t, row) in rows.iter_mut().enumerate() {
                let codes = v128_load(codes.add(128 * group + 16 * t).cast());
                let even = i32x4_dot_i16x8(v128_and(codes, u16x8_splat(255)), even);
                let odd = i32x4_dot_i16x8(u16x8_shr(codes, 8), odd);
                *row = i32x4_add(*row, i32x4_add(even, odd));
            }
        }
        rows
    }
}

/// Sums of a register's rows over an unpacked block, as [`nibbles`].
///
/// # Safety
/// 32 values of each digit are readable.
#[inline(always)]
pub(super) unsafe fn unpacked(codes: &[v128; GROUPS_PER_BLOCK], values: BlockValues) -> v128 {
    // SAFETY: the caller's.
    let WideQuads([a, b, c, d]) = unsafe { WideQuads::new(values) };
    let (even, odd) = ([lanes(a), lanes(b)], [lanes(c), lanes(d)]);
    let mut sum = start(values);
    for (group, &codes) in codes.iter().enumerate() {
        // What does not depend on the token is done once for all of them.
        let (even_codes, odd_codes) = (v128_and(codes, u16x8_splat(255)), u16x8_shr(codes, 8));
        let even = i32x4_dot_i16x8(even_codes, even[group / 4][group % 4]);
        let odd = i32x4_dot_i16x8(odd_codes, odd[group / 4][group % 4]);
        sum = i32x4_add(sum, i32x4_add(even, odd));
    }
    sum
}

/// Sums of 32 rows over an unpacked block of codes below 16, digit by digit.
///
/// # Safety
/// As for [`Isa::small_block`].
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
pub(super) unsafe fn small(codes: *const u8, values: BlockValues) -> [v128; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // Zeros would be written by a call.
    let mut rows = MaybeUninit::<[v128; 8]>::uninit();
    let to = rows.as_mut_ptr().cast();
    // SAFETY: the caller's; all 8 rows are written first.
    unsafe {
        small_digit::<false>(codes, coarse, coarse_start, to);
        if refined {
            small_digit::<true>(codes, fine, fine_start, to);
        }
        rows.assume_init()
    }
}

/// Writes 8 registers of sums to `rows`, or adds them to 64 times what is there.
///
/// # Safety
/// 1024 bytes of codes and 32 values are readable, and 8 rows writable, and readable if `REFINE`.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn small_digit<const REFINE: bool>(codes: *const u8, values: *const i8, start: i32, rows: *mut v128) {
    // SAFETY: the caller's.
    let [low, high] = unsafe { [v128_load(values.cast()), v128_load(values.add(16).cast())] };
    // Loads of 4 bytes each would go through general registers.
    let quads = [lanes(low), lanes(high)];
    let start = i32x4_splat(start);
    // As many as there are groups.
    for r in 0..groups() {
        let mut sum = i16x8_splat(0);
        for (group, &quad) in quads.as_flattened().iter().enumerate() {
            // SAFETY: the caller's.
            let codes = unsafe { v128_load(codes.add(128 * group + 16 * r).cast()) };
            // Nothing saturates. LLVM would turn plain additions around, and load all codes before them.
            sum = i16x8_add_sat(sum, i16x8_relaxed_dot_i8x16_i7x16(quad, codes));
        }
        let sum = i32x4_add(i32x4_dot_i16x8(sum, i16x8_splat(1)), start);
        // SAFETY: there are 8 rows.
        unsafe {
            let row = rows.add(r);
            *row = if REFINE { i32x4_add(i32x4_shl(*row, 6), sum) } else { sum };
        }
    }
}

/// Each lane in all lanes.
#[inline(always)]
fn lanes(x: v128) -> [v128; 4] {
    [
        i32x4_shuffle::<0, 0, 0, 0>(x, x),
        i32x4_shuffle::<1, 1, 1, 1>(x, x),
        i32x4_shuffle::<2, 2, 2, 2>(x, x),
        i32x4_shuffle::<3, 3, 3, 3>(x, x),
    ]
}

/// The sums of what the indexes of planes pick.
///
/// # Safety
/// As for [`Isa::lookup_block`].
#[inline(always)]
pub(super) unsafe fn planes<const BITS: usize>(codes: *const u8, tables: *const u8, start: i32) -> [v128; 8] {
    let isa = Simd128;
    let (mut low, mut high) = (isa.lookup_zero(), isa.lookup_zero());
    for plane in (0..BITS).rev() {
        if plane + 1 < BITS {
            (low, high) = (isa.lookup_double(low), isa.lookup_double(high));
        }
        for pair in 0..groups() / 2 {
            for at in [32 * pair, 32 * pair + 16] {
                // SAFETY: the caller's.
                let (table, indexes) =
                    unsafe { (isa.load(tables.add(at)), isa.load(codes.add(plane * 128 + at))) };
                low = isa.lookup_add(low, isa.lookup(table, isa.low_nibbles(indexes)));
                high = isa.lookup_add(high, isa.lookup(table, isa.high_nibbles(indexes)));
            }
        }
    }
    isa.lookup_rows(low, high, start)
}

/// The sums of what the indexes of two planes pick. Both look up in the same tables, so they are interleaved, and one
/// dot product with 1 and 2 adds what they pick: no widening, no doubling.
///
/// # Safety
/// As for [`Isa::lookup_block`].
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
pub(super) unsafe fn plane_pair(codes: *const u8, tables: *const u8, start: i32) -> [v128; 8] {
    let (mask, weights) = (u8x16_splat(15), u16x8_splat(0x0201));
    // Of rows 0, 8, 1, 9, ... 11 and of 4, 12, ... 15, and of those 16 on.
    let mut sums = [[i16x8_splat(0); 2]; 2];
    for pair in 0..groups() / 2 {
        for group in [2 * pair, 2 * pair + 1] {
            // SAFETY: the caller's.
            let (table, planes) = unsafe {
                let table = v128_load(tables.add(16 * group).cast());
                // Entries with their bias are bytes; without it they are signed.
                let table = v128_xor(table, u8x16_splat(TABLE_BIAS as u8));
                (table, [0, 128].map(|plane| v128_load(codes.add(plane + 16 * group).cast())))
            };
            let [a, b] = planes;
            let interleaved = [
                i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b),
                i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b),
            ];
            for (i, indexes) in interleaved.into_iter().enumerate() {
                let halves = [v128_and(indexes, mask), v128_and(u16x8_shr(indexes, 4), mask)];
                for (half, indexes) in halves.into_iter().enumerate() {
                    let picked = i8x16_relaxed_swizzle(table, indexes);
                    sums[half][i] = i16x8_add(sums[half][i], i16x8_relaxed_dot_i8x16_i7x16(picked, weights));
                }
            }
        }
    }
    // The start makes up for the bias, which is gone already.
    let start = i32x4_splat(start + 3 * TABLE_BIAS * GROUPS_PER_BLOCK as i32);
    let even = |sums| i32x4_add(i32x4_shr(i32x4_shl(sums, 16), 16), start);
    let odd = |sums| i32x4_add(i32x4_shr(sums, 16), start);
    let [[a, b], [c, d]] = sums;
    [even(a), even(b), odd(a), odd(b), even(c), even(d), odd(c), odd(d)]
}

/// 8, and the compiler does not know it, so it cannot unroll.
#[inline(always)]
fn groups() -> usize {
    std::hint::black_box(GROUPS_PER_BLOCK)
}

/// What the sums over all digits start with.
#[inline(always)]
fn start(values: BlockValues) -> v128 {
    let [coarse, fine] = values.starts;
    i32x4_splat(if values.refined { 64 * coarse + fine } else { coarse })
}

/// The activations of a block, all digits in 16 bits: those at even positions, and those at odd ones.
struct WideQuads([v128; 4]);

impl WideQuads {
    /// # Safety
    /// 32 values of each digit are readable.
    #[inline(always)]
    unsafe fn new(values: BlockValues) -> Self {
        // SAFETY: the caller's.
        let (mut first, mut last) = unsafe { (widen(values.digits[0]), widen(values.digits[0].add(16))) };
        if values.refined {
            // SAFETY: the caller's.
            let fine = unsafe { [widen(values.digits[1]), widen(values.digits[1].add(16))] };
            for i in 0..2 {
                first[i] = i16x8_add(i16x8_shl(first[i], 6), fine[0][i]);
                last[i] = i16x8_add(i16x8_shl(last[i], 6), fine[1][i]);
            }
        }
        WideQuads([first[0], last[0], first[1], last[1]])
    }

    /// The activations of a group, for every lane the same.
    ///
    /// # Safety
    /// `group` is below 8.
    #[inline(always)]
    unsafe fn group(&self, group: usize) -> [v128; 2] {
        let from = self.0.as_ptr().cast::<u8>();
        // SAFETY: the caller's.
        unsafe {
            [
                v128_load32_splat(from.add(4 * group).cast()),
                v128_load32_splat(from.add(32 + 4 * group).cast()),
            ]
        }
    }
}

/// 16 values as 16-bit lanes, those at even and those at odd positions.
///
/// # Safety
/// 16 values are readable.
#[inline(always)]
unsafe fn widen(values: *const i8) -> [v128; 2] {
    // SAFETY: the caller's.
    let bytes = unsafe { v128_load(values.cast()) };
    [i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8)]
}
