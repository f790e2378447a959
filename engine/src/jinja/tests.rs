use super::*;
use crate::chat::{ChatError, ChatTemplate, DateTime, Json, Message};
use crate::testing::templates::deep_templates;

/// Every line of fixtures/snippets.txt as scripts/reference/chat_templates.py rendered it with Python's Jinja.
#[test]
fn equals_python() {
    let fixture: Json = include_str!("fixtures/snippets.json").parse().unwrap();
    let messages: Vec<Message> = fixture
        .get("messages")
        .and_then(Json::as_array)
        .unwrap()
        .iter()
        .map(|message| Message::try_from(message.clone()).unwrap())
        .collect();
    let cases = fixture.get("cases").and_then(Json::as_array).unwrap();
    assert!(cases.len() > 130);
    for case in cases {
        let source = case.get("template").and_then(Json::as_str).unwrap();
        let rendered = ChatTemplate::new(source, "<s>", "</s>").and_then(|template| {
            template.with_date(DateTime::from_unix(1_732_233_600)).render(&messages, true)
        });
        let got = match rendered {
            Ok(prompt) => ("text", Json::from(prompt.text())),
            Err(ChatError::Refused(message)) => ("refused", Json::from(message.as_str())),
            Err(_) => ("error", Json::Bool(true)),
        };
        assert_eq!(case.get(got.0), Some(&got.1), "{source}");
    }
}

/// Renders with the variable `x` from the input: the text with what comes from the input between brackets.
fn marked(source: &str, x: &str) -> String {
    let variables = vec![("x", Value::Str(Text::input(x)))];
    let rendered = Template::new(source).unwrap().render(variables, None, 100_000).unwrap();
    let (text, input) = rendered.into_parts();
    let mut out = String::new();
    let mut at = 0;
    for range in input {
        out += &format!("{}[{}]", &text[at..range.start], &text[range.clone()]);
        at = range.end;
    }
    out + &text[at..]
}

#[test]
fn strings_know_what_came_with_the_input() {
    for (source, x, expected) in [
        ("<{{ x }}>", "a", "<[a]>"),
        ("{{ '<' ~ x ~ '>' }}{{ '<' + x + '>' }}", "a", "<[a]><[a]>"),
        ("{{ x | trim }}{{ x.strip() }}{{ x | upper }}{{ x.title() }}", " a ", "[aa A  A ]"),
        ("{{ x.split('-')[1] }}{{ x | replace('-', '+') }}", "a-b", "[ba]+[b]"),
        ("{{ x.partition('-') | join('*') }}", "a-b", "[a]*[-]*[b]"),
        ("{{ x | tojson }}{{ [x, 1] | tojson }}", "a\"b", "\"[a\\\"b]\"[\"[a\\\"b]\", 1]"),
        ("{{ [x] }}{{ {'k': x} }}", "a'", "[\"[a']\"]{'k': \"[a']\"}"),
        ("{{ '%s!' % x }}{{ '<{}>'.format(x) }}{{ '<%s>' | format(x) }}", "a", "[a]!<[a]><[a]>"),
        ("{{ '{:>3}'.format(x) }}{{ x.center(3) }}{{ x * 2 }}", "a", "  [a] [a] [aa]"),
        ("{{ x[1:] }}{{ x[::-1] }}{{ x | reverse }}{{ x[0] }}{{ x | first }}", "ab", "[bbabaaa]"),
        ("{% for c in x %}{{ c }}-{% endfor %}{{ x | list | join(',') }}", "ab", "[a]-[b]-[a],[b]"),
        ("{% set y %}<{{ x }}>{% endset %}{{ y | upper }}", "a", "<[A]>"),
        ("{% macro m(a) %}({{ a }}){% endmacro %}{{ m(x) }}{% call m(x) %}{% endcall %}", "a", "([a])([a])"),
        ("{% filter upper %}b{{ x }}{% endfilter %}", "a", "B[A]"),
        ("{% set ns = namespace(s='') %}{% set ns.s = ns.s + x + '|' %}{{ ns.s }}", "a", "[a]|"),
        ("{{ x.splitlines() | join(' / ') }}{{ x | indent(2) }}", "a\nb", "[a] / [ba]\n  [b]"),
        ("{{ x | default('d') }}{{ x if x else 'e' }}{{ (x, 'f') | first }}", "a", "[aaa]"),
        ("{{ x.removeprefix('a') }}{{ x | truncate(4, true, '..', 0) }}", "abcdef", "[bcdefab].."),
        ("{{ x | escape }}{{ 'a<' | safe + x }}", "<", "[&lt;]a<[&lt;]"),
        ("{{ 'b' if x == 'a' }}{{ x | length }}{{ x in ['a'] }}", "a", "b1True"),
    ] {
        assert_eq!(marked(source, x), expected, "{source}");
    }
}

