use super::{Encoding, Layout, LayoutError, Matrix, Zero, pack_strip};

/// Codes that differ from row to row and column to column.
fn code(row: usize, col: usize, bits: usize) -> u8 {
    ((row * 37 + col * 11 + row * col) % (1 << bits)) as u8
}

#[test]
fn split_codes_lie_where_the_format_says() {
    for (bits, group_size, fields) in
        [(2, 16, &[2][..]), (3, 16, &[2, 1]), (5, 32, &[4, 1]), (6, 16, &[4, 2])]
    {
        let cols = 48; // a block and a half
        let layout =
            Layout::new(32, cols, Encoding::Split(bits as u8), Zero::Symmetric(0), group_size).unwrap();
        let codes: Vec<u8> = (0..32 * cols).map(|i| code(i / cols, i % cols, bits)).collect();
        let mut data = vec![0; layout.total_bytes()];
        pack_strip(&layout, &codes, &vec![0x3c00; 32 * layout.groups()], &[], &mut data);
        let matrix = Matrix::new(layout, &data).unwrap();
        let mut row = vec![0.0; cols];
        for r in 0..32 {
            matrix.dequantize_row(r, &mut row);
            for (c, value) in row.iter().enumerate() {
                let expected = code(r, c, bits);
                assert_eq!((matrix.code(r, c), *value), ((expected, 1.0, 0.0), f32::from(expected)));
                // Read by hand: after the scales, half after half, field after field, runs packed into 64 bytes.
                let (half, g, j) = (c / 16, c % 16 / 4, c % 4);
                let (h, i) = (r / 16, r % 16);
                let scales = 64 * (if group_size == 16 { half + 1 } else { half / 2 + 1 });
                let mut at = scales + half * 64 * bits;
                let (mut read, mut below) = (0, 0);
                for width in fields {
                    let (run, per_byte) = (2 * g + h, 8 / width);
                    let byte = data[at + run / per_byte * 64 + 4 * i + j];
                    read |= (byte >> (run % per_byte * width) & ((1 << width) - 1)) << below;
                    at += 64 * width;
                    below += width;
                }
                assert_eq!(read, expected, "{bits} bits, row {r}, column {c}");
            }
        }
    }
}

#[test]
fn groups_of_half_a_block_are_for_split_codes_alone() {
    let layout = |encoding, group_size| Layout::new(1, 64, encoding, Zero::Affine, group_size);
    for bits in [2, 3, 6] {
        assert!(layout(Encoding::Split(bits), 16).is_ok_and(|layout| layout.halves()));
        assert_eq!(layout(Encoding::Split(bits), 32), Err(LayoutError::GroupSize(32)));
    }
    for encoding in [Encoding::Split(5), Encoding::Nibbles, Encoding::Table([0; 16]), Encoding::Planes(2)] {
        assert!(layout(encoding, 32).is_ok_and(|layout| !layout.halves()));
        for size in [0, 16, 48] {
            assert_eq!(layout(encoding, size), Err(LayoutError::GroupSize(size)));
        }
    }
    for bits in [0, 1, 4, 7, 8] {
        assert_eq!(layout(Encoding::Split(bits), 32), Err(LayoutError::SplitBits(bits)));
    }
}
