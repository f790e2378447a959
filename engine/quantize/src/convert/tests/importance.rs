//! Rounding by importance, through the whole conversion.

use super::convert;
use crate::gguf::GgmlType;
use crate::importance::tests::{Entry, gguf, legacy};
use crate::testing::{CONFIG_JSON, LAYER_SHAPES, VOCAB, random_floats, shard, tiny_gguf, tiny_tensors};
use crate::{
    Format, HeadFormat, Importance, Method, QuantizeError, QuantizeOptions, Report, Source, SourceTensor,
    quantize,
};
use edgellm::format::{ModelFile, TensorData};
use edgellm::tensors::Role;
use safetensors::Dtype;
use std::io::Cursor;
use std::ops::ControlFlow;

/// Mean squares over several orders of magnitude.
fn means(columns: usize, seed: u64) -> Vec<f32> {
    random_floats(columns, seed).iter().map(|x| (10.0 * x).powi(4) + 1e-3).collect()
}

/// An entry for each matrix of the only layer.
fn layer() -> Vec<(String, Vec<f32>)> {
    let entry = |(seed, (name, _, _, columns)): (u64, (&str, &str, usize, usize))| {
        (format!("blk.0.{name}.weight"), means(columns, seed))
    };
    (50..).zip(LAYER_SHAPES).map(entry).collect()
}

fn entries(named: &[(String, Vec<f32>)]) -> Vec<Entry<'_>> {
    named.iter().map(|(name, means)| (name.as_str(), means.clone(), 512)).collect()
}

fn options(format: Format, importance: Option<Importance>) -> QuantizeOptions {
    QuantizeOptions { importance, ..QuantizeOptions::new(format) }
}

/// The squared error of a tensor's weights, each times its column's.
fn weighted_error(file: &[u8], tensor: &SourceTensor<'_>, weights: &[f32]) -> f64 {
    let model = ModelFile::parse(file).unwrap();
    let TensorData::Packed(matrix) = model.data(file, model.position(tensor.name()).unwrap()) else {
        panic!()
    };
    let [rows, columns] = tensor.shape();
    let (mut expected, mut actual, mut sum) = (vec![0.0; columns], vec![0.0; columns], 0.0);
    for row in 0..rows {
        tensor.read_row(row, &mut expected).unwrap();
        matrix.dequantize_row(row, &mut actual);
        for ((expected, actual), weight) in expected.iter().zip(&actual).zip(weights) {
            sum += f64::from(*weight) * f64::from(expected - actual).powi(2);
        }
    }
    sum
}

fn methods(report: &Report) -> [usize; 5] {
    [Method::Lossless, Method::Codes, Method::Rounded, Method::Weighted, Method::Float]
        .map(|method| report.count(method))
}

#[test]
fn every_format_spares_the_columns_that_matter() {
    let model = tiny_gguf(GgmlType::F32, GgmlType::F32);
    let source = Source::from_gguf(&model).unwrap();
    let layer = layer();
    let importance = Importance::parse(&gguf(&entries(&layer))).unwrap();
    for (format, gain) in [
        (Format::Int8, 0.9),
        (Format::Int6, 0.8),
        (Format::Int5, 0.8),
        (Format::Int4, 0.8),
        (Format::Int3, 0.8),
        (Format::Int2, 0.85),
        (Format::Bitnet, 0.98),
        (Format::Binary, 0.99),
    ] {
        let (plain, plain_report) = convert(&source, &options(format, None));
        let (weighted, report) = convert(&source, &options(format, Some(importance.clone())));
        assert_eq!(methods(&plain_report), [0, 0, 8, 0, 3], "{format}");
        assert_eq!(methods(&report), [0, 0, 1, 7, 3], "{format}");
        let (mut with, mut without) = (0.0, 0.0);
        for tensor in source.tensors().iter().filter(|tensor| tensor.role() != Role::Float) {
            let [before, after] = [&plain, &weighted].map(|file| {
                let model = ModelFile::parse(file).unwrap();
                model.metadata().tensors[model.position(tensor.name()).unwrap()].section.crc32
            });
            let Some(means) = tensor.gguf_names().find_map(|name| importance.means(name)) else {
                assert_eq!(before, after, "{} has no entry", tensor.name());
                continue;
            };
            assert_ne!(before, after, "{}", tensor.name());
            with += weighted_error(&weighted, tensor, means);
            without += weighted_error(&plain, tensor, means);
        }
        assert!(with < gain * without, "{format}: {}", with / without);
        let method = ModelFile::parse(&weighted).unwrap().metadata().quantization.method.clone();
        assert!(method.starts_with("7 weighted by importance, 1 "), "{method}");
        assert!(report.warnings.iter().all(|warning| !warning.contains("of the importance matrix were")));
        assert!(weighted == convert(&source, &options(format, Some(importance.clone()))).0, "the same again");
    }
}

