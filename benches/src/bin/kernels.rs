//! Every available kernel over the matrix shapes of real models: `kernels [--quick] [--formats a,b] [--tokens N] [--json FILE]`.
//!
//! Answers are compared with the reference before anything is timed. Kernels are interleaved (A B C A B C ...), and
//! figures are medians over the rounds with their quartiles, beside the machine's own streaming bandwidth, measured in
//! the same run with the same threads. "cold" walks over copies of the matrix larger than any cache, as decoding
//! does; "hot" uses one copy again and again. With several tokens, activations are refined as by default, and rates are of all
//! tokens: a token's bytes are its weights, though many tokens share what is read.

use edgellm::Compute;
use edgellm::kernels::layout::{Encoding, Layout, Matrix, Scales, Zero};
use edgellm::kernels::testing::{Random, random_matrix};
use edgellm::kernels::{Activations, Lookups, Product, reference};
use std::time::Instant;

// Huge pages, which the program uses for weights too.
#[global_allocator]
static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;

/// More bytes than the caches hold: 160 MiB, or twice the last level's where Linux tells that it is larger.
fn cold_bytes() -> usize {
    let size = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").unwrap_or_default();
    let kilobytes = size.trim().strip_suffix('K').and_then(|size| size.parse().ok()).unwrap_or(0usize);
    (2 * kilobytes * 1024).max(160 << 20)
}

struct Case {
    model: &'static str,
    rows: usize,
    cols: usize,
}

const CASES: [Case; 12] = [
    Case { model: "135M q_proj", rows: 576, cols: 576 },
    Case { model: "135M gate_proj", rows: 1536, cols: 576 },
    Case { model: "135M down_proj", rows: 576, cols: 1536 },
    Case { model: "135M lm_head", rows: 49152, cols: 576 },
    Case { model: "0.5B gate_proj", rows: 4864, cols: 896 },
    Case { model: "0.5B down_proj", rows: 896, cols: 4864 },
    Case { model: "1B q_proj", rows: 2048, cols: 2048 },
    Case { model: "1B gate_proj", rows: 8192, cols: 2048 },
    Case { model: "1B down_proj", rows: 2048, cols: 8192 },
    Case { model: "3.8B q_proj", rows: 3072, cols: 3072 },
    Case { model: "3.8B gate_proj", rows: 8192, cols: 3072 },
    Case { model: "3.8B down_proj", rows: 3072, cols: 8192 },
];

/// The formats of model files; lookup at 4 bits, which lost to the dot product, and ternary codes in planes one after the other,
/// as older files have them; and groups of 32 with scales of both kinds.
fn formats() -> Vec<(&'static str, Encoding, Zero, usize, Scales)> {
    let halves = [
        ("int8", Encoding::Bytes, Zero::Symmetric(128), 32),
        ("6-bit", Encoding::Split(6), Zero::Symmetric(32), 16),
        ("5-bit", Encoding::Split(5), Zero::Symmetric(16), 32),
        ("int4", Encoding::Nibbles, Zero::Affine, 32),
        ("table", Encoding::Table(std::array::from_fn(|i| 17 * i as u8)), Zero::Symmetric(128), 32),
        ("3-bit", Encoding::Split(3), Zero::Symmetric(4), 16),
        ("2-bit", Encoding::Split(2), Zero::Affine, 16),
        ("int4-lookup", Encoding::Planes(4), Zero::Affine, 32),
        ("int3", Encoding::Planes(3), Zero::Affine, 64),
        ("int2", Encoding::Planes(2), Zero::Affine, 64),
        ("ternary-planes", Encoding::Planes(2), Zero::Symmetric(1), 1 << 20),
        ("bitnet", Encoding::Ternary, Zero::Symmetric(1), 1 << 20),
        ("ternary", Encoding::Ternary, Zero::Symmetric(1), 128),
        ("binary", Encoding::Binary, Zero::Symmetric(1), 128),
        ("int3-32", Encoding::Planes(3), Zero::Affine, 32),
        ("int2-32", Encoding::Planes(2), Zero::Affine, 32),
    ];
    let six = [
        ("int4-six", Encoding::Nibbles, Zero::Affine, 32),
        ("int3-six", Encoding::Planes(3), Zero::Affine, 32),
        ("int2-six", Encoding::Planes(2), Zero::Affine, 32),
    ];
    let with = |scales| move |(name, encoding, zero, size)| (name, encoding, zero, size, scales);
    halves.map(with(Scales::Halves)).into_iter().chain(six.map(with(Scales::SixBits))).collect()
}

/// Lower quartile, median and upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    [at(0.25), at(0.5), at(0.75)]
}

