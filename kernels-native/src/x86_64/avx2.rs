//! AVX2: 256-bit registers, `vpshufb` for lookups, `vpmaddubsw` for dot products.

use super::ahead::Ahead;
use edgellm_kernels::{BlockTables, Blocks, Isa, Job};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2 and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(Ahead);

impl Avx2 {
    /// The proof, if the CPU has the features.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")).then(|| Avx2(Ahead::detect()))
    }
}

/// Everything below needs AVX2 and F16C.
macro_rules! avx2 {
    ($body:expr) => {
        // SAFETY: `self` proves the features, see `Avx2::detect`; an operation that accesses memory is an `unsafe fn`, and
        // accesses no more than its contract grants.
        unsafe { $body }
    };
}

// SAFETY: loads and stores are of 32 bytes, of 16 for halves and repeated bytes, of 8 for signed bytes and of 4 for a quad.
unsafe impl Isa for Avx2 {
    const WIDTH: usize = 32;
    const LANES_FROM: usize = 10;
    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;
    type Quad = __m256i;
    /// 16-bit sums of pairs, see [`Isa::small_dot`].
    type SmallSum = __m256i;
    type ByteSum = __m256i;
    /// The sums of bytes added as 16-bit lanes, and those of their high bytes alone: the low bytes' sums are the first minus
    /// 256 times the second. Two additions and a shift, where widening would take two shuffles and two additions.
    type LookupSum = [__m256i; 2];
    type PairSum = __m256i;

