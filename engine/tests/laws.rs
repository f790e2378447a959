//! Law 2: the same bits whatever the kernels, threads, prefill chunks and batches.

use edgellm::testing::{HASH_START, logits_hash, recipes, seeded_model};
use edgellm::{
    Batch, BatchRun, CacheFormat, Compute, Error, Model, Precision, Session, SessionOptions,
    available_kernels,
};

fn model(index: usize, compute: Compute) -> Model {
    Model::with_compute(seeded_model(recipes()[index], 5 + index as u64).unwrap(), compute).unwrap()
}

fn session(model: &Model, precision: Precision) -> Session {
    Session::new(model, SessionOptions { precision, ..Default::default() }).unwrap()
}

fn session_with(model: &Model, kv_cache: CacheFormat) -> Session {
    Session::new(model, SessionOptions { kv_cache, ..Default::default() }).unwrap()
}

/// Logits of a prompt in chunks, then of greedy tokens.
fn logits(session: &mut Session, prompt: &[u32], chunk: usize, decode: usize) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    let mut last = Vec::new();
    for chunk in prompt.chunks(chunk) {
        last = session.prefill(chunk).unwrap().to_vec();
    }
    for _ in 0..decode {
        all.push(last.iter().map(|x| x.to_bits()).collect());
        let token = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        last = session.decode(token as u32).unwrap().to_vec();
    }
    all
}

#[test]
fn kernels_threads_and_chunks_give_the_same_bits() {
    // More than a segment of attention, so that threads share it.
    let prompt: Vec<u32> = (0..270).map(|i| i * 7 % 256).collect();
    for index in 0..recipes().len() {
        for (precision, kv_cache) in [
            (Precision::Standard, CacheFormat::F16),
            (Precision::High, CacheFormat::F16),
            (Precision::Standard, CacheFormat::Int8),
        ] {
            let options = SessionOptions { precision, kv_cache, ..Default::default() };
            let mut expected = None;
            for kernels in available_kernels() {
                for threads in [1, 2, 3] {
                    let model = model(index, Compute::new(kernels, threads));
                    for chunk in [1, 3, 64, 270] {
                        if chunk < 64 && threads == 3 {
                            continue;
                        }
                        let mut session = Session::new(&model, options).unwrap();
                        let actual = logits(&mut session, &prompt, chunk, 8);
                        let finite = actual.iter().flatten().all(|&x| f32::from_bits(x).is_finite());
                        assert!(finite, "{:?}", recipes()[index]);
                        let what =
                            format!("{:?} {options:?} {kernels:?} {threads} {chunk}", recipes()[index]);
                        assert!(*expected.get_or_insert_with(|| actual.clone()) == actual, "{what}");
                    }
                }
            }
        }
    }
}

/// Other targets compute the same: scripts/test compares the hashes of the wasm builds with these lines.
#[test]
fn hashes() {
    for (index, recipe) in recipes().into_iter().enumerate() {
        let model = model(index, Compute::default());
        let mut session = session(&model, Precision::Standard);
        let prompt: Vec<u32> = (0..70).collect();
        let mut hash = logits_hash(HASH_START, session.prefill(&prompt).unwrap());
        for token in 0..16 {
            hash = logits_hash(hash, session.decode(token).unwrap());
        }
        println!("logits hash {index}: {hash:016x} {recipe:?}");
        assert_ne!(hash, HASH_START);
    }
}

#[test]
fn high_precision_differs_and_each_token_can_be_had() {
    let model = model(0, Compute::default());
    let prompt: Vec<u32> = (0..40).collect();
    let standard = logits(&mut session(&model, Precision::Standard), &prompt, 40, 1);
    let high = logits(&mut session(&model, Precision::High), &prompt, 40, 1);
    assert_ne!(standard, high);
    let mut each = Vec::new();
    let mut one = session(&model, Precision::Standard);
    one.prefill_each(&prompt, |index, logits| {
        assert_eq!(index, each.len());
        each.push(logits.to_vec());
    })
    .unwrap();
    assert_eq!(each.len(), 40);
    let last: Vec<u32> = each[39].iter().map(|x| x.to_bits()).collect();
    assert_eq!(last, standard[0]);
}

#[test]
fn a_cache_in_8_bits_is_half_as_large_and_close() {
    let model = model(0, Compute::default());
    let prompt: Vec<u32> = (0..100).collect();
    let mut sessions = [CacheFormat::F16, CacheFormat::Int8].map(|format| session_with(&model, format));
    let [half, bytes] = sessions.each_mut().map(|session| session.prefill(&prompt).unwrap().to_vec());
    let size = |logits: &[f32]| logits.iter().map(|x| x * x).sum::<f32>().sqrt();
    let difference: Vec<f32> = half.iter().zip(&bytes).map(|(a, b)| a - b).collect();
    let relative = size(&difference) / size(&half);
    assert!(relative > 0.0 && relative < 0.05, "{relative}");
    // 8.5 bits in place of 16, with as much padding: heads of 24 take 32.
    assert_eq!(sessions[1].cache_bytes() * 32, sessions[0].cache_bytes() * 17);
}

