//! The byte-level alphabet of GPT-2: a printable character for each byte.

/// The byte that a character stands for: printable Latin-1 for itself, the rest from U+0100.
pub(super) fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        c @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(c as u8),
        c @ 0x100..=0x120 => Some((c - 0x100) as u8),
        c @ 0x121..=0x142 => Some((c - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The character that stands for a byte.
pub(super) fn char_of(byte: u8) -> char {
    let c = match u32::from(byte) {
        c @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => c,
        c @ 0..=0x20 => c + 0x100,
        c @ 0x7F..=0xA0 => c - 0x7F + 0x121,
        _ => 0x143,
    };
    char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions() {
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        assert_eq!((char_of(b' '), char_of(b'\n'), char_of(b'a'), byte_of('日')), ('Ġ', 'Ċ', 'a', None));
    }
}
