//! Evaluates expressions.

use super::super::arguments::Arguments;
use super::super::ast::{self, Comparison, Expr, Filter, Postfix};
use super::super::error::{Result, fail};
use super::super::methods::text_of;
use super::super::repr::MAX_NESTING;
use super::super::text::TextBuilder;
use super::super::value::{Key, Map, Value};
use super::super::{access, checks, filters, methods, operators};
use super::Interpreter;

impl Interpreter<'_> {
    /// The value of an expression.
    pub(super) fn evaluate(&mut self, expr: &Expr, scope: usize) -> Result<Value> {
        match expr {
            Expr::None => Ok(Value::None),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Float(value) => Ok(Value::float(*value)),
            Expr::Str(text) => Ok(Value::own(text.clone())),
            Expr::Name(name) => Ok(self.named(name, scope)),
            _ => {
                let value = self.deeper(|interpreter| interpreter.compound(expr, scope))?;
                if value.depth() > MAX_NESTING {
                    return fail("lists or maps are nested too deeply");
                }
                Ok(value)
            }
        }
    }

    fn compound(&mut self, expr: &Expr, scope: usize) -> Result<Value> {
        match expr {
            Expr::List(items) => Ok(Value::list(self.all(items, scope)?)),
            Expr::Tuple(items) => Ok(Value::tuple(self.all(items, scope)?)),
            Expr::Map(fields) => {
                let mut map = Map::new();
                for (key, value) in fields {
                    let (key, value) = (self.evaluate(key, scope)?, self.evaluate(value, scope)?);
                    if !key.is_hashable() {
                        return fail(format!("{:?} cannot be a key", key.type_name()));
                    }
                    map.insert(Key(key), value);
                }
                Ok(Value::map(map))
            }
            Expr::If(parts) => {
                let (value, condition, otherwise) = &**parts;
                if self.evaluate(condition, scope)?.is_true() {
                    return self.evaluate(value, scope);
                }
                match otherwise {
                    Some(otherwise) => self.evaluate(otherwise, scope),
                    None => Ok(Value::Undefined("the condition was false, and there is no else".into())),
                }
            }
            Expr::Or(items) => self.first(items, true, scope),
            Expr::And(items) => self.first(items, false, scope),
            Expr::Not(value) => Ok((!self.evaluate(value, scope)?.is_true()).into()),
            Expr::Negative(value) => {
                let zero = Value::Int(0);
                let value = self.evaluate(value, scope)?;
                match &value {
                    Value::Float(float) => Ok(Value::float(-float.value)),
                    _ => operators::arithmetic(self.fuel, ast::Operator::Subtract, &zero, &value),
                }
            }
            Expr::Positive(value) => {
                let value = self.evaluate(value, scope)?;
                operators::arithmetic(self.fuel, ast::Operator::Add, &Value::Int(0), &value)
            }
            Expr::Compare(first, rest) => {
                let mut left = self.evaluate(first, scope)?;
                for (comparison, right) in rest {
                    let right = self.evaluate(right, scope)?;
                    self.fuel
                        .burn_bytes(left.as_str().map_or(0, str::len) + right.as_str().map_or(0, str::len))?;
                    if !compare(*comparison, &left, &right)? {
                        return Ok(false.into());
                    }
                    left = right;
                }
                Ok(true.into())
            }
            Expr::Arithmetic(first, rest) => {
                let mut value = self.evaluate(first, scope)?;
                for (operator, right) in rest {
                    let right = self.evaluate(right, scope)?;
                    value = operators::arithmetic(self.fuel, *operator, &value, &right)?;
                }
                Ok(value)
            }
            Expr::Concat(items) => {
                let mut out = TextBuilder::new(self.fuel);
                for item in items {
                    let value = self.evaluate(item, scope)?;
                    out.push(&text_of(self.fuel, &value)?);
                }
                Ok(out.finish()?.into())
            }
            Expr::Postfix(base, rest) => self.postfix(base, rest, scope),
            // Without parts: `evaluate`.
            _ => Ok(Value::None),
        }
    }

    fn all(&mut self, items: &[Expr], scope: usize) -> Result<Vec<Value>> {
        items.iter().map(|item| self.evaluate(item, scope)).collect()
    }

    /// The first value that is true, or is not; else the last.
    fn first(&mut self, items: &[Expr], wanted: bool, scope: usize) -> Result<Value> {
        let mut value = Value::None;
        for item in items {
            value = self.evaluate(item, scope)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    fn postfix(&mut self, base: &Expr, rest: &[Postfix], scope: usize) -> Result<Value> {
        let mut value = self.evaluate(base, scope)?;
        let mut rest = rest.iter();
        while let Some(next) = rest.next() {
            self.fuel.burn(1)?;
            value = match next {
                Postfix::Attribute(name) => match rest.as_slice() {
                    // A method is called without a value for it.
                    [Postfix::Call(arguments), ..] if methods::exists(&value, name) => {
                        rest.next();
                        let arguments = self.arguments(arguments, scope)?;
                        methods::call(self.fuel, &value, name, arguments)?
                    }
                    _ => access::attribute(&value, name)?,
                },
                Postfix::Item(key) => {
                    let key = self.evaluate(key, scope)?;
                    access::item(self.fuel, &value, &key)?
                }
                Postfix::Slice(parts) => {
                    let mut bounds = [Value::None, Value::None, Value::None];
                    for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                        if let Some(part) = part {
                            *bound = self.evaluate(part, scope)?;
                        }
                    }
                    access::slice(self.fuel, &value, [&bounds[0], &bounds[1], &bounds[2]])?
                }
                Postfix::Call(arguments) => {
                    let arguments = self.arguments(arguments, scope)?;
                    self.call(&value, arguments)?
                }
                Postfix::Filter(filter) => self.filter(value, filter, scope)?,
                Postfix::Test(test, negated) => {
                    let arguments = self.arguments(&test.arguments, scope)?;
                    (checks::test(self.fuel, &test.name, &value, arguments)? != *negated).into()
                }
            };
        }
        Ok(value)
    }

    /// `value|filter(...)`.
    pub(super) fn filter(&mut self, value: Value, filter: &Filter, scope: usize) -> Result<Value> {
        let arguments = self.arguments(&filter.arguments, scope)?;
        filters::apply(self.fuel, &filter.name, value, arguments)
    }

    /// The values of arguments.
    pub(super) fn arguments(&mut self, arguments: &ast::Arguments, scope: usize) -> Result<Arguments> {
        let mut values = Arguments { positional: self.all(&arguments.positional, scope)?, named: Vec::new() };
        for (name, value) in &arguments.named {
            values.named.push((name.clone(), self.evaluate(value, scope)?));
        }
        if let Some(list) = &arguments.list {
            let list = self.evaluate(list, scope)?;
            values.positional.extend(access::items(self.fuel, &list)?.iter().cloned());
        }
        if let Some(map) = &arguments.map {
            match self.evaluate(map, scope)? {
                Value::Map(map) => {
                    let named = |(key, value): (&Key, &Value)| Some((key.0.as_str()?.into(), value.clone()));
                    values.named.extend(map.iter().filter_map(named));
                }
                other => return fail(format!("** needs a map, not {:?}", other.type_name())),
            }
        }
        Ok(values)
    }

    /// Calls what `call` calls with `caller` as a further argument.
    pub(super) fn call_with(&mut self, call: &Expr, caller: Value, scope: usize) -> Result<Value> {
        let Expr::Postfix(base, rest) = call else { return fail("{% call %} needs a call") };
        let Some((Postfix::Call(arguments), before)) = rest.split_last() else {
            return fail("{% call %} needs a call");
        };
        let callee = self.postfix(base, before, scope)?;
        let mut arguments = self.arguments(arguments, scope)?;
        arguments.named.push(("caller".into(), caller));
        self.call(&callee, arguments)
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
    Ok(match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => operators::order(left, right)?.is_lt(),
        Comparison::LessOrEqual => operators::order(left, right)?.is_le(),
        Comparison::Greater => operators::order(left, right)?.is_gt(),
        Comparison::GreaterOrEqual => operators::order(left, right)?.is_ge(),
        Comparison::In => operators::contains(right, left)?,
        Comparison::NotIn => !operators::contains(right, left)?,
    })
}
