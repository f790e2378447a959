//! `edgellm benchmark` without a subcommand: the measurement.

use super::targets::Setting;
use super::tree::{commit, source_tree};
use crate::args::{RunArgs, format_parser};
use crate::cache::Cache;
use crate::catalogue;
use crate::compute::compute;
use crate::error::{Error, Result};
use crate::interrupt::Listening;
use crate::progress::{self, Bar};
use crate::{atomic_file, checksum, fetch, model, output, system};
use edgellm::{Compute, Model};
use edgellm_benchmark::machine::{Machine, bandwidth};
use edgellm_benchmark::observer::Observer;
use edgellm_benchmark::report::{self, Absent, ModelFile, PeerFile, Report, Settings};
use edgellm_benchmark::run::{self, Outcome};
use edgellm_benchmark::sensors::{self, Meter};
use edgellm_benchmark::{date, native, peer, prompts};
use edgellm_quantize::Format;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Default directory for the report, in the working directory.
const OUTPUT: &str = "benchmark-report";

#[derive(Debug, clap::Args)]
pub(super) struct MeasureArgs {
    /// A name that `edgellm list` shows, or the path of a .tmac2.bin file, a .gguf file or a Hugging Face directory
    // Optional for the sake of `compare`; the parser requires it otherwise.
    #[arg(long, short, value_name = "NAME|PATH", required = true)]
    model: Option<String>,
    /// Format to convert the model to, unless it is a .tmac2.bin file [default: auto]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<Format>,
    /// EdgeLLM's targets to measure: native, plugin, browser, or NAME=COMMAND for a worker of your own that must give
    /// the same answers. {model}, {threads} and {context} are replaced in commands
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "native,plugin,browser")]
    targets: Vec<String>,
    /// Other engines to measure: llama.cpp, ollama, bitnet.cpp, onnxruntime-genai, openvino-genai, wllama, or
    /// NAME=COMMAND; the report lists those that are not installed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// GGUF file for peers [default: the source of the model]
    #[arg(long, value_name = "PATH")]
    gguf: Option<PathBuf>,
    /// Python with the packages of peers [default: that of the source tree, or python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Component for the plugin target [default: the one built into this program]
    #[arg(long, value_name = "PATH")]
    component: Option<PathBuf>,
    /// npm package edgellm-web, for the browser target [default: target/edgellm-web in the source tree]
    #[arg(long, value_name = "PATH")]
    web_package: Option<PathBuf>,
    /// npm package @wllama/wllama, for that peer [default: that of the source tree]
    #[arg(long, value_name = "PATH")]
    wllama_package: Option<PathBuf>,
    /// Browser [default: the first Chromium on the PATH]
    #[arg(long, value_name = "PATH")]
    chromium: Option<PathBuf>,
    /// Runs for each target, number of threads and prompt length
    #[arg(long, value_name = "N", default_value_t = 100)]
    iterations: usize,
    /// Warm-up runs, which do not count
    #[arg(long, value_name = "N", default_value_t = 10)]
    warmup: usize,
    /// Cold starts for each target and number of threads
    #[arg(long, value_name = "N", default_value_t = 10)]
    cold_starts: usize,
    /// Prompt lengths in tokens
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "16,128,512")]
    prompt_lengths: Vec<usize>,
    /// Tokens to generate in each run
    #[arg(long, value_name = "N", default_value_t = 128)]
    generate: usize,
    /// Numbers of threads [default: 1 and the number of cores]
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Time limit in minutes: slow targets get fewer runs, but at least 5
    #[arg(long, value_name = "X")]
    minutes: Option<f64>,
    /// Log of a power meter, with lines `unix_seconds,watts` [default: RAPL, if available]
    #[arg(long, value_name = "PATH")]
    power_log: Option<PathBuf>,
    /// Output files of `edgellm evaluate --json`, for the quality plots
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    quality: Vec<PathBuf>,
    /// Kernels for the native target [default: the fastest]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Directory for the report
    #[arg(long, short, value_name = "PATH", default_value = OUTPUT)]
    output: PathBuf,
}

