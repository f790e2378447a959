//! `--target plugin`: the component, and models in its sandbox.

use crate::args::{RunArgs, TargetArgs};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::mmap;
use edgellm::sampler::SamplerOptions;
use edgellm::{CacheFormat, Precision, SessionOptions};
use edgellm_plugin_host::{KvCache, Limits, Model, Plugin, Source};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The component that build.rs embedded, if there was one.
const BUILT_IN: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/component.rs"));
/// Memory on top of the model file: sessions, buffers, the tokenizer.
const BESIDE_THE_FILE: u64 = 1 << 30;
/// Time limit of a call, such as a prefill of thousands of tokens.
const CALL_TIME: Duration = Duration::from_secs(600);

/// Loads the component that `args` ask for. Its machine code is cached.
///
/// # Errors
/// If there is none, or other options do not apply to it.
pub(crate) fn load(args: &TargetArgs, run: &RunArgs, cache: &Cache) -> Result<Plugin> {
    if run.threads.is_some() || run.kernel.is_some() {
        let message = "--threads and --kernel apply to --target native only: a sandbox has one thread and kernels of its own";
        return Err(Error::Usage(message.to_string()));
    }
    let code = cache.plugin_code();
    cache.check(&code)?;
    match (&args.plugin, BUILT_IN) {
        (Some(path), _) => Ok(Plugin::load(path, Some(&code))?),
        (None, Some(component)) => Ok(Plugin::from_bytes(component, Some(&code))?),
        (None, None) => Err(Error::Usage(
            "this edgellm was built without a component: run `scripts/build-plugin relaxed` and build edgellm again, or \
             give a component with --plugin FILE"
                .to_string(),
        )),
    }
}

/// Opens the model file at `path` in a sandbox of its own, which gets the bytes of the file and no directory.
///
/// # Errors
/// If the file cannot be opened or is damaged.
pub(crate) fn open(plugin: &Plugin, path: &Path, kv_memory: u64) -> Result<Model> {
    let file = mmap::map(path)?;
    let memory = file.as_ref().len() as u64 + kv_memory + BESIDE_THE_FILE;
    let limits = Limits { memory, call_time: CALL_TIME, ..Limits::default() };
    plugin
        .open(Source::Bytes(Arc::new(file)), &limits)
        .map_err(|source| Error::PluginModel { path: path.to_path_buf(), source })
}

/// The engine's options as those of the plugin.
pub(crate) fn session_options(options: SessionOptions) -> edgellm_plugin_host::SessionOptions {
    edgellm_plugin_host::SessionOptions {
        // The model rejects longer ones.
        context_length: options.context_length.map(|length| u32::try_from(length).unwrap_or(u32::MAX)),
        precision: Some(match options.precision {
            Precision::Fast => edgellm_plugin_host::Precision::Fast,
            Precision::Standard => edgellm_plugin_host::Precision::Standard,
            Precision::High => edgellm_plugin_host::Precision::High,
        }),
        kv_cache: Some(match options.kv_cache {
            CacheFormat::F16 => KvCache::F16,
            CacheFormat::Int8 => KvCache::Int8,
        }),
    }
}

/// The engine's options as those of the plugin.
pub(crate) fn sampler_options(options: &SamplerOptions) -> edgellm_plugin_host::SamplerOptions {
    edgellm_plugin_host::SamplerOptions {
        temperature: Some(options.temperature),
        top_k: Some(u32::try_from(options.top_k).unwrap_or(u32::MAX)),
        top_p: Some(options.top_p),
        min_p: Some(options.min_p),
        repetition_penalty: Some(options.repetition_penalty),
        presence_penalty: Some(options.presence_penalty),
        frequency_penalty: Some(options.frequency_penalty),
        seed: Some(options.seed),
    }
}
