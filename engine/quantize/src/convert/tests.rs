mod calibration;
mod importance;
mod scales;

use crate::codes::Codes;
use crate::dequantize::tests::fixture;
use crate::gguf::GgmlType;
use crate::report::Method;
use crate::testing::{CONFIG_JSON, VOCAB, metadata_without, shard, tiny_gguf, tiny_tensors};
use crate::{Format, HeadFormat, I2sOrder, QuantizeError, QuantizeOptions, RULES_VERSION, Source, quantize};
use edgellm::Model;
use edgellm::format::{Metadata, ModelFile, TensorData, TensorEncoding, TensorScales};
use edgellm_kernels::layout::{Encoding, Layout};
use safetensors::Dtype;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

fn convert(source: &Source<'_>, options: &QuantizeOptions) -> (Vec<u8>, crate::Report) {
    let mut out = Cursor::new(Vec::new());
    let (mut last, mut total) = (0, 0);
    let report = quantize(source, options, &mut out, &mut |progress| {
        assert!(progress.done > last && progress.done <= progress.total);
        (last, total) = (progress.done, progress.total);
        ControlFlow::Continue(())
    })
    .unwrap();
    match options.calibration {
        None => assert_eq!(last, report.weights),
        Some(_) => assert_eq!(last, total, "all that was announced"),
    }
    (out.into_inner(), report)
}

/// Every weight of the file equals, or is near, the source's.
fn compare(file: &[u8], source: &Source<'_>, near: f32) {
    let model = ModelFile::parse(file).unwrap();
    for (index, tensor) in source.tensors().iter().enumerate() {
        let [rows, cols] = tensor.shape();
        let (mut expected, mut actual) = (vec![0.0; cols], vec![0.0; cols]);
        match model.data(file, index) {
            TensorData::F32(bytes) => {
                let expected = tensor.read_floats().unwrap();
                let stored: Vec<f32> =
                    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                assert_eq!(expected, stored, "{}", tensor.name());
            }
            TensorData::Packed(matrix) => {
                for row in 0..rows {
                    tensor.read_row(row, &mut expected).unwrap();
                    matrix.dequantize_row(row, &mut actual);
                    let scale = model.metadata().tensors[index].scale.unwrap_or(1.0);
                    actual.iter_mut().for_each(|weight| *weight *= scale);
                    for (expected, actual) in expected.iter().zip(&actual) {
                        let name = tensor.name();
                        assert!((expected - actual).abs() <= near, "{name} {row}: {expected} {actual}");
                    }
                }
            }
        }
    }
}

#[test]
fn four_bit_and_eight_bit_blocks_are_copied_without_loss() {
    let cases = [
        (GgmlType::Q4_0, GgmlType::Q8_0, Format::Int4),
        (GgmlType::Q4_1, GgmlType::Q8_0, Format::Int4),
        (GgmlType::Q4_0, GgmlType::Q5_0, Format::Int8),
        (GgmlType::Q5_0, GgmlType::Q4_0, Format::Int8),
        (GgmlType::Q8_0, GgmlType::Q8_0, Format::Int8),
        (GgmlType::Q4_1, GgmlType::Q5_1, Format::Int8),
    ];
    for (layer, embedding, format) in cases {
        let gguf = tiny_gguf(layer, embedding);
        let source = Source::from_gguf(&gguf).unwrap();
        let (file, report) = convert(&source, &QuantizeOptions::new(format));
        compare(&file, &source, 0.0);
        assert_eq!(report.error.max, 0.0);
        assert!(report.tensors.iter().all(|tensor| tensor.method != Method::Rounded));
        assert_eq!(report.bytes, file.len() as u64);
        let metadata = ModelFile::parse(&file).unwrap().metadata().clone();
        assert_eq!(metadata.quantization.method, "lossless");
        assert_eq!(metadata.tensors[0].error.map(|error| error.max), Some(0.0));
    }
}

