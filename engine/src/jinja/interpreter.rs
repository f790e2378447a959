//! Runs the statements of a template.

mod calls;
mod expressions;

use super::access;
use super::ast::{Block, Expr, Filter, For, Macro, Name, Statement, StatementKind, Target};
use super::error::{Error, Result, excerpt, fail};
use super::fuel::{ENTRY_BYTES, Fuel, Held};
use super::methods::text_of;
use super::text::{Text, TextBuilder};
use super::value::{Function, Items, Key, Loop, Map, Value};
use super::{Clock, MAX_MESSAGE, Variables};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// What a scope takes beside its variables, and the state of a loop.
const SCOPE_BYTES: usize = 256;
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
    let mut interpreter = Interpreter {
        fuel,
        clock,
        scopes: Vec::new(),
        namespaces: Vec::new(),
        loops: 0,
        changed: HashMap::new(),
        line: 1,
    };
    let scope = interpreter.enter(None)?;
    interpreter.scopes[scope].values =
        variables.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let mut out = TextBuilder::new(fuel);
    let rendered = interpreter.block(body, scope, &mut out);
    // Namespaces that contain themselves would never be freed.
    interpreter.namespaces.iter().for_each(|namespace| namespace.borrow_mut().clear());
    match rendered {
        Ok(_) => out.finish(),
        Err(Error::Failed(message)) => {
            fail(format!("line {}: {}", interpreter.line, excerpt(&message, MAX_MESSAGE)))
        }
        Err(Error::Raised(message)) => Err(Error::Raised(excerpt(&message, MAX_MESSAGE).into())),
        Err(error) => Err(error),
    }
}

pub(super) struct Interpreter<'f> {
    pub(super) fuel: &'f Fuel,
    clock: Option<Clock<'f>>,
    /// All scopes that are in use; macros and scopes refer to them by index.
    scopes: Vec<Scope>,
    namespaces: Vec<Rc<RefCell<Map>>>,
    /// Loops that have begun.
    loops: usize,
    /// What `loop.changed(...)` was last called with, by the number of the loop.
    changed: HashMap<usize, Rc<Items>>,
    /// Where the last statement began.
    line: u32,
}

/// The variables of a block.
struct Scope {
    parent: Option<usize>,
    values: HashMap<Name, Value>,
    held: Held,
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
    fn enter(&mut self, parent: Option<usize>) -> Result<usize> {
        self.fuel.burn(4)?;
        let held = self.fuel.hold(SCOPE_BYTES)?;
        self.scopes.push(Scope { parent, values: HashMap::new(), held, kept: false });
        Ok(self.scopes.len() - 1)
    }

    fn leave(&mut self, scope: usize) {
        if self.scopes.len() == scope + 1 && !self.scopes[scope].kept {
            self.scopes.pop();
        }
    }

    /// Runs `run` in a scope of its own within `parent`.
    fn scoped<T>(&mut self, parent: usize, run: impl FnOnce(&mut Self, usize) -> Result<T>) -> Result<T> {
        let scope = self.enter(Some(parent))?;
        let result = run(self, scope);
        self.leave(scope);
        result
    }

