//! GGUF to `.tmac2.bin`, inside the page.

use crate::progress::Progress;
use crate::{Failure, Incoming, failure, options};
use edgellm_quantize::{Format, HeadFormat, QuantizeError, QuantizeOptions, Report, Scales, Source};
use js_sys::{Array, Function, Uint8Array};
use serde::Deserialize;
use serde_json::json;
use std::io::{self, Seek, SeekFrom, Write};
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::Blob;

/// `QuantizeOptions` of `index.d.ts`, but for what stays in JavaScript.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OptionsJson {
    name: Option<String>,
    format: Option<String>,
    head: Option<String>,
    group_size: Option<usize>,
    scales: Option<String>,
    i2s_order: Option<String>,
}

impl OptionsJson {
    /// The options, and the model's name if it is given.
    fn read(json: &str) -> Result<(QuantizeOptions, Option<String>), Failure> {
        let given: OptionsJson = options::parse(json)?;
        let unknown = |error: edgellm_quantize::UnknownFormat| Failure::invalid(error.to_string());
        let format = given.format.as_deref().map_or(Ok(Format::Auto), str::parse).map_err(unknown)?;
        let head = given.head.as_deref().map_or(Ok(HeadFormat::default()), str::parse).map_err(unknown)?;
        let scales = given.scales.as_deref().map(|name| match name {
            "halves" => Ok(Scales::Halves),
            "six" => Ok(Scales::SixBits),
            _ => Err(Failure::invalid(format!("there are no scales {name:?}; there are halves and six"))),
        });
        let i2s_order = given.i2s_order.as_deref().map(str::parse).transpose();
        let options = QuantizeOptions {
            format,
            head,
            group_size: given.group_size,
            scales: scales.transpose()?,
            i2s_order: i2s_order
                .map_err(|error: edgellm_quantize::UnknownOrder| Failure::invalid(error.to_string()))?,
            importance: None,
            calibration: None,
            allocation: None,
            // Running the model twice takes minutes in a page.
            quality: None,
            // As the command line writes it: the same model gives the same file.
            tool: concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string(),
        };
        Ok((options, given.name))
    }
}

/// A converted model.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Quantized {
    file: Blob,
    name: String,
    report: Report,
}

#[wasm_bindgen]
impl Quantized {
    /// The file.
    #[wasm_bindgen(getter)]
    pub fn file(&self) -> Blob {
        self.file.clone()
    }

    /// `Quantized` of `index.d.ts` without the file, as JSON.
    pub fn report(&self) -> String {
        json!({
            "name": self.name,
            "parameters": self.report.weights,
            "bitsPerWeight": self.report.bits_per_weight(),
            "relativeError": self.report.error.relative,
            "warnings": self.report.warnings,
        })
        .to_string()
    }
}

/// Converts a GGUF file. `progress` is called with weights done and weights in all.
///
/// # Errors
/// `not_a_model`, `damaged`, `unsupported_model`, `invalid`, `out_of_memory`.
#[wasm_bindgen]
pub fn quantize(gguf: Incoming, options: &str, progress: Function) -> Result<Quantized, Failure> {
    let (options, name) = OptionsJson::read(options)?;
    let bytes = gguf.into_bytes()?;
    if !bytes.starts_with(b"GGUF") {
        return Err(failure::not_gguf(&bytes));
    }
    let mut source = Source::from_gguf(&bytes)?;
    if let Some(name) = name {
        source.name = name;
    }
    let (mut file, mut progress) = (Pieces::default(), Progress::new(progress));
    let report = edgellm_quantize::quantize(&source, &options, &mut file, &mut |step| {
        progress.report(step.done, step.total);
        std::ops::ControlFlow::Continue(())
    })
    .map_err(|error: QuantizeError| Failure::from(error))?;
    Ok(Quantized { file: file.into_blob()?, name: source.name.clone(), report })
}

/// A file in JavaScript's memory, so that linear memory holds only the source.
#[derive(Debug, Default)]
struct Pieces {
    pieces: Vec<Uint8Array>,
    position: u64,
    length: u64,
}

/// Bytes of a piece.
const PIECE: u64 = 4 << 20;

impl Pieces {
    fn into_blob(self) -> Result<Blob, Failure> {
        let last = self.pieces.len().saturating_sub(1) as u64;
        let trimmed = |(index, piece): (u64, &Uint8Array)| {
            let end = if index == last { self.length - last * PIECE } else { PIECE };
            piece.subarray(0, end as u32)
        };
        let pieces: Array = (0..).zip(&self.pieces).map(trimmed).collect();
        Blob::new_with_u8_array_sequence(&pieces)
            .map_err(|_| Failure::new("out_of_memory", "the browser has no room for the converted file"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (index, offset) = ((self.position / PIECE) as usize, self.position % PIECE);
        while self.pieces.len() <= index {
            self.pieces.push(Uint8Array::new_with_length(PIECE as u32));
        }
        let count = bytes.len().min((PIECE - offset) as usize);
        self.pieces[index].subarray(offset as u32, (offset + count as u64) as u32).copy_from(&bytes[..count]);
        self.position += count as u64;
        self.length = self.length.max(self.position);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Pieces {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
