//! How the threads of a pool share attention: [`crate::Kernels::attend`].

use crate::attention::{
    AttendJob, Attention, MAX_HEAD_DIM, MergeJob, Place, Queries, SEGMENT_PAGES, SegmentJob,
};
use crate::page::{CacheFormat, PAGE_POSITIONS};
use crate::pool::Pool;
use crate::set::KernelSet;

/// With fewer attentions than this for each thread, threads would wait too long for the last of them to end.
const FEW_ATTENTIONS: usize = 4;
/// Rows of one piece of work: as many as may be walked together.
const ROWS: usize = 8;

/// Where floats begin that the threads of a call write.
struct Target(*mut f32);
// SAFETY: each query of the output, and each partial result, is handed to one thread.
unsafe impl Sync for Target {}

/// See [`crate::Kernels::attend`].
pub(crate) fn attend<'a>(
    set: &dyn KernelSet,
    pool: &Pool,
    queries: Queries<'a>,
    place: &(dyn Fn(usize) -> Place<'a> + Sync),
    output: &mut [f32],
    partials: &mut Vec<f32>,
) {
    check(queries, output);
    let (rows, kv_heads) = (output.len() / queries.width(), queries.kv_heads);
    let (count, wanted) = (rows * kv_heads, FEW_ATTENTIONS * pool.threads());
    if pool.threads() > 1 && count < wanted {
        return attend_by_segments(set, pool, queries, place, output, partials);
    }
    // A power of two, so that pieces do not split rows that are walked together.
    let mut piece = ROWS;
    while piece > 1 && rows.div_ceil(piece) * kv_heads < wanted {
        piece /= 2;
    }
    let target = Target(output.as_mut_ptr());
    let target = &target;
    pool.for_each_range(rows.div_ceil(piece) * kv_heads, &|range| {
        for index in range {
            let (mut row, kv_head) = (index / kv_heads * piece, index % kv_heads);
            let end = rows.min(row + piece);
            while row < end {
                let attention = attention(queries, place(row), row, end - row, kv_head);
                row += attention.rows;
                // SAFETY: the output has the queries' length, and each row and head is handed to one thread.
                unsafe { set.attend(AttendJob { attention, output: target.0 }) };
            }
        }
    });
}

/// [`attend`] with each row, and the segments of each attention, as work of its own.
pub(crate) fn attend_by_segments<'a>(
    set: &dyn KernelSet,
    pool: &Pool,
    queries: Queries<'a>,
    place: &(dyn Fn(usize) -> Place<'a> + Sync),
    output: &mut [f32],
    partials: &mut Vec<f32>,
) {
    check(queries, output);
    let kv_heads = queries.kv_heads;
    let count = output.len() / queries.width() * kv_heads;
    let job = |index: usize| {
        let row = index / kv_heads;
        attention(queries, place(row), row, 1, index % kv_heads)
    };
    let (mut segments, mut room, mut len) = (0, 0, 0);
    for attention in (0..count).map(job) {
        segments = segments.max(attention.segments().end);
        // For all pages, not just those in use, so that decoding into reserved pages does not allocate.
        room = room.max(attention.place.pages.len().div_ceil(SEGMENT_PAGES));
        len = len.max(attention.partial_len());
    }
    if partials.len() < count * room * len {
        partials.resize(count * room * len, 0.0);
    }
    let target = Target(partials.as_mut_ptr());
    let target = &target;
    pool.for_each_range(count * segments, &|range| {
        for at in range {
            let (index, segment) = (at / segments, at % segments);
            let attention = job(index);
            if attention.segments().contains(&segment) {
                let from = (index * room + segment) * len;
                // SAFETY: index < count and, as asserted, segment < room and partial_len() <= len, so the floats are
                // within the count * room * len of `partials`; each segment is handed to one thread.
                let partial = unsafe {
                    assert!(segment < room && attention.partial_len() <= len);
                    std::slice::from_raw_parts_mut(target.0.add(from), attention.partial_len())
                };
                set.attend_segment(SegmentJob { attention, index: segment, partial });
            }
        }
    });
    let (partials, target) = (&partials[..], Target(output.as_mut_ptr()));
    let target = &target;
    pool.for_each_range(count, &|range| {
        for index in range {
            let partials = &partials[index * room * len..][..room * len];
            let merge = MergeJob { attention: job(index), partials, len, output: target.0 };
            // SAFETY: the output has the queries' length, and each attention is handed to one thread.
            unsafe { set.merge_segments(merge) };
        }
    });
}

/// # Panics
/// If lengths do not match.
fn check(queries: Queries<'_>, output: &[f32]) {
    let width = queries.width();
    assert!(width > 0 && queries.values.len().is_multiple_of(width), "queries are not whole rows");
    assert_eq!(output.len(), queries.values.len(), "the output is not like the queries");
}

/// The attention of up to `rows` rows from `row` on, as many as end on the same page.
///
/// # Panics
/// If the place does not suit the queries or has too few pages.
fn attention<'a>(
    queries: Queries<'a>,
    place: Place<'a>,
    row: usize,
    rows: usize,
    kv_head: usize,
) -> Attention<'a> {
    let Queries { values, quantized, head_dim, .. } = queries;
    let padded = place.layout.padded();
    assert!(place.layout.head_dim() == head_dim && padded <= MAX_HEAD_DIM, "heads differ");
    if place.layout.format() == CacheFormat::Int8 {
        assert!(quantized.padded_cols() == padded && values.len() <= quantized.tokens() * head_dim);
    }
    let on_page = PAGE_POSITIONS - (place.positions - 1) % PAGE_POSITIONS;
    let rows = rows.min(place.rows).min(on_page);
    assert!(rows > 0 && place.positions + rows - 1 <= place.pages.len() * PAGE_POSITIONS, "too few pages");
    Attention { queries, place, row, rows, kv_head, first: 0, heads: queries.group }
}
