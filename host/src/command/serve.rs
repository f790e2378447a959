//! `edgellm serve`.

#[cfg(feature = "plugin")]
mod plugin;

use crate::args::{RunArgs, Target, TargetArgs, format_parser};
use crate::cache::{Cache, MODEL_SUFFIX};
use crate::error::{Error, Result};
use crate::interrupt::Listening;
use crate::{open, output, system};
use clap::ValueEnum;
use edgellm_quantize::Format;
use edgellm_server::{ApiKeys, LogFormat, ModelSource, OpenModel, Options, Server};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Answer OpenAI clients over HTTP
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm serve --model smollm2-135m-instruct
  edgellm serve --model smollm2-135m-instruct --model qwen2.5-coder-0.5b-instruct --max-loaded 1
  edgellm serve --model smollm2-135m-instruct --target plugin
  edgellm serve --model chat.tmac2.bin --host 0.0.0.0 --api-key-file keys.txt --rate-limit 60

  curl http://127.0.0.1:8080/v1/chat/completions -d '{
    \"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}], \"max_tokens\": 100}'

OpenAI clients take the address http://127.0.0.1:8080/v1 and any API key, or one of the server's.
http://127.0.0.1:8080/ is a page to talk to the models, /docs lists the endpoints and lets you try them;
/health and /metrics are for machines. Ctrl-C or SIGTERM finishes what is under way and ends the server.")]
pub(crate) struct Args {
    /// A name that `edgellm list` shows, or the path of a model; may be given several times. Requests
    /// choose by the name, or by the file's name without its ending
    #[arg(long, short, value_name = "NAME|PATH", required = true)]
    model: Vec<String>,
    /// What to convert models to, where they are not .tmac2.bin files yet [default: int4]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<Format>,
    /// Models in memory at the same time; the one used longest ago makes room [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    max_loaded: Option<u32>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// How lines of the log look
    #[arg(long, value_enum, default_value_t = LogFormatArg::Text)]
    log_format: LogFormatArg,
    /// What is logged: error, warn, info, debug or off
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug", "off"])]
    log_level: String,
    /// Log prompts and answers too, which are private otherwise
    #[arg(long)]
    log_prompts: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network and access")]
struct NetworkArgs {
    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: String,
    /// Port; 0 takes any that is free
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    port: u16,
    /// Only let in who has a key of this file, one a line. The variable EDGELLM_API_KEYS does the same
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Requests a minute of each key, or of each address where there are no keys [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    rate_limit: Option<u32>,
    /// Take a client's address from X-Forwarded-For, which your reverse proxy must set
    #[arg(long)]
    trust_proxy: bool,
    /// Let the web pages of this origin use the server, as https://chat.example.org; may be given several
    /// times, and * means all
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Let clients download the models' files, as the page at / does to run them in the browser
    #[arg(long)]
    allow_download: bool,
    /// Connections at the same time; more wait
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_one())]
    max_connections: u32,
    /// Largest body of a request, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_body: u32,
    /// Seconds in which a client must send its request and accept pieces of its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = at_least_one())]
    client_timeout: u32,
    /// Seconds that ending the server waits for requests under way
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u32,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Most tokens of a prompt and its answer together, where the model allows as many
    #[arg(long, short, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..))]
    context: u32,
    /// Most tokens of an answer [default: what the context leaves]
    #[arg(long, short = 'n', value_name = "N", value_parser = at_least_one())]
    max_tokens: Option<u32>,
    /// Answers that a model writes at the same time; they share each pass over the weights
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one())]
    parallel: u32,
    /// Requests that wait for their turn; more are refused with 503
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one())]
    queue: u32,
    /// Texts of one request: answers (n) times prompts, or inputs of an embedding
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least_one())]
    max_choices: u32,
    /// Prompt tokens processed beside one token of every answer under way: fewer give steadier streams,
    /// more a sooner first token under load
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one())]
    prefill_chunk: u32,
    /// Memory for keys and values of each model, in MiB [default: a quarter of the machine's]
    #[arg(long, value_name = "MIB", value_parser = at_least_one())]
    kv_memory: Option<u32>,
    /// Part of it that keeps finished conversations, so that their next turn is quick, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    prefix_memory: u32,
    /// Seconds after which an answer is ended where it is, or a request that still waits is refused
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = at_least_one())]
    request_timeout: u32,
}

/// [`LogFormat`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatArg {
    /// For people
    Text,
    /// One object a line
    Json,
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// How often a request to end is looked for.
const INTERRUPT_POLL: Duration = Duration::from_millis(50);
/// Threads that read requests and write answers: the models have the others.
const IO_THREADS: usize = 2;

