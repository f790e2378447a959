//! x86-64.

mod ahead;
mod amx;
mod avx2;
mod avx512;

pub use amx::Amx;
pub use avx2::Avx2;
pub use avx512::{Avx512, Avx512Vbmi};
