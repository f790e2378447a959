use super::*;
use crate::convert::tests::of_few_bits;
use crate::dequantize::tests::fixture;
use crate::gguf::GgmlType;
use crate::testing::tiny_gguf;
use crate::{
    Calibration, CalibrationMethod, CalibrationTextError, Format, HeadFormat, I2sOrder, Importance, Method,
    QuantizeOptions, Report, Source, quantize,
};
use edgellm::available_kernels;
use edgellm::format::ModelFile;
use std::io::Cursor;
use std::ops::ControlFlow;

/// The model of these tests has windows of 128 tokens.
const LENGTH: usize = 128;

fn measurement(threads: usize) -> Measurement {
    let tokens = 4 * LENGTH;
    Measurement { tokens, ..Measurement::new(Compute::new(available_kernels()[0], threads)) }
}

fn options(format: Format, group_size: Option<usize>) -> QuantizeOptions {
    QuantizeOptions { group_size, quality: Some(measurement(1)), ..QuantizeOptions::new(format) }
}

fn convert(gguf: &[u8], options: &QuantizeOptions) -> (Vec<u8>, Report) {
    let source = Source::from_gguf(gguf).unwrap();
    let (mut out, mut last, mut total) = (Cursor::new(Vec::new()), 0, 0);
    let report = quantize(&source, options, &mut out, &mut |progress| {
        assert!(progress.done > last && progress.done <= progress.total, "{progress:?}");
        (last, total) = (progress.done, progress.total);
        ControlFlow::Continue(())
    });
    assert_eq!(last, total);
    (out.into_inner(), report.unwrap())
}

fn error(gguf: &[u8], options: &QuantizeOptions) -> (Vec<u8>, QuantizeError) {
    let source = Source::from_gguf(gguf).unwrap();
    let mut out = Cursor::new(Vec::new());
    let error = quantize(&source, options, &mut out, &mut |_| ControlFlow::Continue(())).unwrap_err();
    (out.into_inner(), error)
}

fn floats() -> Vec<u8> {
    tiny_gguf(GgmlType::F32, GgmlType::F32)
}

#[test]
fn many_bits_lose_little_and_few_lose_much() {
    // Groups that are not those of the source in memory, which has 8 bits too.
    let (_, report) = convert(&floats(), &options(Format::Int8, Some(64)));
    let near = report.quality.unwrap();
    assert!(near.kl_divergence > 0.0 && near.kl_divergence < 0.01, "{near:?}");
    assert!(near.loss().abs() < 0.02 && near.same_top_token > 0.9, "{near:?}");
    let (_, report) = convert(&floats(), &options(Format::Bitnet, None));
    let far = report.quality.unwrap();
    assert_eq!((far.tokens, far.text.as_str()), (4 * 63, "built in, held out"));
    assert_eq!(far.source_perplexity, near.source_perplexity);
    assert!(far.kl_divergence > 50.0 * near.kl_divergence, "{near:?} {far:?}");
    assert!(far.same_top_token < near.same_top_token, "{far:?}");
    let (_, report) = convert(&floats(), &options(Format::Int8, None));
    let same = report.quality.unwrap();
    assert_eq!((same.kl_divergence, same.same_top_token, same.loss()), (0.0, 1.0, 0.0), "the same weights");
}

