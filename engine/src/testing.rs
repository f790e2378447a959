//! Small seeded models and hostile templates, for tests on every target.

mod family;
pub mod templates;

pub use family::Family;

use crate::TokenId;
use crate::config::{Rotation, Signs};
use crate::format::{
    ALIGNMENT, HEADER_BYTES, Metadata, ModelFile, Quality, Quantization, Section, TensorEncoding,
    TensorEntry, WriteError, Writer,
};
use crate::linear::{LinearId, Projection};
use crate::tensors::{FINAL_NORM, Role, tensors};
use crate::tokenizer::Tokenizer;
use edgellm_kernels::layout::{Encoding, Layout, Scales, Zero};
use edgellm_kernels::testing::{Random, random_matrix};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

/// A limit for the machine that the tests are written for, scaled to this one at this moment: a loop that takes 50 ms there
/// is timed, so that no limit fails because a machine is slow or busy. Not for wasm32, which has no clock.
pub fn within(limit: Duration) -> Duration {
    let start = Instant::now();
    let sum = (0..35_000_000u64).fold(0, |sum, i| black_box(sum ^ i.wrapping_mul(0x9e37_79b9)));
    black_box(sum);
    limit.mul_f64((start.elapsed().as_secs_f64() / 0.05).max(1.0))
}

/// The weights of a seeded model. Where layers are ternary or binary, so are the embedding and the LM head; else these have 8
/// bits. All matrices of ternary layers are multiplied by [`TENSOR_SCALE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Family.
    pub family: Family,
    /// Encoding of the layers' matrices.
    pub encoding: Encoding,
    /// Meaning of their codes.
    pub zero: Zero,
    /// Columns that share a scale.
    pub group_size: usize,
    /// How scales are stored.
    pub scales: Scales,
    /// Whether the LM head is the embedding.
    pub tied: bool,
    /// Whether matrices are rotated, in blocks of 32: all but two of linear attention's.
    pub rotated: bool,
}

/// The scale of a ternary matrix of a seeded model, beside those of its rows.
pub const TENSOR_SCALE: f32 = 0.7;

/// One recipe for each format, and each family.
pub fn recipes() -> Vec<Recipe> {
    let recipe = |family, encoding, zero, group_size, tied| Recipe {
        family,
        encoding,
        zero,
        group_size,
        scales: Scales::Halves,
        tied,
        rotated: false,
    };
    let int4 = |family| recipe(family, Encoding::Nibbles, Zero::Affine, 32, true);
    vec![
        int4(Family::Llama),
        recipe(Family::Llama, Encoding::Planes(2), Zero::Symmetric(1), 1 << 20, true),
        recipe(Family::Llama, Encoding::Planes(3), Zero::Affine, 64, false),
        recipe(Family::Qwen2, Encoding::Bytes, Zero::Symmetric(128), 32, true),
        recipe(Family::Qwen2, Encoding::Planes(2), Zero::Affine, 64, false),
        recipe(Family::Qwen3, Encoding::Ternary, Zero::Symmetric(1), 64, false),
        int4(Family::Gemma3),
        int4(Family::Phi3),
        int4(Family::SmolLm3),
        int4(Family::Olmo2),
        int4(Family::Granite),
        recipe(Family::BitNet, Encoding::Ternary, Zero::Symmetric(1), 1 << 20, true),
        int4(Family::Lfm2),
        Recipe { rotated: true, ..int4(Family::Qwen35) },
        recipe(Family::Qwen2, Encoding::Split(5), Zero::Symmetric(16), 32, false),
        recipe(Family::Llama, Encoding::Split(6), Zero::Symmetric(32), 16, true),
        recipe(Family::Llama, Encoding::Split(2), Zero::Affine, 16, false),
        Recipe { rotated: true, ..recipe(Family::Llama, Encoding::Ternary, Zero::Symmetric(1), 128, true) },
        recipe(Family::Llama, Encoding::Binary, Zero::Symmetric(1), 32, false),
        recipe(
            Family::Llama,
            Encoding::Table(std::array::from_fn(|i| 16 * i as u8 + i as u8)),
            Zero::Symmetric(128),
            32,
            true,
        ),
        Recipe {
            scales: Scales::SixBits,
            ..recipe(Family::Llama, Encoding::Planes(3), Zero::Affine, 32, false)
        },
        Recipe { scales: Scales::SixBits, ..int4(Family::Qwen3) },
    ]
}

