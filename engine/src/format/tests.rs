use super::{
    FormatError, Metadata, ModelFile, Quantization, Section, TensorData, TensorEncoding, TensorEntry,
    WriteError, Writer,
};
use crate::config::ModelConfig;
use edgellm_kernels::layout::{Encoding, Layout, Zero, f32_to_f16, pack_strip};
use std::io::{self, Cursor, Seek, SeekFrom, Write};

mod six;

/// The specification, whose example is read here.
const SPECIFICATION: &str = include_str!("../../../docs/format.md");

fn metadata(tensors: Vec<TensorEntry>) -> Metadata {
    Metadata {
        name: "Example".to_string(),
        config: ModelConfig {
            model_type: "llama".to_string(),
            hidden_size: 4,
            intermediate_size: 4,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            head_dim: 4,
            vocab_size: 3,
            max_position_embeddings: 8,
            rms_norm_eps: 0.5,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            eos_token_ids: vec![2],
            ..ModelConfig::default()
        },
        chat_template: None,
        bos_token: None,
        eos_token: None,
        quantization: Quantization {
            format: "bitnet".to_string(),
            group_size: 0,
            head: "int8".to_string(),
            method: "by hand".to_string(),
            source: "docs/format.md".to_string(),
            tool: "a test".to_string(),
            quality: None,
        },
        tokenizer: Section { offset: 0, length: 0, crc32: 0 },
        tensors,
    }
}

fn layout() -> Layout {
    Layout::new(2, 5, Encoding::Ternary, Zero::Symmetric(1), 32).unwrap()
}

/// The example of the specification: a norm of three floats, and a ternary matrix of 2 x 5.
fn write<W: Write + Seek>(out: W) -> Result<W, WriteError> {
    let layout = layout();
    let tensors = vec![
        Writer::<W>::entry("norm", [1, 3], TensorEncoding::F32),
        TensorEntry { scale: Some(0.25), ..Writer::<W>::entry("matrix", [2, 5], (&layout).into()) },
    ];
    let mut writer = Writer::new(out, metadata(tensors), b"{}")?;
    writer.tensor("norm", |sink| {
        for value in [1.0_f32, 0.5, -2.0] {
            sink(&value.to_le_bytes())?;
        }
        Ok::<_, WriteError>(None)
    })?;
    let mut strip = vec![0; layout.strip_bytes()];
    let codes = [0, 1, 2, 2, 1, /* row 1 */ 2, 2, 2, 2, 0];
    pack_strip(&layout, &codes, &[f32_to_f16(0.5), f32_to_f16(3.0)], &[], &mut strip);
    writer.tensor("matrix", |sink| sink(&strip).map(|()| Some(super::TensorError::default())))?;
    writer.finish().map(|(out, _)| out)
}

fn example() -> Vec<u8> {
    write(Cursor::new(Vec::new())).unwrap().into_inner()
}

/// Lines of 16 bytes as the specification shows them; lines of zeros are left out.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        if line.iter().any(|&byte| byte != 0) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let plain = |&byte: &u8| if (32..127).contains(&byte) { char::from(byte) } else { '.' };
            let ascii: String = line.iter().map(plain).collect();
            text += &format!("{:06x}  {:<47}  {ascii}\n", 16 * index, hex.join(" "));
        }
    }
    text + &format!("{:06x}\n", bytes.len())
}

