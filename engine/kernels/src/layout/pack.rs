//! Packing codes into strips.

use super::codes::{STRIP, put};
use super::shape::{Layout, Zero};

/// Packs one strip.
///
/// - `codes`: up to 32 rows x [`Layout::cols`], row after row (the last strip may have fewer rows)
/// - `scales`, `mins`: as many rows x [`Layout::groups`], f16 bit patterns; `mins` empty unless affine
/// - `out`: [`Layout::strip_bytes`] bytes, overwritten
///
/// # Panics
/// If the length of a slice does not match.
pub fn pack_strip(layout: &Layout, codes: &[u8], scales: &[u16], mins: &[u16], out: &mut [u8]) {
    let (cols, groups) = (layout.cols(), layout.groups());
    let rows = codes.len() / cols;
    assert!(rows <= STRIP && codes.len() == rows * cols, "codes are not whole rows of a strip");
    assert_eq!(scales.len(), rows * groups, "one scale for each row and group");
    let affine = layout.zero() == Zero::Affine;
    assert_eq!(
        mins.len(),
        if affine { rows * groups } else { 0 },
        "one min for each row and group if affine"
    );
    assert_eq!(out.len(), layout.strip_bytes());
    out.fill(0);
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
}