/// A tokenizer whose tokens are the 256 bytes: `tokenizer.json` of a byte-level BPE without merges.
pub fn byte_tokenizer() -> Vec<u8> {
    // GPT-2's printable stand-ins for bytes.
    let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let vocab: serde_json::Map<String, serde_json::Value> = (0..256u32)
        .map(|byte| {
            let stand_in = if printable(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            (char::from_u32(stand_in).unwrap_or(' ').to_string(), byte.into())
        })
        .collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                          "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "vocab": vocab, "merges": []}
    })
    .to_string()
    .into_bytes()
}

/// A SentencePiece tokenizer with byte fallback: the part of Phi-3-mini's vocabulary that some texts need. Its BOS token is
/// `<s>`; fixtures/sentencepiece.py wrote it.
pub fn sentencepiece_tokenizer() -> &'static [u8] {
    include_bytes!("../fixtures/sentencepiece.json")
}

/// [`byte_tokenizer`] with special tokens of these texts. They take the places of bytes that UTF-8 lacks, at most 11, from 255 down.
pub fn byte_tokenizer_with(special_tokens: &[&str]) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(&byte_tokenizer()).unwrap_or_default();
    let last = 256 - special_tokens.len() as u64;
    if let Some(vocab) = json["model"]["vocab"].as_object_mut() {
        vocab.retain(|_, id| id.as_u64().is_some_and(|id| id < last));
        for (id, token) in (last..).zip(special_tokens.iter().rev()) {
            vocab.insert(token.to_string(), id.into());
        }
    }
    let added = (last..).zip(special_tokens.iter().rev()).map(|(id, token)| {
        serde_json::json!({"id": id, "content": token, "special": true, "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false})
    });
    json["added_tokens"] = added.collect();
    json.to_string().into_bytes()
}

/// The bytes of a model file with random weights: hidden 96, 4 heads on 2, vocabulary 256.
///
/// # Errors
/// Those of [`Writer`]; none are expected.
pub fn seeded_model(recipe: Recipe, seed: u64) -> Result<Vec<u8>, WriteError> {
    seeded_chat_model(recipe, seed, None)
}

/// As [`seeded_model`]. With a chat template, the context is longer, 2048, and the logits are so close to each other that
/// the sampler's options matter.
///
/// # Errors
/// As [`seeded_model`].
pub fn seeded_chat_model(
    recipe: Recipe,
    seed: u64,
    chat_template: Option<&str>,
) -> Result<Vec<u8>, WriteError> {
    seeded_model_with(recipe, seed, chat_template, &byte_tokenizer())
}

/// As [`seeded_chat_model`], with this tokenizer of 256 tokens.
///
/// # Errors
/// As [`seeded_model`].
pub fn seeded_model_with(
    recipe: Recipe,
    seed: u64,
    chat_template: Option<&str>,
    tokenizer: &[u8],
) -> Result<Vec<u8>, WriteError> {
    model_with(recipe, seed, chat_template, tokenizer, 256, 0)
}

/// As [`seeded_chat_model`], with [`sentencepiece_tokenizer`]. `</s>` ends an answer.
///
/// # Errors
/// As [`seeded_model`].
pub fn seeded_sentencepiece_model(seed: u64, chat_template: Option<&str>) -> Result<Vec<u8>, WriteError> {
    let tokenizer = sentencepiece_tokenizer();
    let vocab_size = Tokenizer::from_json(tokenizer).map_or(0, |tokenizer| tokenizer.vocab_size());
    model_with(recipes()[0], seed, chat_template, tokenizer, vocab_size, 2)
}

fn model_with(
    recipe: Recipe,
    seed: u64,
    chat_template: Option<&str>,
    tokenizer: &[u8],
    vocab_size: usize,
    end: TokenId,
) -> Result<Vec<u8>, WriteError> {
    let mut config = recipe.family.config();
    config.vocab_size = vocab_size;
    config.max_position_embeddings = if chat_template.is_some() { 2048 } else { 512 };
    config.tie_word_embeddings = recipe.tied;
    config.eos_token_ids = vec![end];
    let mut list = tensors(&config);
    if recipe.rotated {
        let matrices = list.iter().filter(|tensor| tensor.role != Role::Float);
        let widths: BTreeSet<usize> = matrices.map(|tensor| tensor.shape[1]).collect();
        let mut random = Random(seed ^ 1);
        let mut sign = || random.bits() & 1 == 1;
        let signs =
            widths.into_iter().map(|width| Signs::pack(&(0..width).map(|_| sign()).collect::<Vec<_>>()));
        config.rotation = Some(Rotation { block_size: 32, signs: signs.collect() });
    }
    // Matrices first, and biases last in a layer.
    list.sort_by_key(|tensor| match tensor.role {
        Role::Embedding => (0, 0, false),
        Role::Linear(LinearId::LmHead) => (1, 0, false),
        Role::Linear(_) => (2, 0, false),
        Role::Float => {
            let layer = tensor.name.split('.').nth(2).and_then(|layer| layer.parse().ok());
            (3, layer.unwrap_or(usize::MAX), tensor.name.ends_with(".bias"))
        }
    });
    let few_bits = matches!(recipe.encoding, Encoding::Ternary | Encoding::Binary);
    let tensors: Vec<(TensorEntry, Option<Layout>)> = list
        .into_iter()
        .map(|tensor| {
            let [rows, cols] = tensor.shape;
            let layout = match tensor.role {
                Role::Embedding | Role::Linear(LinearId::LmHead) if !few_bits => {
                    Layout::new(rows, cols, Encoding::Bytes, Zero::Symmetric(128), 32).ok()
                }
                Role::Embedding | Role::Linear(_) => {
                    Layout::new(rows, cols, recipe.encoding, recipe.zero, recipe.group_size)
                        .and_then(|layout| layout.with_scales(recipe.scales))
                        .ok()
                }
                Role::Float => None,
            };
            let encoding = layout.as_ref().map_or(TensorEncoding::F32, TensorEncoding::from);
            let scale = matches!(encoding, TensorEncoding::Ternary { .. }).then_some(TENSOR_SCALE);
            let entry = Writer::<Cursor<Vec<u8>>>::entry(&tensor.name, tensor.shape, encoding);
            let apart = [Projection::LinearA, Projection::LinearB];
            let rotated = recipe.rotated
                && match tensor.role {
                    Role::Float => false,
                    Role::Linear(LinearId::Layer { projection, .. }) => !apart.contains(&projection),
                    Role::Embedding | Role::Linear(LinearId::LmHead) => true,
                };
            (TensorEntry { scale, rotated, ..entry }, layout)
        })
        .collect();
    let metadata = Metadata {
        name: "seeded".to_string(),
        config,
        chat_template: chat_template.map(str::to_string),
        bos_token: None,
        eos_token: None,
        quantization: Quantization {
            format: format!("{:?}", recipe.encoding),
            group_size: recipe.group_size,
            head: "int8".to_string(),
            method: "random".to_string(),
            source: format!("seed {seed}"),
            tool: "edgellm::testing".to_string(),
            quality: None,
        },
        tokenizer: Section { offset: 0, length: 0, crc32: 0 },
        tensors: tensors.iter().map(|(entry, _)| entry.clone()).collect(),
    };
    let mut random = Random(seed);
    let mut writer = Writer::new(Cursor::new(Vec::new()), metadata, tokenizer)?;
    for (entry, layout) in tensors {
        let data = match layout {
            Some(layout) => random_matrix(&layout, &mut random),
            None => {
                let calm = chat_template.is_some() && entry.name == FINAL_NORM;
                let scale = if calm { 0.01 } else { 1.0 };
                // The rates of decay are negative.
                let value = |x: f32| if entry.name.ends_with(".A") { -x.abs() } else { x * scale };
                (0..entry.shape[0] * entry.shape[1])
                    .flat_map(|_| value(random.float()).to_le_bytes())
                    .collect()
            }
        };
        writer.tensor::<WriteError>(&entry.name, |sink| {
            sink(&data)?;
            Ok(None)
        })?;
    }
    Ok(writer.finish()?.0.into_inner())
}

/// The model file with this record of what rounding cost. A file that is none comes back as it is.
pub fn with_quality(file: &[u8], quality: Quality) -> Vec<u8> {
    let Ok(model) = ModelFile::parse(file) else { return file.to_vec() };
    let mut metadata = model.metadata().clone();
    metadata.quantization.quality = Some(quality);
    let json = serde_json::to_vec(&metadata).unwrap_or_default();
    let data_start = |length: usize| (HEADER_BYTES + length).next_multiple_of(ALIGNMENT as usize);
    let length = file.get(16..24).and_then(|length| length.try_into().ok()).map_or(0, u64::from_le_bytes);
    let data = file.get(data_start(length as usize)..).unwrap_or_default();
    let mut out = file.get(..12).unwrap_or_default().to_vec();
    out.extend(crc32fast::hash(&json).to_le_bytes());
    out.extend((json.len() as u64).to_le_bytes());
    out.extend(((data_start(json.len()) + data.len()) as u64).to_le_bytes());
    out.extend(&json);
    out.resize(data_start(json.len()), 0);
    out.extend(data);
    out
}

/// FNV-1a hash of the bits of logits, for comparing targets.
pub fn logits_hash(hash: u64, logits: &[f32]) -> u64 {
    logits
        .iter()
        .flat_map(|value| value.to_bits().to_le_bytes())
        .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Initial value of [`logits_hash`].
pub const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
