//! What rounding cost, in words.

use edgellm::format::{Quality, Recipe};

/// The lines of a model's record, each with its key.
pub(crate) fn lines(quality: &Quality) -> [(&'static str, String); 3] {
    let Quality { text, tokens, source_perplexity, perplexity, kl_divergence, same_top_token, calibration } =
        quality;
    let cost = format!(
        "perplexity {source_perplexity} before and {perplexity} after ({:+.2} %), KL divergence {kl_divergence}, same top token {:.1} %",
        100.0 * quality.loss(),
        100.0 * same_top_token
    );
    [
        ("quality", cost),
        ("measured on", format!("{text}, {tokens} tokens scored")),
        ("rounded by", recipe(calibration)),
    ]
}

fn recipe(recipe: &Recipe) -> String {
    let Recipe { method, data, sha256, tokens } = recipe;
    let of = match method.as_str() {
        "none" => return "the weights alone".to_string(),
        "imatrix" => "an importance matrix",
        other => other,
    };
    let details = [
        tokens.map(|tokens| format!("{tokens} tokens")),
        sha256.as_ref().map(|hex| format!("SHA-256 {hex}")),
    ];
    let details: Vec<String> = details.into_iter().flatten().collect();
    let data = data.as_deref().unwrap_or("without a name");
    format!(
        "{of}: {data}{}",
        if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) }
    )
}

/// Parses a share, written as such (0.03) or as percentage (3%).
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.trim_end().strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let share =
        number.trim().parse::<f64>().map_err(|_| "it is no number: write 3% or 0.03".to_string())? / unit;
    match share {
        _ if !share.is_finite() || share < 0.0 => Err("it must be 0 or more: write 3% or 0.03".to_string()),
        _ if unit == 1.0 && share >= 1.0 => {
            Err(format!("as a share that is {} %: write {number}% if you mean that", 100.0 * share))
        }
        _ => Ok(share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_or_percentages() {
        for (text, share) in [("3%", 0.03), ("3 %", 0.03), ("0.03", 0.03), ("0", 0.0), ("250%", 2.5)] {
            assert_eq!(parse_share(text), Ok(share), "{text}");
        }
        for text in ["", "%", "x", "-1%", "-0.1", "NaN", "inf", "inf%", "3", "1"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
