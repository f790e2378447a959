//! The boundary between kernels and instruction sets.

use crate::dot::{block_sums, small_rows, unpacked_sums};
use crate::layout::GROUPS_PER_BLOCK;
use crate::tiles::TileJob;
use std::fmt::Debug;

/// Work that is compiled once for each instruction set.
pub trait Job<I: Isa> {
    /// What it returns.
    type Output;
    /// Does the work. Implementations are `#[inline(always)]`, so that the vector operations inline too.
    fn run(self, isa: I) -> Self::Output;
}

/// The activations of a block of a token.
#[derive(Clone, Copy, Debug)]
pub struct BlockValues {
    /// 32 values of each digit.
    pub digits: [*const i8; 2],
    /// What the sums over each digit start with.
    pub starts: [i32; 2],
    /// Whether there is a second digit.
    pub refined: bool,
}

/// Matrix instructions: sums of products of a tile of 16 tokens with 32 rows.
///
/// # Safety
/// Implementations must not read or write more than the operations say.
pub unsafe trait Tiles: Isa {
    /// What a thread calls before the other operations, and [`Tiles::end`] afterwards.
    fn begin(self);
    /// See [`Tiles::begin`].
    fn end(self);
    /// For each of [`TILE_TOKENS`] tokens, 32 values one after the other, the sums of 32 rows over an unpacked block,
    /// `stride` bytes from token to token. `SIGNED`: codes are two's complement.
    ///
    /// # Safety
    /// 1024 codes and 512 values are readable, 32 sums for each token writable, and this thread has called [`Tiles::begin`].
    unsafe fn sums<const SIGNED: bool>(
        self,
        codes: *const u8,
        values: *const i8,
        sums: *mut i32,
        stride: usize,
    );
    /// Loads a register of integers.
    ///
    /// # Safety
    /// `WIDTH` bytes are readable.
    unsafe fn load_ints(self, from: *const i32) -> Self::Ints;
    /// Stores one.
    ///
    /// # Safety
    /// `WIDTH` bytes are writable.
    unsafe fn store_ints(self, to: *mut i32, ints: Self::Ints);
}

/// Tokens that matrix instructions take at once.
pub const TILE_TOKENS: usize = 16;

