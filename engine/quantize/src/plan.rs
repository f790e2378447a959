//! How each tensor is to be stored.

use crate::QuantizeError;
use crate::budget::Width;
use crate::codes::Codes;
use crate::gguf::GgmlType;
use crate::options::{Format, I2sOrder, QuantizeOptions, Target};
use crate::report::{ErrorSum, Method};
use crate::round::weighted;
use crate::source::SourceTensor;
use edgellm::format::TensorEncoding;
use edgellm::linear::LinearId;
use edgellm::tensors::Role;
use edgellm_kernels::layout::{BLOCK, Encoding, Layout, Scales, Zero};
use std::sync::Arc;

/// How one tensor is to be stored.
#[derive(Debug)]
pub(crate) enum Plan {
    Float,
    Kept(Layout, Codes),
    /// With the weights of the columns, if they are known.
    Rounded(Layout, Target, Option<Vec<f32>>),
    /// Rounded already, in this way.
    Packed(Layout, Encoded, Method),
}

/// A matrix as the file will have it.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// As many as the layout says.
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) errors: ErrorSum,
}

impl Plan {
    /// As the options say.
    ///
    /// # Errors
    /// If the group size does not fit, or the importance matrix is another model's.
    pub(crate) fn new(tensor: &SourceTensor<'_>, options: &QuantizeOptions) -> Result<Plan, QuantizeError> {
        let is_head = match tensor.role() {
            Role::Float => return Ok(Plan::Float),
            Role::Embedding | Role::Linear(LinearId::LmHead) => true,
            Role::Linear(_) => false,
        };
        let allocated =
            options.allocation.as_ref().and_then(|allocation| allocation.widths.get(tensor.name()));
        let Width { format, group_size, scales } = match (allocated, is_head) {
            (Some(width), _) => *width,
            (None, true) => Width {
                format: options.head.format(options.format),
                group_size: None,
                scales: options.scales,
            },
            (None, false) => {
                Width { format: options.format, group_size: options.group_size, scales: options.scales }
            }
        };
        // Floats of the head that need not be kept.
        let as_float = if is_head && format == Format::Auto { Format::Int8 } else { format };
        let width = Width { format: as_float, group_size, scales };
        let plan = Plan::of(tensor, format, width, options)?;
        match (options.scales, &plan) {
            (Some(Scales::SixBits), Plan::Rounded(layout, ..))
                if !is_head && allocated.is_none() && layout.scales() != Scales::SixBits =>
            {
                Err(QuantizeError::SixBitScales { format })
            }
            _ => Ok(plan),
        }
    }

