mod files;
mod hadamard;
mod json;

use super::{Source, hf_config};
use crate::QuantizeError;
use crate::gguf::GgmlType;
use crate::testing::{
    CONFIG_JSON, HEAD_DIM, HIDDEN, VOCAB, metadata, random_blocks, shard, tiny_gguf, tiny_tensors,
    with_tensors,
};
use edgellm::config::RopeScaling;
use safetensors::Dtype;

pub(super) fn tokenizer_json() -> Vec<u8> {
    Source::from_gguf(&tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0)).unwrap().tokenizer
}

#[test]
fn a_gguf_file_becomes_a_hugging_face_model() {
    let file = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let source = Source::from_gguf(&file).unwrap();
    let config = &source.config;
    assert_eq!(source.name, "Tiny");
    assert_eq!(config.model_type, "llama");
    assert_eq!((config.hidden_size, config.head_dim, config.vocab_size), (HIDDEN, HEAD_DIM, VOCAB));
    assert_eq!((config.num_attention_heads, config.num_key_value_heads), (4, 2));
    assert_eq!(config.rms_norm_eps, 1e-5);
    assert!(config.tie_word_embeddings && !config.attention_bias);
    assert_eq!((config.bos_token_id, config.eos_token_ids.as_slice()), (None, &[0, 2][..]));
    assert_eq!(source.description, "GGUF: 7 Q4_1, 3 F32, 1 Q8_0");
    let names: Vec<_> = source.tensors().iter().map(|tensor| tensor.name()).collect();
    assert_eq!(names[..2], ["model.embed_tokens.weight", "model.layers.0.input_layernorm.weight"]);
    assert_eq!(names[names.len() - 1], "model.norm.weight");
}

