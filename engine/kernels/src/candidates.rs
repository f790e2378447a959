//! The instruction sets that are known where a program is compiled, and those of this crate.

use crate::blocks::Blocks;
use crate::kernels::Kernels;
use crate::portable::Portable;
use crate::tiles::Tiles;

/// An instruction set, and its kernels where this CPU has it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Name, as in flags.
    pub name: &'static str,
    /// CPU features that it needs.
    pub needs: &'static str,
    /// Why it has its place in the order, with what was measured.
    pub why: &'static str,
    /// Its kernels, if the CPU has the features.
    pub kernels: Option<Kernels>,
}

impl Candidate {
    /// An instruction set; `isa` is the proof that the CPU has it, if it has.
    pub fn new<I: Blocks>(
        name: &'static str,
        needs: &'static str,
        why: &'static str,
        isa: Option<I>,
    ) -> Self {
        Candidate { name, needs, why, kernels: isa.map(|isa| Kernels::new(name, isa)) }
    }

    /// An instruction set with matrix instructions.
    pub fn with_tiles<T: Tiles>(
        name: &'static str,
        needs: &'static str,
        why: &'static str,
        tiles: Option<T>,
    ) -> Self {
        Candidate { name, needs, why, kernels: tiles.map(|tiles| Kernels::with_tiles(name, tiles)) }
    }
}

/// The instruction sets that need no detection, the fastest first: what a WebAssembly module may use is fixed when it is
/// compiled, and plain Rust runs everywhere.
pub fn candidates() -> Vec<Candidate> {
    vec![
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Candidate::new(
            "simd128-relaxed",
            "relaxed-simd",
            "one instruction multiplies and adds 16 bytes",
            Some(crate::simd128::Simd128),
        ),
        #[cfg(all(
            target_arch = "wasm32",
            target_feature = "simd128",
            not(target_feature = "relaxed-simd")
        ))]
        Candidate::new(
            "simd128",
            "simd128",
            "16 lookups or 8 products in one instruction",
            Some(crate::simd128::Simd128),
        ),
        Candidate::new(
            "portable",
            "nothing",
            "no vector instructions: what other kernels are checked against, hundreds of times slower",
            Some(Portable),
        ),
    ]
}

/// The kernels of [`candidates`], the fastest first; never empty.
pub fn available() -> Vec<Kernels> {
    candidates().into_iter().filter_map(|candidate| candidate.kernels).collect()
}
