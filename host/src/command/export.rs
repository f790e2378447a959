//! `edgellm export`.

use crate::args::{Choices, one_of};
use crate::atomic_folder::{self, AtomicFolder};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::model;
use crate::output::{self, human_bytes};
use crate::progress;
use edgellm_quantize::export::{Dtype, ExportError, WEIGHTS_FILE};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Write a model as a Hugging Face directory, to fine-tune it with transformers and peft
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm export --model smollm2-135m-instruct --output smollm2-hf
  edgellm export --model hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 --dtype bf16 --output qwen3-hf
  edgellm export --model model.tmac2.bin --dtype f32 --output model-hf

The directory has config.json, generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json and, if the model
has a chat template, chat_template.jinja. AutoModelForCausalLM and AutoTokenizer of transformers 5 open it. A model of the
catalogue or the hub is exported from its download, not from what it was converted to. The weights are those of the file:
dequantized, and rounded to --dtype. f16 keeps 11 bits of each and ends at 65504; a model with larger weights needs f32, or bf16,
which keeps 8 bits. Families: Llama, Mistral, Qwen2, Qwen3, Gemma 3, Phi-3 and 4, SmolLM3, OLMo 2 and Granite.")]
pub(crate) struct Args {
    /// A name that `edgellm list` shows; hf:OWNER/REPO for a model of the Hugging Face hub; or the path of a .gguf file, a .tmac2.bin
    /// file or a Hugging Face directory
    #[arg(long, short, value_name = "NAME|PATH")]
    model: String,
    /// Directory to write, new or empty; it appears when it is complete
    #[arg(long, short, value_name = "DIRECTORY")]
    output: PathBuf,
    /// Type of the weights
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = one_of(DTYPES))]
    dtype: Dtype,
}

const DTYPES: Choices<Dtype> = &[
    ("f16", Dtype::F16, "half precision: 11 bits, up to 65504"),
    ("bf16", Dtype::Bf16, "bfloat16: 8 bits, any size"),
    ("f32", Dtype::F32, "32-bit floats: 24 bits, without rounding"),
];

impl Args {
    /// Exports and reports.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let Exported { weights, bytes } = export(&self.model, &self.output, self.dtype, cache)?;
        output::print(&format!(
            "{}: {weights} weights as {}, {}\n",
            self.output.display(),
            self.dtype.torch_name(),
            human_bytes(bytes)
        ))
    }
}

/// What was written.
pub(crate) struct Exported {
    /// How many weights the model has.
    pub(crate) weights: u64,
    /// Length of all files together.
    pub(crate) bytes: u64,
}

/// Writes `model`, a name of the catalogue or the hub or a path, as the Hugging Face directory `output`, which must be new or empty and
/// appears when it is complete.
///
/// # Errors
/// If there is no such model, it cannot be exported, or the directory cannot be written.
pub(crate) fn export(model: &str, output: &Path, dtype: Dtype, cache: &Cache) -> Result<Exported> {
    // Before a model is downloaded for it.
    atomic_folder::check(output)?;
    let input = model::original_of(model, cache)?;
    model::with_export(&input, |export| {
        let files = export.files(dtype);
        let others: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let bytes = others + export.weights_bytes(dtype);
        export.warnings().iter().for_each(|warning| progress::note(&format!("warning: {warning}")));
        let mut folder = AtomicFolder::create(output, bytes)?;
        for (name, bytes) in &files {
            let failed = Error::file("write", &output.join(name));
            folder.file(name, |file| file.write_all(bytes).map_err(failed))?;
        }
        let bar = progress::share(export.weights(), &format!("exporting as {}", dtype.torch_name()));
        folder.file(WEIGHTS_FILE, |file| {
            let written = export.write_weights(dtype, file, &mut |progress| {
                bar.set(progress.done);
                ControlFlow::Continue(())
            });
            written.map_err(|error| match error {
                ExportError::Write(source) => Error::file("write", &output.join(WEIGHTS_FILE))(source),
                source => Error::Export { path: input.clone(), source },
            })
        })?;
        drop(bar);
        folder.commit()?;
        Ok(Exported { weights: export.weights(), bytes })
    })
}