    /// In this width, whatever the options say of formats.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn at(
        tensor: &SourceTensor<'_>,
        width: Width,
        options: &QuantizeOptions,
    ) -> Result<Plan, QuantizeError> {
        Plan::of(tensor, width.format, width, options)
    }

    /// In the format `keep` if that keeps codes, else rounded.
    fn of(
        tensor: &SourceTensor<'_>,
        keep: Format,
        Width { format, group_size, scales }: Width,
        options: &QuantizeOptions,
    ) -> Result<Plan, QuantizeError> {
        let [rows, cols] = tensor.shape();
        let importance = options.importance.as_ref().map_or(Ok(None), |importance| importance.of(tensor))?;
        let six = scales == Some(Scales::SixBits) && keep != Format::Auto;
        if let Some(codes) = kept(tensor, keep, group_size).filter(|_| !six) {
            let layout = layout(rows, cols, codes.encoding, codes.zero, codes.group_size)?;
            return Ok(Plan::Kept(layout, codes));
        }
        let target = format.target();
        let group_size = group_size.unwrap_or(format.default_group_size());
        let layout = layout(rows, cols, target.encoding, target.zero, group_size)?;
        // The head's format may have no such scales; and the halves of a row with few groups take more than they spare.
        let layout = match layout.with_scales(scales.unwrap_or(format.default_scales())) {
            Ok(other) if options.scales.is_some() || other.total_bytes() < layout.total_bytes() => other,
            _ => layout,
        };
        let weights = importance.map(|means| weighted::normalize(means, layout.group_size()));
        Ok(Plan::Rounded(layout, target, weights))
    }

    /// Weights the columns by these means, if it rounds.
    pub(crate) fn weigh(&mut self, means: &[f32]) {
        if let Plan::Rounded(layout, _, weights) = self {
            *weights = Some(weighted::normalize(means, layout.group_size()));
        }
    }

    /// As near the source as a file can be: the same codes, and floats in 8 bits. Calibration runs that.
    ///
    /// # Errors
    /// None that [`Plan::new`] does not have.
    pub(crate) fn faithful(tensor: &SourceTensor<'_>) -> Result<Plan, QuantizeError> {
        let [rows, cols] = tensor.shape();
        if tensor.role() == Role::Float {
            return Ok(Plan::Float);
        }
        // A scale of the whole tensor would outlive its replacement.
        match kept(tensor, Format::Auto, None).filter(|_| tensor.scale() == 1.0) {
            Some(codes) => {
                Ok(Plan::Kept(layout(rows, cols, codes.encoding, codes.zero, codes.group_size)?, codes))
            }
            None => {
                let (target, size) = (Format::Int8.target(), Format::Int8.default_group_size());
                Ok(Plan::Rounded(layout(rows, cols, target.encoding, target.zero, size)?, target, None))
            }
        }
    }

    /// Whether the codes are chosen here, and so may cost quality.
    pub(crate) fn is_rounded(&self) -> bool {
        matches!(self.method(), Method::Rounded | Method::Weighted | Method::Gptq)
    }

    /// Whether the file has other weights than [`Plan::faithful`] gives. What is kept has the same, whatever holds its codes.
    pub(crate) fn differs(&self, faithful: &Plan) -> bool {
        match (self, faithful) {
            (Plan::Float | Plan::Kept(..), _) => false,
            (Plan::Rounded(layout, _, None), Plan::Rounded(other, _, None)) => layout != other,
            _ => true,
        }
    }

    /// The layout of a matrix.
    pub(crate) fn layout(&self) -> Option<&Layout> {
        match self {
            Plan::Float => None,
            Plan::Kept(layout, _) | Plan::Rounded(layout, ..) | Plan::Packed(layout, ..) => Some(layout),
        }
    }

    pub(crate) fn encoding(&self) -> TensorEncoding {
        self.layout().map_or(TensorEncoding::F32, TensorEncoding::from)
    }

    /// What the file says the weights are multiplied by. What is rounded has the product in the scales of its groups.
    pub(crate) fn scale(&self, tensor: &SourceTensor<'_>) -> Option<f32> {
        let kept = matches!(self, Plan::Kept(..)) && tensor.scale() != 1.0;
        kept.then_some(tensor.scale())
    }

    pub(crate) fn method(&self) -> Method {
        match self {
            Plan::Float => Method::Float,
            Plan::Kept(_, Codes { exact: true, .. }) => Method::Lossless,
            Plan::Kept(..) => Method::Codes,
            Plan::Rounded(_, _, None) => Method::Rounded,
            Plan::Rounded(_, _, Some(_)) => Method::Weighted,
            Plan::Packed(_, _, method) => *method,
        }
    }
}

/// The tensor with its codes in the order that the options say, if its type does not tell.
pub(crate) fn in_order<'a>(
    tensor: &SourceTensor<'a>,
    options: &QuantizeOptions,
) -> Result<SourceTensor<'a>, QuantizeError> {
    match (tensor.ggml_type(), options.i2s_order) {
        (Some(GgmlType::I2_S), None) => Err(QuantizeError::I2sOrder { name: tensor.name().to_string() }),
        (Some(GgmlType::I2_S), Some(I2sOrder::Arm)) => Ok(tensor.clone().with_type(GgmlType::I2_S_ARM)),
        _ => Ok(tensor.clone()),
    }
}

/// The codes that a format keeps of a tensor, if any: all, or those that are of the format already.
fn kept(tensor: &SourceTensor<'_>, format: Format, group_size: Option<usize>) -> Option<Codes> {
    let codes = tensor.codes()?;
    let fits = group_size.is_none_or(|size| size == codes.group_size);
    match format {
        Format::Auto => Some(codes),
        Format::Int8 if fits => codes.as_bytes(),
        format if fits && codes.encoding == format.target().encoding => Some(codes),
        _ => None,
    }
}

fn layout(
    rows: usize,
    cols: usize,
    encoding: Encoding,
    zero: Zero,
    group_size: usize,
) -> Result<Layout, QuantizeError> {
    let group_size = if group_size == 0 { cols.next_multiple_of(BLOCK) } else { group_size };
    Layout::new(rows, cols, encoding, zero, group_size).map_err(|source| QuantizeError::GroupSize { source })
}
