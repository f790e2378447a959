//! Whole blocks, as loops over LUT groups that stay loops in the module.
//!
//! LLVM would unroll them and then compute sum after sum, each over all groups, keeping all codes until the last one, for
//! which engines run out of registers. What loops gain, and what else was tried, is in docs/experiments/webassembly-kernels.md.

mod lookup;

use super::vectors::Simd128;
use crate::activations::{BlockTables, BlockValues};
use crate::blocks::Blocks;
use crate::layout::GROUPS_PER_BLOCK;
use std::arch::wasm32::*;
#[cfg(target_feature = "relaxed-simd")]
use std::mem::MaybeUninit;

// SAFETY: the functions below access what their contracts grant, which are those of the operations.
unsafe impl Blocks for Simd128 {
    const SINGLE_BLOCK_GROUPS: bool = true;
    const TOKEN_BY_TOKEN: bool = cfg!(target_feature = "relaxed-simd");

    #[inline(always)]
    unsafe fn nibble_block(self, codes: *const u8, values: BlockValues) -> [v128; 8] {
        // SAFETY: both have the contract of this operation.
        unsafe {
            #[cfg(target_feature = "relaxed-simd")]
            if !values.refined {
                return narrow_nibbles(codes, values);
            }
            nibbles(codes, values)
        }
    }

    #[inline(always)]
    unsafe fn byte_block(self, codes: *const u8, values: BlockValues) -> [v128; 8] {
        // SAFETY: `bytes` has the contract of this operation.
        unsafe { bytes(codes, values) }
    }

    #[inline(always)]
    unsafe fn unpacked_block<const SMALL: bool>(
        self,
        codes: [&[v128; GROUPS_PER_BLOCK]; 2],
        values: BlockValues,
    ) -> [v128; 2] {
        // SAFETY: `unpacked` has the contract of this operation.
        unsafe { [unpacked(codes[0], values); 2] }
    }

    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn small_block(self, codes: *const u8, values: BlockValues) -> [v128; 8] {
        // SAFETY: `small` has the contract of this operation.
        unsafe { small(codes, values) }
    }

    #[inline(always)]
    unsafe fn lookup_block<const BITS: usize>(
        self,
        codes: *const u8,
        tables: *const u8,
        start: i32,
    ) -> [v128; 8] {
        // SAFETY: both have the contract of this operation.
        unsafe {
            #[cfg(target_feature = "relaxed-simd")]
            if BITS == 2 {
                return lookup::plane_pair(codes, tables, start);
            }
            lookup::planes::<BITS>(codes, tables, start)
        }
    }

    #[inline(always)]
    unsafe fn ternary_block(self, codes: *const u8, tables: BlockTables) -> [v128; 8] {
        // SAFETY: `ternary` has the contract of this operation.
        unsafe {
            if tables.refined {
                let [rows, fine] = lookup::ternary(codes, tables.digits, tables.starts);
                lookup::joined(rows, fine)
            } else {
                let [rows] = lookup::ternary(codes, [tables.digits[0]], [tables.starts[0]]);
                rows
            }
        }
    }

    #[inline(always)]
    unsafe fn binary_block(self, codes: *const u8, tables: BlockTables) -> [v128; 8] {
        // SAFETY: `binary` has the contract of this operation.
        unsafe {
            if tables.refined {
                let [rows, fine] = lookup::binary(codes, tables.digits, tables.starts);
                lookup::joined(rows, fine)
            } else {
                let [rows] = lookup::binary(codes, [tables.digits[0]], [tables.starts[0]]);
                rows
            }
        }
    }
}

