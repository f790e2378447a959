//! Answers of a model with a SentencePiece vocabulary.

use super::support::{TEMPLATE, call, stream};
use axum::Router;
use edgellm::testing::{seeded_sentencepiece_model, sentencepiece_tokenizer};
use edgellm::tokenizer::Tokenizer;
use edgellm::{Model, SessionOptions};
use edgellm_server::{ApiKeys, ModelSource, OpenError, OpenModel, Options, Server, app};
use serde_json::{Value, json};

const PATH: &str = "/v1/completions";

async fn router() -> Router {
    let open = || -> Result<OpenModel, OpenError> {
        Ok(OpenModel::from(Model::from_bytes(seeded_sentencepiece_model(5, Some(TEMPLATE))?)?))
    };
    let source = ModelSource {
        id: "seeded".into(),
        created: 1,
        session: SessionOptions::default(),
        file: None,
        open: Box::new(open),
    };
    let server = Server::new(vec![source], Options::default(), ApiKeys::default()).unwrap();
    server.load().await.unwrap();
    app(&server)
}

fn id(token: &str) -> u32 {
    Tokenizer::from_json(sentencepiece_tokenizer()).unwrap().token_to_id(token).unwrap()
}

/// A request whose answer consists of this token alone.
fn only(token: &str, more: Value) -> Value {
    let mut body = json!({"prompt": "The sky is", "max_tokens": 6, "temperature": 0});
    body["logit_bias"][id(token).to_string()] = 100.into();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn byte_tokens_are_streamed_and_stop_answers() {
    let router = router().await;
    let pieces = stream(&router, PATH, only("<0x0A>", json!({}))).await;
    let texts: Vec<&str> = pieces.iter().map(|piece| piece["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["\n", "\n", "\n", "\n", "\n", "\n", ""]);
    for (stop, tokens) in [("\n", 1), ("\n\n\n", 3)] {
        let answer = call(&router, PATH, only("<0x0A>", json!({"stop": stop}))).await;
        assert_eq!(answer["usage"]["completion_tokens"], tokens);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        assert_eq!(answer["choices"][0]["text"], "");
    }
}

#[tokio::test]
async fn answers_keep_the_space_that_they_begin_with() {
    let router = router().await;
    let text = |answer: Value| answer["choices"][0]["text"].as_str().unwrap().to_string();
    let two = |more: Value| {
        let mut body = only("▁blue", more);
        body["max_tokens"] = 2.into();
        body
    };
    assert_eq!(text(call(&router, PATH, two(json!({}))).await), " blue blue");
    assert_eq!(text(call(&router, PATH, two(json!({"echo": true}))).await), "The sky is blue blue");
    let begun = two(json!({"echo": true, "prompt": ""}));
    assert_eq!(text(call(&router, PATH, begun).await), "blue blue");
    let mut chat = two(json!({"messages": [{"role": "user", "content": "The sky is"}]}));
    chat.as_object_mut().unwrap().remove("prompt");
    let answer = call(&router, "/v1/chat/completions", chat).await;
    assert_eq!(answer["choices"][0]["message"]["content"], " blue blue");
}

#[tokio::test]
async fn detokenizing_loses_broken_characters_only() {
    let router = router().await;
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| id(&format!("<0x{byte:02X}>"))).collect::<Vec<_>>();
    let smile = "😀".as_bytes();
    for (tokens, text) in [
        ([bytes(smile), bytes(&smile[..2])].concat(), "😀\u{FFFD}"),
        ([vec![id("▁blue")], bytes(&smile[..3]), vec![id("▁sky")]].concat(), "blue\u{FFFD} sky"),
    ] {
        assert_eq!(call(&router, "/detokenize", json!({"tokens": tokens})).await["content"], text);
    }
}
