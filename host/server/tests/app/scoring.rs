//! Log probabilities of prompts: `echo` and `logprobs` of `/v1/completions`, as lm-evaluation-harness asks for them.

use super::support::{TEMPLATE, call, post, router, send, server, source, stream};
use edgellm::sampler::{log_probability, top_log_probabilities};
use edgellm::testing::{recipes, seeded_chat_model};
use edgellm::{Batch, BatchRun, Model, Session, SessionOptions, TokenId};
use edgellm_server::{
    ApiKeys, Limits, ModelSource, OpenModel, Options, Run, Runner, RunnerError, Server, app,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PATH: &str = "/v1/completions";

fn model() -> Model {
    Model::from_bytes(seeded_chat_model(recipes()[0], 5, Some(TEMPLATE)).unwrap()).unwrap()
}

/// Each token's log probability after those before it, and the most likely one's, computed by the engine alone.
fn expected(prompt: &[TokenId]) -> Vec<(f32, f32)> {
    let mut session = Session::new(&model(), SessionOptions::default()).unwrap();
    let mut scores = Vec::new();
    if prompt.len() == 1 {
        return scores;
    }
    session
        .prefill_each(&prompt[..prompt.len() - 1], |index, logits| {
            let of = log_probability(logits, prompt[index + 1]).unwrap();
            scores.push((of, top_log_probabilities(logits, 1)[0].1));
        })
        .unwrap();
    scores
}

fn floats(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// The largest of `top_logprobs` at each position from the second on.
fn tops(logprobs: &Value) -> Vec<f32> {
    let largest = |top: &Value| {
        let values = top.as_object().unwrap().values().map(|x| x.as_f64().unwrap() as f32);
        values.fold(f32::MIN, f32::max)
    };
    logprobs["top_logprobs"].as_array().unwrap()[1..].iter().map(largest).collect()
}

#[tokio::test]
async fn a_batch_of_prompts_gets_the_engines_numbers() {
    let router = router().await;
    let texts = ["Question: is it so?\nAnswer: yes", "héllo", "x"];
    let ids: Vec<Vec<u8>> = texts.iter().map(|text| text.bytes().collect()).collect();
    for prompt in [json!(texts), json!(ids)] {
        // lm-evaluation-harness sends this, and leaves the generated token out.
        let ask = json!({"prompt": prompt, "max_tokens": 1, "logprobs": 1, "echo": true, "temperature": 0, "seed": 1234});
        let one = call(&router, PATH, ask.clone()).await;
        let mut none = ask;
        none["max_tokens"] = json!(0);
        let none = call(&router, PATH, none).await;
        assert_eq!(none["usage"]["completion_tokens"], 0);
        assert_eq!(none["usage"]["prompt_tokens"], texts.iter().map(|text| text.len()).sum::<usize>());
        for (index, text) in texts.iter().enumerate() {
            let (one, none) = (&one["choices"][index], &none["choices"][index]);
            assert_eq!((&none["text"], &none["finish_reason"]), (&json!(text), &json!("length")));
            assert!(one["text"].as_str().unwrap().starts_with(text));
            let tokens: Vec<TokenId> = text.bytes().map(TokenId::from).collect();
            let scores = expected(&tokens);
            let logprobs = &none["logprobs"];
            assert_eq!(
                (&logprobs["token_logprobs"][0], &logprobs["top_logprobs"][0]),
                (&Value::Null, &Value::Null)
            );
            let values = json!(logprobs["token_logprobs"].as_array().unwrap()[1..]);
            assert_eq!(floats(&values), scores.iter().map(|score| score.0).collect::<Vec<_>>());
            assert_eq!(tops(logprobs), scores.iter().map(|score| score.1).collect::<Vec<_>>());
            for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let (all, most) =
                    (one["logprobs"][list].as_array().unwrap(), logprobs[list].as_array().unwrap());
                assert_eq!(most.len(), tokens.len(), "{list}");
                assert_eq!(all.len(), tokens.len() + 1, "{list}");
                assert_eq!(all[..tokens.len()], most[..], "{list}");
            }
        }
    }
}

#[tokio::test]
async fn every_token_is_shown_also_the_last_one() {
    let router = router().await;
    let ends = json!({"prompt": "abc", "logit_bias": {"0": 100}, "logprobs": 2, "echo": true, "max_tokens": 4, "n": 2});
    let answer = call(&router, PATH, ends.clone()).await;
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("abc"), &json!("stop")));
        let logprobs = &choice["logprobs"];
        assert_eq!(logprobs["tokens"], json!(["a", "b", "c", "\0"]));
        assert_eq!(logprobs["text_offset"], json!([0, 1, 2, 3]));
        assert_eq!(logprobs["top_logprobs"][2].as_object().unwrap().len(), 2);
    }
    // A stream has the same lists, in pieces.
    let mut joined = json!({"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []});
    for piece in stream(&router, PATH, ends).await.iter().filter(|piece| piece["choices"][0]["index"] == 1) {
        for (list, all) in joined.as_object_mut().unwrap() {
            let more = piece["choices"][0]["logprobs"][list].as_array().cloned().unwrap_or_default();
            all.as_array_mut().unwrap().extend(more);
        }
    }
    assert_eq!(joined, answer["choices"][1]["logprobs"]);
    // Without log probabilities, or without a token.
    let plain = call(&router, PATH, json!({"prompt": [104, 195], "echo": true, "max_tokens": 0})).await;
    assert_eq!(plain["choices"][0]["text"], "h\u{FFFD}");
    assert_eq!(plain["choices"][0]["logprobs"], Value::Null);
    let alone =
        call(&router, PATH, json!({"prompt": "a", "echo": true, "max_tokens": 0, "logprobs": 0})).await;
    assert_eq!(alone["choices"][0]["logprobs"]["token_logprobs"], json!([null]));
}

/// The engine, with a count of the rows of logits that one step wanted.
struct Counted {
    model: Model,
    batch: Batch,
    most: Arc<AtomicUsize>,
}

impl Runner for Counted {
    type Session = Session;

    fn session(&mut self, options: SessionOptions) -> Result<Session, RunnerError> {
        Ok(Session::new(&self.model, options)?)
    }

    fn run(&mut self, runs: &mut [Run<'_, Session>]) -> Result<&mut [f32], RunnerError> {
        self.most.fetch_max(runs.iter().map(|run| run.wanted).sum(), Ordering::Relaxed);
        let mut runs: Vec<BatchRun<'_>> =
            runs.iter_mut().map(|run| BatchRun::new(run.session, run.tokens).wanted(run.wanted)).collect();
        Ok(self.batch.run(&mut runs)?)
    }

    fn restart(&mut self) -> Result<(), RunnerError> {
        self.batch = Batch::default();
        Ok(())
    }
}

#[tokio::test]
async fn long_prompts_do_not_hold_all_logits() {
    let most = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&most);
    let counted = ModelSource {
        open: Box::new(move || {
            let runner = Counted { model: model(), batch: Batch::default(), most: Arc::clone(&count) };
            Ok(OpenModel::with_runner(model(), runner))
        }),
        ..source("seeded", 5)
    };
    let limits = Limits { prefill_chunk: 4096, ..Limits::default() };
    let server =
        Server::new(vec![counted], Options { limits, ..Options::default() }, ApiKeys::default()).unwrap();
    server.load().await.unwrap();
    let prompts: Vec<String> = (0..3).map(|index| format!("{index}, and so on; ").repeat(120)).collect();
    let ask = json!({"prompt": prompts, "max_tokens": 0, "logprobs": 1, "echo": true});
    let answer = call(&app(&server), PATH, ask).await;
    for (index, prompt) in prompts.iter().enumerate() {
        let tokens: Vec<TokenId> = prompt.bytes().map(TokenId::from).collect();
        let values = json!(answer["choices"][index]["logprobs"]["token_logprobs"].as_array().unwrap()[1..]);
        assert_eq!(floats(&values), expected(&tokens).iter().map(|score| score.0).collect::<Vec<_>>());
    }
    let most = most.load(Ordering::Relaxed);
    assert!((64..=128).contains(&most), "{most}");
}

#[tokio::test]
async fn scoring_beside_answers_changes_neither() {
    let router = app(&server(Options::default()).await);
    let (chat, score) = (
        json!({"prompt": "Tell me", "max_tokens": 60, "seed": 2}),
        json!({"prompt": "a text of some length to score, ".repeat(20), "max_tokens": 0, "logprobs": 0, "echo": true}),
    );
    let alone = (call(&router, PATH, chat.clone()).await, call(&router, PATH, score.clone()).await);
    let together = tokio::join!(call(&router, PATH, chat), call(&router, PATH, score.clone()));
    assert_eq!(alone.0["choices"], together.0["choices"]);
    assert_eq!(alone.1["choices"], together.1["choices"]);
    // The prefix cache has no logits.
    assert_eq!(together.1["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    // Chats cannot do without a token.
    let chat = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0});
    assert_eq!(send(&router, post("/v1/chat/completions", &chat)).await.0, 400);
}
