//! The vector operations.

use crate::isa::{Isa, Job};
use std::arch::wasm32::*;

/// SIMD128: a module that contains it runs only where it is supported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simd128;

/// Whether the module is built with relaxed SIMD.
const RELAXED: bool = cfg!(target_feature = "relaxed-simd");

/// Four activations: as bytes for the relaxed dot product, and for the plain one as 16-bit lanes, even and odd positions
/// apart.
#[derive(Clone, Copy, Debug)]
pub struct Quad {
    #[cfg(target_feature = "relaxed-simd")]
    bytes: v128,
    even: v128,
    odd: v128,
}

// SAFETY: loads and stores are of 16 bytes, of 8 for halves, of 4 for a quad or signed bytes, of 32 for low bytes.
unsafe impl Isa for Simd128 {
    const WIDTH: usize = 16;
    /// The dot products of relaxed SIMD are faster.
    const LANES_FROM: usize = if cfg!(target_feature = "relaxed-simd") { usize::MAX } else { 10 };
    type Bytes = v128;
    type Ints = v128;
    type Floats = v128;
    type Quad = Quad;
    /// Relaxed: 16-bit sums of pairs, see [`Isa::small_dot`]. Else 32-bit sums.
    type SmallSum = v128;
    type ByteSum = v128;
    /// 16-bit sums of both bytes and of the high byte, as in AVX2.
    type LookupSum = [v128; 2];
    type PairSum = v128;

