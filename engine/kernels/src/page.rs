//! Pages of the KV cache: 64 positions, in half precision or in 8 bits.
//!
//! A page has a part for each head (and layer) of a model; a part, see [`HeadLayout`], begins at a multiple of 64 bytes.
//! Keys are stored so that positions run along a vector's lanes, values so that a head's elements do: neither product of
//! attention needs horizontal sums, and their order of operations does not depend on the vector width.

use crate::half::{f16_to_f32, f32_to_f16};
use std::cell::UnsafeCell;
use std::sync::Arc;

/// Positions of a page.
pub const PAGE_POSITIONS: usize = 64;
/// Elements of a head that share a scale at each position, in 8 bits.
pub const CACHE_BLOCK: usize = 32;

/// The number format of keys and values in the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheFormat {
    /// Half precision.
    #[default]
    F16,
    /// 8 bits, with a half-precision scale for each 32 elements of a head at a position: 8.5 bits per element.
    Int8,
}

/// How the keys and values of a head are stored in its part of a page. P is the padded head_dim.
///
/// | | keys | scales | values | scales |
/// |---|---|---|---|---|
/// | [`CacheFormat::F16`] | (P, 64) halves | | (64, P) halves | |
/// | [`CacheFormat::Int8`] | (P / 4, 64, 4) bytes, each its code plus 128 | (P / 32, 64) halves | (P / 32, 64, 32) signed bytes | (P / 32, 64) halves |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLayout {
    format: CacheFormat,
    head_dim: usize,
}

impl HeadLayout {
    /// The layout of heads of `head_dim` elements.
    pub const fn new(format: CacheFormat, head_dim: usize) -> Self {
        HeadLayout { format, head_dim }
    }

    /// The number format of the elements.
    pub const fn format(&self) -> CacheFormat {
        self.format
    }

    /// Elements of a head.
    pub const fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// P: the elements of a head and padding, a multiple of 16, or of 32 in 8 bits.
    #[inline(always)]
    pub const fn padded(&self) -> usize {
        match self.format {
            CacheFormat::F16 => self.head_dim.next_multiple_of(16),
            CacheFormat::Int8 => self.head_dim.next_multiple_of(CACHE_BLOCK),
        }
    }

    /// Bytes of the part, a multiple of 64.
    pub const fn bytes(&self) -> usize {
        2 * self.values()
    }

    /// Where the scales of the keys begin, in bytes; the scales of the values are as far from the values.
    #[inline(always)]
    pub const fn scales(&self) -> usize {
        match self.format {
            CacheFormat::F16 => self.values(),
            CacheFormat::Int8 => self.padded() * PAGE_POSITIONS,
        }
    }

    /// Where the values begin, in bytes; the keys begin at 0.
    #[inline(always)]
    pub const fn values(&self) -> usize {
        let elements = self.padded() * PAGE_POSITIONS;
        match self.format {
            CacheFormat::F16 => 2 * elements,
            CacheFormat::Int8 => elements + 2 * elements / CACHE_BLOCK,
        }
    }

    /// Writes a key and a value, (head_dim) each, to position `slot` of a part.
    ///
    /// # Panics
    /// If the length of one of them or of the part does not match, or `slot` is 64 or more.
    pub fn write(&self, part: &mut [u8], slot: usize, key: &[f32], value: &[f32]) {
        assert!(part.len() == self.bytes() && slot < PAGE_POSITIONS);
        assert!(key.len() == self.head_dim && value.len() == self.head_dim);
        let (keys, values) = part.split_at_mut(self.values());
        match self.format {
            CacheFormat::F16 => {
                let keys = keys.as_chunks_mut::<2>().0;
                for (d, &x) in key.iter().enumerate() {
                    keys[d * PAGE_POSITIONS + slot] = f32_to_f16(x).to_le_bytes();
                }
                let values = &mut values.as_chunks_mut::<2>().0[slot * self.padded()..];
                for (to, &x) in values.iter_mut().zip(value) {
                    *to = f32_to_f16(x).to_le_bytes();
                }
            }
            CacheFormat::Int8 => {
                let (keys, key_scales) = keys.split_at_mut(self.scales());
                let (values, value_scales) = values.split_at_mut(self.scales());
                let blocks = key.chunks(CACHE_BLOCK).zip(value.chunks(CACHE_BLOCK));
                for (block, (key, value)) in blocks.enumerate() {
                    let row = block * PAGE_POSITIONS + slot;
                    let (codes, scale) = quantize(key);
                    key_scales.as_chunks_mut::<2>().0[row] = scale.to_le_bytes();
                    let quads = keys.as_chunks_mut::<4>().0[block * 8 * PAGE_POSITIONS + slot..].iter_mut();
                    for (to, codes) in quads.step_by(PAGE_POSITIONS).zip(codes.as_chunks::<4>().0) {
                        *to = codes.map(|code| code as u8 ^ 0x80);
                    }
                    let (codes, scale) = quantize(value);
                    value_scales.as_chunks_mut::<2>().0[row] = scale.to_le_bytes();
                    values.as_chunks_mut::<CACHE_BLOCK>().0[row] = codes.map(|code| code as u8);
                }
            }
        }
    }

