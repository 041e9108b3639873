//! BackendKeyData: the process and the secret that a cancel request must name.
//!
//! Invariant: a key has 4 bytes in protocol 3.0 and 4 to 256 since 3.2; no other length is read.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// The shortest key, and the only length in protocol 3.0.
pub const KEY_MIN: usize = 4;
/// The longest key of protocol 3.2.
pub const KEY_MAX: usize = 256;

/// The key for cancel requests. Without Debug of the key: it is a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// The process.
    pub pid: i32,
    /// The secret.
    pub key: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The key has fewer than 4 or more than 256 bytes.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let pid = cursor.i32()?;
        let key = cursor.rest();
        if !(KEY_MIN..=KEY_MAX).contains(&key.len()) {
            return Err(ProtocolError::BadLength);
        }
        Ok(Self { pid, key })
    }
}

impl core::fmt::Debug for BackendKeyData<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BackendKeyData").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Appends a BackendKeyData.
pub fn backend_key_data(out: &mut Vec<u8>, pid: i32, key: &[u8]) {
    encode::message(out, BackendTag::BackendKeyData.byte(), |out| {
        encode::i32(out, pid);
        out.extend_from_slice(key);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_4_to_256_bytes_are_read() {
        for len in [0, 1, 3, 4, 32, 256, 257, 1000] {
            let mut out = Vec::new();
            backend_key_data(&mut out, 7, &alloc::vec![9; len]);
            let found = BackendKeyData::read(&out[5..]);
            assert_eq!(found.is_ok(), (4..=256).contains(&len), "{len}");
        }
    }
}
