//! Temperature, throttling and energy, if the system reports them.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The hottest sensor, in degrees Celsius.
pub fn temperature_celsius() -> Option<f64> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let readings = zones.filter_map(|zone| number(&zone.path().join("temp")));
    readings
        .map(|millidegrees| millidegrees / 1e3)
        .filter(|degrees| (1.0..150.0).contains(degrees))
        .reduce(f64::max)
}

/// Thermal throttling events since the system booted.
pub fn throttle_events() -> Option<u64> {
    let cores = fs::read_dir("/sys/devices/system/cpu").ok()?.flatten();
    let counts = cores.filter_map(|core| number(&core.path().join("thermal_throttle/core_throttle_count")));
    counts.map(|count| count as u64).reduce(|sum, count| sum + count)
}

fn number(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// An energy meter.
#[derive(Clone, Debug)]
pub enum Meter {
    /// Linux powercap: the processor packages' running-average counters, which wrap around.
    Rapl(Vec<PathBuf>),
    /// A log that another program, such as a USB meter's, writes during the benchmark: lines of `unix_seconds,watts`.
    Log(PathBuf),
}

/// Which meter was used, in reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeterName(pub String);

/// A reading of a [`Meter`].
#[derive(Clone, Debug)]
pub struct Reading {
    microjoules: Vec<f64>,
    time: f64,
}

impl Meter {
    /// The meter of this machine: `log` if given, else RAPL if this program may read it.
    pub fn find(log: Option<PathBuf>) -> Option<Self> {
        if let Some(path) = log {
            return Some(Meter::Log(path));
        }
        let zones = fs::read_dir("/sys/class/powercap").ok()?.flatten();
        let packages: Vec<PathBuf> = zones
            .map(|zone| zone.path())
            // `intel-rapl:0` is a package (AMD's too), `intel-rapl:0:0` a part of one.
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().matches(':').count() == 1)
            })
            .filter(|path| number(&path.join("energy_uj")).is_some())
            .collect();
        (!packages.is_empty()).then_some(Meter::Rapl(packages))
    }

    /// The name for reports.
    pub fn name(&self) -> MeterName {
        MeterName(match self {
            Meter::Rapl(packages) => format!("RAPL, {} package(s)", packages.len()),
            Meter::Log(path) => format!("log {}", path.display()),
        })
    }

    /// Now.
    pub fn read(&self) -> Reading {
        let microjoules = match self {
            Meter::Rapl(packages) => {
                packages.iter().map(|path| number(&path.join("energy_uj")).unwrap_or(f64::NAN)).collect()
            }
            Meter::Log(_) => Vec::new(),
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Reading { microjoules, time: time.as_secs_f64() }
    }

    /// Joules between two readings; `None` if the meter has no data. For a log, call this once the log reaches `to`.
    pub fn joules(&self, from: &Reading, to: &Reading) -> Option<f64> {
        let joules = match self {
            Meter::Rapl(packages) => {
                let both = from.microjoules.iter().zip(&to.microjoules).zip(packages);
                let each = both.map(|((&from, &to), path)| {
                    let range = number(&path.join("max_energy_range_uj")).unwrap_or(f64::NAN);
                    if to >= from { to - from } else { to + range - from }
                });
                each.sum::<f64>() / 1e6
            }
            Meter::Log(path) => integral(&fs::read_to_string(path).ok()?, from.time, to.time)?,
        };
        joules.is_finite().then_some(joules)
    }
}

/// Energy between two times by linear interpolation of the log's samples; `None` if the log does not cover them.
fn integral(log: &str, from: f64, to: f64) -> Option<f64> {
    let samples: Vec<(f64, f64)> = log
        .lines()
        .filter_map(|line| {
            let (time, watts) = line.split_once(',')?;
            Some((time.trim().parse().ok()?, watts.trim().parse().ok()?))
        })
        .collect();
    if samples.first()?.0 > from || samples.last()?.0 < to {
        return None;
    }
    let power = |(t0, w0): (f64, f64), (t1, w1): (f64, f64), t: f64| w0 + (w1 - w0) * (t - t0) / (t1 - t0);
    let pieces =
        samples.windows(2).filter(|pair| pair[1].0 > from && pair[0].0 < to && pair[1].0 > pair[0].0);
    Some(
        pieces
            .map(|pair| {
                let (start, end) = (pair[0].0.max(from), pair[1].0.min(to));
                (power(pair[0], pair[1], start) + power(pair[0], pair[1], end)) / 2.0 * (end - start)
            })
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_integrated_between_its_samples() {
        let log = "time,watts\n0,2\n10,4\n20,4\n";
        assert_eq!(integral(log, 0.0, 20.0), Some(70.0));
        assert_eq!(integral(log, 5.0, 15.0), Some(17.5 + 20.0));
        assert_eq!(integral(log, 5.0, 21.0), None, "the log ends before");
        assert_eq!(integral("", 0.0, 1.0), None);
    }
}
