//! The token ids of texts: the program that scripts/reference/tokenizers.py compares with Hugging Face's tokenizers.
//!
//! `tokenizer SOURCE [plain]` reads texts, a JSON string a line, and prints `{"ids": [...], "text": "..."}` for each, where the
//! text is that of the ids; `plain` adds no tokens around a text. `measure` prints how long each text took in place of its ids,
//! and, on Linux, the memory it took besides the text. SOURCE is a GGUF file, which needs no tensors, or a folder
//! with `tokenizer.json` or `tokenizer.model`.

use edgellm::tokenizer::Tokenizer;
use edgellm_quantize::{tokenizer_of_files, tokenizer_of_gguf};
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    let source = env::args().nth(1).ok_or("usage: tokenizer SOURCE [plain | measure] <TEXTS")?;
    let word = env::args().nth(2).unwrap_or_default();
    let (plain, measure) = (word == "plain", word == "measure");
    let start = Instant::now();
    let json = read(Path::new(&source))?;
    let made = start.elapsed();
    let tokenizer = Tokenizer::from_json(&json)?;
    eprintln!("read in {made:.2?}, opened in {:.2?}", start.elapsed() - made);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line: String = serde_json::from_str(&line?)?;
        if measure {
            // Peaks count from here on.
            let _ = fs::write("/proc/self/clear_refs", "5");
            let (before, start) = (memory("VmRSS:"), Instant::now());
            let tokens = tokenizer.encode(&line, true)?.len();
            let (time, most) = (start.elapsed(), memory("VmHWM:").saturating_sub(before));
            writeln!(out, "{} bytes, {tokens} tokens: {time:.2?}, {:.1} MB", line.len(), most as f64 / 1e6)?;
            continue;
        }
        let ids = tokenizer.encode(&line, !plain)?;
        let text = tokenizer.decode(&ids, false);
        writeln!(out, "{}", serde_json::json!({ "ids": ids, "text": text }))?;
    }
    Ok(out.flush()?)
}

/// A field of Linux's account of this process, in bytes.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next());
    value.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn read(source: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    if source.is_file() {
        return Ok(tokenizer_of_gguf(&fs::read(source)?)?);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json" || extension == "model") {
            files
                .push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(path)?));
        }
    }
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    Ok(tokenizer_of_files(&files)?)
}
