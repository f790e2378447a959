//! A file that arrives in pieces and is put where it will stay.

use crate::{Failure, failure, memory};
use edgellm::format::{FormatError, HEADER_BYTES, Header, MAGIC};
use js_sys::Uint8Array;
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

    /// Appends a piece.
    ///
    /// # Errors
    /// `not_a_model`, `gguf` or `damaged` as soon as the first bytes show it; `out_of_memory`.
    pub fn write(&mut self, piece: &Uint8Array) -> Result<(), Failure> {
        let (start, length) = (self.bytes.len(), piece.length() as usize);
        let end = start as u64 + u64::from(piece.length());
        if let Some(total) = self.total
            && end > total
        {
            return Err(FormatError::Length { expected: total, actual: end }.into());
        }
        self.bytes.resize(start + length, 0);
        piece.copy_to(&mut self.bytes[start..]);
        if self.total.is_none() { self.read_header() } else { Ok(()) }
    }

    /// Bytes here.
    #[wasm_bindgen(getter)]
    pub fn loaded(&self) -> f64 {
        self.bytes.len() as f64
    }

    /// Bytes of the whole file; 0 until known.
    #[wasm_bindgen(getter)]
    pub fn total(&self) -> f64 {
        self.total.unwrap_or(0) as f64
    }

    /// Learns the file's length from its first bytes and makes room for the rest.
    fn read_header(&mut self) -> Result<(), Failure> {
        let magic = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(failure::foreign(magic));
        }
        if self.bytes.len() < HEADER_BYTES {
            return Ok(());
        }
        let total = Header::parse(&self.bytes)?.file_length;
        if self.bytes.len() as u64 > total {
            return Err(FormatError::Length { expected: total, actual: self.bytes.len() as u64 }.into());
        }
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
