//! What is measured: a kind of server and how to get there.
//!
//! Invariant: what is shown of a target has no password in it.
//! Left out: connecting (`lean`, `drive`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A kind of server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// PostgreSQL, or a pooler in front of it.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    /// Redis or Valkey.
    Redis,
    /// SQLite, in this process.
    Sqlite,
    /// An HTTP server.
    Http,
}

/// A server to measure.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    kind: Kind,
    url: String,
}

impl Target {
    /// Reads a URL; its scheme says what kind of server it is.
    ///
    /// # Errors
    /// An unknown scheme.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let kind = match scheme {
            "postgres" | "postgresql" => Kind::Postgres,
            "mysql" | "mariadb" => Kind::MySql,
            "redis" | "rediss" | "valkey" | "valkeys" => Kind::Redis,
            "sqlite" | "file" => Kind::Sqlite,
            "http" | "https" => Kind::Http,
            _ => {
                let expected = "expected postgres://, mysql://, redis://, sqlite: or http://";
                return Err(Error::usage(format!("url {}", redact(url)), expected));
            }
        };
        Ok(Self { kind, url: url.to_owned() })
    }

    /// Returns the kind of server.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the URL with everything in it, to connect with and not to be shown.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.url))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {self}", self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Redis => "Redis",
            Self::Sqlite => "SQLite",
            Self::Http => "HTTP",
        })
    }
}

/// Replaces the password of a URL by `***`, in the authority and among its options.
#[must_use]
pub fn redact(url: &str) -> String {
    let (head, options) = match url.split_once('?') {
        Some((head, options)) => (head, Some(options)),
        None => (url, None),
    };
    let mut out = match head.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let shown = match authority.rsplit_once('@') {
                Some((login, host)) => {
                    let user = login.split(':').next().unwrap_or_default();
                    let password = if login.contains(':') { ":***" } else { "" };
                    format!("{user}{password}@{host}")
                }
                None => authority.to_owned(),
            };
            format!("{scheme}://{shown}{path}")
        }
        None => head.to_owned(),
    };
    for (index, option) in options.into_iter().flat_map(|all| all.split('&')).enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        let secret =
            |name: &str| ["pass", "secret", "token", "key"].iter().any(|s| name.contains(s));
        match option.split_once('=') {
            Some((name, _)) if secret(&name.to_lowercase()) => {
                out.push_str(name);
                out.push_str("=***");
            }
            _ => out.push_str(option),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://app:s3cret@db:5432/shop", "postgres://app:***@db:5432/shop"),
            ("postgres://app:p%40ss@w0rd@db/shop", "postgres://app:***@db/shop"),
            ("redis://:s3cret@cache", "redis://:***@cache"),
            ("mysql://app@db/shop?password=s3cret&a=b", "mysql://app@db/shop?password=***&a=b"),
            ("http://api/x?access_token=s3cret", "http://api/x?access_token=***"),
            ("sqlite:bench.db?mode=rwc", "sqlite:bench.db?mode=rwc"),
            ("postgres://db/shop", "postgres://db/shop"),
        ] {
            let target = Target::parse(url).expect(url);
            assert_eq!(target.to_string(), shown);
            assert!(!format!("{target:?}").contains("s3cret"));
        }
    }

    #[test]
    fn the_scheme_says_what_it_is_and_an_unknown_one_is_refused() {
        assert_eq!(Target::parse("mariadb://db/x").map(|t| t.kind()).ok(), Some(Kind::MySql));
        let error = Target::parse("ftp://u:s3cret@db").expect_err("no database").to_string();
        assert!(error.contains("postgres://") && !error.contains("s3cret"), "{error}");
    }
}
