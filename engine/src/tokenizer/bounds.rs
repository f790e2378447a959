//! How large the parts of a tokenizer.json may be. Each is several times what the largest known tokenizers need.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of a tokenizer.json. Gemma 3's has 33 million.
pub(super) const FILE_BYTES: usize = 128 << 20;
/// Ids at or above this are refused: the table is as long as the largest id. Llama 4 has 202,000.
pub(super) const TOKENS: u32 = 1 << 20;
/// Bytes of a token as spelled in the vocabulary. GPT-2's longest has 256.
pub(super) const TOKEN_BYTES: usize = 4096;
/// Merges. Gemma 3 has 515,000.
pub(super) const MERGES: usize = 1 << 21;
/// Added tokens. Models that speak have 66,000.
pub(super) const ADDED_TOKENS: usize = 1 << 17;
/// Bytes of an added token.
pub(super) const ADDED_TOKEN_BYTES: usize = 512;
/// Bytes of all added tokens.
pub(super) const ADDED_BYTES: usize = 2 << 20;
/// Bytes of the JSON of a normalizer, a pre-tokenizer, a post-processor or a decoder.
pub(super) const COMPONENT_BYTES: usize = 64 << 10;
/// Levels of arrays and objects in that JSON.
const COMPONENT_DEPTH: usize = 16;
/// Components in a sequence, nested ones included.
pub(super) const COMPONENTS: usize = 32;
/// Bytes of a pattern.
pub(super) const PATTERN_BYTES: usize = 4096;
/// Characters, classes and literals in all patterns, each as often as it is repeated.
pub(super) const PATTERN_ITEMS: usize = 256;
/// Bytes of a text that a `Replace` inserts, and of all that are prepended.
pub(super) const CONTENT_BYTES: usize = 64;
/// How many times longer normalizers may make a text. NFKC makes one character 11 times longer.
pub(super) const GROWTH: usize = 40;
/// How many times longer a pre-tokenizer may make a word. Byte-level characters have two bytes.
pub(super) const SPLITTER_GROWTH: usize = 12;
/// How many times longer a decoder may make a token.
pub(super) const DECODER_GROWTH: usize = 4;
/// Characters that a decoder strips.
pub(super) const STRIPPED: usize = 64;
/// Tokens that a post-processor adds around a text.
pub(super) const SURROUND: usize = 64;
/// Bytes of a word: of a match of a pattern, or of a run of characters of which all neighbours may merge.
pub(super) const WORD_BYTES: usize = 1 << 20;

/// Refuses what is larger than `most`.
pub(super) fn within(what: &str, found: usize, most: usize) -> Result<(), String> {
    if found > most { Err(format!("its {what} are {found}, the limit is {most}")) } else { Ok(()) }
}

/// The beginning of a text of the file, for a message.
pub(super) fn clip(text: &str) -> String {
    let mut chars = text.chars();
    let mut clipped: String = chars.by_ref().take(60).collect();
    if chars.next().is_some() {
        clipped.push('…');
    }
    format!("{clipped:?}")
}

/// A message no longer than somebody reads.
pub(super) fn brief(message: &impl ToString) -> String {
    message.to_string().chars().take(300).collect()
}

/// A component that may be read: present, and neither large nor deep.
pub(super) fn component<'a>(part: &str, json: Option<&'a RawValue>) -> Result<Option<&'a str>, String> {
    let Some(json) = json.map(RawValue::get).filter(|&json| json != "null") else { return Ok(None) };
    within(&format!("{part}'s bytes"), json.len(), COMPONENT_BYTES)?;
    within(&format!("{part}'s levels"), depth(json), COMPONENT_DEPTH)?;
    Ok(Some(json))
}

/// Reads a component that [`component`] let through.
pub(super) fn read<'a, T: Deserialize<'a>>(part: &str, json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| format!("its {part} is not supported: {}", brief(&error)))
}

/// Levels of arrays and objects in a JSON text.
fn depth(json: &str) -> usize {
    let (mut level, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
