//! What is refused, by name.

use super::{Checkpoint, Format};
use crate::{QuantizeOptions, quantize};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::io::Cursor;
use std::ops::ControlFlow;

const Q: &str = "model.layers.0.self_attn.q_proj";

/// The error of a checkpoint after a change.
fn error(name: &str, change: impl FnOnce(&mut Checkpoint)) -> String {
    let mut checkpoint = Checkpoint::read(name);
    change(&mut checkpoint);
    checkpoint.source(|_| ()).expect_err(name)
}

/// Sets a field of `quantization_config`, whose place is a JSON pointer.
fn set(checkpoint: &mut Checkpoint, place: &str, value: Value) {
    let (object, field) = place.rsplit_once('/').unwrap();
    let config = checkpoint.config["quantization_config"].pointer_mut(object).unwrap();
    config[field] = value;
}

#[test]
fn fields_of_the_configuration() {
    const WEIGHTS: &str = "/config_groups/group_0/weights";
    let weights = |field: &str| format!("{WEIGHTS}/{field}");
    let group = |field: &str| format!("/config_groups/group_0/{field}");
    let activations = json!({"num_bits": 8, "type": "int", "dynamic": true});
    for (name, place, value, words) in [
        ("gptq-4", "/quant_method".to_string(), json!("hqq"), ["quant_method", "hqq"]),
        ("gptq-4", "/bits".to_string(), json!(5), ["bits", "5"]),
        ("gptq-4", "/group_size".to_string(), json!(48), ["group_size", "48"]),
        ("gptq-4", "/group_size".to_string(), json!(0), ["group_size", "0"]),
        ("gptq-4", "/group_size".to_string(), json!("all"), ["group_size", "all"]),
        ("gptq-4", "/checkpoint_format".to_string(), json!("marlin"), ["checkpoint_format", "marlin"]),
        ("gptq-4", "/is_marlin_format".to_string(), json!(true), ["is_marlin_format", "true"]),
        ("gptq-4", "/rotation".to_string(), json!("hadamard"), ["field", "rotation"]),
        ("gptq-4", "/act_bits".to_string(), json!(8), ["act_bits", "8"]),
        ("gptqmodel-4", "/format".to_string(), json!("gptq_p"), ["checkpoint_format", "gptq_p"]),
        ("gptqmodel-4", "/pack_dtype".to_string(), json!("int8"), ["pack_dtype", "int8"]),
        ("gptqmodel-4", "/dynamic".to_string(), json!({"+:.*": {"bits": 8}}), ["dynamic", "+:.*"]),
        ("awq-4", "/version".to_string(), json!("GEMV"), ["AWQ version", "gemv"]),
        ("awq-4", "/bits".to_string(), json!(3), ["bits", "3"]),
        ("awq-4", "/group_size".to_string(), json!(48), ["group_size", "48"]),
        ("awq-4", "/backend".to_string(), json!("llm-awq"), ["backend", "llm-awq"]),
        ("auto-round-4", "/packing_format".to_string(), json!("mlx"), ["packing_format", "mlx"]),
        ("auto-round-4", "/data_type".to_string(), json!("mx_fp"), ["data_type", "mx_fp"]),
        ("auto-round-4", "/rotation_config".to_string(), json!({"n": 1}), ["field", "rotation_config"]),
        (
            "auto-round-4",
            "/extra_config".to_string(),
            json!({".*o_proj": {"bits": 2}}),
            ["extra_config", "o_proj"],
        ),
        ("auto-round-awq-4", "/bits".to_string(), json!(8), ["bits", "with AWQ"]),
        ("compressed-4", "/format".to_string(), json!("nvfp4-pack-quantized"), ["format", "nvfp4"]),
        ("compressed-4", "/format".to_string(), json!("float-quantized"), ["format", "float-quantized"]),
        (
            "compressed-4",
            "/quantization_status".to_string(),
            json!("frozen"),
            ["quantization_status", "frozen"],
        ),
        (
            "compressed-4",
            "/kv_cache_scheme".to_string(),
            json!({"num_bits": 8}),
            ["compressed", "kv_cache_scheme"],
        ),
        (
            "compressed-4",
            "/transform_config".to_string(),
            json!({"a": 1}),
            ["compressed", "transform_config"],
        ),
        ("compressed-4", group("input_activations"), activations, ["activations", "input_activations"]),
        ("compressed-4", group("format"), json!("int-quantized"), ["format", "int-quantized"]),
        ("compressed-4", weights("num_bits"), json!(6), ["bits", "6"]),
        ("compressed-4", weights("type"), json!("float"), ["type", "float"]),
        ("compressed-4", weights("strategy"), json!("tensor"), ["strategy", "tensor"]),
        ("compressed-4", weights("group_size"), json!(16), ["group_size", "16"]),
        ("compressed-4", weights("dynamic"), json!(true), ["dynamic", "true"]),
        ("compressed-4", weights("actorder"), json!("group"), ["missing", "weight_g_idx"]),
        ("compressed-4", weights("levels"), json!([1, 2]), ["field", "levels"]),
        ("bitnet", "/linear_class".to_string(), json!("bitlinear2"), ["linear_class", "bitlinear2"]),
        ("bitnet", "/use_rms_norm".to_string(), json!(true), ["use_rms_norm", "true"]),
        (
            "bitnet-online",
            "/linear_class".to_string(),
            json!("bitlinear"),
            ["quantization_mode", "bitlinear"],
        ),
        (
            "bitnet-online",
            "/modules_to_not_convert".to_string(),
            json!([]),
            ["modules_to_not_convert", "lm_head"],
        ),
        (
            "bitnet-online",
            "/modules_to_not_convert".to_string(),
            json!(["lm_head", "layers.[0-9]"]),
            ["modules_to_not_convert", "[0-9]"],
        ),
    ] {
        let error = error(name, |checkpoint| set(checkpoint, &place, value));
        assert!(words.iter().all(|word| error.contains(word)), "{name} {place}: {error}");
    }
}

