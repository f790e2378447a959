//! Packing codes into strips.

use super::codes::{STRIP, put};
use super::shape::{Layout, Scales, Zero};
use super::six::{SIX_BITS, put_six};

/// Packs one strip of a layout whose scales are halves.
///
/// - `codes`: up to 32 rows x [`Layout::cols`], row after row (the last strip may have fewer rows)
/// - `scales`, `mins`: as many rows x [`Layout::groups`], f16 bit patterns; `mins` empty unless affine
/// - `out`: [`Layout::strip_bytes`] bytes, overwritten
///
/// # Panics
/// If the length of a slice does not match, or the layout has six-bit scales.
pub fn pack_strip(layout: &Layout, codes: &[u8], scales: &[u16], mins: &[u16], out: &mut [u8]) {
    assert_eq!(layout.scales(), Scales::Halves);
    let (rows, groups) = (pack_codes(layout, codes, out), layout.groups());
    assert_eq!(scales.len(), rows * groups, "one scale for each row and group");
    let affine = layout.zero() == Zero::Affine;
    assert_eq!(
        mins.len(),
        if affine { rows * groups } else { 0 },
        "one min for each row and group if affine"
    );
    for group in 0..groups {
        let (offset, _) = layout.offsets(group * layout.group_size());
        for r in 0..rows {
            out[offset + 2 * r..][..2].copy_from_slice(&scales[r * groups + group].to_le_bytes());
            if affine {
                out[offset + 2 * STRIP + 2 * r..][..2]
                    .copy_from_slice(&mins[r * groups + group].to_le_bytes());
            }
        }
    }
}

/// Packs one strip of a layout with six-bit scales.
///
/// - `codes`: up to 32 rows x [`Layout::cols`], row after row (the last strip may have fewer rows)
/// - `rows`: scale and minimum of each of as many rows, f16 bit patterns
/// - `groups`: as many rows x [`Layout::groups`], row after row: scale and minimum, both below 64, by which the row's are
///   multiplied
/// - `out`: [`Layout::strip_bytes`] bytes, overwritten
///
/// # Panics
/// If the length of a slice does not match, one of `groups` is above 63, or the layout has other scales.
pub fn pack_strip_six(layout: &Layout, codes: &[u8], rows: &[[u16; 2]], groups: &[[u8; 2]], out: &mut [u8]) {
    assert_eq!(layout.scales(), Scales::SixBits);
    let count = pack_codes(layout, codes, out);
    assert_eq!(rows.len(), count, "a scale and a min for each row");
    assert_eq!(groups.len(), count * layout.groups(), "a scale and a min for each row and group");
    assert!(groups.iter().flatten().all(|&six| six < 64), "more than six bits");
    for (r, halves) in rows.iter().enumerate() {
        for (part, half) in halves.iter().enumerate() {
            out[2 * STRIP * part + 2 * r..][..2].copy_from_slice(&half.to_le_bytes());
        }
    }
    for group in 0..layout.groups() {
        let (offset, _) = layout.offsets(group * layout.group_size());
        let bytes: &mut [u8; SIX_BITS] = out[offset..].first_chunk_mut().expect("a whole strip");
        for r in 0..count {
            put_six(bytes, r, groups[r * layout.groups() + group]);
        }
    }
}

/// Writes a strip's codes, and zeros everywhere else; returns the number of rows.
fn pack_codes(layout: &Layout, codes: &[u8], out: &mut [u8]) -> usize {
    let cols = layout.cols();
    let rows = codes.len() / cols;
    assert!(rows <= STRIP && codes.len() == rows * cols, "codes are not whole rows of a strip");
    assert_eq!(out.len(), layout.strip_bytes());
    out.fill(0);
    let unit = layout.unit();
    for first in (0..cols).step_by(unit) {
        let (_, offset) = layout.offsets(first);
        let bytes = &mut out[offset..offset + layout.unit_bytes()];
        for r in 0..rows {
            for c in 0..unit.min(cols - first) {
                put(layout.encoding(), bytes, r, c, codes[r * cols + first + c]);
            }
        }
    }
    rows
}
