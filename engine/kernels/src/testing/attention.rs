//! Tests of the attention, in every format of the cache.

use super::Random;
use crate::attention::Attention;
use crate::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};
use crate::{Activations, Kernels, Pool};

/// Hands the results of seeded attentions to `add`, after comparing them with a softmax in double precision, and
/// those of threads that share an attention with those of one.
pub(super) fn attentions(kernels: Kernels, random: &mut Random, mut add: impl FnMut(&[f32])) {
    for format in [CacheFormat::F16, CacheFormat::Int8] {
        for (head_dim, heads) in [(2, 1), (16, 2), (64, 3), (80, 4), (128, 7), (160, 1)] {
            let layout = HeadLayout::new(format, head_dim);
            let part = 64;
            let mut pages = vec![Page::new(part + layout.bytes()); 10];
            let mut float = |size: f32| random.float() * size;
            for page in &mut pages {
                for slot in 0..PAGE_POSITIONS {
                    // Keys and values of several sizes, so that scales matter.
                    let size = [1.0, 0.1, 2.0][slot % 3];
                    let key: Vec<f32> = (0..head_dim).map(|_| float(size)).collect();
                    let value: Vec<f32> = (0..head_dim).map(|_| float(size)).collect();
                    layout.write(&mut page.bytes_mut()[part..], slot, &key, &value);
                }
            }
            // A block of zeros in the first query: it has no second digit.
            let queries: Vec<f32> = (0..heads * head_dim)
                .map(|i| if i < 32 && i < head_dim { 0.0 } else { float(1.0) })
                .collect();
            let mut quantized = Activations::default();
            kernels.quantize(&Pool::new(), &mut quantized, &queries, head_dim, false, 0.0);
            for positions in [1, 17, 63, 64, 65, 150, 192, 255, 256, 257, 511, 640] {
                let whole = Attention {
                    queries: &queries,
                    quantized: &quantized,
                    first: 0,
                    layout,
                    pages: &pages,
                    part,
                    positions,
                };
                let each = |first: usize| {
                    let queries = &queries[first * head_dim..][..head_dim];
                    Attention { queries, first, ..whole }
                };
                let mut output = vec![0.0; queries.len()];
                kernels.attend(&Pool::new(), 1, &|_| whole, &mut output, &mut Vec::new());
                check(whole, &output);
                add(&output);
                let mut apart = vec![f32::NAN; queries.len()];
                kernels.attend(&Pool::new(), heads, &each, &mut apart, &mut Vec::new());
                assert_eq!(
                    output, apart,
                    "{format:?}, {heads} heads together and one by one, {positions} positions"
                );
                apart.fill(f32::NAN);
                kernels.attend_shared(&Pool::new(), 1, &|_| whole, &mut apart, &mut vec![f32::NAN; 5]);
                assert_eq!(
                    output, apart,
                    "{format:?}, segments together and one by one, {positions} positions"
                );
            }
        }
    }
}

/// Compares with a softmax in double precision of what the pages and the queries hold.
fn check(attention: Attention<'_>, output: &[f32]) {
    let Attention { queries, quantized, first, layout, pages, part, positions } = attention;
    let head_dim = layout.head_dim();
    let held: Vec<(Vec<f32>, Vec<f32>)> = (0..positions)
        .map(|p| layout.read(&pages[p / PAGE_POSITIONS].bytes()[part..], p % PAGE_POSITIONS))
        .collect();
    for (head, (query, output)) in queries.chunks(head_dim).zip(output.chunks(head_dim)).enumerate() {
        let query = |d: usize| match layout.format() {
            CacheFormat::F16 => f64::from(query[d]),
            CacheFormat::Int8 => {
                let token = quantized.token(first + head);
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
