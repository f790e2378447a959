//! The types of exported weights.

use edgellm_kernels::layout::f32_to_f16;

/// A type of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// Half precision (IEEE 754 binary16).
    F16,
    /// bfloat16: the upper half of a 32-bit float.
    Bf16,
    /// 32-bit floats.
    F32,
}

/// From here on, values round to more than the largest half, 65504.
const F16_END: f32 = 65520.0;

impl Dtype {
    /// Name in `config.json`.
    pub const fn torch_name(self) -> &'static str {
        match self {
            Dtype::F16 => "float16",
            Dtype::Bf16 => "bfloat16",
            Dtype::F32 => "float32",
        }
    }

    /// Name in safetensors files.
    pub const fn safetensors_name(self) -> &'static str {
        match self {
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::F32 => "F32",
        }
    }

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
        }
    }

    /// The largest finite number.
    pub(super) const fn largest(self) -> f32 {
        match self {
            Dtype::F16 => 65504.0,
            Dtype::Bf16 => f32::from_bits(0x7f7f_0000),
            Dtype::F32 => f32::MAX,
        }
    }

    /// Appends finite values, each rounded to nearest even.
    ///
    /// # Errors
    /// The first value that rounds to infinity.
    pub(super) fn encode(self, values: &[f32], out: &mut Vec<u8>) -> Result<(), f32> {
        match self {
            Dtype::F16 => {
                if let Some(&value) = values.iter().find(|value| value.abs() >= F16_END) {
                    return Err(value);
                }
                out.extend(values.iter().flat_map(|&value| f32_to_f16(value).to_le_bytes()));
            }
            Dtype::Bf16 => {
                for &value in values {
                    let bits = value.to_bits();
                    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
                    if rounded & 0x7f80 == 0x7f80 {
                        return Err(value);
                    }
                    out.extend(rounded.to_le_bytes());
                }
            }
            Dtype::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgellm_kernels::layout::f16_to_f32;

    fn halves(dtype: Dtype, values: &[f32]) -> Vec<u16> {
        let mut bytes = Vec::new();
        dtype.encode(values, &mut bytes).unwrap();
        bytes.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn values_are_rounded_to_nearest_even() {
        // One and a half, three quarters and one quarter of a unit above 1, and halfway to an odd and an even neighbour.
        let f16 = [1.0 + 3.0 / 2048.0, 1.0 + 3.0 / 4096.0, 1.0 + 1.0 / 4096.0, 1.0 + 1.0 / 2048.0, -6.1e-8];
        assert_eq!(halves(Dtype::F16, &f16), [0x3c02, 0x3c01, 0x3c00, 0x3c00, 0x8001]);
        let bf16 = [1.0 + 3.0 / 256.0, 1.0 + 3.0 / 512.0, 1.0 + 1.0 / 512.0, 1.0 + 1.0 / 256.0, -0.0];
        assert_eq!(halves(Dtype::Bf16, &bf16), [0x3f82, 0x3f81, 0x3f80, 0x3f80, 0x8000]);
        let mut bytes = Vec::new();
        Dtype::F32.encode(&[0.1, -f32::MAX], &mut bytes).unwrap();
        assert_eq!(bytes, [0.1_f32.to_le_bytes(), (-f32::MAX).to_le_bytes()].concat());
    }

    #[test]
    fn nothing_becomes_infinite() {
        let mut out = Vec::new();
        let mut encode = |dtype: Dtype, value| dtype.encode(&[1.0, value], &mut out);
        assert_eq!(encode(Dtype::F16, 65519.996), Ok(()));
        assert_eq!(encode(Dtype::F16, 65520.0), Err(65520.0));
        assert_eq!(encode(Dtype::F16, -1e9), Err(-1e9));
        assert_eq!(encode(Dtype::Bf16, Dtype::Bf16.largest()), Ok(()));
        assert_eq!(encode(Dtype::Bf16, f32::MAX), Err(f32::MAX));
        assert_eq!(encode(Dtype::F32, f32::MAX), Ok(()));
        assert_eq!(f16_to_f32(halves(Dtype::F16, &[65519.996])[0]), Dtype::F16.largest());
    }
}
