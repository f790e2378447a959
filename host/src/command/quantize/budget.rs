//! `edgellm quantize --target-size`, `--target-bits` and `--dry-run`.

use super::{Args, curve, plot};
use crate::atomic_file;
use crate::error::{Error, Result};
use crate::output::{self, human_bytes};
use crate::{model, progress, system};
use edgellm::{Compute, available_kernels};
use edgellm_quantize::{
    Allocation, BudgetError, Probe, QuantizeError, QuantizeOptions, Sensitivity, SizeRange, Source,
    file_bytes, sensitivity, sensitivity_memory,
};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Points of the curve.
const POINTS: usize = 10;

/// Options of a budget.
#[derive(Debug, clap::Args)]
pub(super) struct BudgetArgs {
    /// Size of the file, at most: 60MB, 60MiB or bytes. Every matrix gets the width, int2 to int8, that its effect on the model's
    /// predictions earns
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["format", "head", "group_size", "scales", "target_bits"])]
    target_size: Option<u64>,
    /// The same by bits a weight of the whole file, as the report prints them
    #[arg(long, value_name = "X", value_parser = bits, conflicts_with_all = ["format", "head", "group_size", "scales"])]
    target_bits: Option<f64>,
    /// Convert nothing: print what ten sizes from int2 to int8 are expected to lose, or with --format the size of the file
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Draw that curve into an SVG file
    #[arg(long, value_name = "FILE", requires = "dry_run", conflicts_with_all = ["format", "head", "group_size", "scales"])]
    plot: Option<PathBuf>,
}

impl BudgetArgs {
    /// Whether there is a budget.
    pub(super) fn is_given(&self) -> bool {
        self.target_size.is_some() || self.target_bits.is_some()
    }

    /// The budget in bytes, which is within the range of this source.
    fn limit(&self, sizes: &SizeRange) -> Result<Option<u64>> {
        let limit = self.target_size.or_else(|| self.target_bits.map(|bits| sizes.bytes_of(bits)));
        let Some(limit) = limit else { return Ok(None) };
        let option = if self.target_size.is_some() { "--target-size" } else { "--target-bits" };
        match sizes.check(limit) {
            Ok(()) => Ok(Some(limit)),
            Err(BudgetError::TooSmall { asked, asked_bits, smallest, bits }) => Err(Error::Usage(format!(
                "{option} is too small: it allows {}, {asked_bits:.3} bits a weight, and int2 everywhere takes {}, {bits:.3} bits a \
                 weight",
                exact(asked),
                exact(smallest)
            ))),
            Err(BudgetError::TooLarge { asked, asked_bits, largest, bits }) => Err(Error::Usage(format!(
                "{option} is too large: it allows {}, {asked_bits:.3} bits a weight, and int8 everywhere takes {}, {bits:.3} bits a \
                 weight; convert with --format int8",
                exact(asked),
                exact(largest)
            ))),
        }
    }
}

/// As people read it, and to the byte.
fn exact(bytes: u64) -> String {
    match bytes {
        0..1000 => human_bytes(bytes),
        _ => format!("{} ({bytes} bytes)", human_bytes(bytes)),
    }
}

/// Units of sizes, each before those that it ends with.
const UNITS: [(&str, u64); 8] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("b", 1),
    ("", 1),
];

/// Reads "60MB", "1.5 GiB" or "60000000".
fn size(text: &str) -> std::result::Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let parsed =
        UNITS.iter().find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?.trim_end(), *factor)));
    let wrong = || "a size is a number of bytes, or of kB, MB, GB, KiB, MiB or GiB: 60MB".to_string();
    let (number, factor) = parsed.ok_or_else(wrong)?;
    let plain = !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit() || digit == '.');
    let number: f64 = number.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    // What is larger than any file becomes the largest number.
    Ok((number * factor as f64) as u64)
}

fn bits(text: &str) -> std::result::Result<f64, String> {
    let bits: Option<f64> = text.parse().ok();
    bits.filter(|bits| bits.is_finite() && *bits > 0.0)
        .ok_or_else(|| "give a number of bits above 0".to_string())
}

