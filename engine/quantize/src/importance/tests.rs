use super::{Importance, ImportanceError};
use crate::gguf::GgmlType;
use crate::gguf::tests::Builder;

/// The means of a matrix, and how many inputs they were measured on.
pub(crate) type Entry<'e> = (&'e str, Vec<f32>, u32);

/// A file of the binary format.
pub(crate) fn legacy(entries: &[Entry<'_>]) -> Vec<u8> {
    let int = |value: usize| (value as i32).to_le_bytes();
    let mut file = int(entries.len()).to_vec();
    for (name, means, count) in entries {
        file.extend(
            [&int(name.len())[..], name.as_bytes(), &int(*count as usize), &int(means.len())].concat(),
        );
        file.extend(means.iter().flat_map(|mean| (mean * *count as f32).to_le_bytes()));
    }
    let text = "wiki.train.raw";
    file.extend([&int(7)[..], &int(text.len()), text.as_bytes()].concat());
    file
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn metadata() -> Builder {
    Builder::default()
        .string("general.type", "imatrix")
        .strings("imatrix.datasets", &["wiki.train.raw".to_string()])
        .u32("imatrix.chunk_count", 7)
        .u32("imatrix.chunk_size", 512)
}

/// A file of the GGUF format.
pub(crate) fn gguf(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = metadata();
    for (name, means, count) in entries {
        let sums: Vec<f32> = means.iter().map(|mean| mean * *count as f32).collect();
        let dims = [means.len() as u64];
        builder = builder.tensor(&format!("{name}.in_sum2"), &dims, GgmlType::F32, &bytes(&sums));
        builder = builder.tensor(&format!("{name}.counts"), &[1], GgmlType::F32, &bytes(&[*count as f32]));
    }
    builder.build()
}

fn entries() -> Vec<Entry<'static>> {
    vec![
        ("blk.0.attn_q.weight", vec![0.5, 2.0, 0.0, 1e-3], 4),
        ("blk.0.ffn_down.weight", vec![1.0, 3.0], 8),
        ("output.weight", vec![0.25], 1),
    ]
}

#[test]
fn both_formats_say_the_same() {
    let (old, new) = (Importance::parse(&legacy(&entries())), Importance::parse(&gguf(&entries())));
    let old = old.unwrap();
    assert_eq!(old, new.unwrap());
    for (name, means, _) in entries() {
        assert_eq!(old.means(name), Some(&means[..]));
    }
    assert_eq!(old.names().count(), 3);
    assert_eq!(old.means("blk.1.attn_q.weight"), None);
}

#[test]
fn older_binary_files_end_after_their_entries() {
    let file = legacy(&entries());
    let end = file.len() - "wiki.train.raw".len() - 8;
    let expected = Importance::parse(&file).unwrap();
    for shorter in [end, end + 4] {
        assert_eq!(Importance::parse(&file[..shorter]).unwrap(), expected, "{shorter}");
    }
}

#[test]
fn experts_that_the_text_never_reached_are_no_defect() {
    let name = "blk.0.ffn_up_exps.weight";
    let file = metadata()
        .tensor(&format!("{name}.in_sum2"), &[2, 3], GgmlType::F32, &bytes(&[2.0, 4.0, 0.0, 0.0, 3.0, 9.0]))
        .tensor(&format!("{name}.counts"), &[1, 3], GgmlType::F32, &bytes(&[2.0, 0.0, 3.0]))
        .build();
    assert_eq!(Importance::parse(&file).unwrap().means(name), Some(&[1.0, 2.0, 0.0, 0.0, 1.0, 3.0][..]));
}

#[test]
fn every_truncation_is_an_error() {
    for file in [legacy(&entries()), gguf(&entries())] {
        let text = "wiki.train.raw".len() + 8;
        for length in 0..file.len() {
            let result = Importance::parse(&file[..length]);
            let older = [file.len() - text, file.len() - text + 4].contains(&length);
            let padding = file.starts_with(b"GGUF") && length >= file.len() - 28;
            // The padding after the last tensor is none of its bytes.
            assert!(result.is_err() || padding || older && !file.starts_with(b"GGUF"), "{length} bytes");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for mut file in [legacy(&entries()), gguf(&entries())] {
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            let _ = Importance::parse(&file);
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn values_that_are_no_mean_squares_are_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
        let entries = [("blk.3.attn_k.weight", vec![1.0, value, 2.0], 2)];
        for file in [legacy(&entries), gguf(&entries)] {
            let error = Importance::parse(&file).unwrap_err();
            assert!(matches!(&error, ImportanceError::Value { column: 1, .. }), "{error}");
            assert!(error.to_string().contains("blk.3.attn_k.weight for column 1 is"), "{error}");
        }
    }
}

#[test]
fn counts_that_are_none_are_named() {
    let none = [("blk.3.attn_k.weight", vec![1.0], 0)];
    for file in [legacy(&none), gguf(&none)] {
        let error = Importance::parse(&file).unwrap_err().to_string();
        assert!(error.contains("blk.3.attn_k.weight was measured on 0 inputs"), "{error}");
    }
    for count in [f32::NAN, f32::INFINITY, -2.0] {
        let file = metadata()
            .tensor("a.in_sum2", &[1], GgmlType::F32, &bytes(&[1.0]))
            .tensor("a.counts", &[1], GgmlType::F32, &bytes(&[count]))
            .build();
        assert!(matches!(Importance::parse(&file), Err(ImportanceError::Count { .. })), "{count}");
    }
}

#[test]
fn sums_and_counts_belong_together() {
    let one = bytes(&[1.0]);
    let halves = [0; 2];
    let cases = [
        (metadata().tensor("a.in_sum2", &[1], GgmlType::F32, &one), "a without its counts"),
        (metadata().tensor("a.counts", &[1], GgmlType::F32, &one), "a without its sums"),
        (
            metadata().tensor("a.in_sum2", &[1], GgmlType::F16, &halves).tensor(
                "a.counts",
                &[1],
                GgmlType::F32,
                &one,
            ),
            "type F16 instead of F32",
        ),
        (
            metadata().tensor("a.in_sum2", &[1], GgmlType::F32, &one).tensor(
                "a.counts",
                &[1, 2],
                GgmlType::F32,
                &bytes(&[1.0, 2.0]),
            ),
            "for 1 matrices with 2 counts",
        ),
        (metadata(), "a GGUF file without tensors named .in_sum2"),
        (metadata().tensor("token_embd.weight", &[1], GgmlType::F32, &one), "a GGUF file without tensors"),
    ];
    for (file, expected) in cases {
        let error = Importance::parse(&file.build()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn binary_files_that_lie_are_refused() {
    let int = |value: i32| value.to_le_bytes().to_vec();
    let entry = |name: &[u8]| [int(name.len() as i32), name.to_vec(), int(1), int(1), bytes(&[1.0])].concat();
    let cases = [
        ([int(-1), entry(b"a")].concat(), "says -1 for the number of entries at byte 0"),
        ([int(i32::MAX), entry(b"a")].concat(), "for the number of entries"),
        ([int(1), int(-5)].concat(), "says -5 for the length of a name at byte 4"),
        ([int(1), int(i32::MAX)].concat(), "a name at byte 8 needs 2147483647 more"),
        ([int(1), int(1), b"a".to_vec(), int(1), int(0)].concat(), "says 0 for the number of values"),
        (
            [int(1), int(1), b"a".to_vec(), int(1), int(i32::MAX)].concat(),
            "the values of an entry at byte 17",
        ),
        ([int(1), entry(b"\xff")].concat(), "the name at byte 8 of the importance matrix is not UTF-8"),
        ([int(2), entry(b"a"), entry(b"a")].concat(), "has a twice"),
        ([int(1), entry(b"a"), int(1), int(0), vec![9; 3]].concat(), "3 bytes after its end"),
        ([int(1), entry(b"a"), int(1), int(-1)].concat(), "says -1 for the length of the text's name"),
        (Vec::new(), "no importance matrix, but empty"),
        (b"<html>sign in</html>".to_vec(), "a web page"),
    ];
    for (file, expected) in cases {
        let error = Importance::parse(&file).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}
