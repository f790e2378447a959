//! WebAssembly SIMD128, and relaxed SIMD where the module is built with it.
//!
//! A module has no run-time detection: what it may use is fixed when it is compiled. The relaxed instructions
//! are used only where the specification leaves them no choice: the swizzle with indexes below 16, the dot
//! product with a second operand below 128 whose pair sums fit 16 bits.

mod blocks;

use crate::isa::{BlockValues, Isa, Job};
use crate::layout::GROUPS_PER_BLOCK;
use std::arch::wasm32::*;

/// SIMD128, which the whole module needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simd128;

const RELAXED: bool = cfg!(target_feature = "relaxed-simd");

/// Four activations twice: as bytes for the relaxed dot product, and, for the plain one, those at even and at
/// odd positions as 16-bit lanes.
#[derive(Clone, Copy, Debug)]
pub struct Quad {
    #[cfg(target_feature = "relaxed-simd")]
    bytes: v128,
    even: v128,
    odd: v128,
}

// SAFETY: loads and stores are of 16 bytes, of 8 for halves and of 4 for a quad or signed bytes.
unsafe impl Isa for Simd128 {
    const NAME: &'static str = if RELAXED { "simd128-relaxed" } else { "simd128" };
    const WIDTH: usize = 16;
    const SINGLE_BLOCK_GROUPS: bool = true;
    const TOKEN_BY_TOKEN: bool = RELAXED;
    type Bytes = v128;
    type Ints = v128;
    type Floats = v128;
    type Quad = Quad;
    /// Relaxed: 16-bit sums of pairs, below 8 * 15 * 127 * 2 = 30480. Else 32-bit sums.
    type SmallSum = v128;
    type ByteSum = v128;
    /// 16-bit sums of both bytes and of the high byte, as in AVX2.
    type LookupSum = [v128; 2];

    /// Not inlined: engines compile functions of their own better, and sooner, than one of all kernels.
    #[inline(never)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        job.run(self)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> v128 {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, bytes: v128) {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe { v128_store(to.cast(), bytes) }
    }

    #[inline(always)]
    unsafe fn load_repeated(self, from: *const u8) -> v128 {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    fn append_bit(self, bytes: v128, flags: v128, mask: v128) -> v128 {
        // Masks have one bit, so "in common" is "equal after and"; the comparison's -1 is subtracted.
        i8x16_sub(i8x16_add(bytes, bytes), i8x16_eq(v128_and(flags, mask), mask))
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
        // SAFETY: the caller vouches for 4 bytes.
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
    unsafe fn nibble_block(self, codes: *const u8, values: BlockValues) -> [v128; 8] {
        // SAFETY: the caller's.
        unsafe {
            #[cfg(target_feature = "relaxed-simd")]
            if !values.refined {
                return blocks::narrow_nibbles(codes, values);
            }
            blocks::nibbles(codes, values)
        }
    }

    #[inline(always)]
    unsafe fn byte_block(self, codes: *const u8, values: BlockValues) -> [v128; 8] {
        // SAFETY: the caller's.
        unsafe { blocks::bytes(codes, values) }
    }

    #[inline(always)]
    unsafe fn unpacked_block<const SMALL: bool>(
        self,
        codes: [&[v128; GROUPS_PER_BLOCK]; 2],
        values: BlockValues,
    ) -> [v128; 2] {
        // SAFETY: the caller's.
        unsafe {
            #[cfg(target_feature = "relaxed-simd")]
            if SMALL {
                return crate::dot::unpacked_sums::<Self, SMALL>(self, codes, values);
            }
            [blocks::unpacked(codes[0], values); 2]
        }
    }

    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn small_block(self, codes: *const u8, values: BlockValues) -> [v128; 8] {
        // SAFETY: the caller's.
        unsafe { blocks::small(codes, values) }
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
    unsafe fn lookup_block<const BITS: usize>(
        self,
        codes: *const u8,
        tables: *const u8,
        start: i32,
    ) -> [v128; 8] {
        // SAFETY: the caller's.
        unsafe {
            #[cfg(target_feature = "relaxed-simd")]
            if BITS == 2 {
                return blocks::plane_pair(codes, tables, start);
            }
            blocks::planes::<BITS>(codes, tables, start)
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> v128 {
        f32x4_splat(value)
    }

    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> v128 {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: v128) {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe { v128_store(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u8) -> v128 {
        // SAFETY: the caller vouches for 8 bytes.
        let bits = unsafe { i32x4_load_extend_i16x4(from.cast()) };
        // As `f16_to_f32`: moved into place, exponent and mantissa are 2^-112 of the value. Sign extension has put
        // the sign in place, too, and copies of it that are cleared.
        let scaled = v128_and(i32x4_shl(bits, 13), u32x4_splat(0x8fff_ffff));
        f32x4_mul(scaled, f32x4_splat(f32::from_bits(0x7780_0000)))
    }

    #[inline(always)]
    unsafe fn load_signed_bytes(self, from: *const i8) -> v128 {
        // SAFETY: the caller vouches for 4 bytes.
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
            // SAFETY: the caller vouches for 32 bytes.
            unsafe { v128_store(to.add(16 * half).cast(), bytes) };
        }
    }

    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
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
