//! The arguments of a call, by the names of its parameters.

use super::ast::Name;
use super::error::{Result, fail};
use super::fuel::Fuel;
use super::text::Text;
use super::value::{Map, Value};

/// Longest name of an argument that a map gives, in bytes.
const MAX_NAME: usize = 100;

/// The values that a function, method, filter or test is called with.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Name, Value)>,
}

impl Arguments {
    /// Adds the fields of a map as named arguments.
    ///
    /// # Errors
    /// If there is no fuel for it, or a name is too long.
    pub(super) fn extend(&mut self, fuel: &Fuel, map: &Map) -> Result<()> {
        fuel.burn(map.len())?;
        for (key, value) in map {
            let Value::Str(name) = &key.0 else { continue };
            if name.len() > MAX_NAME {
                return fail(format!(
                    "the name of an argument has {} bytes, more than {MAX_NAME}",
                    name.len()
                ));
            }
            self.named.push((name.shared(), value.clone()));
        }
        Ok(())
    }

    /// The value of each parameter of `function`, if it is given.
    ///
    /// # Errors
    /// If there are others.
    pub(super) fn bind<const N: usize>(self, function: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        if self.positional.len() > N {
            return fail(format!("{function} takes at most {N} arguments, not {}", self.positional.len()));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|known| *known == &*name) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => return fail(format!("{function} got {name} twice")),
                None => return fail(format!("{function} has no argument {name}")),
            }
        }
        Ok(bound)
    }

    /// The value of the only parameter.
    ///
    /// # Errors
    /// If it is missing, or there are others.
    pub(super) fn only(self, function: &str, name: &str) -> Result<Value> {
        let [value] = self.bind(function, [name])?;
        required(value, function, name)
    }
}

pub(super) fn required(value: Option<Value>, function: &str, name: &str) -> Result<Value> {
    match value {
        Some(value) => Ok(value),
        None => fail(format!("{function} needs the argument {name}")),
    }
}

/// An integer; `default` if it is not given.
pub(super) fn integer(value: Option<Value>, default: i128) -> Result<i128> {
    match &value {
        None => Ok(default),
        Some(value) => match value.as_int() {
            Some(integer) => Ok(integer),
            None => fail(format!("an integer is needed, not {:?}", value.type_name())),
        },
    }
}

/// A string.
pub(super) fn string(value: Value, function: &str) -> Result<Text> {
    match value {
        Value::Str(text) => Ok(text),
        Value::Undefined(missing) => fail(missing.to_string()),
        other => fail(format!("{function} needs a string, not {:?}", other.type_name())),
    }
}
