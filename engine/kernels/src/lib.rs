//! Kernels of EdgeLLM: the packed weight layout and the multiplication of packed weights with quantized activations,
//! written once over a trait of vector operations.
//!
//! From the bottom up; no file imports one above it:
//! - [`layout`]: how weights lie in memory and in the model file; [`page`]: how the KV cache does
//! - [`activations`]: how inputs become int8 and lookup tables
//! - [`isa`]: the vector operations that an instruction set provides
//! - [`Blocks`]: algorithms for a whole block over these operations, which an instruction set may override; [`Tiles`]:
//!   matrix instructions
//! - `matmul`, `float`, `hadamard`, [`attention`], `recurrence` and `panel`: products and floating-point work, in one order on
//!   every target
//! - [`Kernels`]: all of it for one instruction set, on the threads of a [`pool`]
//! - [`portable`] and, on wasm32, `simd128`: instances; `edgellm-kernels-native` has those of x86-64 and aarch64.
//!   [`candidates`] lists them
//! - `reference` and `testing`, with the feature `testing`: the naive reference, and the tests that every instance passes
//!
//! ```
//! use edgellm_kernels::layout::{Encoding, Layout, Matrix, Zero, f32_to_f16, pack_strip};
//! use edgellm_kernels::{Activations, Lookups, Pool, Product};
//!
//! // A matrix of 2 x 32 nibbles: a row of 1 and a row of -1.
//! let layout = Layout::new(2, 32, Encoding::Nibbles, Zero::Symmetric(8), 32)?;
//! let codes = [[9; 32], [7; 32]];
//! let mut data = vec![0; layout.total_bytes()];
//! pack_strip(&layout, codes.as_flattened(), &[f32_to_f16(1.0); 2], &[], &mut data);
//! let matrix = Matrix::new(layout, &data)?;
//!
//! let (kernels, pool) = (edgellm_kernels::available()[0], Pool::new());
//! let mut activations = Activations::default();
//! kernels.quantize(&pool, &mut activations, &[0.5; 32], 32, Lookups::default(), 0.0);
//! let mut output = [0.0; 2];
//! kernels.matmul(&pool, &activations, &mut [Product { matrix, output: &mut output }]);
//! assert!((output[0] - 16.0).abs() < 0.01 && output[1] == -output[0]);
//! # Ok::<(), edgellm_kernels::layout::LayoutError>(())
//! ```

pub mod activations;
pub mod attention;
mod blocks;
mod candidates;
mod float;
mod hadamard;
mod half;
pub mod isa;
mod kernels;
pub mod layout;
mod matmul;
pub mod page;
mod panel;
pub mod pool;
pub mod portable;
#[cfg(any(test, feature = "testing"))]
mod random;
mod recurrence;
#[cfg(any(test, feature = "testing"))]
pub mod reference;
mod set;
mod share;
#[cfg(target_arch = "wasm32")]
pub mod simd128;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tiles;

pub use activations::{Activations, BlockTables, BlockValues};
pub use blocks::Blocks;
pub use candidates::{Candidate, available, candidates};
pub use float::Gate;
pub use isa::{Isa, Job};
pub use kernels::{Kernels, Lookups, Product};
pub use panel::{PANEL, PANEL_ROWS};
pub use pool::Pool;
pub use recurrence::DeltaHeads;
pub use tiles::{TILE_TOKENS, Tiles};