#[test]
fn parts_that_are_missing_or_have_other_shapes() {
    for (name, part, word) in [
        ("gptq-4", "qzeros", "missing"),
        ("gptq-4", "scales", "missing"),
        ("gptq-4", "qweight", "q_proj"),
        ("awq-4", "qzeros", "missing"),
        ("auto-round-gptq-2", "scales", "missing"),
        ("compressed-4", "weight_scale", "missing"),
        ("compressed-4", "weight_shape", "missing"),
        ("compressed-4-asym", "weight_zero_point", "missing"),
        ("bitnet", "weight_scale", "missing"),
    ] {
        let removed = format!("{Q}.{part}");
        let error = error(name, |checkpoint| drop(checkpoint.tensors.remove(&removed).unwrap()));
        assert!(error.contains(word) && error.contains(Q), "{name}: {error}");
        assert!(word != "missing" || error.contains(part), "{name}: {error}");
    }
    for (name, part) in [
        ("gptq-4", "qzeros"),
        ("gptq-4", "scales"),
        ("gptq-4", "g_idx"),
        ("awq-4", "qzeros"),
        ("awq-4", "scales"),
        ("auto-round-4", "qzeros"),
        ("compressed-4", "weight_scale"),
        ("compressed-4", "weight_shape"),
        ("compressed-4-asym", "weight_zero_point"),
        ("bitnet", "weight_scale"),
    ] {
        let full = format!("{Q}.{part}");
        if part == "g_idx" && !Checkpoint::read(name).tensors.contains_key(&full) {
            continue;
        }
        // Twice as many rows.
        let error = error(name, |checkpoint| {
            let (_, shape, bytes) = checkpoint.tensors.get_mut(&full).unwrap();
            shape[0] *= 2;
            bytes.extend(bytes.clone());
        });
        assert!(error.contains(&full), "{name} {part}: {error}");
        // Of another type.
        let error = self::error(name, |checkpoint| {
            let (dtype, shape, bytes) = checkpoint.tensors.get_mut(&full).unwrap();
            (*dtype, *shape) = (Dtype::U8, vec![bytes.len()]);
        });
        assert!(error.contains(&full), "{name} {part}: {error}");
    }
}

