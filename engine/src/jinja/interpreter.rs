//! Runs the statements of a template.

mod calls;
mod expressions;

use super::access;
use super::ast::{Block, Filter, For, Macro, Name, Statement, StatementKind, Target};
use super::error::{Error, Result, fail};
use super::fuel::Fuel;
use super::methods::text_of;
use super::text::{Text, TextBuilder};
use super::value::{Function, Items, Key, Loop, Map, Value};
use super::{Clock, Variables};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Most blocks, expressions and macros within one another. A WebAssembly stack is small.
const MAX_DEPTH: usize = 250;

/// Renders a template.
///
/// # Errors
/// If it fails, raises an exception or computes too much.
pub(super) fn render(
    body: &Block,
    variables: Variables,
    clock: Option<Clock<'_>>,
    fuel: &Fuel,
) -> Result<Text> {
    let mut interpreter =
        Interpreter { fuel, clock, scopes: Vec::new(), namespaces: Vec::new(), depth: 0, line: 1 };
    let scope = interpreter.enter(None);
    interpreter.scopes[scope].values =
        variables.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let mut out = TextBuilder::new(fuel);
    let rendered = interpreter.block(body, scope, &mut out);
    // Namespaces that contain themselves would never be freed.
    interpreter.namespaces.iter().for_each(|namespace| namespace.borrow_mut().clear());
    match rendered {
        Ok(_) => out.finish(),
        Err(Error::Failed(message)) => fail(format!("line {}: {message}", interpreter.line)),
        Err(error) => Err(error),
    }
}

pub(super) struct Interpreter<'f> {
    pub(super) fuel: &'f Fuel,
    clock: Option<Clock<'f>>,
    /// All scopes that are in use; macros and scopes refer to them by index.
    scopes: Vec<Scope>,
    namespaces: Vec<Rc<RefCell<Map>>>,
    depth: usize,
    /// Where the last statement began.
    line: u32,
}

/// The variables of a block.
struct Scope {
    parent: Option<usize>,
    values: HashMap<Name, Value>,
    /// Whether a macro may still need it when its block is over.
    kept: bool,
}

