//! Chat templates that compute or store without end: each ends soon, with little memory.
//!
//! Memory is that of the thread, as the allocator counts it. Time is compared with a template that does nothing but
//! count, because machines differ.

use edgellm::chat::{ChatError, ChatTemplate, DateTime, Message};
use edgellm::testing::within;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(grown: usize, freed: usize) {
    // A thread that ends has no counters.
    let _ = LIVE.try_with(|live| {
        live.set((live.get() + grown).saturating_sub(freed));
        PEAK.with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is forwarded to the system's allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller upholds the contract of `alloc`, which is the same for `System`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: `pointer` came from `System.alloc` above with the same `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most memory of a template beside its messages, in bytes.
const MOST_MEMORY: usize = 100 << 20;
/// Most time, in those of a template that counts. Work on many bytes at once takes longer than its steps.
const MOST_TIMES: u32 = 10;
/// How often a time is taken again that is too long.
const PAIRS: usize = 20;

/// Doubles in every step.
const LIST: &str = "{% set ns = namespace(a=[0], b=[0]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}\
                    {% set ns.b = [ns.b, ns.b] %}{% endfor %}{% set a, b = ns.a, ns.b %}";
const TUPLE: &str = "{% set ns = namespace(a=(0,), b=(0,)) %}{% for i in range(60) %}{% set ns.a = (ns.a, ns.a) %}\
                     {% set ns.b = (ns.b, ns.b) %}{% endfor %}{% set a, b = ns.a, ns.b %}";
const MAP: &str = "{% set ns = namespace(a={}, b={}) %}{% for i in range(60) %}{% set ns.a = {1: ns.a, 2: ns.a} %}\
                   {% set ns.b = {1: ns.b, 2: ns.b} %}{% endfor %}{% set a, b = ns.a, ns.b %}";
/// `s` is a long text, `m` one that comes from messages in many parts, `l` a long list.
const LONG: &str = "{% set s = 'ab ' * 10000 %}{% set c = messages[0].content %}{% set m = ('a' ~ c[:1]) * 2000 %}\
                    {% set l = range(2000)|list %}";

/// What comes after each of the preludes.
const ATTACKS: [(&str, &[&str]); 7] = [
    (
        LIST,
        &["{{ a == b }}", "{{ a < b }}", "{{ [a, b]|sort }}", "{{ a in [b] }}", "{{ a }}", "{{ a|tojson }}"],
    ),
    (
        LIST,
        &[
            "{{ [a]|unique|list }}",
            "{{ a|string|length }}",
            "{{ a|join }}",
            "{{ '%s' % [a] }}",
            "{{ b.index(a) }}",
        ],
    ),
    (
        LIST,
        &[
            "{{ [{'a': a}, {'a': b}]|groupby('a') }}",
            "{{ a is eq b }}",
            "{{ [a]|map('string')|list }}",
            "{{ a|sum(start=[]) }}",
        ],
    ),
    (
        TUPLE,
        &[
            "{{ {a: 1} }}",
            "{{ a in {b: 1} }}",
            "{{ [a, b]|unique|list }}",
            "{{ {1: 2}.get(a) }}",
            "{{ dict([(a, 1)]) }}",
        ],
    ),
    (
        TUPLE,
        &[
            "{{ a == b }}",
            "{{ a|pprint }}",
            "{{ [a, b]|min }}",
            "{{ a|tojson(indent=100) }}",
            "{{ 'a'.startswith(a) }}",
        ],
    ),
    (
        MAP,
        &[
            "{{ a == b }}",
            "{{ a }}",
            "{{ a|tojson(sort_keys=true) }}",
            "{{ a|dictsort }}",
            "{{ [a]|sort }}",
            "{{ a|urlencode }}",
        ],
    ),
    ("", STEPS),
];

/// Work that ends by itself, but should not.
const STEPS: &[&str] = &[
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s|replace('x', 'xxxx') %}{% endfor %}",
    "{% set ns = namespace(l=[1]) %}{% for a in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "{% set ns = namespace(l=[]) %}{% for a in range(99999) %}{% set ns.l = ns.l + [[a] * 100] %}{% endfor %}",
    "{% set ns = namespace(m={}) %}{% for a in range(99999) %}{% set ns.m = dict(ns.m, **{'k' ~ a: a}) %}{% endfor %}",
    "{% set l = range(99999)|map('string')|list %}{{ l|join|length }}{{ l|unique|list|length }}{{ l|sort|length }}",
    "{{ range(2 ** 100, 2 ** 100 + 99999)|unique|list|length }}",
    "{{ (['nan'|float] * 90000)|unique|list|length }}",
    "{{ [cycler(1)]|batch(99999, cycler(1))|first|unique|list|length }}",
    "{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = ns.l + [namespace()] %}{% endfor %}{{ ns.l|unique|list }}",
    "{{ (['nan'|float, 3, 'nan'|float, 2, 1] * 9999)|sort|length }}",
    "{{ (['b', 3, 'a', 2, none] * 9999)|sort|length }}",
    "{{ range(99999)|sort(reverse=true)|sort|sort(reverse=true)|length }}",
    "{{ range(9)|batch(9999999, 1)|list }}",
    "{{ range(9)|slice(9999999)|list }}",
    "{{ ('a' * 9999)|list|map(attribute='0.' * 9999 ~ '0')|list }}",
    "{{ ('ab' * 9999)|list|map('replace', *(['x'] * 9999))|list }}",
    "{{ range(99999)|map('upper', *range(99999))|list }}",
    "{{ range(99999)|select('in', range(99999))|list }}",
    "{{ range(99999)|selectattr('a.b', 'eq', 1)|list }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(20) }}",
    "{% macro m() %}{% set ns.f = f %}{% endmacro %}{% for i in range(99999) %}{% macro f() %}{{ i }}{% endmacro %}{% endfor %}",
    "{% set ns = namespace() %}{% macro f() %}{% macro g() %}{{ ns.f() }}{{ x }}{% endmacro %}{% set ns.f = g %}{% endmacro %}\
     {% set ns.f = f %}{% for i in range(99999) %}{% set y = ns.f() %}{{ x }}{% endfor %}",
    "{% set f = '{:1000}' %}{% for i in range(99999) %}{% set x = f.format(1) %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = '%.1000f' % 1e308 %}{% set x = '{:.1000e}'.format(1e-300) %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = 1.7e308|round(100) %}{% endfor %}",
    "{{ '{:1000000000}'.format(1) }}{{ '%1000000000d' % 1 }}",
    "{{ ('{' * 99999 ~ '}' * 99999).format(1) }}",
    "{{ ('{0[0]}' * 9999).format(['x' * 9999]) }}",
    "{{ ('{0:{1}}' * 9).format(1, '9' * 999999) }}",
    "{{ 99 ** 99 ** 99 }}",
    "{% for i in range(99999) %}{% set x = 3 ** 80 // 7 % 11 ** 30 %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = strftime_now('%c' * 999) %}{% endfor %}",
    "{{ strftime_now('%c' * 9999999) }}",
    "{% for i in range(99999) %}{% set x = range(99999) %}{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}{% endset %}",
    "{% for i in range(9999) %}{{ raise_exception('x' * 9999999) }}{% endfor %}",
    "{{ raise_exception('x' * 4000000) }}",
    "{{ '\t' * 8000000 }}{{ ('\t' * 8000000).expandtabs(1000) }}",
    "{{ ('\n' * 8000000)|indent(1000, true, true) }}",
    "{{ ('x' * 4000000)|list|length }}",
    "{{ ('x' * 4000000)|map('upper')|list|length }}",
    "{{ ('x ' * 2000000).split()|length }}{{ ('x ' * 2000000).split(' ')|length }}{{ ('x\n' * 2000000).splitlines()|length }}",
    "{{ ('x ' * 200000 + ' ' * 4000000).split()|length }}{{ ('x ' * 200000 + ' ' * 4000000).rsplit()|length }}",
];

/// Values that keep others, or parts of them.
const KEPT: &[&str] = &[
    "{}[(i ~ 'x' * 9000) * 90]",
    "[1][i + 9]",
    "a[0].b",
    "joiner()",
    "cycler(1)",
    "namespace()",
    "loop",
    "loop.cycle",
    "'a'.upper",
    "dict(**{i ~ 'x' * 90: 1})",
    "m(**{i ~ 'x' * 90: 1})",
    "[i, i]",
    "(i,)",
    "{i: i}",
    "'a' ~ i",
    "('a' ~ i)|list",
    "[]",
    "{}",
    "range(9)",
    "x.y",
    "namespace(a=i)",
    "1.5 * i",
    "c ~ i",
    "(c ~ i)|list",
    "[[[[[i]]]]]",
];

/// Repeated on the long texts and lists; each takes long for one step.
const REPEATED: &str = "s; m; [m, m, m, m, m, m]; l[1:]; l[::-1]; s[5:]; s[::-1]; s[-1]; m[7:-7]; l + l; s == s ~ ''; \
    (s ~ 'x').find('xx'); s.rfind('abc'); s.count('a'); 'bab' in s; s in {}; {}[s]; {}.get(s); l[s]; \
    none is eq s; s|trim; s|upper; s|title; m|upper; s.strip('ab'); s.strip('cdefgh ' * 1000); s|length; \
    s|first; m|last; s.split('a'); s.split(); s.rsplit(' ', 1); s.partition('x'); s.splitlines(); \
    m.split('a'); s|replace('a', 'b'); s|replace('a', ''); s|tojson; m|tojson; [s]|string; s|urlencode; s|e; \
    s|striptags; s|indent; s|truncate; s|wordcount; s|reverse; s|int; s|float; s.isalpha(); s.istitle(); \
    s.islower(); s.center(9999); s.zfill(9); s.title(); s.swapcase(); s.capitalize(); s.removesuffix('x'); \
    s.startswith('ab'); s.endswith(('x', 'y')); s.encode; s.upper; l|list; l|sum; l|max; l|sort; l|unique; \
    l|reverse; l|join; l|string; l|tojson; l|batch(2); l|slice(3); l|first; l|length; l.index(1999); \
    l.count(1); 1999 in l; -1 in l; l == l + []; l < l[:]; l|map('string')|list; l|select|list; \
    l|reject('odd')|list; {'a': l}.items(); dict(a=l); '%s' % [l]; '%s' % s; '{}'.format(s); \
    (l ~ '')|length; [l, l]|max; s ~ s; s + s; s * 2; l * 2; s if s else m; s and m; not s; messages; \
    messages|tojson; messages == messages[:]; c; c|trim; c|upper; c.split('a'); c[1:]; c|list";

/// When a template is taken for endless.
static PATIENCE: LazyLock<Duration> = LazyLock::new(|| within(Duration::from_secs(20)));

struct Outcome {
    result: Result<usize, ChatError>,
    time: Duration,
    memory: usize,
}

/// Compiles and renders in a thread of its own; time and memory are those of the rendering. A thread that goes on for long is
/// given up.
fn outcome(source: &str, messages: &[Message]) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    let (template, messages) = (source.to_string(), messages.to_vec());
    let run = move || {
        let template = ChatTemplate::new(template, "<s>", "</s>").unwrap().with_date(DateTime::from_unix(0));
        let (start, before) = (Instant::now(), LIVE.get());
        PEAK.set(before);
        let result = template.render(&messages, true).map(|prompt| prompt.text().len());
        let outcome = Outcome { result, time: start.elapsed(), memory: PEAK.get().saturating_sub(before) };
        sender.send(outcome).expect("somebody waits");
    };
    std::thread::spawn(run);
    let outcome = receiver.recv_timeout(*PATIENCE);
    outcome.unwrap_or_else(|error| panic!("{error:?}: {source}"))
}

fn message(length: usize) -> [Message; 1] {
    [Message::new("user", "b".repeat(length).as_str())]
}

/// The time of a template that counts until its fuel is used up: the least of three.
fn reference(messages: &[Message]) -> Duration {
    let counting =
        "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = a + b %}{% endfor %}{% endfor %}";
    let times = (0..3).map(|_| {
        let outcome = outcome(counting, messages);
        assert_eq!(outcome.result, Err(ChatError::TooLong));
        outcome.time
    });
    times.min().unwrap_or_default()
}

/// Runs attacks and compares them with the template that counts.
fn attack(sources: impl Iterator<Item = String>, messages: &[Message]) {
    let reference = reference(messages);
    let (mut slowest, mut largest) = ((Duration::ZERO, String::new()), (0, String::new()));
    for source in sources {
        let mut found = outcome(&source, messages);
        let mut reference = reference;
        // Something else may have run meanwhile, or still run: both are measured again, one right after the other.
        for _ in 0..PAIRS {
            if found.time <= reference * MOST_TIMES {
                break;
            }
            reference = self::reference(messages);
            found.time = outcome(&source, messages).time;
        }
        if std::env::var_os("EDGELLM_TEST_VERBOSE").is_some() {
            let times = found.time.as_secs_f64() / reference.as_secs_f64();
            let result = found.result.as_ref().map_err(|error| format!("{error:.60}"));
            println!("{times:6.2} {:>9} {result:?} {source:.300}", found.memory >> 10);
        }
        assert!(found.time <= reference * MOST_TIMES, "{:?}, not {reference:?}: {source}", found.time);
        assert!(found.memory <= MOST_MEMORY, "{} bytes: {source}", found.memory);
        slowest = slowest.max((found.time, source.clone()));
        largest = largest.max((found.memory, source));
    }
    println!("counting takes {reference:?}; the slowest {:?}: {}", slowest.0, slowest.1);
    println!("the largest takes {} KiB: {}", largest.0 >> 10, largest.1);
    assert!(largest.0 > 1 << 20, "the allocator does not count");
}

fn attacks() -> impl Iterator<Item = String> {
    ATTACKS
        .into_iter()
        .flat_map(|(prelude, attacks)| attacks.iter().map(move |attack| format!("{prelude}{attack}")))
}

/// Attacks in a loop, and within a list that grows.
fn repeated() -> impl Iterator<Item = String> {
    REPEATED.split("; ").flat_map(|attack| {
        [
            format!("{LONG}{{% for i in range(99999) %}}{{% set x = {attack} %}}{{% endfor %}}"),
            format!(
                "{LONG}{{% set ns = namespace(l=[]) %}}{{% for i in range(99999) %}}{{% set ns.l = ns.l + [{attack}] %}}\
                 {{% endfor %}}"
            ),
        ]
    })
}

/// Lists of a thousand, of which many are kept.
fn kept() -> impl Iterator<Item = String> {
    KEPT.iter().map(|value| {
        let many = format!("{value}, ").repeat(1000);
        format!(
            "{{% set ns = namespace(l=none) %}}{{% set a, c, x = [{{}}], messages[0].content[:1], {{}} %}}{{% macro m() %}}\
             {{% set ns.k = [kwargs, ns.k] %}}{{% endmacro %}}{{% for i in range(99999) %}}{{% set ns.l = [ns.l, [{many}]] if i % 100 \
             else namespace(l=ns.l) %}}{{% endfor %}}"
        )
    })
}

#[test]
fn what_is_kept_is_counted() {
    attack(kept(), &message(7_600_000));
}

#[test]
fn work_ends() {
    attack(attacks(), &message(1));
}

#[test]
fn work_on_long_values_ends() {
    attack(repeated(), &message(1));
}

/// With the most fuel that there is, on a message that may be large itself.
#[test]
fn the_most_fuel_ends() {
    let sources = [STEPS[0], STEPS[4], STEPS[5]].map(String::from);
    let sources = sources.into_iter().chain(repeated().step_by(9));
    attack(sources, &message(7_600_000));
}

/// A long conversation is rendered: each of 5,000 messages is tested, cut, joined and copied.
#[test]
fn long_conversations_are_rendered() {
    let source = "{%- set ns = namespace(last=0, text='') -%}{%- for m in messages[::-1] -%}\
         {%- if m.role == 'user' and not m.content.startswith('<tool>') -%}{%- set ns.last = loop.index0 -%}{%- endif -%}\
         {%- endfor -%}{%- for m in messages -%}{%- set content = m.content | trim -%}\
         {%- if m.role == 'assistant' and '</think>' in content -%}\
         {%- set content = content.split('</think>')[-1].lstrip('\\n') -%}{%- endif -%}\
         {{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>' + '\\n' -}}{%- endfor -%}";
    let text = "think</think>".to_string() + &"The ferry leaves at seven. ".repeat(5);
    let messages: Vec<Message> = (0..5000)
        .map(|index| Message::new(if index % 2 == 0 { "user" } else { "assistant" }, text.as_str()))
        .collect();
    let found = outcome(source, &messages);
    assert!(found.result.as_ref().is_ok_and(|length| *length > 700_000), "{:?}", found.result);
    assert!(found.memory < MOST_MEMORY, "{}", found.memory);
}

/// A template of the greatest length takes little memory, whatever it is made of.
#[test]
fn compiled_templates_are_small() {
    let mut most = 0;
    for (part, before, after) in [
        ("{{a}}", "", ""),
        ("{%if a%}{%endif%}", "", ""),
        ("{%set a=1%}", "", ""),
        ("a,", "{{", "a}}"),
        ("[],", "{{", "1}}"),
        ("{},", "{{", "1}}"),
        ("a:1,", "{{ {", "} }}"),
        ("+1", "{{1", "}}"),
        (".a", "{{a", "}}"),
        ("[:]", "{{a", "}}"),
        ("()", "{{a", "}}"),
        ("|a", "{{a", "}}"),
        (" if 1", "{{1", "}}"),
        (" 'a'", "{{'a'", "}}"),
        ("{%elif a%}", "{%if a%}", "{%endif%}"),
        ("{% \n", "", ""),
        ("{# #}", "", ""),
        ("{{'", "", ""),
    ] {
        let source = [before, &part.repeat(262_000 / part.len()), after].concat();
        let before = LIVE.get();
        PEAK.set(before);
        let template = ChatTemplate::new(source.as_str(), "", "");
        most = most.max(PEAK.get() - before);
        assert!(PEAK.get() - before < MOST_MEMORY, "{part}: {}", PEAK.get() - before);
        drop(template);
        assert!(LIVE.get() < before + (1 << 20), "{part}");
    }
    println!("{} KiB", most >> 10);
    assert!(most > 1 << 20);
}

#[test]
fn limits_have_names() {
    let of = |source: &str| outcome(source, &message(1)).result.unwrap_err().to_string();
    assert!(of(STEPS[0]).contains("takes too long"));
    let large = of("{{ ('x' * 1000) * 9000 }}");
    assert!(large.contains("64 MiB") && large.contains("8 MiB"), "{large}");
    let long = ChatTemplate::new("x".repeat(262_145), "", "").unwrap_err().to_string();
    assert!(long.contains("262145") && long.contains("262144"), "{long}");
    assert!(of("{{ raise_exception('x' * 4000000) }}").len() < 1200);
    assert!(of("{{ ('x' * 4000000)() }}").len() < 1200);
    assert!(of("{% set x = 'x' * 4000000 %}{{ {}[x]() }}").len() < 1200);
}