/// A Llama model of width 256 whose matrices, embedding included, are these blocks over and over.
pub(crate) fn of_few_bits(ggml_type: GgmlType, blocks: &[u8]) -> Vec<u8> {
    const WIDTH: usize = 256;
    let mut builder = metadata_without("llama", &["llama.embedding_length", "llama.feed_forward_length"])
        .skipping(&[])
        .u32("llama.embedding_length", WIDTH as u32)
        .u32("llama.feed_forward_length", WIDTH as u32);
    let scale = 0.37_f32.to_le_bytes();
    let mut offset = 0;
    for (name, rows) in [
        ("token_embd", VOCAB),
        ("blk.0.attn_q", WIDTH),
        ("blk.0.attn_k", WIDTH / 2),
        ("blk.0.attn_v", WIDTH / 2),
        ("blk.0.attn_output", WIDTH),
        ("blk.0.ffn_gate", WIDTH),
        ("blk.0.ffn_up", WIDTH),
        ("blk.0.ffn_down", WIDTH),
    ] {
        let length = ggml_type.row_bytes(rows * WIDTH).unwrap();
        let mut data: Vec<u8> = blocks.iter().copied().cycle().take(length).collect();
        if ggml_type.number() == 36 {
            data.extend(scale);
            data.resize(length + 32, 0);
        }
        let dims = [WIDTH as u64, rows as u64];
        builder = builder.entry(&format!("{name}.weight"), &dims, ggml_type.number(), offset, &data);
        offset += data.len().next_multiple_of(32) as u64;
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        let ones: Vec<u8> = (0..WIDTH).flat_map(|_| 1_f32.to_le_bytes()).collect();
        builder = builder.entry(name, &[WIDTH as u64], 0, offset, &ones);
        offset += ones.len() as u64;
    }
    builder.build()
}

#[test]
fn few_bits_stay_few_in_every_matrix() {
    let mut seen = Vec::new();
    for (ggml_type, blocks, _) in fixture() {
        let Some(codes) = Codes::of_tensor(ggml_type, blocks) else { continue };
        if !matches!(Codes::of(ggml_type).unwrap().encoding, Encoding::Ternary | Encoding::Binary) {
            continue;
        }
        let gguf = of_few_bits(ggml_type, blocks);
        let source = Source::from_gguf(&gguf).unwrap();
        let order = if ggml_type == GgmlType::I2_S_ARM { I2sOrder::Arm } else { I2sOrder::X86 };
        let options = QuantizeOptions { i2s_order: Some(order), ..QuantizeOptions::new(Format::Auto) };
        let (file, report) = convert(&source, &options);
        // ARM's order is known here only.
        if ggml_type != GgmlType::I2_S_ARM {
            compare(&file, &source, 0.0);
        }
        assert_eq!((report.count(Method::Lossless), report.error.max), (8, 0.0), "{ggml_type}");
        let layout = Layout::new(VOCAB, 256, codes.encoding, codes.zero, codes.group_size.max(32)).unwrap();
        let stored = ModelFile::parse(&file).unwrap().metadata().tensors[0].clone();
        if codes.group_size > 0 {
            assert_eq!((stored.encoding, stored.scale), ((&layout).into(), None), "{ggml_type}");
        } else {
            assert_eq!(stored.scale, Some(0.37), "{ggml_type}");
        }
        let format = if codes.encoding == Encoding::Binary { Format::Binary } else { Format::Bitnet };
        if codes.encoding != Encoding::Planes(2) {
            let head = HeadFormat::As(format);
            let (_, report) = convert(&source, &QuantizeOptions { format, head, ..options });
            assert_eq!(report.count(Method::Lossless), 8, "{ggml_type} as {format}");
        }
        seen.push((ggml_type, codes.encoding));
    }
    assert_eq!(seen.len(), 13, "five of the eight types with codes of 3 and without: {seen:?}");
}