/// The bytes of the specification's example.
fn specified() -> Vec<u8> {
    let (_, block) = SPECIFICATION.split_once("```hexdump\n").expect("a hexdump block");
    let (block, _) = block.split_once("```").expect("its end");
    let mut bytes = Vec::new();
    for line in block.lines() {
        let (offset, rest) = line.split_at(6);
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        let hex = rest.get(2..49).unwrap_or("");
        bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

#[test]
fn the_specifications_example_is_what_the_writer_writes() {
    let example = example();
    assert!(specified() == example, "docs/format.md should show:\n{}", dump(&example));
}

#[test]
fn the_specifications_example_reads_as_it_says() {
    let bytes = specified();
    let file = ModelFile::parse(&bytes).unwrap();
    assert_eq!(file.metadata().name, "Example");
    assert_eq!(file.tokenizer(&bytes), b"{}");
    let TensorData::F32(norm) = file.data(&bytes, file.position("norm").unwrap()) else { panic!() };
    assert_eq!(super::read::floats(norm).collect::<Vec<_>>(), [1.0, 0.5, -2.0]);
    let TensorData::Packed(matrix) = file.data(&bytes, file.position("matrix").unwrap()) else { panic!() };
    let mut row = [0.0; 5];
    matrix.dequantize_row(0, &mut row);
    assert_eq!(row, [-0.5, 0.0, 0.5, 0.5, 0.0]);
    matrix.dequantize_row(1, &mut row);
    assert_eq!(row, [3.0, 3.0, 3.0, 3.0, -3.0]);
}

#[test]
fn truncated_or_longer_files_are_refused() {
    let mut bytes = example();
    for length in 0..bytes.len() {
        assert!(ModelFile::parse(&bytes[..length]).is_err(), "{length}");
        assert!(ModelFile::parse_metadata(&bytes[..length]).is_err(), "{length}");
    }
    bytes.push(0);
    assert!(matches!(ModelFile::parse(&bytes), Err(FormatError::Length { .. })));
}

#[test]
fn every_flipped_bit_is_found_but_in_padding() {
    let mut bytes = example();
    let file = ModelFile::parse(&bytes).unwrap();
    let metadata = file.metadata();
    let start = super::Header::parse(&bytes).unwrap().data_start();
    let sections = [metadata.tokenizer, metadata.tensors[0].section, metadata.tensors[1].section];
    let covered = |byte: u64| {
        byte < start || sections.iter().any(|s| (s.offset..s.offset + s.length).contains(&(byte - start)))
    };
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let parsed = ModelFile::parse(&bytes);
        // Versions 1 and 2 are one bit from 3, and read alike.
        let found = covered(bit as u64 / 8) && !(1..=2).contains(&bytes[8]);
        assert_eq!(parsed.is_err(), found, "bit {} of byte {}", bit % 8, bit / 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Replaces the metadata, with a right checksum: what a hostile writer would do.
fn with_metadata(change: impl Fn(&mut serde_json::Value)) -> Result<ModelFile, FormatError> {
    let mut bytes = example();
    let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let mut json = serde_json::from_slice(&bytes[32..32 + length]).unwrap();
    change(&mut json);
    let mut text = serde_json::to_vec(&json).unwrap();
    assert!(text.len() <= length, "the change does not fit");
    text.resize(length, b' ');
    bytes[32..32 + length].copy_from_slice(&text);
    let crc32 = crc32fast::hash(&text);
    bytes[12..16].copy_from_slice(&crc32.to_le_bytes());
    ModelFile::parse(&bytes)
}

#[test]
fn metadata_that_lies_is_refused_by_name() {
    assert!(with_metadata(|_| ()).is_ok());
    let set = |pointer: &'static str, value: serde_json::Value| {
        with_metadata(|json| *json.pointer_mut(pointer).unwrap() = value.clone()).map(drop).unwrap_err()
    };
    assert!(matches!(set("/tensors/1/shape", [3, 33].into_iter().collect()), FormatError::Layout { .. }));
    assert!(matches!(set("/tensors/1/shape", [0, 5].into_iter().collect()), FormatError::Layout { .. }));
    assert!(matches!(set("/tensors/0/shape", [1, 4].into_iter().collect()), FormatError::Layout { .. }));
    let huge: serde_json::Value = [u64::MAX, u64::MAX].into_iter().collect();
    assert!(matches!(set("/tensors/0/shape", huge), FormatError::Layout { .. }));
    assert!(matches!(set("/tensors/1/offset", u64::MAX.into()), FormatError::Section { .. }));
    assert!(matches!(set("/tensors/1/offset", (u64::MAX - 63).into()), FormatError::Section { .. }));
    assert!(matches!(set("/tensors/1/offset", 65.into()), FormatError::Section { .. }));
    assert!(matches!(set("/tokenizer/length", u64::MAX.into()), FormatError::Section { .. }));
    assert!(matches!(set("/tensors/1/name", "norm".into()), FormatError::Duplicate { .. }));
    assert!(matches!(set("/config/head_dim", 3.into()), FormatError::Config(_)));
    assert!(matches!(set("/config/vocab_size", (-1).into()), FormatError::Metadata(_)));
    assert!(matches!(set("/tensors/1/crc32", 1.into()), FormatError::Checksum { .. }));
}

/// What this program would leave out when computing.
#[test]
fn features_that_are_not_known_are_refused_by_name() {
    let with = |field: &'static str, value: serde_json::Value| {
        with_metadata(|json| {
            json["quantization"]["source"] = "".into();
            json["quantization"]["method"] = "".into();
            let (object, field) = match field.split_once('/') {
                Some((object, field)) => (&mut json[object], field),
                None => (&mut *json, field),
            };
            object[field] = value.clone();
        })
    };
    match with("config/softcap", 30.into()) {
        Err(FormatError::Feature { feature }) => assert_eq!(feature, "softcap"),
        other => panic!("{other:?}"),
    }
    for (field, value, name) in [
        ("config/layer_types", serde_json::json!(["mamba"]), "`mamba`"),
        ("config/hidden_act", "gelu".into(), "`gelu`"),
        ("config/qk_norm", "layer".into(), "`layer`"),
        ("config/rope_scaling", serde_json::json!({"rope_type": "ntk"}), "`ntk`"),
        ("config/rope_scaling", serde_json::json!({"rope_type": "linear", "factor": 2, "x": 1}), "`x`"),
    ] {
        let error = with(field, value).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    // What is not computed with may be new.
    assert!(with("colour", "blue".into()).is_ok());
}

#[test]
fn files_of_older_versions_are_read() {
    let mut file = example();
    assert_eq!(file[8], 3);
    for version in [1, 2] {
        file[8] = version;
        assert_eq!(ModelFile::parse(&file).unwrap().metadata().config.model_type, "llama");
    }
}

#[test]
fn the_scale_of_a_tensor_is_a_number_of_a_packed_one() {
    let scaled = |tensor: usize, scale: serde_json::Value| {
        with_metadata(|json| json["tensors"][tensor]["scale"] = scale.clone())
    };
    assert_eq!(scaled(1, 2.5.into()).unwrap().metadata().tensors[1].scale, Some(2.5));
    assert!(matches!(scaled(0, 2.5.into()), Err(FormatError::TensorScale { scale: 2.5, .. })), "floats");
    assert!(matches!(
        scaled(1, 1e300.into()),
        Err(FormatError::TensorScale { .. } | FormatError::Metadata(_))
    ));
    match with_metadata(|json| json["tensors"][1]["rotation"] = 1.into()) {
        Err(FormatError::Feature { feature }) => assert_eq!(feature, "tensors.1.rotation"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = example();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        ModelFile::parse(&file).map(drop).unwrap_err()
    };
    assert!(matches!(changed(0, b"GGUF"), FormatError::Magic { .. }));
    assert!(matches!(changed(8, &[5]), FormatError::Version { found: 5 }));
    assert!(matches!(changed(16, &[0xff; 8]), FormatError::MetadataLength { .. }));
    assert!(matches!(changed(24, &[0xff; 8]), FormatError::Length { .. }));
    assert!(matches!(changed(24, &[0; 8]), FormatError::Length { .. }));
}

/// A disk of limited size.
struct Disk {
    cursor: Cursor<Vec<u8>>,
    size: u64,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cursor.position() + bytes.len() as u64 > self.size {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.cursor.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.cursor.seek(to)
    }
}

#[test]
fn a_full_disk_leaves_no_valid_file() {
    let whole = example().len() as u64;
    for size in 0..whole {
        let mut disk = Disk { cursor: Cursor::new(Vec::new()), size };
        assert!(matches!(write(&mut disk), Err(WriteError::Io(_))), "{size} of {whole} bytes");
        assert!(ModelFile::parse(disk.cursor.get_ref()).is_err());
    }
}

#[test]
fn tensors_other_than_announced_are_refused() {
    let start = |out: Cursor<Vec<u8>>| {
        let tensors = vec![Writer::<Cursor<Vec<u8>>>::entry("norm", [1, 3], TensorEncoding::F32)];
        Writer::new(out, metadata(tensors), b"{}").unwrap()
    };
    let fill = |count: usize| {
        move |sink: &mut dyn FnMut(&[u8]) -> Result<(), WriteError>| sink(&vec![0; count]).map(|()| None)
    };
    let section = |result: Result<(), WriteError>| matches!(result, Err(WriteError::Section { .. }));
    assert!(section(start(Cursor::default()).tensor("other", fill(12))));
    assert!(section(start(Cursor::default()).tensor("norm", fill(11))));
    assert!(section(start(Cursor::default()).finish().map(drop)));
    let mut writer = start(Cursor::default());
    assert!(writer.tensor("norm", fill(12)).is_ok());
    assert!(section(writer.tensor("norm", fill(12))));
}

#[test]
fn metadata_that_no_reader_would_take_is_not_written() {
    let mut metadata = metadata(Vec::new());
    metadata.chat_template = Some("x".repeat(usize::try_from(super::MAX_METADATA_BYTES).unwrap()));
    let error = Writer::new(Cursor::new(Vec::new()), metadata, b"{}").unwrap_err();
    assert!(
        matches!(error, WriteError::MetadataLength { length } if length > super::MAX_METADATA_BYTES),
        "{error}"
    );
}