    #[inline(always)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx2,f16c")]
        fn inner<J: Job<Avx2>>(isa: Avx2, job: J) -> J::Output {
            job.run(isa)
        }
        avx2!(inner(self, job))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m256i {
        avx2!(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, bytes: __m256i) {
        avx2!(_mm256_storeu_si256(to.cast(), bytes))
    }

    #[inline(always)]
    unsafe fn load_repeated(self, from: *const u8) -> __m256i {
        avx2!(_mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn load_pair_tables(self, from: *const u8) -> __m256i {
        avx2!(_mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    fn add_bit(self, bytes: __m256i, flags: __m256i, mask: __m256i) -> __m256i {
        avx2!(_mm256_sub_epi8(bytes, _mm256_cmpeq_epi8(_mm256_and_si256(flags, mask), mask)))
    }

    #[inline(always)]
    fn append_bit(self, bytes: __m256i, flags: __m256i, mask: __m256i) -> __m256i {
        // A byte of the mask has one bit, so `flags & mask` is either 0 or equal to it; the comparison gives -1.
        avx2!({
            let common = _mm256_cmpeq_epi8(_mm256_and_si256(flags, mask), mask);
            _mm256_sub_epi8(_mm256_add_epi8(bytes, bytes), common)
        })
    }

    #[inline(always)]
    fn insert(self, codes: __m256i, field: __m256i, from: u32, to: u32, width: u32) -> __m256i {
        // What crosses from one byte of a lane to the other is masked. With constant counts these are shifts by immediates.
        avx2!({
            let moved = if to >= from {
                _mm256_sll_epi16(field, _mm_cvtsi32_si128((to - from) as i32))
            } else {
                _mm256_srl_epi16(field, _mm_cvtsi32_si128((from - to) as i32))
            };
            let mask = _mm256_set1_epi8((((1u32 << width) - 1) << to) as i8);
            _mm256_or_si256(codes, _mm256_and_si256(moved, mask))
        })
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: __m256i) -> __m256i {
        avx2!(_mm256_and_si256(bytes, _mm256_set1_epi8(15)))
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: __m256i) -> __m256i {
        avx2!(_mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15)))
    }

    #[inline(always)]
    unsafe fn quad(self, from: *const i8) -> __m256i {
        avx2!(_mm256_set1_epi32(from.cast::<i32>().read_unaligned()))
    }

    #[inline(always)]
    fn small_zero(self) -> __m256i {
        avx2!(_mm256_setzero_si256())
    }

    #[inline(always)]
    fn small_dot(self, sum: __m256i, codes: __m256i, quad: __m256i) -> __m256i {
        avx2!(_mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, quad)))
    }

    #[inline(always)]
    fn small_total(self, sum: __m256i, start: i32) -> __m256i {
        avx2!(_mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), _mm256_set1_epi32(start)))
    }

    #[inline(always)]
    fn byte_zero(self) -> __m256i {
        avx2!(_mm256_setzero_si256())
    }

    #[inline(always)]
    fn byte_dot(self, sum: __m256i, codes: __m256i, quad: __m256i) -> __m256i {
        // Does not saturate: the activations' bound keeps a pair's sum within 255 * 127.
        avx2!(_mm256_add_epi32(
            sum,
            _mm256_madd_epi16(_mm256_maddubs_epi16(codes, quad), _mm256_set1_epi16(1))
        ))
    }

    #[inline(always)]
    fn byte_total(self, sum: __m256i, start: i32) -> __m256i {
        avx2!(_mm256_add_epi32(sum, _mm256_set1_epi32(start)))
    }

    #[inline(always)]
    fn lookup(self, tables: __m256i, indexes: __m256i) -> __m256i {
        avx2!(_mm256_shuffle_epi8(tables, indexes))
    }

    #[inline(always)]
    fn lookup_zero(self) -> [__m256i; 2] {
        avx2!([_mm256_setzero_si256(); 2])
    }

    #[inline(always)]
    fn lookup_add(self, [all, high]: [__m256i; 2], bytes: __m256i) -> [__m256i; 2] {
        avx2!([_mm256_add_epi16(all, bytes), _mm256_add_epi16(high, _mm256_srli_epi16::<8>(bytes))])
    }

    #[inline(always)]
    fn lookup_double(self, [all, high]: [__m256i; 2]) -> [__m256i; 2] {
        avx2!([_mm256_add_epi16(all, all), _mm256_add_epi16(high, high)])
    }

    #[inline(always)]
    fn lookup_rows(self, low: [__m256i; 2], high: [__m256i; 2], start: i32) -> [__m256i; 8] {
        avx2!({
            let start = _mm256_set1_epi32(start);
            let mut out = [start; 8];
            out[..4].copy_from_slice(&[
                rows(even(low), start),
                rows(low[1], start),
                rows(even(high), start),
                rows(high[1], start),
            ]);
            out
        })
    }

    #[inline(always)]
    fn pair_zero(self) -> __m256i {
        avx2!(_mm256_setzero_si256())
    }

    #[inline(always)]
    fn pair_add(self, sum: __m256i, bytes: __m256i) -> __m256i {
        avx2!(_mm256_add_epi16(sum, _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1))))
    }

    #[inline(always)]
    fn pair_rows(self, [low, _]: [__m256i; 2], [high, _]: [__m256i; 2], start: i32) -> [__m256i; 8] {
        avx2!({
            let start = _mm256_set1_epi16(start as i16);
            let (low, high) = (_mm256_add_epi16(low, start), _mm256_add_epi16(high, start));
            let mut out = [start; 8];
            out[0] = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(low));
            out[1] = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(low));
            out[2] = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(high));
            out[3] = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(high));
            out
        })
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        avx2!(_mm256_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> __m256 {
        avx2!(_mm256_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: __m256) {
        avx2!(_mm256_storeu_ps(to, value))
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u8) -> __m256 {
        avx2!(_mm256_cvtph_ps(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn load_signed_bytes(self, from: *const i8) -> __m256 {
        avx2!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))))
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn sum_parts(self, a: __m256) -> __m256 {
        avx2!({
            let pairs = _mm256_add_ps(a, _mm256_permute_ps::<0b10_11_00_01>(a));
            _mm256_add_ps(pairs, _mm256_permute_ps::<0b01_00_11_10>(pairs))
        })
    }

    #[inline(always)]
    unsafe fn store_low_bytes(self, to: *mut i8, values: &[__m256; 8]) {
        avx2!({
            let low = _mm256_set1_epi32(255);
            let a = _mm256_and_si256(_mm256_castps_si256(values[0]), low);
            let b = _mm256_and_si256(_mm256_castps_si256(values[1]), low);
            let c = _mm256_and_si256(_mm256_castps_si256(values[2]), low);
            let d = _mm256_and_si256(_mm256_castps_si256(values[3]), low);
            let bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
            let in_order = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            _mm256_storeu_si256(to.cast(), in_order)
        })
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        avx2!(_mm_prefetch::<_MM_HINT_T0>(from.cast()))
    }

    #[inline(always)]
    fn weights_ahead(self) -> usize {
        self.0.bytes()
    }

    #[inline(always)]
    fn prefetch_weights(self, from: *const u8) {
        avx2!(_mm_prefetch::<_MM_HINT_T1>(from.cast()))
    }

    #[inline(always)]
    unsafe fn load_ints(self, from: *const i32) -> __m256i {
        avx2!(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    unsafe fn store_ints(self, to: *mut i32, ints: __m256i) {
        avx2!(_mm256_storeu_si256(to.cast(), ints))
    }

    #[inline(always)]
    fn add_ints(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn sub_ints(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_sub_epi32(a, b))
    }

    #[inline(always)]
    fn refine(self, coarse: __m256i, fine: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(_mm256_slli_epi32::<6>(coarse), fine))
    }

    #[inline(always)]
    fn to_floats(self, ints: __m256i) -> __m256 {
        avx2!(_mm256_cvtepi32_ps(ints))
    }
}

// SAFETY: `binary_block` loads four registers of 32 bytes from each 128 bytes that its contract grants.
unsafe impl Blocks for Avx2 {
    const TOKEN_BY_TOKEN: bool = true;

    #[inline(always)]
    unsafe fn binary_block(self, codes: *const u8, tables: BlockTables) -> [__m256i; 8] {
        avx2!({
            let BlockTables { digits, starts, refined } = tables;
            if refined {
                let [mut rows, fine] = averaged(codes, digits, starts);
                for (row, fine) in rows.iter_mut().zip(fine).take(4) {
                    *row = self.refine(*row, fine);
                }
                rows
            } else {
                let [rows] = averaged(codes, [digits[0]], [starts[0]]);
                rows
            }
        })
    }
}

/// The sums over some digits of a block of binary codes. No byte is widened before the end: what is summed is bytes modulo 256
/// and, in a tree of rounded averages, an eighth of the sum. That eighth, times 8, is at most 12 above the sum, so both
/// together tell it. Two operations for each register that is looked up, where widening takes three.
///
/// # Safety
/// 128 bytes are readable at `codes`, and 128 at each digit. The CPU has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn averaged<const DIGITS: usize>(
    codes: *const u8,
    digits: [*const u8; DIGITS],
    starts: [i32; DIGITS],
) -> [[__m256i; 8]; DIGITS] {
    // SAFETY: `at` is at most 96, so each load of 32 bytes is within 128.
    unsafe {
        let nibble = _mm256_set1_epi8(15);
        let load = |from: *const u8, at: usize| _mm256_loadu_si256(from.add(at).cast());
        let packed = [load(codes, 0), load(codes, 32), load(codes, 64), load(codes, 96)];
        let mut indexes = [[nibble; 4]; 2];
        for (i, &packed) in packed.iter().enumerate() {
            indexes[0][i] = _mm256_and_si256(packed, nibble);
            indexes[1][i] = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), nibble);
        }
        let mut all = [[nibble; 8]; DIGITS];
        for ((rows, digit), start) in all.iter_mut().zip(digits).zip(starts) {
            // Of the low and of the high nibbles: a quarter of the sum, and the sum modulo 256.
            let mut halves = [[nibble; 2]; 2];
            for (half, indexes) in halves.iter_mut().zip(indexes) {
                let a = _mm256_shuffle_epi8(load(digit, 0), indexes[0]);
                let b = _mm256_shuffle_epi8(load(digit, 32), indexes[1]);
                let c = _mm256_shuffle_epi8(load(digit, 64), indexes[2]);
                let d = _mm256_shuffle_epi8(load(digit, 96), indexes[3]);
                half[0] = _mm256_avg_epu8(_mm256_avg_epu8(a, b), _mm256_avg_epu8(c, d));
                half[1] = _mm256_add_epi8(_mm256_add_epi8(a, b), _mm256_add_epi8(c, d));
            }
            // Rows 0 to 15 in the first part, rows 16 to 31 in the second.
            let [[low, low_sum], [high, high_sum]] = halves;
            let eighth = _mm256_avg_epu8(
                _mm256_permute2x128_si256::<0x20>(low, high),
                _mm256_permute2x128_si256::<0x31>(low, high),
            );
            let sum = _mm256_add_epi8(
                _mm256_permute2x128_si256::<0x20>(low_sum, high_sum),
                _mm256_permute2x128_si256::<0x31>(low_sum, high_sum),
            );
            let times_8 = _mm256_and_si256(_mm256_slli_epi16::<3>(eighth), _mm256_set1_epi8(-8));
            let above = _mm256_sub_epi8(times_8, sum);
            // Byte 2i is of row i, byte 2i + 1 of row 8 + i.
            let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
            ));
            let (eighth, above) = (_mm256_shuffle_epi8(eighth, order), _mm256_shuffle_epi8(above, order));
            // A code is twice its bit: 16 times the eighth less 2 times what is above.
            let weights = _mm256_set1_epi16(i16::from_le_bytes([16, -2i8 as u8]));
            let start = _mm256_set1_epi16(start as i16);
            let first = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(eighth, above), weights);
            let last = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(eighth, above), weights);
            let (first, last) = (_mm256_add_epi16(first, start), _mm256_add_epi16(last, start));
            rows[0] = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(first));
            rows[1] = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(last));
            rows[2] = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(first));
            rows[3] = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(last));
        }
        all
    }
}

/// The sum of both 128-bit parts of 16-bit sums, widened, plus `start`.
#[inline]
#[target_feature(enable = "avx2")]
fn rows(sums: __m256i, start: __m256i) -> __m256i {
    let sums = _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    _mm256_add_epi32(_mm256_cvtepu16_epi32(sums), start)
}

/// The sums of the low bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn even([all, odd]: [__m256i; 2]) -> __m256i {
    _mm256_sub_epi16(all, _mm256_slli_epi16::<8>(odd))
}
