//! A model: validated bytes, and the locations of its weights in them.

use crate::TokenId;
use crate::chat::{ChatError, ChatTemplate};
use crate::compute::Compute;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::format::{FormatError, Metadata, ModelFile, TensorData, TensorEncoding};
use crate::rope::Ropes;
use crate::tokenizer::Tokenizer;
use crate::weights::{Weight, Weights};
use edgellm_kernels::layout::{Layout, Matrix};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A model, ready to run. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    file: ModelFile,
    tokenizer: Tokenizer,
    weights: Weights,
    ropes: Ropes,
    compute: Compute,
    chat_template: OnceLock<Result<ChatTemplate, ChatError>>,
    /// What stands in the place of tensors of the file, by their position.
    replaced: HashMap<usize, (Layout, Arc<[u8]>)>,
}

impl Model {
    /// Opens a model from the bytes of a `.tmac2.bin` file (a memory map, a `Vec<u8>`, a `&'static [u8]`),
    /// with the fastest kernels on one thread.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Tokenizer`] says what is wrong with the bytes.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::with_compute(bytes, Compute::default())
    }

    /// As [`Model::from_bytes`], with kernels and threads of your choice.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Tokenizer`] says what is wrong with the bytes.
    pub fn with_compute(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        compute: Compute,
    ) -> Result<Self, Error> {
        let file = ModelFile::parse(bytes.as_ref())?;
        let weights = Weights::find(&file, bytes.as_ref())?;
        let tokenizer = Tokenizer::from_json(file.tokenizer(bytes.as_ref()))?;
        let ropes = Ropes::new(&file.metadata().config);
        let (bytes, chat_template) = (Box::new(bytes), OnceLock::new());
        let replaced = HashMap::new();
        Ok(Model(Arc::new(Inner {
            bytes,
            file,
            tokenizer,
            weights,
            ropes,
            compute,
            chat_template,
            replaced,
        })))
    }

    /// Shape and constants.
    pub fn config(&self) -> &ModelConfig {
        &self.0.file.metadata().config
    }

    /// The metadata of the file.
    pub fn metadata(&self) -> &Metadata {
        self.0.file.metadata()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// The model's chat template, `None` if the file has none or an empty one. It is compiled on the first call and shared by all
    /// clones of the model.
    ///
    /// # Errors
    /// [`ChatError::Template`] if it cannot be compiled.
    pub fn chat_template(&self) -> Result<Option<&ChatTemplate>, ChatError> {
        let Metadata { chat_template, bos_token, eos_token, config, .. } = self.metadata();
        let source = chat_template.as_deref().filter(|source| !source.trim().is_empty());
        let Some(source) = source else { return Ok(None) };
        let token = |id: &TokenId| self.tokenizer().id_to_token(*id);
        let compile = || {
            // Files of older versions hold no texts.
            let bos = bos_token.as_deref().or_else(|| config.bos_token_id.as_ref().and_then(token));
            let eos = eos_token.as_deref().or_else(|| config.eos_token_ids.first().and_then(token));
            ChatTemplate::new(source, bos.unwrap_or_default(), eos.unwrap_or_default())
        };
        self.0.chat_template.get_or_init(compile).as_ref().map(Some).map_err(ChatError::clone)
    }

    /// Kernels and threads.
    pub fn compute(&self) -> &Compute {
        &self.0.compute
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> usize {
        (*self.0.bytes).as_ref().len()
    }

    /// Whether both are clones of one model.
    pub(crate) fn same(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.0.weights
    }

    pub(crate) fn ropes(&self) -> &Ropes {
        &self.0.ropes
    }

    /// Puts other weights in the place of matrix `name`, for as long as this model lives: calibration measures what quantized
    /// weights give before they are in a file. A tied head changes with the embedding.
    ///
    /// # Errors
    /// [`Error::Shared`] if the model has other clones or sessions, else [`FormatError`]: there is no such matrix, it is multiplied
    /// by a scale of its own, or the weights have another shape, another length, or a scale that is not finite.
    pub fn replace(&mut self, name: &str, layout: Layout, bytes: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        let bytes = bytes.into();
        let inner = Arc::get_mut(&mut self.0).ok_or(Error::Shared)?;
        let name = || name.to_string();
        let position = inner.file.position(&name()).ok_or_else(|| FormatError::Missing { name: name() })?;
        let entry = &inner.file.metadata().tensors[position];
        let (expected, actual) = (entry.shape, [layout.rows(), layout.cols()]);
        if expected != actual {
            return Err(FormatError::Shape { name: name(), expected, actual }.into());
        }
        if entry.encoding == TensorEncoding::F32 || entry.scale.is_some() {
            return Err(FormatError::Encoding { name: name(), actual: entry.encoding }.into());
        }
        let matrix =
            Matrix::new(layout, &bytes).map_err(|source| FormatError::Layout { name: name(), source })?;
        if let Some(strip) = matrix.strip_not_finite() {
            return Err(FormatError::ScaleNotFinite { name: name(), strip }.into());
        }
        inner.replaced.insert(position, (layout, bytes));
        Ok(())
    }

    /// Puts the weights of the file back where [`Model::replace`] put others; without such, nothing changes.
    ///
    /// # Errors
    /// [`Error::Shared`] if the model has other clones or sessions, [`FormatError::Missing`] if there is no such tensor.
    pub fn restore(&mut self, name: &str) -> Result<(), Error> {
        let inner = Arc::get_mut(&mut self.0).ok_or(Error::Shared)?;
        let missing = || FormatError::Missing { name: name.to_string() };
        let position = inner.file.position(name).ok_or_else(missing)?;
        inner.replaced.remove(&position);
        Ok(())
    }

    pub(crate) fn matrix(&self, weight: Weight) -> Matrix<'_> {
        if let Some((layout, bytes)) = self.0.replaced.get(&weight.position) {
            match Matrix::new(*layout, bytes) {
                Ok(matrix) => return matrix,
                Err(error) => unreachable!("checked by `replace`: {error}"),
            }
        }
        match self.0.file.data((*self.0.bytes).as_ref(), weight.position) {
            TensorData::Packed(matrix) => matrix,
            TensorData::F32(_) => unreachable!("`Weights::find` takes packed matrices only"),
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({}, {:?})", self.metadata().name, self.compute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{recipes, seeded_chat_model, seeded_sentencepiece_model};

    /// Files of older versions, which seeded models are like.
    #[test]
    fn templates_of_files_without_texts_get_those_of_the_ids() {
        let template = Some("[{{ bos_token }}]({{ eos_token }})");
        let render = |bytes| {
            let model = Model::from_bytes(bytes).unwrap();
            assert_eq!((&model.metadata().bos_token, &model.metadata().eos_token), (&None, &None));
            model.chat_template().unwrap().unwrap().render(&[], false).unwrap().text().to_string()
        };
        assert_eq!(render(seeded_sentencepiece_model(1, template).unwrap()), "[](</s>)");
        // The token of the byte 0.
        assert_eq!(render(seeded_chat_model(recipes()[0], 1, template).unwrap()), "[](\u{100})");
    }
}
