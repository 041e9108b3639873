//! Where to push, what to send with it, how often.
//!
//! Invariant: whoever shows settings shows host, port and times alone: headers and paths may be
//! secrets.
//! Not here: the variables they may come from (`variables.rs`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use rustls::ClientConfig;

use crate::post::{Target, TargetError, unescape};
use crate::watch::Event;

/// What follows a base address.
const PATH: &str = "/v1/metrics";

/// Hears that pushing began to fail, and that it works again.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// How to push.
#[derive(Clone)]
pub struct Settings {
    pub(super) target: Target,
    pub(super) path: &'static str,
    pub(super) headers: HeaderMap,
    /// How often to push; below 100 ms counts as that.
    /// Default: 60 s, because OpenTelemetry's specification says so.
    pub interval: Duration,
    /// How long a push may take, from the lookup of the name to the end of the reply; zero is an
    /// hour, and so is anything longer.
    /// Default: 10 s, because OpenTelemetry's specification says so.
    pub timeout: Duration,
    /// What the process is called, as the attribute `service.name`.
    /// Default: none, because the source of the monitor has a name, which is used then.
    pub service_name: Option<String>,
    /// Further attributes of the process, such as `service.version`; later ones win.
    /// Default: none, because only the program knows more of itself; `service.instance.id` is
    /// made at random unless it stands here.
    pub attributes: Vec<(String, String)>,
    /// Hears of the first failure and of the recovery, once each.
    /// Default: nobody, because both stand among the events of the monitor.
    pub listener: Option<Listener>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("target", &self.target)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why settings are none. Never holds what was given: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// The address is none.
    Target(TargetError),
    /// Not a list of `name=value`, or one with names that no header can have.
    Pairs,
    /// Not a time in whole milliseconds.
    Time,
    /// A way of sending that is not `http/protobuf`.
    Protocol,
    /// A variable is wrong, in this way.
    Variable(&'static str, Box<Self>),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => error.fmt(f),
            Self::Pairs => f.write_str("expected a comma list of name=value"),
            Self::Time => f.write_str("expected a whole number of milliseconds"),
            Self::Protocol => f.write_str("only http/protobuf is spoken"),
            Self::Variable(name, error) => write!(f, "{name}: {error}"),
        }
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Pushes to `/v1/metrics` below a base address such as `http://localhost:4318`; `tls` is what
    /// `https` uses.
    ///
    /// # Errors
    /// It is no address, or needs TLS and there is none.
    pub fn new(endpoint: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, SettingsError> {
        Ok(Self { path: PATH, ..Self::verbatim(endpoint, tls)? })
    }

    /// Pushes to an address as it is.
    ///
    /// # Errors
    /// It is no address, or needs TLS and there is none.
    pub fn verbatim(address: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, SettingsError> {
        Ok(Self {
            target: Target::new(address, tls).map_err(SettingsError::Target)?,
            path: "",
            headers: HeaderMap::new(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            service_name: None,
            attributes: Vec::new(),
            listener: None,
        })
    }

    /// Adds headers that are sent with each push, as a list like `api-key=abc,x-tenant=a%20b`;
    /// one of the same name is replaced.
    ///
    /// # Errors
    /// It is no such list, or has names or values that a header cannot have.
    pub fn headers(mut self, list: &str) -> Result<Self, SettingsError> {
        for (name, value) in pairs(list)? {
            let name = HeaderName::try_from(name).map_err(|_| SettingsError::Pairs)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| SettingsError::Pairs)?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        Ok(self)
    }

    /// Returns where it is pushed to: host and port, which are no secret.
    #[must_use]
    pub fn place(&self) -> String {
        self.target.to_string()
    }
}

/// Reads a list like `name=value,other=a%2Cb`, as headers and attributes are written; percent
/// escapes in values are undone.
///
/// # Errors
/// A part of it has no `=`, or no name before it.
pub fn pairs(list: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| match part.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), unescape(value.trim())))
        }
        _ => Err(SettingsError::Pairs),
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_written() {
        let read = |list| {
            let pairs = pairs(list).expect("a list");
            pairs.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>()
        };
        assert_eq!(read(""), [""; 0]);
        assert_eq!(read("a=b"), ["a:b"]);
        assert_eq!(read(" a = b , c=d=e,, f="), ["a:b", "c:d=e", "f:"]);
        assert_eq!(read("authorization=Basic%20YTpi%2C"), ["authorization:Basic YTpi,"]);
        for list in ["a", "=b", "a=b,c", " =x"] {
            assert_eq!(pairs(list), Err(SettingsError::Pairs), "{list}");
        }
    }

    #[test]
    fn headers_that_would_break_a_request_are_refused() {
        let settings = || Settings::new("http://x", None).expect("an address");
        for list in ["a b=c", "a=%0d%0aHost: y", "a=%00", "ä=b"] {
            assert_eq!(settings().headers(list).err(), Some(SettingsError::Pairs), "{list}");
        }
        let both = settings().headers("X-Key=1,x-key=2").expect("headers").headers;
        assert_eq!(both.get_all("x-key").iter().count(), 1);
    }

    #[test]
    fn settings_never_show_what_may_be_secret() {
        let settings = Settings::new("http://me:canary@x:4318/canary", None).expect("an address");
        let settings = settings.headers("api-key=canary").expect("headers");
        let shown = format!("{settings:?} {:?} {}", settings.headers, settings.place());
        assert!(shown.contains("x:4318") && !shown.contains("canary"), "{shown}");
    }
}
