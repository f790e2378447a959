//! `edgellm serve`.

mod network;
#[cfg(feature = "plugin")]
mod plugin;

use crate::args::{Choices, ContentArgs, RunArgs, Target, TargetArgs, format_parser, one_of};
use crate::cache::{Cache, MODEL_SUFFIX};
use crate::compute::compute;
use crate::error::{Error, Result};
use crate::interrupt::Listening;
use crate::model::Choice;
use crate::{model, output, system};
use edgellm_quantize::Format;
use edgellm_server::{Limits, LogFormat, ModelSource, OpenError, OpenModel, Options, Server};
use network::NetworkArgs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Answer OpenAI clients over HTTP
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm serve
  edgellm serve smollm2-135m-instruct
  edgellm serve --model smollm2-135m-instruct --model qwen2.5-coder-0.5b-instruct --max-loaded 1
  edgellm serve --model smollm2-135m-instruct --target plugin
  edgellm serve --model chat.tmac2.bin --host 0.0.0.0 --api-key-file keys.txt --rate-limit 60

  curl http://127.0.0.1:8080/v1/chat/completions -d '{
    \"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}], \"max_tokens\": 100}'

OpenAI clients use the base URL http://127.0.0.1:8080/v1 and any API key, or one of yours if there are any.
http://127.0.0.1:8080/ is a chat page, and /docs lists the endpoints and lets you try them; /health and /metrics
are for monitoring. Ctrl-C or SIGTERM finishes running requests and ends the server.")]
pub(crate) struct Args {
    /// The same as --model
    #[arg(value_name = "MODEL")]
    named: Vec<String>,
    /// A name that `edgellm list` shows, or the path of a model; may be repeated. Requests refer to a model by
    /// this name, or by its file name without the ending [default: the model used last, or smollm2-135m-instruct]
    #[arg(long, short, value_name = "NAME|PATH")]
    model: Vec<String>,
    /// Format to convert models to, unless they are .tmac2.bin files [default: auto]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<Format>,
    /// Models in memory at the same time; the least recently used one makes room [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    max_loaded: Option<u32>,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Format of log lines
    #[arg(long, default_value = "text", value_parser = one_of(LOG_FORMATS))]
    log_format: LogFormat,
    /// Level of the log: error, warn, info, debug or off
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug", "off"])]
    log_level: String,
    /// Log prompts and answers, too
    #[arg(long)]
    log_prompts: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Tokens of a prompt and its answer, at most; the limit of the model where that is smaller
    #[arg(long, short, value_name = "N", default_value_t = count(defaults().context), value_parser = clap::value_parser!(u32).range(2..))]
    context: u32,
    /// Tokens of an answer, at most [default: as many as the context has room for]
    #[arg(long, short = 'n', value_name = "N", value_parser = at_least_one())]
    max_tokens: Option<u32>,
    /// Sequences that a model generates at the same time, in shared forward passes
    #[arg(long, value_name = "N", default_value_t = count(defaults().limits.parallel), value_parser = at_least_one())]
    parallel: u32,
    /// Requests that wait in the queue, and as many that wait for their preparation; further ones are refused with 503,
    /// first those of the client with the most
    #[arg(long, value_name = "N", default_value_t = count(defaults().limits.queue), value_parser = at_least_one())]
    queue: u32,
    /// Choices (n) times prompts of a request; an embedding may have 2048 inputs
    #[arg(long, value_name = "N", default_value_t = count(defaults().max_choices), value_parser = at_least_one())]
    max_choices: u32,
    /// Prompt tokens processed in a step that also decodes: fewer make streams steadier, more bring the first token
    /// sooner under load
    #[arg(long, value_name = "N", default_value_t = count(defaults().limits.prefill_chunk), value_parser = at_least_one())]
    prefill_chunk: u32,
    /// Memory for the KV caches of each model, in MiB [default: a quarter of the machine's memory]
    #[arg(long, value_name = "MIB", value_parser = at_least_one())]
    kv_memory: Option<u32>,
    /// Part of it for the prefix cache, which speeds up the next turn of a chat, in MiB
    #[arg(long, value_name = "MIB", default_value_t = mebibytes(defaults().limits.prefix_memory))]
    prefix_memory: u32,
    /// Time limit of a request: its answer is cut off, or it is refused if it is still in the queue
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(defaults().request_timeout), value_parser = at_least_one())]
    request_timeout: u32,
    /// Time limit for preparing a request: reading, rendering and tokenizing it, and compiling its grammar
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(defaults().preparation_timeout), value_parser = at_least_one())]
    preparation_timeout: u32,
}

