//! Model files from preopened directories or from pieces, read into memory once.

use crate::Error;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};

/// Longest model file: 4 GiB minus memory for the tokenizer, caches and buffers.
const MAX_BYTES: u64 = (4 << 30) - (256 << 20);
/// Bytes per read; they are in memory twice.
const PIECE: u64 = 1 << 20;
/// Extension of a model file.
const SUFFIX: &str = ".tmac2.bin";

/// A buffer for a model file of known length, filled from start to end.
#[derive(Debug)]
pub struct ModelBytes {
    bytes: Vec<u8>,
    length: usize,
}

impl ModelBytes {
    /// Allocates `length` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or [`Error::Memory`] if the host's limit forbids it.
    pub fn reserve(length: u64) -> Result<Self, Error> {
        if length > MAX_BYTES {
            return Err(Error::TooLarge { bytes: length, limit: MAX_BYTES });
        }
        let mut bytes = Vec::new();
        let length = usize::try_from(length).map_err(|_| Error::Memory { bytes: length })?;
        bytes.try_reserve_exact(length).map_err(|_| Error::Memory { bytes: length as u64 })?;
        Ok(ModelBytes { bytes, length })
    }

    /// Appends the next piece.
    ///
    /// # Errors
    /// [`Error::Pieces`] if there is no room for it.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        if piece.len() > self.length - self.bytes.len() {
            let given = (self.bytes.len() + piece.len()) as u64;
            return Err(Error::Pieces { expected: self.length as u64, given });
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Fills the buffer from `read(offset, maximum length)`.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::Pieces`] if it returns nothing before the end.
    pub fn fill(&mut self, mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, Error>) -> Result<(), Error> {
        while self.bytes.len() < self.length {
            let left = (self.length - self.bytes.len()) as u64;
            let piece = read(self.bytes.len() as u64, left.min(PIECE))?;
            if piece.is_empty() {
                break;
            }
            self.push(&piece)?;
        }
        Ok(())
    }

    /// The complete file.
    ///
    /// # Errors
    /// [`Error::Pieces`] if some are missing.
    pub fn complete(self) -> Result<Vec<u8>, Error> {
        if self.bytes.len() < self.length {
            return Err(Error::Pieces { expected: self.length as u64, given: self.bytes.len() as u64 });
        }
        Ok(self.bytes)
    }
}

/// A preopened directory and its guest path.
struct Folder {
    descriptor: Descriptor,
    name: String,
}

fn folders() -> Vec<Folder> {
    get_directories().into_iter().map(|(descriptor, name)| Folder { descriptor, name }).collect()
}

impl Folder {
    /// `path` relative to this directory, if it lies in it.
    fn relative<'p>(&self, path: &'p str) -> Option<&'p str> {
        let name = plain(&self.name);
        let path = plain(path);
        if name.is_empty() {
            return Some(path);
        }
        path.strip_prefix(name)?.strip_prefix('/')
    }
}

/// Strips `./` and leading or trailing slashes.
fn plain(path: &str) -> &str {
    let path = path.trim_start_matches("./").trim_matches('/');
    if path == "." { "" } else { path }
}

/// Reads a file in one of the preopened directories.
///
/// # Errors
/// If it does not exist, cannot be read or does not fit.
pub fn open_file(path: &str) -> Result<Vec<u8>, Error> {
    let folders = folders();
    let failed = |code: ErrorCode| match code {
        ErrorCode::NoEntry | ErrorCode::NotDirectory | ErrorCode::NotPermitted | ErrorCode::Access => {
            let names: Vec<_> = folders.iter().map(|folder| format!("{:?}", folder.name)).collect();
            let folders = if names.is_empty() { "none".to_string() } else { names.join(", ") };
            Error::NotFound { path: path.to_string(), folders }
        }
        code => Error::Read { path: path.to_string(), reason: code.to_string() },
    };
    let found = folders.iter().find_map(|folder| Some((folder, folder.relative(path)?)));
    let (folder, relative) = found.ok_or_else(|| failed(ErrorCode::NoEntry))?;
    let file = folder
        .descriptor
        .open_at(PathFlags::SYMLINK_FOLLOW, relative, OpenFlags::empty(), DescriptorFlags::READ)
        .map_err(failed)?;
    let stat = file.stat().map_err(failed)?;
    if stat.type_ != DescriptorType::RegularFile {
        return Err(Error::Read { path: path.to_string(), reason: "it is not a regular file".to_string() });
    }
    let mut bytes = ModelBytes::reserve(stat.size)?;
    bytes.fill(|offset, length| Ok(file.read(length, offset).map_err(failed)?.0))?;
    bytes.complete()
}

/// Paths of the model files in the preopened directories, sorted.
pub fn find_models() -> Vec<String> {
    let mut paths = Vec::new();
    for Folder { descriptor, name } in folders() {
        let Ok(entries) = descriptor.read_directory() else { continue };
        while let Ok(Some(entry)) = entries.read_directory_entry() {
            if entry.name.ends_with(SUFFIX) {
                paths.push(format!("{}/{}", name.trim_end_matches('/'), entry.name));
            }
        }
    }
    paths.sort();
    paths
}

/// The name of the model file at `path` in requests: without directory and extension.
pub fn model_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(SUFFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_be_the_whole_file() {
        let mut bytes = ModelBytes::reserve(5).unwrap();
        bytes.push(b"abc").unwrap();
        assert!(matches!(bytes.push(b"def"), Err(Error::Pieces { expected: 5, given: 6 })));
        let short = ModelBytes { bytes: b"abc".to_vec(), length: 5 };
        assert!(matches!(short.complete(), Err(Error::Pieces { expected: 5, given: 3 })));
        bytes.push(b"de").unwrap();
        assert_eq!(bytes.complete().unwrap(), b"abcde");
    }

    #[test]
    fn filling_reads_to_the_end_and_no_further() {
        let file: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
        let mut bytes = ModelBytes::reserve(file.len() as u64).unwrap();
        let read = |offset, length| Ok(file[offset as usize..][..(length as usize).min(700_000)].to_vec());
        bytes.fill(read).unwrap();
        assert_eq!(bytes.complete().unwrap(), file);
        let mut bytes = ModelBytes::reserve(10).unwrap();
        bytes.fill(|_, _| Ok(Vec::new())).unwrap();
        assert!(matches!(bytes.complete(), Err(Error::Pieces { expected: 10, given: 0 })));
    }

    #[test]
    fn a_file_beyond_the_address_space_is_refused_by_name() {
        let error = ModelBytes::reserve(5 << 30).unwrap_err().to_string();
        assert!(
            error.contains("5368709120") && error.contains("wasm32") && error.contains("4 GiB"),
            "{error}"
        );
    }

    #[test]
    fn names_of_paths() {
        assert_eq!(plain("./models/"), "models");
        assert_eq!(plain("/models"), "models");
        assert_eq!(plain("."), "");
        assert_eq!(model_name("/models/chat.v2.tmac2.bin"), "chat.v2");
    }
}
