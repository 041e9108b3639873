//! Why a value is not accepted.
//!
//! Invariant: it never shows the value, which may be a secret.

/// The schemes, for people.
const SCHEMES: &str = "postgresql:, mysql:, mariadb:, redis:, rediss:, valkey:, \
                                  sqlite:, file:, http:, https:";

/// Why a value is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Not a number.
    #[error("expected a whole number such as 20")]
    Number,
    /// Not a time.
    #[error("expected a time such as 500ms, 30s or 1h30m")]
    Time,
    /// A time of unknown unit.
    #[error("a time needs a unit: write 30s or 30000ms")]
    NoUnit,
    /// A number or time beyond all measure.
    #[error("too large")]
    TooLarge,
    /// Not a truth value.
    #[error("expected true or false")]
    Flag,
    /// Not a share.
    #[error("expected a share such as 10%, or a time")]
    Share,
    /// Not one of the words.
    #[error("expected one of {0}")]
    Word(&'static str),
    /// Not the URL of a database.
    #[error("expected a url that begins with one of {}", SCHEMES)]
    Scheme,
    /// Not a URL: a part of it stands where it cannot.
    #[error("an @ after the options: is a special character of the password not percent-encoded?")]
    AtInOptions,
    /// A value that is text but may not be.
    #[error("expected text")]
    Text,
}
