//! Stop strings, which end a generation and are not part of its text.

use crate::Error;
use std::sync::Arc;

/// Stop strings, prepared once for any number of texts: a clone shares them.
///
/// ```
/// use edgellm::generate::StopStrings;
///
/// let stops = StopStrings::new(["The end", "###"])?;
/// # Ok::<(), edgellm::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopStrings(Vec<Arc<Needle>>);

#[derive(Debug)]
struct Needle {
    text: String,
    /// For each length of a beginning of the text, that of its longest own end that is a beginning, too.
    fallback: Box<[usize]>,
}

impl StopStrings {
    /// Prepares strings.
    ///
    /// # Errors
    /// [`Error::EmptyStop`]: an empty string would end every text before it begins.
    pub fn new<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let needle = |string: S| {
            let text = string.into();
            if text.is_empty() { Err(Error::EmptyStop) } else { Ok(Arc::new(Needle::new(text))) }
        };
        strings.into_iter().map(needle).collect::<Result<_, _>>().map(StopStrings)
    }
}

impl Needle {
    fn new(text: String) -> Self {
        let mut fallback = vec![0; text.len() + 1].into_boxed_slice();
        let mut matched = 0;
        for (at, &byte) in text.as_bytes().iter().enumerate().skip(1) {
            matched = next(text.as_bytes(), &fallback, matched, byte);
            fallback[at + 1] = matched;
        }
        Needle { text, fallback }
    }
}

/// How much of a needle is matched after one more byte, where `matched` bytes were (Knuth, Morris and Pratt).
fn next(text: &[u8], fallback: &[usize], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && text.get(matched) != Some(&byte) {
        matched = fallback[matched];
    }
    matched + usize::from(text.get(matched) == Some(&byte))
}

/// Passes text through, and holds back what is or may become a stop string.
#[derive(Clone, Debug, Default)]
pub(super) struct StopFilter {
    stops: StopStrings,
    /// How much of each is matched at the end of the text.
    matched: Vec<usize>,
    /// Text held back: the start of a stop string, or nothing.
    held: String,
}

impl StopFilter {
    /// Adds stop strings.
    pub(super) fn add(&mut self, stops: StopStrings) {
        self.stops.0.extend(stops.0);
        self.matched.resize(self.stops.0.len(), 0);
    }

    /// Takes the next text and appends to `out` what is certain. True if a stop string was found; `out` then ends
    /// before it.
    ///
    /// The stop string that is complete first wins, and the longest of those that end together, so that the result does
    /// not depend on how the text is divided. Each byte is looked at once, however long the strings are.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> bool {
        let before = self.held.len();
        self.held.push_str(text);
        for (at, &byte) in text.as_bytes().iter().enumerate() {
            let mut found = 0;
            for (needle, matched) in self.stops.0.iter().zip(&mut self.matched) {
                *matched = next(needle.text.as_bytes(), &needle.fallback, *matched, byte);
                if *matched == needle.text.len() {
                    found = found.max(*matched);
                }
            }
            if found > 0 {
                out.push_str(&self.held[..before + at + 1 - found]);
                self.held.clear();
                self.matched.fill(0);
                return true;
            }
        }
        let certain = self.held.len() - self.matched.iter().max().unwrap_or(&0);
        out.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    /// Ends the text: appends what was held back.
    pub(super) fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(strings: &[&str]) -> StopFilter {
        let mut stops = StopFilter::default();
        stops.add(StopStrings::new(strings.iter().copied()).unwrap());
        stops
    }

    #[test]
    fn long_strings_cost_no_more_than_the_text() {
        // Every byte nearly completes a string of a megabyte: with searches anew, this took minutes.
        let long = "a".repeat(1 << 20) + "b";
        let prepared = StopStrings::new([long.as_str(), "ab", "\u{1F600}"]).unwrap();
        let shared = Arc::downgrade(&prepared.0[0]);
        let mut many: Vec<StopFilter> = (0..100)
            .map(|_| {
                let mut filter = StopFilter::default();
                filter.add(prepared.clone());
                filter
            })
            .collect();
        assert_eq!(shared.strong_count(), 101);
        let mut out = String::new();
        for _ in 0..100_000 {
            assert!(!many[0].push("a", &mut out));
        }
        assert_eq!(out, "");
        assert!(many[0].push("b", &mut out));
        assert_eq!(out.len(), 99_999);
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
