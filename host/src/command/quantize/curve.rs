//! What sizes are expected to lose, as a table and as JSON.

use crate::output::human_bytes;
use edgellm_quantize::{Allocation, Sensitivity, SizeRange};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The loss of an allocation, in words.
pub(super) fn expected(allocation: &Allocation) -> String {
    format!("expected KL divergence {} if all is rounded to nearest", divergence(allocation.divergence))
}

/// Three digits or more, whatever the size.
fn divergence(value: f64) -> String {
    if value == 0.0 || (0.001..1000.0).contains(&value) {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}

pub(super) fn table(sizes: &SizeRange, points: &[Allocation], fit: Option<&Allocation>) -> String {
    let mut text = format!("  {:>9} {:>12} {:>11} ", "size", "bits/weight", "expected KL");
    for (format, _) in points.first().map(Allocation::counts).unwrap_or_default() {
        let _ = write!(text, " {:>5}", format.name());
    }
    text.push('\n');
    // The largest that the target allows.
    let marked = fit.and_then(|fit| points.iter().rposition(|point| point.bytes <= fit.limit));
    for (index, point) in points.iter().enumerate() {
        line(&mut text, if Some(index) == marked { '*' } else { ' ' }, sizes, point);
    }
    if let Some(fit) = fit {
        let (limit, bits) = (human_bytes(fit.limit), sizes.bits_of(fit.limit));
        let _ = writeln!(
            text,
            "\n* fits the target of {limit}, {bits:.2} bits a weight. Widths for all of the target:"
        );
        line(&mut text, ' ', sizes, fit);
    }
    text.push_str(
        "\nExpected KL: divergence from the source's predictions, nats a token, if all is rounded to nearest; calibration by gptq \
         loses less.\nint2 to int8: matrices of each width. Nothing was converted.\n",
    );
    text
}

fn line(text: &mut String, mark: char, sizes: &SizeRange, point: &Allocation) {
    let (size, bits) = (human_bytes(point.bytes), sizes.bits_of(point.bytes));
    let _ = write!(text, "{mark} {size:>9} {bits:>12.2} {:>11} ", divergence(point.divergence));
    for (_, count) in point.counts() {
        let _ = write!(text, " {count:>5}");
    }
    text.push('\n');
}

/// An allocation as JSON, without the widths of its matrices.
pub(super) fn point(allocation: &Allocation, weights: u64) -> Value {
    let counts =
        allocation.counts().into_iter().map(|(format, count)| (format.name().to_string(), json!(count)));
    json!({
        "limit": allocation.limit,
        "bytes": allocation.bytes,
        "bits_per_weight": allocation.bytes as f64 * 8.0 / weights.max(1) as f64,
        "expected_kl": allocation.divergence,
        "counts": counts.collect::<Map<_, _>>(),
    })
}

/// The same with the width of each matrix.
fn with_widths(allocation: &Allocation, weights: u64) -> Value {
    let widths = allocation.widths.iter().map(|(name, width)| {
        let group_size = width.group_size.unwrap_or(width.format.default_group_size());
        (name.clone(), json!({ "format": width.format.name(), "group_size": group_size }))
    });
    let mut value = point(allocation, weights);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("widths".to_string(), Value::Object(widths.collect()));
    }
    value
}

/// All that was measured.
pub(super) fn object(sensitivity: &Sensitivity, points: &[Allocation], fit: Option<&Allocation>) -> Value {
    let SizeRange { smallest, largest, weights, .. } = *sensitivity.sizes();
    let points = points.iter().map(|point| {
        let mut value = self::point(point, weights);
        if let (Some(fit), Some(fields)) = (fit, value.as_object_mut()) {
            fields.insert("fits".to_string(), json!(point.bytes <= fit.limit));
        }
        value
    });
    let losses = sensitivity.matrices().map(|(name, loss)| (name.to_string(), json!(loss)));
    json!({
        "weights": weights,
        "smallest": smallest,
        "largest": largest,
        "curve": points.collect::<Vec<_>>(),
        "target": fit.map(|fit| with_widths(fit, weights)),
        "kl_at_int3": losses.collect::<Map<_, _>>(),
    })
}
