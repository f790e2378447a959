use super::*;
use crate::gguf::GgmlType;
use crate::testing::{HIDDEN, LAYER_SHAPES, VOCAB, metadata_without, random_floats, tiny_gguf};
use crate::{
    Calibration, CalibrationMethod, HeadFormat, Method, QuantizeError, QuantizeOptions, Report, Source,
    quantize,
};
use edgellm::{Model, Session, SessionOptions, available_kernels};
use std::io::Cursor;
use std::ops::ControlFlow;

const LAYERS: usize = 3;

/// A Llama model of three layers with a head of its own; matrices whose name ends with `faint` are almost 0.
fn gguf(faint: &str) -> Vec<u8> {
    let mut builder = metadata_without("llama", &["llama.block_count"])
        .skipping(&[])
        .u32("llama.block_count", LAYERS as u32);
    let mut seed = 0;
    let mut floats = |name: &str, count: usize| {
        seed += 1;
        let size = if name.ends_with("norm.weight") { 1.0 } else { 0.2 };
        let factor = if !faint.is_empty() && name.ends_with(faint) { 1e-6 } else { size };
        let floats = random_floats(count, seed);
        floats.iter().flat_map(|x| (x * factor).to_le_bytes()).collect::<Vec<u8>>()
    };
    let (hidden, vocab) = (HIDDEN as u64, VOCAB as u64);
    for name in ["token_embd.weight", "output.weight"] {
        let data = floats(name, HIDDEN * VOCAB);
        builder = builder.tensor(name, &[hidden, vocab], GgmlType::F32, &data);
    }
    for layer in 0..LAYERS {
        for (name, _, rows, cols) in LAYER_SHAPES {
            let name = format!("blk.{layer}.{name}.weight");
            let data = floats(&name, rows * cols);
            builder = builder.tensor(&name, &[cols as u64, rows as u64], GgmlType::F32, &data);
        }
        for name in ["attn_norm", "ffn_norm"] {
            let name = format!("blk.{layer}.{name}.weight");
            builder = builder.tensor(&name, &[hidden], GgmlType::F32, &floats(&name, HIDDEN));
        }
    }
    let norm = floats("output_norm.weight", HIDDEN);
    builder.tensor("output_norm.weight", &[hidden], GgmlType::F32, &norm).build()
}

fn go_on(_: crate::Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn probe(threads: usize) -> Probe {
    Probe { tokens: 512, ..Probe::new(Compute::new(available_kernels()[0], threads)) }
}

fn options() -> QuantizeOptions {
    QuantizeOptions::new(Format::Auto)
}

fn measured(source: &Source<'_>) -> Sensitivity {
    let (mut last, mut total) = (0, 0);
    let sensitivity = sensitivity(source, &options(), &probe(2), &mut |progress| {
        assert!(progress.done > last && progress.done <= progress.total);
        (last, total) = (progress.done, progress.total);
        ControlFlow::Continue(())
    });
    assert_eq!(last, total, "all that was announced");
    sensitivity.unwrap()
}

fn convert(
    source: &Source<'_>,
    allocation: &Allocation,
    calibration: Option<Calibration>,
) -> (Vec<u8>, Report) {
    let mut out = Cursor::new(Vec::new());
    let options = QuantizeOptions { allocation: Some(allocation.clone()), calibration, ..options() };
    let report = quantize(source, &options, &mut out, &mut go_on).unwrap();
    (out.into_inner(), report)
}

fn calibration(method: CalibrationMethod) -> Calibration {
    let Probe { tokens, compute, .. } = probe(1);
    Calibration { method, tokens, ..Calibration::new(compute) }
}

#[test]
fn files_fit_and_have_the_chosen_widths() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let sensitivity = measured(&source);
    let SizeRange { smallest, largest, .. } = *sensitivity.sizes();
    let mut groups = std::collections::BTreeSet::new();
    for step in 0..=20 {
        let limit = smallest + (largest - smallest) * step / 20;
        let allocation = sensitivity.fit(limit).unwrap();
        let method = [CalibrationMethod::Gptq, CalibrationMethod::Weights][step as usize % 2];
        let calibration = (step % 4 < 2).then(|| calibration(method));
        let (file, report) = convert(&source, &allocation, calibration);
        assert_eq!(report.bytes, file.len() as u64);
        assert!(report.bytes <= allocation.bytes && allocation.bytes <= limit);
        assert!(allocation.bytes < report.bytes + size::ROOM + 1024, "{} {}", allocation.bytes, report.bytes);
        let model = Model::from_bytes(file).unwrap();
        for tensor in report.tensors.iter().filter(|tensor| tensor.method != Method::Float) {
            let width = allocation.widths[&tensor.name];
            let layout = tensor.encoding.layout(tensor.shape).unwrap().unwrap();
            assert_eq!(layout.encoding(), width.format.target().encoding, "{}", tensor.name);
            let size = width.group_size.unwrap_or(width.format.default_group_size());
            groups.insert(size);
            assert_eq!(layout.group_size(), size.min(layout.padded_cols()), "{}", tensor.name);
        }
        let quantization = &model.metadata().quantization;
        assert_eq!(quantization.format, "mixed");
        assert_eq!(quantization.head, allocation.widths["lm_head.weight"].format.name());
        assert!(quantization.method.ends_with(&format!("widths by measured sensitivity: {allocation}")));
    }
    assert!(groups.contains(&64) && groups.contains(&32), "{groups:?}");
}

