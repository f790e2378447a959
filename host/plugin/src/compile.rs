//! Compiling a component to machine code, which is cached in a directory for later starts.
#![allow(unsafe_code)]

use crate::error::Error;
use sha2::{Digest as _, Sha256};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// First bytes of a file of machine code; the CRC-32 of the rest follows.
const MAGIC: &[u8; 8] = b"edgellm\x01";
const HEADER: usize = MAGIC.len() + 4;

/// Compiles `component`, or loads its machine code from `cache`.
///
/// Whoever can write to that directory can make this process run any code, as with the program's own file: it must
/// belong to the user alone.
///
/// # Errors
/// If the bytes are not a component, or another user can change what is in the cache. A cache that cannot be read or
/// written is not an error.
pub(crate) fn compile(engine: &Engine, component: &[u8], cache: Option<&Path>) -> Result<Component, Error> {
    let invalid = |error: wasmtime::Error| Error::Component { reason: format!("{error:#}") };
    let Some(folder) = cache else { return Component::new(engine, component).map_err(invalid) };
    let name = name(engine, component);
    let path = folder.join(&name);
    edgellm_files::check(folder, &name)?;
    if let Some(loaded) = load(engine, &path)? {
        return Ok(loaded);
    }
    let compiled = Component::new(engine, component).map_err(invalid)?;
    if let Ok(code) = compiled.serialize() {
        // Without it, the next start is slower.
        let _ = store(&path, &code);
    }
    Ok(compiled)
}

/// The file name: a digest of the component, and one of everything else that the machine code depends on.
fn name(engine: &Engine, component: &[u8]) -> PathBuf {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let digest = Sha256::digest(component);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}-{:016x}.code", settings.finish()).into()
}

fn load(engine: &Engine, path: &Path) -> Result<Option<Component>, Error> {
    let mut file = match edgellm_files::open(path) {
        Err(edgellm_files::Error::Missing { .. } | edgellm_files::Error::Io { .. }) => return Ok(None),
        other => other?,
    };
    // Of the open file, so that no other can have taken its place.
    edgellm_files::check_opened(&file, path)?;
    let mut bytes = Vec::new();
    if file.read_to_end(&mut bytes).is_err() {
        return Ok(None);
    }
    let Some((header, code)) = bytes.split_at_checked(HEADER) else { return Ok(None) };
    let (magic, sum) = header.split_at(MAGIC.len());
    if magic != MAGIC || sum != crc32fast::hash(code).to_le_bytes() {
        return Ok(None);
    }
    // SAFETY: `code` is the output of `Component::serialize` for this engine's settings: the file has the magic bytes and
    // the checksum that `store` writes, its name holds the digest of the component and of the settings, and only the
    // user can write to it and to the directory, which has been checked.
    Ok(unsafe { Component::deserialize(engine, code) }.ok())
}

/// Writes to a temporary file and renames it, so that no process reads half of it.
fn store(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    edgellm_files::create_folder(folder).map_err(std::io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32fast::hash(code).to_le_bytes())?;
    file.write_all(code)?;
    file.persist(path)?;
    Ok(())
}
