//! The kernels of `edgellm-kernels` for x86-64 (AVX2, AVX-512 with VNNI, AMX) and aarch64 (NEON, with and without the
//! dot-product extension), and the choice among them at run time.
//!
//! Each instruction set is a file. A value of its type is the proof that the CPU has its features: only `detect` returns
//! one. [`candidates`] is the list of all of them.
//!
//! ```
//! let fastest = edgellm_kernels_native::available()[0];
//! println!("{}", fastest.name());
//! ```

#[cfg(target_arch = "aarch64")]
pub mod aarch64;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

use edgellm_kernels::{Candidate, Kernels};

/// All instruction sets of this architecture, the fastest first. Names, detection and the order of preference of the whole
/// program come from this list, which ends with those that need no detection ([`edgellm_kernels::candidates`]). What was
/// measured is in docs/experiments/.
pub fn candidates() -> Vec<Candidate> {
    let mut candidates = vec![
        #[cfg(target_arch = "x86_64")]
        Candidate::with_tiles(
            "avx512amx",
            "avx512f, avx512bw, avx512vl, avx512vnni, avx512vbmi, amx-tile, amx-int8 and a system that permits them",
            "tdpbsud multiplies 16 rows with 16 tokens: on a Xeon prompts at 1.1 to 1.3 times avx512vbmi's rate",
            x86_64::Amx::detect(),
        ),
        #[cfg(target_arch = "x86_64")]
        Candidate::new(
            "avx512vbmi",
            "avx512f, avx512bw, avx512vl, avx512vnni, avx512vbmi",
            "vpermb looks up in four tables at once: on Zen 4 int2 and bitnet weights at 1.6 times avx512's rate",
            x86_64::Avx512Vbmi::detect(),
        ),
        #[cfg(target_arch = "x86_64")]
        Candidate::new(
            "avx512",
            "avx512f, avx512bw, avx512vl, avx512vnni",
            "vpdpbusd does in one instruction what takes avx2 three: on Zen 4 int4 weights at memory's rate",
            x86_64::Avx512::detect(),
        ),
        #[cfg(target_arch = "x86_64")]
        Candidate::new(
            "avx2",
            "avx2, f16c",
            "32 lookups or products of bytes an instruction: on Zen 4 bitnet weights at 0.6 times avx512vbmi's rate",
            x86_64::Avx2::detect(),
        ),
        #[cfg(target_arch = "aarch64")]
        Candidate::new(
            "neon-dotprod",
            "neon, dotprod",
            "sdot multiplies and adds 16 bytes in one instruction",
            aarch64::Dotprod::detect(),
        ),
        #[cfg(target_arch = "aarch64")]
        Candidate::new(
            "neon",
            "neon",
            "16 lookups or products of bytes an instruction",
            aarch64::Neon::detect(),
        ),
    ];
    candidates.extend(edgellm_kernels::candidates());
    candidates
}

/// The kernels this CPU can run, the fastest first; never empty.
pub fn available() -> Vec<Kernels> {
    candidates().into_iter().filter_map(|candidate| candidate.kernels).collect()
}