#[test]
fn both_formats_and_both_sources_round_alike() {
    let tokenizer = Source::from_gguf(&tiny_gguf(GgmlType::F32, GgmlType::F32)).unwrap().tokenizer;
    let weights = shard(&tiny_tensors(), Dtype::BF16);
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("model.safetensors", &weights),
    ];
    let source = Source::from_files(&files).unwrap();
    let layer = layer();
    let [old, new] = [legacy(&entries(&layer)), gguf(&entries(&layer))].map(|file| {
        let importance = Importance::parse(&file).unwrap();
        convert(&source, &options(Format::Int3, Some(importance)))
    });
    assert!(old.0 == new.0);
    assert_eq!(methods(&old.1)[2..4], [1, 7]);
}

#[test]
fn quantized_sources_are_rounded_anew_by_importance() {
    let model = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&model).unwrap();
    let importance = Importance::parse(&legacy(&entries(&layer()))).unwrap();
    let (_, report) = convert(&source, &options(Format::Int3, Some(importance)));
    assert_eq!(methods(&report), [1, 0, 0, 7, 3]);
}

#[test]
fn kept_codes_stay_and_the_report_says_so() {
    let model = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&model).unwrap();
    let importance = Importance::parse(&legacy(&entries(&layer()))).unwrap();
    let (plain, _) = convert(&source, &options(Format::Auto, None));
    let (file, report) = convert(&source, &options(Format::Auto, Some(importance)));
    assert!(plain == file);
    assert_eq!(methods(&report), [8, 0, 0, 0, 3]);
    assert!(
        report.warnings[0].contains("no effect on codes that are kept, those of 7 "),
        "{:?}",
        report.warnings
    );
}

#[test]
fn a_head_that_is_the_embedding_has_the_names_of_both() {
    let model = tiny_gguf(GgmlType::Q4_1, GgmlType::F32);
    let source = Source::from_gguf(&model).unwrap();
    for name in ["output.weight", "token_embd.weight"] {
        let importance = Importance::parse(&gguf(&[(name, means(64, 3), 9)])).unwrap();
        let head = HeadFormat::As(Format::Int4);
        let options = QuantizeOptions { head, ..options(Format::Auto, Some(importance)) };
        let (file, report) = convert(&source, &options);
        assert_eq!(
            (report.tensors[0].shape, report.tensors[0].method),
            ([VOCAB, 64], Method::Weighted),
            "{name}"
        );
        ModelFile::parse(&file).unwrap();
    }
}

#[test]
fn entries_of_other_matrices_are_counted_in_one_warning() {
    let model = tiny_gguf(GgmlType::F32, GgmlType::F32);
    let source = Source::from_gguf(&model).unwrap();
    let mut all = layer();
    all.truncate(2);
    all.push(("blk.0.ffn_up_exps.weight".to_string(), means(256, 1)));
    all.push(("blk.9.attn_q.weight".to_string(), means(7, 1)));
    let importance = Importance::parse(&legacy(&entries(&all))).unwrap();
    let (_, report) = convert(&source, &options(Format::Int4, Some(importance)));
    assert_eq!(methods(&report), [0, 0, 6, 2, 3]);
    let ignored: Vec<_> = report.warnings.iter().filter(|warning| warning.contains("ignored")).collect();
    assert_eq!(ignored.len(), 1);
    assert!(
        ignored[0].starts_with("2 of 4 entries") && ignored[0].contains("(blk.0.ffn_up_exps.weight is one)")
    );
}

#[test]
fn an_importance_matrix_of_another_model_is_refused() {
    let model = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&model).unwrap();
    let refused = |entry: Entry<'_>, format| {
        let importance = Importance::parse(&gguf(&[entry])).unwrap();
        let out = Cursor::new(Vec::new());
        let options = options(format, Some(importance));
        quantize(&source, &options, out, &mut |_| ControlFlow::Continue(())).unwrap_err()
    };
    // Where it has no effect, too.
    for format in [Format::Int3, Format::Auto] {
        let error = refused(("blk.0.ffn_down.weight", means(64, 1), 1), format);
        assert!(matches!(error, QuantizeError::ImportanceColumns { columns: 96, found: 64, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("mlp.down_proj.weight has 96 columns") && text.contains("64 values"), "{text}");
    }
    let error = refused(("blk.7.ffn_down.weight", means(96, 1), 1), Format::Int3).to_string();
    assert!(error.contains("none of the 1 entries") && error.contains("blk.7.ffn_down.weight"), "{error}");
}
