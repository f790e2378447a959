//! Unpacking a block, or half a block, once for many tokens: to tiles of 32 rows x 4 codes, a byte each.

use crate::isa::Isa;
use crate::layout::{BLOCK_WEIGHTS, Encoding, GROUPS_PER_BLOCK, fields};

/// The byte of a bit-plane's tile that holds each of rows 0 to 15, four times each.
const ROW_BYTES: [u8; 64] = {
    let mut bytes = [0; 64];
    let mut i = 0;
    while i < 64 {
        let row = i / 4;
        bytes[i] = if row < 8 { 2 * row } else { 2 * (row - 8) + 1 } as u8;
        i += 1;
    }
    bytes
};

/// The bit of each column in a low nibble, and in a high one.
const COL_BITS: [[u8; 64]; 2] = {
    let mut bits = [[0; 64]; 2];
    let mut i = 0;
    while i < 64 {
        bits[0][i] = 1 << (i % 4);
        bits[1][i] = 16 << (i % 4);
        i += 1;
    }
    bits
};

/// The two bytes that hold each of 8 rows in half a ternary tile, four times each; then those of the 8 rows of the other half.
const PAIR_BYTES: [[u8; 64]; 2] = {
    let mut bytes = [[0; 64]; 2];
    let mut i = 0;
    while i < 64 {
        bytes[0][i] = 2 * (i / 4 % 8) as u8;
        bytes[1][i] = bytes[0][i] + 1;
        i += 1;
    }
    bytes
};

/// Unpacks one block, and subtracts `zero` from each code, wrapping.
#[inline(always)]
pub(crate) fn unpack_block<I: Isa>(
    isa: I,
    encoding: Encoding,
    codes: &[u8],
    zero: u8,
    out: &mut [u8; BLOCK_WEIGHTS],
) {
    match encoding {
        Encoding::Bytes => {
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = code.wrapping_sub(zero);
            }
        }
        Encoding::Nibbles => {
            for (tile, out) in codes.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<128>().0) {
                for (i, &byte) in tile.iter().enumerate() {
                    out[i] = (byte & 15).wrapping_sub(zero);
                    out[64 + i] = (byte >> 4).wrapping_sub(zero);
                }
            }
        }
        Encoding::Split(bits) => {
            let bits = usize::from(bits);
            for (codes, out) in
                codes.chunks_exact(64 * bits).zip(out.as_chunks_mut::<{ BLOCK_WEIGHTS / 2 }>().0)
            {
                unpack_half(bits, codes, zero, out);
            }
        }
        Encoding::Table(table) => {
            assert_eq!(codes.len(), encoding.block_bytes());
            // SAFETY: the table has 16 bytes; tile `group`, of 64 bytes, is within the block, whose length is asserted above;
            // the stores end at byte 128 * group + 128 <= 1024 of `out`.
            unsafe {
                let table = isa.load_repeated(table.as_ptr());
                for group in 0..GROUPS_PER_BLOCK {
                    for at in (0..64).step_by(I::WIDTH) {
                        let packed = isa.load(codes.as_ptr().add(64 * group + at));
                        let out = out.as_mut_ptr().add(128 * group + at);
                        isa.store(out, isa.lookup(table, isa.low_nibbles(packed)));
                        isa.store(out.add(64), isa.lookup(table, isa.high_nibbles(packed)));
                    }
                }
            }
            subtract(zero, out);
        }
        Encoding::Ternary => {
            assert_eq!(codes.len(), encoding.block_bytes());
            for at in (0..64).step_by(I::WIDTH) {
                // SAFETY: at + WIDTH <= 64, the length of the constants; tile `group`, of 32 bytes, is within the block, whose
                // length is asserted above, and WIDTH / 2 bytes, or 16, from its byte `at / 2`, rounded down to 16, on within
                // the tile; the stores end at byte 128 * group + 128 <= 1024 of `out`.
                unsafe {
                    let rows =
                        [isa.load(PAIR_BYTES[0].as_ptr().add(at)), isa.load(PAIR_BYTES[1].as_ptr().add(at))];
                    for group in 0..GROUPS_PER_BLOCK {
                        let tile = isa.load_pair_tables(codes.as_ptr().add(32 * group + at / 32 * 16));
                        let flags = [isa.lookup(tile, rows[0]), isa.lookup(tile, rows[1])];
                        for (half, mask) in COL_BITS.iter().enumerate() {
                            let mask = isa.load(mask.as_ptr());
                            let bits = isa.add_bit(isa.load([0; 64].as_ptr()), flags[0], mask);
                            let to = out.as_mut_ptr().add(128 * group + 64 * half + at);
                            isa.store(to, isa.add_bit(bits, flags[1], mask));
                        }
                    }
                }
            }
            subtract(zero, out);
        }
        Encoding::Planes(_) | Encoding::Binary => {
            let bits = encoding.bits();
            assert_eq!(codes.len(), encoding.block_bytes());
            for register in 0..64 / I::WIDTH {
                // SAFETY: at + WIDTH <= 64, the length of the constants; tile plane * 8 + group, of 16 bytes, is within
                // the block, whose length is asserted above; the stores end at byte 128 * group + 128 <= 1024 of `out`.
                unsafe {
                    let at = register * I::WIDTH;
                    let row_bytes = isa.load(ROW_BYTES.as_ptr().add(at));
                    let masks = [isa.load(COL_BITS[0].as_ptr()), isa.load(COL_BITS[1].as_ptr())];
                    for group in 0..GROUPS_PER_BLOCK {
                        let mut halves = [isa.load([0; 64].as_ptr()); 2];
                        for plane in (0..bits).rev() {
                            let tile = codes.as_ptr().add(16 * (plane * GROUPS_PER_BLOCK + group));
                            let flags = isa.lookup(isa.load_repeated(tile), row_bytes);
                            halves[0] = isa.append_bit(halves[0], flags, masks[0]);
                            halves[1] = isa.append_bit(halves[1], flags, masks[1]);
                        }
                        if encoding == Encoding::Binary {
                            let none = isa.load([0; 64].as_ptr());
                            halves = [
                                isa.append_bit(halves[0], none, masks[0]),
                                isa.append_bit(halves[1], none, masks[1]),
                            ];
                        }
                        let out = out.as_mut_ptr().add(128 * group + at);
                        isa.store(out, halves[0]);
                        isa.store(out.add(64), halves[1]);
                    }
                }
            }
            subtract(zero, out);
        }
    }
}

#[inline(always)]
fn subtract(zero: u8, out: &mut [u8; BLOCK_WEIGHTS]) {
    if zero > 0 {
        out.iter_mut().for_each(|code| *code = code.wrapping_sub(zero));
    }
}

/// Unpacks half a block of split codes of `bits` bits, and subtracts `zero` from each, wrapping.
#[inline(always)]
pub(crate) fn unpack_half(bits: usize, codes: &[u8], zero: u8, out: &mut [u8; BLOCK_WEIGHTS / 2]) {
    assert_eq!(codes.len(), 64 * bits);
    for (run, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        out.fill(0u8.wrapping_sub(zero));
        for (width, below) in fields(bits) {
            let (field, _) = codes[64 * (below + run * width / 8)..].split_at(64);
            let (from, mask) = (run * width % 8, (1u8 << width) - 1);
            for (code, &byte) in out.iter_mut().zip(field) {
                // Fields do not overlap, so their sum is the code.
                *code = code.wrapping_add((byte >> from & mask) << below);
            }
        }
    }
}
