//! Kernels of EdgeLLM: the packed weight layout and the multiplication of packed weights with quantized
//! activations, written once over a small trait of vector operations.
//!
//! - [`layout`]: how weights lie in memory and in the model file
//! - [`activations`]: how inputs become int8 and lookup tables
//! - [`isa`]: the vector operations an instruction set provides; [`portable`] and, on wasm32, `simd128` are
//!   instances; `edgellm-kernels-native` has those of x86-64 and aarch64
//! - [`Kernels`]: the products, by lookup and by dot product, and everything else an instruction set computes
//! - [`float`] and [`attention`]: floating-point work, in one order on every target
//! - [`page`]: the key-value cache's memory, in half precision or in 8 bits
//! - [`pool`]: threads that share the work of a product
//! - [`reference`](mod@reference) and [`testing`]: the naive oracle and the tests that every instance passes

pub mod activations;
pub mod attention;
mod dot;
pub mod float;
pub mod half;
pub mod isa;
mod kernels;
pub mod layout;
mod lookup;
mod matmul;
pub mod page;
pub mod pool;
pub mod portable;
mod quantize;
pub mod reference;
#[cfg(target_arch = "wasm32")]
pub mod simd128;
mod strip;
pub mod testing;
mod tiles;
mod unpack;

pub use activations::Activations;
pub use isa::{BlockValues, Isa, Job, TILE_TOKENS, Tiles};
pub use kernels::{Kernels, Product};
pub use pool::Pool;
pub use tiles::TileJob;
