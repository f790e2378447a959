//! Embeds the component that `scripts/build-plugin` built into a program with the feature `plugin`.

mod watched;

use std::path::PathBuf;
use std::{env, fs};

/// The faster variant: wasmtime always supports relaxed SIMD.
const COMPONENT: &str = "../target/plugin/edgellm-engine-relaxed.wasm";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_PLUGIN").is_none() {
        return;
    }
    let component = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(COMPONENT);
    let text = if component.is_file() {
        println!("cargo:rerun-if-changed={}", component.display());
        format!("Some(include_bytes!({:?}))", component.display().to_string())
    } else {
        watched::watch(component.parent().unwrap_or(&component));
        println!("cargo:warning=no component to embed: `scripts/build-plugin relaxed` builds it");
        "None".to_string()
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("component.rs");
    fs::write(&out, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
}