impl Args {
    /// The widths that fit the budget, which is given.
    pub(super) fn allocation(
        &self,
        input: &Path,
        name: Option<&str>,
        options: &QuantizeOptions,
    ) -> Result<Allocation> {
        model::with_source(input, name, |source| {
            let failed = |source| Error::Convert { path: input.to_path_buf(), source };
            let sizes = SizeRange::of(source, options).map_err(failed)?;
            let limit = self.budget.limit(&sizes)?.unwrap_or(sizes.largest);
            let sensitivity = self.measure(source, options, failed)?;
            sensitivity.fit(limit).map_err(|error| Error::Usage(error.to_string()))
        })
    }

    /// Prints what a conversion would give.
    pub(super) fn dry_run(&self, input: &Path, name: Option<&str>, options: &QuantizeOptions) -> Result<()> {
        model::with_source(input, name, |source| {
            let failed = |source| Error::Convert { path: input.to_path_buf(), source };
            let sizes = SizeRange::of(source, options).map_err(failed)?;
            if let Some(format) = self.format {
                let bytes = file_bytes(source, options).map_err(failed)?;
                return self.plain_size(format.name(), bytes, &sizes);
            }
            let limit = self.budget.limit(&sizes)?;
            let sensitivity = self.measure(source, options, failed)?;
            let points = sensitivity.curve(POINTS);
            let fit = limit.map(|limit| sensitivity.fit(limit)).transpose();
            let fit = fit.map_err(|error| Error::Usage(error.to_string()))?;
            if let Some(path) = &self.budget.plot {
                let svg = plot::svg(&source.name, &points, fit.as_ref());
                atomic_file::write(path, svg.as_bytes())?;
            }
            match self.json {
                true => output::print_json(&curve::object(&sensitivity, &points, fit.as_ref())),
                false => output::print(&curve::table(&sizes, &points, fit.as_ref())),
            }
        })
    }

    /// Prints the size of a file of one format.
    fn plain_size(&self, format: &str, bytes: u64, sizes: &SizeRange) -> Result<()> {
        let (weights, bits) = (sizes.weights, sizes.bits_of(bytes));
        if self.json {
            return output::print_json(
                &json!({ "format": format, "bytes": bytes, "weights": weights, "bits_per_weight": bits }),
            );
        }
        let size = human_bytes(bytes);
        output::print(&format!("{format}: at most {size}, {bits:.2} bits a weight. Nothing was converted.\n"))
    }

    /// Measures what each matrix loses.
    fn measure(
        &self,
        source: &Source<'_>,
        options: &QuantizeOptions,
        failed: impl Fn(QuantizeError) -> Error,
    ) -> Result<Sensitivity> {
        let threads = self.threads.map_or_else(system::physical_cores, usize::from);
        let calibration = options.calibration.as_ref();
        let compute = calibration.map(|calibration| calibration.compute.clone());
        let compute = compute.unwrap_or_else(|| Compute::new(available_kernels()[0], threads));
        let mut probe = Probe::new(compute);
        if let Some(calibration) = calibration {
            probe.text = calibration.text.clone();
            probe.tokens = probe.tokens.min(calibration.tokens);
        }
        let (tokens, text) = (probe.tokens, probe.text.name());
        let doing = format!("measuring what each matrix loses, on up to {tokens} tokens of text ({text})");
        let memory = sensitivity_memory(source, options, &probe).map_err(&failed)?;
        let advice = "close other programs, or convert with --format";
        model::announce(&doing, "measuring what each matrix loses", memory, advice)?;
        let bar = progress::share(1, "measuring what each matrix loses");
        let measured = sensitivity(source, options, &probe, &mut |progress| {
            bar.set_total(progress.total);
            bar.set(progress.done);
            ControlFlow::Continue(())
        });
        measured.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("60MB", 60_000_000),
            ("60mb", 60_000_000),
            ("60MiB", 60 << 20),
            ("1.5 GB", 1_500_000_000),
            ("0.5KiB", 512),
            ("12 kB", 12_000),
            ("78B", 78),
            ("60000000", 60_000_000),
            ("99999999999999999999GB", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for wrong in ["", "MB", "-5", "1e6", "60 TB", "NaN", "inf", "1.2.3", "0x10", "60M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(bits("3.2"), Ok(3.2));
        for wrong in ["0", "-1", "NaN", "inf", "", "three"] {
            assert!(bits(wrong).is_err(), "{wrong}");
        }
    }
}
