//! Evaluates expressions.

use super::super::arguments::Arguments;
use super::super::ast::{self, Comparison, Expr, Filter, Postfix};
use super::super::error::{Result, fail};
use super::super::fuel::Fuel;
use super::super::methods::text_of;
use super::super::text::TextBuilder;
use super::super::value::{Items, Map, Value};
use super::super::{access, checks, filters, methods, operators};
use super::Interpreter;
use std::rc::Rc;

impl Interpreter<'_> {
    /// The value of an expression.
    pub(super) fn evaluate(&mut self, expr: &Expr, scope: usize) -> Result<Value> {
        self.fuel.burn(1)?;
        match expr {
            Expr::None => Ok(Value::None),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Float(value) => Ok(Value::float(*value)),
            Expr::Str(text) => Ok(Value::own(text.clone())),
            Expr::Name(name) => self.named(name, scope),
            _ => self.deeper(|interpreter| interpreter.compound(expr, scope)),
        }
    }

    /// Each kind has a function of its own, so that the stack holds the variables of one kind only.
    fn compound(&mut self, expr: &Expr, scope: usize) -> Result<Value> {
        match expr {
            Expr::List(items) => self.sequence(items, scope).map(Value::List),
            Expr::Tuple(items) => self.sequence(items, scope).map(Value::Tuple),
            Expr::Map(fields) => self.map(fields, scope),
            Expr::If(value, conditions) => self.choice(value, conditions, scope),
            Expr::Or(items) => self.first(items, true, scope),
            Expr::And(items) => self.first(items, false, scope),
            Expr::Not(value) => Ok((!self.evaluate(value, scope)?.is_true()).into()),
            Expr::Negative(value) => self.signed(value, ast::Operator::Subtract, scope),
            Expr::Positive(value) => self.signed(value, ast::Operator::Add, scope),
            Expr::Compare(first, rest) => self.comparison(first, rest, scope),
            Expr::Arithmetic(first, rest) => self.arithmetic(first, rest, scope),
            Expr::Concat(items) => self.concatenation(items, scope),
            Expr::Postfix(base, rest) => self.postfix(base, rest, scope),
            // Without parts: `evaluate`.
            _ => Ok(Value::None),
        }
    }

    #[inline(never)]
    fn sequence(&mut self, items: &[Expr], scope: usize) -> Result<Rc<Items>> {
        let items = self.all(items, scope)?;
        self.fuel.sequence(items)
    }

    #[inline(never)]
    fn map(&mut self, fields: &[(Expr, Expr)], scope: usize) -> Result<Value> {
        let mut map = Map::new();
        for (key, value) in fields {
            let (key, value) = (self.evaluate(key, scope)?, self.evaluate(value, scope)?);
            map.insert(self.fuel.key(key)?, value);
        }
        self.fuel.map(map)
    }

    #[inline(never)]
    fn choice(&mut self, value: &Expr, conditions: &[(Expr, Option<Expr>)], scope: usize) -> Result<Value> {
        // The last one decides first.
        for (condition, otherwise) in conditions.iter().rev() {
            if self.evaluate(condition, scope)?.is_true() {
                continue;
            }
            return match otherwise {
                Some(otherwise) => self.evaluate(otherwise, scope),
                None => Ok(Value::undefined("the condition was false, and there is no else")),
            };
        }
        self.evaluate(value, scope)
    }

    #[inline(never)]
    fn signed(&mut self, value: &Expr, sign: ast::Operator, scope: usize) -> Result<Value> {
        match self.evaluate(value, scope)? {
            Value::Float(float) if sign == ast::Operator::Subtract => Ok(Value::float(-float.value)),
            value => operators::arithmetic(self.fuel, sign, &Value::Int(0), &value),
        }
    }

    #[inline(never)]
    fn comparison(&mut self, first: &Expr, rest: &[(Comparison, Expr)], scope: usize) -> Result<Value> {
        let mut left = self.evaluate(first, scope)?;
        for (comparison, right) in rest {
            let right = self.evaluate(right, scope)?;
            if !compare(self.fuel, *comparison, &left, &right)? {
                return Ok(false.into());
            }
            left = right;
        }
        Ok(true.into())
    }

    #[inline(never)]
    fn arithmetic(&mut self, first: &Expr, rest: &[(ast::Operator, Expr)], scope: usize) -> Result<Value> {
        let mut value = self.evaluate(first, scope)?;
        for (operator, right) in rest {
            let right = self.evaluate(right, scope)?;
            value = operators::arithmetic(self.fuel, *operator, &value, &right)?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn concatenation(&mut self, items: &[Expr], scope: usize) -> Result<Value> {
        let mut out = TextBuilder::new(self.fuel);
        for item in items {
            let value = self.evaluate(item, scope)?;
            out.push(&text_of(self.fuel, &value)?);
        }
        Ok(out.finish()?.into())
    }

    fn all(&mut self, items: &[Expr], scope: usize) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.evaluate(item, scope)?);
        }
        Ok(values)
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

    #[inline(never)]
    fn postfix(&mut self, base: &Expr, rest: &[Postfix], scope: usize) -> Result<Value> {
        let mut value = self.evaluate(base, scope)?;
        let mut rest = rest.iter();
        while let Some(next) = rest.next() {
            self.fuel.burn(1)?;
            value = match (next, rest.as_slice()) {
                // A method is called without a value for it.
                (Postfix::Attribute(name), [Postfix::Call(arguments), ..])
                    if methods::exists(&value, name) =>
                {
                    rest.next();
                    let arguments = self.arguments(arguments, scope)?;
                    methods::call(self.fuel, &value, name, arguments)?
                }
                (Postfix::Attribute(name), _) => access::attribute(self.fuel, &value, name)?,
                (Postfix::Item(key), _) => {
                    let key = self.evaluate(key, scope)?;
                    access::item(self.fuel, &value, &key)?
                }
                (Postfix::Slice(parts), _) => self.slice(&value, parts, scope)?,
                (Postfix::Call(arguments), _) => {
                    let arguments = self.arguments(arguments, scope)?;
                    self.call(&value, arguments)?
                }
                (Postfix::Filter(filter), _) => self.filter(value, filter, scope)?,
                (Postfix::Test(test, negated), _) => {
                    let arguments = self.arguments(&test.arguments, scope)?;
                    (checks::test(self.fuel, &test.name, &value, arguments)? != *negated).into()
                }
            };
        }
        Ok(value)
    }

    #[inline(never)]
    fn slice(&mut self, value: &Value, parts: &[Option<Expr>; 3], scope: usize) -> Result<Value> {
        let mut bounds = [Value::None, Value::None, Value::None];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            if let Some(part) = part {
                *bound = self.evaluate(part, scope)?;
            }
        }
        access::slice(self.fuel, value, [&bounds[0], &bounds[1], &bounds[2]])
    }

    /// `value|filter(...)`.
    pub(super) fn filter(&mut self, value: Value, filter: &Filter, scope: usize) -> Result<Value> {
        let arguments = self.arguments(&filter.arguments, scope)?;
        filters::apply(self.fuel, &filter.name, value, arguments)
    }

    /// The values of arguments.
    #[inline(never)]
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
                Value::Map(map) => values.extend(self.fuel, &map)?,
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

#[inline(never)]
fn compare(fuel: &Fuel, comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
    Ok(match comparison {
        Comparison::Equal => fuel.equal(left, right)?,
        Comparison::NotEqual => !fuel.equal(left, right)?,
        Comparison::Less => operators::order(fuel, left, right)?.is_lt(),
        Comparison::LessOrEqual => operators::order(fuel, left, right)?.is_le(),
        Comparison::Greater => operators::order(fuel, left, right)?.is_gt(),
        Comparison::GreaterOrEqual => operators::order(fuel, left, right)?.is_ge(),
        Comparison::In => operators::contains(fuel, right, left)?,
        Comparison::NotIn => !operators::contains(fuel, right, left)?,
    })
}
