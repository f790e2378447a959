//! The machine that was measured.

use crate::sensors;
use crate::statistics::percentile;
use edgellm::Compute;
use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Instant;

/// The machine that the figures belong to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Physical cores that the benchmark may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Operating system and processor architecture.
    pub system: String,
    /// Version of the operating system's kernel.
    pub kernel: Option<String>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// Load average of the last minute, before the first run.
    pub load_average: Option<f64>,
    /// Read bandwidth of memory like that which holds the weights.
    pub bandwidth: Vec<Bandwidth>,
    /// The hottest sensor in degrees Celsius, before and after.
    pub temperature_celsius: Option<[f64; 2]>,
    /// Thermal throttling events during the benchmark.
    pub throttle_events: Option<u64>,
    /// The energy meter, if there is one.
    pub energy_meter: Option<sensors::MeterName>,
}

/// Read bandwidth, measured by summing an array.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Threads that read.
    pub threads: usize,
    /// Length of the array: about as many bytes as decoding a token reads.
    pub bytes: u64,
    /// 10^9 bytes per second, the median of several passes.
    pub gigabytes_per_second: f64,
}

impl Machine {
    /// Queries the system for everything but processor, cores and memory, which the caller knows.
    pub fn examine(cpu: Option<String>, cores: usize, memory_bytes: Option<u64>) -> Self {
        let line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_string());
        Machine {
            cpu,
            cores,
            memory_bytes,
            system: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: line("/proc/sys/kernel/osrelease"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load_average: line("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            ..Machine::default()
        }
    }

    /// The bandwidth measured with `threads` threads, in bytes per second.
    pub fn bytes_per_second(&self, threads: usize) -> Option<f64> {
        let measured = self.bandwidth.iter().find(|bandwidth| bandwidth.threads == threads)?;
        Some(measured.gigabytes_per_second * 1e9)
    }
}

/// Measures the read bandwidth of `compute`'s threads over an array of about `bytes`.
pub fn bandwidth(compute: &Compute, bytes: u64) -> Bandwidth {
    /// Passes over the array; the first warms up and is not counted.
    const PASSES: usize = 9;
    let words = vec![1u64; (bytes / 8).max(1) as usize];
    let bytes = words.len() as u64 * 8;
    let mut rates: Vec<f64> = (0..PASSES)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(compute.kernels().stream(compute.pool(), &words));
            bytes as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .skip(1)
        .collect();
    rates.sort_by(f64::total_cmp);
    Bandwidth { threads: compute.threads(), bytes, gigabytes_per_second: percentile(&rates, 0.5) }
}
