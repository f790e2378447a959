//! Parses arbitrary bytes as a model file, as they are and with a corrected length and checksum, without which almost
//! every mutation would be rejected early.
#![no_main]

use edgellm::format::{Header, ModelFile, TensorData};
use libfuzzer_sys::fuzz_target;

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fuzz_target!(|data: &[u8]| {
    let _ = ModelFile::parse(data);
    let mut bytes = data.to_vec();
    let length = bytes.len() as u64;
    if let Some(field) = bytes.get_mut(24..32) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    let Ok(header) = Header::parse(&bytes) else { return };
    let end = 32_u64.saturating_add(header.metadata_length);
    let Some(json) = bytes.get(32..usize::try_from(end).unwrap_or(usize::MAX)) else { return };
    let crc = crc32(json);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let _ = ModelFile::parse(&bytes);
    let Ok(file) = ModelFile::parse_metadata(&bytes) else { return };
    let _ = file.tokenizer(&bytes);
    for position in 0..file.metadata().tensors.len() {
        if let TensorData::Packed(matrix) = file.data(&bytes, position) {
            let layout = matrix.layout();
            let _ = matrix.code(layout.rows() - 1, layout.cols() - 1);
        }
    }
});
