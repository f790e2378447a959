//! From a component to machine code, once: the result is kept in a folder, and the next start loads it.
#![allow(unsafe_code)]

use crate::error::Error;
use sha2::{Digest as _, Sha256};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// First bytes of a file of machine code: what it is, then the CRC-32 of the rest.
const MAGIC: &[u8; 8] = b"edgellm\x01";
const HEADER: usize = MAGIC.len() + 4;

/// Compiles `component`, or loads what an earlier call left in `cache`.
///
/// Whoever can write to that folder can have this process run any code, as with the program's own file: it must belong
/// to the user alone.
///
/// # Errors
/// If the bytes are no component. A cache that cannot be read or written costs time, but is no error.
pub(crate) fn compile(engine: &Engine, component: &[u8], cache: Option<&Path>) -> Result<Component, Error> {
    let invalid = |error: wasmtime::Error| Error::Component { reason: format!("{error:#}") };
    let Some(folder) = cache else { return Component::new(engine, component).map_err(invalid) };
    let path = folder.join(name(engine, component));
    if let Some(loaded) = load(engine, &path) {
        return Ok(loaded);
    }
    let compiled = Component::new(engine, component).map_err(invalid)?;
    if let Ok(code) = compiled.serialize() {
        // The next start is slower without it, and nothing else.
        let _ = store(&path, &code);
    }
    Ok(compiled)
}

/// A file's name: of the component's bytes, and of everything that the machine code depends on.
fn name(engine: &Engine, component: &[u8]) -> PathBuf {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let digest = Sha256::digest(component);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}-{:016x}.code", settings.finish()).into()
}

fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let bytes = std::fs::read(path).ok()?;
    let (header, code) = bytes.split_at_checked(HEADER)?;
    let (magic, sum) = header.split_at(MAGIC.len());
    if magic != MAGIC || sum != crc32fast::hash(code).to_le_bytes() {
        return None;
    }
    // SAFETY: the file is what `store` wrote, of `Component::serialize`: it has our mark, its checksum is right, and its
    // name, of which the component's digest is a part, is not one that another program would use. The folder is the
    // user's own, as `compile` demands.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Writes the file under another name and renames it, so that nobody reads half of it.
fn store(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(MAGIC)?;
    draft.write_all(&crc32fast::hash(code).to_le_bytes())?;
    draft.write_all(code)?;
    draft.persist(path)?;
    Ok(())
}
