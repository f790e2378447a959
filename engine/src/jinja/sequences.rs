//! Filters of sequences.

use super::arguments::{Arguments, integer, required};
use super::error::{Result, fail};
use super::fuel::{ENTRY_BYTES, Fuel};
use super::methods::text_of;
use super::operators::{arithmetic, order};
use super::text::{Text, TextBuilder};
use super::value::{Key, Map, Value};
use super::{access, ast::Operator, checks, filters};
use std::cmp::Ordering;
use std::rc::Rc;

pub(super) const FILTERS: [&str; 20] = [
    "first",
    "last",
    "list",
    "join",
    "reverse",
    "items",
    "map",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "sort",
    "unique",
    "min",
    "max",
    "sum",
    "groupby",
    "batch",
    "slice",
    "dictsort",
];

/// `value|name(...)`.
///
/// # Errors
/// If the filter is not for this value.
pub(super) fn apply(fuel: &Fuel, name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    // They take anything that is false for an empty sequence.
    let items = || if value.is_true() { access::items(fuel, value) } else { Ok(Rc::default()) };
    match name {
        "map" => map(fuel, &items()?, arguments),
        "select" | "reject" | "selectattr" | "rejectattr" => select(fuel, name, &items()?, arguments),
        _ => of_sequence(fuel, name, value, arguments),
    }
}

