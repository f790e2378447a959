//! Integers, however they are written, and other readers of single fields.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// Up to here a float identifies an integer.
const EXACT: f64 = (1_u64 << 53) as f64;

/// An integer in the range of `i64`, which may be written as a float. For places that [`read`](super::read) does not
/// reach: inside enumerations, which serde reads from a buffer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub i64);

/// The integer that a float is.
pub(super) fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;

        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Whole, E> {
                i64::try_from(value).map(Whole).map_err(|_| E::custom(format!("{value} is too large")))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Whole, E> {
                whole(value).map(Whole).ok_or_else(|| E::invalid_type(Unexpected::Float(value), &self))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// For `deserialize_with`: a limit, where -1 means none.
///
/// # Errors
/// If it is another negative number, too large, or not an integer.
pub fn limit<'de, T: TryFrom<i64>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    limit_or(deserializer, None)
}

/// As [`limit`], for a field where 0 means none: -1 is read as 0.
///
/// # Errors
/// Those of [`limit`].
pub fn limit_or_zero<'de, T: TryFrom<i64> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    limit_or(deserializer, Some(T::default()))
}

fn limit_or<'de, T: TryFrom<i64>, D: Deserializer<'de>>(
    deserializer: D,
    none: Option<T>,
) -> Result<Option<T>, D::Error> {
    match Option::<Whole>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Whole(-1)) => Ok(none),
        Some(Whole(value)) => match T::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(D::Error::custom(format_args!("{value} is out of range"))),
        },
    }
}

/// For `deserialize_with` in types that are not read with [`read`](super::read): null is the default.
///
/// # Errors
/// Those of the type.
pub fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
