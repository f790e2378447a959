//! Chat templates that nest: each as deep as it can be, and deeper.

/// A construct around itself: `open`, something within it, `close`.
const NESTED: [(&str, &str, &str); 36] = [
    ("{{ ", "(", ")"),
    ("{{ ", "[", "]"),
    ("{{ ", "(1, ", ")"),
    ("{{ ", "{1: ", "}"),
    ("{{ ", "[0][", "]"),
    ("{{ ", "[0][0:", "]"),
    ("{{ ", "range(", ")"),
    ("{{ ", "dict(a=", ")"),
    ("{{ ", "[].count(", ")"),
    ("{{ ", "dict(**{'a': ", "})"),
    ("{{ ", "range(*[1, ", "])"),
    ("{{ ", "a|default(", ")"),
    ("{{ ", "[1]|map('default', ", ")|list"),
    ("{{ ", "1 is eq(", ")"),
    ("{{ ", "1 is eq [", "]"),
    ("{{ ", "not ", ""),
    ("{{ ", "- ", ""),
    ("{{ ", "+ ", ""),
    ("{{ ", "2 if 0 else ", ""),
    ("{{ ", "2 if (", ") else 3"),
    ("{{ ", "1 + 2 * 3 ~ (", ")"),
    ("{{ ", "1 and 0 or 1 < (", ")"),
    ("{{ ", "1 - [", "]|sum"),
    ("{{ ", "'{}'.format(", ")"),
    ("{{ ", "('%s' % [", "])|trim|upper"),
    ("", "{% if true %}", "{% endif %}"),
    ("", "{% if 0 %}{% elif 1 %}", "{% endif %}"),
    ("", "{% for a in [1] if true %}", "{% endfor %}"),
    ("", "{% for a in [] %}{% else %}", "{% endfor %}"),
    ("", "{% with a = 1 %}", "{% endwith %}"),
    ("", "{% set a %}", "{% endset %}{{ a }}"),
    ("", "{% filter upper %}", "{% endfilter %}"),
    ("", "{% generation %}{% autoescape false %}", "{% endautoescape %}{% endgeneration %}"),
    ("", "{% macro m() %}", "{% endmacro %}{{ m() }}"),
    ("{% macro m() %}{{ caller() }}{% endmacro %}", "{% call m() %}", "{% endcall %}"),
    ("", "{% block b %}{% set ((a), b) = [1, 2] %}", "{% endblock %}"),
];

/// What may be repeated without end: a part and what is before and after all of them.
const CHAINS: [(&str, &str, &str); 21] = [
    ("{{ 1", " + 1", " }}"),
    ("{{ 1", " * 1", " }}"),
    ("{{ 1", " ** 1", " }}"),
    ("{{ 1", " ~ 1", " }}"),
    ("{{ 1", " and 1", " }}"),
    ("{{ 0", " or 0", " }}"),
    ("{{ 1", " == 1", " }}"),
    ("{{ 1", " if 1", " }}"),
    ("{{ 1", " if 0 else 1 if 1", " }}"),
    ("{{ 'a'", " 'a'", " }}"),
    ("{{ 'a'", "|upper", " }}"),
    ("{{ 'a'", ".upper()", " }}"),
    ("{{ 'a'", "[0]", " }}"),
    ("{{ 'a'", "[:]", " }}"),
    ("{{ [1]", "|batch(1)", " }}"),
    ("{{ 1|a", ".a", " }}"),
    ("{{ a", ".a", " }}"),
    ("{% if 0 %}", "{% elif 0 %}", "{% endif %}"),
    ("", "{% set a = [a] %}", ""),
    ("{% set a", ", a", " = 1 %}"),
    ("{{ [1", ", 1", "] }}"),
];

/// What a template nests while it is rendered.
const AT_RUN_TIME: [&str; 22] = [
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{% for i in [1] %}{{ ('' ~ [m(n - 1)]) | trim }}{% endfor %}{% endif %}{% endmacro %}\
     {{ m(10) }}{{ m(60) }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
    "{% macro m() %}{% set x %}{% filter upper %}{{ m() }}{% endfilter %}{% endset %}{% endmacro %}{{ m() }}",
    "{% macro m(a=m()) %}{% endmacro %}{{ m() }}",
    "{% set ns = namespace() %}{% macro m() %}{{ ns.m() }}{% endmacro %}{% set ns.m = m %}{{ m() }}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for a in [[[[[[]]]]]] recursive %}[{{ loop(a) }}]{% endfor %}",
    "{{ 'a'|map(*(['map'] * 9000)) }}",
    "{{ 'a'|map(*(['map'] * 60 + ['upper'])) }}",
    "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.a = [{'b': (ns,)}] %}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a == ns.a }}{{ ns.a in [[ns.a]] }}{{ [ns.a]|sort }}",
    "{% set ns = namespace(a=[]) %}{% for i in range(140) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a=[]) %}{% for i in range(140) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a|tojson }}",
    "{% set ns = namespace(a=1, b=1) %}{% for i in range(138) %}{% set ns.a = [ns.a] %}{% set ns.b = [ns.b] %}{% endfor %}\
     {{ ns.a == ns.b }}{{ ns.a < ns.b }}{{ [ns.a, ns.b]|sort == [ns.b, ns.a]|unique|list }}",
    "{% set ns = namespace(a=(), b=()) %}{% for i in range(138) %}{% set ns.a = (ns.a,) %}{% set ns.b = (ns.b,) %}\
     {% endfor %}{{ {ns.a: 1}[ns.b] }}{{ {ns.a: 1} == {ns.b: 1} }}{{ [ns.a, ns.b]|unique|list|length }}",
    "{% set ns = namespace(a={}) %}{% for i in range(90000) %}{% set ns.a = {'a': ns.a} %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a=none) %}{% for i in range(9000) %}{% for j in [1] %}{% set ns.b = loop %}{% endfor %}\
     {% set x = ns.b.changed(ns.a) %}{% set ns.a = ns.b %}{% endfor %}",
    "{% set ns = namespace(a=none) %}{% for i in range(9000) %}{% set ns.a = namespace(a=ns.a) %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a='') %}{% for i in range(9000) %}{% set ns.a = [ns.a].count %}{% endfor %}{{ ns.a }}",
];

/// The templates, each with a name. Some are refused; whoever compiles or renders one lives.
pub fn deep_templates() -> Vec<(String, String)> {
    let mut templates = Vec::new();
    for (before, open, close) in NESTED {
        let (inner, after) = match before {
            "{{ " => ("1", " }}"),
            _ => ("", ""),
        };
        // A construct takes from one to six levels of the 64 that a template may have.
        for depth in [10, 12, 16, 21, 31, 32, 63, 64, 7000] {
            let text = [before, &open.repeat(depth), inner, &close.repeat(depth), after].concat();
            templates.push((format!("{depth} times {open} {close}"), text));
        }
    }
    for (before, part, after) in CHAINS {
        for count in [1000, 250_000 / part.len()] {
            templates.push((format!("{count} times {part}"), [before, &part.repeat(count), after].concat()));
        }
    }
    for source in AT_RUN_TIME {
        templates.push((source.to_string(), source.to_string()));
        let macros = "{% macro deep(n) %}{% if n %}{{ [[deep(n - 1)]] }}{% else %}SOURCE{% endif %}{% endmacro %}{{ deep(10) }}";
        templates.push((format!("{source} in a macro"), macros.replace("SOURCE", source)));
    }
    templates
}
