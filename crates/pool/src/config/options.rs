//! Options of the pool in the URL of a database, in the spelling of several families.
//!
//! Invariant: what is ours is taken out of the URL, in whatever spelling; what is not is left to
//! the driver; an option that begins with `pool_` and means nothing is an error.

use super::duration::Bare;
use super::error::{Invalid, Problem};
use super::kind::Kind;
use super::nearest::nearest;

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

const fn option(
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
    option("pool_max_conns", Some("pool.max"), "pgxpool", Bare::Refused),
    option("pool_min_conns", Some("pool.min"), "pgxpool", Bare::Refused),
    option("pool_min_idle_conns", Some("pool.min"), "pgxpool", Bare::Refused),
    option("pool_max_conn_lifetime", Some("pool.lifetime"), "pgxpool", Bare::Seconds),
    option("pool_max_conn_lifetime_jitter", Some("pool.lifetime_jitter"), "pgxpool", Bare::Seconds),
    option("pool_max_conn_idle_time", Some("pool.idle_timeout"), "pgxpool", Bare::Seconds),
    option("pool_health_check_period", Some("pool.keep_alive"), "pgxpool", Bare::Seconds),
    option("pool_ping_timeout", Some("pool.check_timeout"), "pgxpool", Bare::Seconds),
    option("connection_limit", Some("pool.max"), "Prisma", Bare::Refused),
    option("pool_timeout", Some("pool.acquire_timeout"), "Prisma", Bare::Seconds),
    option("pgbouncer", Some("statement_cache"), "Prisma", Bare::Refused),
    option("pool", Some("pool.max"), "Rails", Bare::Refused),
    option("checkout_timeout", Some("pool.acquire_timeout"), "Rails", Bare::Seconds),
    option("idle_timeout", Some("pool.idle_timeout"), "Rails", Bare::Seconds),
    option("reaping_frequency", None, "Rails", Bare::Seconds),
    option("pool_max", Some("pool.max"), "mysql_async", Bare::Refused),
    option("pool_min", Some("pool.min"), "mysql_async", Bare::Refused),
    option("inactive_connection_ttl", Some("pool.idle_timeout"), "mysql_async", Bare::Seconds),
    option("ttl_check_interval", None, "mysql_async", Bare::Seconds),
    option("conn_ttl", Some("pool.idle_timeout"), "mysql_async", Bare::Seconds),
    option("abs_conn_ttl", Some("pool.lifetime"), "mysql_async", Bare::Seconds),
    option("abs_conn_ttl_jitter", Some("pool.lifetime_jitter"), "mysql_async", Bare::Seconds),
];

/// A URL taken apart.
#[derive(Debug)]
pub(super) struct Split {
    postgres: bool,
    /// The URL without our options.
    pub(super) url: String,
    /// Ours: name, key, text, and what a bare number counts.
    pub(super) found: Vec<(&'static str, &'static str, String, Bare)>,
    /// Those accepted without effect.
    pub(super) idle: Vec<&'static str>,
    /// What is wrong, with the nearest valid name.
    pub(super) problems: Vec<(Problem, Option<String>)>,
}

/// Takes the pool's options out of a URL.
pub(super) fn split(url: &str) -> Split {
    let (found, idle, problems) = (Vec::new(), Vec::new(), Vec::new());
    let postgres = Kind::of_url(url) == Some(Kind::Postgres);
    let mut split = Split { postgres, url: url.to_owned(), found, idle, problems };
    let Some((before, options)) = url.split_once('?') else { return split };
    if options.contains('@') && url.contains("://") && !before.contains('@') {
        let problem = Problem::Value { key: "url", invalid: Invalid::AtInOptions };
        split.problems.push((problem, None));
        return split;
    }
    let (options, fragment) = match options.split_once('#') {
        Some((options, fragment)) => (options, Some(fragment)),
        None => (options, None),
    };
    let others: Vec<&str> = options.split('&').filter(|option| !split.take(option)).collect();
    let mut rest = before.to_owned();
    if others.iter().any(|other| !other.is_empty()) {
        rest = format!("{rest}?{}", others.join("&"));
    }
    if let Some(fragment) = fragment {
        rest = format!("{rest}#{fragment}");
    }
    split.url = rest;
    split
}

