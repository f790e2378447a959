//! The tables.

use super::{Field, Fields, Verdict};
use crate::api::chat::ChatBody;
use crate::api::completions::CompletionBody;
use crate::api::embeddings::EmbeddingRequest;
use crate::api::models::{DetokenizeRequest, TokenizeRequest};

const fn implemented(name: &'static str) -> Field {
    Field { name, verdict: Verdict::Implemented }
}

const fn no_effect(name: &'static str) -> Field {
    Field { name, verdict: Verdict::NoEffect }
}

const fn refused(name: &'static str, neutral: &'static str, instead: &'static str) -> Field {
    Field { name, verdict: Verdict::Refused { neutral, instead } }
}

const LEAVE_OUT: &str = "leave it out";
const SAMPLER: &str = "the sampler has no such step; leave it out";
const SCHEMA: &str = "use response_format with a JSON schema";
const TOOLS: &str = "use tools and tool_choice";
const TEMPLATE: &str = "prompts follow the model's own chat template; use /v1/completions for others";

impl Fields for ChatBody {
    const TABLES: &'static [&'static [Field]] = &[CHAT, GENERATION, SAMPLING, DIAGNOSTICS];

    fn model(&self) -> Option<&str> {
        self.chat.model.as_deref()
    }
}

impl Fields for CompletionBody {
    const TABLES: &'static [&'static [Field]] = &[COMPLETION, GENERATION, SAMPLING, DIAGNOSTICS];

    fn model(&self) -> Option<&str> {
        self.completion.model.as_deref()
    }
}

