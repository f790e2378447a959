//! The two kinds of checksums that model sources provide.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};

/// The checksum of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// SHA-256 in lower-case hexadecimal.
    Sha256(String),
    /// Git's object name of a blob: SHA-1 of "blob <length>\0" and the bytes. The hub provides nothing better for small
    /// files.
    GitBlob(String),
}

impl Checksum {
    /// Whether it has as many digits as its kind.
    pub(crate) fn is_complete(&self) -> bool {
        let (hex, digits) = match self {
            Checksum::Sha256(hex) => (hex, 64),
            Checksum::GitBlob(hex) => (hex, 40),
        };
        hex.len() == digits && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(hex) => write!(f, "sha256 {hex}"),
            Checksum::GitBlob(hex) => write!(f, "git blob {hex}"),
        }
    }
}

/// Computes a checksum.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    /// A hasher for a file of `length` bytes, of the same kind as `expected`.
    pub(crate) fn like(expected: &Checksum, length: u64) -> Self {
        match expected {
            Checksum::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Checksum::GitBlob(_) => Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {length}\0"))),
        }
    }

    /// Takes the next bytes of the file.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    /// The checksum of all bytes.
    pub(crate) fn finish(self) -> Checksum {
        match self {
            Hasher::Sha256(hasher) => Checksum::Sha256(hex(&hasher.finalize())),
            Hasher::GitBlob(hasher) => Checksum::GitBlob(hex(&hasher.finalize())),
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Feeds `file`, from its position on, to `hasher` and returns the number of bytes.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn hash(mut file: &File, hasher: &mut Hasher) -> io::Result<u64> {
    let (mut buffer, mut length) = (vec![0; 1 << 18], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(length);
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

/// Length and SHA-256, in hexadecimal, of `file`.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn sha256(file: &File) -> io::Result<(u64, String)> {
    let mut hasher = Hasher::Sha256(Sha256::new());
    let length = hash(file, &mut hasher)?;
    let (Checksum::Sha256(hex) | Checksum::GitBlob(hex)) = hasher.finish();
    Ok((length, hex))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // `printf abc | sha256sum` and `printf abc | git hash-object --stdin`
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for expected in [
            Checksum::Sha256(sha256.into()),
            Checksum::GitBlob("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f".into()),
        ] {
            let mut hasher = Hasher::like(&expected, 3);
            hasher.update(b"ab");
            hasher.update(b"c");
            assert_eq!(hasher.finish(), expected);
            assert!(expected.is_complete());
        }
    }
}
