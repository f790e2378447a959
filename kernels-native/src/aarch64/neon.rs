//! NEON: 128-bit registers, `tbl` for lookups; dot products by `smlal`, or by `sdot` where the CPU has it
//! (Cortex-A55, A75 and later; not the Pi 3, Zero 2 W and 4).
//! Measurements: docs/experiments/arm-kernels.md.

use edgellm_kernels::{Blocks, Isa, Job};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

/// Proof that the CPU has NEON and the dot-product extension.
#[derive(Clone, Copy, Debug)]
pub struct Dotprod(());

impl Neon {
    /// The proof, if the CPU has the feature.
    pub fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }
}

impl Dotprod {
    /// The proof, if the CPU has the features.
    pub fn detect() -> Option<Self> {
        let both = std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod");
        both.then_some(Dotprod(()))
    }
}

/// Everything below needs NEON, and some of [`Dotprod`] the dot-product extension.
macro_rules! neon {
    ($body:expr) => {
        // SAFETY: `self`, or that of the calling operation, proves the features, see `detect` of its type; an operation
        // that accesses memory is an `unsafe fn`, and accesses no more than its contract grants.
        unsafe { $body }
    };
}

/// Instructions whose intrinsics the compiler replaces by several: `smlal2` and `smull2`, with a register that has equal
/// halves or does not change in a loop, by `ext` and `smlal`; `addp` by two `uzp` and an `add`. Written as assembly they
/// save a sixth of the instructions of an int4 product (benches/arm_model.py).
macro_rules! instruction {
    ($text:literal, $type:ty, $a:expr, $b:expr) => {{
        let result: $type;
        asm!($text, out(vreg) result, in(vreg) $a, in(vreg) $b, options(pure, nomem, nostack, preserves_flags));
        result
    }};
}

