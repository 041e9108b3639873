//! Preparing a password for SCRAM: different spellings of the same characters become one.
//!
//! Invariant: never fails. What cannot be prepared is used as it is, as PostgreSQL does on both
//! sides, so that a password in any encoding still works.

use alloc::vec::Vec;

use zeroize::Zeroizing;

/// Returns the password as SCRAM hashes it.
#[must_use]
pub fn saslprep(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = core::str::from_utf8(password)
        .ok()
        .filter(|text| !text.is_ascii())
        .and_then(|text| stringprep::saslprep(text).ok())
        .filter(|text| !text.is_empty())
        .map(|text| text.into_owned().into_bytes());
    Zeroizing::new(prepared.unwrap_or_else(|| password.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, expected: &str) {
        assert_eq!(saslprep(password.as_bytes()).as_slice(), expected.as_bytes());
    }

    #[test]
    fn the_examples_of_rfc_4013_are_prepared() {
        check("I\u{ad}X", "IX");
        check("user", "user");
        check("USER", "USER");
        check("\u{aa}", "a");
        check("\u{2168}", "IX");
    }

    #[test]
    fn what_cannot_be_prepared_is_used_as_it_is() {
        check("\u{7}", "\u{7}");
        check("\u{627}1", "\u{627}1");
        check("\u{ad}", "\u{ad}");
        check("😀", "😀");
        check("", "");
        assert_eq!(saslprep(b"\xff\xfe").as_slice(), b"\xff\xfe");
    }

    #[test]
    fn preparing_twice_changes_nothing() {
        for password in ["I\u{ad}X", "\u{2168}", "a\u{a0}b", "ü", "u\u{308}"] {
            let once = saslprep(password.as_bytes());
            assert_eq!(saslprep(&once), once);
        }
    }
}
