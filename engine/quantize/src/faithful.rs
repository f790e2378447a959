//! The model as its source has it, in memory, for what runs it.

use crate::encode::Work;
use crate::options::{Format, QuantizeOptions};
use crate::plan::Plan;
use crate::source::{Source, SourceTensor};
use crate::{QuantizeError, convert};
use edgellm_kernels::layout::Layout;
use std::io::Cursor;
use std::sync::Arc;

/// A model file in memory that several models share.
#[derive(Clone, Debug)]
pub(crate) struct SharedFile(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A model file that is as near the source as one can be, made when it is first needed.
#[derive(Debug)]
pub(crate) struct Faithful<'a> {
    pub(crate) source: &'a Source<'a>,
    /// In the order that the options say.
    pub(crate) tensors: &'a [SourceTensor<'a>],
    announced: bool,
    file: Option<SharedFile>,
}

impl<'a> Faithful<'a> {
    pub(crate) fn new(source: &'a Source<'a>, tensors: &'a [SourceTensor<'a>]) -> Self {
        Faithful { source, tensors, announced: false, file: None }
    }

    /// Counts the work of making it, once.
    pub(crate) fn announce(&mut self, work: &mut Work<'_>) {
        if !self.announced {
            self.announced = true;
            work.total += weights(self.tensors);
        }
    }

    /// How each tensor is stored in it.
    ///
    /// # Errors
    /// None that the plans of the options do not have.
    pub(crate) fn plans(&self) -> Result<Vec<Plan>, QuantizeError> {
        self.tensors.iter().map(Plan::faithful).collect()
    }

    /// The file. [`Faithful::announce`] comes first.
    ///
    /// # Errors
    /// [`QuantizeError`] if a weight is not finite, or the work is cancelled.
    pub(crate) fn bytes(&mut self, work: &mut Work<'_>) -> Result<SharedFile, QuantizeError> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let (source, tensors, plans) = (self.source, self.tensors, self.plans()?);
        let bytes = tensors.iter().zip(&plans).map(|(tensor, plan)| stored_bytes(tensor, plan));
        // Exactly, because a buffer that grows takes twice as much; with room for metadata.
        let room = bytes.sum::<usize>() + source.tokenizer.len() + (4 << 20);
        let mut file = Cursor::new(Vec::with_capacity(room));
        convert::write(source, &QuantizeOptions::new(Format::Int8), tensors, &plans, None, &mut file, work)?;
        Ok(self.file.insert(SharedFile(Arc::new(file.into_inner()))).clone())
    }
}

/// How many weights these tensors have together.
pub(crate) fn weights(tensors: &[SourceTensor<'_>]) -> u64 {
    tensors.iter().map(SourceTensor::weights).sum()
}

/// Bytes of a tensor in a file.
pub(crate) fn stored_bytes(tensor: &SourceTensor<'_>, plan: &Plan) -> usize {
    plan.layout().map_or(tensor.shape()[0] * tensor.shape()[1] * size_of::<f32>(), Layout::total_bytes)
}
