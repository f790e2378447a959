//! Lookups by `vpermb`, in four tables at once.

use super::Avx512Vbmi;
use edgellm_kernels::{BlockTables, Blocks, Isa};
use std::arch::x86_64::*;

// SAFETY: the operations load 64 bytes at a time, at multiples of 64, from 128 bytes of tables, from each plane of 128 bytes,
// and from 256 bytes of ternary codes.
unsafe impl Blocks for Avx512Vbmi {
    #[inline(always)]
    unsafe fn ternary_block(self, codes: *const u8, tables: BlockTables) -> [__m512i; 8] {
        avx512!(if tables.refined {
            let [mut rows, fine] = looked_up::<2, 2>(codes, tables.digits, tables.starts);
            refine_rows(self, &mut rows, fine);
            rows
        } else {
            let [rows] = looked_up::<2, 1>(codes, [tables.digits[0]], [tables.starts[0]]);
            rows
        })
    }

    #[inline(always)]
    unsafe fn binary_block(self, codes: *const u8, tables: BlockTables) -> [__m512i; 8] {
        avx512!(if tables.refined {
            let [mut rows, fine] = looked_up::<1, 2>(codes, tables.digits, tables.starts);
            refine_rows(self, &mut rows, fine);
            rows
        } else {
            let [rows] = looked_up::<1, 1>(codes, [tables.digits[0]], [tables.starts[0]]);
            rows
        })
    }

    /// `vpermb` looks up in 64 bytes, that is in four tables of 16, told apart by bits 4 and 5 of an index. Indexes are
    /// first transposed so that the four bytes of a lane are one row in four LUT groups; then the dot product with constant
    /// 1, 2, 4 or 8 adds them, weighted by their plane, without widening or folding: 8 operations for 64 bytes of indexes,
    /// where `vpshufb` takes 11, and 19 more for each block.
    #[inline(always)]
    unsafe fn lookup_block<const BITS: usize>(
        self,
        codes: *const u8,
        tables: *const u8,
        start: i32,
    ) -> [__m512i; 8] {
        avx512!({
            let transpose = _mm512_loadu_si512(TRANSPOSE.as_ptr().cast());
            let table_bits = _mm512_set1_epi32(0x3020_1000);
            let nibble = _mm512_set1_epi8(15);
            let mut rows = [_mm512_set1_epi32(start); 8];
            for half in 0..2 {
                let table = self.load(tables.add(64 * half));
                for plane in 0..BITS {
                    let indexes = self.load(codes.add(128 * plane + 64 * half));
                    let indexes = _mm512_permutexvar_epi8(transpose, indexes);
                    // (indexes & nibble) | table_bits in one operation each
                    let low = _mm512_ternarylogic_epi32::<0xf8>(table_bits, indexes, nibble);
                    let indexes = _mm512_srli_epi16::<4>(indexes);
                    let high = _mm512_ternarylogic_epi32::<0xf8>(table_bits, indexes, nibble);
                    // A plane's weight is a non-negative byte, so it can be the signed operand.
                    let weight = _mm512_set1_epi8(1 << plane);
                    let low = _mm512_permutexvar_epi8(low, table);
                    let high = _mm512_permutexvar_epi8(high, table);
                    rows[0] = _mm512_dpbusd_epi32(rows[0], low, weight);
                    rows[1] = _mm512_dpbusd_epi32(rows[1], high, weight);
                }
            }
            rows
        })
    }
}

/// Joins the sums of both digits.
#[inline(always)]
fn refine_rows(isa: Avx512Vbmi, rows: &mut [__m512i; 8], fine: [__m512i; 8]) {
    rows[0] = isa.refine(rows[0], fine[0]);
    rows[1] = isa.refine(rows[1], fine[1]);
}

/// The sums over some digits of a block of binary (`BITS` 1) or ternary codes (2), as [`Blocks::lookup_block`] computes them;
/// indexes are taken apart once for all digits. A register has four LUT groups of binary codes, or two of ternary ones.
///
/// # Safety
/// `BITS * 128` bytes are readable at `codes`, and 128 at each digit. The CPU has the features of [`Avx512Vbmi`].
#[inline(always)]
unsafe fn looked_up<const BITS: usize, const DIGITS: usize>(
    codes: *const u8,
    digits: [*const u8; DIGITS],
    starts: [i32; DIGITS],
) -> [[__m512i; 8]; DIGITS] {
    // SAFETY: registers of 64 bytes at multiples of 64, of `BITS * 128` bytes of codes and of 128 of tables.
    unsafe {
        let transpose = if BITS == 2 { &TRANSPOSE_PAIRS } else { &TRANSPOSE };
        let transpose = _mm512_loadu_si512(transpose.as_ptr().cast());
        // Bits 4 and 5 of an index choose one of four tables.
        let table_bits = match BITS {
            2 => [_mm512_set1_epi32(0x1010_0000), _mm512_set1_epi32(0x3030_2020)],
            _ => [_mm512_set1_epi32(0x3020_1000); 2],
        };
        let nibble = _mm512_set1_epi8(15);
        // A binary code is twice its bit, a ternary one the sum of two.
        let weight = _mm512_set1_epi8(if BITS == 2 { 1 } else { 2 });
        let mut rows = [[_mm512_set1_epi32(starts[0]); 8]; DIGITS];
        for (rows, start) in rows.iter_mut().zip(starts).skip(1) {
            *rows = [_mm512_set1_epi32(start); 8];
        }
        for half in 0..2 {
            for register in 0..BITS {
                let indexes = _mm512_loadu_si512(codes.add(64 * (BITS * half + register)).cast());
                let indexes = _mm512_permutexvar_epi8(transpose, indexes);
                // (indexes & nibble) | table_bits in one operation each
                let low = _mm512_ternarylogic_epi32::<0xf8>(table_bits[register], indexes, nibble);
                let indexes = _mm512_srli_epi16::<4>(indexes);
                let high = _mm512_ternarylogic_epi32::<0xf8>(table_bits[register], indexes, nibble);
                for (rows, digit) in rows.iter_mut().zip(digits) {
                    let table = _mm512_loadu_si512(digit.add(64 * half).cast());
                    rows[0] = _mm512_dpbusd_epi32(rows[0], _mm512_permutexvar_epi8(low, table), weight);
                    rows[1] = _mm512_dpbusd_epi32(rows[1], _mm512_permutexvar_epi8(high, table), weight);
                }
            }
        }
        rows
    }
}

/// Bytes 4r to 4r+3 are those of row r, 0 to 15, in the tiles of two LUT groups of ternary codes.
const TRANSPOSE_PAIRS: [u8; 64] = {
    let mut from = [0; 64];
    let mut i = 0;
    while i < 64 {
        let (row, tile, bit) = (i / 4, i % 4 / 2, i % 2);
        from[i] = (32 * tile + 2 * row + bit) as u8;
        i += 1;
    }
    from
};

/// Byte 4r+g is the byte of row r, 0 to 15, in tile g.
const TRANSPOSE: [u8; 64] = {
    let mut from = [0; 64];
    let mut i = 0;
    while i < 64 {
        let (row, tile) = (i / 4, i % 4);
        let byte = if row < 8 { 2 * row } else { 2 * (row - 8) + 1 };
        from[i] = (16 * tile + byte) as u8;
        i += 1;
    }
    from
};
