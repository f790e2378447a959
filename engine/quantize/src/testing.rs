//! Small models for the tests of this crate.

use crate::gguf::GgmlType;
use crate::gguf::tests::Builder;
use safetensors::{Dtype, serialize, tensor::TensorView};

/// Deterministic bytes.
pub(crate) fn random_bytes(count: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Deterministic floats in -1..1.
pub(crate) fn random_floats(count: usize, seed: u64) -> Vec<f32> {
    random_bytes(2 * count, seed)
        .as_chunks::<2>()
        .0
        .iter()
        .map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32768.0)
        .collect()
}

/// Random blocks whose halves are finite.
pub(crate) fn random_blocks(ggml_type: GgmlType, weights: usize, seed: u64) -> Vec<u8> {
    let mut bytes = random_bytes(ggml_type.row_bytes(weights).unwrap(), seed);
    let halves = match ggml_type {
        GgmlType::Q4_1 | GgmlType::Q5_1 => 2,
        GgmlType::F32 => return random_floats(weights, seed).iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => 1,
    };
    for block in bytes.chunks_exact_mut(ggml_type.block_bytes()) {
        for half in 0..halves {
            block[2 * half + 1] = block[2 * half + 1] & 0x83 | 0x20;
        }
    }
    bytes
}

/// GPT-2's characters for the 256 bytes.
fn byte_alphabet() -> Vec<String> {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256_u32..;
    (0..256_u32)
        .map(|byte| if plain(byte) { byte } else { others.next().unwrap() })
        .filter_map(|character| char::from_u32(character).map(String::from))
        .collect()
}

pub(crate) const LAYER_SHAPES: [(&str, &str, usize, usize); 7] = [
    ("attn_q", "self_attn.q_proj", 64, 64),
    ("attn_k", "self_attn.k_proj", 32, 64),
    ("attn_v", "self_attn.v_proj", 32, 64),
    ("attn_output", "self_attn.o_proj", 64, 64),
    ("ffn_gate", "mlp.gate_proj", 96, 64),
    ("ffn_up", "mlp.up_proj", 96, 64),
    ("ffn_down", "mlp.down_proj", 64, 96),
];
pub(crate) const HIDDEN: usize = 64;
pub(crate) const HEAD_DIM: usize = 16;
pub(crate) const VOCAB: usize = 262;

/// Metadata of a one-layer model with a byte-level tokenizer.
pub(crate) fn metadata(architecture: &str) -> Builder {
    metadata_without(architecture, &[])
}

/// The same without these keys.
pub(crate) fn metadata_without(architecture: &str, skipped: &'static [&'static str]) -> Builder {
    let key = |name: &str| format!("{architecture}.{name}");
    let mut tokens: Vec<String> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].into_iter().map(String::from).collect();
    tokens.extend(byte_alphabet());
    tokens.extend(["Ġt", "he", "Ġthe"].map(String::from));
    let mut types = vec![1; VOCAB];
    types[..3].fill(3);
    Builder::default()
        .skipping(skipped)
        .string("general.architecture", architecture)
        .string("general.name", "Tiny")
        .u32(&key("block_count"), 1)
        .u32(&key("context_length"), 128)
        .u32(&key("embedding_length"), HIDDEN as u32)
        .u32(&key("feed_forward_length"), 96)
        .u32(&key("attention.head_count"), 4)
        .u32(&key("attention.head_count_kv"), 2)
        .f32(&key("rope.freq_base"), 10_000.0)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .strings("tokenizer.ggml.merges", &["Ġ t", "h e", "Ġt he"].map(String::from))
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .string("tokenizer.chat_template", "{{ messages }}")
        .skipping(&[])
}

