//! What a model file says about itself, as JSON.

use edgellm::format::Quality;
use edgellm::{CacheFormat, Model, SessionOptions};
use serde_json::{Value, json};

/// A multiple of the positions of a page and of the distance between snapshots of recurrent layers' states.
const POSITIONS: usize = 1024;

/// `ModelInfo` of `index.d.ts`, but for what only the page knows.
pub(crate) fn info(model: &Model) -> Value {
    let (metadata, config) = (model.metadata(), model.config());
    let quantization = &metadata.quantization;
    let parameters: u64 =
        metadata.tensors.iter().map(|tensor| tensor.shape[0] as u64 * tensor.shape[1] as u64).sum();
    let bytes = |kv_cache, positions| {
        SessionOptions { kv_cache, ..Default::default() }.cache_bytes(config, positions)
    };
    let per_token = |format| (bytes(format, POSITIONS) - bytes(format, 0)).div_ceil(POSITIONS as u64);
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
            "quality": quantization.quality.as_ref().map(quality),
        },
        "hiddenSize": config.hidden_size,
        "layers": config.num_hidden_layers,
        "vocabSize": config.vocab_size,
        "contextLength": config.max_position_embeddings,
        "cacheBytesPerToken": { "f16": per_token(CacheFormat::F16), "int8": per_token(CacheFormat::Int8) },
        "stateBytes": bytes(CacheFormat::F16, 0),
        "hasChatTemplate": metadata.chat_template.is_some(),
        "kernel": model.compute().kernels().name(),
        "threads": model.compute().threads(),
    })
}

/// What rounding cost, with the names of `index.d.ts`.
fn quality(quality: &Quality) -> Value {
    let calibration = &quality.calibration;
    json!({
        "text": quality.text,
        "tokens": quality.tokens,
        "sourcePerplexity": quality.source_perplexity,
        "perplexity": quality.perplexity,
        "klDivergence": quality.kl_divergence,
        "sameTopToken": quality.same_top_token,
        "calibration": {
            "method": calibration.method,
            "data": calibration.data,
            "sha256": calibration.sha256,
            "tokens": calibration.tokens,
        },
    })
}
