//! Unpacking a block once for many tokens: 8 tiles of 32 rows x 4 codes, a byte each.

use crate::isa::Isa;
use crate::layout::{BLOCK_WEIGHTS, Encoding, GROUPS_PER_BLOCK};

/// Bit i of a nibble to byte i.
const SPREAD: [u32; 16] = {
    let mut spread = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let n = nibble as u32;
        spread[nibble] = n & 1 | (n & 2) << 7 | (n & 4) << 14 | (n & 8) << 21;
        nibble += 1;
    }
    spread
};

/// Unpacks nibbles or planes of one block.
#[inline(always)]
pub(crate) fn unpack_block<I: Isa>(_: I, encoding: Encoding, codes: &[u8], out: &mut [u8; BLOCK_WEIGHTS]) {
    match encoding {
        Encoding::Bytes => out.copy_from_slice(codes),
        Encoding::Nibbles => {
            for (tile, out) in codes.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<128>().0) {
                for (i, &byte) in tile.iter().enumerate() {
                    out[i] = byte & 15;
                    out[64 + i] = byte >> 4;
                }
            }
        }
        Encoding::Planes(bits) => {
            let tiles = codes.as_chunks::<16>().0;
            for (g, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
                let mut rows = [0u32; 32];
                for plane in 0..bits as usize {
                    let tile = &tiles[plane * GROUPS_PER_BLOCK + g];
                    for i in 0..8 {
                        let (even, odd) = (tile[2 * i], tile[2 * i + 1]);
                        rows[i] |= SPREAD[usize::from(even & 15)] << plane;
                        rows[16 + i] |= SPREAD[usize::from(even >> 4)] << plane;
                        rows[8 + i] |= SPREAD[usize::from(odd & 15)] << plane;
                        rows[24 + i] |= SPREAD[usize::from(odd >> 4)] << plane;
                    }
                }
                for (out, row) in out.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
                    *out = row.to_le_bytes();
                }
            }
        }
    }
}
