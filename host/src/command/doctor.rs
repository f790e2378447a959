//! `edgellm doctor`.

use crate::cache::Cache;
use crate::error::Result;
use crate::output::{self, human_bytes};
use crate::system;
use edgellm_kernels_native::candidates;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Show the features of this machine, and which kernels are used and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    architecture: &'static str,
    os: &'static str,
    cpu: Option<String>,
    features: Vec<Feature>,
    kernels: Vec<Kernel>,
    chosen_kernel: &'static str,
    reason: String,
    physical_cores: usize,
    logical_cores: usize,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    huge_pages: Option<String>,
    cache: Option<PathBuf>,
    /// Why it cannot be used.
    cache_problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Feature {
    name: &'static str,
    present: bool,
}

#[derive(Debug, Serialize)]
struct Kernel {
    name: &'static str,
    available: bool,
    needs: &'static str,
    why: &'static str,
}

impl Args {
    /// Prints the report.
    pub(crate) fn run(self, cache: Result<Cache>) -> Result<()> {
        let report = examine(cache);
        if self.json { output::print_json(&report) } else { output::print(&describe(&report)) }
    }
}

fn examine(cache: Result<Cache>) -> Report {
    let checked = cache.as_ref().map(|cache| cache.check(cache.root()));
    let cache_problem = match &checked {
        Err(problem) => Some(problem.to_string()),
        Ok(Err(problem)) => Some(problem.to_string()),
        Ok(Ok(())) => None,
    };
    let candidates = candidates();
    let kernels: Vec<Kernel> = candidates
        .iter()
        .map(|candidate| Kernel {
            name: candidate.name,
            available: candidate.kernels.is_some(),
            needs: candidate.needs,
            why: candidate.why,
        })
        .collect();
    let chosen = kernels.iter().position(|kernel| kernel.available);
    let (chosen_kernel, reason) = match chosen {
        Some(index) => {
            let passed: Vec<_> =
                kernels[..index].iter().map(|k| format!("{} needs {}", k.name, k.needs)).collect();
            let reason = match passed[..] {
                [] => format!("the fastest of this architecture: {}", kernels[index].why),
                _ => format!("the fastest this CPU can run: {}; {}", kernels[index].why, passed.join("; ")),
            };
            (kernels[index].name, reason)
        }
        None => ("none", "no kernel runs on this CPU".to_string()),
    };
    let features = system::cpu_features().into_iter().map(|(name, present)| Feature { name, present });
    let (memory_bytes, memory_available_bytes) = system::memory_bytes();
    Report {
        version: env!("CARGO_PKG_VERSION"),
        architecture: std::env::consts::ARCH,
        os: std::env::consts::OS,
        cpu: system::cpu_name(),
        features: features.collect(),
        chosen_kernel,
        reason,
        kernels,
        physical_cores: system::physical_cores(),
        logical_cores: system::logical_cores(),
        memory_bytes,
        memory_available_bytes,
        huge_pages: edgellm_memory::setting(),
        cache: cache.ok().map(|cache| cache.root().to_path_buf()),
        cache_problem,
    }
}

fn describe(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:10} {value}");
    };
    let memory = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_string(), human_bytes);
    line("edgellm", report.version);
    line("system", &format!("{} on {}", report.os, report.architecture));
    line("cpu", report.cpu.as_deref().unwrap_or("unknown"));
    let (physical, logical) = (report.physical_cores, report.logical_cores);
    line("cores", &format!("{physical} ({logical} hardware threads); --threads defaults to {physical}"));
    let (all, free) = (memory(report.memory_bytes), memory(report.memory_available_bytes));
    line("memory", &format!("{all}, {free} available"));
    let huge_pages = match report.huge_pages.as_deref() {
        None => "none on this system",
        Some("never") => "disabled; weights and KV caches use small pages, which is slower",
        Some(_) => "enabled for weights and KV caches; `edgellm info` shows how many a model gets",
    };
    line("huge pages", huge_pages);
    let features: Vec<_> = report
        .features
        .iter()
        .map(|feature| format!("{}{}", if feature.present { "" } else { "no " }, feature.name))
        .collect();
    line("features", &features.join(", "));
    for kernel in &report.kernels {
        let state = if kernel.name == report.chosen_kernel {
            "chosen"
        } else if kernel.available {
            "available"
        } else {
            "not supported"
        };
        line("kernel", &format!("{:13} {state}; needs {}", kernel.name, kernel.needs));
    }
    line("why", &format!("{}: {}", report.chosen_kernel, report.reason));
    if let Some(cache) = &report.cache {
        line("cache", &cache.display().to_string());
    }
    if let Some(problem) = &report.cache_problem {
        line("cache", &format!("unusable: {problem}"));
    }
    text
}
