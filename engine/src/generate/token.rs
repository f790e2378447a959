//! Generated tokens, and why there are no more.

use crate::TokenId;

/// A generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The text that became certain with it: often its own, none while a character is incomplete or a stop string may
    /// be coming, and more than its own afterwards.
    pub text: String,
    /// Natural logarithm of the model's probability for it, before constraint and sampler change it, if
    /// [`Decoder::logprobs`](super::Decoder::logprobs) asked for it.
    pub logprob: Option<f32>,
    /// The most likely tokens in its place with their log probabilities, the most likely first, as many as
    /// [`Decoder::logprobs`](super::Decoder::logprobs) asked for.
    pub top_logprobs: Vec<(TokenId, f32)>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its answer, a stop string or stop token came, or the constraint allows no more.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// The session can hold no more tokens.
    ContextFull,
}

impl FinishReason {
    /// `stop`, `length` or `context_full`.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ContextFull => "context_full",
        }
    }
}