/// The vector operations of an instruction set. A value of an implementing type proves that the CPU has it.
///
/// A register is [`Isa::WIDTH`] bytes wide: 16, 32 or 64. "Lane" is one of its `WIDTH / 4` 32-bit lanes.
/// All results are exact and the same for every instance.
///
/// # Safety
/// Implementations must not read or write more than the operations say.
pub unsafe trait Isa: Copy + Debug + Send + Sync + 'static {
    /// Name for people and flags, such as `avx2`.
    const NAME: &'static str;
    /// Bytes of a register.
    const WIDTH: usize;
    /// Registers there are; with 32, loops hold twice as many sums.
    const REGISTERS: usize = 16;
    /// Whether groups of one block get code of their own. With 16 registers it keeps more than they hold: AVX2 takes 8 %
    /// longer for int4. Engines of WebAssembly, which spill anyway, take 4 % less.
    const SINGLE_BLOCK_GROUPS: bool = Self::REGISTERS == 32;
    /// Whether each token of a prompt passes by all rows of an unpacked block of small codes, its activations in
    /// registers, instead of each register of rows staying while all tokens pass by.
    const TOKEN_BY_TOKEN: bool = false;
    /// What [`Isa::byte_dot`] adds for every weight: 0, or -128 where the dot product takes signed weights
    /// only and the code is read as code - 128.
    const BYTE_OFFSET: i32 = 0;

    /// `WIDTH` bytes.
    type Bytes: Copy;
    /// One i32 a lane.
    type Ints: Copy;
    /// One f32 a lane.
    type Floats: Copy;
    /// Four activations, for every lane the same.
    type Quad: Copy;
    /// Sums of up to 8 products of codes below 16 with activations, one a lane.
    type SmallSum: Copy;
    /// Sums of up to 8 products of 8-bit codes with activations, one a lane.
    type ByteSum: Copy;
    /// Sums of up to 8 looked-up bytes, weighted by up to 15.
    type LookupSum: Copy;

    /// Runs a job with the instruction set's features enabled.
    fn enter<J: Job<Self>>(self, job: J) -> J::Output;

    /// Loads a register.
    /// # Safety
    /// `WIDTH` bytes are readable.
    unsafe fn load(self, from: *const u8) -> Self::Bytes;
    /// Stores a register.
    /// # Safety
    /// `WIDTH` bytes are writable.
    unsafe fn store(self, to: *mut u8, bytes: Self::Bytes);
    /// Loads 16 bytes into every 128-bit part.
    /// # Safety
    /// 16 bytes are readable.
    unsafe fn load_repeated(self, from: *const u8) -> Self::Bytes;
    /// `2 * bytes + 1` where the byte of `flags` has a bit in common with the byte of `mask`, else `2 * bytes`.
    fn append_bit(self, bytes: Self::Bytes, flags: Self::Bytes, mask: Self::Bytes) -> Self::Bytes;
    /// The low nibble of each byte.
    fn low_nibbles(self, bytes: Self::Bytes) -> Self::Bytes;
    /// The high nibble of each byte.
    fn high_nibbles(self, bytes: Self::Bytes) -> Self::Bytes;

    /// Loads 4 activations for all lanes.
    /// # Safety
    /// 4 bytes are readable.
    unsafe fn quad(self, from: *const i8) -> Self::Quad;
    /// No products yet.
    fn small_zero(self) -> Self::SmallSum;
    /// Adds to each lane the products of its 4 codes, all below 16, with the 4 activations.
    fn small_dot(self, sum: Self::SmallSum, codes: Self::Bytes, quad: Self::Quad) -> Self::SmallSum;
    /// [`Isa::small_dot`] of the low nibbles to `low` and of the high ones to `high`.
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
    /// The sums, plus `start`.
    fn small_total(self, sum: Self::SmallSum, start: i32) -> Self::Ints;
    /// No products yet.
    fn byte_zero(self) -> Self::ByteSum;
    /// Adds to each lane the products of its 4 codes, plus [`Isa::BYTE_OFFSET`] each, with the activations.
    fn byte_dot(self, sum: Self::ByteSum, codes: Self::Bytes, quad: Self::Quad) -> Self::ByteSum;
    /// [`Isa::byte_dot`] of two registers of codes, each with activations of its own.
    #[inline(always)]
    fn byte_dot_pair(
        self,
        sum: Self::ByteSum,
        [a, b]: [Self::Bytes; 2],
        [x, y]: [Self::Quad; 2],
    ) -> Self::ByteSum {
        self.byte_dot(self.byte_dot(sum, a, x), b, y)
    }
    /// The sums, plus `start`.
    fn byte_total(self, sum: Self::ByteSum, start: i32) -> Self::Ints;
    /// The sums of 32 rows of a block of nibbles over both digits, `64 * coarse + fine`, or over the first alone if
    /// the block is not refined. Only the first `128 / WIDTH` elements are used.
    ///
    /// # Safety
    /// 512 bytes are readable at `codes`, and 32 values of each digit.
    #[inline(always)]
    unsafe fn nibble_block(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: the caller's.
        unsafe { block_sums::<Self, true>(self, codes, values) }
    }
    /// [`Isa::nibble_block`] of 8-bit codes, plus [`Isa::BYTE_OFFSET`] each.
    ///
    /// # Safety
    /// 1024 bytes are readable at `codes`, and 32 values of each digit.
    #[inline(always)]
    unsafe fn byte_block(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: the caller's.
        unsafe { block_sums::<Self, false>(self, codes, values) }
    }
    /// The sums, over both digits or the first alone, of the rows of a register over an unpacked block; with 32
    /// registers of those of two. `SMALL`: the codes are below 16; else [`Isa::BYTE_OFFSET`] is added to each.
    ///
    /// # Safety
    /// 32 values of each digit are readable.
    #[inline(always)]
    unsafe fn unpacked_block<const SMALL: bool>(
        self,
        codes: [&[Self::Bytes; GROUPS_PER_BLOCK]; 2],
        values: BlockValues,
    ) -> [Self::Ints; 2] {
        // SAFETY: the caller's.
        unsafe { unpacked_sums::<Self, SMALL>(self, codes, values) }
    }

    /// Sums of 32 rows over an unpacked block of codes below 16, over both digits or the first alone; where
    /// [`Isa::TOKEN_BY_TOKEN`]. Only the first `128 / WIDTH` elements are used.
    ///
    /// # Safety
    /// 1024 bytes are readable at `codes`, and 32 values of each digit.
    #[inline(always)]
    unsafe fn small_block(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: the caller's.
        unsafe { small_rows(self, codes, values) }
    }

    /// Whether [`Isa::multiply_by_tiles`] does something: there are matrix instructions, see [`Tiles`].
    const TILES: bool = false;

    /// A product of many tokens by matrix instructions. Only where [`Isa::TILES`].
    #[inline(always)]
    fn multiply_by_tiles(self, job: TileJob<'_>) {
        _ = job;
    }

    /// Looks up each byte of `indexes` (below 16) in the 16-byte table of its 128-bit part.
    fn lookup(self, tables: Self::Bytes, indexes: Self::Bytes) -> Self::Bytes;
    /// Nothing looked up yet.
    fn lookup_zero(self) -> Self::LookupSum;
    /// Adds looked-up bytes, unsigned.
    fn lookup_add(self, sum: Self::LookupSum, bytes: Self::Bytes) -> Self::LookupSum;
    /// Doubles the sums: from one bit-plane to the next lower one.
    fn lookup_double(self, sum: Self::LookupSum) -> Self::LookupSum;
    /// The sums of 32 rows plus `start`, from those of the low and the high nibbles: byte 2i of each 128-bit
    /// part holds row i (low) and 16+i (high), byte 2i+1 row 8+i and 24+i. Only the first `128 / WIDTH`
    /// elements are used.
    fn lookup_rows(self, low: Self::LookupSum, high: Self::LookupSum, start: i32) -> [Self::Ints; 8];
    /// The sums of 32 rows, plus `start`, of what the indexes of a block of `BITS` planes pick from its tables.
    ///
    /// # Safety
    /// `BITS * 128` bytes are readable at `codes`, 128 at `tables`.
    #[inline(always)]
    unsafe fn lookup_block<const BITS: usize>(
        self,
        codes: *const u8,
        tables: *const u8,
        start: i32,
    ) -> [Self::Ints; 8] {
        let (mut low, mut high) = (self.lookup_zero(), self.lookup_zero());
        for plane in (0..BITS).rev() {
            if plane + 1 < BITS {
                (low, high) = (self.lookup_double(low), self.lookup_double(high));
            }
            for at in (0..128).step_by(Self::WIDTH) {
                // SAFETY: the caller's.
                let (table, indexes) =
                    unsafe { (self.load(tables.add(at)), self.load(codes.add(plane * 128 + at))) };
                low = self.lookup_add(low, self.lookup(table, self.low_nibbles(indexes)));
                high = self.lookup_add(high, self.lookup(table, self.high_nibbles(indexes)));
            }
        }
        self.lookup_rows(low, high, start)
    }

    /// Asks for the 64 bytes around `from` to be brought to the cache. Any address will do; where there is no such
    /// instruction nothing happens.
    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        _ = from;
    }

    /// How many bytes ahead of the weights that few tokens are multiplied with [`Isa::prefetch_weights`] is to ask for
    /// more; 0 where the hardware's own prefetching is quicker.
    #[inline(always)]
    fn weights_ahead(self) -> usize {
        0
    }

    /// [`Isa::prefetch`] to the second-level cache.
    #[inline(always)]
    fn prefetch_weights(self, from: *const u8) {
        _ = from;
    }

    /// `64 * coarse + fine`: the sums over both digits of refined activations.
    fn refine(self, coarse: Self::Ints, fine: Self::Ints) -> Self::Ints;

    /// One value in all lanes.
    fn splat(self, value: f32) -> Self::Floats;
    /// Loads floats.
    /// # Safety
    /// `WIDTH` bytes are readable.
    unsafe fn load_floats(self, from: *const f32) -> Self::Floats;
    /// Stores floats.
    /// # Safety
    /// `WIDTH` bytes are writable.
    unsafe fn store_floats(self, to: *mut f32, value: Self::Floats);
    /// Loads half-precision floats (bit patterns, little-endian, finite).
    /// # Safety
    /// `WIDTH / 2` bytes are readable.
    unsafe fn load_halves(self, from: *const u8) -> Self::Floats;
    /// Loads signed bytes, as floats.
    /// # Safety
    /// `WIDTH / 4` bytes are readable.
    unsafe fn load_signed_bytes(self, from: *const i8) -> Self::Floats;
    /// Lane-wise sum.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane-wise difference.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane-wise product.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane by lane `a` where it is larger, else `b`, which so is the result where one is NaN.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane by lane `a` where it is smaller, else `b`, which so is the result where one is NaN.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// In each lane the sum of the 4 lanes of its 128-bit part: of neighbours first, then of the two sums.
    fn sum_parts(self, a: Self::Floats) -> Self::Floats;
    /// Stores the lowest byte of the bits of each lane, of the first `128 / WIDTH` registers.
    /// # Safety
    /// 32 bytes are writable.
    unsafe fn store_low_bytes(self, to: *mut i8, values: &[Self::Floats; 8]);
    /// Integers as floats, rounded to nearest, ties to even (exactly below a magnitude of 2^24).
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;
}