/// How a block ended.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'f> Interpreter<'f> {
    fn enter(&mut self, parent: Option<usize>) -> usize {
        self.scopes.push(Scope { parent, values: HashMap::new(), kept: false });
        self.scopes.len() - 1
    }

    fn leave(&mut self, scope: usize) {
        if self.scopes.len() == scope + 1 && !self.scopes[scope].kept {
            self.scopes.pop();
        }
    }

    /// Runs `run` in a scope of its own within `parent`.
    fn scoped<T>(&mut self, parent: usize, run: impl FnOnce(&mut Self, usize) -> Result<T>) -> Result<T> {
        let scope = self.enter(Some(parent));
        let result = run(self, scope);
        self.leave(scope);
        result
    }

    /// Runs `run` one level deeper.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.fuel.burn(1)?;
        if self.depth >= MAX_DEPTH {
            return fail("blocks or macros are nested too deeply");
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// The value of a variable, if there is one of that name.
    fn variable(&self, name: &str, scope: usize) -> Option<&Value> {
        let mut scope = Some(scope);
        while let Some(Scope { parent, values, .. }) = scope.map(|scope| &self.scopes[scope]) {
            if let Some(value) = values.get(name) {
                return Some(value);
            }
            scope = *parent;
        }
        None
    }

    fn set(&mut self, scope: usize, name: &Name, value: Value) {
        self.scopes[scope].values.insert(Name::clone(name), value);
    }

    /// A macro or block that sees the variables of `scope`.
    fn closure(&mut self, definition: &Arc<Macro>, scope: usize) -> Value {
        self.scopes[scope].kept = true;
        Value::Function(Function::Macro(Arc::clone(definition), scope))
    }

    fn block(&mut self, body: &[Statement], scope: usize, out: &mut TextBuilder<'f>) -> Result<Flow> {
        self.deeper(|interpreter| {
            for statement in body {
                let flow = interpreter.statement(statement, scope, out)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
            Ok(Flow::Next)
        })
    }

    /// What a block writes.
    fn written(&mut self, body: &[Statement], scope: usize) -> Result<Text> {
        let mut out = TextBuilder::new(self.fuel);
        self.scoped(scope, |interpreter, scope| interpreter.block(body, scope, &mut out))?;
        out.finish()
    }

    fn statement(&mut self, statement: &Statement, scope: usize, out: &mut TextBuilder<'f>) -> Result<Flow> {
        self.fuel.burn(1)?;
        self.line = statement.line;
        match &statement.kind {
            StatementKind::Text(text) => out.push_str(text),
            StatementKind::Print(value) => {
                let value = self.evaluate(value, scope)?;
                out.push(&text_of(self.fuel, &value)?);
            }
            StatementKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.evaluate(condition, scope)?.is_true() {
                        return self.block(body, scope, out);
                    }
                }
                return self.block(otherwise, scope, out);
            }
            StatementKind::For(definition) => {
                let items = self.evaluate(&definition.items, scope)?;
                self.for_loop(definition, &items, scope, 0, out)?;
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::Set(target, value) => {
                let value = self.evaluate(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StatementKind::SetBlock(target, filters, body) => {
                let text = self.written(body, scope)?;
                let value = self.filtered(text, filters, scope)?;
                self.assign(target, value, scope)?;
            }
            StatementKind::Macro(definition) => {
                let value = self.closure(definition, scope);
                self.set(scope, &definition.name, value);
            }
            StatementKind::Call(call, definition) => {
                let caller = self.closure(definition, scope);
                let value = self.call_with(call, caller, scope)?;
                out.push(&text_of(self.fuel, &value)?);
            }
            StatementKind::Filter(filters, body) => {
                let text = self.written(body, scope)?;
                let value = self.filtered(text, filters, scope)?;
                out.push(&text_of(self.fuel, &value)?);
            }
            StatementKind::With(values, body) => {
                return self.scoped(scope, |interpreter, inner| {
                    for (target, value) in values {
                        // Values do not see one another.
                        let value = interpreter.evaluate(value, scope)?;
                        interpreter.assign(target, value, inner)?;
                    }
                    interpreter.block(body, inner, out)
                });
            }
            StatementKind::Scope(body) => {
                return self.scoped(scope, |interpreter, scope| interpreter.block(body, scope, out));
            }
        }
        out.check()?;
        Ok(Flow::Next)
    }

    fn filtered(&mut self, text: Text, filters: &[Filter], scope: usize) -> Result<Value> {
        let mut value = Value::Str(text);
        for filter in filters {
            value = self.filter(value, filter, scope)?;
        }
        Ok(value)
    }

    fn assign(&mut self, target: &Target, value: Value, scope: usize) -> Result<()> {
        match target {
            Target::Name(name) => self.set(scope, name, value),
            Target::Attribute(namespace, name) => match self.variable(namespace, scope) {
                Some(Value::Namespace(map)) => {
                    map.borrow_mut().insert(Key(Value::own(Name::clone(name))), value);
                }
                _ => return fail(format!("{namespace} is no namespace, so {name} cannot be set")),
            },
            Target::Tuple(targets) => {
                let items = access::items(self.fuel, &value)?;
                if items.len() != targets.len() {
                    return fail(format!("{} values for {} names", items.len(), targets.len()));
                }
                for (target, item) in targets.iter().zip(items.iter()) {
                    self.assign(target, item.clone(), scope)?;
                }
            }
        }
        Ok(())
    }

    /// Runs a loop; `depth` is how often it is within itself.
    fn for_loop(
        &mut self,
        definition: &Arc<For>,
        items: &Value,
        scope: usize,
        depth: usize,
        out: &mut TextBuilder<'f>,
    ) -> Result<()> {
        let For { target, condition, body, otherwise, recursive, .. } = &**definition;
        let mut items = access::items(self.fuel, items)?;
        if let Some(condition) = condition {
            let mut kept = Vec::new();
            for item in items.iter() {
                let wanted = self.scoped(scope, |interpreter, scope| {
                    interpreter.assign(target, item.clone(), scope)?;
                    Ok(interpreter.evaluate(condition, scope)?.is_true())
                })?;
                kept.extend(wanted.then(|| item.clone()));
            }
            items = Rc::new(Items::new(kept));
        }
        if items.is_empty() {
            self.scoped(scope, |interpreter, scope| interpreter.block(otherwise, scope, out))?;
            return Ok(());
        }
        if *recursive {
            self.scopes[scope].kept = true;
        }
        let last: Rc<RefCell<Option<Vec<Value>>>> = Rc::default();
        let name: Name = "loop".into();
        for (index, item) in items.iter().enumerate() {
            let state = Loop {
                items: Rc::clone(&items),
                index,
                depth,
                last: Rc::clone(&last),
                recursion: recursive.then(|| (Arc::clone(definition), scope)),
            };
            let flow = self.scoped(scope, |interpreter, scope| {
                interpreter.set(scope, &name, Value::Loop(Rc::new(state)));
                interpreter.assign(target, item.clone(), scope)?;
                interpreter.block(body, scope, out)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        // It may hold the loop itself.
        last.take();
        Ok(())
    }
}
