//! Embeds the web page, compressed: `web-demo/`, and the engine for the page in `target/edgellm-web`, if
//! `scripts/build-web` has built it. Generates a table of the files for `src/page.rs`.

#[path = "../watched.rs"]
mod watched;

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The files and directories of `web-demo/` to serve. The server generates `site.json` itself.
const PAGE: [&str; 7] =
    ["index.html", "style.css", "icon.svg", "manifest.webmanifest", "sw.js", "src", "vendor"];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    let (page, engine) = (root.join("web-demo"), root.join("target/edgellm-web"));
    let mut files = Vec::new();
    for name in PAGE {
        collect(&page.join(name), name, &mut files)?;
    }
    watched::watch(&engine);
    if engine.is_dir() {
        collect(&engine, "engine", &mut files)?;
    }
    let mut table = fs::File::create(out.join("page.rs"))?;
    writeln!(table, "[")?;
    for (index, (name, path)) in files.iter().enumerate() {
        let bytes = fs::read(path)?;
        let packed = out.join(format!("page-{index}.gz"));
        let mut encoder = GzEncoder::new(fs::File::create(&packed)?, Compression::best());
        encoder.write_all(&bytes)?;
        encoder.finish()?;
        let (kind, hash) = (media_type(name), crc32fast::hash(&bytes));
        writeln!(
            table,
            "File {{ path: {name:?}, kind: {kind:?}, etag: \"W/\\\"{hash:08x}-{:x}\\\"\", gzip: include_bytes!({packed:?}) }},",
            bytes.len(),
        )?;
    }
    writeln!(table, "]")
}

/// Adds the files at `path`, under `name` in the page.
fn collect(path: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", path.display());
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let inner =
                entry.file_name().into_string().map_err(|name| io::Error::other(format!("{name:?}")))?;
            collect(&entry.path(), &format!("{name}/{inner}"), files)?;
        }
    } else if !media_type(name).is_empty() && !name.ends_with("package.json") {
        files.push((name.to_string(), path.to_path_buf()));
    }
    Ok(())
}

/// The media type by the file name's ending; empty for files that are not served.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        _ => "",
    }
}
