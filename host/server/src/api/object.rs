//! Structures inside of others: from JSON objects only, and errors that name the field in flattened ones.
//!
//! serde would also read a structure from a list of its fields in order, where it buffers an enumeration's values, and an
//! enumeration's tag from the number of the variant.

use edgellm::json::{self, JsonError};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::marker::PhantomData;

/// A structure that is read from an object only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_struct("", &[], ObjectVisitor(PhantomData))
    }
}

/// Reads an enum that is tagged by its field `type`, from an object whose `type` is text.
pub(crate) fn tagged<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let Some(Object(fields)) = Option::<Object<Map<String, Value>>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match fields.get("type") {
        None | Some(Value::String(_)) => flattened(Value::Object(fields)).map(Some).map_err(D::Error::custom),
        Some(_) => Err(D::Error::custom(format_args!("type{SEPARATOR}expected a string"))),
    }
}

/// Stands between the path of a field and the problem in errors of [`flattened`]; serde escapes it in quoted values.
const SEPARATOR: char = '\u{1f}';

/// Reads a flattened structure as liberally as others, and such that errors name the field. serde hands its fields out of a
/// buffer, and has lost the path by then. So the text of the error carries the path, for [`path_and_problem`].
pub(crate) fn flattened<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let fields = Value::Object(Map::deserialize(deserializer)?);
    json::from_value(&fields)
        .map_err(|error| D::Error::custom(format_args!("{}{SEPARATOR}{}", error.path(), error.problem())))
}

/// The path of the field that is wrong, empty for the whole object, and what is wrong with it.
pub(crate) fn path_and_problem(error: &JsonError) -> (String, &str) {
    let mut parts: Vec<&str> =
        std::iter::once(error.path()).chain(error.problem().split(SEPARATOR)).collect();
    let problem = parts.pop().unwrap_or_default();
    parts.retain(|part| !part.is_empty());
    (parts.join("."), problem)
}
