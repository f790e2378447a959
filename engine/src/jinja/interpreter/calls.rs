//! Calls: of macros, methods and the functions that every template has.

use super::super::arguments::{Arguments, integer, required, string};
use super::super::ast::{Macro, Name};
use super::super::error::{Error, Result, fail};
use super::super::fuel::ENTRY_BYTES;
use super::super::methods::text_of;
use super::super::text::{Text, TextBuilder};
use super::super::value::{Function, Loop, Map, Missing, Value};
use super::super::{access, methods};
use super::Interpreter;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Functions of the environment, besides `strftime_now`.
const GLOBALS: [&str; 6] = ["range", "namespace", "dict", "cycler", "joiner", "raise_exception"];

/// Longest `range`, as in Jinja's sandbox.
const MAX_RANGE: usize = 100_000;

/// Longest format of a date.
const MAX_DATE_FORMAT: usize = 1000;

impl Interpreter<'_> {
    /// The value of a name: a variable, or a function of the environment.
    pub(super) fn named(&self, name: &Name, scope: usize) -> Result<Value> {
        if let Some(value) = self.variable(name, scope)? {
            return Ok(value.clone());
        }
        if &**name == "strftime_now" && self.clock.is_some() {
            return Ok(Value::Function(Function::Global("strftime_now")));
        }
        Ok(match GLOBALS.into_iter().find(|global| *global == &**name) {
            Some(global) => Value::Function(Function::Global(global)),
            None => Value::Undefined(Missing::Variable(Name::clone(name))),
        })
    }

    /// `callee(...)`.
    pub(super) fn call(&mut self, callee: &Value, arguments: Arguments) -> Result<Value> {
        match callee {
            Value::Undefined(missing) => fail(missing.to_string()),
            Value::Function(Function::Global(name)) => self.global(name, arguments),
            Value::Function(Function::Method(method)) => match &method.value {
                Value::Loop(state) => self.loop_method(state, &method.name, arguments),
                value => methods::call(self.fuel, value, &method.name, arguments),
            },
            Value::Function(Function::Macro(definition, scope)) => {
                let (definition, scope) = (Arc::clone(definition), *scope);
                self.deeper(|interpreter| interpreter.call_macro(&definition, arguments, scope))
            }
            Value::Function(Function::Cycler(state, method)) => {
                let (items, at) = &**state;
                match *method {
                    "next" => {
                        let current = items.get(at.get()).cloned().unwrap_or(Value::None);
                        at.set((at.get() + 1) % items.len().max(1));
                        Ok(current)
                    }
                    "reset" => {
                        at.set(0);
                        Ok(Value::None)
                    }
                    _ => fail("a cycler cannot be called"),
                }
            }
            Value::Function(Function::Joiner(state)) => {
                let (separator, used) = &**state;
                Ok(if used.replace(true) { separator.clone().into() } else { Value::own("") })
            }
            Value::Loop(state) => self.recurse(state, arguments),
            other => fail(format!("{:?} object is not callable", other.type_name())),
        }
    }

    /// `loop(...)`
    #[inline(never)]
    fn recurse(&mut self, state: &Loop, arguments: Arguments) -> Result<Value> {
        let items = arguments.only("loop", "iterable")?;
        let Some((definition, scope)) = state.recursion.clone() else {
            return fail("the loop is not recursive, so it cannot be called");
        };
        let mut out = TextBuilder::new(self.fuel);
        let depth = state.depth + 1;
        self.deeper(|interpreter| interpreter.for_loop(&definition, &items, scope, depth, &mut out))?;
        Ok(out.finish()?.into())
    }

    #[inline(never)]
    fn call_macro(&mut self, definition: &Macro, arguments: Arguments, scope: usize) -> Result<Value> {
        let Macro { name, parameters, defaults, body } = definition;
        let Arguments { positional, named } = arguments;
        let mut out = TextBuilder::new(self.fuel);
        self.scoped(scope, |interpreter, scope| {
            let mut positional = positional.into_iter();
            for (parameter, value) in parameters.iter().zip(positional.by_ref()) {
                interpreter.set(scope, parameter, value)?;
            }
            let mut rest = Map::new();
            for (argument, value) in named {
                // It is looked for among all parameters.
                interpreter.fuel.burn(1 + parameters.len() / 4)?;
                if interpreter.scopes[scope].values.contains_key(&argument) {
                    return fail(format!("the macro {name} got {argument} twice"));
                }
                if parameters.contains(&argument) || &*argument == "caller" {
                    interpreter.set(scope, &argument, value)?;
                } else {
                    rest.insert(interpreter.fuel.key(Value::own(argument))?, value);
                }
            }
            let varargs = interpreter.fuel.tuple(positional.collect())?;
            interpreter.set(scope, &"varargs".into(), varargs)?;
            let kwargs = interpreter.fuel.map(rest)?;
            interpreter.set(scope, &"kwargs".into(), kwargs)?;
            let required = parameters.len() - defaults.len();
            for (index, parameter) in parameters.iter().enumerate() {
                interpreter.fuel.burn_bytes(parameter.len())?;
                if interpreter.scopes[scope].values.contains_key(parameter) {
                    continue;
                }
                let value = match index.checked_sub(required) {
                    Some(default) => interpreter.evaluate(&defaults[default], scope)?,
                    None => Value::Undefined(Missing::Parameter(Name::clone(parameter))),
                };
                interpreter.set(scope, parameter, value)?;
            }
            interpreter.block(body, scope, &mut out)
        })?;
        Ok(out.finish()?.into())
    }

    #[inline(never)]
    fn global(&mut self, name: &str, arguments: Arguments) -> Result<Value> {
        match name {
            "raise_exception" => {
                let message = arguments.only(name, "message")?;
                Err(Error::Raised(methods::shown(self.fuel, &message)?))
            }
            "strftime_now" => {
                let format = string(arguments.only(name, "format")?, name)?;
                match self.clock {
                    Some(clock) => {
                        if format.len() > MAX_DATE_FORMAT {
                            return fail(format!("{name} takes at most {MAX_DATE_FORMAT} bytes"));
                        }
                        // Some characters stand for long texts, which take long to make.
                        self.fuel.burn(16 * format.len())?;
                        match clock(format.as_str()) {
                            Ok(text) => {
                                let mut out = TextBuilder::new(self.fuel);
                                out.push_str(&text);
                                Ok(out.finish()?.into())
                            }
                            Err(message) => fail(message),
                        }
                    }
                    None => fail("there is no clock"),
                }
            }
            "range" => {
                let [first, second, step] = arguments.bind(name, ["start", "stop", "step"])?;
                let first = integer(Some(required(first, name, "stop")?), 0)?;
                let (start, stop) = if second.is_some() { (first, integer(second, 0)?) } else { (0, first) };
                let step = integer(step, 1)?;
                if step == 0 {
                    return fail("the step of range() must not be 0");
                }
                let mut items = Vec::new();
                let mut at = start;
                while if step > 0 { at < stop } else { at > stop } {
                    if items.len() == MAX_RANGE {
                        return fail(format!("range() is longer than {MAX_RANGE}"));
                    }
                    self.fuel.burn(1)?;
                    items.push(Value::Int(at));
                    at = at.saturating_add(step);
                }
                self.fuel.list(items)
            }
            "namespace" => {
                let fields = self.fields(name, arguments)?;
                self.fuel.keep(ENTRY_BYTES * (1 + fields.len()))?;
                let map = Rc::new(RefCell::new(fields));
                self.namespaces.push(Rc::clone(&map));
                Ok(Value::Namespace(map))
            }
            "dict" => {
                let fields = self.fields(name, arguments)?;
                self.fuel.map(fields)
            }
            "cycler" => {
                self.fuel.keep(ENTRY_BYTES)?;
                let state = Rc::new((self.fuel.sequence(arguments.positional)?, Cell::new(0)));
                Ok(Value::Function(Function::Cycler(state, "")))
            }
            "joiner" => {
                self.fuel.keep(ENTRY_BYTES)?;
                let [separator] = arguments.bind(name, ["sep"])?;
                let separator = match separator {
                    Some(separator) => text_of(self.fuel, &separator)?,
                    None => Text::own(", "),
                };
                Ok(Value::Function(Function::Joiner(Rc::new((separator, Cell::new(false))))))
            }
            _ => fail(format!("there is no function {name:?}")),
        }
    }

    /// The fields of `dict(...)`: of a map or pairs, and the named arguments.
    fn fields(&self, name: &str, arguments: Arguments) -> Result<Map> {
        let mut map = Map::new();
        for value in arguments.positional {
            if let Value::Map(fields) = &value {
                // Their keys are hashed again.
                self.fuel.burn_weight(value.weight())?;
                map.extend(fields.iter().map(|(key, value)| (key.clone(), value.clone())));
                continue;
            }
            for pair in access::items(self.fuel, &value)?.iter() {
                match &access::items(self.fuel, pair)?[..] {
                    [key, value] => map.insert(self.fuel.key(key.clone())?, value.clone()),
                    _ => return fail(format!("{name}() needs pairs of a key and a value")),
                };
            }
        }
        for (name, value) in arguments.named {
            map.insert(self.fuel.key(Value::own(name))?, value);
        }
        Ok(map)
    }

    /// `loop.cycle(...)` and `loop.changed(...)`.
    #[inline(never)]
    fn loop_method(&mut self, state: &Loop, name: &str, arguments: Arguments) -> Result<Value> {
        let items = arguments.positional;
        if name == "changed" {
            let items = self.fuel.sequence(items)?;
            let Some(last) = self.changed.insert(state.id, Rc::clone(&items)) else { return Ok(true.into()) };
            return Ok((!self.fuel.equal(&Value::Tuple(last), &Value::Tuple(items))?).into());
        }
        match items.get(state.index % items.len().max(1)) {
            Some(item) => Ok(item.clone()),
            None => fail("loop.cycle() needs values"),
        }
    }
}