impl Split {
    /// Takes an option if it is ours.
    fn take(&mut self, text: &str) -> bool {
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        if let Some(option) = OPTIONS.iter().find(|option| option.name == name) {
            match option.key {
                None => self.idle.push(option.name),
                Some("statement_cache") => {
                    self.pgbouncer(value);
                    // The adapter of PostgreSQL wants to know what it talks to.
                    return !self.postgres;
                }
                Some(key) => self.found.push((option.name, key, decoded(value), option.bare)),
            }
            return true;
        }
        let Some(own) = name.strip_prefix("pool_") else { return false };
        match own_key(own) {
            Some(key) => self.found.push((key, key, decoded(value), Bare::Refused)),
            None => {
                let keys = super::table::DATABASE.iter();
                let keys = keys.filter_map(|key| key.name.strip_prefix("pool."));
                let keys: Vec<String> =
                    keys.map(|key| format!("pool_{}", key.replace('.', "_"))).collect();
                let known = OPTIONS.iter().map(|option| option.name);
                let known = known.chain(keys.iter().map(String::as_str));
                let meant = nearest(name, known).map(str::to_owned);
                let problem = Problem::Unknown { name: super::error::shown(name) };
                self.problems.push((problem, meant));
            }
        }
        true
    }

    /// Prisma's word for a pooler that keeps no prepared statements.
    fn pgbouncer(&mut self, value: &str) {
        match super::table::flag(value) {
            Ok(true) => {
                let none = "0".to_owned();
                self.found.push(("pgbouncer", "statement_cache", none, Bare::Refused));
            }
            Ok(false) => {}
            Err(invalid) => {
                self.problems.push((Problem::Value { key: "pgbouncer", invalid }, None));
            }
        }
    }
}

/// Returns the key that is written `pool_…`.
fn own_key(own: &str) -> Option<&'static str> {
    let names = super::table::DATABASE.iter().map(|key| key.name);
    names
        .into_iter()
        .find(|name| name.strip_prefix("pool.").is_some_and(|key| key.replace('.', "_") == own))
}

/// Decodes what is percent-encoded; nonsense stays as it is and is refused by the key.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, after @ ..]) = (byte, tail)
            && let Some(value) = hexadecimal(*high, *low)
        {
            bytes.push(value);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_taken_out_and_the_drivers_stay() {
        let url = "postgres://a:b@h/d?sslmode=require&connection_limit=25&pool_timeout=10&x=%20";
        let split = split(url);
        assert_eq!(split.url, "postgres://a:b@h/d?sslmode=require&x=%20");
        let found: Vec<_> = split.found.iter().map(|(n, k, t, _)| (*n, *k, t.as_str())).collect();
        let expected = [
            ("connection_limit", "pool.max", "25"),
            ("pool_timeout", "pool.acquire_timeout", "10"),
        ];
        assert_eq!(found, expected);
        assert_eq!(super::split("redis://h/#insecure").url, "redis://h/#insecure");
        assert_eq!(super::split("rediss://h/?pool=3#insecure").url, "rediss://h/#insecure");
    }

    #[test]
    fn every_option_leads_to_a_key_that_exists() {
        for option in OPTIONS {
            let exists = |key| super::super::table::DATABASE.iter().any(|row| row.name == key);
            assert!(option.key.is_none_or(exists), "{}", option.name);
        }
    }

    #[test]
    fn an_unknown_pool_option_is_an_error_with_the_nearest_name() {
        for (option, meant) in [
            ("pool_max_con", Some("pool_max_conns")),
            ("pool_aquire_timeout", Some("pool_acquire_timeout")),
            ("pool_banana", None),
        ] {
            let split = split(&format!("mysql://h/d?{option}=1"));
            let (problem, nearest) = &split.problems[0];
            assert_eq!(*problem, Problem::Unknown { name: Some(option.to_owned()) });
            assert_eq!(nearest.as_deref(), meant, "{option}");
        }
    }

    #[test]
    fn a_password_that_looks_like_options_is_not_told() {
        let split = split("postgres://app:x?pool_canary=1@host/db");
        assert!(!format!("{:?}", split.problems).contains("canary"));
        assert_eq!(split.problems.len(), 1);
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(decoded("10%25"), "10%");
        assert_eq!(decoded("a%2"), "a%2");
        assert_eq!(decoded("%zz"), "%zz");
    }
}
