//! What rotating inputs costs a decoded token: `hadamard`, for every available kernel.
//!
//! The products of a layer of the 1.7B shape, ternary with groups of 128, one thread, each layer with weights of its own as in
//! decoding, and before each product the rotation of its input. Medians over the rounds, which alternate.

use edgellm::Compute;
use edgellm::kernels::layout::{Encoding, Layout, LayoutError, Matrix, Zero};
use edgellm::kernels::testing::{Random, random_matrix};
use edgellm::kernels::{Activations, Lookups, Product};
use std::time::Instant;

#[global_allocator]
static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;

/// The inputs of a layer: how long they are, and how many rows are multiplied with them.
const PRODUCTS: [(usize, usize); 4] = [(2048, 2048 + 2 * 1024), (2048, 2048), (2048, 2 * 6144), (6144, 2048)];
const LAYERS: usize = 28;
const ROUNDS: usize = 15;

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() -> Result<(), LayoutError> {
    let mut random = Random(1);
    let mut layers = Vec::new();
    for _ in 0..LAYERS {
        for (cols, rows) in PRODUCTS {
            let layout = Layout::new(rows, cols, Encoding::Ternary, Zero::Symmetric(1), 128)?;
            layers.push((layout, random_matrix(&layout, &mut random)));
        }
    }
    let longest = PRODUCTS.iter().map(|&(cols, _)| cols).max().unwrap_or_default();
    let input: Vec<f32> = (0..longest).map(|_| random.float()).collect();
    let signs: Vec<f32> = (0..longest).map(|i| if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
    for kernels in edgellm::available_kernels().into_iter().filter(|kernels| kernels.name() != "portable") {
        let compute = Compute::new(kernels, 1);
        for block in [128, 1024, 2048] {
            let (mut rotations, mut products) = (Vec::new(), Vec::new());
            let mut activations = Activations::default();
            for _ in 0..ROUNDS {
                let (mut rotated, mut multiplied) = (0.0, 0.0);
                for (layout, data) in &layers {
                    let mut x = input[..layout.cols()].to_vec();
                    let start = Instant::now();
                    kernels.hadamard(
                        compute.pool(),
                        &mut x,
                        layout.cols(),
                        block,
                        [&signs[..layout.cols()], &[]],
                    );
                    rotated += start.elapsed().as_secs_f64();
                    let mut output = vec![0.0; layout.rows()];
                    let matrix = Matrix::new(*layout, data)?;
                    let start = Instant::now();
                    let lookups = Lookups::of([layout.encoding()]);
                    kernels.quantize(compute.pool(), &mut activations, &x, layout.cols(), lookups, 1.0);
                    kernels.matmul(
                        compute.pool(),
                        &activations,
                        &mut [Product { matrix, output: &mut output }],
                    );
                    multiplied += start.elapsed().as_secs_f64();
                    assert!(output.iter().all(|y| y.is_finite()));
                }
                rotations.push(rotated);
                products.push(multiplied);
            }
            let (rotation, product) = (median(rotations), median(products));
            println!(
                "{:11} blocks of {block:4}: {:.2} ms for {LAYERS} layers, {:.1} % of their products' {:.1} ms",
                kernels.name(),
                1e3 * rotation,
                100.0 * rotation / product,
                1e3 * product
            );
        }
    }
    Ok(())
}
