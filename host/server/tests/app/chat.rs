//! `/v1/chat/completions`.

use super::support::{call, refused, router, stream};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";

fn hello() -> Value {
    json!({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
           "seed": 7, "max_tokens": 24})
}

fn text(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn a_stream_is_the_whole_answer_in_pieces() {
    let router = router().await;
    let whole = call(&router, PATH, hello()).await;
    assert_eq!((&whole["object"], &whole["model"]), (&json!("chat.completion"), &json!("seeded")));
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let prompt = "<system>Be brief.\n<user>Hello\n<assistant>".len();
    assert_eq!(whole["usage"]["prompt_tokens"], prompt);
    assert_eq!(whole["usage"]["completion_tokens"], 24);
    assert_eq!(whole["usage"]["total_tokens"], prompt + 24);

    let mut body = hello();
    body["stream_options"] = json!({"include_usage": true});
    let pieces = stream(&router, PATH, body).await;
    let choices = || pieces.iter().filter_map(|piece| piece["choices"].get(0));
    let joined: String = choices().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
    assert_eq!(joined, text(&whole));
    assert_eq!(choices().next().unwrap()["delta"]["role"], "assistant");
    assert_eq!(choices().next_back().unwrap()["finish_reason"], "length");
    assert_eq!(pieces.last().unwrap()["usage"]["completion_tokens"], 24);
    assert_eq!(pieces.last().unwrap()["choices"], json!([]));
    assert!(stream(&router, PATH, hello()).await.iter().all(|piece| piece.get("usage").is_none()));
}

#[tokio::test]
async fn seeds_decide() {
    let router = router().await;
    let first = call(&router, PATH, hello()).await;
    assert_eq!(text(&first), text(&call(&router, PATH, hello()).await));
    let mut other = hello();
    other["seed"] = json!(8);
    assert_ne!(text(&first), text(&call(&router, PATH, other.clone()).await));
    other.as_object_mut().unwrap().remove("seed");
    let (one, two) = (call(&router, PATH, other.clone()).await, call(&router, PATH, other).await);
    assert_ne!(text(&one), text(&two), "without a seed every answer is another one");
}

#[tokio::test]
async fn several_choices_are_those_of_several_seeds() {
    let router = router().await;
    let mut body = hello();
    body["n"] = json!(3);
    let three = call(&router, PATH, body.clone()).await;
    assert_eq!(three["usage"]["completion_tokens"], 72);
    for index in 0..3 {
        let mut one = hello();
        one["seed"] = json!(7 + index);
        let one = call(&router, PATH, one).await;
        assert_eq!(three["choices"][index]["message"], one["choices"][0]["message"], "{index}");
        assert_eq!(three["choices"][index]["index"], index);
    }
    let mut texts = vec![String::new(); 3];
    for piece in stream(&router, PATH, body).await {
        let choice = &piece["choices"][0];
        let index = choice["index"].as_u64().unwrap() as usize;
        texts[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
    }
    for index in 0..3 {
        assert_eq!(texts[index], three["choices"][index]["message"]["content"].as_str().unwrap());
    }
}

#[tokio::test]
async fn the_next_turn_does_not_pay_for_its_history() {
    let router = router().await;
    // One byte is one token here, so the answer is text that comes back as the same tokens.
    let ascii: serde_json::Map<String, Value> = (128..256).map(|id| (id.to_string(), json!(-100))).collect();
    let mut body = hello();
    body["logit_bias"] = Value::Object(ascii);
    let first = call(&router, PATH, body.clone()).await;
    assert_eq!(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": text(&first)}));
    messages.push(json!({"role": "user", "content": "Go on"}));
    let second = call(&router, PATH, body.clone()).await;
    // All but the last token, which was chosen but never processed.
    let known = first["usage"]["total_tokens"].as_u64().unwrap() - 1;
    assert_eq!(second["usage"]["prompt_tokens_details"]["cached_tokens"], known);
    let fresh = call(&super::support::router().await, PATH, body.clone()).await;
    assert_eq!(fresh["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(text(&second), text(&fresh), "the cache changes nothing");
    // Asking for the same again needs the last token only.
    let again = call(&router, PATH, body).await;
    let prompt = second["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], prompt - 1);
    assert_eq!(text(&again), text(&fresh));
}

#[tokio::test]
async fn json_follows_its_schema() {
    let router = router().await;
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["ok", "n"],
        "properties": {"ok": {"type": "boolean"}, "n": {"enum": [1, 22, 333]}}});
    let mut body = hello();
    body["max_tokens"] = json!(100);
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    for seed in 0..5 {
        body["seed"] = json!(seed);
        let answer = call(&router, PATH, body.clone()).await;
        let value: Value = serde_json::from_str(text(&answer)).unwrap();
        assert!(value["ok"].is_boolean() && [1, 22, 333].map(|n| json!(n)).contains(&value["n"]), "{value}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
    body["response_format"] = json!({"type": "json_object"});
    assert!(text(&call(&router, PATH, body.clone()).await).starts_with('{'));
    body["response_format"]["type"] = json!("yaml");
    assert_eq!(refused(&router, PATH, body.clone()).await.1, "response_format.type");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"schema": {"type": "teapot"}}});
    assert_eq!(refused(&router, PATH, body).await, (400, "response_format".into(), String::new()));
}

#[tokio::test]
async fn tools_are_called_when_they_must_be() {
    let router = router().await;
    let parameters = json!({"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}},
                            "required": ["city"], "additionalProperties": false});
    let mut body = hello();
    body["max_tokens"] = json!(200);
    body["tools"] = json!([
        {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": parameters}},
        {"type": "function", "function": {"name": "noon"}},
    ]);
    body["tool_choice"] = json!({"type": "function", "function": {"name": "weather"}});
    body["parallel_tool_calls"] = json!(false);
    let answer = call(&router, PATH, body.clone()).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let called = &choice["message"]["tool_calls"][0];
    assert_eq!(called["function"]["name"], "weather");
    let arguments: Value = serde_json::from_str(called["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(["Rome", "Oslo"].contains(&arguments["city"].as_str().unwrap()));
    assert!(called["id"].as_str().unwrap().starts_with("call_"));

    let pieces = stream(&router, PATH, body.clone()).await;
    let streamed = pieces.iter().find_map(|piece| piece["choices"][0]["delta"]["tool_calls"].get(0)).unwrap();
    assert_eq!(streamed["function"], called["function"]);
    assert_eq!(streamed["index"], 0);
    assert_eq!(pieces.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    // The conversation goes on with the result.
    body["tool_choice"] = json!("none");
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(choice["message"].clone());
    messages.push(json!({"role": "tool", "tool_call_id": called["id"], "content": "sunny"}));
    let answer = call(&router, PATH, body.clone()).await;
    assert!(answer["choices"][0]["message"].get("tool_calls").is_none());
    body["tool_choice"] = json!({"type": "function", "function": {"name": "midnight"}});
    assert_eq!(refused(&router, PATH, body).await.1, "tool_choice");
}

#[tokio::test]
async fn log_probabilities() {
    let router = router().await;
    let mut body = hello();
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(3);
    body["temperature"] = json!(0);
    let answer = call(&router, PATH, body.clone()).await;
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 24);
    for token in content {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // The most likely token is the one that was sampled.
        assert_eq!((&top[0]["bytes"], &top[0]["logprob"]), (&token["bytes"], &token["logprob"]));
        assert!(top.windows(2).all(|pair| pair[0]["logprob"].as_f64() >= pair[1]["logprob"].as_f64()));
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
    }
    let bytes: Vec<u8> = content.iter().map(|token| token["bytes"][0].as_u64().unwrap() as u8).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), text(&answer));
    let pieces = stream(&router, PATH, body).await;
    let streamed = pieces.iter().filter(|piece| piece["choices"][0]["logprobs"].is_object()).count();
    assert_eq!(streamed, 24);
}

#[tokio::test]
async fn messages_of_all_kinds() {
    let router = router().await;
    let parts = json!([{"type": "text", "text": "<user>"}, {"type": "text", "text": "é"}]);
    let body = json!({"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": parts, "name": "n"},
        {"role": "assistant", "content": null}], "max_completion_tokens": 2, "user": "me", "metadata": {"a": [1]}});
    let answer = call(&router, PATH, body).await;
    assert_eq!(answer["usage"]["completion_tokens"], 2);
    assert_eq!(answer["usage"]["prompt_tokens"], "<system>x\n<user><user>é\n<assistant>\n<assistant>".len());
}
