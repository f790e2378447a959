//! AVX-512 with BW and VNNI: 512-bit registers, `vpdpbusd` for dot products; lookups by `vpshufb`, or by VBMI's
//! `vpermb`, which looks up in four tables at once.
//! Measurements: docs/experiments/lookup-kernels.md.

use super::ahead::Ahead;
use edgellm_kernels::{Blocks, Isa, Job};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, BW, VL and VNNI (which implies AVX2 and F16C).
#[derive(Clone, Copy, Debug)]
pub struct Avx512(Ahead);

impl Avx512 {
    /// The proof, if the CPU has the features.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("f16c"))
        .then(|| Avx512(Ahead::detect()))
    }
}

/// Proof that the CPU has what [`Avx512`] proves, and VBMI.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Vbmi(Ahead);

impl Avx512Vbmi {
    /// The proof, if the CPU has the features.
    pub fn detect() -> Option<Self> {
        let Avx512(ahead) = Avx512::detect()?;
        is_x86_feature_detected!("avx512vbmi").then_some(Avx512Vbmi(ahead))
    }
}

/// Everything below needs the features of [`Avx512`], and the overrides of [`Avx512Vbmi`] VBMI.
macro_rules! avx512 {
    ($body:expr) => {
        // SAFETY: `self` proves the features, see `detect` of its type; an operation that accesses memory is an
        // `unsafe fn`, and accesses no more than its contract grants.
        unsafe { $body }
    };
}

mod vbmi; // after the macro, which it uses

