//! aarch64.

mod neon;

pub use neon::{Dotprod, Neon};
