use super::*;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Case {
    template: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    date: Option<i64>,
    expected: Option<String>,
    refused: Option<String>,
}

/// Every case that scripts/reference/chat_templates.py wrote with Python's Jinja.
#[test]
fn equals_python() {
    let templates = BTreeMap::from([
        ("smollm2-instruct.jinja", include_str!("fixtures/smollm2-instruct.jinja")),
        ("qwen2.5-instruct.jinja", include_str!("fixtures/qwen2.5-instruct.jinja")),
        ("dialect.jinja", include_str!("fixtures/dialect.jinja")),
    ]);
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/cases.json")).unwrap();
    assert!(cases.len() > 30);
    for case in cases {
        let mut template = ChatTemplate::new(templates[case.template.as_str()], "<s>", "</s>").unwrap();
        if let Some(date) = case.date {
            template = template.with_date(DateTime::from_unix(date));
        }
        let got = template.render(&case.messages, case.add_generation_prompt);
        match (case.expected, case.refused) {
            (Some(expected), None) => assert_eq!(got.as_deref(), Ok(expected.as_str()), "{}", case.template),
            (None, Some(refused)) => assert_eq!(got, Err(ChatError::Refused(refused))),
            _ => panic!("a case expects one thing"),
        }
    }
}

fn hello(source: &str) -> Result<String, ChatError> {
    ChatTemplate::new(source, "", "")?.render(&[Message::new("user", "hello")], true)
}

#[test]
fn hostile_templates_end() {
    for source in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{{ 'x' * 10000000000 }}",
        "{{ range(1000000000) | list | length }}",
        "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
        "{{ ('x' * 100000).join(range(100000) | list) }}",
        "{% set s = 'x' * 1000000 %}{{ s.join([s] * 1000) }}",
        "{% set s = 'x' * 1000000 %}{{ [s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s] | tojson }}",
        "{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{% if s.find('xy') > 0 %}{% endif %}{% endfor %}",
        "{{ '{:1000000000}'.format(1) }}",
    ] {
        let error = hello(source).unwrap_err();
        assert!(!matches!(error, ChatError::Refused(_)), "{source}: {error}");
    }
    let nested = format!("{}1{}", "{{ ".to_owned() + &"(".repeat(100_000), ")".repeat(100_000) + " }}");
    assert!(matches!(hello(&nested), Err(ChatError::Template(_))));
    let blocks = "{% if true %}".repeat(100_000) + &"{% endif %}".repeat(100_000);
    assert!(matches!(hello(&blocks), Err(ChatError::Template(_))));
}

#[test]
fn long_conversations_are_no_attack() {
    let template = ChatTemplate::new(include_str!("fixtures/qwen2.5-instruct.jinja"), "", "").unwrap();
    let messages = vec![Message::new("user", "x".repeat(20_000)); 200];
    assert!(template.render(&messages, true).unwrap().len() > 4_000_000);
    let messages = vec![Message::new("user", ""); 4_000];
    template.render(&messages, true).unwrap();
}

#[test]
fn errors_say_what_is_wrong() {
    for (source, part) in
        [("{% if %}", "syntax"), ("{{ no_such_function() }}", "no_such_function"), ("{{ a.b }}", "undefined")]
    {
        let error = hello(source).unwrap_err();
        assert!(matches!(&error, ChatError::Template(text) if text.contains(part)), "{error}");
    }
    assert_eq!(
        hello("{{ raise_exception('no ' ~ messages[0].role) }}"),
        Err(ChatError::Refused("no user".into()))
    );
}

#[test]
fn dates() {
    for (seconds, text) in [
        (0, "1970-01-01 00:00:00 Thu 001"),
        (-1, "1969-12-31 23:59:59 Wed 365"),
        (951_782_400, "2000-02-29 00:00:00 Tue 060"),
        (1_709_164_800, "2024-02-29 00:00:00 Thu 060"),
        (1_735_689_599, "2024-12-31 23:59:59 Tue 366"),
        (4_107_542_400, "2100-03-01 00:00:00 Mon 060"),
    ] {
        assert_eq!(DateTime::from_unix(seconds).format("%F %T %a %j").unwrap(), text);
    }
    let extreme = [i64::MIN, i64::MAX].map(|seconds| DateTime::from_unix(seconds).to_string());
    assert!(extreme.iter().all(|text| text.len() > 19));
    let now = DateTime::from_unix(1_732_233_600);
    assert_eq!(
        now.format("%d %b %Y, %A %e %B %y %m %w %I%p %H:%M:%S %Z%%").unwrap(),
        "22 Nov 2024, Friday 22 November 24 11 5 12AM 00:00:00 UTC%"
    );
    assert!(now.format("%Q").is_err() && now.format("%").is_err());
}

#[test]
fn tools_and_their_calls_reach_the_template() {
    let qwen = include_str!("fixtures/qwen2.5-instruct.jinja");
    let template = ChatTemplate::new(qwen, "", "").unwrap();
    assert!(template.knows_tools());
    let tool = serde_json::json!({"type": "function", "function": {"name": "weather", "parameters": {}}});
    let call =
        serde_json::json!({"type": "function", "function": {"name": "weather", "arguments": {"at": "Rome"}}});
    let messages = [
        Message::new("user", "Rain?"),
        Message { tool_calls: vec![call], ..Message::new("assistant", "") },
        Message { tool_call_id: Some("1".into()), ..Message::new("tool", "sunny") },
    ];
    let prompt = template.render_with_tools(&messages, &[tool], true).unwrap();
    assert!(prompt.contains("<tools>\n{") && prompt.contains("\"name\": \"weather\""), "{prompt}");
    assert!(
        prompt.contains("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"at\": \"Rome\"}}"),
        "{prompt}"
    );
    assert!(prompt.contains("<tool_response>\nsunny"), "{prompt}");
    assert!(!template.render(&messages[..1], true).unwrap().contains("<tools>"));
    assert!(!ChatTemplate::new("{{ messages }}", "", "").unwrap().knows_tools());
}

#[test]
fn a_model_compiles_its_template_once() {
    use crate::testing::{recipes, seeded_chat_model};
    let open =
        |template| crate::Model::from_bytes(seeded_chat_model(recipes()[0], 1, template).unwrap()).unwrap();
    let model = open(Some("{{ messages[0].content }}"));
    let clone = model.clone();
    let template = model.chat_template().unwrap().unwrap();
    assert_eq!(template.render(&[Message::new("user", "hello")], true).unwrap(), "hello");
    assert!(std::ptr::eq(template, clone.chat_template().unwrap().unwrap()));
    assert!(open(None).chat_template().unwrap().is_none());
    assert!(matches!(open(Some("{% if %}")).chat_template(), Err(ChatError::Template(_))));
}