/// GB/s of reading `data` once with all threads of `compute`.
fn stream(compute: &Compute, data: &[u64]) -> f64 {
    let start = Instant::now();
    let sum = compute.kernels().stream(compute.pool(), data);
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(sum, data.len() as u64, "all words are 1");
    data.len() as f64 * 8.0 / seconds / 1e9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let named = args.iter().position(|arg| arg == "--formats").and_then(|at| args.get(at + 1));
    let wanted = |format: &str| named.is_none_or(|names| names.split(',').any(|name| name == format));
    let json = args.iter().position(|arg| arg == "--json").and_then(|at| args.get(at + 1));
    let tokens = args.iter().position(|arg| arg == "--tokens").and_then(|at| args.get(at + 1));
    let tokens: usize = tokens.map_or(Ok(1), |tokens| tokens.parse())?;
    let refine_above = if tokens == 1 { f32::INFINITY } else { 1.0 };
    let rounds = if quick { 5 } else { 15 };
    let mut rows = Vec::new();

    let cold_bytes = cold_bytes();
    let cold = vec![1u64; cold_bytes / 8];
    let cores = std::thread::available_parallelism()?.get();
    for threads in [1, 2].into_iter().filter(|&threads| threads <= cores) {
        let compute = Compute::new(edgellm::available_kernels()[0], threads);
        for bytes in [8 << 20, cold_bytes] {
            let rates = quartiles((0..rounds).map(|_| stream(&compute, &cold[..bytes / 8])).collect());
            println!("streaming {} MiB on {threads} thread(s): {:.1} GB/s", bytes >> 20, rates[1]);
            rows.push(format!(
                r#"{{"kind":"stream","bytes":{bytes},"threads":{threads},"gb_per_s":{rates:?}}}"#
            ));
        }
        drop(compute);
    }

    println!(
        "\n{:16} {:12} {:9} thr {:>22} {:>22}",
        "matrix", "format", "kernel", "cold GB/s (quartiles)", "hot GB/s"
    );
    for (index, case) in CASES.iter().enumerate() {
        if quick && index % 3 != 1 {
            continue;
        }
        for (format, encoding, zero, group_size, scales) in
            formats().into_iter().filter(|(name, ..)| wanted(name))
        {
            let layout =
                Layout::new(case.rows, case.cols, encoding, zero, group_size)?.with_scales(scales)?;
            let mut random = Random(index as u64);
            let one = random_matrix(&layout, &mut random);
            let copies = if tokens == 1 { cold_bytes.div_ceil(one.len()) } else { 1 };
            let data: Vec<u8> = one.iter().copied().cycle().take(copies * one.len()).collect();
            let matrices: Vec<Matrix<'_>> = data
                .chunks_exact(one.len())
                .map(|data| Matrix::new(layout, data))
                .collect::<Result<_, _>>()?;
            let input: Vec<f32> = (0..tokens * case.cols).map(|_| random.float()).collect();
            let mut candidates = Vec::new();
            for threads in [1, 2].into_iter().filter(|&threads| threads <= cores) {
                for kernels in edgellm::available_kernels() {
                    if kernels.name() != "portable" {
                        candidates.push((Compute::new(kernels, threads), Vec::new(), Vec::new()));
                    }
                }
            }
            let mut out = vec![0.0; tokens * case.rows];
            let mut expected = None;
            for round in 0..=rounds {
                for (compute, cold, hot) in &mut candidates {
                    let kernels = compute.kernels();
                    let mut activations = Activations::default();
                    kernels.quantize(
                        compute.pool(),
                        &mut activations,
                        &input,
                        case.cols,
                        Lookups::of([encoding]),
                        refine_above,
                    );
                    if round == 0 {
                        let expected =
                            expected.get_or_insert_with(|| reference::matmul(&matrices[0], &activations));
                        kernels.matmul(
                            compute.pool(),
                            &activations,
                            &mut [Product { matrix: matrices[0], output: &mut out }],
                        );
                        assert!(out == *expected, "{} computes {format} wrongly", kernels.name());
                        continue;
                    }
                    let start = Instant::now();
                    for &matrix in &matrices {
                        let mut products = [Product { matrix, output: &mut out }];
                        kernels.matmul(compute.pool(), &activations, &mut products);
                    }
                    cold.push((tokens * data.len()) as f64 / start.elapsed().as_secs_f64() / 1e9);
                    let repeats = (16 << 20) / (tokens * one.len()) + 1;
                    let start = Instant::now();
                    for _ in 0..repeats {
                        let mut products = [Product { matrix: matrices[0], output: &mut out }];
                        kernels.matmul(compute.pool(), &activations, &mut products);
                    }
                    hot.push((repeats * tokens * one.len()) as f64 / start.elapsed().as_secs_f64() / 1e9);
                }
            }
            for (compute, cold, hot) in candidates {
                let (cold, hot) = (quartiles(cold), quartiles(hot));
                let (name, threads) = (compute.kernels().name(), compute.threads());
                println!(
                    "{:16} {format:12} {name:9} {threads:3} {:6.1} ({:5.1} - {:5.1}) {:6.1} ({:5.1} - {:5.1})",
                    case.model, cold[1], cold[0], cold[2], hot[1], hot[0], hot[2]
                );
                rows.push(format!(
                    r#"{{"kind":"gemv","matrix":"{}","rows":{},"cols":{},"format":"{format}","kernel":"{name}","threads":{threads},"cold_gb_per_s":{cold:?},"hot_gb_per_s":{hot:?}}}"#,
                    case.model, case.rows, case.cols
                ));
            }
        }
    }
    if let Some(path) = json {
        std::fs::write(path, format!("[\n{}\n]\n", rows.join(",\n")))?;
    }
    Ok(())
}