/// The vector operations that both instances share.
macro_rules! shared {
    () => {
        const WIDTH: usize = 16;
        const REGISTERS: usize = 32;
        /// Dot products are signed here, so byte codes are read as code - 128.
        const BYTE_OFFSET: i32 = -128;
        type Bytes = uint8x16_t;
        type Ints = int32x4_t;
        type Floats = float32x4_t;
        type Quad = int8x16_t;
        /// 16-bit sums of bytes 0 to 7 and of bytes 8 to 15.
        type LookupSum = [uint16x8_t; 2];
        type PairSum = uint16x8_t;

        #[inline(always)]
        unsafe fn load(self, from: *const u8) -> uint8x16_t {
            neon!(vld1q_u8(from))
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u8, bytes: uint8x16_t) {
            neon!(vst1q_u8(to, bytes))
        }

        #[inline(always)]
        unsafe fn load_repeated(self, from: *const u8) -> uint8x16_t {
            neon!(vld1q_u8(from))
        }

        #[inline(always)]
        unsafe fn load_pair_tables(self, from: *const u8) -> uint8x16_t {
            neon!(vld1q_u8(from))
        }

        #[inline(always)]
        fn add_bit(self, bytes: uint8x16_t, flags: uint8x16_t, mask: uint8x16_t) -> uint8x16_t {
            neon!(vsubq_u8(bytes, vtstq_u8(flags, mask)))
        }

        #[inline(always)]
        fn append_bit(self, bytes: uint8x16_t, flags: uint8x16_t, mask: uint8x16_t) -> uint8x16_t {
            neon!(vsubq_u8(vaddq_u8(bytes, bytes), vtstq_u8(flags, mask)))
        }

        #[inline(always)]
        fn insert(
            self,
            codes: uint8x16_t,
            field: uint8x16_t,
            from: u32,
            to: u32,
            width: u32,
        ) -> uint8x16_t {
            neon!({
                let moved = vshlq_u8(field, vdupq_n_s8(to as i8 - from as i8)); // right, if negative
                vorrq_u8(codes, vandq_u8(moved, vdupq_n_u8((((1u32 << width) - 1) << to) as u8)))
            })
        }

        #[inline(always)]
        fn low_nibbles(self, bytes: uint8x16_t) -> uint8x16_t {
            neon!(vandq_u8(bytes, vdupq_n_u8(15)))
        }

        #[inline(always)]
        fn high_nibbles(self, bytes: uint8x16_t) -> uint8x16_t {
            neon!(vshrq_n_u8::<4>(bytes))
        }

        #[inline(always)]
        unsafe fn quad(self, from: *const i8) -> int8x16_t {
            neon!(vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())))
        }

        #[inline(always)]
        fn lookup(self, tables: uint8x16_t, indexes: uint8x16_t) -> uint8x16_t {
            neon!(vqtbl1q_u8(tables, indexes))
        }

        #[inline(always)]
        fn lookup_zero(self) -> [uint16x8_t; 2] {
            neon!([vdupq_n_u16(0); 2])
        }

        #[inline(always)]
        fn lookup_add(self, [first, last]: [uint16x8_t; 2], bytes: uint8x16_t) -> [uint16x8_t; 2] {
            neon!([vaddw_u8(first, vget_low_u8(bytes)), vaddw_high_u8(last, bytes)])
        }

        #[inline(always)]
        fn lookup_double(self, [first, last]: [uint16x8_t; 2]) -> [uint16x8_t; 2] {
            neon!([vaddq_u16(first, first), vaddq_u16(last, last)])
        }

        #[inline(always)]
        fn lookup_rows(self, low: [uint16x8_t; 2], high: [uint16x8_t; 2], start: i32) -> [int32x4_t; 8] {
            neon!({
                let start = vdupq_n_s32(start);
                let rows = |sums: uint16x8_t| {
                    let first = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(sums)));
                    let last = vreinterpretq_s32_u32(vmovl_high_u16(sums));
                    [vaddq_s32(first, start), vaddq_s32(last, start)]
                };
                let [a, b] = rows(vuzp1q_u16(low[0], low[1]));
                let [c, d] = rows(vuzp2q_u16(low[0], low[1]));
                let [e, f] = rows(vuzp1q_u16(high[0], high[1]));
                let [g, h] = rows(vuzp2q_u16(high[0], high[1]));
                [a, b, c, d, e, f, g, h]
            })
        }

        #[inline(always)]
        fn pair_zero(self) -> uint16x8_t {
            neon!(vdupq_n_u16(0))
        }

        #[inline(always)]
        fn pair_add(self, sum: uint16x8_t, bytes: uint8x16_t) -> uint16x8_t {
            neon!(vpadalq_u8(sum, bytes))
        }

        #[inline(always)]
        fn pair_rows(self, low: [uint16x8_t; 2], high: [uint16x8_t; 2], start: i32) -> [int32x4_t; 8] {
            neon!({
                let start = vdupq_n_s16(start as i16);
                let rows = |sums: uint16x8_t| {
                    let sums = vaddq_s16(vreinterpretq_s16_u16(sums), start);
                    [vmovl_s16(vget_low_s16(sums)), vmovl_high_s16(sums)]
                };
                let ([a, b], [c, d]) = (rows(low[0]), rows(low[1]));
                let ([e, f], [g, h]) = (rows(high[0]), rows(high[1]));
                [a, b, c, d, e, f, g, h]
            })
        }

        #[inline(always)]
        fn splat(self, value: f32) -> float32x4_t {
            neon!(vdupq_n_f32(value))
        }

        #[inline(always)]
        unsafe fn load_floats(self, from: *const f32) -> float32x4_t {
            neon!(vld1q_f32(from))
        }

        #[inline(always)]
        unsafe fn store_floats(self, to: *mut f32, value: float32x4_t) {
            neon!(vst1q_f32(to, value))
        }

        #[inline(always)]
        unsafe fn load_halves(self, from: *const u8) -> float32x4_t {
            neon!({
                let halves = vld1_u16(from.cast());
                let floats: float32x4_t;
                // This instruction is part of the baseline, but its intrinsic needs a type that is not stable yet.
                asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) floats, in(vreg) halves,
                     options(pure, nomem, nostack, preserves_flags));
                floats
            })
        }

        #[inline(always)]
        unsafe fn load_signed_bytes(self, from: *const i8) -> float32x4_t {
            neon!({
                let bytes = vreinterpret_s8_s32(vdup_n_s32(from.cast::<i32>().read_unaligned()));
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))
            })
        }

        #[inline(always)]
        fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            neon!(vaddq_f32(a, b))
        }

        #[inline(always)]
        fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            neon!(vsubq_f32(a, b))
        }

        #[inline(always)]
        fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            neon!(vbslq_f32(vcgtq_f32(a, b), a, b)) // `fmax` would give NaN
        }

        #[inline(always)]
        fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            neon!(vbslq_f32(vcltq_f32(a, b), a, b))
        }

        #[inline(always)]
        fn sum_parts(self, a: float32x4_t) -> float32x4_t {
            neon!({
                let pairs = vaddq_f32(a, vrev64q_f32(a));
                vaddq_f32(pairs, vextq_f32::<2>(pairs, pairs))
            })
        }

        #[inline(always)]
        unsafe fn store_low_bytes(self, to: *mut i8, values: &[float32x4_t; 8]) {
            neon!(for (half, [a, b, c, d]) in values.as_chunks::<4>().0.iter().enumerate() {
                let ab = vuzp1q_u16(vreinterpretq_u16_f32(*a), vreinterpretq_u16_f32(*b));
                let cd = vuzp1q_u16(vreinterpretq_u16_f32(*c), vreinterpretq_u16_f32(*d));
                let bytes = vuzp1q_u8(vreinterpretq_u8_u16(ab), vreinterpretq_u8_u16(cd));
                vst1q_u8(to.add(16 * half).cast(), bytes);
            })
        }

        #[inline(always)]
        fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            neon!(vmulq_f32(a, b))
        }

        #[inline(always)]
        fn prefetch(self, from: *const u8) {
            // A hint: no address can fault.
            neon!(asm!("prfm pldl1keep, [{}]", in(reg) from, options(readonly, nostack, preserves_flags)))
        }

        #[inline(always)]
        unsafe fn load_ints(self, from: *const i32) -> int32x4_t {
            neon!(vld1q_s32(from))
        }

        #[inline(always)]
        unsafe fn store_ints(self, to: *mut i32, ints: int32x4_t) {
            neon!(vst1q_s32(to, ints))
        }

        #[inline(always)]
        fn add_ints(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
            neon!(vaddq_s32(a, b))
        }

        #[inline(always)]
        fn sub_ints(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
            neon!(vsubq_s32(a, b))
        }

        #[inline(always)]
        fn refine(self, coarse: int32x4_t, fine: int32x4_t) -> int32x4_t {
            neon!(vaddq_s32(vshlq_n_s32::<6>(coarse), fine))
        }

        #[inline(always)]
        fn to_floats(self, ints: int32x4_t) -> float32x4_t {
            neon!(vcvtq_f32_s32(ints))
        }
    };
}

