//! The checkpoints that scripts/reference/packed makes with the programs that define the formats.

mod refusals;

use crate::codes::Codes;
use crate::source::tests::tokenizer_json;
use crate::source::{Source, SourceTensor};
use crate::{Format, QuantizeOptions, Report, quantize};
use edgellm::format::{ModelFile, TensorData};
use edgellm::{Model, Session, SessionOptions};
use edgellm_kernels::layout::{Encoding, Zero};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::ZipArchive;

/// What a model file must hold of a tensor.
#[derive(Deserialize)]
struct Expected {
    encoding: String,
    group_size: usize,
    zero: Option<u8>,
    exact: bool,
    scale: f32,
    // Hashes.
    codes: String,
    scales: String,
    minimums: Option<String>,
    weights: String,
}

/// A checkpoint that can be changed.
#[derive(Clone)]
struct Checkpoint {
    config: Value,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    expected: Arc<BTreeMap<String, Expected>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/packed")
}

impl Checkpoint {
    fn names() -> Vec<String> {
        let paths = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> =
            paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }

    fn read(name: &str) -> Checkpoint {
        let mut archive = ZipArchive::new(File::open(folder().join(format!("{name}.zip"))).unwrap()).unwrap();
        let mut member = |name: &str| {
            let mut bytes = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        let weights = member("model.safetensors");
        let tensors = SafeTensors::deserialize(&weights).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            (name.to_string(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        });
        Checkpoint {
            config: serde_json::from_slice(&member("config.json")).unwrap(),
            tensors: tensors.collect(),
            expected: Arc::new(serde_json::from_slice(&member("expected.json")).unwrap()),
        }
    }

    /// The file with the weights.
    fn weights(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    /// What `then` makes of the source.
    fn source<T>(&self, then: impl FnOnce(&Source<'_>) -> T) -> Result<T, String> {
        let (config, weights) = (serde_json::to_vec(&self.config).unwrap(), self.weights());
        let files: [(&str, &[u8]); 3] = [
            ("config.json", &config),
            ("tokenizer.json", &tokenizer_json()),
            ("model.safetensors", &weights),
        ];
        Source::from_files(&files).map(|source| then(&source)).map_err(|error| error.to_string())
    }

    /// The model file, and the report.
    fn converted(&self, format: Format) -> (Vec<u8>, Report) {
        self.source(|source| {
            let mut out = Cursor::new(Vec::new());
            let options = QuantizeOptions::new(format);
            let report = quantize(source, &options, &mut out, &mut |_| ControlFlow::Continue(())).unwrap();
            (out.into_inner(), report)
        })
        .unwrap()
    }
}

/// FNV-1a of 64 bits.
fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step))
}

fn check(tensor: &SourceTensor<'_>, expected: &Expected) -> Result<(), String> {
    let encoding = match expected.encoding.as_str() {
        "planes 2" => Encoding::Planes(2),
        "planes 3" => Encoding::Planes(3),
        "nibbles" => Encoding::Nibbles,
        "bytes" => Encoding::Bytes,
        "ternary" => Encoding::Ternary,
        other => panic!("{other}"),
    };
    let zero = expected.zero.map_or(Zero::Affine, Zero::Symmetric);
    let kept = Codes { encoding, zero, group_size: expected.group_size, exact: expected.exact };
    let [rows, cols] = tensor.shape();
    let groups = if kept.group_size == 0 { 1 } else { cols.div_ceil(kept.group_size) };
    let mut codes = vec![0; rows * cols];
    let mut scales = vec![0; rows * groups];
    let mut mins = vec![0; if zero == Zero::Affine { rows * groups } else { 0 }];
    let mut weights = vec![0.0; rows * cols];
    for row in 0..rows {
        let mins = mins.get_mut(row * groups..(row + 1) * groups).unwrap_or_default();
        let (codes, scales) = (&mut codes[row * cols..][..cols], &mut scales[row * groups..][..groups]);
        tensor.keep_row(row, zero, codes, scales, mins).unwrap();
        tensor.read_row(row, &mut weights[row * cols..][..cols]).unwrap();
    }
    let bytes = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<_>>();
    let same = [
        ("settings", tensor.codes() == Some(kept)),
        ("scale", tensor.scale() == expected.scale),
        ("codes", hash(codes) == expected.codes),
        ("scales", hash(bytes(&scales)) == expected.scales),
        ("minimums", expected.minimums.as_ref().is_none_or(|minimums| hash(bytes(&mins)) == *minimums)),
        ("weights", hash(weights.iter().flat_map(|weight| weight.to_le_bytes())) == expected.weights),
    ];
    match same.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(format!("{}: other {what}; settings {:?}", tensor.name(), tensor.codes())),
    }
}