#[test]
fn shapes_of_the_codes() {
    for (name, part) in
        [("gptq-3", "qweight"), ("awq-4", "qweight"), ("compressed-3", "weight_packed"), ("bitnet", "weight")]
    {
        for rows in [0, 2] {
            let full = format!("{Q}.{part}");
            let error = error(name, |checkpoint| {
                let (_, shape, bytes) = checkpoint.tensors.get_mut(&full).unwrap();
                shape[0] *= rows;
                *bytes = bytes.repeat(rows);
            });
            assert!(error.contains(Q), "{name} {rows}: {error}");
        }
    }
    let huge = [64, i64::MAX].map(i64::to_le_bytes).concat();
    let error = error("compressed-3", |checkpoint| {
        checkpoint.tensors.insert(format!("{Q}.weight_shape"), (Dtype::I64, vec![2], huge));
    });
    assert!(error.contains("weight_shape"), "{error}");
    // An order that nothing tells.
    let error = self::error("gptq-4", |checkpoint| {
        set(checkpoint, "/desc_act", json!(true));
        checkpoint.tensors.remove(&format!("{Q}.g_idx")).unwrap();
    });
    assert!(error.contains("missing") && error.contains(&format!("{Q}.g_idx")), "{error}");
    // Bits that the words do not have.
    let error = self::error("gptq-4", |checkpoint| set(checkpoint, "/bits", json!(3)));
    assert!(error.contains("qweight") && error.contains("3 bits"), "{error}");
}

#[test]
fn columns_in_an_order_of_their_own() {
    for (name, part) in [("gptq-3", "g_idx"), ("gptqmodel-4", "g_idx"), ("compressed-4", "weight_g_idx")] {
        let mut order: Vec<i32> = (0..64).map(|col| col / 32).collect();
        let bytes = |order: &[i32]| order.iter().flat_map(|group| group.to_le_bytes()).collect::<Vec<u8>>();
        let index = |order: &[i32]| (Dtype::I32, vec![64], bytes(order));
        let mut checkpoint = Checkpoint::read(name);
        checkpoint.tensors.insert(format!("{Q}.{part}"), index(&order));
        checkpoint.source(|_| ()).unwrap();
        order.swap(0, 63);
        checkpoint.tensors.insert(format!("{Q}.{part}"), index(&order));
        let error = checkpoint.source(|_| ()).unwrap_err();
        assert!(error.contains(&format!("{Q}.{part}")) && error.contains("desc_act = false"), "{error}");
    }
}

#[test]
fn zero_points_that_programs_read_in_different_ways() {
    let damage = |checkpoint: &mut Checkpoint| {
        let (_, _, bytes) = checkpoint.tensors.get_mut(&format!("{Q}.qzeros")).unwrap();
        bytes[..4].fill(0xff);
    };
    for name in ["gptq-2", "gptq-3", "gptq-4", "auto-round-gptq-2"] {
        let error = error(name, damage);
        assert!(error.contains("qzeros") && error.contains("gptq_v2"), "{name}: {error}");
    }
    let mut checkpoint = Checkpoint::read("gptqmodel-4");
    damage(&mut checkpoint);
    checkpoint.source(|_| ()).unwrap();
}

#[test]
fn tensors_that_contradict_the_configuration() {
    let twice = error("gptq-4", |checkpoint| {
        checkpoint.tensors.insert(format!("{Q}.weight"), (Dtype::F32, vec![1, 1], vec![0; 4]));
    });
    assert!(twice.contains(Q) && twice.contains("twice"), "{twice}");
    let floats = error("auto-round-4", |checkpoint| {
        set(checkpoint, &format!("/extra_config/{Q}"), json!({"bits": 16}));
    });
    assert!(floats.contains(Q) && floats.contains("16 bits"), "{floats}");
    let symmetric = error("compressed-4-asym", |checkpoint| {
        set(checkpoint, "/config_groups/group_0/weights/symmetric", json!(true));
    });
    assert!(symmetric.contains("weight_zero_point") && symmetric.contains("symmetric"), "{symmetric}");
    let unpacked = error("bitnet", |checkpoint| {
        checkpoint.tensors.insert(format!("{Q}.weight"), (Dtype::BF16, vec![64, 64], vec![0; 2 * 64 * 64]));
    });
    assert!(unpacked.contains(&format!("{Q}.weight")) && unpacked.contains("not packed"), "{unpacked}");
    let not_finite = error("bitnet-online", |checkpoint| {
        let (_, _, bytes) = checkpoint.tensors.get_mut(&format!("{Q}.weight")).unwrap();
        bytes[130..132].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    });
    assert!(not_finite.contains(Q) && not_finite.contains("row 1"), "{not_finite}");
    let none = error("gptq-4", |checkpoint| checkpoint.config["quantization_config"] = Value::Null);
    assert!(none.contains("I32"), "{none}");
    let two = error("gptq-4", |checkpoint| {
        let quantization = checkpoint.config["quantization_config"].clone();
        checkpoint.config["text_config"] = checkpoint.config.clone();
        checkpoint.config["text_config"]["quantization_config"] = quantization;
        set(checkpoint, "/bits", json!(8));
    });
    assert!(two.contains("quantization_config") && two.contains("two"), "{two}");
}

