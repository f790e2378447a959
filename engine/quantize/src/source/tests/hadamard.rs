use crate::gguf::GgmlType;
use crate::gguf::tests::Builder;
use crate::testing::{HIDDEN, LAYER_SHAPES, VOCAB, metadata, random_floats};
use crate::{Format, QuantizeOptions, Source, quantize};
use edgellm::{Model, Precision, Session, SessionOptions};
use std::io::Cursor;
use std::ops::ControlFlow;

const BLOCK: usize = 32;
const WIDTHS: [usize; 2] = [64, 96];

fn signs(width: usize) -> Vec<i32> {
    (0..width).map(|i| if i * i % 7 < 3 { -1 } else { 1 }).collect()
}

/// H (s * row), by definition: what a file has in place of a row.
fn fold(row: &[f32]) -> Vec<f32> {
    let signed: Vec<f64> =
        row.iter().zip(signs(row.len())).map(|(x, sign)| f64::from(*x) * f64::from(sign)).collect();
    (0..row.len())
        .map(|i| {
            let start = i / BLOCK * BLOCK;
            let sum: f64 = (0..BLOCK)
                .map(|j| {
                    if ((i - start) & j).count_ones().is_multiple_of(2) {
                        signed[start + j]
                    } else {
                        -signed[start + j]
                    }
                })
                .sum();
            (sum / (BLOCK as f64).sqrt()) as f32
        })
        .collect()
}

/// A model of floats: as it is, or folded, without some metadata, and with what `change` adds.
fn file(folded: bool, without: &'static [&'static str], change: impl Fn(Builder) -> Builder) -> Vec<u8> {
    let mut builder = metadata("llama").skipping(without);
    let mut names: Vec<String> =
        LAYER_SHAPES.iter().map(|(name, ..)| format!("blk.0.{name}.weight")).collect();
    let shapes: Vec<_> = LAYER_SHAPES.iter().map(|&(_, _, rows, cols)| (rows, cols)).collect();
    if folded {
        builder = builder
            .u32("prism.hadamard.version", 1)
            .u32("prism.hadamard.block_size", BLOCK as u32)
            .string("prism.hadamard.transform", "normalized-sylvester-walsh-hadamard")
            .string("prism.hadamard.axis", "input-last-dimension")
            .string("prism.hadamard.sign_mode", "explicit")
            .strings("prism.hadamard.weight_names", &names)
            .strings("prism.hadamard.inverse_weight_names", &["token_embd.weight".to_string()])
            .i32s("prism.hadamard.sign_widths", &WIDTHS.map(|width| width as i32))
            .i32s("prism.hadamard.sign_values", &WIDTHS.map(signs).concat());
    }
    builder = change(builder.skipping(&[]));
    names.insert(0, "token_embd.weight".to_string());
    let shapes = [vec![(VOCAB, HIDDEN)], shapes].concat();
    for (seed, (name, (rows, cols))) in names.iter().zip(shapes).enumerate() {
        let weights = random_floats(rows * cols, seed as u64);
        let rows_of = weights.chunks_exact(cols);
        let weights: Vec<f32> = if folded { rows_of.flat_map(fold).collect() } else { weights };
        let bytes: Vec<u8> = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
        builder = builder.tensor(name, &[cols as u64, rows as u64], GgmlType::F32, &bytes);
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        let ones: Vec<u8> = (0..HIDDEN).flat_map(|_| 1_f32.to_le_bytes()).collect();
        builder = builder.tensor(name, &[HIDDEN as u64], GgmlType::F32, &ones);
    }
    builder.build()
}

fn logits(file: &[u8]) -> Vec<f32> {
    let source = Source::from_gguf(file).unwrap();
    let mut out = Cursor::new(Vec::new());
    let options = QuantizeOptions::new(Format::Int8);
    quantize(&source, &options, &mut out, &mut |_| ControlFlow::Continue(())).unwrap();
    let model = Model::from_bytes(out.into_inner()).unwrap();
    let options = SessionOptions { precision: Precision::High, ..SessionOptions::default() };
    Session::new(&model, options).unwrap().prefill(&[5, 70, 9]).unwrap().to_vec()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let size = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
    size(&mut a.iter().zip(b).map(|(a, b)| a - b)) / size(&mut b.iter().copied())
}

#[test]
fn a_folded_model_computes_what_it_was_made_from() {
    let (plain, folded) = (file(false, &[], |builder| builder), file(true, &[], |builder| builder));
    let source = Source::from_gguf(&folded).unwrap();
    assert_eq!(source.tensors().iter().filter(|tensor| tensor.rotated()).count(), 8);
    let (plain, folded) = (logits(&plain), logits(&folded));
    assert!(distance(&folded, &plain) < 0.03, "{}", distance(&folded, &plain));
    // The signs matter.
    let other = file(true, &["prism.hadamard.sign_values"], |builder| {
        builder.i32s("prism.hadamard.sign_values", &[1; WIDTHS[0] + WIDTHS[1]])
    });
    assert!(distance(&logits(&other), &plain) > 0.3);
}

#[test]
fn what_is_not_known_of_a_rotation_is_refused() {
    let refused = |change: &dyn Fn(Builder) -> Builder| {
        Source::from_gguf(&file(false, &[], change)).map(drop).unwrap_err().to_string()
    };
    let version = |builder: Builder, version| builder.u32("prism.hadamard.version", version);
    for (named, error) in [
        ("prism.hadamard.angle", refused(&|b| version(b, 1).u32("prism.hadamard.angle", 1))),
        ("prism.other", refused(&|b| b.u32("prism.other", 1))),
        ("prism.hadamard.block_size", refused(&|b| b.u32("prism.hadamard.block_size", 32))),
        ("prism.hadamard.version", refused(&|b| version(b, 2))),
        ("haar", refused(&|b| version(b, 1).string("prism.hadamard.transform", "haar"))),
    ] {
        assert!(error.contains(named), "{error}");
    }
    let skipped = |keys: &'static [&'static str], change: &dyn Fn(Builder) -> Builder| {
        Source::from_gguf(&file(true, keys, change)).map(drop).unwrap_err().to_string()
    };
    let sign_mode =
        skipped(&["prism.hadamard.sign_mode"], &|b| b.string("prism.hadamard.sign_mode", "implicit"));
    assert!(sign_mode.contains("implicit"), "{sign_mode}");
    let few = skipped(&["prism.hadamard.sign_values"], &|b| b.i32s("prism.hadamard.sign_values", &[1; 64]));
    assert!(few.contains("sign_values"), "{few}");
    let zero = skipped(&["prism.hadamard.sign_values"], &|b| b.i32s("prism.hadamard.sign_values", &[0; 160]));
    assert!(zero.contains("sign_values"), "{zero}");
    let block = skipped(&["prism.hadamard.block_size"], &|b| b.u32("prism.hadamard.block_size", 64));
    assert!(block.contains("96"), "{block}");
    let names = skipped(&["prism.hadamard.weight_names"], &|b| {
        b.strings("prism.hadamard.weight_names", &["blk.7.ffn_up.weight".to_string()])
    });
    assert!(names.contains("blk.7.ffn_up.weight"), "{names}");
}
