//! Half precision, the same on every target.

/// Half to single precision, exactly. Without branches, so that compilers vectorise it.
#[inline(always)]
pub const fn f16_to_f32(bits: u16) -> f32 {
    // The half's exponent and mantissa, moved to their place in a single, are 2^-112 of the value, for subnormals too.
    // Infinities and NaN become finite (65536 to 131008); model files hold none.
    let magnitude = f32::from_bits(((bits & 0x7fff) as u32) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(magnitude.to_bits() | ((bits & 0x8000) as u32) << 16)
}

/// Single to half precision, rounded to nearest even. Values out of range become the largest finite half, NaN becomes 0.
#[inline(always)]
pub const fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return 0;
    }
    if magnitude >= 0x477f_f000 {
        return sign | 0x7bff; // rounds to more than 65504
    }
    if magnitude < 0x3880_0000 {
        // A subnormal half: adding 0.5 moves its unit, 2^-24, to the single's last bit, and the addition rounds.
        let rounded = f32::from_bits(magnitude) + 0.5;
        return sign | (rounded.to_bits() - 0x3f00_0000) as u16;
    }
    let odd = magnitude >> 13 & 1;
    sign | ((magnitude - 0x3800_0000 + 0xfff + odd) >> 13) as u16
}
