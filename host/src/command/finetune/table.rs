//! What came out, as a table or as JSON.

use super::workspace::Workspace;
use crate::error::Result;
use crate::output::{self, human_bytes};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Rows: their file of results, and what they are.
const ROWS: [(&str, &str); 3] =
    [("base.json", "base"), ("tuned.json", "tuned"), ("quantized.json", "tuned, converted")];

/// Prints the results and how to run the model.
///
/// # Errors
/// If a file of results is damaged.
pub(super) fn print(workspace: &Workspace, as_json: bool) -> Result<()> {
    let mut results = Vec::new();
    for (file, name) in ROWS {
        results.push((name, workspace.read::<Value>(file)?.unwrap_or_default()));
    }
    let model = workspace.model.display().to_string();
    if as_json {
        let [base, tuned, quantized] = [0, 1, 2].map(|row| results[row].1.clone());
        return output::print_json(&json!({
            "model": model,
            "base": base,
            "tuned": tuned,
            "quantized": quantized,
            "training": workspace.read::<Value>("training.json")?,
        }));
    }
    output::print(&text(&results, &model))
}

fn text(results: &[(&str, Value)], model: &str) -> String {
    let mut text = format!("{:18} {:>12} {:>8} {:>8} {:>10}\n", "", "exact match", "BLEU", "loss", "size");
    for (name, scores) in results {
        let number = |field: &Value, digits: usize| {
            field.as_f64().map_or("-".to_string(), |value| format!("{value:.digits$}"))
        };
        let exact = scores["exact_match"]["value"].as_f64();
        let exact = exact.map_or("-".to_string(), |value| format!("{:.1} %", 100.0 * value));
        let (bleu, loss) = (number(&scores["bleu"], 1), number(&scores["loss"], 3));
        let size = scores["bytes"].as_u64().map_or("-".to_string(), human_bytes);
        let _ = writeln!(text, "{name:18} {exact:>12} {bleu:>8} {loss:>8} {size:>10}");
    }
    let _ = write!(text, "\n{model}\n  edgellm chat --model {model}\n  edgellm serve --model {model}\n");
    text
}
