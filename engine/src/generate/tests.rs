mod sentencepiece;

use super::continuation::Continuation;
use super::*;
use crate::sampler::{SamplerOptions, log_probability, top_log_probabilities};
use crate::testing::{recipes, seeded_model};
use crate::{Model, SessionOptions};

/// A seeded model whose tokens are bytes.
fn model() -> Model {
    Model::from_bytes(seeded_model(recipes()[0], 1).unwrap()).unwrap()
}

fn session(context_length: usize) -> Session {
    Session::new(&model(), SessionOptions { context_length: Some(context_length), ..Default::default() })
        .unwrap()
}

/// A sampler that says these bytes, which must differ: the first has the largest bias, and no token comes twice.
fn script(bytes: &[u8]) -> Sampler {
    let bias = |n: usize| 1e6 * (bytes.len() - n) as f32;
    let logit_bias = bytes.iter().enumerate().map(|(n, &byte)| (byte.into(), bias(n))).collect();
    let presence_penalty = 1e9;
    Sampler::new(SamplerOptions {
        logit_bias,
        presence_penalty,
        repeat_last_n: 1000,
        ..SamplerOptions::greedy()
    })
    .unwrap()
}

const PROMPT: &[TokenId] = &[0];

fn texts(generation: &mut Generation<'_>) -> Vec<String> {
    generation.map(|token| token.unwrap().text).collect()
}

#[test]
fn as_many_tokens_as_asked_for() {
    let (mut session, mut sampler) = (session(64), script(b"abcdef"));
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(3);
    assert_eq!(generation.finish_reason(), None);
    assert_eq!(texts(&mut generation), ["a", "b", "c"]);
    assert_eq!(generation.finish_reason(), Some(FinishReason::Length));
    assert_eq!(generation.token_ids(), [97, 98, 99]);
    assert!(generation.next().is_none());
}

#[test]
fn no_tokens() {
    let (mut session, mut sampler) = (session(64), script(b"abc"));
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(0);
    assert_eq!(texts(&mut generation), [""; 0]);
    assert_eq!(generation.finish_reason(), Some(FinishReason::Length));
}

#[test]
fn a_stop_string_over_tokens() {
    let (mut session, mut sampler) = (session(64), script(b"abcdef"));
    let mut generation = session
        .generate(PROMPT, &mut sampler)
        .unwrap()
        .max_tokens(6)
        .stop(["cx", "bcd"])
        .unwrap()
        .stop(["f"])
        .unwrap();
    assert_eq!(texts(&mut generation), ["a", "", "", ""]);
    assert_eq!(generation.finish_reason(), Some(FinishReason::Stop));
    assert_eq!(generation.token_ids(), b"abcd".map(TokenId::from));
}

#[test]
fn what_was_held_comes_at_the_end() {
    let (mut session, mut sampler) = (session(64), script(b"abcdef"));
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(3).stop(["bcx"]).unwrap();
    assert_eq!(texts(&mut generation), ["a", "", "bc"]);
    assert_eq!(generation.finish_reason(), Some(FinishReason::Length));
}

#[test]
fn a_stop_string_with_the_last_token_is_a_stop() {
    let (mut session, mut sampler) = (session(64), script(b"abcdef"));
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(3).stop(["c"]).unwrap();
    assert_eq!(texts(&mut generation), ["a", "b", ""]);
    assert_eq!(generation.finish_reason(), Some(FinishReason::Stop));
}

#[test]
fn stop_tokens_have_no_text() {
    let (mut session, mut sampler) = (session(64), script(b"abcdef"));
    let mut generation =
        session.generate(PROMPT, &mut sampler).unwrap().stop_tokens([100]).stop(["cx"]).unwrap();
    assert_eq!(texts(&mut generation), ["a", "b", "", "c"]);
    assert_eq!(generation.token_ids(), b"abcd".map(TokenId::from));
    assert_eq!(generation.finish_reason(), Some(FinishReason::Stop));
}

#[test]
fn the_models_end_token_ends_unless_ignored() {
    let eos = model().config().eos_token_ids[0];
    let bytes = [b'x', eos as u8, b'y'];
    for ignore in [false, true] {
        let (mut session, mut sampler) = (session(64), script(&bytes));
        let mut generation = session.generate(&[1], &mut sampler).unwrap().max_tokens(3).ignore_eos(ignore);
        let text = texts(&mut generation).concat();
        let reason = if ignore { FinishReason::Length } else { FinishReason::Stop };
        assert_eq!(generation.finish_reason(), Some(reason));
        assert_eq!(generation.token_ids().len(), if ignore { 3 } else { 2 });
        assert_eq!(text.ends_with('y'), ignore);
    }
}