#[test]
fn more_bytes_never_lose_more() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let sensitivity = measured(&source);
    let SizeRange { smallest, largest, .. } = *sensitivity.sizes();
    let mut before = f64::INFINITY;
    for limit in (smallest..=largest).step_by(64) {
        let Allocation { divergence, bytes, .. } = sensitivity.fit(limit).unwrap();
        assert!(bytes <= limit && divergence <= before, "{limit}");
        before = divergence;
    }
    let curve = sensitivity.curve(10);
    assert_eq!(curve.len(), 10);
    assert_eq!((curve[0].limit, curve[9].limit), (smallest, largest));
    assert_eq!(curve[0].counts()[0], (Format::Int2, 7 * LAYERS + 2));
    assert_eq!(curve[0].to_string(), "23 int2");
    assert_eq!(curve[9].to_string(), "23 int8");
    assert!(curve[0].divergence > 10.0 * curve[9].divergence && curve[9].divergence > 0.0);
    for pair in curve.windows(2) {
        assert!(pair[0].divergence > pair[1].divergence && pair[0].bytes < pair[1].bytes);
    }
    assert!(
        matches!(sensitivity.fit(smallest - 1), Err(BudgetError::TooSmall { smallest: found, .. }) if found == smallest)
    );
    assert!(
        matches!(sensitivity.fit(largest + 1), Err(BudgetError::TooLarge { largest: found, .. }) if found == largest)
    );
    let sizes = sensitivity.sizes();
    assert_eq!(sizes, &SizeRange::of(&source, &options()).unwrap());
    let bits = sizes.bits_of(largest);
    assert!(sizes.bytes_of(bits).abs_diff(largest) <= 1 && bits > 8.0);
}

/// What the feed-forward layers add vanishes, so their matrices have nothing to lose.
#[test]
fn matrices_that_do_not_matter_get_the_fewest_bits() {
    let gguf = gguf("ffn_down.weight");
    let source = Source::from_gguf(&gguf).unwrap();
    let sensitivity = measured(&source);
    let SizeRange { smallest, largest, .. } = *sensitivity.sizes();
    let allocation = sensitivity.fit(smallest + (largest - smallest) / 4).unwrap();
    for (name, width) in &allocation.widths {
        let faint = name.contains(".mlp.");
        assert_eq!(width.format == Format::Int2, faint, "{name}: {width:?}");
    }
    let losses = |faint: bool| {
        sensitivity.matrices().filter(move |(name, _)| name.contains(".mlp.") == faint).map(|(_, loss)| loss)
    };
    let (most, least) = (losses(true).fold(0.0, f64::max), losses(false).fold(f64::INFINITY, f64::min));
    assert!(5.0 * most < least, "{most} and {least}");
}

/// Each matrix alone, by whole conversions and sessions.
#[test]
fn what_is_measured_is_what_a_file_loses() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let sensitivity = measured(&source);
    let as_source = sensitivity.matrices().map(|(name, _)| (name.to_string(), Width::of(Format::Int8, None)));
    let limit = u64::MAX;
    let as_source = Allocation { widths: as_source.collect(), bytes: 0, limit, divergence: 0.0 };
    let logits = |file: Vec<u8>| {
        let model = Model::from_bytes(file).unwrap();
        let windows = probe(1).text.windows(&model, 128, 4).unwrap();
        let mut session = Session::new(&model, SessionOptions::default()).unwrap();
        let mut logits = Vec::new();
        for window in windows {
            session.reset();
            logits.extend_from_slice(&session.extend(&window, 128).unwrap()[16 * VOCAB..]);
        }
        logits
    };
    let mut reference = divergence::Reference::new(VOCAB);
    reference.add(&logits(convert(&source, &as_source, None).0));
    for (name, loss) in sensitivity.matrices() {
        let mut allocation = as_source.clone();
        allocation.widths.insert(name.to_string(), sensitivity::PROBES[0]);
        // By the same inputs: the text and its windows are the same.
        let file = convert(&source, &allocation, Some(calibration(CalibrationMethod::Weights))).0;
        let divergence = reference.sum(&Compute::default(), 0, &logits(file)) / reference.positions() as f64;
        assert!(loss > 0.0 && (divergence / loss - 1.0).abs() < 1e-9, "{name}: {loss}, and {divergence}");
    }
}

