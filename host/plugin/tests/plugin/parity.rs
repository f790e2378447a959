//! Law 2: the sandbox gives the bits of the native engine.

use super::{RELAXED, SIMD, limits};
use edgellm::testing::{
    HASH_START, byte_tokenizer_with, logits_hash, recipes, seeded_chat_model, seeded_model, seeded_model_with,
};
use edgellm_plugin_host::{
    BatchRun, Error, ErrorCode, FinishReason, GenerateOptions, KvCache, Message, Plugin, Precision, Prompt,
    SamplerOptions, SessionOptions, Source,
};
use std::sync::Arc;

const TEMPLATE: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]";

fn plugins() -> [&'static Plugin; 2] {
    [&SIMD, &RELAXED]
}

fn greedy(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

/// Hash of the logits after a prompt and 16 greedy tokens, natively.
fn native_hash(file: &[u8], options: edgellm::SessionOptions, prompt: &[u32]) -> u64 {
    let model = edgellm::Model::from_bytes(file.to_vec()).unwrap();
    let mut session = edgellm::Session::new(&model, options).unwrap();
    let mut logits = session.prefill(prompt).unwrap().to_vec();
    let mut hash = logits_hash(HASH_START, &logits);
    for _ in 0..16 {
        logits = session.decode(greedy(&logits)).unwrap().to_vec();
        hash = logits_hash(hash, &logits);
    }
    hash
}

#[test]
fn logits_are_the_engines_for_every_format_precision_and_cache() {
    let prompt: Vec<u32> = (0..70).collect();
    for (index, recipe) in recipes().into_iter().enumerate() {
        let file = seeded_model(recipe, index as u64).unwrap();
        for (precision, cache, native) in [
            (Precision::Fast, KvCache::F16, edgellm::Precision::Fast),
            (Precision::Standard, KvCache::Int8, edgellm::Precision::Standard),
            (Precision::High, KvCache::F16, edgellm::Precision::High),
        ] {
            let kv_cache = match cache {
                KvCache::F16 => edgellm::CacheFormat::F16,
                KvCache::Int8 => edgellm::CacheFormat::Int8,
            };
            let options = edgellm::SessionOptions { precision: native, kv_cache, ..Default::default() };
            let expected = native_hash(&file, options, &prompt);
            for plugin in plugins() {
                let model = plugin.open(Source::Bytes(Arc::new(file.clone())), &limits()).unwrap();
                let options = SessionOptions {
                    precision: Some(precision),
                    kv_cache: Some(cache),
                    context_length: None,
                };
                let mut session = model.session(options).unwrap();
                let mut logits = session.prefill(&prompt).unwrap();
                let mut hash = logits_hash(HASH_START, &logits);
                for _ in 0..16 {
                    logits = session.decode(greedy(&logits)).unwrap();
                    hash = logits_hash(hash, &logits);
                }
                assert_eq!(hash, expected, "recipe {index}, {precision:?}, {}", model.info().kernels);
            }
        }
    }
}

#[test]
fn special_tokens_in_messages_are_text() {
    let tokenizer = byte_tokenizer_with(&["<|end|>"]);
    let template = "{{ messages[0].content }}<|end|>";
    let file = seeded_model_with(recipes()[0], 7, Some(template), &tokenizer).unwrap();
    for plugin in plugins() {
        let model = plugin.open(Source::Bytes(Arc::new(file.clone())), &limits()).unwrap();
        let messages = vec![Message { role: "user".into(), content: "<|end|>".into() }];
        let text: Vec<u32> = "<|end|>".bytes().map(u32::from).chain([255]).collect();
        assert_eq!(model.tokenize_chat(&messages, false).unwrap(), text);
        assert_eq!(model.tokenize_chat(&messages, true).unwrap(), [255, 255]);
        let mut session = model.session(SessionOptions::default()).unwrap();
        let generation = session.generate(&Prompt::Chat(messages), &GenerateOptions::default()).unwrap();
        assert_eq!(generation.timings().unwrap().prompt_tokens as usize, text.len());
    }
}

#[test]
fn text_is_the_engines_with_a_sampler_and_a_template() {
    let file = seeded_chat_model(recipes()[0], 7, Some(TEMPLATE)).unwrap();
    let native = edgellm::Model::from_bytes(file.clone()).unwrap();
    let template = edgellm::chat::ChatTemplate::new(TEMPLATE, "", "").unwrap();
    let rendered = template.render(&[edgellm::chat::Message::new("user", "Tell me.")], true).unwrap();
    let (text, prompt) = (rendered.text(), rendered.tokenize(native.tokenizer(), false).unwrap());
    let run = |seed| {
        let mut session = edgellm::Session::new(&native, Default::default()).unwrap();
        let sampler = edgellm::sampler::SamplerOptions { temperature: 1.2, seed, ..Default::default() };
        let mut sampler = edgellm::sampler::Sampler::new(sampler).unwrap();
        let generation = session.generate(&prompt, &mut sampler).unwrap().max_tokens(40).logprobs(true);
        generation.map(Result::unwrap).collect::<Vec<_>>()
    };
    // Some seeds end early.
    let (seed, expected) = (0..64).map(|seed| (seed, run(seed))).find(|(_, run)| run.len() == 40).unwrap();
    for plugin in plugins() {
        let model = plugin.open(Source::Bytes(Arc::new(file.clone())), &limits()).unwrap();
        let messages = vec![Message { role: "user".into(), content: "Tell me.".into() }];
        assert_eq!(model.apply_chat_template(&messages).unwrap(), text);
        let mut session = model.session(SessionOptions::default()).unwrap();
        let options = GenerateOptions {
            sampler: SamplerOptions { temperature: Some(1.2), seed: Some(seed), ..Default::default() },
            max_tokens: Some(40),
            logprobs: true,
            ..Default::default()
        };
        let mut generation = session.generate(&Prompt::Chat(messages), &options).unwrap();
        let tokens: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
        assert_eq!(generation.finish_reason().unwrap(), Some(FinishReason::Length));
        let timings = generation.timings().unwrap();
        assert_eq!((timings.prompt_tokens as usize, timings.generated_tokens), (prompt.len(), 40));
        assert!(timings.prefill_ns > 0 && timings.decode_ns > 0);
        drop(generation);
        assert_eq!(tokens.len(), expected.len());
        for (token, expected) in tokens.iter().zip(&expected) {
            assert_eq!(
                (token.id, &token.text, token.logprob),
                (expected.id, &expected.text, expected.logprob)
            );
        }
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(model.detokenize(&ids, true).unwrap(), native.tokenizer().decode(&ids, true));
        assert_eq!(model.tokenize(text, false).unwrap(), prompt);
    }
}

#[test]
fn a_batch_and_a_fork_give_the_bits_of_sessions_alone() {
    let file = seeded_model(recipes()[0], 3).unwrap();
    let model = SIMD.open(Source::Bytes(Arc::new(file)), &limits()).unwrap();
    let session = || model.session(SessionOptions::default()).unwrap();
    let (mut a, mut b) = (session(), session());
    let (alone_a, alone_b) = (a.prefill(&[1, 2, 3]).unwrap(), b.prefill(&[4]).unwrap());
    let (mut a, mut b, mut c) = (session(), session(), session());
    let mut batch = model.batch().unwrap();
    let logits = batch
        .run(&[
            BatchRun { session: &mut a, tokens: &[1, 2, 3], wanted: 1 },
            BatchRun { session: &mut c, tokens: &[9, 9], wanted: 0 },
            BatchRun { session: &mut b, tokens: &[4], wanted: 1 },
        ])
        .unwrap();
    assert_eq!(logits, [alone_a, alone_b].concat());
    assert_eq!((a.position().unwrap(), c.position().unwrap()), (3, 2));

    let mut fork = a.fork(2).unwrap();
    assert_eq!(fork.position().unwrap(), 2);
    assert_eq!(fork.prefill(&[3]).unwrap(), logits[..256]);
    a.truncate(2).unwrap();
    assert_eq!(a.prefill(&[3]).unwrap(), logits[..256]);
    assert!(a.cache_bytes().unwrap() > 0 && a.capacity().unwrap() == 512);
    let mut states = 0;
    let native = edgellm::Model::from_bytes(seeded_model(recipes()[0], 3).unwrap()).unwrap();
    let mut expected = Vec::new();
    let mut native_session = edgellm::Session::new(&native, Default::default()).unwrap();
    native_session
        .prefill_hidden(&[5, 6], |state| {
            states += 1;
            expected.extend_from_slice(state);
        })
        .unwrap();
    assert_eq!(states, 2);
    assert_eq!(session().hidden_states(&[5, 6]).unwrap(), expected);
}

#[test]
fn wanted_rows_are_those_of_single_tokens() {
    let file = seeded_model(recipes()[4], 3).unwrap();
    for plugin in plugins() {
        let model = plugin.open(Source::Bytes(Arc::new(file.clone())), &limits()).unwrap();
        let session = || model.session(SessionOptions::default()).unwrap();
        let (mut a, mut b, mut c) = (session(), session(), session());
        let tokens: Vec<u32> = (0..12).map(|i| i * 13 % 256).collect();
        let rows: Vec<f32> = tokens.iter().flat_map(|&token| a.decode(token).unwrap()).collect();
        let mut batch = model.batch().unwrap();
        let runs = [
            BatchRun { session: &mut b, tokens: &tokens, wanted: 5 },
            BatchRun { session: &mut c, tokens: &tokens[..3], wanted: 3 },
        ];
        assert_eq!(batch.run(&runs).unwrap(), [&rows[7 * 256..], &rows[..3 * 256]].concat());
        for wanted in [3, usize::MAX] {
            let error = batch.run(&[BatchRun { session: &mut c, tokens: &[1, 2], wanted }]).unwrap_err();
            assert!(matches!(error, Error::Guest { code: ErrorCode::InvalidOption, .. }), "{error:?}");
        }
        assert_eq!(c.position().unwrap(), 3, "nothing was processed");
    }
}

#[test]
fn sessions_of_another_sandbox_are_refused_in_a_batch() {
    let open =
        || SIMD.open(Source::Bytes(Arc::new(seeded_model(recipes()[0], 3).unwrap())), &limits()).unwrap();
    let (one, other) = (open(), open());
    let mut session = other.session(SessionOptions::default()).unwrap();
    let mut batch = one.batch().unwrap();
    let error = batch.run(&[BatchRun { session: &mut session, tokens: &[1], wanted: 1 }]).unwrap_err();
    assert!(error.to_string().contains("its model"), "{error}");
}

#[test]
fn dropping_a_generation_cancels_it_and_leaves_the_session_usable() {
    let file = seeded_model(recipes()[0], 5).unwrap();
    let model = SIMD.open(Source::Bytes(Arc::new(file)), &limits()).unwrap();
    let mut session = model.session(SessionOptions::default()).unwrap();
    let prompt = Prompt::Tokens(vec![1, 2, 3]);
    let options =
        GenerateOptions { sampler: SamplerOptions::greedy(), ignore_eos: true, ..Default::default() };
    assert_eq!(session.generate(&prompt, &options).unwrap().take(3).count(), 3);
    // The third token was chosen, and is not in the session yet.
    assert_eq!(session.position().unwrap(), 5);
    session.truncate(0).unwrap();
    assert_eq!(session.prefill(&[1, 2, 3]).unwrap().len(), 256);
}
