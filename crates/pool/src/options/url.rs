//! Options of the pool in the URL of a database, in the spelling of several families.
//!
//! Invariant: what is ours is taken out of the URL, in whatever spelling; what is not is left to
//! the driver; an option that begins with `pool_` and means nothing is an error.
//! Left out: everything else in the URL.

use headpond_core::breaker;

use super::duration::Bare;
use super::keys::{Key, Parts, PartsMut, PoolKeys, Pooled};
use super::nearest::nearest;
use crate::settings::{Settings, default_min};

/// An option of a URL.
pub struct UrlOption {
    /// Its name.
    pub name: &'static str,
    /// The key it leads to; none if it is accepted and changes nothing.
    pub key: Option<&'static str>,
    /// Who writes it so.
    pub family: &'static str,
    /// What a bare number counts.
    pub bare: Bare,
}

const fn row(
    name: &'static str,
    key: Option<&'static str>,
    family: &'static str,
    bare: Bare,
) -> UrlOption {
    UrlOption { name, key, family, bare }
}

/// The spellings of others. Besides, every key of a pool may be written `pool_KEY`, with dots as
/// underlines.
pub static OPTIONS: &[UrlOption] = &[
    row("pool_max_conns", Some("pool.max"), "pgxpool", Bare::Refused),
    row("pool_min_conns", Some("pool.min"), "pgxpool", Bare::Refused),
    row("pool_min_idle_conns", Some("pool.min"), "pgxpool", Bare::Refused),
    row("pool_max_conn_lifetime", Some("pool.lifetime"), "pgxpool", Bare::Seconds),
    row("pool_max_conn_lifetime_jitter", Some("pool.lifetime_jitter"), "pgxpool", Bare::Seconds),
    row("pool_max_conn_idle_time", Some("pool.idle_timeout"), "pgxpool", Bare::Seconds),
    row("pool_health_check_period", Some("pool.keep_alive"), "pgxpool", Bare::Seconds),
    row("pool_ping_timeout", Some("pool.check_timeout"), "pgxpool", Bare::Seconds),
    row("pool_acquire_timeout", Some("pool.acquire_timeout"), "Headpond", Bare::Seconds),
    row("pool_connect_timeout", Some("pool.connect_timeout"), "Headpond", Bare::Seconds),
    row("connection_limit", Some("pool.max"), "Prisma", Bare::Refused),
    row("pool_timeout", Some("pool.acquire_timeout"), "Prisma", Bare::Seconds),
    row("pgbouncer", Some("statement_cache"), "Prisma", Bare::Refused),
    row("pool", Some("pool.max"), "Rails", Bare::Refused),
    row("checkout_timeout", Some("pool.acquire_timeout"), "Rails", Bare::Seconds),
    row("idle_timeout", Some("pool.idle_timeout"), "Rails", Bare::Seconds),
    row("reaping_frequency", None, "Rails", Bare::Seconds),
    row("pool_max", Some("pool.max"), "mysql_async", Bare::Refused),
    row("pool_min", Some("pool.min"), "mysql_async", Bare::Refused),
    row("inactive_connection_ttl", Some("pool.idle_timeout"), "mysql_async", Bare::Seconds),
    row("ttl_check_interval", None, "mysql_async", Bare::Seconds),
    row("reset_connection", None, "mysql_async", Bare::Refused),
    row("conn_ttl", Some("pool.idle_timeout"), "mysql_async", Bare::Seconds),
    row("abs_conn_ttl", Some("pool.lifetime"), "mysql_async", Bare::Seconds),
    row("abs_conn_ttl_jitter", Some("pool.lifetime_jitter"), "mysql_async", Bare::Seconds),
];

/// Returns the key of a pool that is written `pool_…`.
pub(crate) fn own_key(name: &str) -> Option<&'static str> {
    let own = name.strip_prefix("pool_")?;
    let keys = PoolKeys::<Draft>::ALL.iter().map(|key| key.name);
    keys.into_iter()
        .find(|key| key.strip_prefix("pool.").is_some_and(|key| key.replace('.', "_") == own))
}

/// Returns what is known of a name: how it is called, the key it leads to, and what a bare number
/// counts.
pub(crate) fn option(name: &str) -> Option<(&'static str, Option<&'static str>, Bare)> {
    match OPTIONS.iter().find(|option| option.name == name) {
        Some(option) => Some((option.name, option.key, option.bare)),
        None => own_key(name).map(|key| (key, Some(key), Bare::Refused)),
    }
}

/// Returns the option that a name which means nothing was probably to be.
pub(crate) fn meant(name: &str) -> Option<String> {
    let keys = PoolKeys::<Draft>::ALL.iter().filter_map(|key| key.name.strip_prefix("pool."));
    let keys: Vec<String> = keys.map(|key| format!("pool_{}", key.replace('.', "_"))).collect();
    let known = OPTIONS.iter().map(|option| option.name).chain(keys.iter().map(String::as_str));
    nearest(name, known).map(str::to_owned)
}

/// Settings as they are being said.
#[derive(Default)]
struct Draft {
    pool: Settings,
    breaker: breaker::Settings,
    breaks: bool,
    jitter: Option<std::time::Duration>,
}

