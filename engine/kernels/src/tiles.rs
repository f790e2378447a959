//! Matrix instructions, apart from the vector operations: few CPUs have them.

use crate::blocks::Blocks;

/// Tokens that matrix instructions multiply at once.
pub const TILE_TOKENS: usize = 16;

/// Matrix instructions: the sums of a tile of [`TILE_TOKENS`] tokens with 32 rows. A value of an implementing type proves
/// that the CPU has them and that the system permits them.
///
/// # Safety
/// An implementation must not access memory other than the bytes that the `# Safety` section of an operation grants.
pub unsafe trait Tiles: Copy + Send + Sync + 'static {
    /// The vector instructions of the same CPU, which do the floating-point work.
    type Isa: Blocks;
    /// The proof that the CPU has them.
    fn isa(self) -> Self::Isa;
    /// A thread calls this before the other operations, and [`Tiles::end`] after them.
    fn begin(self);
    /// See [`Tiles::begin`].
    fn end(self);
    /// The sums of 32 rows over an unpacked block, for each of [`TILE_TOKENS`] tokens. The tokens' 32 values lie one after
    /// the other, their sums `stride` bytes apart. `SIGNED`: codes are two's complement.
    ///
    /// # Safety
    /// 1024 bytes are readable at `codes` and 512 at `values`; at `sums` and each multiple of `stride` after it 32 sums are
    /// writable, for each token; this thread has called [`Tiles::begin`].
    unsafe fn sums<const SIGNED: bool>(
        self,
        codes: *const u8,
        values: *const i8,
        sums: *mut i32,
        stride: usize,
    );
}
