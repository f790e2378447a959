//! Integers of a few bits in words of 32.

/// Lanes of integers: the first lies in the lowest bits of a lane's first word, each further one in the bits above, and one
/// that does not fit into a word goes on in the next. Words are little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Words<'a> {
    pub(super) words: &'a [[u8; 4]],
    pub(super) bits: usize,
    /// Distance from the first word of a lane to that of the next.
    pub(super) lane: usize,
    /// Distance from a word of a lane to its next.
    pub(super) step: usize,
    pub(super) order: Order,
    /// What is added to each word, whose carry goes from an integer to the next.
    pub(super) plus: u32,
}

/// Where the integers of a word are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    InOrder,
    /// Of eight, those with an even number before those with an odd one.
    EvenFirst,
}

impl Words<'_> {
    fn word(&self, lane: usize, index: usize) -> u32 {
        let place = lane * self.lane + index * self.step;
        self.words.get(place).map_or(0, |word| u32::from_le_bytes(*word).wrapping_add(self.plus))
    }

    /// Integer `index` of a lane; 0 if there is none.
    pub(super) fn get(&self, lane: usize, index: usize) -> u8 {
        let index = match self.order {
            Order::InOrder => index,
            Order::EvenFirst => index / 8 * 8 + index % 2 * 4 + index % 8 / 2,
        };
        let bit = index * self.bits;
        let (first, shift) = (bit / 32, bit % 32);
        let mut value = self.word(lane, first) >> shift;
        if shift + self.bits > 32 {
            value |= self.word(lane, first + 1) << (32 - shift);
        }
        (value & ((1 << self.bits) - 1)) as u8
    }
}

/// Words that `count` integers of `bits` bits take.
pub(super) fn words_of(count: usize, bits: usize) -> usize {
    (count as u64).saturating_mul(bits as u64).div_ceil(32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bits_straddle_words() {
        // 32 integers in 3 words: 0, 1, ..., 7, 0, 1, ...
        let mut stream = 0_u128;
        (0..32).for_each(|index| stream |= (index % 8) << (3 * index));
        let bytes = stream.to_le_bytes();
        let words = Words {
            words: &bytes.as_chunks().0[..3],
            bits: 3,
            lane: 3,
            step: 1,
            order: Order::InOrder,
            plus: 0,
        };
        assert!((0..32).all(|index| words.get(0, index) == (index % 8) as u8));
        assert_eq!((words.get(1, 0), words.get(0, 32)), (0, 0), "past the end");
        assert_eq!((words_of(32, 3), words_of(33, 3), words_of(8, 4)), (3, 4, 1));
    }

    #[test]
    fn even_columns_come_first() {
        let bytes = 0x7531_6420_u32.to_le_bytes();
        let words = Words { words: &[bytes], bits: 4, lane: 1, step: 1, order: Order::EvenFirst, plus: 0 };
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(|index| words.get(0, index)), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn sums_of_words_are_carried() {
        // 0x0105 less 0x1111 of four integers: a word of integers below 1 is what it was after the sum.
        let bytes = 0x0105_u32.wrapping_sub(0x1111_1111).to_le_bytes();
        let words =
            Words { words: &[bytes], bits: 4, lane: 1, step: 1, order: Order::InOrder, plus: 0x1111_1111 };
        assert_eq!([0, 1, 2, 3, 4].map(|index| words.get(0, index)), [5, 0, 1, 0, 0]);
    }
}
