//! The TLS words: how much is asked of the other side, and which protocol versions.
//!
//! Invariant: `SslMode` is ordered from least to most asked. Nothing here reads a file or knows
//! a TLS library.

use std::fmt;

use super::choice::choice;
use super::kind::{Invalid, Kind};

choice! {
    /// How much TLS is asked of the other side.
    SslMode, "disable, allow, prefer, require, verify-ca or verify-full";
    /// No TLS.
    Disable = "disable",
    /// TLS if the other side wants it.
    Allow = "allow",
    /// TLS if the other side can.
    Prefer = "prefer",
    /// TLS, whoever the other side is.
    Require = "require",
    /// TLS with a certificate from a known authority.
    VerifyCa = "verify-ca",
    /// TLS with a certificate from a known authority for the name that was dialled.
    VerifyFull = "verify-full",
}

/// The protocol versions allowed, kept with the text they were written as.
///
/// `secure` and `legacy` are what this program can speak, TLS 1.2 and 1.3; older versions may be
/// listed, as in PgBouncer, and are never offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    text: String,
    tls12: bool,
    tls13: bool,
    outdated: bool,
}

impl Protocols {
    /// Returns true if TLS 1.2 may be spoken.
    pub fn allows_tls12(&self) -> bool {
        self.tls12
    }

    /// Returns true if TLS 1.3 may be spoken.
    pub fn allows_tls13(&self) -> bool {
        self.tls13
    }

    /// Returns true if a version is listed by name that this program never speaks.
    pub fn names_outdated(&self) -> bool {
        self.outdated
    }
}

impl Default for Protocols {
    fn default() -> Self {
        Self { text: "secure".to_owned(), tls12: true, tls13: true, outdated: false }
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Kind for Protocols {
    type Value = Protocols;
    const EXPECTS: &'static str = "secure, all, legacy, or a comma list of tlsv1.2 and tlsv1.3";

    fn parse(text: &str) -> Result<Protocols, Invalid> {
        let mut value =
            Protocols { text: text.to_owned(), tls12: false, tls13: false, outdated: false };
        for word in text.split([',', ':']).map(str::trim).filter(|word| !word.is_empty()) {
            let (allowed, name) = match word.strip_prefix('!') {
                Some(name) => (false, name),
                None => (true, word),
            };
            match name.to_ascii_lowercase().as_str() {
                "secure" | "default" | "all" | "legacy" | "tlsv1" => {
                    value.tls12 = allowed;
                    value.tls13 = allowed;
                }
                "tlsv1.3" => value.tls13 = allowed,
                "tlsv1.2" => value.tls12 = allowed,
                "tlsv1.0" | "tlsv1.1" => value.outdated |= allowed,
                _ => return Err(Invalid::Expected(Self::EXPECTS)),
            }
        }
        if !value.tls12 && !value.tls13 {
            return Err(Invalid::Expected(Self::EXPECTS));
        }
        Ok(value)
    }

    fn show(value: &Protocols) -> Option<String> {
        Some(value.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_the_list() {
        for (text, tls12, tls13, outdated) in [
            ("secure", true, true, false),
            ("all", true, true, false),
            ("legacy", true, true, false),
            ("tlsv1.3", false, true, false),
            ("tlsv1.2", true, false, false),
            ("TLSv1.2, tlsv1.3", true, true, false),
            ("tlsv1.0,tlsv1.2", true, false, true),
            ("all:!tlsv1.2", false, true, false),
        ] {
            let value = Protocols::parse(text).expect(text);
            assert_eq!(
                (value.allows_tls12(), value.allows_tls13(), value.names_outdated()),
                (tls12, tls13, outdated),
                "{text}"
            );
        }
    }

    #[test]
    fn a_list_without_a_version_we_speak_is_refused() {
        for text in ["", ",", "tlsv1.0", "tlsv1.1", "sslv3", "all,!secure"] {
            assert!(Protocols::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_ordered_by_what_they_ask() {
        assert!(SslMode::Disable < SslMode::Require && SslMode::VerifyCa < SslMode::VerifyFull);
    }
}
