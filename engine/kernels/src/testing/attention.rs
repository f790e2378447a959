//! Tests of attention, in every format of the KV cache.

use crate::activations::Activations;
use crate::attention::{Place, Queries};
use crate::kernels::{Kernels, Lookups};
use crate::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};
use crate::pool::Pool;
use crate::random::Random;

/// Rows of a prompt that are compared with the same rows alone.
const ROWS: usize = 21;

/// Passes the results of seeded attentions to `add`. Compares them with a softmax in double precision, and those of rows
/// walked together and of attentions computed by segments with those of single rows.
pub(super) fn attentions(kernels: Kernels, random: &mut Random, mut add: impl FnMut(&[f32])) {
    for format in [CacheFormat::F16, CacheFormat::Int8] {
        for (head_dim, kv_heads, group) in
            [(2, 1, 1), (16, 1, 2), (64, 2, 3), (80, 1, 4), (128, 1, 7), (160, 2, 1)]
        {
            let layout = HeadLayout::new(format, head_dim);
            let part = 64;
            let mut pages = vec![Page::new(part + kv_heads * layout.bytes()); 11];
            let mut float = |size: f32| random.float() * size;
            for page in &mut pages {
                for (slot, head) in (0..PAGE_POSITIONS).flat_map(|slot| (0..kv_heads).map(move |h| (slot, h)))
                {
                    // Keys and values of several magnitudes, so that scales matter.
                    let size = [1.0, 0.1, 2.0][slot % 3];
                    let key: Vec<f32> = (0..head_dim).map(|_| float(size)).collect();
                    let value: Vec<f32> = (0..head_dim).map(|_| float(size)).collect();
                    let part = &mut page.bytes_mut()[part + head * layout.bytes()..][..layout.bytes()];
                    layout.write(part, slot, &key, &value);
                }
            }
            let width = kv_heads * group * head_dim;
            // The first query begins with a block of zeros, which has no fine digit.
            let values: Vec<f32> =
                (0..ROWS * width).map(|i| if i < 32 && i < head_dim { 0.0 } else { float(1.0) }).collect();
            let mut quantized = Activations::default();
            kernels.quantize(&Pool::new(), &mut quantized, &values, head_dim, Lookups::default(), 0.0);
            let queries = Queries { values: &values, quantized: &quantized, kv_heads, group, head_dim };
            let windows = [1, 10, 64, 100, 300].into_iter().cycle();
            let all = [1, 17, 63, 64, 65, 150, 192, 255, 256, 257, 511, 640];
            let windowed = all.into_iter().zip(windows);
            for (positions, window) in
                all.map(|positions| (positions, usize::MAX)).into_iter().chain(windowed)
            {
                let place = |row| Place {
                    layout,
                    pages: &pages,
                    part,
                    positions: positions + row,
                    rows: ROWS - row,
                    window,
                };
                let apart = |row| Place { rows: 1, ..place(row) };
                let what = format!(
                    "{format:?}, {kv_heads} x {group} heads, from {positions} positions, window {window}"
                );
                let mut output = vec![0.0; values.len()];
                kernels.attend(&Pool::new(), queries, &apart, &mut output, &mut Vec::new());
                check(queries, place(0), &output);
                add(&output[..width]);
                let mut actual = vec![f32::NAN; values.len()];
                kernels.attend(&Pool::new(), queries, &place, &mut actual, &mut Vec::new());
                assert_eq!(output, actual, "{what}: rows together and one by one");
                actual.fill(f32::NAN);
                kernels.attend_by_segments(
                    &Pool::new(),
                    queries,
                    &place,
                    &mut actual,
                    &mut vec![f32::NAN; 5],
                );
                assert_eq!(output, actual, "{what}: segments together and one by one");
            }
        }
    }
}

/// Compares the first row with a softmax in double precision of the keys, values and queries as they are stored.
fn check(queries: Queries<'_>, place: Place<'_>, output: &[f32]) {
    let (Queries { values, quantized, kv_heads, group, head_dim }, layout) = (queries, place.layout);
    for head in 0..kv_heads * group {
        let held: Vec<(Vec<f32>, Vec<f32>)> = (place.positions.saturating_sub(place.window)..place.positions)
            .map(|p| {
                let part = place.part + head / group * layout.bytes();
                let bytes = &place.pages[p / PAGE_POSITIONS].bytes()[part..][..layout.bytes()];
                layout.read(bytes, p % PAGE_POSITIONS)
            })
            .collect();
        let (query, output) =
            (&values[head * head_dim..][..head_dim], &output[head * head_dim..][..head_dim]);
        let query = |d: usize| match layout.format() {
            CacheFormat::F16 => f64::from(query[d]),
            CacheFormat::Int8 => {
                let token = quantized.token(head);
                let (coarse, fine) = (f64::from(token.coarse.values[d]), f64::from(token.fine.values[d]));
                let rounded = f64::from(token.scales[d / 32]) * (64.0 * coarse + fine);
                let rounded = if token.refined[d / 32] { rounded } else { 0.0 };
                assert!((rounded - f64::from(query[d])).abs() < 6e-4, "{rounded} instead of {}", query[d]);
                rounded
            }
        };
        let weights: Vec<f64> = held
            .iter()
            .map(|(key, _)| (0..head_dim).map(|d| query(d) * f64::from(key[d])).sum::<f64>().exp())
            .collect();
        let total: f64 = weights.iter().sum();
        for (d, &output) in output.iter().enumerate() {
            let sum: f64 = weights.iter().zip(&held).map(|(w, (_, value))| w * f64::from(value[d])).sum();
            let expected = sum / total;
            assert!((expected - f64::from(output)).abs() < 1e-5, "{output} instead of {expected}");
        }
    }
}
