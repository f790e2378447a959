//! Files that `llama-gguf-split` divided: the first part has the metadata, each has some of the tensors.

use super::{Gguf, GgufError};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

impl<'a> Gguf<'a> {
    /// The file that was split into `parts`, which may come in any order; a file that was not split is its only part.
    ///
    /// # Errors
    /// [`GgufError`] if a part is missing or belongs to another file.
    pub fn join(parts: Vec<Gguf<'a>>) -> Result<Self, GgufError> {
        let mut numbered = Vec::with_capacity(parts.len());
        for part in parts {
            numbered.push((part.u64_or(NUMBER, 0)?, part.u64_or(COUNT, 1)?.max(1), part));
        }
        numbered.sort_by_key(|&(number, ..)| number);
        let count = numbered.iter().map(|&(_, count, _)| count).max().unwrap_or(1);
        let mut rest = numbered.into_iter();
        let mut whole: Option<Gguf<'a>> = None;
        for expected in 0..count {
            let part = match rest.next() {
                Some((number, its_count, part)) if number == expected && its_count == count => part,
                _ => return Err(GgufError::Part { part: expected + 1, count }),
            };
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.append(part)?,
            }
        }
        if rest.next().is_some() {
            return Err(GgufError::WrongValue {
                key: COUNT.to_string(),
                found: count.to_string(),
                expected: "the number of files with this name",
            });
        }
        let whole = whole.ok_or(GgufError::Part { part: 1, count })?;
        let tensors = whole.tensors.len() as u64;
        let expected = whole.u64_or(TENSORS, tensors)?;
        if expected != tensors {
            return Err(GgufError::WrongValue {
                key: TENSORS.to_string(),
                found: expected.to_string(),
                expected: "the number of tensors in all parts",
            });
        }
        Ok(whole)
    }

    fn u64_or(&self, key: &str, default: u64) -> Result<u64, GgufError> {
        if self.get(key).is_some() { self.u64(key) } else { Ok(default) }
    }

    fn append(&mut self, part: Gguf<'a>) -> Result<(), GgufError> {
        for tensor in part.tensors {
            if self.index.insert(tensor.name, self.tensors.len()).is_some() {
                return Err(GgufError::Duplicate { name: tensor.name.to_string() });
            }
            self.tensors.push(tensor);
        }
        Ok(())
    }
}
