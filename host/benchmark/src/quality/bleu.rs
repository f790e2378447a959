//! Corpus BLEU as sacrebleu computes it by default: one reference, its tokenizer `13a`, n-grams up to 4,
//! exponential smoothing. Fixtures made by sacrebleu itself are the test.

use std::collections::HashMap;

/// Longest n-grams.
const ORDER: usize = 4;

/// Counts over a corpus.
#[derive(Clone, Debug, Default)]
pub struct Bleu {
    matches: [usize; ORDER],
    totals: [usize; ORDER],
    length: usize,
    reference_length: usize,
}

impl Bleu {
    /// Adds a sentence and its reference.
    pub fn add(&mut self, sentence: &str, reference: &str) {
        let (words, expected) = (tokenize(sentence), tokenize(reference));
        self.length += words.len();
        self.reference_length += expected.len();
        for n in 1..=ORDER {
            let mut available: HashMap<&[String], usize> = HashMap::new();
            for gram in expected.windows(n) {
                *available.entry(gram).or_default() += 1;
            }
            for gram in words.windows(n) {
                self.totals[n - 1] += 1;
                if let Some(left) = available.get_mut(gram).filter(|left| **left > 0) {
                    *left -= 1;
                    self.matches[n - 1] += 1;
                }
            }
        }
    }

    /// The score, 0 to 100.
    pub fn score(&self) -> f64 {
        if self.matches == [0; ORDER] {
            return 0.0;
        }
        let (mut logarithms, mut halving) = (0.0, 1.0);
        for (&matches, &total) in self.matches.iter().zip(&self.totals) {
            if total == 0 {
                // No sentence is long enough for this order: no precision, as sacrebleu has it.
                return 0.0;
            }
            let precision = if matches == 0 {
                // Each order without a match counts half of the one before.
                halving *= 2.0;
                1.0 / (halving * total as f64)
            } else {
                matches as f64 / total as f64
            };
            logarithms += precision.ln();
        }
        let (length, reference) = (self.length as f64, self.reference_length as f64);
        let brevity = if length < reference { (1.0 - reference / length).exp() } else { 1.0 };
        100.0 * brevity * (logarithms / ORDER as f64).exp()
    }
}

/// Tokenizer `13a` (of mteval-v13a): words and punctuation, numbers kept together.
fn tokenize(line: &str) -> Vec<String> {
    let mut line = line.trim_end().replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if line.contains('&') {
        line = line.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    }
    let mut separated: Vec<char> = vec![' '];
    for c in line.chars() {
        if matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/') {
            separated.extend([' ', c, ' ']);
        } else {
            separated.push(c);
        }
    }
    separated.push(' ');
    let digit = |c: char| c.is_ascii_digit();
    let mark = |c: char| matches!(c, '.' | ',');
    let before = pairs(&separated, |a, b| !digit(a) && mark(b), |a, b| vec![a, ' ', b, ' ']);
    let after = pairs(&before, |a, b| mark(a) && !digit(b), |a, b| vec![' ', a, ' ', b]);
    let dashes = pairs(&after, |a, b| digit(a) && b == '-', |a, b| vec![a, ' ', b, ' ']);
    let text: String = dashes.into_iter().collect();
    text.split_whitespace().map(str::to_string).collect()
}

/// Replaces pairs of neighbours from left to right; a pair's second is not the next one's first.
fn pairs(
    text: &[char],
    matches: impl Fn(char, char) -> bool,
    replace: impl Fn(char, char) -> Vec<char>,
) -> Vec<char> {
    let (mut out, mut index) = (Vec::with_capacity(text.len()), 0);
    while index < text.len() {
        match text.get(index + 1) {
            Some(&next) if matches(text[index], next) => {
                out.extend(replace(text[index], next));
                index += 2;
            }
            _ => {
                out.push(text[index]);
                index += 1;
            }
        }
    }
    out
}
