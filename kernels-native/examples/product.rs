//! One product by one kernel, for tools that examine its instructions (benches/arm_model.py):
//! `product KERNEL FORMAT ROWS COLS TOKENS`.
//!
//! The result is compared with the reference; then the same work runs once more, between functions that a tracer finds by
//! name. It uses one thread and is meant for small sizes, because it runs in emulators.

use edgellm_kernels::layout::{Encoding, Layout, Matrix, Zero};
use edgellm_kernels::testing::{Random, random_matrix};
use edgellm_kernels::{Activations, Lookups, Pool, Product, reference};
use std::hint::black_box;

/// The formats of files: encoding, meaning of the codes and group size.
const FORMATS: [(&str, Encoding, Zero, usize); 10] = [
    ("int8", Encoding::Bytes, Zero::Symmetric(128), 32),
    ("6-bit", Encoding::Split(6), Zero::Symmetric(32), 16),
    ("5-bit", Encoding::Split(5), Zero::Symmetric(16), 32),
    ("2-bit", Encoding::Split(2), Zero::Affine, 16),
    ("int4", Encoding::Nibbles, Zero::Affine, 32),
    ("int3", Encoding::Planes(3), Zero::Affine, 32),
    ("int2", Encoding::Planes(2), Zero::Affine, 32),
    ("bitnet", Encoding::Ternary, Zero::Symmetric(1), 1 << 20),
    ("ternary", Encoding::Ternary, Zero::Symmetric(1), 128),
    ("binary", Encoding::Binary, Zero::Symmetric(1), 128),
];

macro_rules! marks {
    ($($name:ident $number:literal)*) => { $(
        // SAFETY: no other symbol of the program has such a name.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name() {
            black_box($number); // different bodies, so that the compiler does not merge the functions
        }
    )* };
}
marks! { mark_quantize 1 mark_matmul 2 mark_end 3 }

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, format, sizes @ ..] = &args[..] else {
        return Err("usage: product KERNEL FORMAT ROWS COLS TOKENS".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    let [rows, cols, tokens] = sizes[..] else { return Err("ROWS COLS TOKENS are three numbers".into()) };
    let kernels = edgellm_kernels_native::available()
        .into_iter()
        .find(|kernels| kernels.name() == kernel)
        .ok_or("this CPU has no such kernel")?;
    let &(_, encoding, zero, group_size) =
        FORMATS.iter().find(|(name, ..)| name == format).ok_or("no such format")?;

    let layout = Layout::new(rows, cols, encoding, zero, group_size)?;
    let mut random = Random(1);
    let data = random_matrix(&layout, &mut random);
    let matrix = Matrix::new(layout, &data)?;
    let input: Vec<f32> = (0..tokens * cols).map(|_| random.float()).collect();
    let mut output = vec![0.0; tokens * rows];
    let (pool, mut activations) = (Pool::new(), Activations::default());
    let lookups = Lookups::of([encoding]);
    for traced in [false, true] {
        if traced {
            mark_quantize();
        }
        kernels.quantize(&pool, &mut activations, &input, cols, lookups, f32::INFINITY);
        if traced {
            mark_matmul();
        }
        kernels.matmul(&pool, &activations, &mut [Product { matrix, output: &mut output }]);
        if traced {
            mark_end();
        } else {
            assert!(output == reference::matmul(&matrix, &activations), "{kernel} computes {format} wrongly");
        }
    }
    println!(r#"{{"bytes":{},"hash":"{:016x}"}}"#, data.len(), hash(&output));
    Ok(())
}

/// FNV-1a over the bits.
fn hash(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
