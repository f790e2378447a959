//! Integers beyond 64 bits in schemas.
//!
//! llguidance takes the bounds of integers for 64-bit numbers, and would give the largest of those where all allowed ones
//! are larger.

use super::GrammarError;
use serde_json::{Map, Value, json};

/// From here on, no 64-bit integer is large enough.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// Changes integers that can only be one number beyond 64 bits into that number.
///
/// # Errors
/// If an integer beyond 64 bits can be one of many.
pub(super) fn exact(schema: &mut Value) -> Result<(), GrammarError> {
    match schema {
        Value::Array(items) => items.iter_mut().try_for_each(exact),
        Value::Object(fields) => {
            exact_one(fields)?;
            fields.values_mut().try_for_each(exact)
        }
        _ => Ok(()),
    }
}

fn exact_one(schema: &mut Map<String, Value>) -> Result<(), GrammarError> {
    let bound = |names: [&str; 2]| names.iter().find_map(|name| schema.get(*name)?.as_f64());
    let minimum = bound(["minimum", "exclusiveMinimum"]);
    let maximum = bound(["maximum", "exclusiveMaximum"]);
    let is_integer = schema.get("type").is_some_and(|kind| kind == "integer");
    let Some(beyond) = minimum.filter(|&bound| bound >= BEYOND).or(maximum.filter(|&bound| bound <= -BEYOND))
    else {
        return Ok(());
    };
    if is_integer && minimum == maximum {
        // Bounds of numbers that are equal are taken for their digits.
        schema.insert("type".into(), json!("number"));
    } else if is_integer {
        let message =
            format!("an integer beyond 64 bits, whose bound is {beyond:e}: allow smaller ones, too");
        return Err(GrammarError::Unsupported(message));
    }
    Ok(())
}
