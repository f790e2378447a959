//! The "K" types: 256 weights per block, in groups whose scales are themselves quantized.

use super::half;

/// 16 bytes of (scale, min) nibbles, 64 of 2-bit codes, the two halves that scale them.
pub(super) fn q2(x: &[u8; 84], codes: &mut [u8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
    let (d, dmin) = (half([x[80], x[81]]), half([x[82], x[83]]));
    for (group, out) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        scales[group] = d * f32::from(x[group] & 15);
        mins[group] = -(dmin * f32::from(x[group] >> 4));
        // 128 weights share 32 bytes: groups 2s and 2s + 1 of the eight have the bits 2s and 2s + 1.
        let (start, shift) = (16 + group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2);
        for (code, byte) in out.iter_mut().zip(&x[start..]) {
            *code = byte >> shift & 3;
        }
    }
}

/// 32 bytes of high bits, 64 of low 2-bit codes, 12 of 6-bit scales, a half.
pub(super) fn q3(x: &[u8; 110], codes: &mut [u8; 256], scales: &mut [f32; 16]) {
    let packed = &x[96..108];
    let d = half([x[108], x[109]]);
    for (group, out) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = if group < 8 { packed[group] & 15 } else { packed[group - 8] >> 4 };
        let top = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
        scales[group] = d * (f32::from(low | top << 4) - 32.0);
        let (within, shift) = (group % 2 * 16, group % 8 / 2 * 2);
        let (start, bit) = (32 + group / 8 * 32 + within, group / 2);
        for (code, (byte, high)) in out.iter_mut().zip(x[start..].iter().zip(&x[within..])) {
            *code = (byte >> shift & 3) | (high >> bit & 1) << 2;
        }
    }
}

/// The 6-bit scale and min of group `j` of 8 in 12 bytes.
fn scale_min(j: usize, packed: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// Two halves, 12 bytes of scales and mins, 128 of nibbles.
pub(super) fn q4(x: &[u8; 144], codes: &mut [u8; 256], scales: &mut [f32; 8], mins: &mut [f32; 8]) {
    let (d, dmin) = (half([x[0], x[1]]), half([x[2], x[3]]));
    for (group, out) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(group, &x[4..16]);
        (scales[group], mins[group]) = (d * scale, -(dmin * min));
        let (start, shift) = (16 + group / 2 * 32, group % 2 * 4);
        for (code, byte) in out.iter_mut().zip(&x[start..]) {
            *code = byte >> shift & 15;
        }
    }
}

/// As [`q4`], with 32 bytes of fifth bits before the nibbles.
pub(super) fn q5(x: &[u8; 176], codes: &mut [u8; 256], scales: &mut [f32; 8], mins: &mut [f32; 8]) {
    let (d, dmin) = (half([x[0], x[1]]), half([x[2], x[3]]));
    for (group, out) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(group, &x[4..16]);
        (scales[group], mins[group]) = (d * scale, -(dmin * min));
        let (start, shift) = (48 + group / 2 * 32, group % 2 * 4);
        for (code, (byte, high)) in out.iter_mut().zip(x[start..].iter().zip(&x[16..48])) {
            *code = (byte >> shift & 15) | (high >> group & 1) << 4;
        }
    }
}

/// 128 bytes of low nibbles, 64 of high 2-bit pairs, 16 signed scales, a half.
pub(super) fn q6(x: &[u8; 210], codes: &mut [u8; 256], scales: &mut [f32; 16]) {
    let d = half([x[208], x[209]]);
    for (group, out) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        scales[group] = d * f32::from(x[192 + group] as i8);
        // Of each 128 weights, four runs of 32 share 64 bytes of nibbles and 32 of pairs.
        let (half, run, within) = (group / 8, group % 8 / 2, group % 2 * 16);
        let low = 64 * half + run % 2 * 32 + within;
        let high = 128 + 32 * half + within;
        for (code, (low, high)) in out.iter_mut().zip(x[low..].iter().zip(&x[high..])) {
            *code = (low >> (run / 2 * 4) & 15) | (high >> (2 * run) & 3) << 4;
        }
    }
}
