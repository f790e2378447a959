//! A small model whose weights and tokens are known.

use super::*;
use crate::QuantizeError;
use crate::convert::tests::of_few_bits;
use crate::dequantize::tests::fixture;
use crate::gguf::GgmlType;
use crate::testing::{
    CONFIG_JSON, HIDDEN, VOCAB, metadata, metadata_without, shard, tiny_gguf, tiny_tensors, with_tensors,
};
use safetensors::{Dtype as Stored, SafeTensors};
use serde_json::{Value, json};

fn weights(export: &Export<'_>, dtype: Dtype) -> Vec<u8> {
    let mut out = Vec::new();
    export.write_weights(dtype, &mut out, &mut |_| ControlFlow::Continue(())).unwrap();
    out
}

fn object(export: &Export<'_>, name: &str) -> Value {
    let files = export.files(Dtype::F16);
    let (_, bytes) = files.iter().find(|(file, _)| *file == name).unwrap();
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_weights_are_a_safetensors_file() {
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let export = Export::from_source(&source).unwrap();
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32] {
        let file = weights(&export, dtype);
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let mut names: Vec<_> = tensors.names().into_iter().map(String::from).collect();
        let mut expected: Vec<_> = source.tensors().iter().map(|tensor| tensor.name().to_string()).collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected, "a tied head is the embedding alone");
        let embedding = tensors.tensor("model.embed_tokens.weight").unwrap();
        assert_eq!(embedding.shape(), [VOCAB, HIDDEN]);
        assert_eq!(tensors.tensor("model.norm.weight").unwrap().shape(), [HIDDEN]);
        let mut row = vec![0.0; HIDDEN];
        source.tensors()[0].read_row(5, &mut row).unwrap();
        let mut bytes = Vec::new();
        dtype.encode(&row, &mut bytes).unwrap();
        assert_eq!(embedding.data()[5 * bytes.len()..][..bytes.len()], bytes, "{dtype:?}");
        assert_eq!(object(&export, "config.json")["dtype"], "float16");
    }
    let (_, metadata) = SafeTensors::read_metadata(&weights(&export, Dtype::F16)).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn tokens_have_their_names() {
    let gguf = tiny_gguf(GgmlType::F16, GgmlType::F16);
    let source = Source::from_gguf(&gguf).unwrap();
    let export = Export::from_source(&source).unwrap();
    let config = object(&export, "config.json");
    let ids =
        |object: &Value| ["bos_token_id", "eos_token_id", "pad_token_id"].map(|name| object[name].clone());
    // <|endoftext|> ends an answer too, so that its embedding is to be trained.
    assert_eq!(ids(&config), [json!(1), json!([0, 2]), Value::Null]);
    assert_eq!(ids(&object(&export, "generation_config.json")), [json!(1), json!([0, 2]), json!(0)]);
    let tokenizer = object(&export, "tokenizer_config.json");
    let texts = ["bos_token", "eos_token", "pad_token", "unk_token", "add_bos_token"]
        .map(|name| tokenizer.get(name).and_then(Value::as_str));
    assert_eq!(texts, [Some("<|im_start|>"), Some("<|im_end|>"), Some("<|endoftext|>"), None, None]);
    assert_eq!(tokenizer["model_max_length"], 128);
    let files = export.files(Dtype::F32);
    let template = files.iter().find(|(name, _)| *name == "chat_template.jinja").unwrap();
    assert_eq!(*template.1, *b"{{ messages }}");
}

#[test]
fn the_file_names_what_pads() {
    let with = |id| {
        let builder = metadata("llama").u32("tokenizer.ggml.padding_token_id", id);
        with_tensors(builder, GgmlType::F16, GgmlType::F16).build()
    };
    let pad = |file: &[u8]| {
        let source = Source::from_gguf(file).unwrap();
        let export = Export::from_source(&source).unwrap();
        (object(&export, "config.json")["pad_token_id"].clone(), object(&export, "tokenizer_config.json"))
    };
    let (id, tokens) = pad(&with(4));
    assert_eq!((id, &tokens["pad_token"]), (json!(4), &json!("ā")));
    let (id, tokens) = pad(&with(2));
    assert_eq!((id, &tokens["pad_token"]), (Value::Null, &json!("<|im_end|>")));
}

