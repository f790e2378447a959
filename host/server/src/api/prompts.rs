//! Texts to process: one or several, as text or as tokens.

use super::number::Token;
use serde::Deserialize;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Texts, or lists of tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<Token>),
    ManyTokens(Vec<Vec<Token>>),
}

impl Prompts {
    /// How many texts.
    pub(crate) fn count(&self) -> usize {
        match self {
            Prompts::Text(_) | Prompts::Tokens(_) => 1,
            Prompts::Texts(texts) => texts.len(),
            Prompts::ManyTokens(many) => many.len(),
        }
    }

    /// The texts that are text.
    pub(crate) fn texts(&self) -> &[String] {
        match self {
            Prompts::Text(text) => std::slice::from_ref(text),
            Prompts::Texts(texts) => texts,
            Prompts::Tokens(_) | Prompts::ManyTokens(_) => &[],
        }
    }
}

// The derived schema could not say that none may be empty.
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
