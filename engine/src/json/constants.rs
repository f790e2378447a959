//! The numbers that Python writes and JSON does not have: `NaN`, `Infinity`, `-Infinity`.

const CONSTANTS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// The text with these numbers as strings, which no numeric field takes; `None` if it has none of them.
pub(super) fn quoted(json: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len() + 16);
    let (mut in_string, mut escaped, mut found) = (false, false, false);
    let mut rest = json;
    while let [byte, tail @ ..] = rest {
        if !in_string && let Some(constant) = CONSTANTS.iter().find(|constant| rest.starts_with(constant)) {
            out.extend([b"\"", *constant, b"\""].concat());
            rest = rest.get(constant.len()..).unwrap_or_default();
            found = true;
            continue;
        }
        (in_string, escaped) = match byte {
            _ if escaped => (in_string, false),
            b'\\' => (in_string, in_string),
            b'"' => (!in_string, false),
            _ => (in_string, false),
        };
        out.push(*byte);
        rest = tail;
    }
    found.then_some(out)
}