#[test]
fn an_order_that_files_do_not_say_is_asked_for() {
    let (_, blocks, weights) = fixture().into_iter().find(|(kind, ..)| *kind == GgmlType::I2_S).unwrap();
    let gguf = of_few_bits(GgmlType::I2_S, blocks);
    let source = Source::from_gguf(&gguf).unwrap();
    let options = QuantizeOptions::new(Format::Auto);
    let mut out = Cursor::new(Vec::new());
    let error = quantize(&source, &options, &mut out, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, QuantizeError::I2sOrder { .. }), "{error}");
    assert!(error.to_string().contains("--i2s-order"), "{error}");
    let first = |order| {
        let (file, _) = convert(&source, &QuantizeOptions { i2s_order: Some(order), ..options.clone() });
        let model = ModelFile::parse(&file).unwrap();
        let TensorData::Packed(matrix) = model.data(&file, 0) else { panic!() };
        (0..128).map(|col| f32::from(matrix.code(0, col).0) - 1.0).collect::<Vec<_>>()
    };
    assert_eq!(first(I2sOrder::X86), weights[..128]);
    let arm = fixture().into_iter().find(|(kind, ..)| *kind == GgmlType::I2_S_ARM).unwrap();
    assert_ne!(first(I2sOrder::Arm), first(I2sOrder::X86));
    // The same bytes in ARM's order.
    let gguf = of_few_bits(GgmlType::I2_S, &arm.1.repeat(2));
    let source = Source::from_gguf(&gguf).unwrap();
    let options = QuantizeOptions { i2s_order: Some(I2sOrder::Arm), ..QuantizeOptions::new(Format::Auto) };
    let (file, _) = convert(&source, &options);
    let model = ModelFile::parse(&file).unwrap();
    let TensorData::Packed(matrix) = model.data(&file, 0) else { panic!() };
    let codes: Vec<f32> = (0..128).map(|col| f32::from(matrix.code(0, col).0) - 1.0).collect();
    assert_eq!(codes, arm.2[..128]);
}

#[test]
fn auto_keeps_what_is_quantized_and_rounds_floats() {
    let blocks =
        [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q5_0, GgmlType::Q5_1, GgmlType::Q8_0, GgmlType::IQ4_NL];
    for (layer, embedding) in blocks.into_iter().zip(blocks.into_iter().rev()) {
        let gguf = tiny_gguf(layer, embedding);
        let source = Source::from_gguf(&gguf).unwrap();
        let (file, report) = convert(&source, &QuantizeOptions::new(Format::Auto));
        compare(&file, &source, 0.0);
        assert_eq!((report.count(Method::Lossless), report.count(Method::Rounded)), (8, 0), "{layer}");
        let model = ModelFile::parse(&file).unwrap();
        let quantization = &model.metadata().quantization;
        assert_eq!((quantization.format.as_str(), quantization.head.as_str()), ("auto", "auto"));
        for tensor in &report.tensors {
            let is_embedding = tensor.name.contains("embed");
            let codes = Codes::of(if is_embedding { embedding } else { layer }).unwrap();
            let [rows, cols] = tensor.shape;
            if tensor.method == Method::Lossless {
                let layout = Layout::new(rows, cols, codes.encoding, codes.zero, 32).unwrap();
                assert_eq!(tensor.encoding, TensorEncoding::from(&layout), "{}", tensor.name);
            }
        }
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        Model::from_bytes(file).unwrap();
    }
    // Another head, if the user wants one.
    let gguf = tiny_gguf(GgmlType::Q5_0, GgmlType::F32);
    let source = Source::from_gguf(&gguf).unwrap();
    let options =
        QuantizeOptions { head: HeadFormat::As(Format::Int4), ..QuantizeOptions::new(Format::Auto) };
    let encodings = |options: &QuantizeOptions| convert(&source, options).1.tensors;
    let is_head = |tensor: &&crate::TensorReport| tensor.name.contains("embed");
    let head = encodings(&options).iter().find(is_head).unwrap().encoding;
    let nibbles = TensorEncoding::Nibbles { group_size: 32, zero: None, scales: TensorScales::Halves };
    assert_eq!(head, nibbles);
    let head = encodings(&QuantizeOptions::new(Format::Auto)).iter().find(is_head).unwrap().encoding;
    assert_eq!(head, TensorEncoding::Bytes { group_size: 32, zero: Some(128) });
}

