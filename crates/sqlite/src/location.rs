//! Where a database is, and what its URL says about the rest.
//!
//! The grammar is sqlx's (`sqlite::memory:`, `sqlite:relative.db`, `sqlite:///abs.db`) and SQLite's
//! own (`file:path`), with the options of both, of pgxpool and of Prisma.
//!
//! Invariant: an option that is not known is an error, never ignored.
//! Left out: whether there is such a file (`open.rs`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::UrlError;
use crate::settings::{JournalMode, Settings, Synchronous};

/// What may stand behind the `?`.
pub(crate) const KEYS: &str = "mode, cache, immutable, vfs, journal_mode, synchronous, cache_size, \
                               foreign_keys, temp_store, busy_timeout, pool_max_conns, \
                               pool_min_conns, connection_limit, pool_timeout";

/// A database's place, and how it may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    pub(crate) place: Place,
    pub(crate) mode: Mode,
    /// Whether nobody changes the file, so that SQLite need not lock it.
    pub(crate) immutable: bool,
    pub(crate) vfs: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    File(PathBuf),
    /// In memory, under a name that all connections of the database use.
    Memory(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Read,
    Write,
    Create,
}

impl Location {
    /// Reads a URL and changes the settings that it names.
    pub(crate) fn parse(url: &str, settings: &mut Settings) -> Result<Self, UrlError> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let path = match (path.strip_prefix("sqlite:"), path.strip_prefix("file:")) {
            (Some(rest), _) => rest.strip_prefix("//").unwrap_or(rest),
            (_, Some(rest)) => local(rest)?,
            _ => return Err(UrlError::Scheme),
        };
        let path = decode(path)?;
        let mut location = Self {
            place: Place::File(PathBuf::from(&path)),
            mode: Mode::Write,
            immutable: false,
            vfs: None,
        };
        let mut in_memory = path == ":memory:";
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key)?, decode(value)?);
            if key == "mode" && value == "memory" {
                in_memory = true;
            } else {
                location.option(settings, &key, &value)?;
            }
        }
        if in_memory {
            let named = !path.is_empty() && path != ":memory:";
            location.place = Place::Memory(if named { path } else { unique() });
            location.mode = Mode::Create;
        } else if path.is_empty() {
            return Err(UrlError::Empty);
        }
        Ok(location)
    }

    fn option(&mut self, settings: &mut Settings, key: &str, value: &str) -> Result<(), UrlError> {
        match key {
            "mode" => {
                let modes = [("ro", Mode::Read), ("rw", Mode::Write), ("rwc", Mode::Create)];
                self.mode = one_of(&modes, "ro, rw, rwc or memory", key, value)?;
            }
            "cache" => {
                let known = [("private", false), ("shared", true)];
                if one_of(&known, "private or shared", key, value)? {
                    tracing::debug!("cache=shared: what is in memory is shared in any case");
                }
            }
            "immutable" => self.immutable = flag(key, value)?,
            "vfs" => self.vfs = Some(value.to_owned()),
            "journal_mode" => {
                let expected = "wal, delete, truncate, persist or memory";
                settings.journal_mode = one_of(&JournalMode::NAMES, expected, key, value)?;
            }
            "synchronous" => {
                let expected = "off, normal, full or extra";
                settings.synchronous = one_of(&Synchronous::NAMES, expected, key, value)?;
            }
            "cache_size" => settings.cache_size = number("a whole number", key, value)?,
            "foreign_keys" => settings.foreign_keys = flag(key, value)?,
            "temp_store" => {
                let known = [("memory", true), ("file", false)];
                settings.temp_in_memory = one_of(&known, "memory or file", key, value)?;
            }
            "busy_timeout" => {
                let ms: u32 = number("milliseconds", key, value)?;
                settings.busy_timeout = Duration::from_millis(u64::from(ms));
            }
            "pool_max_conns" | "connection_limit" => {
                settings.readers = number("a number of connections", key, value)?;
            }
            "pool_min_conns" => {
                settings.readers_min = number("a number of connections", key, value)?;
            }
            "pool_timeout" => {
                let seconds: u32 = number("seconds", key, value)?;
                let wait = Duration::from_secs(u64::from(seconds));
                settings.acquire_timeout = (seconds > 0).then_some(wait);
            }
            _ => return Err(UrlError::Key { key: key.to_owned() }),
        }
        Ok(())
    }

    /// Returns the path as people know it.
    pub(crate) fn path(&self) -> &Path {
        match &self.place {
            Place::File(path) => path,
            Place::Memory(_) => Path::new(":memory:"),
        }
    }

    pub(crate) const fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// Returns whether nothing is ever written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mode == Mode::Read || self.immutable
    }
}