#[test]
fn the_session_fills_up() {
    let (mut session, mut sampler) = (session(5), script(b"abcdef"));
    let mut generation = session.generate(&[0, 1, 2], &mut sampler).unwrap();
    // Two more fit in, and one that nothing follows needs no room.
    assert_eq!(texts(&mut generation), ["a", "b", "c"]);
    assert_eq!(generation.finish_reason(), Some(FinishReason::ContextFull));
    assert_eq!(session.position(), 5);
}

#[test]
fn characters_come_whole() {
    let (mut session, mut sampler) = (session(64), script("é\u{65e5}x".as_bytes()));
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(6);
    assert_eq!(texts(&mut generation), ["", "é", "", "", "日", "x"]);
    let (mut session, mut sampler) = (self::session(64), script(b"a\xE6\x97"));
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(3);
    assert_eq!(texts(&mut generation), ["a", "", "\u{FFFD}"]);
}

#[test]
fn text_is_the_tokens_text() {
    for seed in 0..20 {
        let options =
            SamplerOptions { temperature: 3.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..Default::default() };
        let run = || {
            let (mut session, mut sampler) = (session(64), Sampler::new(options.clone()).unwrap());
            let mut generation =
                session.generate(PROMPT, &mut sampler).unwrap().max_tokens(40).ignore_eos(true);
            (texts(&mut generation).concat(), generation.token_ids().to_vec())
        };
        let (text, ids) = run();
        assert_eq!(text, model().tokenizer().decode(&ids, true));
        assert_eq!(run(), (text, ids));
    }
}

#[test]
fn the_prompt_counts_as_recent() {
    let (mut session, mut sampler) = (session(64), script(b"abc"));
    let mut generation = session.generate(&[97, 98], &mut sampler).unwrap().max_tokens(1);
    assert_eq!(texts(&mut generation), ["c"]);
}

#[test]
fn a_second_text_continues_the_first() {
    let (mut session, mut sampler) = (session(64), Sampler::new(SamplerOptions::greedy()).unwrap());
    let mut whole = session.generate(&[5, 6, 7], &mut sampler).unwrap().max_tokens(8).ignore_eos(true);
    texts(&mut whole);
    let ids = whole.token_ids().to_vec();
    let mut session = self::session(64);
    let mut half = session.generate(&[5, 6, 7], &mut sampler).unwrap().max_tokens(4).ignore_eos(true);
    texts(&mut half);
    // The fourth token was chosen but not processed.
    let mut rest = session.generate(&ids[3..4], &mut sampler).unwrap().max_tokens(4).ignore_eos(true);
    texts(&mut rest);
    assert_eq!(rest.token_ids(), &ids[4..]);
}

#[test]
fn log_probabilities_when_asked_for() {
    let (mut session, mut sampler) = (session(64), Sampler::new(SamplerOptions::greedy()).unwrap());
    let logits = session.prefill(&[3]).unwrap().to_vec();
    session.reset();
    let token = session.generate(&[3], &mut sampler).unwrap().logprobs(true).next().unwrap().unwrap();
    assert_eq!(token.logprob, log_probability(&logits, token.id));
    assert!(token.logprob.is_some_and(|p| p < 0.0));
    session.reset();
    assert_eq!(session.generate(&[3], &mut sampler).unwrap().next().unwrap().unwrap().logprob, None);
}

#[test]
fn nonsense_is_refused() {
    let (mut session, mut sampler) = (session(4), script(b"abc"));
    assert!(matches!(session.generate(&[], &mut sampler), Err(Error::EmptyPrompt)));
    assert!(matches!(session.generate(&[0; 5], &mut sampler), Err(Error::ContextFull { .. })));
    assert!(matches!(session.generate(&[1 << 20], &mut sampler), Err(Error::Token { .. })));
    let generation = session.generate(PROMPT, &mut sampler).unwrap();
    assert!(matches!(generation.stop(["a", ""]), Err(Error::EmptyStop)));
}

#[test]
fn a_continuation_ends_when_told() {
    let model = session(8).model().clone();
    let mut cut = Continuation::new(&model).stop(StopStrings::new(["bcd"]).unwrap());
    assert_eq!([b'a', b'b', b'c'].map(|id| cut.push(id.into())).concat(), "a");
    assert_eq!(cut.end(FinishReason::Length), "bc");
    assert_eq!(cut.finish_reason(), Some(FinishReason::Length));
    assert_eq!((cut.push(100), cut.end(FinishReason::Stop)), (String::new(), String::new()));
    let mut full = Continuation::new(&model).room(0);
    assert_eq!(full.push(97), "a");
    assert_eq!(full.finish_reason(), Some(FinishReason::ContextFull));
    assert_eq!(Continuation::new(&model).max_tokens(0).finish_reason(), Some(FinishReason::Length));
}

/// A decoder of this model that says these bytes.
fn decoder(model: &Model, bytes: &[u8]) -> Decoder {
    Decoder::new(model, script(bytes)).ignore_eos(true)
}

