//! Converts a GGUF file: `cargo run --release -p edgellm-quantize --example convert -- IN.gguf FORMAT OUT`.

use edgellm_quantize::{Format, QuantizeOptions, Source, quantize};
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, input, format, output] = args.as_slice() else {
        return Err("usage: convert IN.gguf FORMAT OUT".into());
    };
    let bytes = std::fs::read(input)?;
    let start = std::time::Instant::now();
    let source = Source::from_gguf(&bytes)?;
    println!("{} read in {:?}: {}", source.name, start.elapsed(), source.description);
    let options = QuantizeOptions::new(format.parse::<Format>()?);
    let out = std::io::BufWriter::new(std::fs::File::create(output)?);
    let report = quantize(&source, &options, out, &mut |_| ControlFlow::Continue(()))?;
    println!(
        "{format}: {:?}, {} bytes, {:.2} bits a weight, {:?}",
        start.elapsed(),
        report.bytes,
        report.bits_per_weight(),
        report.error
    );
    let file = std::fs::read(output)?;
    let start = std::time::Instant::now();
    edgellm::format::ModelFile::parse(&file)?;
    println!("read back in {:?}", start.elapsed());
    for warning in report.warnings {
        println!("warning: {warning}");
    }
    Ok(())
}
