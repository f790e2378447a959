//! Tests that every instruction set passes: natively, under qemu and in WebAssembly engines.

mod attention;
mod matmul;
mod matrix;

use crate::activations::Activations;
use crate::float::Gate;
use crate::kernels::{Kernels, Lookups};
use crate::panel::{PANEL, PANEL_ROWS};
use crate::pool::Pool;
use crate::recurrence::DeltaHeads;

pub use crate::random::Random;
pub use matmul::{check_activations, check_matmul, encodings};
pub use matrix::random_matrix;

/// A hash of everything that the floating-point kernels compute from seeded inputs: the same for every instance.
pub fn float_hash(kernels: Kernels) -> u64 {
    let mut random = Random(3);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |values: &[f32]| {
        for value in values {
            hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for len in [1, 15, 16, 17, 64, 100, 576, 1537] {
        let x: Vec<f32> = (0..len).map(|_| random.float() * 30.0).collect();
        let w: Vec<f32> = (0..len).map(|_| random.float()).collect();
        let mut out = vec![0.0; len];
        kernels.rms_norm(&Pool::new(), &x, &w, 1e-5, &mut out);
        add(&out);
        for function in [Gate::Silu, Gate::GeluTanh, Gate::Relu2, Gate::Sigmoid] {
            let mut gate = x.clone();
            kernels.gate_mul(&Pool::new(), function, &mut gate, &w);
            add(&gate);
        }
        let (mut conv, mut before) = (x.clone(), vec![0.5; 2 * len]);
        kernels.causal_conv(&mut conv, &[&w[..], &x, &w].concat(), &mut before, true);
        add(&conv);
        add(&before);
        let mut rotated = x[..len / 8 * 8].to_vec();
        let (cols, signs) = (rotated.len(), vec![-1.0; rotated.len()]);
        if cols > 0 {
            for block in [8, 1 << cols.trailing_zeros()] {
                kernels.hadamard(&Pool::new(), &mut rotated, cols, block, [&signs, &[]]);
                add(&rotated);
            }
        }
        let mut activations = Activations::default();
        kernels.quantize(&Pool::new(), &mut activations, &x, len, Lookups::default(), 1.0);
        add(activations.token(0).scales);
        add(activations.token(0).scaled_sums);
    }
    for (key_heads, heads, key_dim, value_dim) in [(1, 1, 8, 16), (2, 4, 33, 21), (1, 2, 128, 128)] {
        let tokens = 3;
        let mut floats = |count: usize| (0..count).map(|_| random.float()).collect::<Vec<f32>>();
        let qkv = floats(tokens * (2 * key_heads * key_dim + heads * value_dim));
        let [decay, beta] =
            [(); 2].map(|()| floats(tokens * heads).iter().map(|x| x.abs()).collect::<Vec<f32>>());
        let inputs = DeltaHeads {
            qkv: &qkv,
            decay: &decay,
            beta: &beta,
            key_heads,
            interleaved: heads == 2,
            heads,
            key_dim,
            value_dim,
        };
        let (mut state, mut output) =
            (floats(heads * key_dim * value_dim), vec![0.0; heads * tokens * value_dim]);
        kernels.delta_rule(&Pool::new(), inputs, &mut state, &mut output);
        add(&state);
        add(&output);
    }
    panels(kernels, &mut random, &mut add);
    attention::attentions(kernels, &mut random, add);
    hash
}

/// Products of panels; of 64-bit floats both halves.
fn panels(kernels: Kernels, random: &mut Random, add: &mut dyn FnMut(&[f32])) {
    for count in [1, 33, 200] {
        let left: Vec<[f32; PANEL_ROWS]> =
            (0..count).map(|_| [(); PANEL_ROWS].map(|()| random.float())).collect();
        let right: Vec<[f32; PANEL]> = (0..count).map(|_| [(); PANEL].map(|()| random.float())).collect();
        let mut out = [[1.0; PANEL]; PANEL_ROWS];
        kernels.panel_product(&left, &right, &mut out);
        add(out.as_flattened());
        let left: Vec<_> = left.iter().map(|row| row.map(f64::from)).collect();
        let right: Vec<_> = right.iter().map(|row| row.map(f64::from)).collect();
        let mut out = [[1.0_f64; PANEL]; PANEL_ROWS];
        kernels.panel_product_f64(&left, &right, &mut out);
        for value in out.as_flattened() {
            let bits = value.to_bits();
            add(&[f32::from_bits((bits >> 32) as u32), f32::from_bits(bits as u32)]);
        }
    }
}

/// All checks of one instruction set; returns its [`float_hash`].
///
/// # Panics
/// If one fails.
pub fn check(kernels: Kernels, pool: &Pool) -> u64 {
    check_activations(kernels);
    let words: Vec<u64> = (0..70_001).map(|i| (i * i) << 20).collect();
    assert_eq!(kernels.stream(pool, &words), words.iter().fold(0, |sum: u64, &x| sum.wrapping_add(x)));
    assert!(check_matmul(kernels, pool) > 500);
    float_hash(kernels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::half::{f16_to_f32, f32_to_f16};
    use crate::layout::{BLOCK, STRIP};
    use crate::portable::Portable;
    use crate::tiles::{TILE_TOKENS, Tiles};

    #[test]
    fn portable_equals_reference() {
        check(Kernels::new("portable", Portable), &Pool::new());
    }

    /// What matrix instructions compute, in plain Rust: most CPUs have none, and their products are tested everywhere so.
    #[derive(Clone, Copy, Debug)]
    struct PortableTiles;

    // SAFETY: `sums` accesses what its contract grants.
    unsafe impl Tiles for PortableTiles {
        type Isa = Portable;
        fn isa(self) -> Portable {
            Portable
        }
        fn begin(self) {}
        fn end(self) {}
        unsafe fn sums<const SIGNED: bool>(
            self,
            codes: *const u8,
            values: *const i8,
            sums: *mut i32,
            stride: usize,
        ) {
            for token in 0..TILE_TOKENS {
                for row in 0..STRIP {
                    let mut sum = 0;
                    for col in 0..BLOCK {
                        // SAFETY: 128 * 7 + 4 * 31 + 3 < 1024, token * 32 + col < 512, and row < 32.
                        unsafe {
                            let code = *codes.add(128 * (col / 4) + 4 * row + col % 4);
                            let code = if SIGNED { i32::from(code as i8) } else { i32::from(code) };
                            sum += code * i32::from(*values.add(token * BLOCK + col));
                        }
                    }
                    // SAFETY: as above.
                    unsafe { *sums.byte_add(token * stride).add(row) = sum };
                }
            }
        }
    }

    #[test]
    fn matrix_instructions_equal_reference() {
        check_matmul(Kernels::with_tiles("portable tiles", PortableTiles), &Pool::new());
    }

    #[test]
    fn halves_round_trip() {
        for bits in 0..=u16::MAX {
            if bits & 0x7c00 == 0x7c00 {
                continue; // infinities and NaN
            }
            let value = f16_to_f32(bits);
            assert_eq!(f32_to_f16(value), bits, "{value}");
            // Halfway to the next half rounds to even.
            let next = f16_to_f32(bits + 1);
            if bits & 0x7fff < 0x7bff {
                let even = if bits & 1 == 0 { bits } else { bits + 1 };
                assert_eq!(f32_to_f16(value + (next - value) / 2.0), even, "{value}");
            }
        }
        assert_eq!(f16_to_f32(0x3c00), 1.0);
        assert_eq!(f16_to_f32(0x0001), 2f32.powi(-24));
        assert_eq!(f16_to_f32(0xfbff), -65504.0);
        assert_eq!(f32_to_f16(f32::INFINITY), 0x7bff);
        assert_eq!(f32_to_f16(f32::NAN), 0);
    }
}
