//! Q2_0 of before its release: files have it under the same number, in blocks of 128 instead of 64 weights, which are what
//! [`GgmlType::PQ2_0`] has. Only the lengths of the tensors tell.

use super::types::GgmlType;
use super::{Entry, GgufError};

/// Gives the tensors of type Q2_0 the version that the lengths of all of them have, to the next tensor's offset or the end of
/// `data_len` bytes of data.
pub(super) fn tell_apart(entries: &mut [Entry<'_>], data_len: u64, alignment: u64) -> Result<(), GgufError> {
    let mut offsets: Vec<u64> = entries.iter().map(|entry| entry.offset).collect();
    offsets.sort_unstable();
    let (mut official, mut legacy) = (true, true);
    let mut last = None;
    for entry in entries.iter().filter(|entry| entry.ggml_type == GgmlType::Q2_0) {
        let next = offsets.get(offsets.partition_point(|&offset| offset <= entry.offset)).copied();
        let available = next.unwrap_or(data_len).saturating_sub(entry.offset);
        // Padded to the alignment, or the last one and not padded.
        let fits = |size: u64| size <= available && available - size < alignment;
        let older = GgmlType::PQ2_0.tensor_bytes(&entry.dims);
        official &= fits(entry.size);
        legacy &= older.is_some_and(fits);
        last = Some((entry, available, older.unwrap_or(0)));
    }
    let Some((entry, available, older)) = last else { return Ok(()) };
    if official == legacy {
        return Err(GgufError::TwoVersions {
            name: entry.name.to_string(),
            ggml_type: entry.ggml_type,
            available,
            official: entry.size,
            legacy: older,
        });
    }
    if legacy {
        for entry in entries.iter_mut().filter(|entry| entry.ggml_type == GgmlType::Q2_0) {
            (entry.ggml_type, entry.size) =
                (GgmlType::PQ2_0, GgmlType::PQ2_0.tensor_bytes(&entry.dims).unwrap_or(0));
        }
    }
    Ok(())
}
