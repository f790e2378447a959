//! Texts from outside on a terminal.
//!
//! What a model, a file or a server wrote must not clear the screen, change the window's title, fill the clipboard, forge
//! lines or turn text around. In tables, notes and errors such characters are escaped, so that they can be seen; from a
//! model's answer they are removed, with the sequence that they begin.

use edgellm::text::is_printable;
use std::borrow::Cow;

/// A text of several lines, with whatever controls a terminal escaped as in Rust: `\u{1b}`.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            other if is_shown(other) => line.push(other),
            other => line.extend(other.escape_default()),
        }
    }
    Cow::Owned(line)
}

fn is_shown(character: char) -> bool {
    matches!(character, '\n' | '\t') || is_printable(character)
}

/// Removes control sequences (ECMA-48) and other characters that are not shown from a text that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Filter(State);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Text,
    /// After an escape character.
    Escape,
    /// In a sequence that begins with `ESC [` and ends with a letter or the like.
    Sequence,
    /// In a string for the terminal, such as a window's title, until its end or the line's.
    String,
}

impl Filter {
    /// What is left of the next piece.
    pub(crate) fn pass(&mut self, piece: &str) -> String {
        piece.chars().filter(|&character| self.keeps(character)).collect()
    }

    fn keeps(&mut self, character: char) -> bool {
        let state = match (self.0, character) {
            (_, '\u{1b}') => State::Escape,
            (_, '\u{9b}') | (State::Escape, '[') => State::Sequence,
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') | (State::Escape, ']' | 'P' | 'X' | '^' | '_') => {
                State::String
            }
            // Before the last character of a sequence.
            (State::Escape, ' '..='/') => State::Escape,
            (State::Sequence, ' '..='?') => State::Sequence,
            // The last one.
            (State::Escape, '0'..='~') | (State::Sequence, '@'..='~') => {
                self.0 = State::Text;
                return false;
            }
            (State::String, '\u{7}' | '\u{9c}' | '\n') => State::Text,
            (State::String, _) => State::String,
            // Of no sequence, or of one that was broken off.
            (State::Text | State::Escape | State::Sequence, _) => State::Text,
        };
        self.0 = state;
        state == State::Text && is_shown(character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str) -> String {
        let whole = Filter::default().pass(text);
        // However it is cut into tokens.
        let mut filter = Filter::default();
        let pieces: String =
            text.chars().map(|character| filter.pass(character.encode_utf8(&mut [0; 4]))).collect();
        assert_eq!(pieces, whole, "{text:?}");
        whole
    }

    #[test]
    fn an_answer_loses_whole_sequences() {
        for (text, left) in [
            ("a\u{1b}[31;1mred\u{1b}[0m b", "ared b"),
            ("\u{9b}2Jclear", "clear"),
            ("\u{1b}]0;title\u{7}a\u{1b}]52;c;cm0=\u{1b}\\b\u{9d}8;;x\u{9c}c", "abc"),
            ("\u{1b}P1$r\u{1b}\\a\u{90}x\u{9c}b\u{1b}_x\u{1b}\\c", "abc"),
            ("\u{1b}(0lines\u{1b}cb\u{1b}7", "linesb"),
            ("over\rwritten\u{8}\u{7f}\0\u{7}\u{b}", "overwritten"),
            ("\u{202e}back\u{2066}wards", "backwards"),
            // Broken off, or without end.
            ("\u{1b}[31\nnext", "\nnext"),
            ("\u{1b}]0;no end\nnext", "\nnext"),
            ("\u{1b}\u{1b}[1mx\u{1b}", "x"),
            ("\u{1b}[1\u{1b}[2mx", "x"),
        ] {
            assert_eq!(passed(text), left, "{text:?}");
        }
    }

    #[test]
    fn other_text_is_untouched() {
        for text in ["a\tb\nc", "array[31m] ]0;", "日本語 नमस्ते 👩\u{200d}💻", ""] {
            assert_eq!(passed(text), text);
            assert!(matches!(shown(text), Cow::Borrowed(_)));
        }
        assert_eq!(shown("a\u{1b}[31m\r\n\u{202e}"), "a\\u{1b}[31m\\r\n\\u{202e}");
    }
}
