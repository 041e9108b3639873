//! Takes the options of the pool out of the URL of a database, and notes everything that is wrong.
//!
//! Invariant: what is ours is taken out, in whatever spelling; what is not is left to the driver.
//! Left out: which options there are (`crate::options`).

use super::error::Problem;
use super::kind::Kind;
use crate::options::{Bare, Invalid, decode, flag, meant, option};

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
        match option(name) {
            Some((name, None, _)) => self.idle.push(name),
            Some((_, Some("statement_cache"), _)) => {
                self.pgbouncer(value);
                // The adapter of PostgreSQL wants to know what it talks to.
                return !self.postgres;
            }
            Some((name, Some(key), bare)) => self.found.push((name, key, decode(value), bare)),
            None if name.starts_with("pool_") => {
                let problem = Problem::Unknown { name: super::error::shown(name) };
                self.problems.push((problem, meant(name)));
            }
            None => return false,
        }
        true
    }

    /// Prisma's word for a pooler that keeps no prepared statements.
    fn pgbouncer(&mut self, value: &str) {
        match flag(value) {
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
}
