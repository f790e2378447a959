//! WebAssembly SIMD128, and relaxed SIMD where the module is built with it.
//!
//! A module cannot detect features at run time: what it may use is fixed when it is compiled. The relaxed instructions are
//! used only where the specification leaves them no choice: the swizzle with indexes below 16, the dot product with a
//! second operand below 128 whose pair sums fit 16 bits.

mod blocks;
mod vectors;

pub use vectors::Simd128;
