//! A block of 32 x 32 codes, and where each of them lies.

/// Output rows of a strip.
pub const STRIP: usize = 32;
/// Columns of a block: the activations of one block share one scale.
pub const BLOCK: usize = 32;
/// Columns that share a lookup table: four bits index its 16 entries.
pub const LUT_GROUP: usize = 4;
/// LUT groups in a block.
pub const GROUPS_PER_BLOCK: usize = BLOCK / LUT_GROUP;
/// Weights of a block.
pub const BLOCK_WEIGHTS: usize = STRIP * BLOCK;

/// How the codes of a block are stored; see the [module](super) for the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// 1 to 4 bit-planes, multiplied by table lookup.
    Planes(u8),
    /// 4-bit codes, multiplied by dot-product instructions.
    Nibbles,
    /// 8-bit codes, multiplied by dot-product instructions.
    Bytes,
}

impl Encoding {
    /// Bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            Encoding::Planes(bits) => bits as usize,
            Encoding::Nibbles => 4,
            Encoding::Bytes => 8,
        }
    }

    /// Bytes of a block of 32 x 32 codes.
    pub const fn block_bytes(self) -> usize {
        self.bits() * BLOCK_WEIGHTS / 8
    }
}

/// Byte offset in a block and left shift of the code of row `r`, col `c`; for bit-planes, of its bit in plane 0.
#[inline]
const fn position(encoding: Encoding, r: usize, c: usize) -> (usize, usize) {
    let (g, j) = (c / LUT_GROUP, c % LUT_GROUP);
    match encoding {
        Encoding::Planes(_) => {
            let (half, i) = (r / 16, r % 16);
            let byte = if i < 8 { 2 * i } else { 2 * (i - 8) + 1 };
            (16 * g + byte, 4 * half + j)
        }
        Encoding::Nibbles => (64 * g + 4 * (r % 16) + j, 4 * (r / 16)),
        Encoding::Bytes => (128 * g + 4 * r + j, 0),
    }
}

/// Writes one code into a zeroed block.
#[inline]
pub(super) fn put(encoding: Encoding, block: &mut [u8], r: usize, c: usize, code: u8) {
    let (byte, shift) = position(encoding, r, c);
    match encoding {
        Encoding::Planes(bits) => {
            for plane in 0..bits as usize {
                block[128 * plane + byte] |= (code >> plane & 1) << shift;
            }
        }
        Encoding::Nibbles => block[byte] |= (code & 15) << shift,
        Encoding::Bytes => block[byte] = code,
    }
}

/// Reads one code from a block.
#[inline]
pub(super) fn get(encoding: Encoding, block: &[u8], r: usize, c: usize) -> u8 {
    let (byte, shift) = position(encoding, r, c);
    match encoding {
        Encoding::Planes(bits) => {
            (0..bits as usize).map(|plane| (block[128 * plane + byte] >> shift & 1) << plane).sum()
        }
        Encoding::Nibbles => block[byte] >> shift & 15,
        Encoding::Bytes => block[byte],
    }
}