#[test]
fn what_is_measured_is_what_is_written() {
    let calibrated = |method| QuantizeOptions {
        calibration: Some(Calibration { method, tokens: 2 * LENGTH, ..Calibration::new(Compute::default()) }),
        ..options(Format::Int3, None)
    };
    let cases = [
        (floats(), options(Format::Int3, None), Method::Rounded),
        (floats(), calibrated(CalibrationMethod::Weights), Method::Weighted),
        (floats(), calibrated(CalibrationMethod::Gptq), Method::Gptq),
        (
            floats(),
            QuantizeOptions { head: HeadFormat::As(Format::Int4), ..options(Format::Bitnet, None) },
            Method::Rounded,
        ),
        (tiny_gguf(GgmlType::Q8_0, GgmlType::Q4_0), options(Format::Int2, None), Method::Rounded),
    ];
    for (gguf, options, method) in cases {
        let (file, report) = convert(&gguf, &options);
        assert!(report.count(method) > 0, "{options:?}");
        let quality = report.quality.unwrap();
        assert_eq!(ModelFile::parse(&file).unwrap().metadata().quantization.quality, Some(quality.clone()));
        // Anew, from the file.
        let model = Model::from_bytes(file).unwrap();
        let windows = measurement(1).text.windows(&model, LENGTH, 4).unwrap();
        let mut session = Session::new(&model, SessionOptions::default()).unwrap();
        let (mut sum, mut count) = (0.0, 0.0);
        for window in windows {
            session.reset();
            session.prefill(&window[..LENGTH / 2]).unwrap();
            for pair in window[LENGTH / 2..].windows(2) {
                let logits = session.decode(pair[0]).unwrap();
                let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
                sum += total.ln() - f64::from(logits[pair[1] as usize]);
                count += 1.0;
            }
        }
        let perplexity = f64::exp(sum / count);
        assert!((perplexity / quality.perplexity - 1.0).abs() < 1e-5, "{perplexity} {quality:?}");
        // The same options without measuring: only the record is gone.
        let (_, plain) = convert(&gguf, &QuantizeOptions { quality: None, ..options });
        assert_eq!((plain.quality.is_none(), plain.error), (true, report.error));
    }
}

#[test]
fn the_file_does_not_depend_on_threads_or_kernels() {
    let file = |kernels, threads| {
        let compute = Compute::new(kernels, threads);
        let tokens = 2 * LENGTH;
        let calibration = Some(Calibration { tokens, ..Calibration::new(compute.clone()) });
        let quality = Some(Measurement { compute, ..measurement(1) });
        convert(&floats(), &QuantizeOptions { calibration, quality, ..QuantizeOptions::new(Format::Int3) }).0
    };
    let first = file(available_kernels()[0], 1);
    assert!(first == file(available_kernels()[0], 3));
    for kernels in available_kernels() {
        assert!(first == file(kernels, 1), "{}", kernels.name());
    }
}

#[test]
fn what_is_not_rounded_has_no_card() {
    let (file, report) = convert(&tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0), &options(Format::Auto, None));
    assert_eq!((report.count(Method::Rounded), &report.quality), (0, &None));
    assert!(!String::from_utf8_lossy(&file).contains("quality"));
}

/// Such codes are multiplied by a scale of the whole tensor, which the model in memory has not.
#[test]
fn scaled_codes_are_kept_beside_what_is_rounded() {
    let (_, blocks, _) = fixture().into_iter().find(|(kind, ..)| *kind == GgmlType::I2_S).unwrap();
    let gguf = of_few_bits(GgmlType::I2_S, blocks);
    let i2s_order = Some(I2sOrder::X86);
    let rounded =
        QuantizeOptions { head: HeadFormat::As(Format::Int4), i2s_order, ..options(Format::Auto, None) };
    let (file, report) = convert(&gguf, &rounded);
    assert_eq!((report.count(Method::Lossless), report.count(Method::Rounded)), (7, 1));
    let quality = report.quality.unwrap();
    assert!(quality.kl_divergence < 0.1, "three weights fit into 4 bits: {quality:?}");
    Model::from_bytes(file).unwrap();
    // The layers anew.
    let (_, report) = convert(&gguf, &QuantizeOptions { i2s_order, ..options(Format::Int2, None) });
    assert_eq!((report.count(Method::Rounded), report.quality.is_some()), (8, true));
}

