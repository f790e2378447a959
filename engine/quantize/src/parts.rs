//! The names of the files that a model was split into: `NAME-00001-of-00003`, and so on.

/// A set of files, by the names of its members without their ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    name: String,
    digits: usize,
    count: u32,
}

/// Digits of a number, at most; five are usual.
const MOST_DIGITS: usize = 5;

impl Parts {
    /// The set that a file is a member of; `None` if its name is not of this form.
    ///
    /// ```
    /// let parts = edgellm_quantize::Parts::of("llama-00002-of-00003").unwrap();
    /// assert_eq!(parts.names().last().unwrap(), "llama-00003-of-00003");
    /// assert_eq!(edgellm_quantize::Parts::of("llama"), None);
    /// ```
    pub fn of(stem: &str) -> Option<Parts> {
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (name, number) = rest.rsplit_once('-')?;
        let digits = count.len();
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if digits > MOST_DIGITS || number.len() != digits || !is_number(number) || !is_number(count) {
            return None;
        }
        let (number, count): (u32, u32) = (number.parse().ok()?, count.parse().ok()?);
        (1..=count).contains(&number).then(|| Parts { name: name.to_string(), digits, count })
    }

    /// The names of all members, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let Parts { name, digits, count } = self;
        (1..=*count).map(move |number| format!("{name}-{number:0digits$}-of-{count:0digits$}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_names_are_parts() {
        let parts = Parts::of("a-of-b-00002-of-00002").unwrap();
        assert_eq!(parts.names().collect::<Vec<_>>(), ["a-of-b-00001-of-00002", "a-of-b-00002-of-00002"]);
        assert_eq!(Parts::of("m-1-of-2").unwrap().names().collect::<Vec<_>>(), ["m-1-of-2", "m-2-of-2"]);
        for other in [
            "m",
            "m-of-00002",
            "m-00003-of-00002",
            "m-00000-of-00002",
            "m-1-of-00002",
            "m-a-of-b",
            "m--of-",
            "m-1-of-999999",
        ] {
            assert_eq!(Parts::of(other), None, "{other}");
        }
    }
}