#[test]
fn a_decoder_needs_no_session() {
    let (model, mut sampler) = (model(), script(b"abcdef"));
    let mut session = session(64);
    let mut generation = session.generate(PROMPT, &mut sampler).unwrap().max_tokens(5).stop(["d"]).unwrap();
    let expected: Vec<Token> = generation.by_ref().map(Result::unwrap).collect();
    let mut decoder = decoder(&model, b"abcdef").max_tokens(5).stop(["d"]).unwrap();
    decoder.accept_prompt(PROMPT);
    let mut rows = self::session(64);
    let mut logits = rows.prefill(PROMPT).unwrap();
    let mut tokens = Vec::new();
    while decoder.finish_reason().is_none() {
        tokens.push(decoder.step(logits).unwrap());
        logits = rows.decode(tokens.last().unwrap().id).unwrap();
    }
    assert_eq!(tokens, expected);
    assert_eq!(decoder.finish_reason(), Some(FinishReason::Stop));
    assert_eq!(rows.next_token(&mut decoder).unwrap(), None);
    let mut none = self::decoder(&model, b"a");
    assert!(matches!(rows.next_token(&mut none), Err(Error::EmptyPrompt)), "nothing to choose from");
}

/// Guessing ahead needs nothing of a decoder but its step: rows of drafted tokens are handed to it until it chooses
/// another one.
#[test]
fn a_decoder_takes_the_rows_of_drafted_tokens() {
    let mut plain = session(64);
    let mut sampler = script(b"abcdefgh");
    let mut generation = plain.generate(PROMPT, &mut sampler).unwrap().max_tokens(8).ignore_eos(true);
    let expected: Vec<Token> = generation.by_ref().map(Result::unwrap).collect();
    let mut session = session(64);
    let mut decoder = decoder(&model(), b"abcdefgh").max_tokens(8);
    decoder.accept_prompt(PROMPT);
    let (mut tokens, mut wrong) = (vec![decoder.step(session.prefill(PROMPT).unwrap()).unwrap()], 0);
    while decoder.finish_reason().is_none() {
        let last = tokens.last().unwrap().id;
        // The alphabet, but for one letter.
        let drafted = [last, last + 1, if last == 98 { 0 } else { last + 2 }];
        let start = session.position();
        let vocab_size = session.model().config().vocab_size;
        let rows = session.extend(&drafted, drafted.len()).unwrap();
        for (row, next) in rows.chunks_exact_mut(vocab_size).zip(1..) {
            tokens.push(decoder.step(row).unwrap());
            let accepted = drafted.get(next) == Some(&tokens.last().unwrap().id);
            if decoder.finish_reason().is_some() || !accepted {
                wrong += usize::from(next < drafted.len());
                session.truncate(start + next);
                break;
            }
        }
    }
    assert!(wrong > 0, "a guess was wrong");
    assert_eq!(tokens, expected);
    assert_eq!(session.position(), plain.position());
}

/// Allows the vowels, and ends after two.
#[derive(Debug, Default)]
struct Vowels(usize);

impl Constraint for Vowels {
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ConstraintError> {
        let forbidden = (0..).zip(logits).filter(|(id, _)| !b"aeiou".map(TokenId::from).contains(id));
        forbidden.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
        Ok(())
    }

    fn accept(&mut self, token: TokenId) -> Result<(), ConstraintError> {
        self.0 += 1;
        if token == u32::from(b'u') { Err("no u".into()) } else { Ok(()) }
    }

    fn is_complete(&self) -> bool {
        self.0 == 2
    }
}

#[test]
fn a_constraint_chooses_and_ends() {
    let model = model();
    let logits: Vec<f32> = (0..256).map(|id| (id * 37 % 101) as f32 / 10.0).collect();
    let greedy = || Sampler::new(SamplerOptions::greedy()).unwrap();
    let mut decoder = decoder(&model, b"bcaed").logprobs(Some(3)).constraint(Some(Box::<Vowels>::default()));
    let first = decoder.step(&mut logits.clone()).unwrap();
    assert_eq!(first.text, "a");
    // Probabilities are the model's, not those that the constraint leaves.
    assert_eq!(first.logprob, log_probability(&logits, 97));
    assert_eq!(first.top_logprobs, top_log_probabilities(&logits, 3));
    assert_eq!(decoder.step(&mut logits.clone()).unwrap().text, "e");
    assert_eq!(decoder.finish_reason(), Some(FinishReason::Stop));
    let mut refused = Decoder::new(&model, greedy()).constraint(Some(Box::<Vowels>::default()));
    let mut u = logits.clone();
    u[usize::from(b'u')] = 1e9;
    let error = refused.step(&mut u).unwrap_err();
    assert!(matches!(&error, Error::Constraint(_)), "{error:?}");
    assert_eq!(error.to_string(), "no u");
    assert!(refused.token_ids().is_empty());
}
