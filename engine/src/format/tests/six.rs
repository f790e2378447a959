//! Six-bit scales.

use super::super::{
    FormatError, Header, ModelFile, TensorData, TensorEncoding, TensorEntry, TensorError, TensorScales,
    WriteError, Writer,
};
use super::{metadata, with_metadata};
use edgellm_kernels::layout::{Encoding, Layout, LayoutError, Scales, Zero, f32_to_f16, pack_strip_six};
use std::io::Cursor;

/// A file with a matrix of 2 x 5 whose scales have six bits.
fn six_bit_example() -> Vec<u8> {
    let layout = Layout::new(2, 5, Encoding::Planes(3), Zero::Affine, 32).unwrap();
    let layout = layout.with_scales(Scales::SixBits).unwrap();
    let entry = Writer::<Cursor<Vec<u8>>>::entry("matrix", [2, 5], (&layout).into());
    let mut writer = Writer::new(Cursor::new(Vec::new()), metadata(vec![entry]), b"{}").unwrap();
    let mut strip = vec![0; layout.strip_bytes()];
    let codes = [0, 1, 2, 3, 4, /* row 1 */ 7, 6, 5, 4, 3];
    let rows = [[0.5, -1.0], [0.25, -0.5]].map(|row| row.map(f32_to_f16));
    pack_strip_six(&layout, &codes, &rows, &[[2, 3], [63, 0]], &mut strip);
    writer.tensor("matrix", |sink| sink(&strip).map(|()| None::<TensorError>)).unwrap();
    writer.finish().unwrap().0.into_inner()
}

#[test]
fn files_with_six_bit_scales_are_of_version_4() {
    let bytes = six_bit_example();
    assert_eq!(bytes[8], 4);
    let file = ModelFile::parse(&bytes).unwrap();
    let six = TensorEncoding::Planes { bits: 3, group_size: 32, zero: None, scales: TensorScales::Six };
    assert_eq!(file.metadata().tensors[0].encoding, six);
    let json = serde_json::to_value(six).unwrap();
    assert_eq!(json, serde_json::json!({"type": "planes", "bits": 3, "group_size": 32, "scales": "six"}));
    let TensorData::Packed(matrix) = file.data(&bytes, 0) else { panic!() };
    let mut row = [0.0; 5];
    matrix.dequantize_row(0, &mut row);
    assert_eq!(row, [-3.0, -2.0, -1.0, 0.0, 1.0]);
    matrix.dequantize_row(1, &mut row);
    assert_eq!(row, [110.25, 94.5, 78.75, 63.0, 47.25]);
    // What is not said is as before.
    let halves = TensorEncoding::Nibbles { group_size: 32, zero: None, scales: TensorScales::Halves };
    let json = serde_json::json!({"type": "nibbles", "group_size": 32});
    assert_eq!(serde_json::to_value(halves).unwrap(), json);
    assert_eq!(serde_json::from_value::<TensorEncoding>(json).unwrap(), halves);
}

/// What fuzzing starts from is a valid file, so that it reaches the checks of what is in it.
#[test]
fn the_seed_of_fuzzing_is_a_file_with_six_bit_scales() {
    let bytes = include_bytes!("../../../../fuzz/seeds/tmac2/six");
    let file = ModelFile::parse(bytes).unwrap();
    let six = |tensor: &TensorEntry| tensor.encoding.scales() == TensorScales::Six;
    assert!(file.metadata().tensors.len() == 2 && file.metadata().tensors.iter().all(six));
}

#[test]
fn every_scale_of_a_row_must_be_finite() {
    let mut bytes = six_bit_example();
    let data = Header::parse(&bytes).unwrap().data_start() as usize;
    let section = ModelFile::parse(&bytes).unwrap().metadata().tensors[0].section;
    let strip = data + section.offset as usize;
    bytes[strip + 64 + 3] = 0x7c; // the minimum of row 1
    let crc32 = crc32fast::hash(&bytes[strip..strip + section.length as usize]);
    let text = String::from_utf8_lossy(&bytes[32..data])
        .replace(&format!("\"crc32\":{}", section.crc32), &format!("\"crc32\":{crc32}"));
    let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let mut text = text.trim_end_matches([' ', '\0']).as_bytes().to_vec();
    text.resize(length, b' ');
    bytes[32..32 + length].copy_from_slice(&text);
    bytes[12..16].copy_from_slice(&crc32fast::hash(&text).to_le_bytes());
    assert!(matches!(ModelFile::parse(&bytes), Err(FormatError::ScaleNotFinite { strip: 0, .. })));
}

#[test]
fn six_bit_scales_are_refused_where_no_kernel_reads_them() {
    let with = |encoding: serde_json::Value| {
        with_metadata(|json| {
            json["quantization"]["source"] = "".into();
            json["tensors"][1]["encoding"] = encoding.clone();
        })
        .map(drop)
        .unwrap_err()
    };
    let refused = |encoding| match with(encoding) {
        FormatError::Layout { name, source: LayoutError::SixBitScales(..) } => name == "matrix",
        _ => false,
    };
    assert!(refused(
        serde_json::json!({"type": "planes", "bits": 2, "group_size": 32, "zero": 1, "scales": "six"})
    ));
    assert!(refused(serde_json::json!({"type": "nibbles", "group_size": 32, "zero": 8, "scales": "six"})));
    for encoding in [
        serde_json::json!({"type": "ternary", "group_size": 32, "scales": "six"}),
        serde_json::json!({"type": "bytes", "group_size": 32, "scales": "six"}),
        serde_json::json!({"type": "split", "bits": 5, "group_size": 32, "scales": "six"}),
        serde_json::json!({"type": "nibbles", "group_size": 32, "scales": "seven"}),
    ] {
        let error = with(encoding);
        assert!(matches!(error, FormatError::Metadata(_) | FormatError::Feature { .. }), "{error}");
    }
    let encoding = TensorEncoding::Nibbles { group_size: 32, zero: Some(8), scales: TensorScales::Six };
    let entry = Writer::<Cursor<Vec<u8>>>::entry("matrix", [2, 5], encoding);
    let error = Writer::new(Cursor::new(Vec::new()), metadata(vec![entry]), b"{}").unwrap_err();
    assert!(matches!(error, WriteError::Section { .. }), "{error}");
}
