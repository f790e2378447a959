//! Every family as a Hugging Face directory again: what is read from it is the model that was written.

use crate::fixture::Fixture;
use edgellm::config::ModelConfig;
use edgellm::tensors::Role;
use edgellm::tokenizer::Tokenizer;
use edgellm_quantize::export::{Dtype, Export, ExportError, WEIGHTS_FILE};
use edgellm_quantize::{Format, QuantizeOptions, Source, SourceTensor, quantize};
use std::io::Cursor;
use std::ops::ControlFlow;

/// Families that transformers or this crate cannot have so.
const REFUSED: [&str; 3] = ["bitnet", "lfm2", "qwen3_5"];

/// A directory's files.
type Files = Vec<(String, Vec<u8>)>;

fn files(export: &Export<'_>, dtype: Dtype) -> Result<Files, ExportError> {
    let mut weights = Vec::new();
    export.write_weights(dtype, &mut weights, &mut |_| ControlFlow::Continue(()))?;
    assert_eq!(weights.len() as u64, export.weights_bytes(dtype));
    let files = export.files(dtype).into_iter();
    let files = files.map(|(name, bytes)| (name.to_string(), bytes.into_owned()));
    Ok(files.chain([(WEIGHTS_FILE.to_string(), weights)]).collect())
}

fn read(files: &Files) -> Source<'_> {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    Source::from_files(&files).unwrap()
}

/// The weights as bits, row after row.
fn weights(tensor: &SourceTensor<'_>) -> Vec<u32> {
    let floats = if tensor.role() == Role::Float {
        tensor.read_floats().unwrap()
    } else {
        let [rows, cols] = tensor.shape();
        let mut floats = vec![0.0; rows * cols];
        floats.chunks_exact_mut(cols).enumerate().for_each(|(row, out)| tensor.read_row(row, out).unwrap());
        floats
    };
    floats.into_iter().map(f32::to_bits).collect()
}

/// The configuration, with what an absent field stands for.
fn explicit(config: &ModelConfig) -> ModelConfig {
    ModelConfig { attention_multiplier: Some(config.attention_scale()), ..config.clone() }
}

#[track_caller]
fn assert_same(what: &str, before: &Source<'_>, after: &Source<'_>) {
    assert_eq!(explicit(&after.config), explicit(&before.config), "{what}");
    assert_eq!(after.chat_template, before.chat_template, "{what}");
    assert_eq!((&after.bos_token, &after.eos_token), (&before.bos_token, &before.eos_token), "{what}");
    let text = "Die Mühle <|im_end|> steht\n\n am  Bach.";
    let ids =
        |source: &Source<'_>| Tokenizer::from_json(&source.tokenizer).unwrap().encode(text, true).unwrap();
    assert_eq!(ids(after), ids(before), "{what}");
    assert_eq!(after.tensors().len(), before.tensors().len(), "{what}");
    for (after, before) in after.tensors().iter().zip(before.tensors()) {
        assert_eq!((after.name(), after.shape()), (before.name(), before.shape()), "{what}");
        assert!(weights(after) == weights(before), "{what}: {}", before.name());
    }
}

#[test]
fn exported_families_are_read_again() {
    let mut sources = 0;
    for name in Fixture::names() {
        let fixture = Fixture::read(&name);
        let folder = fixture.folder().unwrap();
        let refused = REFUSED.iter().any(|family| name.starts_with(family));
        for (kind, mut source) in [("folder", Some(folder)), ("GGUF", fixture.gguf().map(Result::unwrap))]
            .into_iter()
            .filter_map(|(kind, source)| Some((kind, source?)))
        {
            let what = format!("{name}, {kind}");
            source.chat_template = Some("{% for m in messages %}{{ m.content }}{% endfor %}".to_string());
            let export = match Export::from_source(&source) {
                Err(ExportError::Family { family, .. }) if refused => {
                    assert_eq!(family, source.config.model_type);
                    continue;
                }
                export => export.unwrap_or_else(|error| panic!("{what}: {error}")),
            };
            assert!(!refused, "{what}");
            // The weights of the folders are bfloat16.
            for dtype in [Dtype::F32, Dtype::Bf16] {
                assert_same(&what, &source, &read(&files(&export, dtype).unwrap()));
            }
            sources += 1;
        }
    }
    assert!(sources > 30, "{sources}");
}

/// Of weights that int8 holds exactly.
#[test]
fn a_model_file_gives_the_directory_of_its_source() {
    for name in ["llama-1", "qwen2-1", "gemma3-1", "phi3-2", "granitemoehybrid-1"] {
        let fixture = Fixture::read(name);
        let source = fixture.folder().unwrap();
        let mut file = Cursor::new(Vec::new());
        let options = QuantizeOptions::new(Format::Int8);
        quantize(&source, &options, &mut file, &mut |_| ControlFlow::Continue(())).unwrap();
        let export = Export::from_model_file(file.get_ref()).unwrap();
        assert_same(name, &source, &read(&files(&export, Dtype::F32).unwrap()));
    }
}

/// What a llama model of transformers cannot be.
#[test]
fn features_without_a_name_in_transformers_are_refused() {
    let fixture = Fixture::read("llama-1");
    let source = fixture.folder().unwrap();
    let refused = |change: fn(&mut ModelConfig)| {
        let mut source = source.clone();
        change(&mut source.config);
        match Export::from_source(&source) {
            Err(ExportError::Feature { family, field, value }) => {
                assert_eq!(family, "llama");
                (field, value)
            }
            other => panic!("{other:?}"),
        }
    };
    let pair = |field: &str, value: &str| (field.to_string(), value.to_string());
    assert_eq!(refused(|config| config.attention_gate = true), pair("attention_gate", "true"));
    assert_eq!(refused(|config| config.no_rope_layers = vec![1]), pair("no_rope_layers", "[1]"));
    assert_eq!(refused(|config| config.rotary_dim = Some(8)), pair("rotary_dim", "8"));
    assert_eq!(refused(|config| config.attention_bias = true), pair("attention_bias", "true"));
    assert_eq!(refused(|config| config.attention_multiplier = Some(0.5)).0, "attention_multiplier");
    assert_eq!(refused(|config| config.logits_scaling = Some(2.0)), pair("logits_scaling", "2.0"));
    let rotation = |config: &mut ModelConfig| {
        config.rotation = Some(edgellm::config::Rotation { block_size: 32, signs: Vec::new() });
    };
    assert_eq!(refused(rotation).0, "rotation");
}