#[test]
fn widths_do_not_depend_on_threads_or_kernels() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let curve = |compute: Compute| {
        sensitivity(&source, &options(), &Probe { compute, ..probe(1) }, &mut go_on).unwrap().curve(10)
    };
    let first = curve(Compute::new(available_kernels()[0], 1));
    assert_eq!(first, curve(Compute::new(available_kernels()[0], 3)));
    for kernels in available_kernels() {
        assert_eq!(first, curve(Compute::new(kernels, 1)), "{}", kernels.name());
    }
    let file = |threads| {
        let compute = Compute::new(available_kernels()[0], threads);
        let calibration = Calibration { compute, ..calibration(CalibrationMethod::Gptq) };
        convert(&source, &first[4], Some(calibration)).0
    };
    assert_eq!(file(1), file(3));
}

/// Codes of the source take what they take and lose nothing.
#[test]
fn codes_that_are_kept_are_free() {
    let gguf = tiny_gguf(GgmlType::Q4_0, GgmlType::Q8_0);
    let source = Source::from_gguf(&gguf).unwrap();
    let sensitivity = measured(&source);
    let largest = sensitivity.sizes().largest;
    let allocation = sensitivity.fit(largest).unwrap();
    assert_eq!(allocation.to_string(), "7 int4, 1 int8");
    assert_eq!(allocation.divergence, 0.0);
    let (_, report) = convert(&source, &allocation, None);
    assert_eq!(report.count(Method::Lossless), 8);
}

#[test]
fn sizes_are_known_before() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    for format in Format::ALL {
        for head in HeadFormat::all() {
            let options = QuantizeOptions { head, ..QuantizeOptions::new(format) };
            let expected = file_bytes(&source, &options).unwrap();
            let bytes = quantize(&source, &options, Cursor::new(Vec::new()), &mut go_on).unwrap().bytes;
            assert!(
                (bytes..=bytes + size::ROOM + 64).contains(&expected),
                "{format}, {head}: {expected}, {bytes}"
            );
        }
    }
}

#[test]
fn budgets_that_cost_much_are_warned_of() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let allocation = measured(&source).curve(10)[3].clone();
    for (divergence, warned) in [(0.1, false), (2.5, true)] {
        let (_, report) = convert(&source, &Allocation { divergence, ..allocation.clone() }, None);
        let found = report.warnings.iter().any(|warning| warning.contains("expected KL divergence 2.50"));
        assert_eq!(found, warned, "{:?}", report.warnings);
    }
}

#[test]
fn a_file_that_came_out_too_long_is_refused() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let sensitivity = measured(&source);
    let allocation = Allocation { limit: 1000, ..sensitivity.curve(10)[3].clone() };
    let options = QuantizeOptions { allocation: Some(allocation), ..options() };
    let error = quantize(&source, &options, Cursor::new(Vec::new()), &mut go_on);
    assert!(matches!(error, Err(QuantizeError::OverBudget { limit: 1000, .. })), "{error:?}");
}

#[test]
fn it_stops_wherever_it_is_told_to_and_names_what_is_wrong() {
    let gguf = gguf("");
    let source = Source::from_gguf(&gguf).unwrap();
    let stop_after = |calls: usize| {
        let mut seen = 0;
        sensitivity(&source, &options(), &probe(1), &mut |_| {
            seen += 1;
            if seen == calls { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map(|_| seen)
    };
    let calls = 60;
    for at in (1..calls).step_by(7) {
        assert!(matches!(stop_after(at), Err(QuantizeError::Cancelled)), "at {at}");
    }
    let text = CalibrationText::parse("x", b"few words").unwrap();
    let short = sensitivity(&source, &options(), &Probe { text, ..probe(1) }, &mut go_on);
    assert!(matches!(short, Err(QuantizeError::CalibrationText(_))), "{short:?}");
    let mut nan = tiny_gguf(GgmlType::F32, GgmlType::F32);
    let length = nan.len();
    nan[length - 64 * 4 * 4 - 4..length - 64 * 4 * 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let source = Source::from_gguf(&nan).unwrap();
    let error = sensitivity(&source, &options(), &probe(1), &mut go_on);
    assert!(matches!(error, Err(QuantizeError::NotFinite { .. })), "{error:?}");
}