#[inline(never)]
fn of_sequence(fuel: &Fuel, name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    match name {
        "items" => return items(fuel, value),
        "dictsort" => return dictsort(fuel, value, arguments),
        "join" => {
            let [separator, attribute] = arguments.bind(name, ["d", "attribute"])?;
            let separator = match separator {
                Some(separator) => text_of(fuel, &separator)?,
                None => Text::own(""),
            };
            let Some(attribute) = attribute else { return join(fuel, value, &separator, false) };
            let items = access::items(fuel, value)?;
            let values: Vec<Value> =
                items.iter().map(|item| by_attribute(fuel, item, &attribute)).collect::<Result<_>>()?;
            return join(fuel, &fuel.list(values)?, &separator, false);
        }
        "reverse" => {
            let [] = arguments.bind(name, [])?;
            if let Value::Str(text) = value {
                return reversed(fuel, text);
            }
            return fuel.list(access::items(fuel, value)?.iter().rev().cloned().collect());
        }
        _ => {}
    }
    let items = access::items(fuel, value)?;
    match name {
        "first" | "last" => {
            let [] = arguments.bind(name, [])?;
            let found = if name == "first" { items.first() } else { items.last() };
            Ok(found.cloned().unwrap_or_else(|| Value::undefined("the sequence is empty")))
        }
        "list" => {
            let [] = arguments.bind(name, [])?;
            Ok(Value::List(items))
        }
        "sort" => {
            let [reverse, case_sensitive, attribute] =
                arguments.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let reverse = reverse.is_some_and(|reverse| reverse.is_true());
            fuel.list(sorted(fuel, &items, reverse, case_sensitive.as_ref(), attribute.as_ref())?)
        }
        "unique" => {
            let [case_sensitive, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
            let mut seen = Map::new();
            let mut held = fuel.hold(0)?;
            let mut kept = Vec::new();
            for item in items.iter() {
                let key = sort_key(fuel, item, case_sensitive.as_ref(), attribute.as_ref())?;
                if seen.insert(fuel.key(key)?, Value::None).is_none() {
                    held.grow(ENTRY_BYTES)?;
                    kept.push(item.clone());
                }
            }
            fuel.list(kept)
        }
        "min" | "max" => {
            let [case_sensitive, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
            let mut best: Option<(Value, &Value)> = None;
            for item in items.iter() {
                let key = sort_key(fuel, item, case_sensitive.as_ref(), attribute.as_ref())?;
                let better = match &best {
                    None => true,
                    Some((known, _)) => {
                        let order = order(fuel, &key, known)?;
                        if name == "min" { order.is_lt() } else { order.is_gt() }
                    }
                };
                if better {
                    best = Some((key, item));
                }
            }
            Ok(best.map_or_else(|| Value::undefined("the sequence is empty"), |(_, item)| item.clone()))
        }
        "sum" => {
            let [attribute, start] = arguments.bind(name, ["attribute", "start"])?;
            let mut sum = start.unwrap_or(Value::Int(0));
            for item in items.iter() {
                let item = match &attribute {
                    None | Some(Value::None) => item.clone(),
                    Some(attribute) => by_attribute(fuel, item, attribute)?,
                };
                sum = arithmetic(fuel, Operator::Add, &sum, &item)?;
            }
            Ok(sum)
        }
        "groupby" => {
            let [attribute, default, case_sensitive] =
                arguments.bind(name, ["attribute", "default", "case_sensitive"])?;
            if default.is_some() {
                return fail("groupby with a default is not supported");
            }
            let attribute = required(attribute, name, "attribute")?;
            let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
            for item in sorted(fuel, &items, false, case_sensitive.as_ref(), Some(&attribute))? {
                let key = sort_key(fuel, &item, case_sensitive.as_ref(), Some(&attribute))?;
                let known = match groups.last() {
                    Some((known, ..)) => fuel.equal(known, &key)?,
                    None => false,
                };
                match groups.last_mut().filter(|_| known) {
                    Some((.., members)) => members.push(item),
                    None => groups.push((key, by_attribute(fuel, &item, &attribute)?, vec![item])),
                }
            }
            let pair = |(_, grouper, members)| fuel.tuple(vec![grouper, fuel.list(members)?]);
            fuel.list(groups.into_iter().map(pair).collect::<Result<_>>()?)
        }
        _ => {
            let [count, fill] = arguments.bind(name, ["count", "fill_with"])?;
            let count = usize::try_from(integer(count, 0)?).ok().filter(|&count| count > 0);
            let Some(count) = count else { return fail(format!("{name} needs a positive number")) };
            let fill = fill.filter(|fill| !matches!(fill, Value::None));
            if name == "batch" { batch(fuel, &items, count, fill) } else { slice(fuel, &items, count, fill) }
        }
    }
}

/// Strings with a separator between them; other values are converted unless `strict`.
///
/// # Errors
/// If a value is no string, and `strict`.
pub(super) fn join(fuel: &Fuel, value: &Value, separator: &Text, strict: bool) -> Result<Value> {
    let mut out = TextBuilder::new(fuel);
    for (index, item) in access::items(fuel, value)?.iter().enumerate() {
        if index > 0 {
            out.push(separator);
        }
        match item {
            Value::Str(text) => out.push(text),
            other if strict => return fail(format!("join() needs strings, not {:?}", other.type_name())),
            other => out.push(&text_of(fuel, other)?),
        }
        out.check()?;
    }
    Ok(out.finish()?.into())
}

/// The pairs of a map.
pub(super) fn pairs(fuel: &Fuel, map: &Map) -> Result<Value> {
    fuel.burn(map.len())?;
    let pair = |(key, value): (&Key, &Value)| fuel.tuple(vec![key.0.clone(), value.clone()]);
    fuel.list(map.iter().map(pair).collect::<Result<_>>()?)
}

fn reversed(fuel: &Fuel, text: &Text) -> Result<Value> {
    fuel.burn_characters(text.len())?;
    let mut out = TextBuilder::new(fuel);
    for (at, c) in text.as_str().char_indices().rev() {
        out.push_slice(text, at..at + c.len_utf8());
    }
    Ok(out.finish()?.into())
}

fn items(fuel: &Fuel, value: &Value) -> Result<Value> {
    match value {
        Value::Undefined(_) => fuel.list(Vec::new()),
        Value::Map(map) => pairs(fuel, map),
        other => fail(format!("items needs a map, not {:?}", other.type_name())),
    }
}

fn dictsort(fuel: &Fuel, value: &Value, arguments: Arguments) -> Result<Value> {
    let [case_sensitive, by, reverse] = arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let by_value = by.as_ref().and_then(Value::as_str) == Some("value");
    let Value::List(pairs) = items(fuel, value)? else { return Ok(Value::None) };
    let part = Value::from(usize::from(by_value));
    let reverse = reverse.is_some_and(|reverse| reverse.is_true());
    fuel.list(sorted(fuel, &pairs, reverse, case_sensitive.as_ref(), Some(&part))?)
}

/// The attribute of an item: names and numbers with dots between them.
fn by_attribute(fuel: &Fuel, item: &Value, attribute: &Value) -> Result<Value> {
    let Value::Str(path) = attribute else { return access::item(fuel, item, attribute) };
    let mut value = item.clone();
    for part in path.as_str().split('.') {
        fuel.burn_bytes(part.len())?;
        let key = part.parse().map_or_else(|_| Value::own(part), Value::Int);
        value = access::item(fuel, &value, &key)?;
    }
    Ok(value)
}

/// What an item is ordered by; letters are lowered unless `case_sensitive`.
fn sort_key(
    fuel: &Fuel,
    item: &Value,
    case_sensitive: Option<&Value>,
    attribute: Option<&Value>,
) -> Result<Value> {
    let value = match attribute {
        None | Some(Value::None) => item.clone(),
        Some(attribute) => by_attribute(fuel, item, attribute)?,
    };
    Ok(match value {
        Value::Str(text) if !case_sensitive.is_some_and(Value::is_true) => {
            text.map(fuel, |c, out| out.extend(c.to_lowercase()))?.into()
        }
        other => other,
    })
}

fn sorted(
    fuel: &Fuel,
    items: &[Value],
    reverse: bool,
    case_sensitive: Option<&Value>,
    attribute: Option<&Value>,
) -> Result<Vec<Value>> {
    let mut keyed: Vec<(Value, &Value)> = Vec::new();
    let mut held = fuel.hold(0)?;
    for item in items {
        held.grow(2 * size_of::<(Value, &Value)>())?;
        keyed.push((sort_key(fuel, item, case_sensitive, attribute)?, item));
    }
    let in_order = |(a, _): &(Value, &Value), (b, _): &(Value, &Value)| {
        let order = order(fuel, a, b)?;
        Ok(if reverse { order != Ordering::Less } else { order != Ordering::Greater })
    };
    merge_sort(&mut keyed, &in_order)?;
    Ok(keyed.into_iter().map(|(_, item)| item.clone()).collect())
}

/// Sorts by an order that may fail or contradict itself, as that of numbers does with NaN; the library's sort would panic.
fn merge_sort<T: Clone>(items: &mut [T], in_order: &impl Fn(&T, &T) -> Result<bool>) -> Result<()> {
    let mut width = 1;
    while width < items.len() {
        for run in items.chunks_mut(2 * width) {
            let (first, second) = run.split_at(width.min(run.len()));
            let mut merged = Vec::with_capacity(run.len());
            let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
            while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
                merged.extend(if in_order(a, b)? { first.next() } else { second.next() }.cloned());
            }
            merged.extend(first.chain(second).cloned());
            run.clone_from_slice(&merged);
        }
        width *= 2;
    }
    Ok(())
}

/// `map(attribute='...', default=...)` or `map('filter', ...)`.
fn map(fuel: &Fuel, items: &[Value], mut arguments: Arguments) -> Result<Value> {
    if arguments.positional.is_empty() {
        let [attribute, default] = arguments.bind("map", ["attribute", "default"])?;
        let attribute = required(attribute, "map", "attribute")?;
        let value = |item: &Value| {
            let value = by_attribute(fuel, item, &attribute)?;
            Ok(match (&value, &default) {
                (Value::Undefined(_), Some(default)) => default.clone(),
                _ => value,
            })
        };
        return fuel.list(items.iter().map(value).collect::<Result<_>>()?);
    }
    let Value::Str(name) = arguments.positional.remove(0) else {
        return fail("map needs the name of a filter");
    };
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        fuel.burn(1 + arguments.positional.len() + arguments.named.len())?;
        let arguments =
            Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
        // A filter may be `map`.
        values.push(fuel.deeper(|| filters::apply(fuel, name.as_str(), item.clone(), arguments))?);
    }
    fuel.list(values)
}

