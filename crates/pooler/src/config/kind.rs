//! The kinds of value a setting may have: how its text is read and how it is shown again.
//!
//! Invariant: `parse(show(v)) == v`, and no text makes `parse` panic. A kind knows nothing of
//! the key it is used for.
//! Not here: which key has which kind (`global.rs`, `database.rs`, ...), and TLS (`tls.rs`).

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::secret::Secret;

/// Reads and shows the values of one kind of setting.
pub trait Kind {
    /// What the setting's field holds.
    type Value: Clone + PartialEq + fmt::Debug;
    /// What a valid text looks like, for messages and for the table of defaults.
    const EXPECTS: &'static str;
    /// True if the text is a path, in which a leading `~/` stands for the home directory.
    const IS_PATH: bool = false;
    /// True if neither the text nor the value may ever be printed.
    const IS_SECRET: bool = false;

    /// Reads a value from its text.
    ///
    /// # Errors
    /// The text is not of this kind.
    fn parse(text: &str) -> Result<Self::Value, Invalid>;

    /// Returns the text of a value; `None` where SHOW CONFIG prints NULL.
    fn show(value: &Self::Value) -> Option<String>;
}

/// Why a text is not a valid value. Never holds the text itself: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not of the expected form.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Below zero where nothing can be.
    #[error("must not be negative")]
    Negative,
    /// Above what is allowed.
    #[error("must be at most {0}")]
    TooLarge(u64),
    /// A number such as `010`, which PgBouncer takes for octal in one section and not in another.
    #[error("leading zeros are ambiguous")]
    LeadingZero,
    /// Nothing where something must stand.
    #[error("must not be empty")]
    Empty,
    /// Recognised, but this program cannot do it, and doing less would be unsafe.
    #[error("not supported by headpond")]
    Unsupported,
    /// A NUL byte, which no name or value on the wire can hold.
    #[error("must not contain a NUL byte")]
    Nul,
}

/// A boolean written as an integer, as PgBouncer does; `on`, `true`, `yes` and their opposites
/// are read as well.
pub enum Flag {}

impl Kind for Flag {
    type Value = bool;
    const EXPECTS: &'static str = "0 or 1";

    fn parse(text: &str) -> Result<bool, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(true),
            "off" | "false" | "no" => Ok(false),
            other => match other.parse::<i64>() {
                Ok(number) => Ok(number != 0),
                Err(_) => Err(Invalid::Expected(Self::EXPECTS)),
            },
        }
    }

    fn show(value: &bool) -> Option<String> {
        Some(u8::from(*value).to_string())
    }
}

/// A whole number from 0 to `MAX`.
pub enum Ranged<const MAX: u32> {}

/// A whole number that fits PgBouncer's `int`.
pub type Count = Ranged<2_147_483_647>;

impl<const MAX: u32> Kind for Ranged<MAX> {
    type Value = u32;
    const EXPECTS: &'static str = "a whole number";

    fn parse(text: &str) -> Result<u32, Invalid> {
        let number = whole(text)?;
        match u32::try_from(number) {
            Ok(number) if number <= MAX => Ok(number),
            _ => Err(Invalid::TooLarge(u64::from(MAX))),
        }
    }

    fn show(value: &u32) -> Option<String> {
        Some(value.to_string())
    }
}

/// Reads a whole number that is not negative: decimal, or hexadecimal after `0x`.
fn whole(text: &str) -> Result<u64, Invalid> {
    const EXPECTED: Invalid = Invalid::Expected("a whole number");
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        if !hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(EXPECTED);
        }
        return u64::from_str_radix(hexadecimal, 16).map_err(|_| EXPECTED);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    if negative {
        return Err(Invalid::Negative);
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(Invalid::LeadingZero);
    }
    digits.parse().map_err(|_| Invalid::TooLarge(u64::MAX))
}

/// A TCP port; with `MIN` 0, zero lets the system choose one.
pub enum Port<const MIN: u16> {}

impl<const MIN: u16> Kind for Port<MIN> {
    type Value = u16;
    const EXPECTS: &'static str = "a port number";

    fn parse(text: &str) -> Result<u16, Invalid> {
        match u16::try_from(whole(text)?) {
            Ok(port) if port >= MIN => Ok(port),
            Ok(_) => Err(Invalid::Expected(Self::EXPECTS)),
            Err(_) => Err(Invalid::TooLarge(u64::from(u16::MAX))),
        }
    }

    fn show(value: &u16) -> Option<String> {
        Some(value.to_string())
    }
}

/// A number of bytes, with an optional unit `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`.
pub enum Bytes {}

impl Kind for Bytes {
    type Value = u64;
    const EXPECTS: &'static str = "a number of bytes such as 67108864 or 64MiB";

