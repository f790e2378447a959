//! What goes over the wire, in OpenAI's shapes.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod models;
pub(crate) mod number;
pub(crate) mod object;
pub(crate) mod sampling;

use number::Token;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// One text or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// Texts, or texts that are tokens already.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<Token>),
    ManyTokens(Vec<Vec<Token>>),
}

// By hand, since the derived one cannot say that none may be empty.
impl PartialSchema for Prompts {
    fn schema() -> RefOr<Schema> {
        fn list(items: impl Into<RefOr<Schema>>) -> Array {
            ArrayBuilder::new().items(items.into()).min_items(Some(1)).build()
        }
        let text =
            || Schema::Object(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).build());
        let token = || Ref::from_schema_name(Token::name());
        let one_of = OneOfBuilder::new()
            .description(Some("Texts, or texts that are tokens already."))
            .item(text())
            .item(list(text()))
            .item(list(token()))
            .item(list(Schema::Array(list(token()))))
            .build();
        RefOr::T(Schema::OneOf(one_of))
    }
}

impl ToSchema for Prompts {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Token::name().into_owned(), Token::schema()));
    }
}

/// How many tokens a request took.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    /// Tokens generated.
    pub(crate) completion_tokens: usize,
    /// Both.
    pub(crate) total_tokens: usize,
    pub(crate) prompt_tokens_details: PromptTokensDetails,
}

/// More about the prompt.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct PromptTokensDetails {
    /// Tokens that the prefix cache had.
    pub(crate) cached_tokens: usize,
}

impl Usage {
    pub(crate) fn new(prompt: usize, completion: usize, cached: usize) -> Self {
        Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt + completion,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: cached },
        }
    }
}
