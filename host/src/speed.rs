//! How fast this machine reads weights: measured once, in two seconds, and kept in the cache. Decoding reads all weights for
//! each token, so it says what speed to expect of a model.

use crate::args::RunArgs;
use crate::cache::Cache;
use crate::compute::compute;
use crate::error::Result;
use crate::{progress, system};
use edgellm::Compute;
use edgellm::kernels::layout::{Encoding, Layout, LayoutError, Matrix, Zero};
use edgellm::kernels::{Activations, Lookups, Product};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How long to measure.
const TIME: Duration = Duration::from_secs(2);
/// Rows and columns of the matrices, which are those of a model of a billion weights.
const SIZE: usize = 2048;
/// More bytes than most caches hold.
const BYTES: u64 = 192 << 20;

/// What was measured, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Speed {
    /// Processor, threads, kernels and version of the program: what the figure holds for.
    of: String,
    /// Bytes of int4 weights a second, in products with one token.
    pub(crate) bytes_per_second: f64,
}

impl Speed {
    /// This machine's, from the cache or measured now.
    ///
    /// # Errors
    /// If the kernels cannot be chosen.
    pub(crate) fn of_machine(cache: &Cache) -> Result<Self> {
        let compute = compute(&RunArgs::with_kernel(None))?;
        let of = [
            system::cpu_name().unwrap_or_default(),
            format!("{} threads", compute.threads()),
            compute.kernels().name().to_string(),
            env!("CARGO_PKG_VERSION").to_string(),
        ];
        let (of, path) = (of.join(", "), cache.speed());
        let kept: Option<Speed> = cache.recall(&path).and_then(|text| serde_json::from_str(&text).ok());
        if let Some(speed) = kept.filter(|speed| speed.of == of && speed.bytes_per_second > 0.0) {
            return Ok(speed);
        }
        progress::note("measuring for 2 seconds, once, how fast this machine reads weights");
        let bytes_per_second = measure(&compute, TIME).unwrap_or(0.0);
        let speed = Speed { of, bytes_per_second };
        cache.keep(&path, &serde_json::to_string(&speed).unwrap_or_default());
        Ok(speed)
    }

    /// Tokens a second to expect of a model whose weights have `bytes` bytes.
    pub(crate) fn tokens_per_second(&self, bytes: u64) -> f64 {
        self.bytes_per_second / bytes.max(1) as f64
    }
}

/// Bytes a second of products with one token, over matrices that do not fit into the caches: the median of the rounds in `time`.
fn measure(compute: &Compute, time: Duration) -> std::result::Result<f64, LayoutError> {
    let layout = Layout::new(SIZE, SIZE, Encoding::Nibbles, Zero::Affine, 32)?;
    let free = system::memory_bytes().1.unwrap_or(4 * BYTES);
    let one = layout.total_bytes();
    let copies = usize::try_from(BYTES.min(free / 4)).map_or(1, |bytes| (bytes / one).max(1));
    // Not zero, or the system would have one page for all of them.
    let data = vec![0x11u8; copies * one];
    let input: Vec<f32> = (0..SIZE).map(|index| (index % 7) as f32 - 3.0).collect();
    let (pool, mut activations) = (compute.pool(), Activations::default());
    compute.kernels().quantize(pool, &mut activations, &input, SIZE, Lookups::default(), 1.0);
    let mut output = vec![0.0; SIZE];
    let mut rates = Vec::new();
    let start = Instant::now();
    // The first round brings the pages in.
    while rates.len() < 2 || start.elapsed() < time {
        let round = Instant::now();
        for data in data.chunks_exact(one) {
            let matrix = Matrix::new(layout, data)?;
            compute.kernels().matmul(pool, &activations, &mut [Product { matrix, output: &mut output }]);
        }
        rates.push(data.len() as f64 / round.elapsed().as_secs_f64().max(1e-9));
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_bytes_take_twice_the_time() {
        let rate = measure(&Compute::default(), Duration::ZERO).unwrap();
        let speed = Speed { of: String::new(), bytes_per_second: rate };
        assert!(rate > 0.0);
        assert_eq!(speed.tokens_per_second(1 << 20), 2.0 * speed.tokens_per_second(2 << 20));
    }
}
