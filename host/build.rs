//! Finds the component that `scripts/build-plugin` made, to build it into a program with the feature `plugin`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs, io};

/// The faster variant: wasmtime always knows relaxed SIMD.
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
        let folder = component.parent().unwrap_or(&component);
        // If it cannot be made, the program is only built more often than need be.
        let _ = make_folder(folder);
        println!("cargo:rerun-if-changed={}", folder.display());
        println!("cargo:warning=no component to build in: `scripts/build-plugin relaxed` makes it");
        "None".to_string()
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("component.rs");
    fs::write(&out, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
}

/// Makes a folder to be watched: for a path that is not there, cargo would build the program anew each time, and for one
/// that is newer than this run once more.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::File::open(folder)?.set_modified(SystemTime::UNIX_EPOCH)
}