#[test]
fn rotary_pairs_become_halves_in_llama_files_only() {
    for (architecture, paired) in [("llama", true), ("qwen2", false)] {
        let file = with_tensors(metadata(architecture), GgmlType::Q4_1, GgmlType::Q8_0).build();
        let source = Source::from_gguf(&file).unwrap();
        for (name, heads) in [("q_proj", 4), ("k_proj", 2), ("v_proj", 2)] {
            let tensor = source.tensors().iter().find(|tensor| tensor.name().contains(name)).unwrap();
            let gguf = crate::gguf::Gguf::parse(&file).unwrap();
            let stored = gguf.tensor(&format!("blk.0.attn_{}.weight", &name[..1])).unwrap().data;
            // As transformers undoes it: (heads, half, 2) -> (heads, 2, half).
            let half = HEAD_DIM / 2;
            for head in 0..heads {
                for j in 0..2 {
                    for i in 0..half {
                        let row = head * HEAD_DIM + j * half + i;
                        let place =
                            if paired && name != "v_proj" { head * HEAD_DIM + 2 * i + j } else { row };
                        let bytes = tensor.row(0).len();
                        assert_eq!(tensor.row(row), &stored[place * bytes..][..bytes], "{name} {row}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_output_equal_to_the_embedding_is_tied() {
    let embedding = random_blocks(GgmlType::Q8_0, HIDDEN * VOCAB, 1);
    let other = random_blocks(GgmlType::Q8_0, HIDDEN * VOCAB, 99);
    let dims = [HIDDEN as u64, VOCAB as u64];
    for (bytes, tied) in [(embedding, true), (other, false)] {
        let file = with_tensors(metadata("llama"), GgmlType::F32, GgmlType::Q8_0)
            .tensor("output.weight", &dims, GgmlType::Q8_0, &bytes)
            .build();
        let source = Source::from_gguf(&file).unwrap();
        assert_eq!(source.config.tie_word_embeddings, tied);
        assert_eq!(source.tensors().iter().any(|tensor| tensor.name() == "lm_head.weight"), !tied);
    }
}

#[test]
fn missing_unexpected_and_wrong_tensors_are_named() {
    let file = metadata("llama").build();
    assert!(matches!(Source::from_gguf(&file), Err(QuantizeError::MissingTensor { .. })));
    let more = with_tensors(metadata("llama"), GgmlType::F32, GgmlType::F32);
    let bias = more.clone().tensor("blk.0.attn_output.bias", &[64], GgmlType::F32, &[0; 256]).build();
    let error = Source::from_gguf(&bias).unwrap_err();
    assert!(error.to_string().contains("o_proj.bias"), "{error}");
    let odd = more.clone().tensor("blk.0.ssm_a", &[64], GgmlType::F32, &[0; 256]).build();
    assert!(matches!(Source::from_gguf(&odd), Err(QuantizeError::UnexpectedTensor { .. })));
    let wrong = more.tensor("output.weight", &[64, 3], GgmlType::F32, &[0; 768]).build();
    assert!(matches!(Source::from_gguf(&wrong), Err(QuantizeError::Shape { .. })));
    let unknown = metadata("mamba").build();
    let error = Source::from_gguf(&unknown).unwrap_err().to_string();
    assert!(error.contains("mamba") && error.contains("llama, qwen2"), "{error}");
}

#[test]
fn llama_3_scaling_is_found_in_its_divisors() {
    let divisors: Vec<f32> = (0..HEAD_DIM / 2)
        .map(|i| {
            let wavelength = std::f64::consts::TAU * 10_000_f64.powf(2.0 * i as f64 / HEAD_DIM as f64);
            let smooth = (8192.0 / wavelength - 1.0) / 3.0;
            (1.0 / ((1.0 - smooth.clamp(0.0, 1.0)) / 8.0 + smooth.clamp(0.0, 1.0))) as f32
        })
        .collect();
    let bytes = |divisors: &[f32]| divisors.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let with = |divisors: &[f32]| {
        with_tensors(metadata("llama"), GgmlType::F32, GgmlType::F32)
            .tensor("rope_freqs.weight", &[divisors.len() as u64], GgmlType::F32, &bytes(divisors))
            .build()
    };
    let file = with(&divisors);
    let source = Source::from_gguf(&file).unwrap();
    // The slowest frequency decides the factor, if it is stretched fully.
    match source.config.rope_scaling.clone() {
        Some(RopeScaling::Llama3 { factor, original_max_position_embeddings: 8192, .. }) => {
            assert_eq!(factor, f64::from(divisors[HEAD_DIM / 2 - 1]));
        }
        None => assert!(divisors.iter().all(|&divisor| divisor == 1.0)),
        other => panic!("{other:?}"),
    }
    let file = with(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    // Others are kept as they are.
    let source = Source::from_gguf(&file).unwrap();
    let Some(RopeScaling::Longrope { short_factor, long_factor, attention_factor: 1.0, .. }) =
        source.config.rope_scaling
    else {
        panic!("{:?}", source.config.rope_scaling);
    };
    assert!(short_factor == long_factor && short_factor == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let file = with(&[1.0]);
    assert!(matches!(Source::from_gguf(&file), Err(QuantizeError::Shape { .. })));
}

#[test]
fn a_folder_in_one_file_or_in_shards_gives_the_same_model() {
    let (tensors, tokenizer) = (tiny_tensors(), tokenizer_json());
    let single = shard(&tensors, Dtype::BF16);
    let template = br#"{"chat_template": [{"name": "rag", "template": "no"},
        {"name": "default", "template": "yes"}], "add_bos_token": false}"#;
    let common: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("tokenizer_config.json", template),
    ];
    let files = [&common[..], &[("model.safetensors", &single)]].concat();
    let one = Source::from_files(&files).unwrap();
    assert_eq!(one.chat_template.as_deref(), Some("yes"));
    assert_eq!(one.config.model_type, "qwen2");
    assert!(one.config.attention_bias && one.config.tie_word_embeddings);
    assert_eq!((one.config.bos_token_id, one.config.eos_token_ids.as_slice()), (None, &[0, 2][..]));

    let (first, second) = tensors.split_at(5);
    let (a, b) = (shard(first, Dtype::BF16), shard(second, Dtype::BF16));
    let map: serde_json::Map<_, _> = (first.iter().map(|t| (t.0.clone(), "a.safetensors".into())))
        .chain(second.iter().map(|t| (t.0.clone(), "b.safetensors".into())))
        .collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    let files = [
        &common[..2],
        &[
            ("chat_template.jinja", b"{{ x }}"),
            ("model.safetensors.index.json", index.as_bytes()),
            ("a.safetensors", &a),
            ("b.safetensors", &b),
        ],
    ]
    .concat();
    let sharded = Source::from_files(&files).unwrap();
    assert_eq!(sharded.chat_template.as_deref(), Some("{{ x }}"));
    let mut row = [vec![0.0; 96], vec![0.0; 96]];
    for (a, b) in one.tensors().iter().zip(sharded.tensors()) {
        assert_eq!((a.name(), a.shape()), (b.name(), b.shape()));
        let cols = a.shape()[1];
        if cols <= 96 {
            a.read_row(0, &mut row[0][..cols]).unwrap();
            b.read_row(0, &mut row[1][..cols]).unwrap();
            assert_eq!(row[0], row[1], "{}", a.name());
        }
    }
    for missing in 0..files.len() {
        let mut fewer = files.clone();
        let (name, _) = fewer.remove(missing);
        assert_eq!(Source::from_files(&fewer).is_ok(), name == "chat_template.jinja", "{name}");
    }
}

#[test]
fn damaged_safetensors_are_errors() {
    let (tensors, tokenizer) = (tiny_tensors(), tokenizer_json());
    let mut single = shard(&tensors, Dtype::BF16);
    let header = 8 + u64::from_le_bytes(single[..8].try_into().unwrap()) as usize;
    let read =
        |bytes: &[u8]| super::files::Files::new(&[("model.safetensors", bytes)]).tensors(None).map(drop);
    let _ = tokenizer;
    for length in (0..header + 100).chain([single.len() - 1]) {
        assert!(read(&single[..length]).is_err(), "{length} bytes");
    }
    for bit in (0..header * 8).step_by(5) {
        single[bit / 8] ^= 1 << (bit % 8);
        let _ = read(&single);
        single[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(read(&single).is_ok());
    let ints = shard(&[("model.norm.weight".to_string(), vec![4], vec![0; 16])], Dtype::I32);
    assert!(matches!(read(&ints), Err(QuantizeError::TensorType { .. })));
}

#[test]
fn rotary_scaling_in_all_its_spellings() {
    let config = |extra: &str| {
        let json = CONFIG_JSON.replacen('{', &format!("{{ {extra},"), 1);
        hf_config::read(json.as_bytes()).map(|(config, ..)| config)
    };
    let scaling = |extra: &str| config(extra).unwrap().rope_scaling;
    assert_eq!(scaling(r#""rope_scaling": null"#), None);
    assert_eq!(scaling(r#""rope_scaling": {"rope_type": "default"}"#), None);
    let linear = Some(RopeScaling::Linear { factor: 4.0 });
    assert_eq!(scaling(r#""rope_scaling": {"type": "linear", "factor": 4.0}"#), linear);
    assert_eq!(scaling(r#""rope_parameters": {"rope_type": "linear", "factor": 4}"#), linear);
    let llama3 = r#""rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#;
    assert!(matches!(scaling(llama3), Some(RopeScaling::Llama3 { factor: 32.0, .. })));
    let yarn = r#""rope_scaling": {"type": "yarn", "factor": 4.0}"#;
    let Some(RopeScaling::Yarn { original_max_position_embeddings: 128, .. }) = scaling(yarn) else {
        panic!("{:?}", scaling(yarn));
    };
    assert!(config(r#""rope_scaling": {"type": "yarn"}"#).is_err());
    assert!(config(r#""rope_scaling": {"type": "longrope", "factor": 4.0}"#).is_err());
    assert_eq!(config(r#""head_dim": 32"#).unwrap().head_dim, 32);
    for refused in
        [r#""hidden_act": "gelu""#, r#""use_sliding_window": true"#, r#""quantization_config": {}"#]
    {
        let json = CONFIG_JSON.replace(r#""hidden_act": "silu","#, "");
        let json = json.replacen('{', &format!("{{ {refused},"), 1);
        assert!(hf_config::read(json.as_bytes()).is_err(), "{refused}");
    }
}