#[test]
fn codes_scales_and_minimums_are_the_sources_own() {
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let (file, _) = convert(&source, &QuantizeOptions::new(Format::Int4));
    let model = ModelFile::parse(&file).unwrap();
    let name = "model.layers.0.self_attn.q_proj.weight";
    let tensor = source.tensors().iter().find(|tensor| tensor.name() == name).unwrap();
    let TensorData::Packed(matrix) = model.data(&file, model.position(name).unwrap()) else { panic!() };
    for row in 0..64 {
        for (block, bytes) in tensor.row(row).chunks_exact(20).enumerate() {
            for j in 0..32 {
                let code = if j < 16 { bytes[4 + j] & 15 } else { bytes[4 + j - 16] >> 4 };
                let half = |at: usize| crate::codes::half([bytes[at], bytes[at + 1]]);
                assert_eq!(matrix.code(row, 32 * block + j), (code, half(0), half(2)));
            }
        }
    }
}

#[test]
fn every_format_rounds_every_source_type_about_as_well_as_its_bits_allow() {
    let tokenizer = Source::from_gguf(&tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0)).unwrap().tokenizer;
    let weights = shard(&tiny_tensors(), Dtype::BF16);
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("model.safetensors", &weights),
    ];
    let source = Source::from_files(&files).unwrap();
    // The weights are uniform in -1..1; 2^bits even steps would leave a relative error of 2^-bits.
    let cases = [
        (Format::Auto, 0.0625, 0.25),
        (Format::Int8, 0.005, 0.02),
        (Format::Int4, 0.0625, 0.25),
        (Format::Int3, 0.125, 0.5),
        (Format::Int2, 0.25, 0.8),
        (Format::Bitnet, 0.34, 0.8),
    ];
    for (format, relative, near) in cases {
        for group_size in [None, Some(32), Some(64), Some(0)] {
            let head = HeadFormat::As(if format == Format::Int4 { Format::Int4 } else { Format::Int8 });
            let options = QuantizeOptions { group_size, head, ..QuantizeOptions::new(format) };
            let (file, report) = convert(&source, &options);
            compare(&file, &source, near);
            let error = report.error;
            assert!(error.relative > 0.0 && error.relative < relative, "{format} {group_size:?} {error:?}");
            let few = matches!(format, Format::Auto | Format::Int8);
            assert_eq!(report.warnings.is_empty(), few, "{:?}", report.warnings);
        }
    }
    let (first, _) = convert(&source, &QuantizeOptions::new(Format::Int4));
    let (second, _) = convert(&source, &QuantizeOptions::new(Format::Int4));
    assert!(first == second, "the same source gives the same file");
    let options = QuantizeOptions { group_size: Some(48), ..QuantizeOptions::new(Format::Int4) };
    let error = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(error, Err(QuantizeError::GroupSize { .. })));
}

/// JSON with sorted keys.
fn sorted(json: &Value) -> String {
    match json {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, String> =
                fields.iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.iter().map(|(name, value)| format!("{name}={value};")).collect()
        }
        Value::Array(values) => values.iter().map(|value| sorted(value) + ",").collect(),
        other => other.to_string(),
    }
}

