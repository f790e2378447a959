//! Stop strings, which end a generation and are not part of its text.

/// Passes text through, and holds back what is or may become a stop string.
#[derive(Clone, Debug, Default)]
pub(super) struct StopStrings {
    /// None is empty.
    strings: Vec<String>,
    /// Text held back: the start of a stop string, or nothing.
    held: String,
}

impl StopStrings {
    /// Adds a stop string, which must not be empty.
    pub(super) fn add(&mut self, string: String) {
        debug_assert!(!string.is_empty());
        self.strings.push(string);
    }

    /// Takes the next text and appends to `out` what is certain. True if a stop string was found; `out` then ends
    /// before it.
    ///
    /// The stop string that is complete first wins, and the longest of those that end together, so that the result does
    /// not depend on how the text is divided.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.strings.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        let found = self.strings.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = found.min() {
            out.push_str(&self.held[..start]);
            self.held.clear();
            return true;
        }
        let certain = self.certain();
        out.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    /// Ends the text: appends what was held back.
    pub(super) fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Start of the first prefix of a stop string at the end of the held text.
    fn certain(&self) -> usize {
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let starts = self.held.char_indices().map(|(at, _)| at).skip_while(|&at| at < from);
        let begins = |at: &usize| self.strings.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        starts.into_iter().find(begins).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(strings: &[&str]) -> StopStrings {
        let mut stops = StopStrings::default();
        strings.iter().for_each(|stop| stops.add(stop.to_string()));
        stops
    }

    /// What comes out after each piece, and whether it stopped there.
    fn run(strings: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut stops = stops(strings);
        let mut outs = Vec::new();
        for piece in pieces {
            let mut out = String::new();
            let stopped = stops.push(piece, &mut out);
            outs.push(out);
            if stopped {
                return (outs, true);
            }
        }
        let mut out = String::new();
        stops.finish(&mut out);
        outs.push(out);
        (outs, false)
    }

    #[test]
    fn across_tokens() {
        assert_eq!(
            run(&["###"], &["a#", "#b#", "#", "#c"]),
            (["a", "##b", "", ""].map(String::from).to_vec(), true)
        );
    }

    #[test]
    fn in_the_middle_of_a_token() {
        assert_eq!(run(&["\n\n"], &["one\n", "\ntwo"]), (["one", ""].map(String::from).to_vec(), true));
        assert_eq!(run(&["b"], &["abc"]), (["a"].map(String::from).to_vec(), true));
    }

    #[test]
    fn a_beginning_is_held_and_given_back() {
        assert_eq!(
            run(&["stop"], &["st", "o", "ne"]),
            (["", "", "stone", ""].map(String::from).to_vec(), false)
        );
        assert_eq!(run(&["stop"], &["x sto"]), (["x ", "sto"].map(String::from).to_vec(), false));
    }

    #[test]
    fn overlapping_beginnings() {
        assert_eq!(
            run(&["aab"], &["a", "a", "a", "b"]),
            (["", "", "a", ""].map(String::from).to_vec(), true)
        );
        assert_eq!(run(&["abab!", "bac"], &["abab", "ac"]), (["", "aba"].map(String::from).to_vec(), true));
    }

    #[test]
    fn characters_of_many_bytes() {
        assert_eq!(run(&["日本"], &["x日", "日", "本"]), (["x", "日", ""].map(String::from).to_vec(), true));
        assert_eq!(run(&["é"], &["e\u{301}"]), (["e\u{301}", ""].map(String::from).to_vec(), false));
    }

    /// All texts over two letters, divided in all ways, against searching every prefix of the whole.
    #[test]
    fn division_does_not_matter() {
        let sets: [&[&str]; 5] = [&["ab"], &["aa", "ba"], &["abab"], &["b", "abb"], &["ba", "abaa", "bab"]];
        for strings in sets {
            for bits in 0..1 << 7 {
                let text: String = (0..7).map(|i| if bits >> i & 1 == 0 { 'a' } else { 'b' }).collect();
                let expected = (0..=text.len())
                    .find_map(|end| {
                        let ending = strings.iter().filter(|stop| text[..end].ends_with(**stop));
                        ending.map(|stop| end - stop.len()).min()
                    })
                    .map_or((text.clone(), false), |start| (text[..start].to_string(), true));
                for cuts in 0..1 << 6 {
                    let mut pieces = vec![String::new()];
                    for (i, c) in text.chars().enumerate() {
                        if i > 0 && cuts >> (i - 1) & 1 == 1 {
                            pieces.push(String::new());
                        }
                        pieces.last_mut().unwrap().push(c);
                    }
                    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                    let (outs, stopped) = run(strings, &pieces);
                    assert_eq!((outs.concat(), stopped), expected, "{strings:?} {pieces:?}");
                }
            }
        }
    }
}