/// `select('test', ...)`, `selectattr('attribute', 'test', ...)` and their opposites.
#[inline(never)]
fn select(fuel: &Fuel, name: &str, items: &[Value], arguments: Arguments) -> Result<Value> {
    let mut positional = arguments.positional;
    let attribute = match name {
        "selectattr" | "rejectattr" if positional.is_empty() => {
            return fail(format!("{name} needs an attribute"));
        }
        "selectattr" | "rejectattr" => Some(positional.remove(0)),
        _ => None,
    };
    let test = if positional.is_empty() { None } else { Some(positional.remove(0)) };
    let mut kept = Vec::new();
    for item in items {
        fuel.burn(1 + positional.len())?;
        let value = match &attribute {
            Some(attribute) => by_attribute(fuel, item, attribute)?,
            None => item.clone(),
        };
        let passed = match &test {
            None => value.is_true(),
            Some(Value::Str(test)) => {
                let arguments = Arguments { positional: positional.clone(), named: Vec::new() };
                checks::test(fuel, test.as_str(), &value, arguments)?
            }
            Some(_) => return fail(format!("{name} needs the name of a test")),
        };
        if passed == name.starts_with("select") {
            kept.push(item.clone());
        }
    }
    fuel.list(kept)
}

/// Lists of `count` items.
fn batch(fuel: &Fuel, items: &[Value], count: usize, fill: Option<Value>) -> Result<Value> {
    let filled = |part: &[Value]| {
        let missing = if fill.is_some() { count - part.len() } else { 0 };
        fuel.burn(missing)?;
        let _room = fuel.hold(missing.saturating_mul(size_of::<Value>()))?;
        let missing = fill.iter().cycle().take(missing).cloned();
        fuel.list(part.iter().cloned().chain(missing).collect())
    };
    fuel.list(items.chunks(count).map(filled).collect::<Result<_>>()?)
}

/// `count` lists of nearly equal length.
fn slice(fuel: &Fuel, items: &[Value], count: usize, fill: Option<Value>) -> Result<Value> {
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut start = 0;
    let part = |index: usize| {
        let end = start + each + usize::from(index < longer);
        let filled = if index < longer { None } else { fill.clone() };
        let part = items[start..end].iter().cloned().chain(filled).collect();
        start = end;
        fuel.list(part)
    };
    fuel.list((0..count).map(part).collect::<Result<_>>()?)
}