    fn parse(text: &str) -> Result<u64, Invalid> {
        let split = text.find(|c: char| c.is_ascii_alphabetic() && c != 'x').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit: u64 = match unit {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(Invalid::Expected(Self::EXPECTS)),
        };
        let number = whole(number.trim_end())?;
        let bytes = number.checked_mul(unit).ok_or(Invalid::TooLarge(i64::MAX.unsigned_abs()))?;
        if bytes > i64::MAX.unsigned_abs() {
            return Err(Invalid::TooLarge(i64::MAX.unsigned_abs()));
        }
        Ok(bytes)
    }

    fn show(value: &u64) -> Option<String> {
        Some(value.to_string())
    }
}

/// What a file of history may grow to: a number of bytes that it can do something with.
pub enum FileSize {}

impl Kind for FileSize {
    type Value = u64;
    const EXPECTS: &'static str = "a number of bytes such as 256MiB, 16MiB at least";

    fn parse(text: &str) -> Result<u64, Invalid> {
        let bytes = Bytes::parse(text)?;
        if bytes < headpond_monitor::history::disk::SIZE_MIN {
            return Err(Invalid::Expected(Self::EXPECTS));
        }
        Ok(bytes)
    }

    fn show(value: &u64) -> Option<String> {
        Bytes::show(value)
    }
}

/// A number with or without a fraction.
pub enum Decimal {}

/// The value of a [`Decimal`]: finite, so that it equals itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

impl Kind for Decimal {
    type Value = Number;
    const EXPECTS: &'static str = "a number such as 5 or 0.9";

    fn parse(text: &str) -> Result<Number, Invalid> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Number(number)),
            _ => Err(Invalid::Expected(Self::EXPECTS)),
        }
    }

    fn show(value: &Number) -> Option<String> {
        Some(value.0.to_string())
    }
}

/// The name of something that alerts can watch.
pub enum MetricName {}

impl Kind for MetricName {
    type Value = headpond_monitor::alert::Metric;
    const EXPECTS: &'static str = "a metric such as utilization, waiting or error_ratio";

    fn parse(text: &str) -> Result<Self::Value, Invalid> {
        text.parse().map_err(|()| Invalid::Expected(Self::EXPECTS))
    }

    fn show(value: &Self::Value) -> Option<String> {
        Some(value.name().to_owned())
    }
}

/// A comma list of sets of metrics.
pub enum MetricSets {}

impl Kind for MetricSets {
    type Value = Vec<(String, headpond_monitor::MetricSet)>;
    const EXPECTS: &'static str = "a comma list of database, db and pgbouncer";

    fn parse(text: &str) -> Result<Self::Value, Invalid> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let set = |name: &str| {
            let set = name.parse().map_err(|()| Invalid::Expected(Self::EXPECTS))?;
            Ok((name.to_owned(), set))
        };
        names.map(set).collect()
    }

    fn show(value: &Self::Value) -> Option<String> {
        let names: Vec<&str> = value.iter().map(|(name, _)| name.as_str()).collect();
        Some(names.join(","))
    }
}

/// A file mode in octal.
pub enum FileMode {}

impl Kind for FileMode {
    type Value = u32;
    const EXPECTS: &'static str = "an octal file mode such as 0777";

    fn parse(text: &str) -> Result<u32, Invalid> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Invalid::Expected(Self::EXPECTS));
        }
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(mode),
            _ => Err(Invalid::Expected(Self::EXPECTS)),
        }
    }

    fn show(value: &u32) -> Option<String> {
        Some(format!("{value:04o}"))
    }
}

/// A time in seconds, fractions allowed, or with a unit: `500ms`, `2m`. Zero means off.
pub enum Seconds {}

impl Kind for Seconds {
    type Value = Duration;
    const EXPECTS: &'static str = duration::SECONDS;

    fn parse(text: &str) -> Result<Duration, Invalid> {
        duration::parse(text, duration::Unit::Second)
    }

    fn show(value: &Duration) -> Option<String> {
        Some(duration::show_seconds(*value))
    }
}

/// A time in whole seconds, or with a unit.
pub enum WholeSeconds {}

impl Kind for WholeSeconds {
    type Value = Duration;
    const EXPECTS: &'static str = "a whole number of seconds";

    fn parse(text: &str) -> Result<Duration, Invalid> {
        let value = duration::parse(text, duration::Unit::Second)?;
        if value.subsec_nanos() != 0 {
            return Err(Invalid::Expected(Self::EXPECTS));
        }
        Ok(value)
    }

    fn show(value: &Duration) -> Option<String> {
        Some(duration::show_seconds(*value))
    }
}

/// A time in milliseconds, or with a unit.
pub enum Milliseconds {}

impl Kind for Milliseconds {
    type Value = Duration;
    const EXPECTS: &'static str = duration::MILLISECONDS;

