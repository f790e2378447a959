//! Converting sources to model files.

use super::input::{self, Input};
use super::key::Key;
use super::title;
use super::verify::is_current;
use crate::atomic_file::{self, AtomicFile};
use crate::cache::{self, Cache};
use crate::error::{Error, Result};
use crate::output::human_bytes;
use crate::{progress, system};
use edgellm::Model;
use edgellm::format::Header;
use edgellm_memory::{MappedFile, PageWriter};
use edgellm_quantize::{QuantizeError, QuantizeOptions, Report, Source};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A conversion into the cache.
pub(crate) struct Conversion {
    /// A GGUF file or a Hugging Face directory.
    pub(crate) source: PathBuf,
    /// The directory of the model file.
    pub(crate) folder: PathBuf,
    pub(crate) options: QuantizeOptions,
    /// What the cache calls the source and its state.
    pub(crate) key: Key,
    /// What the model is called, if it is one of the catalogue or the hub.
    pub(crate) name: Option<String>,
}

/// Converts a source, unless another process does so while this one waits for the lock, and removes what that replaces.
/// Returns the model file's path.
///
/// # Errors
/// If the source cannot be converted, or the cache cannot be written to.
pub(crate) fn convert(conversion: Conversion, cache: &Cache) -> Result<PathBuf> {
    let Conversion { source, folder, options, key, name } = conversion;
    let _lock = cache.lock(key.source())?;
    // The source may have changed while this process waited, and another one have converted it.
    let key = key.renewed()?;
    let output = folder.join(key.file_name(options.format));
    if !is_current(&output) {
        cache::create_folder(&folder)?;
        if folder != cache.files() {
            // That directory is shared by models with locks of their own.
            atomic_file::sweep(&folder);
        }
        let begin =
            || progress::note(&format!("converting {} to {}, once", source.display(), options.format));
        let report = convert_file(&source, &output, &options, name.as_deref(), begin)?;
        for warning in &report.warnings {
            progress::note(&format!("warning: {warning}"));
        }
        key.remove_replaced(&folder);
    }
    Ok(output)
}

/// Opens the model at `input` for `use_it`. It gets `name` if it is given, else the name of its file or directory, else the source's
/// own.
///
/// # Errors
/// If the input is not a model that can be converted, or `use_it` fails.
pub(crate) fn with_source<T>(
    input: &Path,
    name: Option<&str>,
    use_it: impl FnOnce(&Source<'_>) -> Result<T>,
) -> Result<T> {
    let failed = |source| Error::Convert { path: input.to_path_buf(), source };
    let opened = Input::open(&input::whole(input))?;
    let files: Vec<(&str, &[u8])>;
    let mut source = match &opened {
        Input::Gguf(parts) => {
            let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
            Source::from_gguf_parts(&parts).map_err(failed)?
        }
        Input::Folder(folder) => {
            files = folder.iter().map(|(name, file)| (name.as_str(), file.as_ref())).collect();
            Source::from_files(&files).map_err(failed)?
        }
        Input::ModelFile(other) => {
            // Not a source. Say whether it is a model file already.
            let path = input.to_path_buf();
            return Err(match Header::parse(other.as_ref()) {
                Ok(_) => Error::WrongKind {
                    path,
                    found: "already converted",
                    advice: "give the GGUF file or Hugging Face directory that it was made from",
                },
                Err(_) => Error::WrongKind {
                    path,
                    found: "not a GGUF file",
                    advice: "give a .gguf file or a Hugging Face directory",
                },
            });
        }
    };
    if let Some(name) = name.map(str::to_string).or_else(|| title::of(input)) {
        source.name = name;
    }
    use_it(&source)
}

/// Converts the model at `input` to `output`, which appears only when it is complete. The model gets `name` if it is
/// given, else the name of its file or directory, else the source's own. `begin` is called once nothing but the weights is left to read.
///
/// # Errors
/// If the input is not a model that can be converted, or the output cannot be written.
pub(crate) fn convert_file(
    input: &Path,
    output: &Path,
    options: &QuantizeOptions,
    name: Option<&str>,
    begin: impl FnOnce(),
) -> Result<Report> {
    with_source(input, name, |source| convert_source(source, input, output, options, begin))
}

fn convert_source(
    source: &Source<'_>,
    input: &Path,
    output: &Path,
    options: &QuantizeOptions,
    begin: impl FnOnce(),
) -> Result<Report> {
    let failed = |source| Error::Convert { path: input.to_path_buf(), source };
    let mut file = AtomicFile::create(output)?;
    begin();
    let memory = edgellm_quantize::calibration_memory(source, options).map_err(failed)?;
    if let (Some(calibration), 1..) = (&options.calibration, memory) {
        let (tokens, text) = (calibration.tokens, calibration.text.name());
        let doing = format!("calibrating on up to {tokens} tokens of text ({text})");
        let advice = "close other programs, lower --calibration-tokens, or convert with --calibration none";
        announce(&doing, "calibration", memory, advice)?;
    }
    let memory = edgellm_quantize::measurement_memory(source, options).map_err(failed)?;
    require(memory, "measuring what rounding costs", "close other programs, or convert with --skip-quality")?;
    let format = options.allocation.as_ref().map_or(options.format.name(), |_| "mixed widths");
    let bar = progress::share(1, &format!("converting to {format}"));
    let mut writer = PageWriter::new(file.file()).map_err(Error::file("write", output))?;
    let report = edgellm_quantize::quantize(source, options, &mut writer, &mut |progress| {
        bar.set_total(progress.total);
        bar.set(progress.done);
        ControlFlow::Continue(())
    });
    let report = report.map_err(|error| match error {
        QuantizeError::Write(source) => Error::Write { path: output.to_path_buf(), source },
        error => failed(error),
    })?;
    writer.flush().map_err(Error::file("write", output))?;
    drop(writer);
    let written = MappedFile::new(file.file()).map_err(Error::file("map", output))?;
    // What the engine does not open is not kept.
    Model::from_bytes(written).map_err(|source| Error::Unusable { path: input.to_path_buf(), source })?;
    file.commit()?;
    Ok(report)
}

/// Says what is about to be done, `doing`, and the memory that `what` takes.
///
/// # Errors
/// If it takes more memory than there is: then `advice` says what to do.
pub(crate) fn announce(doing: &str, what: &str, memory: u64, advice: &str) -> Result<()> {
    require(memory, what, advice)?;
    progress::note(&format!("{doing}, with {} of memory", human_bytes(memory)));
    Ok(())
}

/// # Errors
/// If `what` takes more memory than there is.
fn require(memory: u64, what: &str, advice: &str) -> Result<()> {
    match system::memory_bytes() {
        (_, Some(available)) if available < memory => Err(Error::Memory(format!(
            "{what} takes {} of memory, and {} are free: {advice}",
            human_bytes(memory),
            human_bytes(available)
        ))),
        _ => Ok(()),
    }
}
