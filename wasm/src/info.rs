//! What a model file says about itself, as JSON.

use edgellm::kernels::page::{CacheFormat, HeadLayout, PAGE_POSITIONS};
use edgellm::{Model, config::ModelConfig};
use serde_json::{Value, json};

/// Bytes that 64 positions of the key-value cache take.
pub(crate) fn cache_page_bytes(config: &ModelConfig, format: CacheFormat) -> u64 {
    let heads = (config.attention_layers() * config.num_key_value_heads) as u64;
    heads * HeadLayout::new(format, config.head_dim).bytes() as u64
}

/// `ModelInfo` of `index.d.ts`, but for what only the page knows.
pub(crate) fn info(model: &Model) -> Value {
    let (metadata, config) = (model.metadata(), model.config());
    let quantization = &metadata.quantization;
    let parameters: u64 =
        metadata.tensors.iter().map(|tensor| tensor.shape[0] as u64 * tensor.shape[1] as u64).sum();
    let per_token = |format| cache_page_bytes(config, format).div_ceil(PAGE_POSITIONS as u64);
    json!({
        "name": metadata.name,
        "architecture": config.model_type,
        "parameters": parameters,
        "fileBytes": model.file_bytes(),
        "quantization": {
            "format": quantization.format,
            "groupSize": quantization.group_size,
            "head": quantization.head,
            "method": quantization.method,
            "source": quantization.source,
            "tool": quantization.tool,
        },
        "hiddenSize": config.hidden_size,
        "layers": config.num_hidden_layers,
        "vocabSize": config.vocab_size,
        "contextLength": config.max_position_embeddings,
        "cacheBytesPerToken": { "f16": per_token(CacheFormat::F16), "int8": per_token(CacheFormat::Int8) },
        "hasChatTemplate": metadata.chat_template.is_some(),
        "kernel": model.compute().kernels().name(),
        "threads": model.compute().threads(),
    })
}
