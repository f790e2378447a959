//! Sessions of models with recurrent layers turn back: to a snapshot, and not to the beginning.

use edgellm::testing::{Family, Recipe, recipes, seeded_model};
use edgellm::{Batch, BatchRun, CacheFormat, Compute, Model, Session, SessionOptions};

/// The distance between snapshots of these small models.
const DISTANCE: usize = 64;

fn models() -> Vec<Model> {
    let recurrent = |recipe: &Recipe| matches!(recipe.family, Family::Lfm2 | Family::Qwen35);
    let open = |recipe| Model::with_compute(seeded_model(recipe, 3).unwrap(), Compute::default()).unwrap();
    recipes().into_iter().filter(recurrent).map(open).collect()
}

fn session(model: &Model) -> Session {
    Session::new(model, SessionOptions::default()).unwrap()
}

fn prompt(count: u32) -> Vec<u32> {
    (0..count).map(|i| i * 11 % 256).collect()
}

/// The logits after `tokens`, processed at once.
fn fresh(model: &Model, tokens: &[u32]) -> Vec<f32> {
    session(model).prefill(tokens).unwrap().to_vec()
}

#[test]
fn turning_back_costs_at_most_the_distance_and_changes_nothing() {
    for model in models() {
        let mut original = session(&model);
        let tokens = prompt(300);
        // A conversation: prompts, and answers token by token.
        original.prefill(&tokens[..100]).unwrap();
        for &token in &tokens[100..210] {
            original.decode(token).unwrap();
        }
        original.prefill(&tokens[210..]).unwrap();
        for position in [0, 1, 63, 64, 65, 100, 127, 128, 150, 192, 209, 210, 211, 299, 300] {
            let expected = fresh(&model, &[&tokens[..position], &[9, 8, 7]].concat());
            let mut fork = original.fork(position);
            assert_eq!(fork.position(), position);
            assert!(fork.pending() < DISTANCE, "{} tokens to go back to {position}", fork.pending());
            assert_eq!(fork.prefill(&[9, 8, 7]).unwrap(), expected, "fork at {position}");
            assert_eq!((fork.position(), fork.pending()), (position + 3, 0));
            let mut cut = original.fork(300);
            cut.truncate(position);
            assert_eq!((cut.position(), cut.pending()), (position, original.fork(position).pending()));
            let mut runs = [BatchRun::new(&mut cut, &[9, 8, 7])];
            assert_eq!(Batch::default().run(&mut runs).unwrap(), expected, "cut at {position}");
            // Twice, further back.
            cut.truncate(position / 2);
            let expected = fresh(&model, &[&tokens[..position / 2], &[5]].concat());
            assert_eq!(cut.decode(5).unwrap(), expected, "cut at {}", position / 2);
        }
        assert_eq!(original.pending(), 0);
    }
}

/// Where conversations turn back: a prompt is asked again, or another follows the same answer.
#[test]
fn the_last_prompts_cost_nothing() {
    for model in models() {
        let mut session = session(&model);
        let tokens = prompt(120);
        session.prefill(&tokens[..70]).unwrap();
        for &token in &tokens[70..75] {
            session.decode(token).unwrap();
        }
        session.prefill(&tokens[75..]).unwrap();
        assert_eq!(session.fork(75).pending(), 0, "before the second prompt");
        assert!(session.fork(69).pending() < 6, "the end of the first prompt");
    }
}

#[test]
fn other_models_have_nothing_pending() {
    let model = Model::from_bytes(seeded_model(recipes()[0], 3).unwrap()).unwrap();
    let mut session = session(&model);
    session.prefill(&prompt(100)).unwrap();
    session.truncate(50);
    assert_eq!((session.position(), session.pending()), (50, 0));
}

/// The page asks for memory before it processes tokens.
#[test]
fn memory_is_known_beforehand() {
    for recipe in recipes() {
        let model = Model::from_bytes(seeded_model(recipe, 3).unwrap()).unwrap();
        for kv_cache in [CacheFormat::F16, CacheFormat::Int8] {
            let options = SessionOptions { kv_cache, ..Default::default() };
            let bytes = |positions: usize| options.cache_bytes(model.config(), positions) as usize;
            let mut session = Session::new(&model, options).unwrap();
            for reserved in [1, 63, 64, 65, 200] {
                session.reserve(reserved).unwrap();
                assert_eq!(session.cache_bytes(), bytes(reserved), "{recipe:?} {reserved}");
            }
            // In use, it stays: with prompts and answers in turn, more of them than snapshots are kept of.
            for length in [4, 60, 70, 90, 100, 110, 120, 130, 300] {
                let more = prompt(length as u32);
                session.prefill(&more[session.position()..length - 2]).unwrap();
                session.decode(1).unwrap();
                session.decode(2).unwrap();
                assert_eq!(session.cache_bytes(), bytes(length.max(200)), "{recipe:?} {length}");
            }
            session.truncate(90);
            session.prefill(&prompt(20)).unwrap();
            assert_eq!(session.cache_bytes(), bytes(300), "{recipe:?}");
        }
    }
}
