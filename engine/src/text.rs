//! Text from outside, made fit for a terminal or a line of a log.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal shows `character` as itself: it neither controls the terminal, nor ends a line, nor changes the
/// direction or the look of the text around it, nor hides.
pub fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            // Directions: the Arabic letter mark, marks, embeddings, overrides, isolates.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Ends of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Invisible ones. Joiners stay, since words and emoji need them.
            | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` on one line, whoever wrote it: what is not [printable](is_printable) is written as in Rust (`\n`, `\u{1b}`),
/// and a text of more than `most` characters is cut, with the number of those that are missing.
///
/// ```
/// use edgellm::text::printable;
///
/// assert_eq!(printable("Ünder\twegs", 20), r"Ünder\twegs");
/// assert_eq!(printable("\u{1b}[31mred\n", 20), r"\u{1b}[31mred\n");
/// assert_eq!(printable("abcdef", 4), "abcd… (2 more)");
/// ```
pub fn printable(text: &str, most: usize) -> Cow<'_, str> {
    // Few bytes are few characters: usually nothing has to be counted.
    let cut = if text.len() <= most { None } else { text.char_indices().nth(most).map(|(at, _)| at) };
    let (kept, rest) = text.split_at(cut.unwrap_or(text.len()));
    if rest.is_empty() && kept.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(kept.len());
    for character in kept.chars() {
        match character {
            '\n' | '\r' | '\t' => line.extend(character.escape_default()),
            other if is_printable(other) => line.push(other),
            other => line.extend(other.escape_unicode()),
        }
    }
    if !rest.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(line, "… ({} more)", rest.chars().count());
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        for (text, line) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("\u{9b}31m\u{7f}\0", r"\u{9b}31m\u{7f}\u{0}"),
            ("\u{202e}txt.exe\u{2066}\u{200f}", r"\u{202e}txt.exe\u{2066}\u{200f}"),
            ("a\u{2028}b\u{2029}\u{85}", r"a\u{2028}b\u{2029}\u{85}"),
            ("\u{feff}\u{200b}\u{e0041}", r"\u{feff}\u{200b}\u{e0041}"),
        ] {
            assert_eq!(printable(text, 100), line);
        }
    }

    #[test]
    fn other_text_is_itself() {
        for text in ["", "plain", r"C:\new", "「日本語」 नमस्ते", "👩\u{200d}💻 می\u{200c}خواهم"]
        {
            assert!(matches!(printable(text, 100), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn long_text_is_cut_and_counted() {
        assert_eq!(printable("äöü", 3), "äöü");
        assert_eq!(printable("äöüß", 3), "äöü… (1 more)");
        assert_eq!(printable("\n\n\n", 2), r"\n\n… (1 more)");
        assert!(printable(&"\u{1b}".repeat(1 << 20), 200).len() < 200 * 10 + 40);
        assert_eq!(printable("abc", 0), "… (3 more)");
    }
}
