//! How much memory a JSON text takes once it is read.
//!
//! A list in a list of lists takes 3 bytes of text, and a hundred times that in memory. So the text is counted before it is
//! read.

/// A value in a list; half of a list's memory may be unused.
const VALUE: usize = 80;
/// A string, besides its characters.
const STRING: usize = 32;
/// The first items of a list, and the list's own memory.
const LIST: usize = 304;
/// The first fields of an object, and the object's own memory.
const OBJECT: usize = 432;
/// A field's name and place, besides its value.
const FIELD: usize = 64;

/// Whether the tree of `json` takes at most about `most` bytes of memory, besides the characters of its strings. What follows
/// a mistake in the text counts as well.
pub(super) fn is_within(most: usize, json: &[u8]) -> bool {
    let (mut weight, mut in_string, mut escaped) = (0, false, false);
    for &byte in json {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        weight += match byte {
            b'"' => {
                in_string = true;
                STRING
            }
            b',' => VALUE,
            b'[' => LIST,
            b'{' => OBJECT,
            b':' => FIELD,
            _ => continue,
        };
        if weight > most {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether that is the least within which `json` is.
    fn weighs(json: &str, weight: usize) -> bool {
        is_within(weight, json.as_bytes()) && !is_within(weight - 1, json.as_bytes())
    }

    #[test]
    fn containers_weigh_more_than_text() {
        assert!(is_within(0, b"12"));
        assert!(weighs(r#""a,[{:\"]""#, STRING));
        assert!(weighs(r#""\\",1"#, STRING + VALUE));
        assert!(weighs(r#"[1, {"a": 2}]"#, LIST + VALUE + OBJECT + STRING + FIELD));
        assert!(weighs(&"[],".repeat(1000), 1000 * (LIST + VALUE)));
    }
}