impl MeasureArgs {
    pub(super) fn run(mut self, cache: &Cache) -> Result<()> {
        let start = Instant::now();
        self.check()?;
        let quality = self.quality.iter().map(|path| read_json(path)).collect::<Result<_>>()?;
        let run = RunArgs::with_kernel(self.kernel.take());
        let name = self.model.take().unwrap_or_default();
        let path = model::prepare(&name, self.format, cache)?;
        let model = model::open(&path, compute(&run)?, run.weights, cache)?;
        let gguf = self.gguf(&name, cache)?;
        let root = source_tree();
        let python =
            self.python.take().map_or_else(|| peer::python(root.as_deref()), PathBuf::into_os_string);
        // Never in the working directory: a browser would run what is there.
        let in_tree = |given: &Option<PathBuf>, path: &str| {
            given.clone().or_else(|| root.as_ref().map(|root| root.join(path)))
        };
        let web_package = in_tree(&self.web_package, "target/edgellm-web");
        let wllama_package =
            in_tree(&self.wllama_package, "benches/browser_speed/node_modules/@wllama/wllama");
        let settings = self.settings();
        let longest = settings.prompt_lengths.iter().max().copied().unwrap_or(1);
        let setting = Setting {
            model: &path,
            gguf: gguf.as_deref(),
            context: longest + settings.generate,
            run: &run,
            python: &python,
            component: self.component.as_deref(),
            web_package: web_package.as_deref(),
            wllama_package: wllama_package.as_deref(),
            chromium: self.chromium.as_deref(),
            program: std::env::current_exe().map_err(Error::file("find", Path::new("edgellm")))?,
        };
        let (subjects, missing) = setting.subjects(&self.targets, &self.peers)?;
        let prompts = settings.prompt_lengths.iter().map(|&length| prompts::prompt(&model, length));
        let prompts = prompts.collect::<std::result::Result<Vec<_>, _>>().map_err(edgellm::Error::from)?;
        // Before the measurement, so that a directory that cannot be created fails early.
        if self.output == Path::new(OUTPUT) && self.output.is_symlink() {
            let (path, advice) = (self.output, "give a directory with --output");
            return Err(Error::WrongKind { path, found: "a symbolic link", advice });
        }
        std::fs::create_dir_all(&self.output).map_err(Error::file("create the directory", &self.output))?;

        let looker = Looker { listening: Listening::start(), bar: progress::share(1, "measuring") };
        for Absent { target, reason } in &missing {
            looker.note(&format!("{target}: {reason}"));
        }
        let meter = Meter::find(self.power_log.clone());
        let mut report = Report {
            schema: report::SCHEMA.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            commit: root.as_deref().and_then(commit),
            command: std::env::args().collect(),
            started: date::now(),
            model: model_file(&model, &path, gguf.as_deref())?,
            machine: examine(&model, &settings.threads),
            quality,
            ..Report::default()
        };
        report.machine.energy_meter = meter.as_ref().map(Meter::name);
        drop(model);
        let (temperature, throttled) = (sensors::temperature_celsius(), sensors::throttle_events());
        let outcome = run::run(&subjects, &prompts, &settings, meter.as_ref(), &looker);
        report.machine.temperature_celsius = temperature.zip(sensors::temperature_celsius()).map(Into::into);
        report.machine.throttle_events =
            throttled.zip(sensors::throttle_events()).map(|(a, b)| b.saturating_sub(a));
        report.settings = settings;
        fill(&mut report, outcome, missing);
        report.seconds = start.elapsed().as_secs_f64();
        drop(looker);
        self.write(&report)?;
        let wrong = report.rows.iter().find(|row| row.problem.is_some() && self.is_target(&row.target));
        match wrong {
            Some(row) => Err(Error::Benchmark(format!(
                "{}, prompt of {} tokens: {}",
                row.label(),
                row.prompt_tokens,
                row.problem.as_deref().unwrap_or_default()
            ))),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<()> {
        let zero = [
            ("--iterations", self.iterations),
            ("--generate", self.generate),
            ("--prompt-lengths", self.prompt_lengths.iter().copied().min().unwrap_or(0)),
        ];
        match zero.into_iter().find(|(_, value)| *value == 0) {
            Some((option, _)) => Err(Error::Usage(format!("{option} must be at least 1"))),
            None => Ok(()),
        }
    }

    fn settings(&self) -> Settings {
        let cores = system::physical_cores();
        let mut threads: Vec<usize> = self.threads.iter().copied().map(usize::from).collect();
        if threads.is_empty() {
            threads = vec![1, cores];
            threads.dedup();
        }
        Settings {
            iterations: self.iterations,
            warmup: self.warmup,
            cold_starts: self.cold_starts,
            prompt_lengths: self.prompt_lengths.clone(),
            generate: self.generate,
            threads,
            minutes: self.minutes,
        }
    }

    fn is_target(&self, name: &str) -> bool {
        self.targets.iter().any(|target| target.split('=').next() == Some(name))
    }

    /// The GGUF file for peers, if there is one.
    fn gguf(&self, model: &str, cache: &Cache) -> Result<Option<PathBuf>> {
        if let Some(path) = &self.gguf {
            return if path.is_file() {
                Ok(Some(path.clone()))
            } else {
                Err(Error::NoSuchFile { path: path.clone() })
            };
        }
        if self.peers.is_empty() {
            return Ok(None);
        }
        let path = match catalogue::find(model) {
            Some(entry) => fetch::ensure(&entry, cache)?,
            None => PathBuf::from(model),
        };
        Ok(path.extension().is_some_and(|ending| ending == "gguf").then_some(path))
    }

    fn write(&self, report: &Report) -> Result<()> {
        let mut json = serde_json::to_string_pretty(report).map_err(|error| output::failed(error.into()))?;
        json.push('\n');
        let files = [
            ("report.json", json),
            ("report.csv", report::csv(report)),
            ("report.md", report::markdown(report)),
            ("report.html", report::html(report)),
        ];
        for (name, text) in files {
            atomic_file::write(&self.output.join(name), text.as_bytes())?;
        }
        output::print(&report::markdown(report))?;
        progress::note(&format!("written to {}", self.output.join("report.html").display()));
        Ok(())
    }
}

/// Shows progress, and stops the measurement on Ctrl-C.
struct Looker {
    listening: Listening,
    bar: Bar,
}

impl Observer for Looker {
    fn note(&self, line: &str) {
        self.bar.note(line);
    }

    fn progress(&self, done: f64, total: f64) {
        self.bar.set_total((total * 1e3) as u64);
        self.bar.set((done * 1e3) as u64);
    }

    fn stop(&self) -> bool {
        self.listening.raised()
    }
}

fn fill(report: &mut Report, outcome: Outcome, missing: Vec<Absent>) {
    report.interrupted = outcome.interrupted;
    report.rows = outcome.rows;
    for row in &mut report.rows {
        let rate = row.decode_tokens_per_second.map(|figure| figure.median);
        let bytes = row.weight_bytes_per_token.map(|bytes| bytes as f64);
        let limit = report.machine.bytes_per_second(row.threads);
        row.bandwidth_share = rate.zip(bytes).zip(limit).map(|((rate, bytes), limit)| rate * bytes / limit);
    }
    report.absent = missing;
    report.absent.extend(outcome.absent);
}

fn examine(model: &Model, threads: &[usize]) -> Machine {
    let mut machine =
        Machine::examine(system::cpu_name(), system::physical_cores(), system::memory_bytes().0);
    let bytes = native::weight_bytes_per_token(model.metadata());
    let kernels = model.compute().kernels();
    machine.bandwidth =
        threads.iter().map(|&threads| bandwidth(&Compute::new(kernels, threads), bytes)).collect();
    machine
}

fn model_file(model: &Model, path: &Path, gguf: Option<&Path>) -> Result<ModelFile> {
    let peer_file = match gguf {
        Some(path) => {
            let (bytes, sha256) = sum(path)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Some(PeerFile { file, bytes, sha256 })
        }
        None => None,
    };
    let (bytes, sha256) = sum(path)?;
    Ok(ModelFile {
        name: model.metadata().name.clone(),
        format: native::variant(model.metadata()),
        bytes,
        sha256,
        peer_file,
    })
}

/// Length and SHA-256 of a file.
fn sum(path: &Path) -> Result<(u64, String)> {
    checksum::sha256(&edgellm_files::open(path)?).map_err(Error::file("read", path))
}

fn read_json(path: &Path) -> Result<serde_json::Value> {
    let text = edgellm_files::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| Error::Benchmark(format!("{}: {error}", path.display())))
}