/// Half of the smallest stack that templates are promised to fit into, which is a component's: 512 KiB. A build without
/// optimization needs four times as much, half of what threads have.
const STACK: usize = 256 << 10;

/// Compiles, shows, renders and drops every template on a small thread; a stack overflow would end the process.
#[test]
fn nesting_fits_a_small_stack() {
    let run = || {
        let mut deepest = 0;
        for (name, source) in deep_templates() {
            if std::env::var_os("EDGELLM_TEST_VERBOSE").is_some() {
                eprintln!("{name:.200}");
            }
            let Ok(template) = Template::new(&source) else { continue };
            assert!(!format!("{template:?}").is_empty());
            let rendered = template.render(Vec::new(), None, 1_000_000);
            if let (Ok(_), Some((depth, _))) = (&rendered, name.split_once(" times ")) {
                deepest = deepest.max(depth.parse().unwrap());
            }
        }
        deepest
    };
    let stack = std::env::var("EDGELLM_TEST_STACK").map_or(STACK, |kib| kib.parse::<usize>().unwrap() << 10);
    let deepest = std::thread::Builder::new().stack_size(stack).spawn(run).unwrap().join().unwrap();
    // Chains have no depth.
    assert!(deepest > 20_000, "{deepest}");
}

#[test]
fn errors_name_the_line() {
    let error = |source: &str| match Template::new(source).map(|t| t.render(Vec::new(), None, 1000)) {
        Err(Error::Failed(message)) | Ok(Err(Error::Failed(message))) => message,
        other => panic!("{source}: {other:?}"),
    };
    assert_eq!(error("a\nb {{ c.d }}"), "line 2: \"c\" is undefined");
    assert_eq!(
        error("a\n{% if b %}\n"),
        "syntax error in line 2: the template ends too early, where endif is missing"
    );
    assert_eq!(error("{% do x %}"), "syntax error in line 1: unknown tag \"do\"");
}

#[test]
fn fuel_ends_work() {
    let template = Template::new("{% for i in range(1000) %}{{ i }}{% endfor %}").unwrap();
    assert!(template.render(Vec::new(), None, 100_000).is_ok());
    assert!(matches!(template.render(Vec::new(), None, 1500), Err(Error::OutOfFuel)));
}

#[test]
fn names_that_are_read_are_known() {
    let template =
        Template::new("{# tools #}{% set a = b.tools %}{{ 'tools' }}{% if tools is defined %}{% endif %}");
    assert!(template.unwrap().reads("tools"));
    let template = Template::new("{# tools #}{% set tools = b.tools %}{{ 'tools' }}").unwrap();
    assert!(!template.reads("tools") && template.reads("b"));
}

/// What refers to itself, or to many others, is freed all the same.
#[test]
fn chains_of_namespaces_end() {
    for source in [
        "{% set ns = namespace(n=none) %}{% for i in range(20000) %}{% set ns.n = namespace(n=ns.n) %}{% endfor %}",
        "{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.b = [ns] %}{{ ns == ns }}",
        "{% for i in [1, 2] %}{{ loop.changed(loop) }}{% endfor %}",
        "{% macro m() %}{{ m }}{% endmacro %}{% set ns = namespace(m=m) %}{{ ns.m() }}",
    ] {
        Template::new(source).unwrap().render(Vec::new(), None, 1_000_000).unwrap();
    }
}
