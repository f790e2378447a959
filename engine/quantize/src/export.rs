//! A Hugging Face directory of a model, whatever it was read from: for transformers, and for programs that fine-tune with it.
//!
//! Weights are the model's own, dequantized and rounded to one type. What a family of transformers cannot say is refused by
//! name: the configuration that is written is read again, and must be the model's.

mod config;
mod dtype;
mod error;
mod rope;
#[cfg(test)]
mod tests;
mod tokenizer;
mod weights;

pub use dtype::Dtype;
pub use error::ExportError;

use crate::Source;
use crate::report::Progress;
use edgellm::config::ModelConfig;
use edgellm::format::ModelFile;
use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;
use tokenizer::{Named, Tokens};
use weights::{Input, Output};

/// The file with the weights, [`Export::write_weights`].
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The version of transformers whose form the files have.
const TRANSFORMERS: &str = "5.24.0";

/// A model that can be written as a Hugging Face directory.
///
/// ```no_run
/// use edgellm_quantize::export::{Dtype, Export, WEIGHTS_FILE};
/// use std::ops::ControlFlow;
///
/// let gguf = std::fs::read("model.gguf")?;
/// let source = edgellm_quantize::Source::from_gguf(&gguf)?;
/// let export = Export::from_source(&source)?;
/// for (name, bytes) in export.files(Dtype::F16) {
///     std::fs::write(name, bytes)?;
/// }
/// let out = std::fs::File::create(WEIGHTS_FILE)?;
/// export.write_weights(Dtype::F16, out, &mut |_| ControlFlow::Continue(()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Export<'a> {
    config: ModelConfig,
    tokenizer: &'a [u8],
    chat_template: Option<Cow<'a, str>>,
    tokens: Tokens,
    inputs: Vec<Input<'a>>,
    outputs: Vec<Output>,
}

impl fmt::Debug for Export<'_> {
    /// Without the weights.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<'a> Export<'a> {
    /// A GGUF file or a Hugging Face directory.
    ///
    /// # Errors
    /// [`ExportError`] if transformers has no such model, or does not say of a tensor what its codes are.
    pub fn from_source(source: &'a Source<'_>) -> Result<Self, ExportError> {
        let named = Named { bos: &source.bos_token, eos: &source.eos_token, pad: &source.pad_token };
        let inputs = source.tensors().iter().map(Input::of_source).collect::<Result<_, _>>()?;
        let template = source.chat_template.as_deref().map(Cow::Borrowed);
        Self::new(source.config.clone(), &source.tokenizer, template, named, inputs)
    }

    /// The bytes of a `.tmac2.bin` file.
    ///
    /// # Errors
    /// [`ExportError`] if the file is damaged, or transformers has no such model.
    pub fn from_model_file(bytes: &'a [u8]) -> Result<Self, ExportError> {
        let file = ModelFile::parse(bytes)?;
        let metadata = file.metadata();
        let inputs = weights::of_file(&file, bytes)?;
        // Files of older versions hold no texts of tokens: those of the ids serve.
        let (bos, eos) = (metadata.bos_token.as_deref(), metadata.eos_token.as_deref());
        let named = Named { bos: bos.unwrap_or_default(), eos: eos.unwrap_or_default(), pad: "" };
        let template = metadata.chat_template.clone().filter(|template| !template.trim().is_empty());
        let (config, tokenizer) = (metadata.config.clone(), file.tokenizer(bytes));
        Self::new(config, tokenizer, template.map(Cow::Owned), named, inputs)
    }

    fn new(
        config: ModelConfig,
        tokenizer: &'a [u8],
        chat_template: Option<Cow<'a, str>>,
        named: Named<'_>,
        inputs: Vec<Input<'a>>,
    ) -> Result<Self, ExportError> {
        config::check(&config)?;
        let tokens = Tokens::find(tokenizer, named, &config)?;
        let outputs = weights::outputs(&config, &inputs);
        Ok(Export { config, tokenizer, chat_template, tokens, inputs, outputs })
    }

    /// Names and contents of all files but the one with the weights.
    pub fn files(&self, dtype: Dtype) -> Vec<(&'static str, Cow<'_, [u8]>)> {
        let json = |object: &serde_json::Value| Cow::Owned(format!("{object:#}\n").into_bytes());
        let mut files = vec![
            ("config.json", json(&config::json(&self.config, &self.tokens, dtype))),
            ("generation_config.json", json(&tokenizer::generation(&self.tokens, &self.config))),
            ("tokenizer.json", Cow::Borrowed(self.tokenizer)),
            ("tokenizer_config.json", json(&tokenizer::config(&self.tokens, &self.config))),
        ];
        if let Some(template) = &self.chat_template {
            files.push(("chat_template.jinja", Cow::Borrowed(template.as_bytes())));
        }
        files
    }

    /// What to know before the directory is used, a sentence each.
    pub fn warnings(&self) -> Vec<&'static str> {
        let other = self.config.model_type == "qwen2" && !self.tokens.is_qwen2;
        // Whatever tokenizer_class says.
        other
            .then_some(
                "AutoTokenizer of transformers splits text of qwen2 models as Qwen2 does, and this model's tokenizer does not: open it by \
                 PreTrainedTokenizerFast",
            )
            .into_iter()
            .collect()
    }

    /// How many weights there are.
    pub fn weights(&self) -> u64 {
        self.outputs.iter().map(Output::elements).sum()
    }

    /// The length of the file with the weights.
    pub fn weights_bytes(&self, dtype: Dtype) -> u64 {
        let header = weights::header(&self.outputs, dtype);
        8 + header.len() as u64 + self.weights() * dtype.bytes() as u64
    }

    /// Writes [`WEIGHTS_FILE`], row by row, each weight rounded to the nearest number of `dtype`. `progress` is called again and
    /// again; [`ControlFlow::Break`] stops.
    ///
    /// # Errors
    /// [`ExportError`] if a weight does not fit `dtype` or is not finite, `out` refuses the bytes, or `progress` stops.
    pub fn write_weights<W: Write>(
        &self,
        dtype: Dtype,
        mut out: W,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<(), ExportError> {
        weights::write(&self.inputs, &self.outputs, dtype, &mut out, progress)?;
        Ok(out.flush()?)
    }
}