/// The tensors of that model, its layer of one type.
pub(crate) fn with_tensors(mut builder: Builder, layer: GgmlType, embedding: GgmlType) -> Builder {
    let hidden = HIDDEN as u64;
    let floats = |count: usize, seed| random_blocks(GgmlType::F32, count, seed);
    builder = builder.tensor(
        "token_embd.weight",
        &[hidden, VOCAB as u64],
        embedding,
        &random_blocks(embedding, HIDDEN * VOCAB, 1),
    );
    for (seed, (name, _, rows, cols)) in (2..).zip(LAYER_SHAPES) {
        let blocks = random_blocks(layer, rows * cols, seed);
        builder =
            builder.tensor(&format!("blk.0.{name}.weight"), &[cols as u64, rows as u64], layer, &blocks);
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        builder = builder.tensor(name, &[hidden], GgmlType::F32, &floats(HIDDEN, 20));
    }
    builder
}

/// A complete Llama model.
pub(crate) fn tiny_gguf(layer: GgmlType, embedding: GgmlType) -> Vec<u8> {
    with_tensors(metadata("llama"), layer, embedding).build()
}

/// Names, shapes and bytes (BF16) of a Qwen2 model for safetensors files.
pub(crate) fn tiny_tensors() -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let mut list = Vec::new();
    let mut add = |name: String, shape: Vec<usize>| {
        let count = shape.iter().product();
        let values = random_floats(count, list.len() as u64);
        let bytes = values.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect();
        list.push((name, shape, bytes));
    };
    add("model.embed_tokens.weight".to_string(), vec![VOCAB, HIDDEN]);
    for (_, name, rows, cols) in LAYER_SHAPES {
        add(format!("model.layers.0.{name}.weight"), vec![rows, cols]);
        if ["q_proj", "k_proj", "v_proj"].iter().any(|projection| name.ends_with(projection)) {
            add(format!("model.layers.0.{name}.bias"), vec![rows]);
        }
    }
    add("model.layers.0.input_layernorm.weight".to_string(), vec![HIDDEN]);
    add("model.layers.0.post_attention_layernorm.weight".to_string(), vec![HIDDEN]);
    add("model.norm.weight".to_string(), vec![HIDDEN]);
    list
}

/// A safetensors file.
pub(crate) fn shard(tensors: &[(String, Vec<usize>, Vec<u8>)], dtype: Dtype) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

/// `config.json` of that Qwen2 model.
pub(crate) const CONFIG_JSON: &str = r#"{
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 262, "max_position_embeddings": 128, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 2
}"#;

/// Writes the seeds of the fuzz targets: `cargo test -p edgellm-quantize --lib fuzz_seeds -- --ignored`.
#[test]
#[ignore = "writes files into fuzz/"]
fn fuzz_seeds() {
    use crate::{Format, QuantizeOptions, Source, quantize};
    use std::{fs, io::Cursor, ops::ControlFlow, path::Path};

    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let write = |path: &str, bytes: &[u8]| {
        let path = fuzz.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q4_0);
    write("seeds/gguf/llama", &gguf);
    write("seeds/gguf/metadata", &metadata("qwen2").build());
    let source = Source::from_gguf(&gguf).unwrap();
    let mut out = Cursor::new(Vec::new());
    let options = QuantizeOptions::new(Format::Int2);
    quantize(&source, &options, &mut out, &mut |_| ControlFlow::Continue(())).unwrap();
    write("seeds/tmac2/llama", out.get_ref());
    let weights = shard(&tiny_tensors(), Dtype::BF16);
    write("folder/config.json", CONFIG_JSON.as_bytes());
    write("folder/tokenizer.json", &source.tokenizer);
    write("folder/model.safetensors", &weights);
    write("seeds/safetensors/config", &[&[0], CONFIG_JSON.as_bytes()].concat());
    write("seeds/safetensors/index", b"\x01{\"weight_map\": {\"model.norm.weight\": \"a.safetensors\"}}");
    write(
        "seeds/safetensors/tokenizer_config",
        b"\x02{\"eos_token\": \"<|im_end|>\", \"chat_template\": \"x\"}",
    );
}