/// The vector operations, which both instances share except for [`Isa::enter`].
macro_rules! shared {
    () => {
        const WIDTH: usize = 64;
        const REGISTERS: usize = 32;
        type Bytes = __m512i;
        type Ints = __m512i;
        type Floats = __m512;
        type Quad = __m512i;
        type SmallSum = __m512i;
        type ByteSum = __m512i;
        /// As in AVX2: 16-bit sums of both bytes and of the high byte.
        type LookupSum = [__m512i; 2];
        /// Of an even LUT group in the low half, of the next one in the high half.
        type PairSum = __m512i;

        #[inline(always)]
        unsafe fn load(self, from: *const u8) -> __m512i {
            avx512!(_mm512_loadu_si512(from.cast()))
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u8, bytes: __m512i) {
            avx512!(_mm512_storeu_si512(to.cast(), bytes))
        }

        #[inline(always)]
        unsafe fn load_repeated(self, from: *const u8) -> __m512i {
            avx512!(_mm512_broadcast_i32x4(_mm_loadu_si128(from.cast())))
        }

        #[inline(always)]
        unsafe fn load_pair_tables(self, from: *const u8) -> __m512i {
            avx512!({
                let tables = _mm512_castsi256_si512(_mm256_loadu_si256(from.cast()));
                _mm512_shuffle_i64x2::<0b01_01_00_00>(tables, tables)
            })
        }

        #[inline(always)]
        fn add_bit(self, bytes: __m512i, flags: __m512i, mask: __m512i) -> __m512i {
            avx512!({
                let common = _mm512_test_epi8_mask(flags, mask);
                _mm512_mask_add_epi8(bytes, common, bytes, _mm512_set1_epi8(1))
            })
        }

        #[inline(always)]
        fn append_bit(self, bytes: __m512i, flags: __m512i, mask: __m512i) -> __m512i {
            avx512!({
                let twice = _mm512_add_epi8(bytes, bytes);
                let common = _mm512_test_epi8_mask(flags, mask);
                _mm512_mask_add_epi8(twice, common, twice, _mm512_set1_epi8(1))
            })
        }

        #[inline(always)]
        fn insert(self, codes: __m512i, field: __m512i, from: u32, to: u32, width: u32) -> __m512i {
            // As in AVX2; codes | (moved & mask) is one operation.
            avx512!({
                let moved = if to >= from {
                    _mm512_sll_epi16(field, _mm_cvtsi32_si128((to - from) as i32))
                } else {
                    _mm512_srl_epi16(field, _mm_cvtsi32_si128((from - to) as i32))
                };
                let mask = _mm512_set1_epi8((((1u32 << width) - 1) << to) as i8);
                _mm512_ternarylogic_epi32::<0xf8>(codes, moved, mask)
            })
        }

        #[inline(always)]
        fn low_nibbles(self, bytes: __m512i) -> __m512i {
            avx512!(_mm512_and_si512(bytes, _mm512_set1_epi8(15)))
        }

        #[inline(always)]
        fn high_nibbles(self, bytes: __m512i) -> __m512i {
            avx512!(_mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15)))
        }

        #[inline(always)]
        unsafe fn quad(self, from: *const i8) -> __m512i {
            avx512!(_mm512_set1_epi32(from.cast::<i32>().read_unaligned()))
        }

        #[inline(always)]
        fn small_zero(self) -> __m512i {
            avx512!(_mm512_setzero_si512())
        }

        #[inline(always)]
        fn small_dot(self, sum: __m512i, codes: __m512i, quad: __m512i) -> __m512i {
            avx512!(_mm512_dpbusd_epi32(sum, codes, quad))
        }

        #[inline(always)]
        fn small_total(self, sum: __m512i, start: i32) -> __m512i {
            avx512!(_mm512_add_epi32(sum, _mm512_set1_epi32(start)))
        }

        #[inline(always)]
        fn byte_zero(self) -> __m512i {
            avx512!(_mm512_setzero_si512())
        }

        #[inline(always)]
        fn byte_dot(self, sum: __m512i, codes: __m512i, quad: __m512i) -> __m512i {
            avx512!(_mm512_dpbusd_epi32(sum, codes, quad))
        }

        #[inline(always)]
        fn byte_total(self, sum: __m512i, start: i32) -> __m512i {
            avx512!(_mm512_add_epi32(sum, _mm512_set1_epi32(start)))
        }

        #[inline(always)]
        fn lookup(self, tables: __m512i, indexes: __m512i) -> __m512i {
            avx512!(_mm512_shuffle_epi8(tables, indexes))
        }

        #[inline(always)]
        fn lookup_zero(self) -> [__m512i; 2] {
            avx512!([_mm512_setzero_si512(); 2])
        }

        #[inline(always)]
        fn lookup_add(self, [all, high]: [__m512i; 2], bytes: __m512i) -> [__m512i; 2] {
            avx512!([_mm512_add_epi16(all, bytes), _mm512_add_epi16(high, _mm512_srli_epi16::<8>(bytes))])
        }

        #[inline(always)]
        fn lookup_double(self, [all, high]: [__m512i; 2]) -> [__m512i; 2] {
            avx512!([_mm512_add_epi16(all, all), _mm512_add_epi16(high, high)])
        }

        #[inline(always)]
        fn lookup_rows(self, low: [__m512i; 2], high: [__m512i; 2], start: i32) -> [__m512i; 8] {
            avx512!({
                let (low, high) = (fold(low), fold(high));
                let rows = _mm512_add_epi16(
                    _mm512_shuffle_i64x2::<0b10_00_10_00>(low, high),
                    _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high),
                );
                let start = _mm512_set1_epi32(start);
                let mut out = [start; 8];
                out[0] = _mm512_add_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(rows)), start);
                out[1] = _mm512_add_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(rows)), start);
                out
            })
        }

        #[inline(always)]
        fn pair_zero(self) -> __m512i {
            avx512!(_mm512_setzero_si512())
        }

        #[inline(always)]
        fn pair_add(self, sum: __m512i, bytes: __m512i) -> __m512i {
            avx512!(_mm512_add_epi16(sum, _mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1))))
        }

        #[inline(always)]
        fn pair_rows(self, [low, _]: [__m512i; 2], [high, _]: [__m512i; 2], start: i32) -> [__m512i; 8] {
            avx512!({
                let start = _mm512_set1_epi16(start as i16);
                // Rows 0 to 15 in the low half, 16 to 31 in the high one.
                let rows = _mm512_add_epi16(
                    _mm512_shuffle_i64x2::<0b01_00_01_00>(low, high),
                    _mm512_shuffle_i64x2::<0b11_10_11_10>(low, high),
                );
                let rows = _mm512_add_epi16(rows, start);
                let mut out = [start; 8];
                out[0] = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(rows));
                out[1] = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64::<1>(rows));
                out
            })
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            avx512!(_mm512_set1_ps(value))
        }

        #[inline(always)]
        unsafe fn load_floats(self, from: *const f32) -> __m512 {
            avx512!(_mm512_loadu_ps(from))
        }

        #[inline(always)]
        unsafe fn store_floats(self, to: *mut f32, value: __m512) {
            avx512!(_mm512_storeu_ps(to, value))
        }

        #[inline(always)]
        unsafe fn load_halves(self, from: *const u8) -> __m512 {
            avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
        }

        #[inline(always)]
        unsafe fn load_signed_bytes(self, from: *const i8) -> __m512 {
            avx512!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))))
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            avx512!(_mm512_add_ps(a, b))
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            avx512!(_mm512_sub_ps(a, b))
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            avx512!(_mm512_max_ps(a, b))
        }

        #[inline(always)]
        fn min(self, a: __m512, b: __m512) -> __m512 {
            avx512!(_mm512_min_ps(a, b))
        }

        #[inline(always)]
        fn sum_parts(self, a: __m512) -> __m512 {
            avx512!({
                let pairs = _mm512_add_ps(a, _mm512_permute_ps::<0b10_11_00_01>(a));
                _mm512_add_ps(pairs, _mm512_permute_ps::<0b01_00_11_10>(pairs))
            })
        }

        #[inline(always)]
        unsafe fn store_low_bytes(self, to: *mut i8, values: &[__m512; 8]) {
            avx512!({
                let first = _mm512_cvtepi32_epi8(_mm512_castps_si512(values[0]));
                let last = _mm512_cvtepi32_epi8(_mm512_castps_si512(values[1]));
                // One store for both, because `vpmovdb` to memory is slow on Zen 4.
                _mm256_storeu_si256(to.cast(), _mm256_set_m128i(last, first))
            })
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            avx512!(_mm512_mul_ps(a, b))
        }

        #[inline(always)]
        fn prefetch(self, from: *const u8) {
            avx512!(_mm_prefetch::<_MM_HINT_T0>(from.cast()))
        }

        #[inline(always)]
        fn weights_ahead(self) -> usize {
            self.0.bytes()
        }

        #[inline(always)]
        fn prefetch_weights(self, from: *const u8) {
            avx512!(_mm_prefetch::<_MM_HINT_T1>(from.cast()))
        }

        #[inline(always)]
        unsafe fn load_ints(self, from: *const i32) -> __m512i {
            avx512!(_mm512_loadu_si512(from.cast()))
        }

        #[inline(always)]
        unsafe fn store_ints(self, to: *mut i32, ints: __m512i) {
            avx512!(_mm512_storeu_si512(to.cast(), ints))
        }

        #[inline(always)]
        fn add_ints(self, a: __m512i, b: __m512i) -> __m512i {
            avx512!(_mm512_add_epi32(a, b))
        }

        #[inline(always)]
        fn sub_ints(self, a: __m512i, b: __m512i) -> __m512i {
            avx512!(_mm512_sub_epi32(a, b))
        }

        #[inline(always)]
        fn refine(self, coarse: __m512i, fine: __m512i) -> __m512i {
            avx512!(_mm512_add_epi32(_mm512_slli_epi32::<6>(coarse), fine))
        }

        #[inline(always)]
        fn to_floats(self, ints: __m512i) -> __m512 {
            avx512!(_mm512_cvtepi32_ps(ints))
        }
    };
}

