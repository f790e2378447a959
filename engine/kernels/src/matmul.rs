//! Products of packed matrices with quantized activations.
//!
//! The order of the floating-point operations is the same everywhere (law 2): for each row, group after group,
//! `inner = s_0 * i_0 + s_1 * i_1 + ...` over the group's blocks (s the activations' scale, i the exact integer
//! sum), then `y = y + scale * inner`, or `y = y + (scale * inner + min * sum)` if affine, with `sum` the
//! group's activations summed block after block; where a group is half a block, with that half's integer sum and
//! activations. With six-bit scales, `scale` and `min` are the exact products of a group's six bits and a row's halves.
//! Products of many tokens compute exactly the same.

mod halves;
mod job;
mod lanes;
mod many;
mod memory;
mod scales;
mod strip;
mod sums;
mod tiled;
mod unpack;

use crate::blocks::Blocks;
use crate::isa::Job;
use crate::layout::{Encoding, Scales};
use halves::multiply_halves;
use many::ManyTokens;
use strip::OneStrip;
use sums::{Binary, Bytes, Lookup, Nibbles, Split, Table, Ternary};

pub(crate) use job::MatmulJob;
pub(crate) use lanes::{LANE_STRIPS, LaneStrips};
pub(crate) use memory::fetch_ahead;
pub(crate) use tiled::{TILE_FROM, multiply_by_tiles};

/// From this many tokens on, unpacking a block once pays; lookup tables are for fewer.
pub(crate) const UNPACK_TOKENS: usize = 4;

impl<I: Blocks> Job<I> for MatmulJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let layout = *self.matrix.layout();
        let tokens = self.activations.tokens();
        for strip in self.strips.clone() {
            if layout.halves() {
                multiply_halves(isa, &self, strip);
                continue;
            }
            if tokens >= UNPACK_TOKENS {
                match (layout.encoding(), layout.scales()) {
                    (_, Scales::SixBits) => isa.enter(ManyTokens::<true, true>(&self, strip, 0)),
                    (Encoding::Bytes | Encoding::Table(_), _) => {
                        isa.enter(ManyTokens::<false, false>(&self, strip, 0));
                    }
                    _ => isa.enter(ManyTokens::<true, false>(&self, strip, 0)),
                }
                continue;
            }
            for index in 0..tokens {
                let (bytes, token) = (self.matrix.strip(strip), self.activations.token(index));
                let one = OneStrip { layout: &layout, bytes, token };
                let rows = match layout.encoding() {
                    Encoding::Nibbles => one.rows::<I, Nibbles>(isa),
                    Encoding::Bytes => one.rows::<I, Bytes>(isa),
                    Encoding::Table(_) => one.rows::<I, Table>(isa),
                    Encoding::Split(_) => one.rows::<I, Split<5>>(isa), // others have groups of half a block
                    Encoding::Ternary => one.rows::<I, Ternary>(isa),
                    Encoding::Binary => one.rows::<I, Binary>(isa),
                    Encoding::Planes(1) => one.rows::<I, Lookup<1>>(isa),
                    Encoding::Planes(2) => one.rows::<I, Lookup<2>>(isa),
                    Encoding::Planes(3) => one.rows::<I, Lookup<3>>(isa),
                    Encoding::Planes(_) => one.rows::<I, Lookup<4>>(isa),
                };
                self.store(strip, index, &rows);
            }
        }
    }
}
