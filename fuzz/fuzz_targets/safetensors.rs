//! Converts a Hugging Face folder in which arbitrary bytes replace one file. The first byte selects the file; the
//! other files are those of fuzz/folder.
#![no_main]

use edgellm_quantize::{Format, QuantizeOptions, Source, quantize};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::ops::ControlFlow;

const CONFIG: &[u8] = include_bytes!("../folder/config.json");
const TOKENIZER: &[u8] = include_bytes!("../folder/tokenizer.json");
const WEIGHTS: &[u8] = include_bytes!("../folder/model.safetensors");

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    let mut files = vec![("config.json", CONFIG), ("tokenizer.json", TOKENIZER), ("model.safetensors", WEIGHTS)];
    match which % 8 {
        0 => files[0].1 = data,
        1 => {
            files[2].0 = "a.safetensors";
            files.push(("model.safetensors.index.json", data));
        }
        2 => files.push(("tokenizer_config.json", data)),
        3 => files.push(("generation_config.json", data)),
        _ => files[2].1 = data,
    }
    let Ok(source) = Source::from_files(&files) else { return };
    let options = QuantizeOptions::new(Format::Int2);
    let _ = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(()));
});
