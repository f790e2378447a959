//! Attention as the threads of a pool take it: all of it, a segment, or the merging of segments.

use super::partial::{Partial, empty, finish, merge};
use super::query::{Attention, EXTRA};
use super::walk::segment;
use crate::isa::{Isa, Job};

/// All of an attention.
///
/// Whoever constructs one guarantees that floats in the shape of all queries are writable at `output`, and that no other
/// thread accesses those of the attention's queries.
pub(crate) struct AttendJob<'a> {
    pub(crate) attention: Attention<'a>,
    pub(crate) output: *mut f32,
}

impl<I: Isa> Job<I> for AttendJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let (mut merged, mut partial) = (Partial::uninit(), Partial::uninit());
        for part in self.attention.parts::<I>() {
            let merged = merged.empty(part.partial_len());
            for index in part.segments() {
                let partial = partial.empty(part.partial_len());
                segment(isa, part, index, partial);
                merge(merged, partial, part.rows * part.heads);
            }
            // SAFETY: by the contract of the type; the queries of a part are among the attention's.
            unsafe { finish(merged, part, self.output) };
        }
    }
}

/// One segment of an attention of one row, written to `partial`.
pub(crate) struct SegmentJob<'a> {
    pub(crate) attention: Attention<'a>,
    pub(crate) index: usize,
    pub(crate) partial: &'a mut [f32],
}

impl<I: Isa> Job<I> for SegmentJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let SegmentJob { attention, index, partial } = self;
        assert!(attention.segments().contains(&index) && partial.len() == attention.partial_len());
        assert!(attention.rows == 1);
        let stride = attention.place.layout.padded() + EXTRA;
        for part in attention.parts::<I>() {
            let partial = &mut partial[part.first * stride..][..part.heads * stride];
            empty(partial);
            segment(isa, part, index, partial);
        }
    }
}

/// Merges the partial results of the segments of an attention of one row. The contract is that of [`AttendJob`].
pub(crate) struct MergeJob<'a> {
    pub(crate) attention: Attention<'a>,
    /// Segment after segment, `len` floats each, of which a partial result uses the first.
    pub(crate) partials: &'a [f32],
    pub(crate) len: usize,
    pub(crate) output: *mut f32,
}

impl<I: Isa> Job<I> for MergeJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let MergeJob { attention, partials, len, output } = self;
        assert!(partials.len() >= attention.segments().end * len && len >= attention.partial_len());
        assert!(attention.rows == 1);
        let stride = attention.place.layout.padded() + EXTRA;
        let mut merged = Partial::uninit();
        for part in attention.parts::<I>() {
            let merged = merged.empty(part.heads * stride);
            for index in part.segments() {
                let partial = &partials[index * len..];
                merge(merged, &partial[part.first * stride..][..part.heads * stride], part.heads);
            }
            // SAFETY: by the contract of the type; the queries of a part are among the attention's.
            unsafe { finish(merged, part, output) };
        }
    }
}
