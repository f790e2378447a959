//! What a path holds, by its first bytes and not by its name; and conversion of what is no model file yet.

use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::mmap;
use crate::progress;
use edgellm_memory::{MappedFile, PageWriter};
use edgellm_quantize::{QuantizeError, QuantizeOptions, Report, Source};
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

/// First bytes of a GGUF file.
const GGUF_MAGIC: &[u8] = b"GGUF";
/// Endings of the files of a Hugging Face folder that conversion reads.
const FOLDER_FILES: [&str; 3] = [".json", ".safetensors", ".jinja"];

/// A model as found on the disk.
pub(crate) enum Input {
    /// Probably a `.tmac2.bin` file; whoever opens it says if it is not.
    ModelFile(MappedFile),
    /// A GGUF file.
    Gguf(MappedFile),
    /// A Hugging Face folder: names and contents.
    Folder(Vec<(String, MappedFile)>),
}

impl Input {
    /// Looks at `path`.
    ///
    /// # Errors
    /// If there is nothing, or nothing that can be a model.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return open_folder(path).map(Input::Folder);
        }
        let file = mmap::map(path)?;
        if file.as_ref().starts_with(GGUF_MAGIC) { Ok(Input::Gguf(file)) } else { Ok(Input::ModelFile(file)) }
    }
}

fn open_folder(path: &Path) -> Result<Vec<(String, MappedFile)>> {
    if !path.join("config.json").is_file() {
        let advice = "give a .tmac2.bin or .gguf file, or a Hugging Face folder, which has a config.json";
        return Err(Error::WrongKind { path: path.to_path_buf(), found: "a directory", advice });
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::file("read", path))? {
        let entry = entry.map_err(Error::file("read", path))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if FOLDER_FILES.iter().any(|ending| name.ends_with(ending)) && entry.path().is_file() {
            files.push((name, mmap::map(&entry.path())?));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// Converts the model at `input` to `output`, which appears only when it is complete. The model gets `name` if
/// that is given, else the source's own name, else the file's.
///
/// # Errors
/// If the input is no model that can be converted, or the output cannot be written.
pub(crate) fn convert(
    input: &Path,
    output: &Path,
    options: &QuantizeOptions,
    name: Option<&str>,
) -> Result<Report> {
    let failed = |source| Error::Convert { path: input.to_path_buf(), source };
    let opened = Input::open(input)?;
    let files: Vec<(&str, &[u8])>;
    let mut source = match &opened {
        Input::Gguf(file) => Source::from_gguf(file.as_ref()).map_err(failed)?,
        Input::Folder(folder) => {
            files = folder.iter().map(|(name, file)| (name.as_str(), file.as_ref())).collect();
            Source::from_files(&files).map_err(failed)?
        }
        Input::ModelFile(file) => {
            // Nothing can be made of a model file, but of which kind it is no model is worth saying.
            let path = input.to_path_buf();
            return Err(match edgellm::format::Header::parse(file.as_ref()) {
                Ok(_) => Error::WrongKind {
                    path,
                    found: "converted already",
                    advice: "give the GGUF file or Hugging Face folder that it was made from",
                },
                Err(_) => Error::WrongKind {
                    path,
                    found: "not a GGUF file",
                    advice: "give a .gguf file or a Hugging Face folder",
                },
            });
        }
    };
    if let Some(name) = name {
        source.name = name.to_string();
    } else if source.name == "unnamed" {
        let stem = input.file_stem().unwrap_or_default();
        source.name = stem.to_string_lossy().into_owned();
    }
    let mut draft = Draft::new(output)?;
    let bar = progress::share(1, &format!("converting to {}", options.format));
    let mut writer = PageWriter::new(draft.file()).map_err(Error::file("write", output))?;
    let report = edgellm_quantize::quantize(&source, options, &mut writer, &mut |progress| {
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
    draft.commit()?;
    Ok(report)
}
