//! Where requests go: what has to be equal for two requests to share connections.
//!
//! Invariant: names are in lower case and ports are explicit, so that equal places are equal.
//! Left out: TLS settings. They belong to the client, and clients share nothing.

use std::fmt;
use std::sync::Arc;

use hyper::http::Uri;

use super::error::AddressError;

/// A scheme, a host and a port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Origin {
    scheme: Scheme,
    /// An IPv6 address is without its brackets.
    host: Arc<str>,
    port: u16,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Scheme {
    /// It is not.
    Http,
    /// It is.
    Https,
}

impl Scheme {
    /// Returns the scheme as addresses begin with it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// Returns where a request to an address goes.
    ///
    /// # Errors
    /// When the address is not one of an HTTP server.
    pub fn of(uri: &Uri) -> Result<Self, AddressError> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(AddressError::Scheme),
        };
        let authority = uri.authority().ok_or(AddressError::Host)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::Credentials);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // A colon with something behind it that is no port.
            None if has_port(authority.as_str()) => return Err(AddressError::Malformed),
            None => scheme.default_port(),
        };
        Ok(Self { scheme, host: Arc::from(host.to_ascii_lowercase()), port })
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host; an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host and, unless it is the usual one, the port, as headers have them.
    pub(crate) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        if self.port == self.scheme.default_port() {
            format!("{open}{}{close}", self.host)
        } else {
            format!("{open}{}{close}:{}", self.host, self.port)
        }
    }
}

fn has_port(authority: &str) -> bool {
    let after = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    after.split_once(':').is_some_and(|(_, port)| !port.is_empty())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<String, AddressError> {
        Origin::of(&uri.parse().expect(uri)).map(|origin| origin.to_string())
    }

    #[test]
    fn equal_places_are_equal_and_others_are_not() {
        assert_eq!(of("http://Example.COM/a?b"), Ok("http://example.com".to_owned()));
        assert_eq!(of("http://example.com:80/"), Ok("http://example.com".to_owned()));
        assert_eq!(of("https://example.com:443/"), Ok("https://example.com".to_owned()));
        assert_eq!(of("https://example.com:80/"), Ok("https://example.com:80".to_owned()));
        assert_eq!(of("http://[::1]:8080/"), Ok("http://[::1]:8080".to_owned()));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        assert_eq!(of("ftp://example.com/"), Err(AddressError::Scheme));
        assert_eq!(of("/path"), Err(AddressError::Scheme));
        assert_eq!(of("http://user:secret@example.com/"), Err(AddressError::Credentials));
    }
}
