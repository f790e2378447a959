//! The plugin against the engine itself, and against guests and files that mean harm. `scripts/test plugin` builds the
//! components that this needs.

mod files;
mod hostile;
mod parity;

use edgellm_plugin_host::{Limits, Plugin};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// A component that `scripts/build-plugin` made.
fn component(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/plugin").join(name);
    assert!(path.is_file(), "there is no {}: run `scripts/build-plugin` first", path.display());
    path
}

fn load(name: &str) -> Plugin {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("code");
    Plugin::load(component(name), Some(&cache)).unwrap()
}

static SIMD: LazyLock<Plugin> = LazyLock::new(|| load("edgellm-engine-simd.wasm"));
static RELAXED: LazyLock<Plugin> = LazyLock::new(|| load("edgellm-engine-relaxed.wasm"));
static HOSTILE: LazyLock<Plugin> = LazyLock::new(|| load("edgellm-hostile-simd.wasm"));

/// Limits for small models and short tests.
fn limits() -> Limits {
    Limits { memory: 64 << 20, call_time: Duration::from_secs(20), ..Limits::default() }
}
