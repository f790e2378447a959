//! The vector operations that an instruction set provides. This file imports nothing of the crate: every algorithm
//! is written over [`Isa`], none is called from it.

use std::fmt::Debug;

/// Work that is compiled once for each instruction set.
pub trait Job<I: Isa> {
    /// What it returns.
    type Output;
    /// Does the work. Implementations are `#[inline(always)]`, so that they and the vector operations they call end up
    /// in the function of [`Isa::enter`] that has the CPU features enabled.
    fn run(self, isa: I) -> Self::Output;
}

/// The vector operations of an instruction set. A value of an implementing type proves that the CPU has it.
///
/// A register is [`Isa::WIDTH`] bytes wide: 16, 32 or 64. A *lane* is one of its `WIDTH / 4` 32-bit lanes, a *part* one
/// of its 128-bit parts. All results are exact and the same for every instance.
///
/// # Safety
/// An implementation must not access memory other than the bytes that the `# Safety` section of an operation grants.
pub unsafe trait Isa: Copy + Debug + Send + Sync + 'static {
    /// Bytes of a register.
    const WIDTH: usize;
    /// Number of registers, 16 or 32. With 32, loops keep twice as many sums.
    const REGISTERS: usize = 16;
    /// Of 16 tokens, from how many on products of ternary and binary codes have a lane for each of them.
    const LANES_FROM: usize = usize::MAX;
    /// What [`Isa::byte_dot`] adds to every code: 0, or -128 where the dot product takes signed bytes only, so that a
    /// code is read as code - 128.
    const BYTE_OFFSET: i32 = 0;

    /// `WIDTH` bytes.
    type Bytes: Copy;
    /// One i32 a lane.
    type Ints: Copy;
    /// One f32 a lane.
    type Floats: Copy;
    /// Four activations, the same in every lane.
    type Quad: Copy;
    /// Sums of up to 8 calls of [`Isa::small_dot`], 4 if codes are 32 or more, one a lane.
    type SmallSum: Copy;
    /// Sums of up to 8 calls of [`Isa::byte_dot`], one a lane.
    type ByteSum: Copy;
    /// Sums of up to 8 looked-up bytes, weighted by up to 15.
    type LookupSum: Copy;
    /// Sums of up to 16 looked-up bytes, two of each register.
    type PairSum: Copy;

    /// Runs a job in a function that is compiled with the instruction set's features.
    fn enter<J: Job<Self>>(self, job: J) -> J::Output;

    /// Loads a register.
    ///
    /// # Safety
    /// `WIDTH` bytes are readable at `from`.
    unsafe fn load(self, from: *const u8) -> Self::Bytes;
    /// Stores a register.
    ///
    /// # Safety
    /// `WIDTH` bytes are writable at `to`.
    unsafe fn store(self, to: *mut u8, bytes: Self::Bytes);
    /// Loads the same 16 bytes into every part.
    ///
    /// # Safety
    /// 16 bytes are readable at `from`.
    unsafe fn load_repeated(self, from: *const u8) -> Self::Bytes;
    /// Loads the tables in which a register of ternary codes is looked up: of `WIDTH / 32` LUT groups, or of one, each repeated
    /// in both parts that have its codes.
    ///
    /// # Safety
    /// `WIDTH / 2` bytes, and at least 16, are readable at `from`.
    unsafe fn load_pair_tables(self, from: *const u8) -> Self::Bytes;
    /// Adds 1 to each byte where `flags & mask` is not zero. Each byte of `mask` has one bit set.
    fn add_bit(self, bytes: Self::Bytes, flags: Self::Bytes, mask: Self::Bytes) -> Self::Bytes;
    /// Appends a bit to each byte: `2 * bytes + 1` where `flags & mask` is not zero, else `2 * bytes`. Each byte of
    /// `mask` has one bit set.
    fn append_bit(self, bytes: Self::Bytes, flags: Self::Bytes, mask: Self::Bytes) -> Self::Bytes;
    /// Adds a field to codes that have none there: bits `from..from + width` of each byte of `field` as bits
    /// `to..to + width` of a code. The numbers are constants where this is called, and `to + width <= 8`.
    fn insert(self, codes: Self::Bytes, field: Self::Bytes, from: u32, to: u32, width: u32) -> Self::Bytes;
    /// The low nibble of each byte.
    fn low_nibbles(self, bytes: Self::Bytes) -> Self::Bytes;
    /// The high nibble of each byte.
    fn high_nibbles(self, bytes: Self::Bytes) -> Self::Bytes;

    /// Broadcasts 4 activations to all lanes.
    ///
    /// # Safety
    /// 4 bytes are readable at `from`.
    unsafe fn quad(self, from: *const i8) -> Self::Quad;
    /// An empty sum.
    fn small_zero(self) -> Self::SmallSum;
    /// Adds to each lane the dot product of its 4 codes, all below 64, with the 4 activations.
    ///
    /// Sums of 16 bits suffice: since any subset of 4 activations sums to at most 127, so does any pair, and 8 * 31 * 127
    /// and 4 * 63 * 127 are below 2^15.
    fn small_dot(self, sum: Self::SmallSum, codes: Self::Bytes, quad: Self::Quad) -> Self::SmallSum;
    /// [`Isa::small_dot`] of the low nibbles to `low` and of the high nibbles to `high`.
    #[inline(always)]
    fn nibble_dot(
        self,
        [low, high]: [Self::SmallSum; 2],
        packed: Self::Bytes,
        quad: Self::Quad,
    ) -> [Self::SmallSum; 2] {
        [
            self.small_dot(low, self.low_nibbles(packed), quad),
            self.small_dot(high, self.high_nibbles(packed), quad),
        ]
    }
    /// The sums as integers, plus `start`.
    fn small_total(self, sum: Self::SmallSum, start: i32) -> Self::Ints;
    /// An empty sum.
    fn byte_zero(self) -> Self::ByteSum;
    /// Adds to each lane the dot product of its 4 codes, plus [`Isa::BYTE_OFFSET`] each, with the 4 activations.
    fn byte_dot(self, sum: Self::ByteSum, codes: Self::Bytes, quad: Self::Quad) -> Self::ByteSum;
    /// [`Isa::byte_dot`] of two registers of codes, each with its own activations.
    #[inline(always)]
    fn byte_dot_pair(
        self,
        sum: Self::ByteSum,
        [a, b]: [Self::Bytes; 2],
        [x, y]: [Self::Quad; 2],
    ) -> Self::ByteSum {
        self.byte_dot(self.byte_dot(sum, a, x), b, y)
    }
    /// The sums as integers, plus `start`.
    fn byte_total(self, sum: Self::ByteSum, start: i32) -> Self::Ints;

    /// Looks up each byte of `indexes` (below 16) in the 16-byte table of its part.
    fn lookup(self, tables: Self::Bytes, indexes: Self::Bytes) -> Self::Bytes;
    /// An empty sum.
    fn lookup_zero(self) -> Self::LookupSum;
    /// Adds looked-up bytes, unsigned.
    fn lookup_add(self, sum: Self::LookupSum, bytes: Self::Bytes) -> Self::LookupSum;
    /// Doubles the sums: from one bit-plane to the next lower one.
    fn lookup_double(self, sum: Self::LookupSum) -> Self::LookupSum;
    /// The sums of 32 rows, plus `start`, from those of the low and of the high nibbles: byte 2i of each part holds
    /// row i (low) and 16+i (high), byte 2i+1 row 8+i and 24+i. Only the first `128 / WIDTH` elements are used.
    fn lookup_rows(self, low: Self::LookupSum, high: Self::LookupSum, start: i32) -> [Self::Ints; 8];

    /// An empty sum.
    fn pair_zero(self) -> Self::PairSum;
    /// Adds both bytes, unsigned, of each 16 bits.
    fn pair_add(self, sum: Self::PairSum, bytes: Self::Bytes) -> Self::PairSum;
    /// The sums of 32 rows, plus `start`, from those of the low and of the high nibbles: bytes 2i and 2i + 1 of a tile are of
    /// row i (low) and 16+i (high). The second sums are of registers that begin with row 8, where a register has 16 bytes, and
    /// not used where it has more. Only the first `128 / WIDTH` elements are used.
    ///
    /// `start` and the results fit 16 bits.
    fn pair_rows(self, low: [Self::PairSum; 2], high: [Self::PairSum; 2], start: i32) -> [Self::Ints; 8];

    /// Prefetches the cache line of `from`. Any address is allowed. Does nothing where there is no such instruction.
    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        _ = from;
    }
    /// How many bytes ahead of the weights in use [`Isa::prefetch_weights`] is called while few tokens are multiplied;
    /// 0 where the hardware's own prefetcher is faster.
    #[inline(always)]
    fn weights_ahead(self) -> usize {
        0
    }
    /// [`Isa::prefetch`] to the second-level cache.
    #[inline(always)]
    fn prefetch_weights(self, from: *const u8) {
        _ = from;
    }

    /// Loads a register of integers.
    ///
    /// # Safety
    /// `WIDTH` bytes are readable at `from`.
    unsafe fn load_ints(self, from: *const i32) -> Self::Ints;
    /// Stores a register of integers.
    ///
    /// # Safety
    /// `WIDTH` bytes are writable at `to`.
    unsafe fn store_ints(self, to: *mut i32, ints: Self::Ints);
    /// Lane-wise sum.
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Lane-wise difference.
    fn sub_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `64 * coarse + fine`: the sums over both digits of refined activations.
    fn refine(self, coarse: Self::Ints, fine: Self::Ints) -> Self::Ints;

    /// Broadcasts a value to all lanes.
    fn splat(self, value: f32) -> Self::Floats;
    /// Loads floats.
    ///
    /// # Safety
    /// `WIDTH` bytes are readable at `from`.
    unsafe fn load_floats(self, from: *const f32) -> Self::Floats;
    /// Stores floats.
    ///
    /// # Safety
    /// `WIDTH` bytes are writable at `to`.
    unsafe fn store_floats(self, to: *mut f32, value: Self::Floats);
    /// Loads half-precision floats (little-endian bit patterns, finite).
    ///
    /// # Safety
    /// `WIDTH / 2` bytes are readable at `from`.
    unsafe fn load_halves(self, from: *const u8) -> Self::Floats;
    /// Loads signed bytes as floats.
    ///
    /// # Safety
    /// `WIDTH / 4` bytes are readable at `from`.
    unsafe fn load_signed_bytes(self, from: *const i8) -> Self::Floats;
    /// Lane-wise sum.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane-wise difference.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane-wise product. Never fused with an addition, which would round once instead of twice.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane-wise `if a > b { a } else { b }`: `b` where one of them is NaN.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane-wise `if a < b { a } else { b }`: `b` where one of them is NaN.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// In each lane the sum of the 4 lanes of its part: neighbours first, then the two sums.
    fn sum_parts(self, a: Self::Floats) -> Self::Floats;
    /// Stores the lowest byte of the bits of each lane of the first `128 / WIDTH` registers.
    ///
    /// # Safety
    /// 32 bytes are writable at `to`.
    unsafe fn store_low_bytes(self, to: *mut i8, values: &[Self::Floats; 8]);
    /// Integers as floats, rounded to nearest, ties to even (exact below a magnitude of 2^24).
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;
}
