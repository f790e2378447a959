//! Integers in JSON, where `2.0` is one.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use utoipa::ToSchema;

/// An integer in the range of `i64`.
struct Whole(i64);

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
                // Beyond 2^53 a float no longer identifies an integer.
                if value.fract() == 0.0 && value.abs() <= (1u64 << 53) as f64 {
                    Ok(Whole(value as i64))
                } else {
                    Err(E::invalid_type(serde::de::Unexpected::Float(value), &self))
                }
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// Any integer.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}

/// An integer from 0 to 2147483647, as the OpenAPI document says.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let whole = Option::<Whole>::deserialize(deserializer)?;
    whole.map(|Whole(value)| positive(value)).transpose()
}

fn positive<E: Error>(value: i64) -> Result<u32, E> {
    let within = i32::try_from(value).ok().and_then(|value| u32::try_from(value).ok());
    within.ok_or_else(|| E::custom(format!("{value} is not in 0..=2147483647")))
}

/// A token, by its id.
#[derive(Clone, Copy, Debug, ToSchema)]
pub(crate) struct Token(pub(crate) u32);

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        positive(Whole::deserialize(deserializer)?.0).map(Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Numbers {
        #[serde(default, deserialize_with = "whole")]
        seed: Option<i64>,
        #[serde(default, deserialize_with = "count")]
        n: Option<u32>,
    }

    fn read(json: &str) -> Option<(Option<i64>, Option<u32>)> {
        serde_json::from_str(json).ok().map(|Numbers { seed, n }| (seed, n))
    }

    #[test]
    fn whole_numbers_of_all_sizes() {
        assert_eq!(read("{}"), Some((None, None)));
        assert_eq!(read(r#"{"seed": null, "n": 2.0}"#), Some((None, Some(2))));
        assert_eq!(read(r#"{"seed": -3, "n": 2147483647}"#), Some((Some(-3), Some(2_147_483_647))));
        for wrong in
            [r#"{"n": -1}"#, r#"{"n": 1.5}"#, r#"{"n": "1"}"#, r#"{"seed": true}"#, r#"{"seed": []}"#]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(serde_json::from_str::<Vec<Token>>("[1, 2.0]").unwrap()[1].0, 2);
    }
}