// SAFETY: loads and stores are of 16 bytes, of 8 for halves, of 4 for a quad or signed bytes, of 32 for low bytes.
unsafe impl Isa for Neon {
    /// 16-bit products of bytes 0 to 7 and of bytes 8 to 15, see [`Isa::small_dot`].
    type SmallSum = [int16x8_t; 2];
    /// 32-bit sums of pairs of bytes 0 to 7 and of bytes 8 to 15.
    type ByteSum = [int32x4_t; 2];

    shared!();

    #[inline(always)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        job.run(self) // NEON is part of the aarch64 baseline
    }

    #[inline(always)]
    fn small_zero(self) -> [int16x8_t; 2] {
        neon!([vdupq_n_s16(0); 2])
    }

    #[inline(always)]
    fn small_dot(self, [first, last]: [int16x8_t; 2], codes: uint8x16_t, quad: int8x16_t) -> [int16x8_t; 2] {
        neon!({
            let codes = vreinterpretq_s8_u8(codes);
            [vmlal_s8(first, vget_low_s8(codes), vget_low_s8(quad)), smlal2(last, codes, quad)]
        })
    }

    #[inline(always)]
    fn small_total(self, [first, last]: [int16x8_t; 2], start: i32) -> int32x4_t {
        neon!({
            // Sums of pairs fit 16 bits as well: each pair is one of a group of activations.
            let pairs = instruction!("addp {0:v}.8h, {1:v}.8h, {2:v}.8h", int16x8_t, first, last);
            vpadalq_s16(vdupq_n_s32(start), pairs)
        })
    }

    #[inline(always)]
    fn byte_zero(self) -> [int32x4_t; 2] {
        neon!([vdupq_n_s32(0); 2])
    }

    #[inline(always)]
    fn byte_dot(self, [first, last]: [int32x4_t; 2], codes: uint8x16_t, quad: int8x16_t) -> [int32x4_t; 2] {
        neon!({
            let codes = signed(codes);
            let low = vmull_s8(vget_low_s8(codes), vget_low_s8(quad));
            let high = smull2(codes, quad);
            [vpadalq_s16(first, low), vpadalq_s16(last, high)]
        })
    }

    #[inline(always)]
    fn byte_dot_pair(
        self,
        [first, last]: [int32x4_t; 2],
        [a, b]: [uint8x16_t; 2],
        [x, y]: [int8x16_t; 2],
    ) -> [int32x4_t; 2] {
        neon!({
            let (a, b) = (signed(a), signed(b));
            // Two products fit 16 bits: 2 * 128 * 127 < 2^15.
            let low = vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(x)), vget_low_s8(b), vget_low_s8(y));
            let high = smlal2(smull2(a, x), b, y);
            [vpadalq_s16(first, low), vpadalq_s16(last, high)]
        })
    }

    #[inline(always)]
    fn byte_total(self, [first, last]: [int32x4_t; 2], start: i32) -> int32x4_t {
        neon!(vaddq_s32(
            instruction!("addp {0:v}.4s, {1:v}.4s, {2:v}.4s", int32x4_t, first, last),
            vdupq_n_s32(start)
        ))
    }
}