#[test]
fn weights_are_those_of_the_programs_that_define_the_formats() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for name in Checkpoint::names() {
        let checkpoint = Checkpoint::read(&name);
        let checked = checkpoint.source(|source| {
            for (name, expected) in checkpoint.expected.iter() {
                let tensor = source.tensors().iter().find(|tensor| tensor.name() == name).unwrap();
                check(tensor, expected)?;
                seen += 1;
            }
            Ok(())
        });
        wrong.extend(checked.and_then(|checked| checked).err().map(|error| format!("{name}: {error}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 130, "{seen} tensors");
}

/// The model file has the same weights: exactly, or with minimums that are rounded to half precision.
#[test]
fn model_files_hold_the_codes() {
    for name in Checkpoint::names() {
        let checkpoint = Checkpoint::read(&name);
        let (file, report) = checkpoint.converted(Format::Auto);
        for tensor in &report.tensors {
            let method = checkpoint.expected.get(&tensor.name).map(|expected| match expected.exact {
                true => "lossless",
                false => "codes",
            });
            assert!(method.is_none_or(|method| tensor.method.name() == method), "{name}: {tensor:?}");
            let most = tensor.error.map_or(0.0, |error| error.max);
            assert!(
                most <= if method == Some("codes") { 2e-4 } else { 0.0 } || method.is_none(),
                "{name}: {tensor:?}"
            );
        }
        let model = ModelFile::parse(&file).unwrap();
        checkpoint
            .source(|source| {
                for (index, tensor) in source.tensors().iter().enumerate() {
                    let TensorData::Packed(matrix) = model.data(&file, index) else { continue };
                    let Some(expected) = checkpoint.expected.get(tensor.name()) else { continue };
                    let [rows, cols] = tensor.shape();
                    let (mut given, mut kept) = (vec![0.0; cols], vec![0.0; cols]);
                    let scale = model.metadata().tensors[index].scale.unwrap_or(1.0);
                    for row in 0..rows {
                        tensor.read_row(row, &mut given).unwrap();
                        matrix.dequantize_row(row, &mut kept);
                        let near = if expected.exact { 0.0 } else { 2e-4 };
                        let same =
                            given.iter().zip(&kept).all(|(given, kept)| (given - scale * kept).abs() <= near);
                        assert!(same, "{name}: {} {row}", tensor.name());
                    }
                }
            })
            .unwrap();
        Model::from_bytes(file).unwrap();
    }
}

/// The logits after a few tokens.
fn logits(file: Vec<u8>) -> Vec<f32> {
    let model = Model::from_bytes(file).unwrap();
    let mut session = Session::new(&model, SessionOptions::default()).unwrap();
    session.prefill(&[5, 100, 7, 261, 33, 8]).unwrap().to_vec()
}

/// Kernels take the zero points and the groups of all formats: what they compute is what they compute of the weights in
/// 8 bits, nearly.
#[test]
fn the_engine_runs_the_codes() {
    for name in Checkpoint::names() {
        let checkpoint = Checkpoint::read(&name);
        let [kept, rounded] =
            [Format::Auto, Format::Int8].map(|format| logits(checkpoint.converted(format).0));
        let norm = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
        let differences: Vec<f32> = kept.iter().zip(&rounded).map(|(a, b)| a - b).collect();
        let difference = norm(&differences) / norm(&rounded);
        assert!(difference < 0.02, "{name}: {difference}");
    }
}

#[test]
fn other_formats_are_rounded_from_the_same_weights() {
    for name in ["gptq-3", "awq-4", "compressed-8", "bitnet"] {
        for format in [Format::Int8, Format::Int4, Format::Bitnet] {
            let (_, report) = Checkpoint::read(name).converted(format);
            assert!(
                report.error.relative < if format == Format::Bitnet { 0.7 } else { 0.1 },
                "{name} {format}"
            );
        }
    }
    // Formats that have the same codes, or hold them all, keep them.
    for (name, format) in
        [("bitnet", Format::Bitnet), ("auto-round-gptq-2", Format::Int8), ("compressed-4", Format::Int8)]
    {
        let checkpoint = Checkpoint::read(name);
        let (_, report) = checkpoint.converted(format);
        for tensor in report.tensors.iter().filter(|tensor| checkpoint.expected.contains_key(&tensor.name)) {
            assert_eq!(
                (tensor.method.name(), tensor.error.unwrap().max),
                ("lossless", 0.0),
                "{name} {tensor:?}"
            );
        }
    }
}

/// Rows of packed tensors are stacked in Phi-3's files.
#[test]
fn fused_projections_are_split() {
    let apart = Checkpoint::read("compressed-3");
    let mut fused = apart.clone();
    for (name, parts) in [
        ("self_attn.qkv_proj", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"][..]),
        ("mlp.gate_up_proj", &["mlp.gate_proj", "mlp.up_proj"][..]),
    ] {
        for part in ["weight_packed", "weight_scale", "weight_zero_point"] {
            let mut take =
                |name: &str| fused.tensors.remove(&format!("model.layers.0.{name}.{part}")).unwrap();
            let stacked = parts.iter().map(|name| take(name)).reduce(|mut all, (_, shape, bytes)| {
                all.1[0] += shape[0];
                all.2.extend(bytes);
                all
            });
            fused.tensors.insert(format!("model.layers.0.{name}.{part}"), stacked.unwrap());
        }
        let rows = fused.tensors[&format!("model.layers.0.{name}.weight_scale")].1[0];
        let numbers = [rows as i64, 64].map(i64::to_le_bytes).concat();
        for part in parts {
            fused.tensors.remove(&format!("model.layers.0.{part}.weight_shape"));
        }
        fused.tensors.insert(format!("model.layers.0.{name}.weight_shape"), (Dtype::I64, vec![2], numbers));
    }
    fused.config["model_type"] = json!("phi3");
    let (fused, apart) = (fused.converted(Format::Auto).0, apart.converted(Format::Auto).0);
    let [fused_model, apart_model] = [&fused, &apart].map(|file| ModelFile::parse(file).unwrap());
    let tensors = |model: &ModelFile| {
        let entries = model.metadata().tensors.iter();
        entries.map(|tensor| (tensor.name.clone(), tensor.section.crc32)).collect::<Vec<_>>()
    };
    assert_eq!(tensors(&fused_model), tensors(&apart_model));
}

#[test]
fn a_description_names_the_types() {
    let of = |name: &str| Checkpoint::read(name).source(|source| source.description.clone()).unwrap();
    assert_eq!(of("gptq-4"), "safetensors: 7 GPTQ of 4 bits, 4 BF16");
    assert_eq!(of("auto-round-4"), "safetensors: 5 AutoRound of 4 bits, 5 BF16, 1 AutoRound of 8 bits");
    assert_eq!(of("bitnet-online"), "safetensors: 7 BitNet online, 4 BF16");
}

/// A fourth code of two bits, which no ternary model has, stands for 2.
#[test]
fn a_fourth_code_is_kept_in_planes() {
    let mut checkpoint = Checkpoint::read("bitnet");
    let (_, _, bytes) = checkpoint.tensors.get_mut("model.layers.0.self_attn.q_proj.weight").unwrap();
    bytes[0] = 0xff;
    let check = |source: &Source<'_>| {
        let tensor = source.tensors().iter().find(|tensor| tensor.name().contains("q_proj")).unwrap();
        assert_eq!(tensor.codes().unwrap().encoding, Encoding::Planes(2));
        let mut weights = [0.0; 64];
        tensor.read_row(48, &mut weights).unwrap();
        assert_eq!(weights[0], 2.0 * tensor.scale());
    };
    checkpoint.source(check).unwrap();
    let report = checkpoint.converted(Format::Auto).1;
    let tensor = report.tensors.iter().find(|tensor| tensor.name.contains("q_proj")).unwrap();
    assert_eq!((tensor.method.name(), tensor.error.unwrap().max), ("lossless", 0.0));
}

/// Scales that half precision does not have are rounded, and the report says it.
#[test]
fn scales_that_are_rounded_are_not_lossless() {
    let mut checkpoint = Checkpoint::read("compressed-4");
    let name = "model.layers.0.self_attn.q_proj.weight";
    let scales = vec![0x30_u8; 2 * 64 * 2];
    checkpoint.tensors.insert(format!("{name}_scale"), (Dtype::BF16, vec![64, 2], scales));
    let report = checkpoint.converted(Format::Auto).1;
    let method = |name: &str| report.tensors.iter().find(|tensor| tensor.name == name).unwrap().method.name();
    assert_eq!(method(name), "codes");
    assert_eq!(method("model.layers.0.self_attn.k_proj.weight"), "lossless");
}

#[test]
fn older_names_mean_the_same() {
    let usual = Checkpoint::read("auto-round-gptq-3");
    let mut older = usual.clone();
    older.config["quantization_config"]["quant_method"] = json!("intel/auto-round");
    older.config["quantization_config"]["packing_format"] = Value::Null;
    older.config["quantization_config"]["backend"] = json!("auto_round:gptq:exllamav2");
    assert!(usual.converted(Format::Auto).0 == older.converted(Format::Auto).0);
}
