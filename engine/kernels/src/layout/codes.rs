//! A block of 32 x 32 codes, and where each of them lies.

/// Output rows of a strip.
pub const STRIP: usize = 32;
/// Columns of a block: the activations of one block share one scale.
pub const BLOCK: usize = 32;
/// Columns that share a lookup table: four bits index its 16 entries.
pub const LUT_GROUP: usize = 4;
/// Columns of half a block, the smallest quantization group.
pub const HALF: usize = BLOCK / 2;
/// LUT groups in a block.
pub const GROUPS_PER_BLOCK: usize = BLOCK / LUT_GROUP;
/// LUT groups in half a block.
pub const GROUPS_PER_HALF: usize = HALF / LUT_GROUP;
/// Weights of a block.
pub const BLOCK_WEIGHTS: usize = STRIP * BLOCK;

/// How the codes of a block are stored; see the [module](super) for the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// 1 to 4 bit-planes, multiplied by table lookup.
    Planes(u8),
    /// Codes 0, 1 and 2, in two bit-planes whose sum they are, multiplied by table lookup.
    Ternary,
    /// Codes 0 and 2, in one bit-plane, multiplied by table lookup.
    Binary,
    /// 4-bit codes, multiplied by dot-product instructions.
    Nibbles,
    /// Codes of 2, 3, 5 or 6 bits, split into fields of 4, 2 and 1 bits, multiplied by dot-product instructions.
    Split(u8),
    /// 4-bit indexes of 16 codes, which a table lists, multiplied by dot-product instructions.
    Table([u8; 16]),
    /// 8-bit codes, multiplied by dot-product instructions.
    Bytes,
}

impl Encoding {
    /// Bits that a code takes.
    pub const fn bits(self) -> usize {
        match self {
            Encoding::Planes(bits) | Encoding::Split(bits) => bits as usize,
            Encoding::Binary => 1,
            Encoding::Ternary => 2,
            Encoding::Nibbles | Encoding::Table(_) => 4,
            Encoding::Bytes => 8,
        }
    }

    /// Whether products look sums up in tables, which the activations must have.
    pub const fn by_lookup(self) -> bool {
        matches!(self, Encoding::Planes(_) | Encoding::Ternary | Encoding::Binary)
    }

    /// Whether products of many tokens have a lane for each token: where a few codes of a row have few combinations.
    pub const fn by_lanes(self) -> bool {
        matches!(self, Encoding::Ternary | Encoding::Binary)
    }

    /// Bytes of a block of 32 x 32 codes.
    pub const fn block_bytes(self) -> usize {
        self.bits() * BLOCK_WEIGHTS / 8
    }
}

/// The fields of a split code of `bits` bits, lowest bits first: how many bits a field has, and how many lie below it.
pub(crate) fn fields(bits: usize) -> impl Iterator<Item = (usize, usize)> {
    [4, 2, 1]
        .into_iter()
        .filter(move |width| bits & width != 0)
        .map(move |width| (width, bits & !(2 * width - 1)))
}

/// Byte offset in a block and left shift of the code of row `r`, col `c`; for bit-planes, of its bit in the first plane; of
/// split codes, of the first byte of their row and column.
#[inline]
const fn position(encoding: Encoding, r: usize, c: usize) -> (usize, usize) {
    let (g, j) = (c / LUT_GROUP, c % LUT_GROUP);
    match encoding {
        Encoding::Planes(_) | Encoding::Binary => {
            let (half, i) = (r / 16, r % 16);
            let byte = if i < 8 { 2 * i } else { 2 * (i - 8) + 1 };
            (16 * g + byte, 4 * half + j)
        }
        Encoding::Ternary => (32 * g + 2 * (r % 16), 4 * (r / 16) + j),
        Encoding::Nibbles | Encoding::Table(_) => (64 * g + 4 * (r % 16) + j, 4 * (r / 16)),
        Encoding::Bytes => (128 * g + 4 * r + j, 0),
        Encoding::Split(bits) => (64 * bits as usize * (c / HALF) + 4 * (r % 16) + j, 0),
    }
}

/// Byte offset in a block, shift and number of bits of each field of a split code, and how many bits lie below it.
fn field_positions(bits: u8, r: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let (start, _) = position(Encoding::Split(bits), r, c);
    // Each LUT group of half a block has two registers of 64 codes: rows 0 to 15, and 16 to 31.
    let index = 2 * (c % HALF / LUT_GROUP) + r / 16;
    fields(usize::from(bits)).map(move |(width, below)| {
        (start + 64 * below + 64 * (index * width / 8), index * width % 8, width, below)
    })
}

/// Writes one code into a zeroed block. A code that a table lacks is written as its first.
#[inline]
pub(super) fn put(encoding: Encoding, block: &mut [u8], r: usize, c: usize, code: u8) {
    let (byte, shift) = position(encoding, r, c);
    match encoding {
        Encoding::Planes(bits) => {
            for plane in 0..bits as usize {
                block[128 * plane + byte] |= (code >> plane & 1) << shift;
            }
        }
        Encoding::Ternary => {
            block[byte] |= u8::from(code > 0) << shift;
            block[byte + 1] |= u8::from(code > 1) << shift;
        }
        Encoding::Binary => block[byte] |= u8::from(code > 0) << shift,
        Encoding::Nibbles => block[byte] |= (code & 15) << shift,
        Encoding::Split(bits) => {
            for (byte, shift, width, below) in field_positions(bits, r, c) {
                block[byte] |= (code >> below & ((1 << width) - 1)) << shift;
            }
        }
        Encoding::Table(codes) => {
            let index = codes.iter().position(|&listed| listed == code).unwrap_or(0);
            block[byte] |= (index as u8) << shift;
        }
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
        Encoding::Ternary => (block[byte] >> shift & 1) + (block[byte + 1] >> shift & 1),
        Encoding::Binary => 2 * (block[byte] >> shift & 1),
        Encoding::Nibbles => block[byte] >> shift & 15,
        Encoding::Split(bits) => field_positions(bits, r, c)
            .map(|(byte, shift, width, below)| (block[byte] >> shift & ((1 << width) - 1)) << below)
            .sum(),
        Encoding::Table(codes) => codes[usize::from(block[byte] >> shift & 15)],
        Encoding::Bytes => block[byte],
    }
}
