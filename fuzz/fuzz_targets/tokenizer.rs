//! Reads arbitrary bytes as a tokenizer.json, or as one part of a sound one, and tokenizes a text with it: never longer than
//! two seconds. The first byte selects the part; a byte that JSON lacks, 0xFF, ends it, and the text follows.
#![no_main]

use edgellm::tokenizer::{EncodeLimit, Tokenizer};
use libfuzzer_sys::fuzz_target;

const SOUND: &[u8] = include_bytes!("../folder/tokenizer.json");
const PARTS: [&str; 5] = ["normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"];

/// Nanoseconds that this thread has run: on a busy machine it may wait for long.
fn running() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
}

/// Does something that must not take two seconds.
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = running();
    let result = work();
    let took = (running() - start) / 1_000_000;
    assert!(took < 2000, "{what} took {took} ms");
    result
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, data)) = data.split_first() else { return };
    let mut halves = data.splitn(2, |&byte| byte == 0xFF);
    let json = halves.next().unwrap_or_default();
    let text = halves.next().map(String::from_utf8_lossy).unwrap_or("a  bc 12345\n\né<s> ".into()).repeat(8);
    let json = match PARTS.get(usize::from(which) % (PARTS.len() + 1)) {
        None => json.to_vec(),
        Some(part) => {
            // Not as a tree, which would repair what the reader should see.
            let sound = String::from_utf8_lossy(SOUND);
            let value: serde_json::Value = serde_json::from_str(&sound).unwrap_or_default();
            let mut fields = value.as_object().cloned().unwrap_or_default();
            fields.remove(*part);
            let rest = serde_json::to_string(&fields).unwrap_or_default();
            [format!("{{\"{part}\":").as_bytes(), json, b",", &rest.as_bytes()[1..]].concat()
        }
    };
    let Ok(tokenizer) = soon("reading", || Tokenizer::from_json(&json)) else { return };
    let encoded = soon("tokenizing", || tokenizer.encode(&text, false));
    soon("tokenizing untrusted text", || tokenizer.encode_plain(&text)).ok();
    if let Ok(ids) = encoded {
        assert!(text.len() / tokenizer.longest_token() <= ids.len());
        soon("detokenizing", || tokenizer.decode(&ids, true));
        for most in [ids.len(), ids.len().saturating_sub(1)] {
            let within = tokenizer.encode_within(&text, false, &EncodeLimit::default().tokens(most));
            assert_eq!(within.is_ok(), ids.len() <= most);
        }
    }
});
