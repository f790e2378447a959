//! FNV-1a: reports identify answers and logits by their hashes.

use edgellm::TokenId;

/// A hasher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Hashes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Hashes logits, as little-endian floats.
    pub fn logits(&mut self, logits: &[f32]) {
        for logit in logits {
            self.bytes(&logit.to_le_bytes());
        }
    }

    /// In hexadecimal.
    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The hash of an answer.
pub fn answer_hash(tokens: &[TokenId]) -> String {
    let mut hash = Hash::default();
    for token in tokens {
        hash.bytes(&token.to_le_bytes());
    }
    hash.hex()
}