/// Sums of a block of nibbles, with activations widened to 16 bits that hold both digits: a refined block takes no longer
/// than another.
///
/// # Safety
/// As for [`Blocks::nibble_block`].
#[inline(always)]
unsafe fn nibbles(codes: *const u8, values: BlockValues) -> [v128; 8] {
    // SAFETY: group < 8 and t < 4, so loads end at byte 512 at most; each digit has 32 values.
    unsafe {
        let quads = WideQuads::new(values);
        let mut sums = [[start(values); 4]; 2];
        let mask = u16x8_splat(15);
        for group in 0..groups() {
            let [even, odd] = quads.group(group);
            for t in 0..4 {
                // The four nibbles of a 16-bit lane are extracted directly, without a step of bytes.
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

/// Sums of a block of nibbles over the coarse digit, in bytes.
///
/// # Safety
/// As for [`Blocks::nibble_block`].
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn narrow_nibbles(codes: *const u8, values: BlockValues) -> [v128; 8] {
    // SAFETY: group < 8 and t < 4, so loads end at byte 512 and at value 32 at most.
    unsafe {
        // 16-bit sums of pairs, see `Isa::small_dot`.
        let mut sums = [[i16x8_splat(0); 4]; 2];
        let mask = u8x16_splat(15);
        // Two in each iteration: an engine that checks a deadline in each iteration, as wasmtime does, spills the sums for
        // it.
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
/// As for [`Blocks::byte_block`].
#[inline(always)]
unsafe fn bytes(codes: *const u8, values: BlockValues) -> [v128; 8] {
    // SAFETY: group < 8 and t < 8, so loads end at byte 1024 at most; each digit has 32 values.
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
/// 32 bytes are readable at each digit of `values`.
#[inline(always)]
unsafe fn unpacked(codes: &[v128; GROUPS_PER_BLOCK], values: BlockValues) -> v128 {
    // SAFETY: each digit has 32 values, by this function's contract.
    let WideQuads([a, b, c, d]) = unsafe { WideQuads::new(values) };
    let (even, odd) = ([lanes(a), lanes(b)], [lanes(c), lanes(d)]);
    let mut sum = start(values);
    for (group, &codes) in codes.iter().enumerate() {
        // This does not depend on the token, so the compiler moves it out of the loop over tokens.
        let (even_codes, odd_codes) = (v128_and(codes, u16x8_splat(255)), u16x8_shr(codes, 8));
        let even = i32x4_dot_i16x8(even_codes, even[group / 4][group % 4]);
        let odd = i32x4_dot_i16x8(odd_codes, odd[group / 4][group % 4]);
        sum = i32x4_add(sum, i32x4_add(even, odd));
    }
    sum
}

/// Sums of 32 rows over an unpacked block of codes below 32, digit by digit.
///
/// # Safety
/// As for [`Blocks::small_block`].
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn small(codes: *const u8, values: BlockValues) -> [v128; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // Uninitialized, because writing zeros would be a call.
    let mut rows = MaybeUninit::<[v128; 8]>::uninit();
    let to = rows.as_mut_ptr().cast();
    // SAFETY: the contract is that of `small_digit`, which without `REFINE` writes all 8 rows.
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
    // SAFETY: 32 values are readable, by this function's contract.
    let [low, high] = unsafe { [v128_load(values.cast()), v128_load(values.add(16).cast())] };
    // Loads of 4 bytes each would go through general registers.
    let quads = [lanes(low), lanes(high)];
    let start = i32x4_splat(start);
    // There are as many registers of rows as groups.
    for r in 0..groups() {
        let mut sum = i16x8_splat(0);
        for (group, &quad) in quads.as_flattened().iter().enumerate() {
            // SAFETY: group < 8 and r < 8, so the load ends at byte 1024 at most.
            let codes = unsafe { v128_load(codes.add(128 * group + 16 * r).cast()) };
            // Nothing saturates. Plain additions LLVM would reorder, and load all codes before them.
            sum = i16x8_add_sat(sum, i16x8_relaxed_dot_i8x16_i7x16(quad, codes));
        }
        let sum = i32x4_add(i32x4_dot_i16x8(sum, i16x8_splat(1)), start);
        // SAFETY: r < 8, the number of rows.
        unsafe {
            let row = rows.add(r);
            *row = if REFINE { i32x4_add(i32x4_shl(*row, 6), sum) } else { sum };
        }
    }
}

/// Broadcasts each lane to all lanes.
#[inline(always)]
fn lanes(x: v128) -> [v128; 4] {
    [
        i32x4_shuffle::<0, 0, 0, 0>(x, x),
        i32x4_shuffle::<1, 1, 1, 1>(x, x),
        i32x4_shuffle::<2, 2, 2, 2>(x, x),
        i32x4_shuffle::<3, 3, 3, 3>(x, x),
    ]
}

/// 8, which the compiler does not know, so that it cannot unroll loops.
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

/// The activations of a block, all digits in 16 bits: first those at even positions, then those at odd ones.
struct WideQuads([v128; 4]);

impl WideQuads {
    /// # Safety
    /// 32 bytes are readable at each digit of `values`.
    #[inline(always)]
    unsafe fn new(values: BlockValues) -> Self {
        // SAFETY: 16 and 16 of the 32 values of the coarse digit.
        let (mut first, mut last) = unsafe { (widen(values.digits[0]), widen(values.digits[0].add(16))) };
        if values.refined {
            // SAFETY: 16 and 16 of the 32 values of the fine digit.
            let fine = unsafe { [widen(values.digits[1]), widen(values.digits[1].add(16))] };
            for i in 0..2 {
                first[i] = i16x8_add(i16x8_shl(first[i], 6), fine[0][i]);
                last[i] = i16x8_add(i16x8_shl(last[i], 6), fine[1][i]);
            }
        }
        WideQuads([first[0], last[0], first[1], last[1]])
    }

    /// The activations of a group, broadcast to all lanes.
    ///
    /// # Safety
    /// `group` is below 8.
    #[inline(always)]
    unsafe fn group(&self, group: usize) -> [v128; 2] {
        let from = self.0.as_ptr().cast::<u8>();
        // SAFETY: group < 8, so the loads end at byte 64 of `self`.
        unsafe {
            [
                v128_load32_splat(from.add(4 * group).cast()),
                v128_load32_splat(from.add(32 + 4 * group).cast()),
            ]
        }
    }
}

/// 16 values as 16-bit lanes, even and odd positions apart.
///
/// # Safety
/// 16 values are readable.
#[inline(always)]
unsafe fn widen(values: *const i8) -> [v128; 2] {
    // SAFETY: 16 values are readable, by this function's contract.
    let bytes = unsafe { v128_load(values.cast()) };
    [i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8)]
}