/// Strips the authority of a file URL, which can only be this machine.
fn local(rest: &str) -> Result<&str, UrlError> {
    let Some(rest) = rest.strip_prefix("//") else { return Ok(rest) };
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    match host {
        "" | "localhost" => Ok(rest.strip_prefix(host).unwrap_or(rest)),
        host => Err(UrlError::Host { host: host.to_owned() }),
    }
}

/// Returns a name that no other database in memory has.
fn unique() -> String {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds its maps from the operating system; the slash lets nobody meet
    // the name by accident, since names from URLs are used as they are.
    let random = || RandomState::new().hash_one(0_u8);
    format!("headpond/{:016x}{:016x}", random(), random())
}

fn one_of<T: Copy>(
    known: &[(&str, T)],
    expected: &'static str,
    key: &str,
    value: &str,
) -> Result<T, UrlError> {
    let found = known.iter().find(|(name, _)| value.eq_ignore_ascii_case(name));
    found.map(|(_, known)| *known).ok_or_else(|| wrong(key, value, expected))
}

fn flag(key: &str, value: &str) -> Result<bool, UrlError> {
    let known = [
        ("1", true),
        ("on", true),
        ("true", true),
        ("yes", true),
        ("0", false),
        ("off", false),
        ("false", false),
        ("no", false),
    ];
    one_of(&known, "on or off", key, value)
}

fn number<T: std::str::FromStr>(
    expected: &'static str,
    key: &str,
    value: &str,
) -> Result<T, UrlError> {
    value.parse().map_err(|_| wrong(key, value, expected))
}

fn wrong(key: &str, value: &str, expected: &'static str) -> UrlError {
    UrlError::Value { key: key.to_owned(), value: value.to_owned(), expected }
}

fn decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(UrlError::Encoding) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| UrlError::Encoding)?);
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Encoding)
}

/// Writes a text so that it can stand in a URL.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Location, UrlError> {
        Location::parse(url, &mut Settings::default())
    }

    fn file(url: &str) -> String {
        parse(url).expect(url).path().display().to_string()
    }

    #[test]
    fn paths_are_read_as_sqlx_and_sqlite_read_them() {
        assert_eq!(file("sqlite:relative.db"), "relative.db");
        assert_eq!(file("sqlite://relative.db"), "relative.db");
        assert_eq!(file("sqlite:///abs/x.db"), "/abs/x.db");
        assert_eq!(file("sqlite:/abs/x.db"), "/abs/x.db");
        assert_eq!(file("file:relative.db"), "relative.db");
        assert_eq!(file("file:/abs/x.db"), "/abs/x.db");
        assert_eq!(file("file:///abs/x.db"), "/abs/x.db");
        assert_eq!(file("file://localhost/abs/x.db"), "/abs/x.db");
        assert_eq!(file("sqlite:a%20b%3Fc.db"), "a b?c.db");
    }

    #[test]
    fn every_anonymous_database_in_memory_is_another_one() {
        let (one, other) = (parse("sqlite::memory:").unwrap(), parse("sqlite::memory:").unwrap());
        assert!(one.is_in_memory());
        assert_ne!(one.place, other.place);
        let named = parse("sqlite:cache?mode=memory&cache=shared").unwrap();
        assert_eq!(named.place, Place::Memory("cache".to_owned()));
        assert!(parse("sqlite://:memory:").unwrap().is_in_memory());
    }

    #[test]
    fn options_are_understood_or_refused() {
        let mut settings = Settings::default();
        let url = "sqlite:x.db?mode=ro&immutable=1&connection_limit=7&pool_timeout=10\
                   &journal_mode=DELETE&synchronous=full&busy_timeout=250&foreign_keys=off";
        let location = Location::parse(url, &mut settings).unwrap();
        assert!(location.is_read_only() && location.immutable);
        assert_eq!(settings.readers, 7);
        assert_eq!(settings.acquire_timeout, Some(Duration::from_secs(10)));
        assert_eq!(settings.journal_mode, JournalMode::Delete);
        assert_eq!(settings.synchronous, Synchronous::Full);
        assert_eq!(settings.busy_timeout, Duration::from_millis(250));
        assert!(!settings.foreign_keys);
        let error = |url| parse(url).unwrap_err().to_string();
        assert!(error("sqlite:x.db?mode=rx").contains("expected ro, rw, rwc or memory"));
        assert!(error("sqlite:x.db?pool_size=1").contains("pool_max_conns"));
        assert_eq!(parse("postgres://x"), Err(UrlError::Scheme));
        assert_eq!(parse("sqlite:"), Err(UrlError::Empty));
        assert_eq!(parse("sqlite:%4"), Err(UrlError::Encoding));
        assert!(matches!(parse("file://host/x"), Err(UrlError::Host { .. })));
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for text in ["a b?c&d=%#é/x.db", "", "plain.db"] {
            assert_eq!(decode(&encode(text)).unwrap(), text);
        }
    }
}
