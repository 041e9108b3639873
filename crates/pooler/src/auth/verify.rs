//! Comparing what a client knows with what is stored.
//!
//! Invariant: comparisons take the same time wherever the first difference is; a stored secret of
//! another form than the method needs lets nobody in.
//! Not here: the SCRAM exchange (`headpond_wire::auth`), where secrets come from (`secrets.rs`).

use headpond_wire::auth::md5;

use super::secrets::Stored;
use crate::cancel::equal;

impl Stored {
    /// The 32 digits that the MD5 method is based on, for a secret that allows it.
    #[must_use]
    pub fn md5_digits(&self, user: &str) -> Option<[u8; 32]> {
        let digest = match self {
            Stored::Plain(password) => {
                md5::digest_password(user.as_bytes(), password.reveal().as_bytes())
            }
            Stored::Md5(digest) => digest.reveal().to_ascii_lowercase(),
            Stored::Scram(_) | Stored::Nothing => return None,
        };
        digest.strip_prefix("md5")?.as_bytes().try_into().ok()
    }

    /// Returns true if `password` is the one that this secret stands for. SCRAM secrets are
    /// never compared here, because that needs PBKDF2.
    #[must_use]
    pub fn is_password(&self, user: &str, password: &[u8]) -> bool {
        match self {
            Stored::Plain(stored) => equal(stored.reveal().as_bytes(), password),
            Stored::Md5(stored) => {
                let digest = md5::digest_password(user.as_bytes(), password);
                equal(stored.reveal().to_ascii_lowercase().as_bytes(), digest.as_bytes())
            }
            Stored::Scram(_) | Stored::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_fits_and_only_forms_that_can_be_compared() {
        let digest = md5::digest_password(b"joe", b"secret");
        for text in ["secret", digest.as_str()] {
            let stored = Stored::from_text(text);
            assert!(stored.is_password("joe", b"secret"));
            assert!(!stored.is_password("joe", b"Secret"));
            assert!(!stored.is_password("joe", b""));
            assert_eq!(stored.md5_digits("joe").map(|d| d.to_vec()), Some(digest[3..].into()));
        }
        assert!(!Stored::from_text("").is_password("joe", b""));
    }
}
