//! The activations of one token, borrowed.

/// One digit of the activations of a token. The slices continue with the tokens that follow.
#[derive(Clone, Copy, Debug)]
pub struct Digit<'a> {
    /// Values, one a column: any subset of a LUT group sums to at most 127 in magnitude.
    pub values: &'a [i8],
    /// The sum of the values of each block.
    pub sums: &'a [i32],
    /// The sum of the first 16 values of each block.
    pub half_sums: &'a [i32],
    /// Lookup tables, 16 bytes a LUT group; empty if there are none.
    pub tables: &'a [u8],
}

/// The activations of one token. The slices continue with the tokens that follow.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// The coarse digit, which every block has.
    pub coarse: Digit<'a>,
    /// The fine digit; arbitrary in blocks that are not refined.
    pub fine: Digit<'a>,
    /// Which blocks are refined.
    pub refined: &'a [bool],
    /// The scale of each block, the unit of its last digit.
    pub scales: &'a [f32],
    /// `scale * sum` of each block, over both digits.
    pub scaled_sums: &'a [f32],
}

impl Digit<'_> {
    /// The sum of the values of half `half` (0 or 1) of block `block`.
    ///
    /// # Safety
    /// The digit has the block.
    #[inline(always)]
    pub(crate) unsafe fn half_sum(self, block: usize, half: usize) -> i32 {
        // SAFETY: there are both sums for each of the digit's blocks.
        unsafe {
            let first = *self.half_sums.get_unchecked(block);
            if half == 0 { first } else { *self.sums.get_unchecked(block) - first }
        }
    }
}

impl Token<'_> {
    /// The scaled sum of the activations of half `half` (0 or 1) of block `block`.
    ///
    /// # Safety
    /// The token has the block.
    #[inline(always)]
    pub(crate) unsafe fn scaled_half_sum(self, block: usize, half: usize) -> f32 {
        // SAFETY: there are a scale and a flag for each of the token's blocks, which its digits have too.
        unsafe {
            let mut sum = self.coarse.half_sum(block, half);
            if *self.refined.get_unchecked(block) {
                sum = 64 * sum + self.fine.half_sum(block, half);
            }
            *self.scales.get_unchecked(block) * sum as f32
        }
    }

    /// The scaled sum of the activations of blocks `first..=last`, added in this order.
    ///
    /// # Safety
    /// The token has block `last`, and `first <= last`.
    #[inline(always)]
    pub(crate) unsafe fn group_sum(self, first: usize, last: usize) -> f32 {
        // SAFETY: there is one scaled sum for each of the token's blocks.
        unsafe {
            let mut sum = *self.scaled_sums.get_unchecked(first);
            for block in first + 1..=last {
                sum += *self.scaled_sums.get_unchecked(block);
            }
            sum
        }
    }
}