#[test]
fn a_text_begins_with_bos_if_it_did() {
    let builder = metadata("llama").bool("tokenizer.ggml.add_bos_token", true);
    let gguf = with_tensors(builder, GgmlType::F16, GgmlType::F16).build();
    let source = Source::from_gguf(&gguf).unwrap();
    let export = Export::from_source(&source).unwrap();
    let tokenizer = object(&export, "tokenizer.json");
    assert!(tokenizer["post_processor"].to_string().contains("<|im_start|>"));
    let config = object(&export, "tokenizer_config.json");
    assert_eq!(config.get("add_bos_token"), None, "transformers would replace the post-processor");
    // What no post-processor adds, transformers does.
    let mut source = source;
    source.tokenizer = Source::from_gguf(&tiny_gguf(GgmlType::F16, GgmlType::F16)).unwrap().tokenizer;
    let export = Export::from_source(&source).unwrap();
    assert_eq!(object(&export, "tokenizer_config.json")["add_bos_token"], true);
}

/// Qwen2's own splits text as transformers does in any case.
#[test]
fn tokenizers_that_transformers_replaces_are_warned_of() {
    let warned = |pre: &'static str| {
        let builder = metadata_without("qwen2", &["tokenizer.ggml.pre"])
            .skipping(&[])
            .string("tokenizer.ggml.pre", pre);
        let gguf = builder.build();
        let gguf = crate::gguf::Gguf::parse(&gguf).unwrap();
        let table = crate::tokenizer::TokenTable::read(&gguf).unwrap();
        let json = crate::tokenizer::rebuild(&gguf, &table).unwrap();
        let file = shard(&tiny_tensors(), Stored::BF16);
        let files: [(&str, &[u8]); 3] = [
            ("config.json", CONFIG_JSON.as_bytes()),
            ("tokenizer.json", &json),
            ("model.safetensors", &file),
        ];
        let source = Source::from_files(&files).unwrap();
        Export::from_source(&source).unwrap().warnings().len()
    };
    assert_eq!(warned("qwen2"), 0);
    assert_eq!(warned("llama-bpe"), 1);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let mut tensors = tiny_tensors();
    let place = tensors.iter().position(|(name, ..)| name.ends_with("down_proj.weight")).unwrap();
    // bfloat16 of 65536 in row 3.
    tensors[place].2[3 * 96 * 2..][..2].copy_from_slice(&0x4780_u16.to_le_bytes());
    let gguf = tiny_gguf(GgmlType::F16, GgmlType::F16);
    let tokenizer = Source::from_gguf(&gguf).unwrap().tokenizer;
    let file = shard(&tensors, Stored::BF16);
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("model.safetensors", &file),
    ];
    let source = Source::from_files(&files).unwrap();
    let export = Export::from_source(&source).unwrap();
    let error = export.write_weights(Dtype::F16, Vec::new(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor model.layers.0.mlp.down_proj.weight, row 3: the weight 65536 does not fit float16, which ends at 65504: export \
         with --dtype f32, or --dtype bf16, which is coarser"
    );
    assert_eq!(weights(&export, Dtype::Bf16).len() as u64, export.weights_bytes(Dtype::Bf16));
}

#[test]
fn progress_reaches_the_end_and_stops() {
    let gguf = tiny_gguf(GgmlType::Q4_0, GgmlType::Q4_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let export = Export::from_source(&source).unwrap();
    let mut last = 0;
    let mut seen = |progress: Progress<'_>| {
        assert!(progress.done > last && progress.total == export.weights());
        last = progress.done;
        ControlFlow::Continue(())
    };
    export.write_weights(Dtype::F16, Vec::new(), &mut seen).unwrap();
    assert_eq!(last, export.weights());
    let stopped = export.write_weights(Dtype::F16, Vec::new(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(ExportError::Cancelled)));
}

#[test]
fn families_that_are_not_known_are_refused() {
    let gguf = tiny_gguf(GgmlType::F16, GgmlType::F16);
    let mut source = Source::from_gguf(&gguf).unwrap();
    source.config.model_type = "mamba".to_string();
    let error = Export::from_source(&source).unwrap_err();
    assert!(
        error.to_string().contains("\"mamba\"") && error.to_string().contains("llama, mistral"),
        "{error}"
    );
}

#[test]
fn codes_of_unknown_order_are_refused() {
    let (_, blocks, _) = fixture().into_iter().find(|(kind, ..)| *kind == GgmlType::I2_S).unwrap();
    let file = of_few_bits(GgmlType::I2_S, blocks);
    let source = Source::from_gguf(&file).unwrap();
    let error = Export::from_source(&source).unwrap_err();
    assert!(matches!(error, ExportError::Source(QuantizeError::I2sOrder { .. })), "{error}");
}