#[test]
fn truncating_goes_back() {
    let model = model(3, Compute::default());
    for mut session in [CacheFormat::F16, CacheFormat::Int8].map(|format| session_with(&model, format)) {
        session.prefill(&[1, 2, 3]).unwrap();
        let expected = session.decode(4).unwrap().to_vec();
        session.decode(5).unwrap();
        session.truncate(3);
        assert_eq!(session.position(), 3);
        assert_eq!(session.decode(4).unwrap(), expected);
    }
}

#[test]
fn wrong_requests_are_errors_and_change_nothing() {
    let model = model(0, Compute::default());
    let too_long = SessionOptions { context_length: Some(513), ..Default::default() };
    assert!(matches!(Session::new(&model, too_long), Err(Error::Context { requested: 513, max: 512 })));
    let options = SessionOptions { context_length: Some(4), ..Default::default() };
    let mut session = Session::new(&model, options).unwrap();
    assert!(matches!(session.prefill(&[]), Err(Error::EmptyPrompt)));
    assert!(matches!(session.decode(256), Err(Error::Token { token: 256, vocab_size: 256 })));
    session.prefill(&[1, 2, 3]).unwrap();
    assert!(matches!(
        session.prefill(&[1, 2]),
        Err(Error::ContextFull { tokens: 2, position: 3, capacity: 4 })
    ));
    assert_eq!(session.position(), 3);
    session.decode(1).unwrap();
    assert!(session.decode(1).is_err());
}

/// Sessions in a batch, one with a chunk of prompt, get what they get alone; their caches' formats may differ.
#[test]
fn a_batch_changes_nothing() {
    for index in 0..recipes().len() {
        let model = model(index, Compute::new(available_kernels()[0], 2));
        let vocab = model.config().vocab_size;
        let prompts: Vec<Vec<u32>> =
            (0..9u32).map(|i| (0..3 + 11 * i).map(|t| t * (i + 3) % 256).collect()).collect();
        let formats = [CacheFormat::F16, CacheFormat::Int8].into_iter().cycle().take(prompts.len());
        let mut alone: Vec<Session> = formats.clone().map(|format| session_with(&model, format)).collect();
        let mut shared: Vec<Session> = formats.map(|format| session_with(&model, format)).collect();
        let mut batch = Batch::default();
        for round in 0..6 {
            // The longest prompt goes in late, beside the others' single tokens.
            let tokens: Vec<&[u32]> = prompts
                .iter()
                .enumerate()
                .map(|(i, p)| if round == i / 3 { &p[..] } else { &p[round % 3..round % 3 + 1] })
                .collect();
            let mut runs: Vec<BatchRun<'_>> = shared
                .iter_mut()
                .zip(&tokens)
                .map(|(session, tokens)| BatchRun::new(session, tokens))
                .collect();
            let logits = batch.run(&mut runs).unwrap().to_vec();
            for ((session, tokens), logits) in alone.iter_mut().zip(&tokens).zip(logits.chunks_exact(vocab)) {
                assert_eq!(session.prefill(tokens).unwrap(), logits, "{:?}, round {round}", recipes()[index]);
            }
        }
        let mut other = session(&model, Precision::High);
        let mut runs = [BatchRun::new(&mut shared[0], &[1]), BatchRun::new(&mut other, &[1])];
        assert!(matches!(batch.run(&mut runs), Err(Error::Mixed)));
        assert!(matches!(batch.run(&mut []), Err(Error::EmptyPrompt)));
    }
}

#[test]
fn a_fork_goes_on_as_the_original_would() {
    let model = model(0, Compute::default());
    let prompt: Vec<u32> = (0..150).map(|i| i * 11 % 256).collect();
    let mut original = session(&model, Precision::Standard);
    original.prefill(&prompt).unwrap();
    for positions in [0, 1, 63, 64, 65, 128, 149, 150, 1000] {
        let mut fork = original.fork(positions);
        let common = positions.min(prompt.len());
        assert_eq!(fork.position(), common);
        let mut fresh = session(&model, Precision::Standard);
        fresh.prefill(&[&prompt[..common], &[9, 8, 7]].concat()).unwrap();
        fork.prefill(&[9, 8, 7]).unwrap();
        assert_eq!(fork.decode(1).unwrap(), fresh.decode(1).unwrap(), "{positions}");
    }
    assert_eq!(original.position(), 150);
}