/// What says nothing about the weights may be there.
#[test]
fn what_changes_nothing_is_accepted() {
    for (name, place, value) in [
        ("gptq-4", "/desc_act", json!(true)),
        ("gptq-4", "/dynamic", json!({"-:.*lm_head": {}})),
        ("gptq-4", "/exllama_config", json!({"version": 2})),
        ("gptq-4", "/rotation", Value::Null),
        ("gptq-4", "/group_size", json!(128.0)),
        ("awq-4", "/modules_to_not_convert", json!(["lm_head"])),
        ("awq-4", "/zero_point", json!(false)),
        ("auto-round-4", "/backend", json!("auto")),
        ("auto-round-gptq-2", "/extra_config", json!({"lm_head": {"bits": 16}})),
        ("compressed-4", "/sparsity_config", json!({"format": "dense"})),
        ("compressed-4", "/config_groups/group_0/weights/actorder", json!("static")),
        ("bitnet-online", "/modules_to_not_convert", json!(["lm_head"])),
    ] {
        let mut checkpoint = Checkpoint::read(name);
        set(&mut checkpoint, place, value);
        if let Err(error) = checkpoint.source(|_| ()) {
            panic!("{name} {place}: {error}");
        }
    }
    let mut checkpoint = Checkpoint::read("gptq-4");
    checkpoint
        .tensors
        .insert("model.layers.0.self_attn.o_proj.bias".to_string(), (Dtype::F16, vec![128], vec![0; 256]));
    checkpoint.source(|_| ()).unwrap();
    // Settings beside those of a text model.
    let mut checkpoint = Checkpoint::read("gptq-4");
    let (expected, _) = checkpoint.converted(Format::Auto);
    let mut text = checkpoint.config.clone();
    text["quantization_config"] = Value::Null;
    checkpoint.config["text_config"] = text;
    assert!(checkpoint.converted(Format::Auto).0 == expected);
}

/// Layers that are left out stay floats, online as well.
#[test]
fn listed_layers_are_not_rounded() {
    let mut checkpoint = Checkpoint::read("bitnet-online");
    set(&mut checkpoint, "/modules_to_not_convert", json!(["lm_head", "model.layers.0.mlp"]));
    let description = checkpoint.source(|source| source.description.clone()).unwrap();
    assert_eq!(description, "safetensors: 7 BF16, 4 BitNet online");
}

#[test]
fn a_scale_out_of_range_is_named() {
    let mut checkpoint = Checkpoint::read("compressed-4-asym");
    let (_, _, bytes) = checkpoint.tensors.get_mut(&format!("{Q}.weight_scale")).unwrap();
    // 1e5, which bfloat16 has and half precision has not.
    bytes[..2].copy_from_slice(&0x47c3_u16.to_le_bytes());
    let error = checkpoint.source(|source| {
        let options = QuantizeOptions::new(Format::Auto);
        quantize(source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(())).err()
    });
    let error = error.unwrap().unwrap().to_string();
    assert!(error.contains(&format!("{Q}.weight")) && error.contains("half precision"), "{error}");
}

#[test]
fn flipped_bits_never_panic() {
    for name in ["gptq-3", "auto-round-awq-4", "compressed-3", "bitnet"] {
        let checkpoint = Checkpoint::read(name);
        let config = serde_json::to_vec(&checkpoint.config).unwrap();
        let mut weights = checkpoint.weights();
        let tokenizer = super::tokenizer_json();
        let header = 8 + u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize;
        for bit in (0..header * 8).step_by(31) {
            weights[bit / 8] ^= 1 << (bit % 8);
            let files: [(&str, &[u8]); 3] =
                [("config.json", &config), ("tokenizer.json", &tokenizer), ("model.safetensors", &weights)];
            let _ = crate::Source::from_files(&files);
            weights[bit / 8] ^= 1 << (bit % 8);
        }
        let mut config = config;
        let weights = checkpoint.weights();
        for bit in (0..config.len() * 8).step_by(7) {
            config[bit / 8] ^= 1 << (bit % 8);
            let files: [(&str, &[u8]); 3] =
                [("config.json", &config), ("tokenizer.json", &tokenizer), ("model.safetensors", &weights)];
            if let Ok(source) = crate::Source::from_files(&files) {
                let options = QuantizeOptions::new(Format::Auto);
                let _ = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Break(()));
            }
            config[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
