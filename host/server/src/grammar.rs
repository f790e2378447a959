//! Constrained decoding: grammars for JSON, JSON schemas and tool calls.
//!
//! llguidance turns a grammar into the set of tokens that may come next. This module tells it the model's vocabulary, and
//! what a request asks for, within limits.

mod constraint;
mod expansion;
mod integers;
mod lark;
mod limits;
mod multiple;
mod outline;
mod recursion;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use constraint::Constraint;

use crate::tools::{Tool, ToolChoice};
use edgellm::{Model, TokenId};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::sync::Arc;

/// Compiles grammars for one model.
pub(crate) struct Grammars(ParserFactory);

/// Why no answer can follow a grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrammarError {
    #[error("this model has no end token, so no answer of it can follow a JSON schema or call tools")]
    NoEndToken,
    /// A limit of [`limits`].
    #[error("the schema is too large: at most {most} {what}; simplify it")]
    TooLarge { what: &'static str, most: u64 },
    /// A reference that needs itself.
    #[error(
        "no answer can match the schema: the reference {0:?} needs itself in every value, so values have no end; \
         make it optional somewhere"
    )]
    Endless(String),
    /// In a sentence of llguidance.
    #[error("no answer can match the schema: {0}")]
    Impossible(String),
    #[error("the schema allows no answer, or is too complex to follow; simplify it")]
    DeadEnd,
    /// In a sentence of llguidance.
    #[error("the schema is not supported: {0}")]
    Unsupported(String),
}

/// The constraints on an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The answer is JSON that this schema describes; an empty schema means any object.
    pub(crate) json: Option<Value>,
    /// The tools that the answer may call.
    pub(crate) tools: Vec<Tool>,
    /// Whether tools may, must or must not be called.
    pub(crate) choice: ToolChoice,
    /// Whether an answer may call more than one tool.
    pub(crate) parallel: bool,
}

impl Shape {
    /// Whether the answer can be nothing but tool calls.
    pub(crate) fn calls_only(&self) -> bool {
        matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_))
    }

    /// The tools that the answer may call.
    fn callable(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| self.choice.allows(&tool.name))
    }
}

impl Grammars {
    /// For the vocabulary of `model`.
    ///
    /// # Errors
    /// If the model has no end token.
    pub(crate) fn new(model: &Model) -> Result<Self, GrammarError> {
        let tokenizer = model.tokenizer();
        let rows = model.config().vocab_size as TokenId;
        let words: Vec<Vec<u8>> = (0..rows)
            .map(|id| match tokenizer.token_bytes(id) {
                // Special tokens, which no text may contain: llguidance marks them by a byte that UTF-8 lacks.
                Some(bytes) if tokenizer.is_special(id) || is_end(model, id) => {
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes.as_slice()].concat()
                }
                // llguidance cannot hold longer ones, and no grammar needs them.
                Some(bytes) if bytes.len() <= 255 => bytes,
                _ => Vec::new(),
            })
            .collect();
        let ends = &model.config().eos_token_ids;
        let Some(&end) = ends.first() else {
            return Err(GrammarError::NoEndToken);
        };
        let trie = TokTrie::from(&TokRxInfo::new(rows, end), &words).with_eos_tokens(ends);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let capabilities = InferenceCapabilities::default();
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&environment, capabilities, &slices).map_err(unsupported)?;
        factory.quiet();
        let of = factory.limits_mut();
        of.verbose_errors = false;
        of.max_lexer_states = limits::STATES;
        of.step_lexer_fuel = limits::STEP_FUEL;
        of.max_grammar_size = limits::SYMBOLS;
        Ok(Grammars(factory))
    }

    /// The constraint for `shape`; `None` if it allows any text.
    ///
    /// # Errors
    /// If a schema is not supported, or too large.
    pub(crate) fn constraint(&self, shape: &Shape) -> Result<Option<Constraint>, GrammarError> {
        if shape.json.is_none() && shape.callable().next().is_none() {
            return Ok(None);
        }
        on_large_stack(|| self.compile(shape)).map(Some)
    }

    fn compile(&self, shape: &Shape) -> Result<Constraint, GrammarError> {
        let mut size = 0;
        let mut checked = |schema: &Value| {
            let checked = checked(schema)?;
            size += expansion::size(&checked)?;
            limits::check(limits::SIZES, size, limits::SIZE)?;
            Ok(checked)
        };
        let json = shape.json.as_ref().map(&mut checked).transpose()?;
        let tools = shape.callable().map(|tool| Ok((tool.name.as_str(), checked(&tool.parameters)?)));
        let tools = tools.collect::<Result<Vec<_>, _>>()?;
        let grammar = lark::grammar(json, tools, !shape.calls_only(), shape.parallel);
        let parser = self.0.create_parser(TopLevelGrammar::from_lark(grammar)).map_err(unsupported)?;
        let mut matcher = Matcher::new(Ok(parser));
        // Finds schemas whose answers cannot even begin.
        matcher.compute_mask_or_eos().map_err(|_| GrammarError::DeadEnd)?;
        Ok(Constraint::new(matcher))
    }
}

/// A schema within limits, that has an answer, with the integers that llguidance would get wrong made right.
fn checked(sent: &Value) -> Result<Value, GrammarError> {
    let schema::Schema { mut json, names } = schema::read(sent)?;
    integers::exact(&mut json)?;
    match recursion::endless(&json) {
        Some(reference) => Err(GrammarError::Endless(schema::name_of(&reference, &names))),
        // Which keywords it has decides whether a schema means any object, so that is asked of the one that was sent.
        None if sent.as_object().is_some_and(|fields| fields.is_empty()) => {
            Ok(serde_json::json!({"type": "object"}))
        }
        None => Ok(json),
    }
}

/// Stack of the thread that compiles grammars.
#[cfg(not(test))]
fn stack() -> usize {
    limits::STACK
}

#[cfg(test)]
use tests::stack;

/// Runs `work`, which recurses, on a thread with the stack for it.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, GrammarError> + Send) -> Result<T, GrammarError> {
    let failed = || GrammarError::Unsupported("it could not be compiled".into());
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("grammar".into()).stack_size(stack());
        let thread = builder.spawn_scoped(scope, work).map_err(|_| failed())?;
        thread.join().unwrap_or_else(|_| Err(failed()))
    })
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammars")
    }
}

fn is_end(model: &Model, id: TokenId) -> bool {
    model.config().eos_token_ids.contains(&id)
}

/// Keeps the sentence of llguidance's error, without the lines of the grammar where it found it.
fn unsupported(error: impl std::fmt::Display) -> GrammarError {
    let text = error.to_string();
    let located = text.strip_prefix("at ").and_then(|rest| rest.split_once("): ")).map(|(_, text)| text);
    let line = located.unwrap_or(&text).lines().next().unwrap_or_default();
    let line = line.strip_prefix("failed to compile JSON schema: ").unwrap_or(line);
    if line.starts_with("panic") {
        return GrammarError::Unsupported("it is beyond the limits of the grammar library".into());
    }
    let short = |text: &str| text.trim_end_matches(':').chars().take(300).collect();
    match line.strip_prefix("Unsatisfiable schema: ") {
        Some(reason) => GrammarError::Impossible(short(reason)),
        None => GrammarError::Unsupported(short(line)),
    }
}
