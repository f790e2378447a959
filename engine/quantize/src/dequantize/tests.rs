use super::dequantize;
use crate::codes::half;
use crate::gguf::GgmlType;
use std::collections::HashSet;

/// Written by fixtures/blocks.py with the Python package `gguf`.
const FIXTURE: &[u8] = include_bytes!("../../fixtures/blocks.bin");

fn split<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (first, rest) = bytes.split_at(count);
    *bytes = rest;
    first
}

fn number(bytes: &mut &[u8]) -> u32 {
    u32::from_le_bytes(split(bytes, 4).try_into().unwrap())
}

/// For each type its blocks and their weights.
pub(crate) fn fixture() -> Vec<(GgmlType, &'static [u8], Vec<f32>)> {
    let (mut bytes, mut cases) = (FIXTURE, Vec::new());
    while !bytes.is_empty() {
        let ggml_type = match number(&mut bytes) {
            0x8000_0024 => GgmlType::I2_S_ARM, // which has the number of another
            number => GgmlType::from_number(number).unwrap(),
        };
        let (length, count) = (number(&mut bytes) as usize, number(&mut bytes) as usize);
        let blocks = split(&mut bytes, length);
        let weights = split(&mut bytes, 4 * count).as_chunks::<4>().0;
        cases.push((ggml_type, blocks, weights.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()));
    }
    cases
}

#[test]
fn every_type_gives_the_floats_of_an_independent_implementation() {
    let mut seen = HashSet::new();
    for (ggml_type, blocks, expected) in fixture() {
        let mut actual = vec![f32::NAN; expected.len()];
        assert!(dequantize(ggml_type, blocks, &mut actual), "{ggml_type}");
        for (i, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            assert_eq!(actual, expected, "{ggml_type}, weight {i}");
        }
        seen.insert(ggml_type);
    }
    assert_eq!(seen.len(), GgmlType::all().count(), "a type has no blocks in the fixture");
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for ggml_type in GgmlType::all() {
        let (weights, bytes) = (ggml_type.block_weights(), ggml_type.block_bytes());
        let block = vec![0; 2 * bytes];
        let mut out = vec![0.0; 2 * weights];
        assert!(dequantize(ggml_type, &block, &mut out), "{ggml_type}");
        assert!(!dequantize(ggml_type, &block[1..], &mut out), "{ggml_type}");
        assert!(!dequantize(ggml_type, &block, &mut out[1..]), "{ggml_type}");
        assert!(dequantize(ggml_type, &[], &mut []), "{ggml_type}");
    }
}

#[test]
fn infinite_and_undefined_halves_stay_so() {
    assert_eq!(half([0x00, 0x7c]), f32::INFINITY);
    assert_eq!(half([0x00, 0xfc]), f32::NEG_INFINITY);
    assert!(half([0x01, 0x7c]).is_nan());
    assert_eq!(half([0xff, 0x7b]), 65504.0);
}
