//! A file that arrives in chunks and is put where it will stay.

use crate::progress::Progress;
use crate::source::Source;
use crate::{Failure, failure, memory};
use edgellm::format::{FormatError, HEADER_BYTES, Header, MAGIC};
use js_sys::{Function, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Bytes of a model file or GGUF file on their way into linear memory. Room for all of them is made once.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// Bytes of the whole file, once known.
    total: Option<u64>,
}

#[wasm_bindgen]
impl Incoming {
    /// A `.tmac2.bin` file: its header says how long it is. `limit` is the most bytes of memory to take.
    pub fn model(limit: f64) -> Incoming {
        memory::set_limit(limit);
        Incoming { bytes: Vec::new(), total: None }
    }

    /// A GGUF file of `total` bytes.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn gguf(total: f64, limit: f64) -> Result<Incoming, Failure> {
        memory::set_limit(limit);
        let total = total as u64;
        Ok(Incoming { bytes: memory::room(total, "the GGUF file")?, total: Some(total) })
    }

    /// Receives all of `source`: a `File` or other `Blob`, a `MessagePort` of `chunks.js`, or `{url, request}`, what `fetch`
    /// takes. `progress` is called with the bytes here and the bytes in all.
    ///
    /// # Errors
    /// `download`, and those of [`Incoming::write`].
    pub async fn receive(mut self, source: JsValue, progress: Function) -> Result<Incoming, Failure> {
        let mut progress = Progress::new(progress);
        let source = Source::open(&source).await?;
        let here = |incoming: &Incoming| incoming.bytes.len() as u64;
        while let Some(chunk) =
            source.next().await.map_err(|why| source.broken(&why, here(&self), self.total))?
        {
            self.write(&chunk)?;
            if let Some(total) = self.total {
                progress.report(here(&self), total);
            }
        }
        Ok(self)
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// `not_a_model`, `gguf` or `damaged` as soon as the first bytes show it; `out_of_memory`.
    pub fn write(&mut self, chunk: &Uint8Array) -> Result<(), Failure> {
        let mut rest = chunk.clone();
        if self.total.is_none() {
            // The header alone, so that the file is here once even if it comes as one chunk.
            let header = rest.length().min((HEADER_BYTES - self.bytes.len()) as u32);
            self.append(&rest.subarray(0, header));
            self.read_header()?;
            rest = rest.subarray(header, rest.length());
        }
        let end = self.bytes.len() as u64 + u64::from(rest.length());
        if let Some(total) = self.total
            && end > total
        {
            return Err(FormatError::Length { expected: total, actual: end }.into());
        }
        self.append(&rest);
        Ok(())
    }

    fn append(&mut self, bytes: &Uint8Array) {
        let start = self.bytes.len();
        self.bytes.resize(start + bytes.length() as usize, 0);
        bytes.copy_to(&mut self.bytes[start..]);
    }

    /// Learns the file's length from its first bytes and makes room for the rest.
    fn read_header(&mut self) -> Result<(), Failure> {
        let magic = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(failure::foreign(&self.bytes));
        }
        if self.bytes.len() < HEADER_BYTES {
            return Ok(());
        }
        let total = Header::parse(&self.bytes)?.file_length;
        let mut all = memory::room(total, "the model")?;
        all.extend_from_slice(&self.bytes);
        self.bytes = all;
        self.total = Some(total);
        Ok(())
    }
}

impl Incoming {
    /// The whole file.
    ///
    /// # Errors
    /// `not_a_model` or `damaged` if the end is missing.
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, Failure> {
        match self.total {
            Some(total) if total == self.bytes.len() as u64 => Ok(self.bytes),
            Some(total) => {
                Err(FormatError::Length { expected: total, actual: self.bytes.len() as u64 }.into())
            }
            None => Err(failure::foreign(&self.bytes)),
        }
    }
}