// SAFETY: loads and stores are of 16 bytes, of 8 for halves, of 4 for a quad or signed bytes, of 32 for low bytes.
unsafe impl Isa for Dotprod {
    type SmallSum = int32x4_t;
    type ByteSum = int32x4_t;

    shared!();

    #[inline(always)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        #[target_feature(enable = "dotprod")]
        fn inner<J: Job<Dotprod>>(isa: Dotprod, job: J) -> J::Output {
            job.run(isa)
        }
        neon!(inner(self, job))
    }

    #[inline(always)]
    fn small_zero(self) -> int32x4_t {
        neon!(vdupq_n_s32(0))
    }

    #[inline(always)]
    fn small_dot(self, sum: int32x4_t, codes: uint8x16_t, quad: int8x16_t) -> int32x4_t {
        neon!(sdot(sum, codes, quad))
    }

    #[inline(always)]
    fn small_total(self, sum: int32x4_t, start: i32) -> int32x4_t {
        neon!(vaddq_s32(sum, vdupq_n_s32(start)))
    }

    #[inline(always)]
    fn byte_zero(self) -> int32x4_t {
        neon!(vdupq_n_s32(0))
    }

    #[inline(always)]
    fn byte_dot(self, sum: int32x4_t, codes: uint8x16_t, quad: int8x16_t) -> int32x4_t {
        neon!(sdot(sum, vreinterpretq_u8_s8(signed(codes)), quad))
    }

    #[inline(always)]
    fn byte_total(self, sum: int32x4_t, start: i32) -> int32x4_t {
        neon!(vaddq_s32(sum, vdupq_n_s32(start)))
    }
}

// SAFETY: it overrides no operation.
unsafe impl Blocks for Neon {}

// SAFETY: it overrides no operation.
unsafe impl Blocks for Dotprod {}

/// Products of bytes 8 to 15.
#[inline(always)]
fn smull2(a: int8x16_t, b: int8x16_t) -> int16x8_t {
    neon!(instruction!("smull2 {0:v}.8h, {1:v}.16b, {2:v}.16b", int16x8_t, a, b))
}

/// Products of bytes 8 to 15, added to `sum`.
#[inline(always)]
fn smlal2(mut sum: int16x8_t, a: int8x16_t, b: int8x16_t) -> int16x8_t {
    neon!({
        asm!("smlal2 {0:v}.8h, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
        sum
    })
}

/// Byte codes minus 128.
#[inline(always)]
fn signed(codes: uint8x16_t) -> int8x16_t {
    neon!(vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(128))))
}

/// `sdot`; its intrinsic is not stable yet.
///
/// # Safety
/// The CPU has the dot-product extension.
#[inline]
#[target_feature(enable = "dotprod")]
unsafe fn sdot(mut sum: int32x4_t, codes: uint8x16_t, quad: int8x16_t) -> int32x4_t {
    // SAFETY: the CPU has the instruction, which accesses these registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) codes, in(vreg) quad,
             options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
