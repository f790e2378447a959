//! A real SentencePiece vocabulary, cut to what some texts need.

use super::*;
use crate::testing::sentencepiece_tokenizer;

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(sentencepiece_tokenizer()).unwrap()
}

/// Texts and their tokens in the whole vocabulary, with a space between two, which fixtures/sentencepiece.py printed.
const TEXTS: &[(&str, &str)] = &[
    ("The sky is blue", "<s> ▁The ▁sky ▁is ▁blue"),
    (
        "Once upon a time, there was a little girl.",
        "<s> ▁Once ▁upon ▁a ▁time , ▁there ▁was ▁a ▁little ▁girl .",
    ),
    (
        "def f(x):\n    if x:\n        return x + 1\n\n\tpass\n",
        "<s> ▁def ▁f ( x ): <0x0A> ▁▁▁ ▁if ▁x : <0x0A> ▁▁▁▁▁▁▁ ▁return ▁x ▁+ ▁ 1 <0x0A> <0x0A> <0x09> pass <0x0A>",
    ),
    ("    return x + 1\n", "<s> ▁▁▁▁ ▁return ▁x ▁+ ▁ 1 <0x0A>"),
    ("  two spaces,   three", "<s> ▁▁ ▁two ▁spaces , ▁▁ ▁three"),
    ("naïve café: “yes”, 50 € … no.", "<s> ▁na ï ve ▁c afé : ▁“ yes ”, ▁ 5 0 ▁€ ▁… ▁no ."),
    ("你好世界。鱻", "<s> ▁ 你 好 世 界 。 <0xE9> <0xB1> <0xBB>"),
    (
        "Привет! 😀🎉 👩\u{200D}💻\r\n",
        "<s> ▁При вет ! ▁ <0xF0> <0x9F> <0x98> <0x80> <0xF0> <0x9F> <0x8E> <0x89> ▁ <0xF0> <0x9F> <0x91> <0xA9> \u{200D} <0xF0> <0x9F> <0x92> <0xBB> \r <0x0A>",
    ),
];

/// Ids of tokens, spelled as in the vocabulary.
fn ids(tokenizer: &Tokenizer, tokens: &[&str]) -> Vec<TokenId> {
    tokens.iter().map(|token| tokenizer.token_to_id(token).unwrap()).collect()
}

/// The byte tokens of these bytes.
fn bytes(tokenizer: &Tokenizer, bytes: &[u8]) -> Vec<TokenId> {
    bytes.iter().map(|byte| tokenizer.token_to_id(&format!("<0x{byte:02X}>")).unwrap()).collect()
}

/// What becomes certain with each token, and at the end.
fn pieces(tokenizer: &Tokenizer, ids: &[TokenId]) -> Vec<String> {
    let mut stream = Detokenizer::new(tokenizer, true);
    let mut pieces: Vec<String> = ids
        .iter()
        .map(|&id| {
            let mut text = String::new();
            stream.push(id, &mut text);
            text
        })
        .collect();
    let mut text = String::new();
    stream.finish(&mut text);
    pieces.push(text);
    pieces
}

#[test]
fn texts_have_the_tokens_of_the_whole_vocabulary() {
    let tokenizer = tokenizer();
    for (text, tokens) in TEXTS {
        let ids = tokenizer.encode(text, true).unwrap();
        let got: Vec<&str> = ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap()).collect();
        assert_eq!(got.join(" "), *tokens, "{text:?}");
        assert_eq!(tokenizer.decode(&ids, true), *text);
        assert_eq!(pieces(&tokenizer, &ids).concat(), *text);
    }
}

#[test]
fn complete_characters_come_at_once() {
    let tokenizer = tokenizer();
    let run = bytes(&tokenizer, "é😀\n\n鱻".as_bytes());
    assert_eq!(pieces(&tokenizer, &run), ["", "é", "", "", "", "😀", "\n", "\n", "", "", "鱻", ""]);
    let mixed = [ids(&tokenizer, &["▁The", "<0x0A>", "<0x0D>"]), bytes(&tokenizer, "€".as_bytes())].concat();
    assert_eq!(pieces(&tokenizer, &mixed), ["The", "\n", "\r", "", "", "€", ""]);
}

#[test]
fn a_broken_character_costs_no_other() {
    let tokenizer = tokenizer();
    let [smile, party] = ["😀", "🎉"].map(|text| text.as_bytes());
    for (run, text) in [
        ([smile, &party[..2]].concat(), "😀\u{FFFD}"),
        ([smile, &party[..3], b"\n"].concat(), "😀\u{FFFD}\n"),
        ([&smile[..3], party].concat(), "\u{FFFD}🎉"),
        ([&b"\n"[..], &smile[..1]].concat(), "\n\u{FFFD}"),
        ([&smile[1..2], "é".as_bytes(), &smile[..1]].concat(), "\u{FFFD}é\u{FFFD}"),
        (vec![0xFF, b'a'], "\u{FFFD}a"),
    ] {
        let run = bytes(&tokenizer, &run);
        assert_eq!(tokenizer.decode(&run, true), text);
        assert_eq!(pieces(&tokenizer, &run).concat(), text);
        // A token of another kind ends the run.
        let more = [&run[..], &ids(&tokenizer, &["▁blue"])].concat();
        assert_eq!(pieces(&tokenizer, &more).concat(), format!("{text} blue"));
    }
}

/// Any tokens are the text of their bytes, without the space that begins it.
#[test]
fn texts_are_those_of_the_bytes() {
    let tokenizer = tokenizer();
    let mut rng = Pcg32::seed_from_u64(6);
    for round in 0..3000 {
        let ids: Vec<TokenId> =
            (0..round % 12).map(|_| rng.next_u32() % tokenizer.vocab_size() as u32).collect();
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id).unwrap()).collect();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(tokenizer.decode(&ids, false), text.strip_prefix(' ').unwrap_or(&text), "{ids:?}");
    }
}