impl Fields for EmbeddingRequest {
    const TABLES: &'static [&'static [Field]] = &[EMBEDDING];

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl Fields for TokenizeRequest {
    const TABLES: &'static [&'static [Field]] = &[TOKENIZE];

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl Fields for DetokenizeRequest {
    const TABLES: &'static [&'static [Field]] = &[&[implemented("model"), implemented("tokens")]];

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// Only of `/v1/chat/completions`.
const CHAT: &[Field] = &[
    implemented("messages"),
    implemented("logprobs"),
    implemented("top_logprobs"),
    implemented("tools"),
    implemented("tool_choice"),
    implemented("parallel_tool_calls"),
    // OpenAI's.
    no_effect("prediction"),
    refused("audio", "[]", "answers are text"),
    refused("modalities", r#"[["text"]]"#, "answers are text"),
    refused("functions", "[[]]", TOOLS),
    refused("function_call", r#"["auto", "none"]"#, TOOLS),
    refused("web_search_options", "[]", "the server searches nothing"),
    refused("reasoning_effort", r#"["none", "medium"]"#, "models have no such setting here; leave it out"),
    refused("verbosity", r#"["medium"]"#, "models have no such setting here; ask for short or long answers"),
    // llama.cpp's.
    no_effect("reasoning_in_content"),
    refused("reasoning_format", r#"["auto", "none"]"#, "the thoughts of a model are part of the content"),
    refused("reasoning_budget", "[-1]", LEAVE_OUT),
    refused("thinking_budget_tokens", "[-1]", LEAVE_OUT),
    refused("parse_tool_calls", "[true]", "calls are always parsed; send no tools"),
    refused("add_generation_prompt", "[true]", TEMPLATE),
    refused("chat_template_kwargs", "[{}]", TEMPLATE),
    // vLLM's.
    refused("chat_template", "[]", TEMPLATE),
    refused("continue_final_message", "[false]", TEMPLATE),
    refused("documents", "[[]]", "put them into the messages"),
    refused("echo", "[false]", "use /v1/completions"),
    refused("add_special_tokens", "[false]", "the chat template writes them"),
];

/// Only of `/v1/completions`.
const COMPLETION: &[Field] = &[
    implemented("prompt"),
    implemented("echo"),
    implemented("logprobs"),
    refused("suffix", r#"[""]"#, "write the model's own tokens for filling in into the prompt"),
    refused("add_special_tokens", "[true]", "send the prompt as tokens, from /tokenize"),
];

/// Of both completions, but for sampling.
const GENERATION: &[Field] = &[
    implemented("model"),
    implemented("max_tokens"),
    implemented("max_completion_tokens"),
    implemented("n_predict"),
    implemented("stop"),
    implemented("n"),
    implemented("stream"),
    implemented("stream_options"),
    implemented("user"),
    implemented("response_format"),
    implemented("json_schema"),
    implemented("ignore_eos"),
    // OpenAI's.
    no_effect("store"),
    no_effect("metadata"),
    no_effect("service_tier"),
    no_effect("safety_identifier"),
    no_effect("prompt_cache_key"),
    no_effect("prompt_cache_retention"),
    refused(
        "best_of",
        "[1]",
        "each choice is generated once; ask for n choices and choose by their logprobs",
    ),
    // llama.cpp's.
    no_effect("cache_prompt"),
    no_effect("n_cache_reuse"),
    no_effect("id_slot"),
    no_effect("n_keep"),
    no_effect("n_discard"),
    no_effect("sse_ping_interval"),
    no_effect("speculative.n_max"),
    no_effect("speculative.n_min"),
    no_effect("speculative.p_min"),
    refused("n_cmpl", "[1]", "use n"),
    refused("n_indent", "[0]", LEAVE_OUT),
    refused("n_probs", "[0]", "use logprobs"),
    refused("post_sampling_probs", "[false]", "log probabilities are the model's, before sampling"),
    refused("t_max_predict_ms", "[0, -1]", "use max_tokens"),
    refused("grammar", r#"[""]"#, SCHEMA),
    refused("grammar_lazy", "[false]", SCHEMA),
    refused("grammar_triggers", "[[]]", SCHEMA),
    refused("lora", "[[]]", "convert the model with its adapter merged"),
    // vLLM's.
    no_effect("priority"),
    no_effect("request_id"),
    no_effect("cache_salt"),
    refused("guided_json", "[]", SCHEMA),
    refused("guided_regex", "[]", SCHEMA),
    refused("guided_choice", "[]", SCHEMA),
    refused("guided_grammar", "[]", SCHEMA),
    refused("structured_outputs", "[]", SCHEMA),
    refused("min_tokens", "[0]", "forbid the end token with logit_bias"),
    refused("stop_token_ids", "[[]]", "use stop"),
    refused("include_stop_str_in_output", "[false]", LEAVE_OUT),
    refused("skip_special_tokens", "[true]", LEAVE_OUT),
    refused("prompt_logprobs", "[]", "use echo and logprobs of /v1/completions"),
    refused("truncate_prompt_tokens", "[]", "shorten the prompt"),
    refused("return_token_ids", "[false]", "use logprobs, or /tokenize"),
    refused("return_tokens_as_token_ids", "[false]", "use /tokenize"),
];

/// How tokens are sampled.
const SAMPLING: &[Field] = &[
    implemented("temperature"),
    implemented("top_p"),
    implemented("top_k"),
    implemented("min_p"),
    implemented("seed"),
    implemented("presence_penalty"),
    implemented("frequency_penalty"),
    implemented("repetition_penalty"),
    implemented("repeat_penalty"),
    implemented("repeat_last_n"),
    implemented("logit_bias"),
    // llama.cpp's. Parameters of a step have no effect without the step.
    refused("typical_p", "[1]", SAMPLER),
    refused("tfs_z", "[1]", SAMPLER),
    refused("top_n_sigma", "[-1, 0]", SAMPLER),
    refused("xtc_probability", "[0]", SAMPLER),
    no_effect("xtc_threshold"),
    refused("dynatemp_range", "[0]", SAMPLER),
    no_effect("dynatemp_exponent"),
    refused("dry_multiplier", "[0]", SAMPLER),
    no_effect("dry_base"),
    no_effect("dry_allowed_length"),
    no_effect("dry_penalty_last_n"),
    no_effect("dry_sequence_breakers"),
    refused("mirostat", "[0]", SAMPLER),
    no_effect("mirostat_tau"),
    no_effect("mirostat_eta"),
    refused("adaptive_target", "[-1]", SAMPLER),
    no_effect("adaptive_decay"),
    refused("min_keep", "[0, 1]", SAMPLER),
    refused("samplers", SAMPLERS, "the order of the sampler's steps is fixed; leave it out"),
    no_effect("backend_sampling"),
    // vLLM's.
    refused("use_beam_search", "[false]", SAMPLER),
    no_effect("length_penalty"),
    no_effect("early_stopping"),
    refused("bad_words", "[[]]", "forbid tokens with logit_bias"),
    refused("allowed_token_ids", "[]", "forbid tokens with logit_bias"),
    refused("logits_processors", "[[]]", SAMPLER),
];

/// llama.cpp's defaults: its steps that are not here do nothing by default.
const SAMPLERS: &str = r#"[
    ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
    ["dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
    ["top_k", "top_p", "min_p", "temperature"],
    "edskypmxt", "edkypmxt"
]"#;

/// What llama.cpp's server adds to its answers for diagnosis.
const DIAGNOSTICS: &[Field] = &[
    no_effect("verbose"),
    no_effect("timings_per_token"),
    no_effect("return_progress"),
    no_effect("return_tokens"),
    no_effect("response_fields"),
];

const EMBEDDING: &[Field] = &[
    implemented("model"),
    implemented("input"),
    implemented("encoding_format"),
    implemented("dimensions"),
    no_effect("user"),
    no_effect("priority"),
    refused("embd_normalize", "[2]", "vectors have length 1"),
    refused("truncate_prompt_tokens", "[]", "shorten the texts"),
    refused("add_special_tokens", "[true]", "send the input as tokens, from /tokenize"),
];

const TOKENIZE: &[Field] = &[
    implemented("model"),
    implemented("content"),
    implemented("add_special"),
    implemented("parse_special"),
    implemented("with_pieces"),
];
