//! Warnings about the quality of a converted model.

use crate::Allocation;
use crate::codes::Codes;
use crate::options::{Format, HeadFormat, QuantizeOptions};
use crate::report::{Method, Report};
use crate::source::{Source, SourceTensor};
use edgellm::format::Quality;

/// The expected divergence, nats a token, from which on a budget is a warning's worth: perplexities rise by half.
const MUCH: f64 = 0.4;
/// A model whose perplexity rises by a larger share is of no use.
const UNUSABLE: f64 = 1.0;

/// The quality to expect, in words, or what was measured of it.
pub(crate) fn of(source: &Source<'_>, options: &QuantizeOptions, report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let calibrated = report.count(Method::Weighted) + report.count(Method::Gptq) > 0;
    let rounded = calibrated || report.count(Method::Rounded) > 0;
    let percent = 100.0 * report.error.relative;
    match options.format {
        // What was measured is said in place of what is to be expected.
        _ if report.quality.is_some() => warnings.extend(report.quality.as_ref().and_then(unusable)),
        Format::Bitnet if rounded => warnings.push(format!(
            "ternary weights without training destroy a model: its text will be noise (the weights moved by \
             {percent:.0} %). Good for measuring speed; for answers use int4, or a model trained for ternary \
             weights"
        )),
        Format::Binary if rounded => warnings.push(format!(
            "signs alone, without training, destroy a model: its text will be noise (the weights moved by {percent:.0} %). \
             Good for measuring speed; for answers use int4, or a model trained for binary weights"
        )),
        Format::Int2 if rounded => warnings.push(format!(
            "2-bit rounding without training makes models of a few billion parameters and below unusable \
             (the weights moved by {percent:.0} %): use int4, or int3 if memory is tight"
        )),
        Format::Int3 if calibrated => warnings.push(format!(
            "3-bit rounding costs a small model some quality, even calibrated (the weights moved by {percent:.1} %): \
             compare `edgellm perplexity` with that of int4"
        )),
        Format::Int3 if rounded => warnings.push(format!(
            "3-bit rounding without calibration costs a small model much of its quality (the weights moved by \
             {percent:.1} %): compare `edgellm perplexity` with that of int4"
        )),
        _ => {}
    }
    if let Some(Allocation { divergence, .. }) = &options.allocation
        && *divergence > MUCH
    {
        warnings.push(format!(
            "so few bytes cost this model much of its quality (expected KL divergence {divergence:.2}): compare `edgellm perplexity` \
             with that of a larger file"
        ));
    }
    if options.head == HeadFormat::As(Format::Int4)
        && report.quality.is_none()
        && report.tensors.iter().any(|tensor| tensor.name.contains("embed"))
    {
        warnings.push(
            "a 4-bit embedding and LM head cost more quality than 4-bit layers do: int8 is the safer head"
                .to_string(),
        );
    }
    let layers = source.tensors().iter().filter(|tensor| tensor.name().contains("_proj.weight"));
    let (mut coarse, mut all) = (0, 0);
    for tensor in layers {
        all += 1;
        coarse += usize::from(is_coarse(tensor));
    }
    let description = &source.description;
    if options.format == Format::Int8 && 2 * coarse > all {
        warnings.push(format!(
            "the source has at most 4 bits per weight already ({description}): int8 makes the file larger, not \
             better; auto keeps it as it is"
        ));
    } else if coarse > 0 && rounded && options.format != Format::Int8 {
        warnings.push(format!(
            "the source is quantized already ({description}), and the errors of both roundings add up: \
             convert with --format auto, which keeps the source's codes, or from the original checkpoint"
        ));
    }
    warnings
}

/// That the model is of no use, if it is not.
pub(crate) fn unusable(quality: &Quality) -> Option<String> {
    let Quality { text, source_perplexity, perplexity, same_top_token, .. } = quality;
    (quality.loss() > UNUSABLE).then(|| {
        format!(
            "the model is hardly usable: its perplexity rose from {source_perplexity} to {perplexity} (text: {text}), and it agrees with \
             its source on the most likely token in {:.0} % of all places: choose a format of more bits, such as int4 or int8",
            100.0 * same_top_token
        )
    })
}

/// Whether a tensor has at most four bits a weight.
fn is_coarse(tensor: &SourceTensor<'_>) -> bool {
    // Of a type, not of the tensor, whose codes would all be read.
    let codes = tensor.ggml_type().map_or_else(|| tensor.codes(), Codes::of);
    codes.is_some_and(|codes| codes.encoding.bits() <= 4)
}
