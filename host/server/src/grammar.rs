//! Constrained decoding: grammars for JSON, JSON schemas and tool calls.
//!
//! llguidance turns a grammar into the set of tokens that may come next. This module writes the grammars and tells
//! llguidance the model's vocabulary.

mod integers;
mod recursion;

use crate::tools::{Tool, ToolChoice};
use edgellm::generate::{self, ConstraintError};
use edgellm::{Model, TokenId};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// Compiles grammars for one model.
pub(crate) struct Grammars(ParserFactory);

/// Why no answer can follow a grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrammarError {
    #[error("this model has no end token, so no answer of it can follow a JSON schema or call tools")]
    NoEndToken,
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

/// The state of one sequence in its grammar.
pub(crate) struct Constraint(Matcher);

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
        factory.limits_mut().verbose_errors = false;
        Ok(Grammars(factory))
    }

    /// The constraint for `shape`; `None` if it allows any text.
    ///
    /// # Errors
    /// If a schema is not supported.
    pub(crate) fn constraint(&self, shape: &Shape) -> Result<Option<Constraint>, GrammarError> {
        let shape = shape.exact()?;
        let Some(grammar) = shape.grammar() else { return Ok(None) };
        if let Some(reference) = shape.schemas().find_map(recursion::endless) {
            return Err(GrammarError::Endless(reference));
        }
        let parser = self.0.create_parser(TopLevelGrammar::from_lark(grammar)).map_err(unsupported)?;
        let mut matcher = Matcher::new(Ok(parser));
        // Finds schemas whose answers cannot even begin.
        match matcher.compute_mask_or_eos() {
            Ok(_) => Ok(Some(Constraint(matcher))),
            Err(_) => Err(GrammarError::DeadEnd),
        }
    }
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
    let short = |text: &str| text.trim_end_matches(':').chars().take(300).collect();
    match line.strip_prefix("Unsatisfiable schema: ") {
        Some(reason) => GrammarError::Impossible(short(reason)),
        None => GrammarError::Unsupported(short(line)),
    }
}

impl generate::Constraint for Constraint {
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ConstraintError> {
        let allowed = self.0.compute_mask_or_eos().map_err(|error| error.to_string())?;
        for (id, logit) in (0..allowed.len()).zip(logits) {
            if !allowed.is_allowed(id as TokenId) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn accept(&mut self, token: TokenId) -> Result<(), ConstraintError> {
        Ok(self.0.consume_token(token).map_err(|error| error.to_string())?)
    }

    fn is_complete(&self) -> bool {
        self.0.is_stopped()
    }
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Constraint(self.0.deep_clone())
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constraint")
    }
}

impl Shape {
    /// The schemas that an answer may have to follow.
    fn schemas(&self) -> impl Iterator<Item = &Value> {
        let tools = self.tools.iter().filter(|tool| self.choice.allows(&tool.name));
        self.json.iter().chain(tools.map(|tool| &tool.parameters))
    }

    /// The same with the integers that llguidance would get wrong.
    fn exact(&self) -> Result<Shape, GrammarError> {
        let mut shape = self.clone();
        shape.json.iter_mut().try_for_each(integers::exact)?;
        shape.tools.iter_mut().try_for_each(|tool| integers::exact(&mut tool.parameters))?;
        Ok(shape)
    }

    /// Whether the answer can be nothing but tool calls.
    pub(crate) fn calls_only(&self) -> bool {
        matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_))
    }

    /// The grammar in llguidance's dialect of Lark.
    fn grammar(&self) -> Option<String> {
        let calls = !self.tools.is_empty() && self.choice != ToolChoice::None;
        let mut lark = match (&self.json, calls) {
            (None, false) => return None,
            (Some(_), false) => "start: answer\n".to_string(),
            (Some(_), true) if self.choice == ToolChoice::Auto => "start: calls | answer\n".to_string(),
            (None, true) if self.choice == ToolChoice::Auto => {
                // Text until a call begins: llguidance takes the first match of a lazy rule.
                let more = if self.parallel { "*" } else { "?" };
                format!(
                    "start: (begin body){more} TEXT\nbegin[lazy]: /(.|\\n)*<tool_call>/\nTEXT: /(.|\\n)*/\n"
                )
            }
            _ => "start: calls\n".to_string(),
        };
        if let Some(schema) = &self.json {
            let _ = writeln!(lark, "answer: %json {}", compact(schema));
        }
        if calls {
            let more = if self.parallel { " (\"\\n<tool_call>\" body)*" } else { "" };
            let _ = writeln!(lark, "calls: \"<tool_call>\" body{more}");
            let chosen = self.tools.iter().filter(|tool| self.choice.allows(&tool.name));
            let (mut names, mut rules) = (Vec::new(), String::new());
            for (index, tool) in chosen.enumerate() {
                names.push(format!("call_{index}"));
                let head = lark_string(&format!("{{\"name\": {}, \"arguments\": ", json!(tool.name)));
                let _ = writeln!(rules, "call_{index}: {head} args_{index} \"}}\"");
                let _ = writeln!(rules, "args_{index}: %json {}", compact(&tool.parameters));
            }
            let _ = writeln!(lark, "body: \"\\n\" ({}) \"\\n</tool_call>\"", names.join(" | "));
            lark.push_str(&rules);
        }
        Some(lark)
    }
}

