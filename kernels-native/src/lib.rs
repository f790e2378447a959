//! The kernels of `edgellm-kernels` for x86-64 (AVX2, AVX-512 with VNNI, AMX) and aarch64 (NEON, with and without
//! the dot-product extension), and the choice among them at run time.
//!
//! One file an instruction set; a value of its type can only be had by detecting the CPU's features.

#[cfg(target_arch = "aarch64")]
pub mod aarch64;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

use edgellm_kernels::Kernels;
use edgellm_kernels::portable::Portable;

/// An instruction set and whether this CPU has it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Name, as in flags.
    pub name: &'static str,
    /// CPU features it takes.
    pub needs: &'static str,
    /// Why it is where it is in the order, with what was measured (docs/architecture.md).
    pub why: &'static str,
    /// Its kernels, if the CPU has the features.
    pub kernels: Option<Kernels>,
}

/// All instruction sets of this architecture, the fastest first.
pub fn candidates() -> Vec<Candidate> {
    vec![
        #[cfg(target_arch = "x86_64")]
        Candidate {
            name: "avx512amx",
            needs: "avx512f, avx512bw, avx512vl, avx512vnni, avx512vbmi, amx-tile, amx-int8 and a system that permits them",
            why: "tdpbsud multiplies 16 rows with 16 tokens: on a Xeon prompts at 1.1 to 1.3 times avx512vbmi's rate",
            kernels: x86_64::Avx512Vbmi::<true>::detect().map(Kernels::new),
        },
        #[cfg(target_arch = "x86_64")]
        Candidate {
            name: "avx512vbmi",
            needs: "avx512f, avx512bw, avx512vl, avx512vnni, avx512vbmi",
            why: "vpermb looks up in four tables at once: on Zen 4 int2 and bitnet weights at 1.6 times avx512's rate",
            kernels: x86_64::Avx512Vbmi::<false>::detect().map(Kernels::new),
        },
        #[cfg(target_arch = "x86_64")]
        Candidate {
            name: "avx512",
            needs: "avx512f, avx512bw, avx512vl, avx512vnni",
            why: "vpdpbusd does in one instruction what takes avx2 three: on Zen 4 int4 weights at memory's rate",
            kernels: x86_64::Avx512::detect().map(Kernels::new),
        },
        #[cfg(target_arch = "x86_64")]
        Candidate {
            name: "avx2",
            needs: "avx2, f16c",
            why: "32 lookups or products of bytes an instruction: on Zen 4 bitnet weights at 0.6 times avx512vbmi's rate",
            kernels: x86_64::Avx2::detect().map(Kernels::new),
        },
        #[cfg(target_arch = "aarch64")]
        Candidate {
            name: "neon-dotprod",
            needs: "neon, dotprod",
            why: "sdot multiplies and adds 16 bytes in one instruction",
            kernels: aarch64::Dotprod::detect().map(Kernels::new),
        },
        #[cfg(target_arch = "aarch64")]
        Candidate {
            name: "neon",
            needs: "neon",
            why: "16 lookups or products of bytes an instruction",
            kernels: aarch64::Neon::detect().map(Kernels::new),
        },
        Candidate {
            name: "portable",
            needs: "nothing",
            why: "no vector instructions: what other kernels are checked against, hundreds of times slower",
            kernels: Some(Kernels::new(Portable)),
        },
    ]
}

/// The kernels this CPU can run, the fastest first; never empty.
pub fn available() -> Vec<Kernels> {
    candidates().into_iter().filter_map(|candidate| candidate.kernels).collect()
}
