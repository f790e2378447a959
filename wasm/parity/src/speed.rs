//! Exports that benches/wasm_speed.py times: the same prompt and greedy tokens as the native `speed` of benches/, so that
//! the hashes of the answers must be equal.

use crate::exports::{catch_panics, lock, take_model};
use edgellm::testing::{HASH_START, logits_hash};
use edgellm::{Model, Session, SessionOptions, TokenId};
use std::sync::Mutex;

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// Calls `job` with the session of [`speed_open`].
fn session<T>(job: impl FnOnce(&mut Session) -> T) -> T {
    job(lock(&SESSION).as_mut().expect("speed_open comes first"))
}

/// Opens the model written to `parity_model`'s buffer.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn speed_open() {
    catch_panics();
    let model = Model::from_bytes(take_model()).expect("the engine takes the model");
    let session = Session::new(&model, SessionOptions::default()).expect("default options fit");
    *lock(&SESSION) = Some(session);
}

/// Processes a prompt of `tokens` in the empty session.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn speed_prefill(tokens: u32) {
    session(|session| {
        session.reset();
        let vocab = session.model().config().vocab_size as u32;
        let ids: Vec<TokenId> = (0..tokens).map(|i| (100 + i * 37) % vocab).collect();
        session.prefill(&ids).expect("the prompt fits");
    });
}

/// Decodes `tokens` greedily from the empty session and token 1; returns their hash.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn speed_decode(tokens: u32) -> u64 {
    session(|session| {
        session.reset();
        let (mut hash, mut token) = (HASH_START, 1);
        for _ in 0..tokens {
            let logits = session.decode(token).expect("the context is long enough");
            // The first of equals.
            let best = (1..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
            token = best as TokenId;
            hash = logits_hash(hash, &[token as f32]);
        }
        hash
    })
}