    /// Not inlined: engines compile several small functions better, and sooner, than one that contains all kernels.
    #[inline(never)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        job.run(self)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> v128 {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, bytes: v128) {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_store(to.cast(), bytes) }
    }

    #[inline(always)]
    unsafe fn load_repeated(self, from: *const u8) -> v128 {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_pair_tables(self, from: *const u8) -> v128 {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    fn add_bit(self, bytes: v128, flags: v128, mask: v128) -> v128 {
        i8x16_sub(bytes, i8x16_eq(v128_and(flags, mask), mask))
    }

    #[inline(always)]
    fn append_bit(self, bytes: v128, flags: v128, mask: v128) -> v128 {
        // Masks have one bit, so "in common" is "equal after and"; the comparison's -1 is subtracted.
        i8x16_sub(i8x16_add(bytes, bytes), i8x16_eq(v128_and(flags, mask), mask))
    }

    #[inline(always)]
    fn insert(self, codes: v128, field: v128, from: u32, to: u32, width: u32) -> v128 {
        // What crosses from one byte of a lane to the other is masked.
        let moved = if to >= from { u16x8_shl(field, to - from) } else { u16x8_shr(field, from - to) };
        v128_or(codes, v128_and(moved, u8x16_splat(((1u32 << width) - 1 << to) as u8)))
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: v128) -> v128 {
        v128_and(bytes, u8x16_splat(15))
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: v128) -> v128 {
        // Engines have no 8-bit shift on x86-64: a 16-bit one and a mask are cheaper.
        v128_and(u16x8_shr(bytes, 4), u8x16_splat(15))
    }

    #[inline(always)]
    unsafe fn quad(self, from: *const i8) -> Quad {
        // SAFETY: 4 bytes, as the contract grants.
        let bytes = unsafe { v128_load32_splat(from.cast()) };
        Quad {
            #[cfg(target_feature = "relaxed-simd")]
            bytes,
            even: i16x8_shr(i16x8_shl(bytes, 8), 8),
            odd: i16x8_shr(bytes, 8),
        }
    }

    #[inline(always)]
    fn small_zero(self) -> v128 {
        i32x4_splat(0)
    }

    #[inline(always)]
    fn small_dot(self, sum: v128, codes: v128, quad: Quad) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(quad.bytes, codes));
        #[cfg(not(target_feature = "relaxed-simd"))]
        self.byte_dot(sum, codes, quad)
    }

    #[inline(always)]
    fn small_total(self, sum: v128, start: i32) -> v128 {
        let sum = if RELAXED { i32x4_dot_i16x8(sum, i16x8_splat(1)) } else { sum };
        i32x4_add(sum, i32x4_splat(start))
    }

    #[inline(always)]
    fn byte_zero(self) -> v128 {
        i32x4_splat(0)
    }

    #[inline(always)]
    fn byte_dot(self, sum: v128, codes: v128, quad: Quad) -> v128 {
        let even = i32x4_dot_i16x8(v128_and(codes, u16x8_splat(255)), quad.even);
        let odd = i32x4_dot_i16x8(u16x8_shr(codes, 8), quad.odd);
        i32x4_add(sum, i32x4_add(even, odd))
    }

    #[inline(always)]
    fn byte_total(self, sum: v128, start: i32) -> v128 {
        i32x4_add(sum, i32x4_splat(start))
    }

    #[inline(always)]
    fn lookup(self, tables: v128, indexes: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return i8x16_relaxed_swizzle(tables, indexes);
        #[cfg(not(target_feature = "relaxed-simd"))]
        i8x16_swizzle(tables, indexes)
    }

    #[inline(always)]
    fn lookup_zero(self) -> [v128; 2] {
        [i32x4_splat(0); 2]
    }

    #[inline(always)]
    fn lookup_add(self, [all, high]: [v128; 2], bytes: v128) -> [v128; 2] {
        [i16x8_add(all, bytes), i16x8_add(high, u16x8_shr(bytes, 8))]
    }

    #[inline(always)]
    fn lookup_double(self, [all, high]: [v128; 2]) -> [v128; 2] {
        [i16x8_add(all, all), i16x8_add(high, high)]
    }

    #[inline(always)]
    fn lookup_rows(self, low: [v128; 2], high: [v128; 2], start: i32) -> [v128; 8] {
        let start = i32x4_splat(start);
        let even = |[all, odd]: [v128; 2]| i16x8_sub(all, i16x8_shl(odd, 8));
        let first = |sums| i32x4_add(u32x4_extend_low_u16x8(sums), start);
        let last = |sums| i32x4_add(u32x4_extend_high_u16x8(sums), start);
        let (low_even, high_even) = (even(low), even(high));
        [
            first(low_even),
            last(low_even),
            first(low[1]),
            last(low[1]),
            first(high_even),
            last(high_even),
            first(high[1]),
            last(high[1]),
        ]
    }

    #[inline(always)]
    fn pair_zero(self) -> v128 {
        i16x8_splat(0)
    }

    #[inline(always)]
    fn pair_add(self, sum: v128, bytes: v128) -> v128 {
        i16x8_add(sum, u16x8_extadd_pairwise_u8x16(bytes))
    }

    #[inline(always)]
    fn pair_rows(self, low: [v128; 2], high: [v128; 2], start: i32) -> [v128; 8] {
        let start = i16x8_splat(start as i16);
        let first = |sums| i32x4_extend_low_i16x8(i16x8_add(sums, start));
        let last = |sums| i32x4_extend_high_i16x8(i16x8_add(sums, start));
        [
            first(low[0]),
            last(low[0]),
            first(low[1]),
            last(low[1]),
            first(high[0]),
            last(high[0]),
            first(high[1]),
            last(high[1]),
        ]
    }

    #[inline(always)]
    fn splat(self, value: f32) -> v128 {
        f32x4_splat(value)
    }

    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> v128 {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: v128) {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_store(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u8) -> v128 {
        // SAFETY: 8 bytes, as the contract grants: half of a register.
        let bits = unsafe { i32x4_load_extend_i16x4(from.cast()) };
        // As in `f16_to_f32`: moved into place, exponent and mantissa are 2^-112 of the value. Sign extension has put the
        // sign in its place too, and copies of it below, which are cleared.
        let scaled = v128_and(i32x4_shl(bits, 13), u32x4_splat(0x8fff_ffff));
        f32x4_mul(scaled, f32x4_splat(f32::from_bits(0x7780_0000)))
    }

    #[inline(always)]
    unsafe fn load_signed_bytes(self, from: *const i8) -> v128 {
        // SAFETY: 4 bytes, as the contract grants.
        let bytes = unsafe { v128_load32_zero(from.cast()) };
        f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(bytes)))
    }

    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a) // b < a ? a : b
    }

    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a) // a < b ? a : b
    }

    #[inline(always)]
    fn sum_parts(self, a: v128) -> v128 {
        let pairs = f32x4_add(a, i32x4_shuffle::<1, 0, 3, 2>(a, a));
        f32x4_add(pairs, i32x4_shuffle::<2, 3, 0, 1>(pairs, pairs))
    }

    #[inline(always)]
    unsafe fn store_low_bytes(self, to: *mut i8, values: &[v128; 8]) {
        for (half, [a, b, c, d]) in values.as_chunks::<4>().0.iter().enumerate() {
            let ab = i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(*a, *b);
            let cd = i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(*c, *d);
            let bytes = i8x16_shuffle::<0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30>(ab, cd);
            // SAFETY: half <= 1, so the stores end at byte 32, as the contract grants.
            unsafe { v128_store(to.add(16 * half).cast(), bytes) };
        }
    }

    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }

    #[inline(always)]
    unsafe fn load_ints(self, from: *const i32) -> v128 {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_ints(self, to: *mut i32, ints: v128) {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { v128_store(to.cast(), ints) }
    }

    #[inline(always)]
    fn add_ints(self, a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }

    #[inline(always)]
    fn sub_ints(self, a: v128, b: v128) -> v128 {
        i32x4_sub(a, b)
    }

    #[inline(always)]
    fn refine(self, coarse: v128, fine: v128) -> v128 {
        i32x4_add(i32x4_shl(coarse, 6), fine)
    }

    #[inline(always)]
    fn to_floats(self, ints: v128) -> v128 {
        f32x4_convert_i32x4(ints)
    }
}