    /// The key and the value, (head_dim) each, at position `slot` of a part.
    #[cfg(any(test, feature = "testing"))]
    pub fn read(&self, part: &[u8], slot: usize) -> (Vec<f32>, Vec<f32>) {
        let half = |bytes: &[u8], index: usize| {
            f16_to_f32(u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]))
        };
        let (keys, values) = part.split_at(self.values());
        let each = |f: &dyn Fn(usize) -> f32| (0..self.head_dim).map(f).collect::<Vec<f32>>();
        match self.format {
            CacheFormat::F16 => (
                each(&|d| half(keys, d * PAGE_POSITIONS + slot)),
                each(&|d| half(values, slot * self.padded() + d)),
            ),
            CacheFormat::Int8 => {
                let row = |d: usize| d / CACHE_BLOCK * PAGE_POSITIONS + slot;
                let scale = |part: &[u8], d| half(&part[self.scales()..], row(d));
                let key = |d: usize| f32::from(keys[(d / 4 * PAGE_POSITIONS + slot) * 4 + d % 4]) - 128.0;
                let value = |d: usize| f32::from(values[row(d) * CACHE_BLOCK + d % CACHE_BLOCK] as i8);
                (each(&|d| key(d) * scale(keys, d)), each(&|d| value(d) * scale(values, d)))
            }
        }
    }
}

/// Codes from -127 to 127 of up to 32 elements, and their scale, the smallest half with which 127 reaches the largest of
/// them. Elements that are out of range or not finite become finite, as in half precision.
#[inline(always)]
fn quantize(x: &[f32]) -> ([i8; CACHE_BLOCK], u16) {
    let mut largest = 0.0f32;
    for x in x {
        let magnitude = x.abs();
        largest = if magnitude > largest { magnitude } else { largest };
    }
    let mut scale = f32_to_f16(largest * (1.0 / 127.0));
    if f16_to_f32(scale) * 127.0 < largest && scale < 0x7bff {
        scale += 1;
    }
    let inverse = if scale == 0 { 0.0 } else { 1.0 / f16_to_f32(scale) };
    let mut codes = [0; CACHE_BLOCK];
    for (code, &x) in codes.iter_mut().zip(x) {
        let exact = x * inverse;
        let exact = if exact > 127.0 { 127.0 } else { exact };
        let exact = if exact < -127.0 { -127.0 } else { exact };
        // Rounds ties to even, on every target. NaN becomes 0.
        *code = if exact.is_nan() { 0 } else { (exact + 12_582_912.0).to_bits() as i8 };
    }
    (codes, scale)
}

/// The memory of a page, aligned to 64 bytes and zeroed at first. Pages taken together are contiguous, so that the memory
/// of many can be huge pages, without which attention to 4,096 positions is slower (docs/experiments/huge-pages.md).
#[derive(Debug)]
pub struct Page {
    /// The memory of this page and of those taken with it.
    block: Arc<Block>,
    /// Its first line.
    first: usize,
    lines: usize,
}

#[derive(Debug)]
struct Block(Box<[UnsafeCell<Line>]>);

// SAFETY: a line is accessed only through the one page that it belongs to, with the access that a borrow of that page gives.
unsafe impl Sync for Block {}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Page {
    /// A page of `bytes`, rounded up to a multiple of 64.
    pub fn new(bytes: usize) -> Self {
        match Page::take(1, bytes).next() {
            Some(page) => page,
            None => unreachable!("one page was taken"),
        }
    }