/// The schema with fixed whitespace, where small models would otherwise generate spaces without end.
fn compact(schema: &Value) -> Value {
    let mut schema = match schema {
        Value::Object(fields) => fields.clone(),
        // `true`, `false`, or something that llguidance will reject.
        other => Map::from_iter([("allOf".to_string(), json!([other]))]),
    };
    if schema.is_empty() {
        schema.insert("type".into(), json!("object"));
    }
    schema.insert(
        "x-guidance".into(),
        json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ", "lenient": true}),
    );
    Value::Object(schema)
}

/// A string as Lark writes it.
fn lark_string(text: &str) -> String {
    json!(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgellm::generate::Constraint as _;
    use edgellm::testing::{recipes, seeded_model};

    fn grammars() -> Grammars {
        Grammars::new(&Model::from_bytes(seeded_model(recipes()[0], 1).unwrap()).unwrap()).unwrap()
    }

    /// Whether `text` can be written, and whether it may end there.
    fn follows(shape: &Shape, text: &str) -> (bool, bool) {
        let mut constraint = grammars().constraint(shape).unwrap().unwrap();
        for byte in text.bytes() {
            let mut logits = vec![0.0; 256];
            constraint.mask(&mut logits).unwrap();
            if logits[usize::from(byte)] != 0.0 {
                return (false, false);
            }
            constraint.accept(byte.into()).unwrap();
        }
        let mut logits = vec![0.0; 256];
        constraint.mask(&mut logits).unwrap();
        // Token 0 ends the seeded models' answers.
        (true, logits[0] == 0.0)
    }

    fn tool(name: &str, parameters: Value) -> Tool {
        Tool { name: name.into(), parameters, sent: edgellm::chat::Json::Null }
    }

    #[test]
    fn json_and_schemas() {
        let any = Shape { json: Some(json!({})), ..Shape::default() };
        assert_eq!(follows(&any, r#"{"a": [1, null]}"#), (true, true));
        assert_eq!(follows(&any, "[1]"), (false, false));
        let schema = json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"],
                            "additionalProperties": false, "$defs": {"n": {"type": "integer"}}});
        let shape = Shape { json: Some(schema), ..Shape::default() };
        assert_eq!(follows(&shape, r#"{"n": 12}"#), (true, true));
        assert_eq!(follows(&shape, r#"{"n": 1"#), (true, false));
        assert_eq!(follows(&shape, r#"{"n": ""#), (false, false));
        assert_eq!(follows(&shape, r#"{"m"#), (false, false));
    }

    #[test]
    fn tools_may_or_must_be_called() {
        let schema = json!({"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"],
                            "additionalProperties": false});
        let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"at\": \"Rome\"}}\n</tool_call>";
        let tools = vec![tool("weather", schema), tool("time", json!({"type": "object"}))];
        let mut shape = Shape { tools, ..Shape::default() };
        assert_eq!(follows(&shape, "It rains."), (true, true));
        assert_eq!(follows(&shape, call), (true, true));
        assert_eq!(follows(&shape, &format!("Let me see. {call}")), (true, true));
        assert_eq!(follows(&shape, "<tool_call>\n{\"name\": \"rain"), (false, false));
        assert_eq!(follows(&shape, &call.replace("at\"", "to\"")), (false, false));
        shape.choice = ToolChoice::Required;
        assert_eq!(follows(&shape, "It"), (false, false));
        assert_eq!(follows(&shape, call), (true, true));
        assert_eq!(follows(&shape, &format!("{call}\n{call}")), (false, false));
        shape.parallel = true;
        assert_eq!(follows(&shape, &format!("{call}\n{call}")), (true, true));
        shape.choice = ToolChoice::Named("time".into());
        assert_eq!(follows(&shape, call), (false, false));
        shape.choice = ToolChoice::None;
        assert!(grammars().constraint(&shape).unwrap().is_none());
    }

    #[test]
    fn json_or_tools() {
        let shape = Shape {
            json: Some(json!({"type": "array"})),
            tools: vec![tool("f", json!({}))],
            ..Shape::default()
        };
        assert_eq!(follows(&shape, "[1]"), (true, true));
        assert_eq!(
            follows(&shape, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"),
            (true, true)
        );
        assert_eq!(follows(&shape, "text"), (false, false));
    }

    #[test]
    fn integers_may_be_beyond_64_bits() {
        let shape = |schema: Value| Shape {
            json: Some(json!({"type": "array", "items": schema})),
            ..Shape::default()
        };
        let one = shape(json!({"type": "integer", "minimum": 1e22, "maximum": 1e22}));
        assert_eq!(follows(&one, "[10000000000000000000000]"), (true, true));
        assert_eq!(follows(&one, "[9"), (false, false));
        let many = shape(json!({"anyOf": [{"type": "integer", "minimum": 2e22}]}));
        let error = grammars().constraint(&many).unwrap_err().to_string();
        assert!(error.contains("2e22"), "{error}");
        // Those within are as ever.
        let small = shape(json!({"type": "integer", "minimum": 5, "maximum": 1e30}));
        assert_eq!(follows(&small, "[17]"), (true, true));
    }

    #[test]
    fn impossible_schemas_are_errors() {
        for schema in [
            json!({"type": "teapot"}),
            json!({"$ref": "#/nowhere"}),
            json!(3),
            json!({"type": "string", "pattern": "("}),
        ] {
            let shape = Shape { json: Some(schema.clone()), ..Shape::default() };
            assert!(grammars().constraint(&shape).is_err(), "{schema}");
        }
    }
}
