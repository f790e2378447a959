//! `edgellm benchmark compare`.

use crate::error::{Error, Result};
use crate::output;
use edgellm_benchmark::compare::compare;
use edgellm_benchmark::report::{Report, SCHEMA};
use std::path::{Path, PathBuf};

/// Find significant slowdowns between two reports; exits with code 1 if there are any
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The earlier report.json
    before: PathBuf,
    /// The later report.json
    after: PathBuf,
    /// Ignore changes below this, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    threshold: f64,
    /// Show unchanged figures, too
    #[arg(long)]
    all: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let comparison = compare(&read(&self.before)?, &read(&self.after)?, self.threshold / 100.0);
        if self.json {
            output::print_json(&comparison)?;
        } else {
            output::print(&comparison.text(self.all))?;
        }
        if comparison.is_worse() {
            let (before, after) = (self.before.display(), self.after.display());
            return Err(Error::Benchmark(format!("{after} is worse than {before}")));
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Report> {
    let text = edgellm_files::read_to_string(path)?;
    let wrong = |problem: String| Error::Benchmark(format!("{} is no report: {problem}", path.display()));
    let report: Report = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if report.schema != SCHEMA {
        return Err(wrong(format!("its schema is {:?}, this program knows {SCHEMA:?}", report.schema)));
    }
    Ok(report)
}