impl Pooled for Draft {
    fn parts(&self) -> Parts<'_> {
        Parts { pool: &self.pool, breaker: &self.breaker, breaks: self.breaks }
    }

    fn parts_mut(&mut self) -> PartsMut<'_> {
        let Self { pool, breaker, breaks, jitter } = self;
        PartsMut { pool, breaker, breaks, jitter }
    }
}

/// Returns every key of a pool with its value in words.
#[cfg(feature = "monitor")]
pub(crate) fn shown(settings: &Settings) -> Vec<(&'static str, String)> {
    let (pool, breaks) = (settings.clone(), settings.breaker.is_some());
    let breaker = settings.breaker.unwrap_or_default();
    let draft = Draft { pool, breaker, breaks, jitter: None };
    PoolKeys::<Draft>::ALL.iter().map(|key| (key.name, (key.show)(&draft))).collect()
}

/// What a URL says about the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolOptions {
    /// Keys and texts that were read once already.
    said: Vec<(&'static str, String, Bare)>,
}

/// A pool option in a URL that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no such option.
    #[error("unknown pool option {key} in the url{}", did_you_mean(.nearest.as_deref()))]
    Unknown {
        /// What the URL says.
        key: String,
        /// What it may have meant.
        nearest: Option<String>,
    },
    /// The value is not what the option takes.
    #[error("pool option {key} in the url takes {expected}, not {value:?}")]
    Value {
        /// The option.
        key: String,
        /// What the URL says.
        value: String,
        /// What is possible.
        expected: &'static str,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(", did you mean {nearest}?"))
}

fn find(key: &str) -> Option<&'static Key<Draft>> {
    PoolKeys::ALL.iter().find(|row| row.name == key)
}

impl PoolOptions {
    /// Takes an option of a URL if it is about the pool; returns whether it was.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, KeyError> {
        let Some((_, key, bare)) = option(name) else {
            if name.starts_with("pool_") {
                return Err(KeyError::Unknown { key: name.to_owned(), nearest: meant(name) });
            }
            return Ok(false);
        };
        // Accepted for those who switch: the pool needs no telling.
        let Some(key) = key else { return Ok(true) };
        let Some(row) = find(key) else { return Ok(false) };
        if (row.set)(&mut Draft::default(), value, bare).is_err() {
            let (key, value, expected) = (name.to_owned(), value.to_owned(), row.takes);
            return Err(KeyError::Value { key, value, expected });
        }
        self.said.push((key, value.to_owned(), bare));
        Ok(true)
    }

    /// Returns whether something was said about a key.
    pub(crate) fn says(&self, key: &str) -> bool {
        self.said.iter().any(|(said, ..)| *said == key)
    }

    /// Returns settings with what was said; what follows from it follows.
    pub(crate) fn apply(&self, settings: Settings) -> Settings {
        let breaks = settings.breaker.is_some();
        let breaker = settings.breaker.unwrap_or_default();
        let mut draft = Draft { pool: settings, breaker, breaks, jitter: None };
        for (key, text, bare) in &self.said {
            let row = find(key).expect("found when it was taken");
            (row.set)(&mut draft, text, *bare).expect("read when it was taken");
        }
        draft.parts_mut().settle();
        if self.says("pool.max") && !self.says("pool.min") {
            draft.pool.min = default_min(draft.pool.max);
        }
        draft.pool
    }
}

/// Splits `a=1&b=2` and decodes `%xx` and `+`.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

/// Decodes `%xx`; what is no code stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'%').then(|| tail.get(..2)).flatten();
        let code = code.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_option_leads_to_a_key_that_exists() {
        for option in OPTIONS {
            let exists = |key| find(key).is_some() || key == "statement_cache";
            assert!(option.key.is_none_or(exists), "{}", option.name);
        }
    }

    #[test]
    fn an_option_of_any_family_and_every_key_is_taken() {
        let mut said = PoolOptions::default();
        for (name, value) in [
            ("connection_limit", "7"),
            ("pool_max_conn_lifetime", "1h"),
            ("pool_max_conn_lifetime_jitter", "6m"),
            ("pool_acquire_timeout", "5"),
            ("pool_queue_max", "3"),
            ("pool_breaker_enabled", "true"),
            ("ttl_check_interval", "whatever"),
        ] {
            assert_eq!(said.take(name, value), Ok(true), "{name}");
        }
        assert_eq!(said.take("charset", "utf8"), Ok(false));
        let settings = said.apply(Settings::default());
        assert_eq!((settings.max, settings.min), (7, default_min(7)));
        assert_eq!(settings.lifetime_jitter, 100);
        assert_eq!(settings.acquire_timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.queue_max, Some(3));
        assert!(settings.breaker.is_some());
    }

    #[test]
    fn what_is_no_option_and_what_is_no_value_is_said() {
        let mut said = PoolOptions::default();
        let nearest = Some("pool_max_conns".to_owned());
        let unknown = KeyError::Unknown { key: "pool_max_con".into(), nearest };
        assert_eq!(said.take("pool_max_con", "3"), Err(unknown));
        let error = said.take("pool_max", "many").unwrap_err().to_string();
        assert_eq!(error, "pool option pool_max in the url takes a whole number, not \"many\"");
        assert_eq!(said, PoolOptions::default());
    }

    #[test]
    fn codes_are_decoded_and_what_is_none_stays() {
        assert_eq!(decode("p%40ss%2"), "p@ss%2");
        assert_eq!(decode("10%25"), "10%");
        assert_eq!(decode("%zz"), "%zz");
    }
}
