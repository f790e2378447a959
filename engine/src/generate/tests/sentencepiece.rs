//! Answers of models with a SentencePiece vocabulary: byte tokens, and the space that begins a text.

use super::*;
use crate::testing::seeded_sentencepiece_model;

fn model() -> Model {
    Model::from_bytes(seeded_sentencepiece_model(1, None).unwrap()).unwrap()
}

/// The byte tokens of a text.
fn bytes(model: &Model, text: &str) -> Vec<TokenId> {
    let token = |byte| model.tokenizer().token_to_id(&format!("<0x{byte:02X}>")).unwrap();
    text.bytes().map(token).collect()
}

/// Ids of tokens, spelled as in the vocabulary.
fn ids(model: &Model, tokens: &[&str]) -> Vec<TokenId> {
    tokens.iter().map(|token| model.tokenizer().token_to_id(token).unwrap()).collect()
}

/// A decoder of an answer to the tokens of `prompt`.
fn decoder(model: &Model, prompt: &[TokenId]) -> Decoder {
    let mut decoder = Decoder::new(model, Sampler::new(SamplerOptions::greedy()).unwrap());
    decoder.accept_prompt(prompt);
    decoder
}

/// The texts of an answer of these tokens, up to its end.
fn answer(decoder: &mut Decoder, tokens: &[TokenId], vocab_size: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for &token in tokens {
        if decoder.finish_reason().is_some() {
            break;
        }
        let mut logits = vec![0.0; vocab_size];
        logits[token as usize] = 1e9;
        texts.push(decoder.step(&mut logits).unwrap().text);
    }
    texts
}

/// The texts of an answer to "The sky" that ends before these stop strings, and why it ended.
fn stopped(stops: &[&str], tokens: &[TokenId]) -> (Vec<String>, Option<FinishReason>) {
    let model = model();
    let prompt = model.tokenizer().encode("The sky", true).unwrap();
    let mut decoder = decoder(&model, &prompt).stop(stops.iter().copied()).unwrap();
    let texts = answer(&mut decoder, tokens, model.config().vocab_size);
    (texts, decoder.finish_reason())
}

#[test]
fn stop_strings_of_byte_tokens() {
    let model = model();
    let stop = Some(FinishReason::Stop);
    let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let lines = ids(&model, &["▁is", "<0x0A>", "<0x0A>", "▁blue"]);
    assert_eq!(stopped(&["\n"], &lines), (texts(&[" is", ""]), stop));
    assert_eq!(stopped(&["\n\n"], &lines), (texts(&[" is", "", ""]), stop));
    assert_eq!(stopped(&["s\n"], &lines), (texts(&[" i", ""]), stop));
    assert_eq!(stopped(&["\n blue"], &lines), (texts(&[" is", "", "\n", ""]), stop));
    assert_eq!(stopped(&["\n\r"], &lines).0, texts(&[" is", "", "\n", "\n blue"]));
    let smile = [ids(&model, &["▁blue"]), bytes(&model, "😀é")].concat();
    assert_eq!(stopped(&["😀"], &smile), (texts(&[" blue", "", "", "", ""]), stop));
    assert_eq!(stopped(&["é", "lue😀"], &smile), (texts(&[" b", "", "", "", ""]), stop));
}

#[test]
fn an_answer_continues_the_prompt() {
    let model = model();
    let tokenizer = model.tokenizer();
    for text in ["The sky is blue", "def f(x):\n    if x:\n        return x + 1\n\n\tpass\n", "你好世界。鱻"]
    {
        let tokens = tokenizer.encode(text, true).unwrap();
        for (prompt, rest) in (1..tokens.len()).map(|at| tokens.split_at(at)) {
            let before = tokenizer.decode(prompt, true);
            if before.ends_with('\u{FFFD}') {
                continue;
            }
            let texts = answer(&mut decoder(&model, prompt), rest, model.config().vocab_size);
            assert_eq!(before + &texts.concat(), text, "after {prompt:?}");
        }
    }
}

#[test]
fn only_the_start_of_a_text_loses_its_space() {
    let model = model();
    let blue = ids(&model, &["▁blue", "▁blue"]);
    let after =
        |prompt: &[TokenId]| answer(&mut decoder(&model, prompt), &blue, model.config().vocab_size).concat();
    let encode = |text: &str, special| model.tokenizer().encode(text, special).unwrap();
    assert_eq!(after(&encode("", true)), "blue blue");
    assert_eq!(after(&encode("The sky is", true)), " blue blue");
    assert_eq!(after(&encode("<s><|user|>The sky<|end|><|assistant|>", false)), " blue blue");
    let mut unknown = Decoder::new(&model, Sampler::new(SamplerOptions::greedy()).unwrap());
    assert_eq!(answer(&mut unknown, &blue, model.config().vocab_size).concat(), " blue blue");
    // Part of a prompt whose rest was processed before.
    assert_eq!(after(&encode("<|assistant|>", false)), " blue blue");
    let mut sampler =
        Sampler::new(SamplerOptions { logit_bias: [(blue[0], 1e9)].into(), ..SamplerOptions::greedy() })
            .unwrap();
    let mut session = Session::new(&model, SessionOptions::default()).unwrap();
    for (prompt, text) in [("", "blue"), ("The sky is", " blue")] {
        session.reset();
        let generation = session.generate(&encode(prompt, true), &mut sampler).unwrap().max_tokens(1);
        assert_eq!(generation.map(|token| token.unwrap().text).collect::<String>(), text);
    }
}

#[test]
fn an_answer_that_is_cut_loses_the_broken_character_only() {
    let model = model();
    let vocab_size = model.config().vocab_size;
    let prompt = model.tokenizer().encode("The sky", true).unwrap();
    let run = bytes(&model, "😀é🎉");
    let mut cut = decoder(&model, &prompt).max_tokens(8);
    let texts = ["", "", "", "😀", "", "é", "", "\u{FFFD}"];
    assert_eq!(answer(&mut cut, &run, vocab_size), texts);
    assert_eq!(cut.finish_reason(), Some(FinishReason::Length));
    let mut ended = decoder(&model, &prompt);
    assert_eq!(answer(&mut ended, &run[..7], vocab_size).concat(), "😀é");
    assert_eq!(ended.end(FinishReason::Length), "\u{FFFD}");
}
