//! Prefill and decode speed of a model file: `decode MODEL.tmac2.bin [threads] [kernel] [prompt] [tokens]`.

use edgellm::{Compute, Model, Session, SessionOptions, available_kernels};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let get = |i: usize, default: &str| args.get(i).cloned().unwrap_or_else(|| default.to_string());
    let bytes = std::fs::read(get(1, ""))?;
    let threads = get(2, "1").parse()?;
    let name = get(3, "best");
    let kernels = available_kernels()
        .into_iter()
        .find(|kernels| name == "best" || kernels.name() == name)
        .ok_or("no such kernel")?;
    let (prompt, tokens): (usize, usize) = (get(4, "512").parse()?, get(5, "128").parse()?);
    let size = bytes.len();
    let start = Instant::now();
    let model = Model::with_compute(bytes, Compute::new(kernels, threads))?;
    let load = start.elapsed().as_secs_f64();
    let mut session = Session::new(&model, SessionOptions::default())?;
    let ids: Vec<u32> = (0..prompt as u32).map(|i| 100 + i * 37 % 20000).collect();
    for _ in 0..3 {
        session.reset();
        let start = Instant::now();
        session.prefill(&ids)?;
        let prefill = start.elapsed().as_secs_f64();
        session.truncate(prompt.min(16));
        let start = Instant::now();
        let mut token = 1;
        for _ in 0..tokens {
            let logits = session.decode(token)?;
            token = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as u32;
        }
        let decode = start.elapsed().as_secs_f64();
        println!(
            "{} x{threads}: load {:.1} ms, prefill {:.1} tok/s, decode {:.1} tok/s ({:.2} GB/s of file)",
            kernels.name(),
            load * 1e3,
            prompt as f64 / prefill,
            tokens as f64 / decode,
            size as f64 * tokens as f64 / decode / 1e9
        );
    }
    Ok(())
}