// SAFETY: loads and stores are of 64 bytes, of 32 for halves and low bytes, of 16 for signed and repeated bytes and of 4
// for a quad.
unsafe impl Isa for Avx512 {
    shared!();

    #[inline(always)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2")]
        fn inner<J: Job<Avx512>>(isa: Avx512, job: J) -> J::Output {
            job.run(isa)
        }
        avx512!(inner(self, job))
    }
}

// SAFETY: the same.
unsafe impl Isa for Avx512Vbmi {
    shared!();

    #[inline(always)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,avx2")]
        fn inner<J: Job<Avx512Vbmi>>(isa: Avx512Vbmi, job: J) -> J::Output {
            job.run(isa)
        }
        avx512!(inner(self, job))
    }
}

// SAFETY: it overrides no operation.
unsafe impl Blocks for Avx512 {}

/// Sums of the low and of the high bytes side by side, with the first two of the four 128-bit parts added to the last two: 4
/// shuffles fewer than folding the registers one by one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn fold([all, odd]: [__m512i; 2]) -> __m512i {
    let even = _mm512_sub_epi16(all, _mm512_slli_epi16::<8>(odd));
    _mm512_add_epi16(
        _mm512_shuffle_i64x2::<0b01_00_01_00>(even, odd),
        _mm512_shuffle_i64x2::<0b11_10_11_10>(even, odd),
    )
}