const LOG_FORMATS: Choices<LogFormat> =
    &[("text", LogFormat::Text, "For people"), ("json", LogFormat::Json, "One JSON object per line")];

/// The server's own defaults, which are those of the command line.
fn defaults() -> Options {
    Options::default()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn mebibytes(bytes: u64) -> u32 {
    u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// How often the server checks whether it was interrupted.
const INTERRUPT_POLL: Duration = Duration::from_millis(50);
/// Threads that read requests and write answers; the models use the others.
const IO_THREADS: usize = 2;

/// Opens a model, for the server.
type Open = Box<dyn Fn() -> std::result::Result<OpenModel, OpenError> + Send + Sync>;

/// Creates the function that opens the model file at a path.
type Opener = Box<dyn Fn(&Path) -> Open>;

impl Args {
    /// Serves until it is interrupted.
    pub(crate) fn run(mut self, cache: &Cache) -> Result<()> {
        self.model.splice(..0, self.named.drain(..));
        if self.model.is_empty() {
            self.model.push(Choice::of(None, self.format, cache).model);
        }
        let opener = self.opener(cache)?;
        let (keys, options) = (self.network.keys()?, self.options()?);
        let sources =
            self.model.iter().map(|model| self.source(model, &*opener, cache)).collect::<Result<Vec<_>>>()?;
        let server = Server::new(sources, options, keys).map_err(|error| Error::Usage(error.to_string()))?;
        let _logs = edgellm_server::init_logs(self.log_format, &self.log_level);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .enable_all()
            .build()
            .map_err(|source| Error::Stream { action: "start the server's threads", source })?;
        let result = runtime.block_on(self.serve(server));
        // Whatever is still running had its time to finish.
        runtime.shutdown_background();
        result
    }

    async fn serve(&self, server: Server) -> Result<()> {
        let NetworkArgs { host, port, .. } = &self.network;
        let failed = |error: edgellm_server::ListenError| Error::Usage(error.to_string());
        let listener = edgellm_server::bind(host, *port).await.map_err(failed)?;
        let address = listener.local_addr().map_err(|source| Error::Stream { action: "listen", source })?;
        let listening = Listening::start();
        output::print(&format!("listening on http://{address}\n"))?;
        let loading = server.clone();
        let (failed, loaded) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { failed.send(loading.load().await) });
        let interrupted = async {
            while !listening.raised() {
                tokio::time::sleep(INTERRUPT_POLL).await;
            }
            // The next interrupt ends the program at once.
            drop(listening);
        };
        let mut outcome = Ok(());
        let shutdown = async {
            let broken = async {
                match loaded.await {
                    Ok(Err(error)) => error,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = interrupted => {}
                error = broken => outcome = Err(Error::Usage(error.to_string())),
            }
        };
        edgellm_server::listen(server, listener, shutdown).await;
        outcome
    }

    /// Creates functions that open model files on the chosen target.
    fn opener(&self, cache: &Cache) -> Result<Opener> {
        match self.target.target {
            Target::Native => {
                let (compute, placement, cache) = (compute(&self.run)?, self.run.weights, cache.clone());
                Ok(Box::new(move |path| {
                    let (path, compute, cache) = (path.to_path_buf(), compute.clone(), cache.clone());
                    Box::new(move || {
                        let model = model::open(&path, compute.clone(), placement, &cache);
                        Ok(OpenModel::from(model?))
                    })
                }))
            }
            #[cfg(feature = "plugin")]
            Target::Plugin => {
                let kv_memory = self.options()?.limits.kv_memory;
                let sandboxes = plugin::Sandboxes::new(&self.target, &self.run, kv_memory, cache)?;
                Ok(Box::new(move |path| Box::new(sandboxes.opener(path))))
            }
            #[cfg(not(feature = "plugin"))]
            Target::Plugin => Err(Error::Usage(crate::args::NO_PLUGIN.to_string())),
        }
    }

    fn source(&self, model: &str, opener: &dyn Fn(&Path) -> Open, cache: &Cache) -> Result<ModelSource> {
        let path = model::prepare(model, self.format, cache)?;
        model::remember(model, cache);
        Ok(ModelSource {
            id: id(model, &path),
            created: modified(&path),
            session: self.run.session_options(None),
            file: self.network.allow_download.then(|| path.clone()),
            open: opener(&path),
        })
    }

    fn options(&self) -> Result<Options> {
        let (network, limits) = (&self.network, &self.limits);
        let time = |seconds: u32| Duration::from_secs(seconds.into());
        let bytes = |mebibytes: u32| u64::from(mebibytes) << 20;
        let quarter = || system::memory_bytes().0.map_or(defaults().limits.kv_memory, |all| all / 4);
        // A sandbox has 4 GiB for the model and all of its sessions.
        let most = if self.target.target == Target::Plugin { 2 << 30 } else { u64::MAX };
        Ok(Options {
            context: limits.context as usize,
            max_tokens: limits.max_tokens.map(|most| most as usize),
            limits: Limits {
                parallel: limits.parallel as usize,
                queue: limits.queue as usize,
                prefill_chunk: limits.prefill_chunk as usize,
                kv_memory: limits.kv_memory.map_or_else(quarter, bytes).min(most),
                prefix_memory: bytes(limits.prefix_memory),
            },
            max_loaded: self.max_loaded.map_or(usize::MAX, |most| most as usize),
            request_timeout: time(limits.request_timeout),
            preparation_timeout: time(limits.preparation_timeout),
            client_timeout: time(network.client_timeout),
            drain_timeout: time(network.drain_timeout),
            max_connections: network.connections()?,
            max_body: (network.max_body as usize) << 20,
            max_choices: limits.max_choices as usize,
            rate_limit: network.rate_limit,
            trust_proxy: network.trust_proxy,
            allowed_hosts: network.allowed_hosts(),
            cors_origins: network.cors_origin.clone(),
            log_prompts: self.log_prompts,
            parse_special_in_content: self.content.parse_special_in_content,
        })
    }
}

/// The name of a model in requests: its own, or its file name without the ending.
fn id(model: &str, path: &Path) -> String {
    if crate::catalogue::find(model).is_some() {
        return model.to_string();
    }
    let given = Path::new(model).file_name().or(path.file_name()).unwrap_or_default().to_string_lossy();
    let endings = [MODEL_SUFFIX, ".gguf"];
    endings.iter().find_map(|ending| given.strip_suffix(ending)).unwrap_or(&given).to_string()
}

/// When a file was written last, in seconds since 1970.
fn modified(path: &Path) -> u64 {
    let time = std::fs::metadata(path).and_then(|found| found.modified()).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_their_names() {
        let path = Path::new("/cache/x-int4.tmac2.bin");
        assert_eq!(id("smollm2-135m-instruct", path), "smollm2-135m-instruct");
        assert_eq!(id("/models/chat.v2.tmac2.bin", path), "chat.v2");
        assert_eq!(id("models/chat-q4.gguf", path), "chat-q4");
        assert_eq!(id("models/llama/", path), "llama");
    }
}