    /// `count` pages of `bytes` each, rounded up to a multiple of 64.
    pub fn take(count: usize, bytes: usize) -> impl Iterator<Item = Page> {
        let lines = bytes.div_ceil(64);
        let block = (0..count * lines).map(|_| UnsafeCell::new(Line([0; 64]))).collect();
        let block = Arc::new(Block(block));
        (0..count).map(move |index| Page { block: Arc::clone(&block), first: index * lines, lines })
    }

    /// Its lines.
    #[inline(always)]
    fn cells(&self) -> &[UnsafeCell<Line>] {
        &self.block.0[self.first..self.first + self.lines]
    }

    /// Its bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 bytes without padding; only `bytes_mut` writes it, which cannot be called while `self` is
        // borrowed.
        unsafe { std::slice::from_raw_parts(self.cells().as_ptr().cast(), 64 * self.lines) }
    }

    /// Its bytes.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: a line is 64 bytes without padding in a cell; no other page has it, and this page is mutably borrowed.
        unsafe {
            std::slice::from_raw_parts_mut(UnsafeCell::raw_get(self.cells().as_ptr()).cast(), 64 * self.lines)
        }
    }
}

impl Clone for Page {
    /// A new page with the same bytes.
    fn clone(&self) -> Self {
        let mut page = Page::new(64 * self.lines);
        page.bytes_mut().copy_from_slice(self.bytes());
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_is_written_is_read() {
        let mut random = Random(1);
        for format in [CacheFormat::F16, CacheFormat::Int8] {
            for head_dim in [2, 16, 24, 32, 64, 80, 128] {
                let layout = HeadLayout::new(format, head_dim);
                let mut page = Page::new(layout.bytes());
                let rows: Vec<[Vec<f32>; 2]> = (0..PAGE_POSITIONS)
                    .map(|slot| {
                        let size = 10f32.powi(slot as i32 % 7 - 3);
                        [(); 2].map(|()| (0..head_dim).map(|_| random.float() * size).collect())
                    })
                    .collect();
                for (slot, [key, value]) in rows.iter().enumerate() {
                    layout.write(page.bytes_mut(), slot, key, value);
                }
                for (slot, [key, value]) in rows.iter().enumerate() {
                    let (read_key, read_value) = layout.read(page.bytes(), slot);
                    for (x, read) in [(key, read_key), (value, read_value)] {
                        for (x, read) in x.chunks(CACHE_BLOCK).zip(read.chunks(CACHE_BLOCK)) {
                            let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                            for (x, read) in x.iter().zip(read) {
                                let bound = match format {
                                    CacheFormat::F16 => x.abs() / 2048.0 + 6e-8,
                                    CacheFormat::Int8 => largest / 253.0 + 6e-8,
                                };
                                assert!((x - read).abs() <= bound, "{format:?}: {x} became {read}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_becomes_finite() {
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 1e-40, 1e-7] {
            let layout = HeadLayout::new(CacheFormat::Int8, 4);
            let mut page = Page::new(layout.bytes());
            layout.write(page.bytes_mut(), 0, &[bad; 4], &[1.0, bad, bad, bad]);
            let (key, value) = layout.read(page.bytes(), 0);
            assert!(key.iter().chain(&value).all(|x| x.is_finite()), "{bad}: {key:?} {value:?}");
        }
    }

    #[test]
    fn pages_taken_together_are_apart() {
        let mut pages: Vec<Page> = Page::take(5, 100).collect();
        for (index, page) in pages.iter_mut().enumerate() {
            assert!(page.bytes().as_ptr().addr().is_multiple_of(64));
            assert_eq!(page.bytes(), [0; 128]);
            page.bytes_mut().fill(index as u8 + 1);
        }
        let copy = pages[2].clone();
        pages[2].bytes_mut().fill(9);
        drop(pages.remove(0));
        let firsts: Vec<u8> = pages.iter().map(|page| page.bytes()[127]).collect();
        assert_eq!((firsts, copy.bytes()), (vec![2, 9, 4, 5], &[3; 128][..]));
        assert_eq!(Page::take(0, 100).count(), 0);
    }
}