/// Opens a model, for the server.
type Open = Box<dyn Fn() -> std::result::Result<OpenModel, String> + Send + Sync>;

/// Makes what opens the model file at a path.
type Opener = Box<dyn Fn(&Path) -> Open>;

impl Args {
    /// Serves until it is interrupted.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let opener = self.opener(cache)?;
        let (keys, options) = (self.network.keys()?, self.options());
        let sources =
            self.model.iter().map(|model| self.source(model, &*opener, cache)).collect::<Result<Vec<_>>>()?;
        let server = Server::new(sources, options, keys).map_err(|error| Error::Usage(error.to_string()))?;
        let format = match self.log_format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        };
        edgellm_server::init_logs(format, &self.log_level);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .enable_all()
            .build()
            .map_err(|source| Error::Stream { action: "start the server's threads", source })?;
        let result = runtime.block_on(self.serve(server));
        // Whoever is left had the time to end.
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
            // The next one ends the program at once.
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

    /// What makes functions that open model files where they are to run.
    fn opener(&self, cache: &Cache) -> Result<Opener> {
        match self.target.target {
            Target::Native => {
                let (compute, placement) = (self.run.compute()?, self.run.weights.placement());
                Ok(Box::new(move |path| {
                    let (path, compute) = (path.to_path_buf(), compute.clone());
                    Box::new(move || {
                        let model = open::open(&path, compute.clone(), placement);
                        model.map(OpenModel::from).map_err(|error| error.one_line())
                    })
                }))
            }
            #[cfg(feature = "plugin")]
            Target::Plugin => {
                let kv_memory = self.options().kv_memory;
                let sandboxes = plugin::Sandboxes::new(&self.target, &self.run, kv_memory, cache)?;
                Ok(Box::new(move |path| Box::new(sandboxes.opener(path))))
            }
            #[cfg(not(feature = "plugin"))]
            Target::Plugin => {
                let _ = cache;
                Err(Error::Usage(crate::args::NO_PLUGIN.to_string()))
            }
        }
    }

    fn source(&self, model: &str, opener: &dyn Fn(&Path) -> Open, cache: &Cache) -> Result<ModelSource> {
        let path = open::locate(model, self.format, cache)?;
        let options = self.run.session_options(None);
        Ok(ModelSource {
            id: id(model, &path),
            created: modified(&path),
            precision: options.precision,
            kv_cache: options.kv_cache,
            file: self.network.allow_download.then(|| path.clone()),
            open: opener(&path),
        })
    }

    fn options(&self) -> Options {
        let (network, limits) = (&self.network, &self.limits);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let mebibytes = |count: u32| u64::from(count) << 20;
        let quarter = || system::memory_bytes().0.map_or(2 << 30, |all| all / 4);
        // A sandbox has 4 GiB for the model and all of its sessions.
        let most = if self.target.target == Target::Plugin { 2 << 30 } else { u64::MAX };
        Options {
            context: limits.context as usize,
            max_tokens: limits.max_tokens.map(|most| most as usize),
            parallel: limits.parallel as usize,
            queue: limits.queue as usize,
            prefill_chunk: limits.prefill_chunk as usize,
            kv_memory: limits.kv_memory.map_or_else(quarter, mebibytes).min(most),
            prefix_memory: mebibytes(limits.prefix_memory),
            max_loaded: self.max_loaded.map_or(usize::MAX, |most| most as usize),
            request_timeout: seconds(limits.request_timeout),
            client_timeout: seconds(network.client_timeout),
            drain_timeout: seconds(network.drain_timeout),
            max_connections: network.max_connections as usize,
            max_body: (network.max_body as usize) << 20,
            max_choices: limits.max_choices as usize,
            rate_limit: network.rate_limit,
            trust_proxy: network.trust_proxy,
            cors_origins: network.cors_origin.clone(),
            log_prompts: self.log_prompts,
        }
    }
}

impl NetworkArgs {
    /// The keys of the file and of the environment.
    fn keys(&self) -> Result<ApiKeys> {
        let mut text = std::env::var("EDGELLM_API_KEYS").unwrap_or_default().replace([',', ' '], "\n");
        let wanted = self.api_key_file.is_some() || !text.trim().is_empty();
        if let Some(path) = &self.api_key_file {
            text.push('\n');
            text.push_str(&std::fs::read_to_string(path).map_err(Error::file("read", path))?);
        }
        let keys = ApiKeys::parse(&text);
        if wanted && keys.is_empty() {
            // An empty list would let everybody in.
            return Err(Error::Usage(
                "there is no key in the list of API keys: add one, or leave the list out".into(),
            ));
        }
        Ok(keys)
    }
}

/// What requests call a model: its name, or the file's without its ending.
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
