//! Texts that never show themselves: passwords, and URLs that hold one.
//!
//! Invariant: `Debug` and `Display` show no password, the text is wiped when dropped, and the only
//! way to it is `reveal`, which is easy to search for.
//! Left out: what a URL means; the adapters read it.

use std::fmt;

use zeroize::Zeroizing;

/// A password, or a text that holds one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<String>);

/// The URL of a database, without the pool's options.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Url(Secret);

/// What is shown instead.
const HIDDEN: &str = "***";

/// Options of a URL that hold secrets.
const SECRET_OPTIONS: [&str; 6] =
    ["password", "pass", "sslpassword", "token", "auth", "sentinel_password"];

impl Secret {
    /// Returns the text itself, for those who must use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Url {
    /// Returns the URL itself, password included, for the driver.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reveal().is_empty()
    }

    /// Returns the URL with everything hidden that may be secret.
    #[must_use]
    pub fn redacted(&self) -> String {
        let text = self.reveal();
        let Some((scheme, rest)) = text.split_once("://") else {
            return redact_options(text);
        };
        // A password with an `@`, a `/` or a `?` of its own is wrong, and still a password: all
        // up to the last `@` may belong to it.
        let Some((user, rest)) = rest.rsplit_once('@') else {
            return redact_options(text);
        };
        let user = user.split([':', '/', '?', '#']).next().unwrap_or_default();
        format!("{scheme}://{user}:{HIDDEN}@{}", redact_options(rest))
    }
}

fn redact_options(text: &str) -> String {
    let Some((before, options)) = text.split_once('?') else { return text.to_owned() };
    let options = options.split('&').map(|option| match option.split_once('=') {
        Some((name, _)) if SECRET_OPTIONS.contains(&name.to_ascii_lowercase().as_str()) => {
            format!("{name}={HIDDEN}")
        }
        _ => option.to_owned(),
    });
    format!("{before}?{}", options.collect::<Vec<_>>().join("&"))
}

impl From<String> for Url {
    fn from(text: String) -> Self {
        Self(Secret::from(text))
    }
}

impl From<&str> for Url {
    fn from(text: &str) -> Self {
        Self(Secret::from(text))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_everything_but_what_may_be_secret() {
        for (url, shown) in [
            ("postgres://app:canary@db:5432/main", "postgres://app:***@db:5432/main"),
            ("postgres://app:can@ary@db/main?a=b", "postgres://app:***@db/main?a=b"),
            ("postgres://app:can/ca?nary#x@db/main", "postgres://app:***@db/main"),
            ("redis://:canary@cache", "redis://:***@cache"),
            ("redis://cache:6379/0", "redis://cache:6379/0"),
            ("redis+unix:///run/r.sock?pass=canary&db=1", "redis+unix:///run/r.sock?pass=***&db=1"),
            ("postgres:///main?user=a&PASSWORD=canary", "postgres:///main?user=a&PASSWORD=***"),
            ("sqlite::memory:", "sqlite::memory:"),
        ] {
            let url = Url::from(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        assert_eq!(format!("{0:?} {0}", Secret::from("canary")), "*** ***");
    }
}
