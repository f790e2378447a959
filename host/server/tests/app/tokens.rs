//! `/tokenize` and `/detokenize`.

use super::support::{call, refused, router, source};
use edgellm::Model;
use edgellm::format::{Header, ModelFile, WriteError, Writer};
use edgellm::testing::{byte_tokenizer, recipes, seeded_model};
use edgellm_server::{ApiKeys, ModelSource, OpenModel, Options, Server, app};
use serde_json::{Value, json};
use std::io::Cursor;

/// A seeded model whose token 1 is the special token `<|end|>`, and whose token 2, `<s>`, begins every text.
fn with_special_tokens() -> Model {
    let bytes = seeded_model(recipes()[0], 1).unwrap();
    let file = ModelFile::parse(&bytes).unwrap();
    let mut tokenizer: Value = serde_json::from_slice(&byte_tokenizer()).unwrap();
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false})
    };
    tokenizer["added_tokens"] = json!([added(1, "<|end|>"), added(2, "<s>")]);
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    vocab.retain(|_, id| *id != 1 && *id != 2);
    vocab.extend([("<|end|>".to_string(), json!(1)), ("<s>".to_string(), json!(2))]);
    tokenizer["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}}});
    let metadata = file.metadata().clone();
    let start = Header::parse(&bytes).unwrap().data_start() as usize;
    let mut writer =
        Writer::new(Cursor::new(Vec::new()), metadata.clone(), tokenizer.to_string().as_bytes()).unwrap();
    for tensor in &metadata.tensors {
        let from = start + tensor.section.offset as usize;
        let data = &bytes[from..from + tensor.section.length as usize];
        let written = writer.tensor::<WriteError>(&tensor.name, |sink| {
            sink(data)?;
            Ok(None)
        });
        written.unwrap();
    }
    Model::from_bytes(writer.finish().unwrap().0.into_inner()).unwrap()
}

#[tokio::test]
async fn there_and_back() {
    let router = router().await;
    let tokens = call(&router, "/tokenize", json!({"content": "héllo"})).await;
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 6);
    let text = call(&router, "/detokenize", tokens).await;
    assert_eq!(text["content"], "héllo");
    assert_eq!(call(&router, "/detokenize", json!({"tokens": [104, 2_000_000_000]})).await["content"], "h");
}

#[tokio::test]
async fn pieces_and_special_tokens() {
    let special =
        ModelSource { open: Box::new(|| Ok(OpenModel::from(with_special_tokens()))), ..source("special", 1) };
    let server = Server::new(vec![special], Options::default(), ApiKeys::default()).unwrap();
    server.load().await.unwrap();
    let router = app(&server);
    let ask = |more: Value| {
        let mut body = json!({"content": "é<|end|>"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let spelled: Vec<u32> = "é<|end|>".bytes().map(u32::from).collect();
    for (more, expected) in [
        (json!({}), json!([195, 169, 1])),
        (json!({"parse_special": true, "add_special": true}), json!([2, 195, 169, 1])),
        (json!({"parse_special": false}), json!(spelled)),
        (json!({"parse_special": false, "add_special": true}), json!([&[2], &spelled[..]].concat())),
        (json!({"parse_special": null, "with_pieces": false}), json!([195, 169, 1])),
        (
            json!({"with_pieces": true}),
            json!([{"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}, {"id": 1, "piece": "<|end|>"}]),
        ),
    ] {
        assert_eq!(call(&router, "/tokenize", ask(more.clone())).await["tokens"], expected, "{more}");
    }
    assert_eq!(refused(&router, "/tokenize", ask(json!({"with_pieces": 1}))).await.1, "with_pieces");
    // The echo of a text is that text, though the model saw one token more; that of tokens shows them all.
    let score = |prompt: Value| json!({"prompt": prompt, "echo": true, "logprobs": 0, "max_tokens": 0});
    let echoed = call(&router, "/v1/completions", score(json!("ab<|end|>c"))).await;
    assert_eq!(echoed["choices"][0]["text"], "ab<|end|>c");
    let logprobs = &echoed["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["<s>", "a", "b", "<|end|>", "c"]));
    assert_eq!(logprobs["text_offset"], json!([0, 0, 1, 2, 9]));
    let echoed = call(&router, "/v1/completions", score(json!([97, 1, 98]))).await;
    assert_eq!(echoed["choices"][0]["text"], "a<|end|>b");
    assert_eq!(echoed["choices"][0]["logprobs"]["text_offset"], json!([0, 1, 8]));
}