    /// Runs `run` one level deeper.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let fuel = self.fuel;
        fuel.burn(1)?;
        fuel.deeper(|| run(self))
    }

    /// The value of a variable, if there is one of that name.
    fn variable(&self, name: &str, scope: usize) -> Result<Option<&Value>> {
        let mut scope = Some(scope);
        while let Some(Scope { parent, values, .. }) = scope.map(|scope| &self.scopes[scope]) {
            self.fuel.burn_bytes(name.len())?;
            if let Some(value) = values.get(name) {
                return Ok(Some(value));
            }
            scope = *parent;
        }
        Ok(None)
    }

    fn set(&mut self, scope: usize, name: &Name, value: Value) -> Result<()> {
        self.fuel.burn_bytes(name.len())?;
        let Scope { values, held, .. } = &mut self.scopes[scope];
        if values.insert(Name::clone(name), value).is_none() {
            held.grow(ENTRY_BYTES)?;
        }
        Ok(())
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

    /// What filters make of what a block writes.
    #[inline(never)]
    fn written(&mut self, filters: &[Filter], body: &[Statement], scope: usize) -> Result<Value> {
        let mut out = TextBuilder::new(self.fuel);
        self.scoped(scope, |interpreter, scope| interpreter.block(body, scope, &mut out))?;
        let mut value = Value::Str(out.finish()?);
        for filter in filters {
            value = self.filter(value, filter, scope)?;
        }
        Ok(value)
    }

    fn statement(&mut self, statement: &Statement, scope: usize, out: &mut TextBuilder<'f>) -> Result<Flow> {
        self.fuel.burn(1)?;
        self.line = statement.line;
        match &statement.kind {
            StatementKind::Text(text) => out.push_str(text),
            StatementKind::Print(value) => self.print(value, scope, out)?,
            StatementKind::If(branches, otherwise) => {
                return self.conditional(branches, otherwise, scope, out);
            }
            StatementKind::For(definition) => self.for_statement(definition, scope, out)?,
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::Set(target, value) => self.set_statement(target, value, scope)?,
            StatementKind::SetBlock(target, filters, body) => {
                let value = self.written(filters, body, scope)?;
                self.assign(target, value, scope)?;
            }
            StatementKind::Macro(definition) => {
                let value = self.closure(definition, scope);
                self.set(scope, &definition.name, value)?;
            }
            StatementKind::Call(call, definition) => {
                let caller = self.closure(definition, scope);
                let value = self.call_with(call, caller, scope)?;
                self.write(&value, out)?;
            }
            StatementKind::Filter(filters, body) => {
                let value = self.written(filters, body, scope)?;
                self.write(&value, out)?;
            }
            StatementKind::With(values, body) => return self.with(values, body, scope, out),
            StatementKind::Scope(body) => {
                return self.scoped(scope, |interpreter, scope| interpreter.block(body, scope, out));
            }
        }
        out.check()?;
        Ok(Flow::Next)
    }

    #[inline(never)]
    fn write(&mut self, value: &Value, out: &mut TextBuilder<'f>) -> Result<()> {
        out.push(&text_of(self.fuel, value)?);
        Ok(())
    }

    #[inline(never)]
    fn print(&mut self, value: &Expr, scope: usize, out: &mut TextBuilder<'f>) -> Result<()> {
        let value = self.evaluate(value, scope)?;
        self.write(&value, out)
    }

    #[inline(never)]
    fn conditional(
        &mut self,
        branches: &[(Expr, Block)],
        otherwise: &[Statement],
        scope: usize,
        out: &mut TextBuilder<'f>,
    ) -> Result<Flow> {
        for (condition, body) in branches {
            if self.evaluate(condition, scope)?.is_true() {
                return self.block(body, scope, out);
            }
        }
        self.block(otherwise, scope, out)
    }

    #[inline(never)]
    fn for_statement(
        &mut self,
        definition: &Arc<For>,
        scope: usize,
        out: &mut TextBuilder<'f>,
    ) -> Result<()> {
        let items = self.evaluate(&definition.items, scope)?;
        self.for_loop(definition, &items, scope, 0, out)
    }

    #[inline(never)]
    fn set_statement(&mut self, target: &Target, value: &Expr, scope: usize) -> Result<()> {
        let value = self.evaluate(value, scope)?;
        self.assign(target, value, scope)
    }

    #[inline(never)]
    fn with(
        &mut self,
        values: &[(Target, Expr)],
        body: &[Statement],
        scope: usize,
        out: &mut TextBuilder<'f>,
    ) -> Result<Flow> {
        self.scoped(scope, |interpreter, inner| {
            for (target, value) in values {
                // Values do not see one another.
                let value = interpreter.evaluate(value, scope)?;
                interpreter.assign(target, value, inner)?;
            }
            interpreter.block(body, inner, out)
        })
    }

    #[inline(never)]
    fn assign(&mut self, target: &Target, value: Value, scope: usize) -> Result<()> {
        match target {
            Target::Name(name) => self.set(scope, name, value)?,
            Target::Attribute(namespace, name) => match self.variable(namespace, scope)? {
                Some(Value::Namespace(map)) => {
                    self.fuel.burn_bytes(name.len())?;
                    let old = map.borrow_mut().insert(Key(Value::own(Name::clone(name))), value);
                    if old.is_none() {
                        self.fuel.keep(ENTRY_BYTES)?;
                    }
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
    #[inline(never)]
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
            items = self.fuel.sequence(kept)?;
        }
        if items.is_empty() {
            self.scoped(scope, |interpreter, scope| interpreter.block(otherwise, scope, out))?;
            return Ok(());
        }
        if *recursive {
            self.scopes[scope].kept = true;
        }
        let id = self.loops;
        self.loops += 1;
        let name: Name = "loop".into();
        for (index, item) in items.iter().enumerate() {
            let state = Loop {
                items: Rc::clone(&items),
                index,
                depth,
                id,
                recursion: recursive.then(|| (Arc::clone(definition), scope)),
                _held: self.fuel.hold(SCOPE_BYTES)?,
            };
            let flow = self.scoped(scope, |interpreter, scope| {
                interpreter.set(scope, &name, Value::Loop(Rc::new(state)))?;
                interpreter.assign(target, item.clone(), scope)?;
                interpreter.block(body, scope, out)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        self.changed.remove(&id);
        Ok(())
    }
}
