//! Calibration, through the whole conversion.

use super::convert;
use crate::gguf::GgmlType;
use crate::testing::tiny_gguf;
use crate::{
    Calibration, CalibrationMethod, CalibrationText, CalibrationTextError, Format, HeadFormat, Method,
    QuantizeError, QuantizeOptions, Source, quantize,
};
use edgellm::{Compute, available_kernels};
use std::io::Cursor;
use std::ops::ControlFlow;

fn calibration(method: CalibrationMethod, threads: usize) -> Calibration {
    let compute = Compute::new(available_kernels()[0], threads);
    Calibration { method, tokens: 4096, ..Calibration::new(compute) }
}

fn options(format: Format, calibration: Option<Calibration>) -> QuantizeOptions {
    QuantizeOptions { calibration, head: HeadFormat::As(Format::Int4), ..QuantizeOptions::new(format) }
}

fn float_gguf() -> Vec<u8> {
    tiny_gguf(GgmlType::F32, GgmlType::F32)
}

#[test]
fn the_file_does_not_depend_on_threads_or_kernels() {
    let gguf = float_gguf();
    let source = Source::from_gguf(&gguf).unwrap();
    let file = |calibration| convert(&source, &options(Format::Int3, calibration)).0;
    let first = file(Some(calibration(CalibrationMethod::Gptq, 1)));
    assert_eq!(first, file(Some(calibration(CalibrationMethod::Gptq, 3))));
    for kernels in available_kernels() {
        let compute = Compute::new(kernels, 1);
        let other = Calibration { compute, ..calibration(CalibrationMethod::Gptq, 1) };
        assert_eq!(first, file(Some(other)), "{}", kernels.name());
    }
    assert_ne!(first, file(None));
    assert_ne!(first, file(Some(calibration(CalibrationMethod::Weights, 1))));
}

#[test]
fn methods_are_reported_head_included() {
    let gguf = float_gguf();
    let source = Source::from_gguf(&gguf).unwrap();
    let count = |format, given: Option<CalibrationMethod>, method| {
        let options = options(format, given.map(|given| calibration(given, 2)));
        convert(&source, &options).1.count(method)
    };
    let (gptq, weights) = (Some(CalibrationMethod::Gptq), Some(CalibrationMethod::Weights));
    // Seven matrices and the tied head.
    assert_eq!(count(Format::Int3, gptq, Method::Gptq), 8);
    assert_eq!(count(Format::Int3, weights, Method::Weighted), 8);
    assert_eq!(count(Format::Int3, None, Method::Rounded), 8);
    // 8 bits gain nothing.
    assert_eq!(count(Format::Int8, gptq, Method::Gptq), 1);
    assert_eq!(count(Format::Int8, gptq, Method::Rounded), 7);
}

#[test]
fn warnings_say_whether_it_was_calibrated() {
    let gguf = float_gguf();
    let source = Source::from_gguf(&gguf).unwrap();
    let warned = |given: Option<CalibrationMethod>, words: &str| {
        let options = options(Format::Int3, given.map(|given| calibration(given, 2)));
        convert(&source, &options).1.warnings.iter().any(|warning| warning.contains(words))
    };
    for given in [Some(CalibrationMethod::Gptq), Some(CalibrationMethod::Weights), None] {
        assert_eq!(warned(given, "even calibrated"), given.is_some());
        assert_eq!(warned(given, "without calibration"), given.is_none());
    }
}

#[test]
fn kept_codes_stay() {
    let gguf = tiny_gguf(GgmlType::Q4_0, GgmlType::Q8_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let auto = |calibration| {
        convert(&source, &QuantizeOptions { calibration, ..QuantizeOptions::new(Format::Auto) }).0
    };
    assert_eq!(auto(None), auto(Some(calibration(CalibrationMethod::Gptq, 1))));
    // Anew from codes.
    let report = convert(&source, &options(Format::Int3, Some(calibration(CalibrationMethod::Gptq, 1)))).1;
    assert_eq!(report.count(Method::Gptq), 8);
}

#[test]
fn a_text_that_is_too_short_is_refused() {
    let gguf = float_gguf();
    let source = Source::from_gguf(&gguf).unwrap();
    let text = CalibrationText::parse("x", b"few words").unwrap();
    let options =
        options(Format::Int3, Some(Calibration { text, ..calibration(CalibrationMethod::Gptq, 1) }));
    let error = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(()));
    let Err(QuantizeError::CalibrationText(CalibrationTextError::TooShort { found, needed })) = error else {
        panic!("{error:?}")
    };
    assert!(found < needed && needed == 128, "{found} of {needed}: the model's longest context");
}

#[test]
fn it_stops_wherever_it_is_told_to() {
    let gguf = float_gguf();
    let source = Source::from_gguf(&gguf).unwrap();
    let options = options(Format::Int3, Some(calibration(CalibrationMethod::Gptq, 1)));
    let stop_after = |calls: usize| {
        let mut seen = 0;
        let result = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| {
            seen += 1;
            if seen == calls { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (result, seen)
    };
    let (whole, calls) = stop_after(usize::MAX);
    assert!(whole.is_ok());
    for at in 1..=calls {
        assert!(matches!(stop_after(at), (Err(QuantizeError::Cancelled), seen) if seen == at), "at {at}");
    }
}

/// The head alone is summed too: its products, and what factors them.
#[test]
fn memory_counts_the_head() {
    let gguf = tiny_gguf(GgmlType::Q4_0, GgmlType::Q8_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let memory = |method| {
        let options = QuantizeOptions {
            calibration: Some(calibration(method, 1)),
            head: HeadFormat::As(Format::Int4),
            ..QuantizeOptions::new(Format::Auto)
        };
        crate::calibration_memory(&source, &options).unwrap()
    };
    // Two panels of 64 columns take 3 blocks of 32 x 32 floats, and their factor three times as much.
    let products = 4 * 3 * 32 * 32 * 4;
    assert_eq!(memory(CalibrationMethod::Gptq) - memory(CalibrationMethod::Weights), products);
}
