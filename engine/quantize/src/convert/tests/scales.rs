//! Six-bit scales.

use super::convert;
use crate::gguf::GgmlType;
use crate::report::Method;
use crate::testing::{CONFIG_JSON, shard, tiny_gguf, tiny_tensors};
use crate::{Format, HeadFormat, QuantizeError, QuantizeOptions, Scales, Source, quantize};
use edgellm::format::{ModelFile, TensorScales};
use safetensors::Dtype;
use std::io::Cursor;
use std::ops::ControlFlow;

/// By default for the formats that gain by it, and where asked for; a format that cannot have them is refused.
#[test]
fn scales_are_as_asked() {
    let weights = shard(&tiny_tensors(), Dtype::BF16);
    let gguf = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let tokenizer = Source::from_gguf(&gguf).unwrap().tokenizer;
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("model.safetensors", &weights),
    ];
    let source = Source::from_files(&files).unwrap();
    // Of a matrix, and how long it is, and the file's version.
    let scales_of = |name: &str, format, scales, head| {
        let options = QuantizeOptions { scales, head, ..QuantizeOptions::new(format) };
        let (file, _) = convert(&source, &options);
        let model = ModelFile::parse(&file).unwrap();
        let tensor = model.metadata().tensors.iter().find(|tensor| tensor.name.contains(name)).unwrap();
        (tensor.encoding.scales(), tensor.section.length, file[8])
    };
    // Rows of three groups.
    let scales = |format, scales, head| scales_of("down_proj", format, scales, head);
    let auto = HeadFormat::Auto;
    for format in [Format::Int2, Format::Int3] {
        let (six, bytes, version) = scales(format, None, auto);
        assert_eq!((six, version), (TensorScales::Six, 4), "{format}");
        let (halves, more, version) = scales(format, Some(Scales::Halves), auto);
        assert_eq!((halves, version), (TensorScales::Halves, 3), "what older programs read");
        assert!(bytes < more);
        let few_groups = scales_of("q_proj", format, None, auto).0;
        assert_eq!(few_groups, TensorScales::Halves, "the row's halves would take more");
    }
    assert_eq!(scales(Format::Int4, None, auto).0, TensorScales::Halves);
    assert_eq!(
        scales(Format::Int4, Some(Scales::SixBits), HeadFormat::As(Format::Int4)).0,
        TensorScales::Six
    );
    let options = QuantizeOptions { scales: Some(Scales::SixBits), ..QuantizeOptions::new(Format::Int8) };
    let refused = quantize(&source, &options, Cursor::new(Vec::new()), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(QuantizeError::SixBitScales { format: Format::Int8 })), "{refused:?}");
    // Codes that the format would keep have other scales.
    let source = Source::from_gguf(&gguf).unwrap();
    let options = QuantizeOptions { scales: Some(Scales::SixBits), ..QuantizeOptions::new(Format::Int4) };
    let report = convert(&source, &options).1;
    assert!(report.tensors.iter().all(|tensor| !matches!(tensor.method, Method::Lossless | Method::Codes)));
}
