//! The old MD5 method: the stored digest of password and user, hashed again with a salt.
//!
//! Not here: a wish to keep it. It is spoken because stored secrets still have this form.

use alloc::string::String;
use alloc::vec::Vec;

use ::md5::{Digest, Md5};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

const PREFIX: &[u8; 3] = b"md5";

/// Returns the form in which a password is stored: `md5` and 32 hexadecimal digits.
#[must_use]
pub fn digest_password(user: &[u8], password: &[u8]) -> String {
    text(&hash(&[password, user]))
}

/// Returns the 32 digits of a stored secret; `None` if it has another form.
#[must_use]
pub fn digits(stored: &[u8]) -> Option<[u8; 32]> {
    let digits: [u8; 32] = stored.strip_prefix(PREFIX)?.try_into().ok()?;
    digits.iter().all(u8::is_ascii_hexdigit).then(|| digits.map(|digit| digit.to_ascii_lowercase()))
}

/// Returns the answer to a salt: `md5` and 32 hexadecimal digits.
#[must_use]
pub fn response(digest_hex: &[u8; 32], salt: [u8; 4]) -> String {
    text(&hash(&[digest_hex, &salt]))
}

/// Checks an answer. Without a digest, as for an unknown user, the same work is done and the
/// answer is always no.
#[must_use]
pub fn verify(digest_hex: Option<&[u8; 32]>, salt: [u8; 4], given: &[u8]) -> bool {
    let known = Choice::from(u8::from(digest_hex.is_some()));
    let expected = Zeroizing::new(response(digest_hex.unwrap_or(&[b'0'; 32]), salt));
    (known & expected.as_bytes().ct_eq(given)).into()
}

fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

fn text(hash: &[u8; 16]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let digits = hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let mut text = String::with_capacity(35);
    text.push_str("md5");
    text.extend(digits);
    text
}

/// Returns the answer of a client that has the stored form; `None` if it is not one.
#[must_use]
pub fn respond(stored: &[u8], salt: [u8; 4]) -> Option<Zeroizing<Vec<u8>>> {
    let digits = Zeroizing::new(digits(stored)?);
    Some(Zeroizing::new(response(&digits, salt).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_the_hash_of_password_and_user() {
        const STORED: &str = "md54a0a68b43b6cd5cf266fa02f196e2371";
        assert_eq!(digest_password(b"alice", b"secret"), STORED);
        assert_eq!(digits(STORED.as_bytes()).unwrap(), STORED.as_bytes()[3..]);
        for bad in ["", "md5", "md5zz", "plain", &STORED[1..], &STORED.replace("4a", "4g")] {
            assert_eq!(digits(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_answer_fits_its_salt_only() {
        let stored = digest_password(b"alice", b"secret");
        let digits = digits(stored.as_bytes()).unwrap();
        let answer = respond(stored.as_bytes(), [1, 2, 3, 4]).unwrap();
        assert!(verify(Some(&digits), [1, 2, 3, 4], &answer));
        assert!(!verify(Some(&digits), [1, 2, 3, 5], &answer));
        assert!(!verify(Some(&digits), [1, 2, 3, 4], &answer[..34]));
        assert!(!verify(Some(&digits), [1, 2, 3, 4], stored.as_bytes()));
    }

    #[test]
    fn an_unknown_user_never_verifies() {
        let answer = response(&[b'0'; 32], [1, 2, 3, 4]);
        assert!(!verify(None, [1, 2, 3, 4], answer.as_bytes()));
    }
}
