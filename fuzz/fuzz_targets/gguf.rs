//! Parses arbitrary bytes as a GGUF file; what parses is dequantized and converted as a model.
#![no_main]

use edgellm_quantize::gguf::Gguf;
use edgellm_quantize::{Format, QuantizeOptions, Source, quantize};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::ops::ControlFlow;

fuzz_target!(|data: &[u8]| {
    let Ok(gguf) = Gguf::parse(data) else { return };
    for tensor in gguf.tensors() {
        let mut row = vec![0.0; tensor.shape[1]];
        if let Some(bytes) = tensor.ggml_type.row_bytes(row.len()).and_then(|bytes| tensor.data.get(..bytes)) {
            assert!(edgellm_quantize::dequantize::dequantize(tensor.ggml_type, bytes, &mut row));
        }
    }
    let Ok(source) = Source::from_gguf(data) else { return };
    for format in [Format::Auto, Format::Int4, Format::Bitnet] {
        let out = Cursor::new(Vec::new());
        let _ = quantize(&source, &QuantizeOptions::new(format), out, &mut |_| ControlFlow::Continue(()));
    }
});
