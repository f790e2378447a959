//! A reading position in bytes that may be truncated anywhere.

use super::GgufError;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Cursor { bytes, offset }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        let (offset, length) = (self.offset, self.bytes.len());
        let end = usize::try_from(count).ok().and_then(|count| offset.checked_add(count));
        match end.and_then(|end| self.bytes.get(offset..end)) {
            Some(slice) => {
                self.offset += slice.len();
                Ok(slice)
            }
            None => Err(GgufError::Truncated { what, offset, needed: count, length }),
        }
    }

    fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let mut fixed = [0; N];
        fixed.copy_from_slice(self.take(N as u64, what)?);
        Ok(fixed)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let length = self.u64(what)?;
        let offset = self.offset;
        std::str::from_utf8(self.take(length, what)?).map_err(|_| GgufError::Utf8 { offset })
    }
}