#[test]
fn the_card_says_what_weights_were_rounded_by() {
    let card = |options: &QuantizeOptions| convert(&floats(), options).1.quality.unwrap().calibration;
    let plain = card(&options(Format::Int4, None));
    assert_eq!(plain, Recipe { method: "none".to_string(), ..Recipe::default() });
    let text = CalibrationText::parse("mine.txt", &b"some text, ".repeat(100)).unwrap();
    let calibration =
        |text| Some(Calibration { text, tokens: 2 * LENGTH, ..Calibration::new(Compute::default()) });
    let calibrated =
        QuantizeOptions { calibration: calibration(text.clone()), ..options(Format::Int4, None) };
    let expected = Recipe {
        method: "gptq".to_string(),
        data: Some("mine.txt".to_string()),
        sha256: Some(text.sha256().to_string()),
        tokens: Some(2 * LENGTH as u64),
    };
    assert_eq!(card(&calibrated), expected);
    // 8 bits leave nothing to gain.
    assert_eq!(card(&QuantizeOptions { format: Format::Int8, group_size: Some(64), ..calibrated }), plain);
    let file = crate::importance::tests::legacy(&[("blk.0.attn_q.weight", vec![1.0; 64], 1)]);
    let importance = Some(Importance::parse(&file).unwrap().named("imatrix.dat"));
    let found = card(&QuantizeOptions { importance, ..options(Format::Int4, None) });
    assert_eq!(
        (found.method.as_str(), found.data.as_deref(), found.tokens),
        ("imatrix", Some("imatrix.dat"), None)
    );
    assert_eq!(found.sha256, Some(crate::sha256::sha256([&file[..]])));
}

#[test]
fn too_large_a_loss_writes_nothing() {
    let limited = |max_loss| {
        let quality = Some(Measurement { max_loss: Some(max_loss), ..measurement(1) });
        QuantizeOptions { quality, ..QuantizeOptions::new(Format::Int2) }
    };
    let loss = convert(&floats(), &limited(1e9)).1.quality.unwrap().loss();
    assert!(loss > 0.0, "{loss}");
    convert(&floats(), &limited(loss));
    let (out, error) = error(&floats(), &limited(loss / 2.0));
    assert!(out.is_empty() && matches!(error, QuantizeError::Loss { .. }), "{error}");
}

#[test]
fn models_of_no_use_are_warned_about_by_what_was_measured() {
    let quality = |perplexity| Quality {
        text: "t".to_string(),
        tokens: 1,
        source_perplexity: 10.0,
        perplexity,
        kl_divergence: 1.0,
        same_top_token: 0.25,
        calibration: Recipe::default(),
    };
    assert_eq!(crate::warnings::unusable(&quality(20.0)), None);
    let warning = crate::warnings::unusable(&quality(20.5)).unwrap();
    assert!(warning.contains("from 10 to 20.5 (text: t)") && warning.contains("25 %"), "{warning}");
    // No guess beside what was measured.
    let (_, report) = convert(&floats(), &options(Format::Int3, None));
    assert!(report.quality.unwrap().loss() < 1.0 && report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn a_text_without_a_window_is_refused() {
    let text = CalibrationText::parse("short.txt", b"some text").unwrap();
    let quality = Some(Measurement { text, ..measurement(1) });
    let (out, error) = error(&floats(), &QuantizeOptions { quality, ..QuantizeOptions::new(Format::Int4) });
    let QuantizeError::MeasurementText { source } = &error else { panic!("{error}") };
    assert!(matches!(source, CalibrationTextError::TooShort { needed: LENGTH, .. }) && out.is_empty());
}

#[test]
fn known_distributions() {
    // (1/2, 1/2) against (1/4, 3/4): half of ln 2 + ln 2/3.
    let position = Position::new(&[1.0, 1.0], &[0.0, 3f32.ln()], 1);
    assert!((position.divergence - 0.5 * (2f64.ln() + (2.0f64 / 3.0).ln())).abs() < 1e-7, "{position:?}");
    assert!(
        (position.source - 2f64.ln()).abs() < 1e-7 && (position.result - (4.0f64 / 3.0).ln()).abs() < 1e-7
    );
    assert!(!position.same_top);
    // A constant on all logits changes nothing.
    let position = Position::new(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0], 0);
    assert!(position.divergence < 1e-12 && position.same_top, "{position:?}");
    // What is no number is as bad as can be, and stays out of JSON.
    let position = Position::new(&[0.0, 1.0], &[f32::NAN, f32::INFINITY], 0);
    assert_eq!((position.result, position.divergence), (MOST_NATS, MOST_NATS));
    let mut sums = Sums::default();
    sums.add(&position);
    assert!(sums.quality("t", Recipe::default()).perplexity.is_finite());
    assert_eq!([6.0e-17, 28.62612, 1.0, 1e-3 / 3.0].map(six_digits), [6.0e-17, 28.6261, 1.0, 0.000333333]);
}
