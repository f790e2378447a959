//! The binary format: a count of entries; for each its name, how often it was measured, and as many times the means; at the
//! end, in newer files, how many chunks of which text that was. Integers are signed, of 32 bits, little-endian.

use super::{ImportanceError, insert};
use std::collections::BTreeMap;

/// Entries at most: more than the largest models have, and fewer than a file of another kind is likely to begin with.
const MOST_ENTRIES: i32 = 1 << 20;

pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Vec<f32>>, ImportanceError> {
    let mut reader = Reader { bytes, offset: 0 };
    let count = reader.number("the number of entries", 1..=MOST_ENTRIES)?;
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let name = reader.name()?;
        let times = reader.number("the number of measurements", i32::MIN..=i32::MAX)?;
        if times < 1 {
            return Err(ImportanceError::Count { name: name.to_string(), count: times as f32 });
        }
        let columns = reader.number("the number of values", 1..=i32::MAX)?;
        let values = reader.take((columns as usize).saturating_mul(4), "the values of an entry")?;
        let times = f64::from(times);
        let means = values.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)) / times);
        insert(&mut all, name, means.map(|mean| mean as f32).collect())?;
    }
    if !reader.is_at_end() {
        reader.number("the number of chunks", i32::MIN..=i32::MAX)?;
    }
    if !reader.is_at_end() {
        let length = reader.number("the length of the text's name", 0..=i32::MAX)?;
        reader.take(length as usize, "the text's name")?;
    }
    match bytes.len() - reader.offset {
        0 => Ok(all),
        count => Err(ImportanceError::Trailing { count }),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.offset == self.bytes.len()
    }

    fn take(&mut self, needed: usize, what: &'static str) -> Result<&'a [u8], ImportanceError> {
        let (offset, length) = (self.offset, self.bytes.len());
        let end = offset.saturating_add(needed);
        let slice = self.bytes.get(offset..end);
        let slice = slice.ok_or(ImportanceError::Truncated { what, offset, needed, length })?;
        self.offset = end;
        Ok(slice)
    }

    fn number(
        &mut self,
        what: &'static str,
        allowed: std::ops::RangeInclusive<i32>,
    ) -> Result<i32, ImportanceError> {
        let offset = self.offset;
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4, what)?);
        let found = i32::from_le_bytes(bytes);
        if allowed.contains(&found) {
            Ok(found)
        } else {
            Err(ImportanceError::Number { what, found, offset })
        }
    }

    fn name(&mut self) -> Result<&'a str, ImportanceError> {
        let length = self.number("the length of a name", 1..=i32::MAX)?;
        let offset = self.offset;
        let name = self.take(length as usize, "a name")?;
        std::str::from_utf8(name).map_err(|_| ImportanceError::Name { offset })
    }
}
