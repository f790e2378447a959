//! AMX: tiles of 16 x 16 sums of products of bytes, which are as exact as any other dot product.
//!
//! A CPU has 8 tile registers of 16 rows of 64 bytes. `tdpbsud` adds to a tile of sums the products of a tile of signed
//! bytes (a row for each token) with one of unsigned bytes (a row for 4 columns, in it 4 codes of each of 16 rows of
//! weights, which is how blocks are unpacked): Intel's "Architecture Instruction Set Extensions", chapter 3.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// The registers' shapes: rows, and bytes of each.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// 0 and 1 are sums, 4 activations of a block, 6 and 7 its codes of 16 rows each; the others are not used.
static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 0, 0, 32, 0, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 0, 0, 16, 0, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether the CPU has tiles of bytes and the system lets this process use them, which Linux must be asked for.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
        // Whoever asks has found AVX-512, which the same leaf tells.
        __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8 && permitted()
    })
}

#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: i64 = 0x1023; // ARCH_REQ_XCOMP_PERM
    const TILE_DATA: i64 = 18; // XFEATURE_XTILEDATA
    let result: i64;
    // SAFETY: this system call reads and writes no memory of ours.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
             out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Gives the registers of this thread the shapes that [`sums`] needs.
///
/// # Safety
/// [`available`] said yes.
pub(super) unsafe fn begin() {
    // SAFETY: the caller's; the instruction reads the 64 bytes of `CONFIG`.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
}

/// Gives the registers back, so that switching threads need not save them.
///
/// # Safety
/// As for [`begin`].
pub(super) unsafe fn end() {
    // SAFETY: the caller's.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// For each of 16 tokens, 32 values one after the other, the sums of 32 rows over a block, `stride` bytes from token to
/// token.
///
/// # Safety
/// This thread called [`begin`]. 1024 unpacked codes and 512 values are readable, 32 sums for each token writable.
#[inline(always)]
pub(super) unsafe fn sums<const SIGNED: bool>(
    codes: *const u8,
    values: *const i8,
    sums: *mut i32,
    stride: usize,
) {
    macro_rules! tile {
        ($product:literal) => {
            asm!(
                "tileloadd tmm6, [{codes} + {row}]",
                "tileloadd tmm7, [{codes} + {row} + 64]",
                "tileloadd tmm4, [{values} + {width}]",
                "tilezero tmm0",
                "tilezero tmm1",
                concat!($product, " tmm0, tmm4, tmm6"),
                concat!($product, " tmm1, tmm4, tmm7"),
                "tilestored [{sums} + {stride}], tmm0",
                "tilestored [{sums} + {stride} + 64], tmm1",
                codes = in(reg) codes,
                values = in(reg) values,
                sums = in(reg) sums,
                row = in(reg) 128usize,
                width = in(reg) 32usize,
                stride = in(reg) stride,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags),
            )
        };
    }
    // SAFETY: the caller's.
    unsafe { if SIGNED { tile!("tdpbssd") } else { tile!("tdpbsud") } }
}
