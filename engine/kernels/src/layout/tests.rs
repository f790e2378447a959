use super::{Encoding, Layout, LayoutError, Matrix, Scales, Zero, f16_to_f32, pack_strip, pack_strip_six};

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

#[test]
fn six_bit_scales_lie_where_the_format_says() {
    let (rows, cols) = (40, 80); // a strip and a quarter, two blocks and a half
    for (encoding, bits) in [(Encoding::Planes(3), 3), (Encoding::Nibbles, 4)] {
        for group_size in [32, 64] {
            let layout = Layout::new(rows, cols, encoding, Zero::Affine, group_size).unwrap();
            let layout = layout.with_scales(Scales::SixBits).unwrap();
            let groups = layout.groups();
            let scale = |row: usize| [0x3000 + 97 * row as u16, 0xb000 + 61 * row as u16];
            let six = |row: usize, group: usize| {
                [(row * 7 + group * 19) % 64, 63 - (row * 5 + group * 11) % 64].map(|x| x as u8)
            };
            let mut data = vec![0; layout.total_bytes()];
            for (strip, out) in data.chunks_exact_mut(layout.strip_bytes()).enumerate() {
                let rows = 32 * strip..rows.min(32 * strip + 32);
                let each = |width: usize| rows.clone().flat_map(move |row| (0..width).map(move |x| (row, x)));
                let codes: Vec<u8> = each(cols).map(|(row, col)| code(row, col, bits)).collect();
                let sixes: Vec<[u8; 2]> = each(groups).map(|(row, group)| six(row, group)).collect();
                let halves: Vec<[u16; 2]> = rows.clone().map(scale).collect();
                pack_strip_six(&layout, &codes, &halves, &sixes, out);
            }
            let matrix = Matrix::new(layout, &data).unwrap();
            assert_eq!(matrix.strip_not_finite(), None);
            let mut values = vec![0.0; cols];
            for row in 0..rows {
                matrix.dequantize_row(row, &mut values);
                let [d, m] = scale(row).map(f16_to_f32);
                for (col, &value) in values.iter().enumerate() {
                    let [s, t] = six(row, col / group_size);
                    let expected = (code(row, col, bits), d * f32::from(s), m * f32::from(t));
                    assert_eq!(matrix.code(row, col), expected, "row {row}, column {col}");
                    assert_eq!(value, expected.1 * f32::from(expected.0) + expected.2);
                    // Read by hand: the rows' halves, then 48 bytes for each group.
                    let (strip, r) = (matrix.strip(row / 32), row % 32);
                    let at = 128 + col / group_size * 48;
                    let pair = u16::from_le_bytes([strip[at + 2 * (r % 16)], strip[at + 2 * (r % 16) + 1]]);
                    let byte = strip[at + 32 + r % 16];
                    let read = match r < 16 {
                        true => [pair as u8 & 63, byte >> 2],
                        false => [(pair >> 10) as u8, (pair >> 6 & 15) as u8 * 4 + (byte & 3)],
                    };
                    assert_eq!(read, [s, t]);
                }
            }
            // An infinite half of a row is found; bits that would be one in a group's place are not.
            for (at, bad) in [(32 * 2 + 7, true), (128 + 1, false)] {
                let mut data = data.clone();
                data[layout.strip_bytes() + at] = 0x7c;
                let found = Matrix::new(layout, &data).unwrap().strip_not_finite();
                assert_eq!(found, bad.then_some(1));
            }
        }
    }
}

#[test]
fn six_bit_scales_are_for_affine_planes_and_nibbles() {
    let layout = |encoding, zero, size| Layout::new(1, 64, encoding, zero, size).unwrap();
    for encoding in [1, 2, 3, 4].map(Encoding::Planes).into_iter().chain([Encoding::Nibbles]) {
        let halves = layout(encoding, Zero::Affine, 32);
        let six = halves.with_scales(Scales::SixBits).unwrap();
        assert_eq!((halves.scales(), six.scales()), (Scales::Halves, Scales::SixBits));
        assert_eq!(six.strip_header_bytes(), 256, "128 + 2 * 48, rounded up");
        assert_eq!((halves.strip_bytes(), halves.strip_header_bytes()), (six.strip_bytes(), 0));
        assert_eq!(six.with_scales(Scales::Halves), Ok(halves));
        let symmetric = layout(encoding, Zero::Symmetric(1), 32);
        let error = LayoutError::SixBitScales(encoding, Zero::Symmetric(1));
        assert_eq!(symmetric.with_scales(Scales::SixBits), Err(error));
    }
    for (encoding, size) in [
        (Encoding::Split(3), 16),
        (Encoding::Split(5), 32),
        (Encoding::Table([0; 16]), 32),
        (Encoding::Bytes, 32),
    ] {
        let error = LayoutError::SixBitScales(encoding, Zero::Affine);
        assert_eq!(layout(encoding, Zero::Affine, size).with_scales(Scales::SixBits), Err(error));
    }
    let signs = Layout::new(1, 64, Encoding::Ternary, Zero::Symmetric(1), 32).unwrap();
    assert!(signs.with_scales(Scales::SixBits).is_err());
}