#[test]
fn a_chunk_without_logits_is_a_chunk() {
    let model = model(0, Compute::default());
    let vocab = model.config().vocab_size;
    let (mut a, mut b) = (session(&model, Precision::Standard), session(&model, Precision::Standard));
    let mut batch = Batch::default();
    let mut runs = [BatchRun::new(&mut a, &[1, 2, 3]).wanted(0), BatchRun::new(&mut b, &[4, 5])];
    assert_eq!(batch.run(&mut runs).unwrap().len(), vocab);
    assert!(batch.run(&mut [BatchRun::new(&mut b, &[6]).wanted(0)]).unwrap().is_empty());
    assert!(b.extend(&[7], 0).unwrap().is_empty());
    let mut alone = session(&model, Precision::Standard);
    alone.prefill(&[1, 2, 3]).unwrap();
    assert_eq!(a.decode(7).unwrap(), alone.decode(7).unwrap());
    let mut alone = session(&model, Precision::Standard);
    alone.prefill(&[4, 5, 6, 7]).unwrap();
    assert_eq!(b.decode(8).unwrap(), alone.decode(8).unwrap());
}

/// The last `wanted` rows are those of the tokens processed one by one, alone and in a batch.
#[test]
fn wanted_rows_are_those_of_single_tokens() {
    for index in 0..recipes().len() {
        let model = model(index, Compute::new(available_kernels()[0], 2));
        let vocab = model.config().vocab_size;
        for kv_cache in [CacheFormat::F16, CacheFormat::Int8] {
            let tokens: Vec<u32> = (0..150).map(|i| i * 13 % 256).collect();
            let mut single = session_with(&model, kv_cache);
            let rows: Vec<f32> =
                tokens.iter().flat_map(|&token| single.decode(token).unwrap().to_vec()).collect();
            let last = |count: usize, wanted: usize| &rows[(count - wanted) * vocab..count * vocab];
            for (count, wanted) in
                [(1, 1), (5, 2), (5, 5), (64, 64), (65, 3), (150, 20), (150, 90), (150, 150)]
            {
                let mut session = session_with(&model, kv_cache);
                let actual = session.extend(&tokens[..count], wanted).unwrap();
                assert_eq!(actual, last(count, wanted), "{:?}, {wanted} of {count}", recipes()[index]);
            }
            let [mut a, mut b, mut c] = [(); 3].map(|()| session_with(&model, kv_cache));
            c.prefill(&tokens[..7]).unwrap();
            let mut runs = [
                BatchRun::new(&mut a, &tokens[..9]).wanted(4),
                BatchRun::new(&mut b, &tokens[..33]).wanted(0),
                BatchRun::new(&mut c, &tokens[7..20]).wanted(13),
            ];
            let mut batch = Batch::default();
            assert_eq!(batch.run(&mut runs).unwrap(), [last(9, 4), last(20, 13)].concat());
            // What was guessed wrong is taken back.
            c.truncate(10);
            assert_eq!(c.decode(tokens[10]).unwrap(), last(11, 1));
        }
    }
}

#[test]
fn more_rows_than_tokens_are_refused_and_change_nothing() {
    let model = model(0, Compute::default());
    let (mut a, mut b) = (session(&model, Precision::Standard), session(&model, Precision::Standard));
    assert!(matches!(a.extend(&[1, 2], 3), Err(Error::Wanted { wanted: 3, tokens: 2 })));
    let mut runs = [BatchRun::new(&mut a, &[1]), BatchRun::new(&mut b, &[1, 2]).wanted(3)];
    assert!(matches!(Batch::default().run(&mut runs), Err(Error::Wanted { wanted: 3, tokens: 2 })));
    assert_eq!((a.position(), b.position()), (0, 0));
}

#[test]
fn hidden_states_do_not_depend_on_chunks() {
    let model = model(0, Compute::default());
    let prompt: Vec<u32> = (0..200).map(|i| i * 5 % 256).collect();
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let mut one = session(&model, Precision::Standard);
    one.prefill_hidden(&prompt, |state| whole.extend_from_slice(state)).unwrap();
    assert_eq!(whole.len(), prompt.len() * model.config().hidden_size);
    let mut two = session(&model, Precision::Standard);
    for chunk in prompt.chunks(33) {
        two.prefill_hidden(chunk, |state| parts.extend_from_slice(state)).unwrap();
    }
    assert_eq!(whole, parts);
    // The session goes on as after any prefill.
    let mut plain = session(&model, Precision::Standard);
    plain.prefill(&prompt).unwrap();
    assert_eq!(one.decode(3).unwrap(), plain.decode(3).unwrap());
}
