//! Any model as one that can be exported.

use super::convert::with_source;
use super::input::{self, Input};
use crate::error::{Error, Result};
use edgellm_quantize::export::Export;
use std::path::Path;

/// Opens the model at `input`, a model file, a GGUF file or a Hugging Face directory, for `use_it`.
///
/// # Errors
/// If it is damaged, transformers has no such model, or `use_it` fails.
pub(crate) fn with_export<T>(input: &Path, use_it: impl FnOnce(&Export<'_>) -> Result<T>) -> Result<T> {
    let failed = |source| Error::Export { path: input.to_path_buf(), source };
    match Input::open(&input::whole(input))? {
        Input::ModelFile(file) => use_it(&Export::from_model_file(file.as_ref()).map_err(failed)?),
        Input::Gguf(_) | Input::Folder(_) => {
            with_source(input, None, |source| use_it(&Export::from_source(source).map_err(failed)?))
        }
    }
}
