//! Integers of requests.

use edgellm::json::Whole;
use serde::de::{Deserialize, Deserializer, Error};
use utoipa::ToSchema;

/// Any integer.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|Whole(value)| value))
}

/// An integer from 0 to 2147483647, as the OpenAPI document says.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let whole = Option::<Whole>::deserialize(deserializer)?;
    whole.map(|Whole(value)| positive(value)).transpose()
}

/// A limit, where -1 means none.
pub(crate) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let whole = Option::<Whole>::deserialize(deserializer)?.filter(|&whole| whole != NONE);
    whole.map(|Whole(value)| positive(value)).transpose()
}

/// A count of candidates, where -1 means all, as 0 does.
pub(crate) fn candidates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let whole = Option::<Whole>::deserialize(deserializer)?;
    whole.map(|whole| if whole == NONE { Ok(0) } else { positive(whole.0) }).transpose()
}

/// A seed, where -1 means a random one.
pub(crate) fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let whole = Option::<Whole>::deserialize(deserializer)?.filter(|&whole| whole != NONE);
    Ok(whole.map(|whole| whole.0))
}

/// What clients write for "none".
const NONE: Whole = Whole(-1);

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

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Numbers {
        #[serde(default, deserialize_with = "seed")]
        seed: Option<i64>,
        #[serde(default, deserialize_with = "count")]
        n: Option<u32>,
        #[serde(default, deserialize_with = "limit")]
        most: Option<u32>,
        #[serde(default, deserialize_with = "candidates")]
        top: Option<u32>,
    }

    fn read(json: &str) -> Option<Numbers> {
        edgellm::json::read(json.as_bytes()).ok()
    }

    #[test]
    fn whole_numbers_of_all_sizes() {
        let none = Numbers { seed: None, n: None, most: None, top: None };
        assert_eq!(read("{}"), Some(none));
        let numbers = Numbers { seed: Some(-3), n: Some(2), most: Some(2_147_483_647), top: Some(4) };
        assert_eq!(read(r#"{"seed": -3, "n": 2.0, "most": 2147483647, "top": 4.0}"#), Some(numbers));
        for wrong in [
            r#"{"n": -1}"#,
            r#"{"n": 1.5}"#,
            r#"{"n": "1"}"#,
            r#"{"seed": true}"#,
            r#"{"seed": []}"#,
            r#"{"most": -2}"#,
            r#"{"top": -2}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(edgellm::json::read::<Vec<Token>>(b"[1, 2.0]").unwrap()[1].0, 2);
    }

    #[test]
    fn minus_one_is_none() {
        let numbers = Numbers { seed: None, n: None, most: None, top: Some(0) };
        assert_eq!(read(r#"{"seed": -1, "most": -1.0, "top": -1}"#), Some(numbers));
    }
}
