//! Conversions between the types of the WIT and of the engine.

use super::wit;
use edgellm::chat::Message;
use edgellm::generate::{FinishReason, Token};
use edgellm::sampler::SamplerOptions;
use edgellm::{CacheFormat, Precision, SessionOptions};
use edgellm_component::{Error, GenerateOptions, Timings};

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        wit::Error { code: code(&error), message: error.to_string() }
    }
}

fn code(error: &Error) -> wit::ErrorCode {
    use edgellm::Error as Engine;
    use wit::ErrorCode;
    match error {
        Error::NotFound { .. } => ErrorCode::NotFound,
        Error::Read { .. } => ErrorCode::Io,
        Error::TooLarge { .. } => ErrorCode::TooLarge,
        Error::Memory { .. } => ErrorCode::Memory,
        Error::Interrupted { .. } => ErrorCode::Interrupted,
        Error::NoTemplate | Error::Chat(_) => ErrorCode::Chat,
        Error::Sampler(_) | Error::Engine(Engine::EmptyStop | Engine::Mixed | Engine::Wanted { .. }) => {
            ErrorCode::InvalidOption
        }
        Error::Engine(Engine::Tokenizer(_)) => ErrorCode::Tokenizer,
        Error::Engine(Engine::Token { .. }) => ErrorCode::Token,
        Error::Engine(Engine::EmptyPrompt) => ErrorCode::EmptyPrompt,
        Error::Engine(Engine::ContextFull { .. }) => ErrorCode::ContextFull,
        Error::Engine(Engine::Context { .. }) => ErrorCode::Context,
        // Errors of the format, and those that later versions may add about a file.
        _ => ErrorCode::Format,
    }
}

/// The error for a session that is in a batch twice.
pub(super) fn twice() -> wit::Error {
    let message = "a session is in the batch twice: pass each session once".to_string();
    wit::Error { code: wit::ErrorCode::InvalidOption, message }
}

pub(super) fn info(model: &edgellm::Model) -> wit::ModelInfo {
    let (metadata, config) = (model.metadata(), model.config());
    wit::ModelInfo {
        name: metadata.name.clone(),
        model_type: config.model_type.clone(),
        format: metadata.quantization.format.clone(),
        vocab_size: config.vocab_size as u32,
        max_position_embeddings: config.max_position_embeddings as u32,
        hidden_size: config.hidden_size as u32,
        num_hidden_layers: config.num_hidden_layers as u32,
        has_chat_template: metadata.chat_template.is_some(),
        file_bytes: model.file_bytes() as u64,
        kernels: model.compute().kernels().name().to_string(),
    }
}

pub(super) fn messages(messages: Vec<wit::Message>) -> Vec<Message> {
    messages.into_iter().map(|message| Message::new(message.role, message.content)).collect()
}

pub(super) fn session_options(options: wit::SessionOptions) -> SessionOptions {
    let default = SessionOptions::default();
    SessionOptions {
        context_length: options.context_length.map(|length| length as usize),
        precision: options.precision.map_or(default.precision, |precision| match precision {
            wit::Precision::Fast => Precision::Fast,
            wit::Precision::Standard => Precision::Standard,
            wit::Precision::High => Precision::High,
        }),
        kv_cache: options.kv_cache.map_or(default.kv_cache, |format| match format {
            wit::KvCache::F16 => CacheFormat::F16,
            wit::KvCache::Int8 => CacheFormat::Int8,
        }),
    }
}

pub(super) fn generate_options(options: wit::GenerateOptions) -> GenerateOptions {
    let given = options.sampler;
    let default = SamplerOptions::default();
    let sampler = SamplerOptions {
        temperature: given.temperature.unwrap_or(default.temperature),
        top_k: given.top_k.map_or(default.top_k, |k| k as usize),
        top_p: given.top_p.unwrap_or(default.top_p),
        min_p: given.min_p.unwrap_or(default.min_p),
        repetition_penalty: given.repetition_penalty.unwrap_or(default.repetition_penalty),
        presence_penalty: given.presence_penalty.unwrap_or(default.presence_penalty),
        frequency_penalty: given.frequency_penalty.unwrap_or(default.frequency_penalty),
        seed: given.seed.unwrap_or(default.seed),
        ..default
    };
    GenerateOptions {
        sampler,
        max_tokens: options.max_tokens.map(|tokens| tokens as usize),
        stop: options.stop,
        ignore_eos: options.ignore_eos,
        logprobs: options.logprobs,
    }
}

pub(super) fn token(token: Token) -> wit::Token {
    wit::Token { id: token.id, text: token.text, logprob: token.logprob }
}

pub(super) fn finish_reason(reason: FinishReason) -> wit::FinishReason {
    match reason {
        FinishReason::Stop => wit::FinishReason::Stop,
        FinishReason::Length => wit::FinishReason::Length,
        FinishReason::ContextFull => wit::FinishReason::ContextFull,
    }
}

pub(super) fn timings(timings: Timings) -> wit::Timings {
    wit::Timings {
        prompt_tokens: timings.prompt_tokens as u32,
        generated_tokens: timings.generated_tokens as u32,
        prefill_ns: timings.prefill_ns,
        decode_ns: timings.decode_ns,
    }
}
