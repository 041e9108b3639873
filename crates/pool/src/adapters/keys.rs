//! Pool options in a URL: which keys there are, in whose spelling, and what they set.
//!
//! Invariant: what is a pool option never reaches a driver; a key that looks like one and is none
//! is an error that names the nearest.
//! Left out: everything else in the URL.

use std::time::Duration;

use crate::builder::Builder;
use crate::manager::Manager;

/// What the URL says about the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolKeys {
    max: Option<u32>,
    min: Option<u32>,
    acquire_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    lifetime: Option<Duration>,
    idle_timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    check_timeout: Option<Duration>,
}

/// A pool option in a URL that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no such option.
    #[error("unknown pool option {key} in the url, did you mean {nearest}")]
    Unknown {
        /// What the URL says.
        key: String,
        /// What it may have meant.
        nearest: &'static str,
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

/// What an option sets.
#[derive(Clone, Copy)]
enum Sets {
    Max,
    Min,
    Acquire,
    Connect,
    Lifetime,
    Idle,
    KeepAlive,
    Check,
    /// Accepted for those who switch: the pool needs no telling.
    Nothing,
}

/// pgxpool's spelling first, then ours, mysql_async's, Prisma's and Rails'.
const KEYS: &[(&str, Sets)] = &[
    ("pool_max_conns", Sets::Max),
    ("pool_min_conns", Sets::Min),
    ("pool_min_idle_conns", Sets::Min),
    ("pool_max_conn_lifetime", Sets::Lifetime),
    ("pool_max_conn_idle_time", Sets::Idle),
    ("pool_health_check_period", Sets::KeepAlive),
    ("pool_ping_timeout", Sets::Check),
    ("pool_acquire_timeout", Sets::Acquire),
    ("pool_connect_timeout", Sets::Connect),
    ("pool_max", Sets::Max),
    ("pool_min", Sets::Min),
    ("abs_conn_ttl", Sets::Lifetime),
    ("conn_ttl", Sets::Idle),
    ("inactive_connection_ttl", Sets::Idle),
    ("ttl_check_interval", Sets::Nothing),
    ("reset_connection", Sets::Nothing),
    ("connection_limit", Sets::Max),
    ("pool_timeout", Sets::Acquire),
    ("pool", Sets::Max),
];

impl PoolKeys {
    /// Takes a key of a URL if it is about the pool; returns whether it was.
    pub(crate) fn take(&mut self, key: &str, value: &str) -> Result<bool, KeyError> {
        let Some((_, sets)) = KEYS.iter().find(|(known, _)| *known == key) else {
            if key.starts_with("pool_") {
                return Err(KeyError::Unknown { key: key.to_owned(), nearest: nearest(key) });
            }
            return Ok(false);
        };
        let wrong = |expected| KeyError::Value { key: key.into(), value: value.into(), expected };
        let number = || value.parse().map_err(|_| wrong("a number"));
        let time = || duration(value).ok_or_else(|| wrong("a time such as 30s, 5m or 500ms"));
        match sets {
            Sets::Max => self.max = Some(number()?),
            Sets::Min => self.min = Some(number()?),
            Sets::Acquire => self.acquire_timeout = Some(time()?),
            Sets::Connect => self.connect_timeout = Some(time()?),
            Sets::Lifetime => self.lifetime = Some(time()?),
            Sets::Idle => self.idle_timeout = Some(time()?),
            Sets::KeepAlive => self.keep_alive = Some(time()?),
            Sets::Check => self.check_timeout = Some(time()?),
            Sets::Nothing => {}
        }
        Ok(true)
    }

    /// Applies what was said.
    pub(crate) fn apply<M: Manager>(&self, mut builder: Builder<M>) -> Builder<M> {
        let never = |time: Duration| (!time.is_zero()).then_some(time);
        if let Some(max) = self.max {
            builder = builder.max(max);
        }
        if let Some(min) = self.min {
            builder = builder.min(min);
        }
        if let Some(time) = self.acquire_timeout {
            builder = builder.acquire_timeout(never(time));
        }
        if let Some(time) = self.connect_timeout {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = self.lifetime {
            builder = builder.lifetime(never(time));
        }
        if let Some(time) = self.idle_timeout {
            builder = builder.idle_timeout(never(time));
        }
        if let Some(time) = self.keep_alive {
            builder = builder.keep_alive(never(time));
        }
        if let Some(time) = self.check_timeout {
            builder = builder.check_timeout(time);
        }
        builder
    }
}

/// Reads `1h30m`, `500ms`, or a number of seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let ms = number.parse::<u64>().ok()?.checked_mul(scale)?;
        total = total.checked_add(Duration::from_millis(ms))?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Returns the known key that takes the fewest changes.
fn nearest(key: &str) -> &'static str {
    let distance = |known: &(&'static str, Sets)| changes(key.as_bytes(), known.0.as_bytes());
    KEYS.iter().min_by_key(|known| distance(known)).map_or("pool_max_conns", |known| known.0)
}

/// Counts the letters to insert, remove or replace.
fn changes(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(a != b)).min(*above + 1).min(left + 1);
            diagonal = *above;
            *above = best;
            left = best;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or(0)
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
    use super::{KeyError, PoolKeys, decode, duration};
    use std::time::Duration;

    #[test]
    fn times_are_read_as_go_writes_them_or_in_seconds() {
        let s = Duration::from_secs;
        assert_eq!(duration("30"), Some(s(30)));
        assert_eq!(duration("1h30m"), Some(s(5400)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("1 day"), None);
        assert_eq!(duration(""), None);
        assert_eq!(duration("99999999999999999999h"), None);
    }

    #[test]
    fn an_unknown_pool_option_names_the_nearest() {
        let error = PoolKeys::default().take("pool_max_con", "3").unwrap_err();
        let nearest = "pool_max_conns";
        assert_eq!(error, KeyError::Unknown { key: "pool_max_con".into(), nearest });
        assert!(!PoolKeys::default().take("charset", "utf8").unwrap());
    }

    #[test]
    fn codes_are_decoded_and_what_is_none_stays() {
        assert_eq!(decode("p%40ss%2"), "p@ss%2");
    }
}