/// Caches of model files rely on it. It does not see changes in what no two small models use.
#[test]
fn the_version_of_the_rules_goes_up_when_they_change() {
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let from_gguf = Source::from_gguf(&gguf).unwrap();
    let weights = shard(&tiny_tensors(), Dtype::BF16);
    let files: [(&str, &[u8]); 4] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &from_gguf.tokenizer),
        (
            "tokenizer_config.json",
            br#"{"eos_token": "<|im_end|>", "chat_template": "x", "add_bos_token": true}"#,
        ),
        ("model.safetensors", &weights),
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let from_files = Source::from_files(&files).unwrap();
    let cases = [
        (&from_gguf, Format::Int4),
        (&from_files, Format::Int4),
        (&from_files, Format::Int3),
        (&from_gguf, Format::Auto),
    ];
    for (source, format) in cases {
        let (file, _) = convert(source, &QuantizeOptions::new(format));
        let model = ModelFile::parse(&file).unwrap();
        let tokenizer = sorted(&serde_json::from_slice(model.tokenizer(&file)).unwrap());
        let Metadata { name, config, chat_template, bos_token, eos_token, tensors, .. } = model.metadata();
        let tensors: Vec<_> = tensors.iter().map(|t| (&t.name, t.encoding, t.section.crc32)).collect();
        let text = format!("{name} {config:?} {chat_template:?} {bos_token:?} {eos_token:?} {tensors:?}");
        for byte in text.bytes().chain(tokenizer.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(
        (RULES_VERSION, hash),
        (5, 0xc7ff_cbc6_bc12_0679),
        "the conversion gives another file: raise RULES_VERSION once between two releases, and write {hash:#018x} here"
    );
}

#[test]
fn templates_get_the_texts_that_the_source_names() {
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let mut source = Source::from_gguf(&gguf).unwrap();
    source.chat_template = Some("[{{ bos_token }}]({{ eos_token }})".to_string());
    let render = |source: &Source<'_>| {
        let (file, _) = convert(source, &QuantizeOptions::new(Format::Int4));
        let model = Model::from_bytes(file).unwrap();
        model.chat_template().unwrap().unwrap().render(&[], false).unwrap().text().to_string()
    };
    // No BOS token is added to a text, and the first end token is <|endoftext|>.
    assert_eq!((source.config.bos_token_id, source.config.eos_token_ids[0]), (None, 0));
    assert_eq!(render(&source), "[<|im_start|>](<|im_end|>)");
    (source.bos_token, source.eos_token) = (String::new(), "<｜end▁of▁sentence｜>".to_string());
    source.config.bos_token_id = Some(1);
    assert_eq!(render(&source), "[](<｜end▁of▁sentence｜>)");
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
fn a_full_disk_or_a_stop_leaves_no_valid_file() {
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let options = QuantizeOptions::new(Format::Int4);
    let whole = convert(&source, &options).1.bytes;
    for size in (0..whole).step_by(509).chain([whole - 1]) {
        let mut disk = Disk { cursor: Cursor::new(Vec::new()), size };
        let result = quantize(&source, &options, &mut disk, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(result, Err(QuantizeError::Write(_))), "{size} of {whole} bytes");
        assert!(ModelFile::parse(disk.cursor.get_ref()).is_err());
    }
    let mut strips = 0;
    let mut out = Cursor::new(Vec::new());
    let result = quantize(&source, &options, &mut out, &mut |_| {
        strips += 1;
        if strips == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(result, Err(QuantizeError::Cancelled)));
    assert!(ModelFile::parse(out.get_ref()).is_err());
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let mut gguf = tiny_gguf(GgmlType::F32, GgmlType::F32);
    let start = gguf.len() - 4 * 64;
    gguf[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let source = Source::from_gguf(&gguf).unwrap();
    let options = QuantizeOptions::new(Format::Int8);
    let error = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(()));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("model.norm.weight") && error.contains("NaN"), "{error}");
}

#[test]
fn flipped_bits_in_a_gguf_file_never_panic() {
    let mut gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let options = QuantizeOptions::new(Format::Int4);
    for bit in (0..gguf.len() * 8).step_by(1009) {
        gguf[bit / 8] ^= 1 << (bit % 8);
        if let Ok(source) = Source::from_gguf(&gguf) {
            let _ = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(()));
        }
        gguf[bit / 8] ^= 1 << (bit % 8);
    }
}
