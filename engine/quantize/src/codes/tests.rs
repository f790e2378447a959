use super::{Codes, keep, unpack};
use crate::dequantize::tests::fixture;
use crate::gguf::GgmlType;
use edgellm_kernels::layout::{BLOCK, Encoding, Layout, Matrix, Zero, f16_to_f32, pack_strip};
use std::collections::HashSet;

/// How far rounding to half precision may move `value`: half a unit in the last of 11 bits, or of the smallest subnormal.
fn rounding(value: f32) -> f32 {
    (value.abs() * 2f32.powi(-11)).max(2f32.powi(-25))
}

/// Stores the row of a type as its codes say, and compares every weight with the reference's.
fn check(ggml_type: GgmlType, codes: Codes, row: &[u8], expected: &[f32]) {
    let Codes { encoding, zero, group_size, exact } = codes;
    let group_size = if group_size == 0 { expected.len().next_multiple_of(BLOCK) } else { group_size };
    let layout = Layout::new(1, expected.len(), encoding, zero, group_size).unwrap();
    let (groups, affine) = (layout.groups(), zero == Zero::Affine);
    let (mut stored, mut scales, mut mins) =
        (vec![0; expected.len()], vec![0; groups], vec![0; if affine { groups } else { 0 }]);
    keep(ggml_type, row, zero, &mut stored, &mut scales, &mut mins).unwrap();
    let mut data = vec![0; layout.total_bytes()];
    pack_strip(&layout, &stored, &scales, &mins, &mut data);
    let matrix = Matrix::new(layout, &data).unwrap();

    let mut own = vec![0; expected.len()];
    let (mut own_scales, mut own_mins) = (vec![0.0; groups], vec![0.0; groups]);
    unpack(ggml_type, row, &mut own, &mut own_scales, &mut own_mins);
    let mut actual = vec![0.0; expected.len()];
    matrix.dequantize_row(0, &mut actual);
    let mut seen = std::collections::BTreeSet::new();
    for (i, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let (code, scale, min) = matrix.code(0, i);
        let lift = match (Codes::of(ggml_type).unwrap().zero, zero) {
            (Zero::Symmetric(own), Zero::Symmetric(stored)) => stored - own,
            _ => 0,
        };
        assert_eq!(code, own[i] + lift, "{ggml_type}: code {i}");
        seen.insert(code);
        let (own_scale, own_min) = (own_scales[i / group_size], own_mins[i / group_size]);
        let steps = f32::from(code) - if let Zero::Symmetric(zero) = zero { f32::from(zero) } else { 0.0 };
        let near = if exact { 0.0 } else { steps.abs() * rounding(own_scale) + rounding(own_min) };
        assert!((scale - own_scale).abs() <= rounding(own_scale) * if exact { 0.0 } else { 1.0 });
        assert!(!affine || (min - own_min).abs() <= rounding(own_min) * if exact { 0.0 } else { 1.0 });
        // Floats are rounded as well.
        let near = near + 2f32.powi(-22) * expected.abs().max(own_min.abs());
        let near = if exact { 0.0 } else { near };
        assert!((actual - expected).abs() <= near, "{ggml_type}: weight {i} is {actual}, was {expected}");
    }
    assert!(
        seen.len() >= 4.min(1 << encoding.bits()) - usize::from(encoding == Encoding::Ternary),
        "{ggml_type}: random codes are not all alike"
    );
}

#[test]
fn every_type_keeps_its_codes_and_scales_as_near_as_half_precision_is() {
    let mut kept = HashSet::new();
    for (ggml_type, row, expected) in fixture() {
        if let Some(codes) = Codes::of_tensor(ggml_type, row) {
            check(ggml_type, codes, row, &expected);
            if let Some(codes) = codes.as_bytes() {
                check(ggml_type, codes, row, &expected);
            }
            kept.insert(ggml_type);
        }
    }
    assert_eq!(kept.len(), GgmlType::all().count() - 3, "all but F32, F16 and BF16");
}

#[test]
fn codes_take_no_more_bits_than_in_the_source() {
    for ggml_type in GgmlType::all() {
        if let Some(codes) = Codes::of(ggml_type) {
            // Five ternary codes in a byte become two bits each.
            let packed = matches!(ggml_type, GgmlType::TQ1_0 | GgmlType::PTQ1_0);
            let source = 8 * ggml_type.block_bytes() / ggml_type.block_weights() + usize::from(packed);
            assert!(codes.encoding.bits() <= source, "{ggml_type}");
        }
    }
}

#[test]
fn scales_that_half_precision_does_not_reach_are_refused() {
    // The largest half times the largest scale, 127.
    let mut q6 = vec![0u8; 210];
    q6[192] = 127;
    q6[208..].copy_from_slice(&0x7bff_u16.to_le_bytes());
    let (mut codes, mut scales) = ([0; 256], [0; 16]);
    let refused = keep(GgmlType::Q6_K, &q6, Zero::Symmetric(32), &mut codes, &mut scales, &mut []);
    assert_eq!(refused, Err(127.0 * 65504.0));
    // 2^15, half of it in the doubled table, is the largest power of two; the smallest are rounded to zero.
    for (exponent, stored) in
        [(143, Ok(2f32.powi(15))), (144, Err(2f32.powi(16))), (0, Ok(0.0)), (104, Ok(2f32.powi(-24)))]
    {
        let mut block = vec![0x11; 17];
        block[0] = exponent;
        let kept =
            keep(GgmlType::MXFP4, &block, Zero::Symmetric(12), &mut codes[..32], &mut scales[..1], &mut []);
        assert_eq!(kept.map(|()| f16_to_f32(scales[0])), stored, "{exponent}");
    }
}