    fn parse(text: &str) -> Result<Duration, Invalid> {
        duration::parse(text, duration::Unit::Millisecond)
    }

    fn show(value: &Duration) -> Option<String> {
        Some(duration::show_milliseconds(*value))
    }
}

/// Any text, the empty one included.
pub enum Text {}

impl Kind for Text {
    type Value = String;
    const EXPECTS: &'static str = "a text";

    fn parse(text: &str) -> Result<String, Invalid> {
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A text that may be unset; the empty text unsets it.
pub enum OptionalText {}

impl Kind for OptionalText {
    type Value = Option<String>;
    const EXPECTS: &'static str = "a text, or nothing";

    fn parse(text: &str) -> Result<Option<String>, Invalid> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(value: &Option<String>) -> Option<String> {
        value.clone()
    }
}

/// The path of a file; empty for none.
pub enum File {}

impl Kind for File {
    type Value = Option<PathBuf>;
    const EXPECTS: &'static str = "a path, or nothing";
    const IS_PATH: bool = true;

    fn parse(text: &str) -> Result<Option<PathBuf>, Invalid> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(value: &Option<PathBuf>) -> Option<String> {
        let text = value.as_ref().map(|path| path.display().to_string());
        Some(text.unwrap_or_default())
    }
}

/// The path of a file that SHOW CONFIG prints as NULL while it is unset.
pub enum OptionalFile {}

impl Kind for OptionalFile {
    type Value = Option<PathBuf>;
    const EXPECTS: &'static str = File::EXPECTS;
    const IS_PATH: bool = true;

    fn parse(text: &str) -> Result<Option<PathBuf>, Invalid> {
        File::parse(text)
    }

    fn show(value: &Option<PathBuf>) -> Option<String> {
        value.as_ref().map(|path| path.display().to_string())
    }
}

/// A text that must be there and must never be printed.
pub enum SecretText {}

impl Kind for SecretText {
    type Value = Secret;
    const EXPECTS: &'static str = "a secret";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Secret, Invalid> {
        Ok(Secret::from(text))
    }

    fn show(value: &Secret) -> Option<String> {
        Some(value.to_string())
    }
}

/// A text that may be unset and must never be printed.
pub enum Hidden {}

impl Kind for Hidden {
    type Value = Option<Secret>;
    const EXPECTS: &'static str = "a text, or nothing";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Option<Secret>, Invalid> {
        Ok((!text.is_empty()).then(|| Secret::from(text)))
    }

    fn show(value: &Option<Secret>) -> Option<String> {
        value.as_ref().map(Secret::to_string)
    }
}

/// A comma list of names, kept with the text it was written as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    names: Vec<String>,
}

impl Names {
    /// Returns the names in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns true if `name` is in the list, letter for letter.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|listed| listed == name)
    }

    /// Returns true if `name` is in the list, whatever the case of its ASCII letters.
    pub fn contains_ignoring_case(&self, name: &str) -> bool {
        self.names.iter().any(|listed| listed.eq_ignore_ascii_case(name))
    }

    /// Returns true if the list names nothing.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Kind for Names {
    type Value = Names;
    const EXPECTS: &'static str = "a comma list of names";

    fn parse(text: &str) -> Result<Names, Invalid> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Names { text: text.to_owned(), names: names.map(str::to_owned).collect() })
    }

    fn show(value: &Names) -> Option<String> {
        Some(value.text.clone())
    }
}

/// The query that shows whether an idle server still answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckQuery {
    /// No check at all, written as nothing.
    Off,
    /// An empty query, the cheapest question there is, written `<empty>`.
    Empty,
    /// This query.
    Sql(String),
}

impl Kind for CheckQuery {
    type Value = CheckQuery;
    const EXPECTS: &'static str = "a query, <empty>, or nothing";

    fn parse(text: &str) -> Result<CheckQuery, Invalid> {
        Ok(match text {
            "" => CheckQuery::Off,
            "<empty>" => CheckQuery::Empty,
            sql => CheckQuery::Sql(sql.to_owned()),
        })
    }

    fn show(value: &CheckQuery) -> Option<String> {
        Some(match value {
            CheckQuery::Off => String::new(),
            CheckQuery::Empty => "<empty>".to_owned(),
            CheckQuery::Sql(sql) => sql.clone(),
        })
    }
}

/// One address and port to listen on; empty for none.
pub enum Listen {}

impl Kind for Listen {
    type Value = Option<SocketAddr>;
    const EXPECTS: &'static str = "an address with a port such as 127.0.0.1:6433, or nothing";

    fn parse(text: &str) -> Result<Option<SocketAddr>, Invalid> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| Invalid::Expected(Self::EXPECTS))
    }

    fn show(value: &Option<SocketAddr>) -> Option<String> {
        Some(value.map(|address| address.to_string()).unwrap_or_default())
    }
}
