//! A password in clear.
//!
//! Not here: whether the connection is encrypted; the caller decides whether to ask at all.

use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::ProtocolError;
use crate::frontend::Password;

/// Reads the body of a PasswordMessage that answers a request for a password in clear.
///
/// # Errors
/// The password is empty, or the body is not one string.
pub fn read(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
    let text = Password::read(body)?.text;
    if text.is_empty() {
        return Err(ProtocolError::EmptyPassword);
    }
    Ok(Zeroizing::new(text.to_vec()))
}

/// Compares a given password with the stored one. Only their lengths show in the time it takes.
#[must_use]
pub fn verify(stored: &[u8], given: &[u8]) -> bool {
    stored.ct_eq(given).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_string_and_not_empty() {
        assert_eq!(read(b"secret\0").unwrap().as_slice(), b"secret");
        assert_eq!(read(b"\0"), Err(ProtocolError::EmptyPassword));
        assert_eq!(read(b"secret"), Err(ProtocolError::MissingTerminator));
        assert_eq!(read(b"se\0cret\0"), Err(ProtocolError::TrailingBytes));
        assert_eq!(read(b""), Err(ProtocolError::MissingTerminator));
    }

    #[test]
    fn only_the_same_bytes_verify() {
        assert!(verify(b"secret", b"secret"));
        for wrong in [&b""[..], b"secreT", b"secre", b"secrets"] {
            assert!(!verify(b"secret", wrong));
        }
    }
}
