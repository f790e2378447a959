//! What differs between the endpoints that generate: the JSON of their answers.

use crate::api::usage::Usage;
use crate::registry::Loaded;
use crate::scheduler::TokenLogprobs;
use edgellm::TokenId;
use serde::Serialize;

/// What all pieces of an answer begin with.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
}

/// A generated token.
#[derive(Debug)]
pub(crate) struct GeneratedToken {
    pub(crate) id: TokenId,
    pub(crate) text: String,
    pub(crate) logprobs: Option<TokenLogprobs>,
}

/// The JSON of one endpoint. An implementation holds the state of the answer's choices.
pub(crate) trait Format: Send + Unpin + 'static {
    /// What is new in a choice, in a piece of a streamed answer.
    type Delta: Send;
    /// A choice of the whole answer.
    type Choice;
    /// A piece of a streamed answer.
    type Piece: Serialize + Send;
    /// The whole answer.
    type Whole: Serialize;

    /// How identifiers of answers begin.
    const ID: &'static str;

    /// Number of choices.
    fn choices(&self) -> usize;

    /// What the scores of a prompt's tokens, from the second on, add to choice `index`, if anything.
    fn scored(&mut self, model: &Loaded, index: usize, scores: &[TokenLogprobs]) -> Option<Self::Delta>;

    /// What a token adds to choice `index`, if anything.
    fn token(&mut self, model: &Loaded, index: usize, token: GeneratedToken) -> Option<Self::Delta>;

    /// What the end of choice `index` adds to it. `reason` is OpenAI's word for why it ended.
    fn finished(&mut self, index: usize, reason: &'static str) -> Vec<Self::Delta>;

    /// A piece of a stream: with a delta, or with the usage at the end.
    fn piece(head: Head, delta: Option<Self::Delta>, usage: Option<Usage>) -> Self::Piece;

    /// An empty choice.
    fn choice(index: usize) -> Self::Choice;

    /// The choice that a delta belongs to.
    fn index(delta: &Self::Delta) -> usize;

    /// Appends a delta to its choice.
    fn append(choice: &mut Self::Choice, delta: Self::Delta);

    /// The whole answer.
    fn whole(head: Head, choices: Vec<Self::Choice>, usage: Usage) -> Self::Whole;
}
