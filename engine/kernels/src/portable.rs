//! Plain Rust on registers of 16 bytes: for every CPU, and what other instances are compared with.

use crate::blocks::Blocks;
use crate::half::f16_to_f32;
use crate::isa::{Isa, Job};

/// Plain Rust, which needs no CPU feature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

// SAFETY: loads and stores are of 16 bytes, of 8 for halves, of 4 for a quad or signed bytes, of 32 for low bytes.
unsafe impl Isa for Portable {
    const WIDTH: usize = 16;
    type Bytes = [u8; 16];
    type Ints = [i32; 4];
    type Floats = [f32; 4];
    type Quad = [i8; 4];
    type SmallSum = [i32; 4];
    type ByteSum = [i32; 4];
    type LookupSum = [u16; 16];
    type PairSum = [u16; 8];
    const LANES_FROM: usize = 10;

    #[inline(always)]
    fn enter<J: Job<Self>>(self, job: J) -> J::Output {
        job.run(self)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> [u8; 16] {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { from.cast::<[u8; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, bytes: [u8; 16]) {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { to.cast::<[u8; 16]>().write_unaligned(bytes) }
    }

    #[inline(always)]
    unsafe fn load_repeated(self, from: *const u8) -> [u8; 16] {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn load_pair_tables(self, from: *const u8) -> [u8; 16] {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    fn add_bit(self, bytes: [u8; 16], flags: [u8; 16], mask: [u8; 16]) -> [u8; 16] {
        std::array::from_fn(|i| bytes[i] + u8::from(flags[i] & mask[i] != 0))
    }

    #[inline(always)]
    fn append_bit(self, bytes: [u8; 16], flags: [u8; 16], mask: [u8; 16]) -> [u8; 16] {
        std::array::from_fn(|i| bytes[i].wrapping_mul(2) + u8::from(flags[i] & mask[i] != 0))
    }

    #[inline(always)]
    fn insert(self, codes: [u8; 16], field: [u8; 16], from: u32, to: u32, width: u32) -> [u8; 16] {
        std::array::from_fn(|i| codes[i] | (field[i] >> from & ((1 << width) - 1)) << to)
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: [u8; 16]) -> [u8; 16] {
        bytes.map(|byte| byte & 15)
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: [u8; 16]) -> [u8; 16] {
        bytes.map(|byte| byte >> 4)
    }

    #[inline(always)]
    unsafe fn quad(self, from: *const i8) -> [i8; 4] {
        // SAFETY: 4 bytes, as the contract grants.
        unsafe { from.cast::<[i8; 4]>().read_unaligned() }
    }

    #[inline(always)]
    fn small_zero(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn small_dot(self, sum: [i32; 4], codes: [u8; 16], quad: [i8; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| {
            (0..4).fold(sum[lane], |sum, j| sum + i32::from(codes[4 * lane + j]) * i32::from(quad[j]))
        })
    }

    #[inline(always)]
    fn small_total(self, sum: [i32; 4], start: i32) -> [i32; 4] {
        sum.map(|sum| sum + start)
    }

    #[inline(always)]
    fn byte_zero(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn byte_dot(self, sum: [i32; 4], codes: [u8; 16], quad: [i8; 4]) -> [i32; 4] {
        self.small_dot(sum, codes, quad)
    }

    #[inline(always)]
    fn byte_total(self, sum: [i32; 4], start: i32) -> [i32; 4] {
        self.small_total(sum, start)
    }

    #[inline(always)]
    fn lookup(self, tables: [u8; 16], indexes: [u8; 16]) -> [u8; 16] {
        indexes.map(|index| tables[usize::from(index & 15)])
    }

    #[inline(always)]
    fn lookup_zero(self) -> [u16; 16] {
        [0; 16]
    }

    #[inline(always)]
    fn lookup_add(self, sum: [u16; 16], bytes: [u8; 16]) -> [u16; 16] {
        std::array::from_fn(|i| sum[i] + u16::from(bytes[i]))
    }

    #[inline(always)]
    fn lookup_double(self, sum: [u16; 16]) -> [u16; 16] {
        sum.map(|sum| 2 * sum)
    }

    #[inline(always)]
    fn lookup_rows(self, low: [u16; 16], high: [u16; 16], start: i32) -> [[i32; 4]; 8] {
        std::array::from_fn(|register| {
            let half = if register < 4 { low } else { high };
            std::array::from_fn(|lane| {
                let i = 4 * (register % 4) + lane;
                i32::from(half[if i < 8 { 2 * i } else { 2 * (i - 8) + 1 }]) + start
            })
        })
    }

    #[inline(always)]
    fn pair_zero(self) -> [u16; 8] {
        [0; 8]
    }

    #[inline(always)]
    fn pair_add(self, sum: [u16; 8], bytes: [u8; 16]) -> [u16; 8] {
        std::array::from_fn(|i| sum[i] + u16::from(bytes[2 * i]) + u16::from(bytes[2 * i + 1]))
    }

    #[inline(always)]
    fn pair_rows(self, low: [[u16; 8]; 2], high: [[u16; 8]; 2], start: i32) -> [[i32; 4]; 8] {
        std::array::from_fn(|register| {
            let sums = if register < 4 { low } else { high }[register / 2 % 2];
            std::array::from_fn(|lane| i32::from(sums[4 * (register % 2) + lane]) + start)
        })
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> [f32; 4] {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: [f32; 4]) {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u8) -> [f32; 4] {
        // SAFETY: 8 bytes, as the contract grants: half of a register.
        let halves = unsafe { from.cast::<[[u8; 2]; 4]>().read_unaligned() };
        halves.map(|half| f16_to_f32(u16::from_le_bytes(half)))
    }

    #[inline(always)]
    unsafe fn load_signed_bytes(self, from: *const i8) -> [f32; 4] {
        // SAFETY: 4 bytes, as the contract grants.
        unsafe { from.cast::<[i8; 4]>().read_unaligned() }.map(f32::from)
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn max(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn min(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn sum_parts(self, [a, b, c, d]: [f32; 4]) -> [f32; 4] {
        [(a + b) + (c + d); 4]
    }

    #[inline(always)]
    unsafe fn store_low_bytes(self, to: *mut i8, values: &[[f32; 4]; 8]) {
        for (i, value) in values.iter().flatten().enumerate() {
            // SAFETY: i < 32, and the contract grants 32 bytes.
            unsafe { to.add(i).write(value.to_bits() as i8) };
        }
    }

    #[inline(always)]
    fn mul(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    unsafe fn load_ints(self, from: *const i32) -> [i32; 4] {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { from.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_ints(self, to: *mut i32, ints: [i32; 4]) {
        // SAFETY: 16 bytes, as the contract grants.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(ints) }
    }

    #[inline(always)]
    fn add_ints(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn sub_ints(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn refine(self, coarse: [i32; 4], fine: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| 64 * coarse[lane] + fine[lane])
    }

    #[inline(always)]
    fn to_floats(self, ints: [i32; 4]) -> [f32; 4] {
        ints.map(|int| int as f32)
    }
}

// SAFETY: it overrides no operation.
unsafe impl Blocks for Portable {}
