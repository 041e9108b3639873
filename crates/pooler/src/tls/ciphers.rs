//! Lists of ciphers as OpenSSL writes them, mapped to the suites that exist here.
//!
//! Invariant: the order of the list is the order of preference; a word that means nothing
//! here is reported, and a list that leaves nothing is an error, never "everything".
//! Not here: ciphers without forward secrecy, CBC modes, and other suites that rustls has not.

use std::fmt;

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite as suite;

use super::error::TlsError;

/// The suites to offer, most wanted first.
///
/// Default: all that rustls offers, because it has only strong ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ciphers {
    /// OpenSSL's list for TLS 1.2; empty or `default` is all.
    pub tls12: String,
    /// Colon-separated suites of TLS 1.3; empty is all.
    pub tls13: String,
}

/// A word of a list of ciphers that means nothing here; the rest of the list holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCipher(pub String);

impl fmt::Display for UnknownCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS cipher \"{}\" is not supported", self.0)
    }
}

struct Known {
    openssl: &'static str,
    suite: SupportedCipherSuite,
    /// Words of OpenSSL's language that include this suite.
    words: &'static [&'static str],
}

static TLS12: [Known; 6] = [
    Known {
        openssl: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        words: &["aECDSA", "ECDSA", "AES256", "AES", "AESGCM", "SHA384", "FIPS"],
    },
    Known {
        openssl: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        words: &["aRSA", "AES256", "AES", "AESGCM", "SHA384", "FIPS"],
    },
    Known {
        openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        words: &["aECDSA", "ECDSA", "CHACHA20"],
    },
    Known {
        openssl: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        words: &["aRSA", "CHACHA20"],
    },
    Known {
        openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        words: &["aECDSA", "ECDSA", "AES128", "AES", "AESGCM", "SHA256", "FIPS"],
    },
    Known {
        openssl: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        words: &["aRSA", "AES128", "AES", "AESGCM", "SHA256", "FIPS"],
    },
];

static TLS13: [Known; 3] = [
    Known { openssl: "TLS_AES_256_GCM_SHA384", suite: suite::TLS13_AES_256_GCM_SHA384, words: &[] },
    Known {
        openssl: "TLS_CHACHA20_POLY1305_SHA256",
        suite: suite::TLS13_CHACHA20_POLY1305_SHA256,
        words: &[],
    },
    Known { openssl: "TLS_AES_128_GCM_SHA256", suite: suite::TLS13_AES_128_GCM_SHA256, words: &[] },
];

/// Words that include every suite that exists here.
const EVERY: [&str; 16] = [
    "default",
    "secure",
    "compat",
    "legacy",
    "normal",
    "fast",
    "all",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "TLSv1.2",
    "AEAD",
    "COMPLEMENTOFALL",
    "insecure",
];

impl Ciphers {
    /// Returns the suites in order of preference, and what was not understood.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn select(&self) -> Result<(Vec<SupportedCipherSuite>, Vec<UnknownCipher>), TlsError> {
        let mut warnings = Vec::new();
        let mut suites = self.select13(&mut warnings)?;
        suites.extend(self.select12(&mut warnings)?);
        Ok((suites, warnings))
    }

    fn select13(
        &self,
        warnings: &mut Vec<UnknownCipher>,
    ) -> Result<Vec<SupportedCipherSuite>, TlsError> {
        let mut chosen = Vec::new();
        for name in words(&self.tls13) {
            match TLS13.iter().find(|known| known.openssl.eq_ignore_ascii_case(name)) {
                Some(known) => chosen.push(known.suite),
                None => warnings.push(UnknownCipher(name.to_owned())),
            }
        }
        if words(&self.tls13).next().is_none() {
            return Ok(TLS13.iter().map(|known| known.suite).collect());
        }
        if chosen.is_empty() {
            return Err(TlsError::NoCipher { list: self.tls13.clone() });
        }
        Ok(chosen)
    }

    fn select12(
        &self,
        warnings: &mut Vec<UnknownCipher>,
    ) -> Result<Vec<SupportedCipherSuite>, TlsError> {
        if words(&self.tls12).next().is_none() {
            return Ok(TLS12.iter().map(|known| known.suite).collect());
        }
        let mut chosen: Vec<&Known> = Vec::new();
        let mut banned: Vec<&Known> = Vec::new();
        // `@STRENGTH` and `@SECLEVEL=n`: the suites are of one strength already.
        for word in words(&self.tls12).filter(|word| !word.starts_with('@')) {
            let (sign, name) = match word.split_at_checked(1) {
                Some((sign @ ("!" | "-" | "+"), name)) => (sign, name),
                _ => ("", word),
            };
            let matched: Vec<&Known> = TLS12.iter().filter(|known| known.matches(name)).collect();
            match sign {
                "" if matched.is_empty() => {
                    warnings.push(UnknownCipher(name.to_owned()));
                }
                "" => {
                    for new in matched {
                        if !contains(&banned, new) && !contains(&chosen, new) {
                            chosen.push(new);
                        }
                    }
                }
                // To the end, for the last resort.
                "+" => chosen.sort_by_key(|old| contains(&matched, old)),
                _ => {
                    chosen.retain(|old| !contains(&matched, old));
                    if sign == "!" {
                        banned.extend(matched);
                    }
                }
            }
        }
        if chosen.is_empty() {
            return Err(TlsError::NoCipher { list: self.tls12.clone() });
        }
        Ok(chosen.iter().map(|known| known.suite).collect())
    }
}

impl Known {
    /// `ECDHE+AESGCM` means both words at once.
    fn matches(&self, name: &str) -> bool {
        name.split('+').all(|part| {
            self.openssl.eq_ignore_ascii_case(part)
                || EVERY.iter().any(|word| word.eq_ignore_ascii_case(part))
                || self.words.iter().any(|word| word.eq_ignore_ascii_case(part))
        })
    }
}

fn contains(list: &[&Known], wanted: &Known) -> bool {
    list.iter().any(|known| known.openssl == wanted.openssl)
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([':', ',', ' ', '\t']).filter(|word| !word.is_empty())
}

/// Returns the name of a suite as OpenSSL, and so PgBouncer's console, writes it.
pub(crate) fn openssl_name(wanted: SupportedCipherSuite) -> Option<&'static str> {
    let mut known = TLS13.iter().chain(TLS12.iter());
    known.find(|known| known.suite.suite() == wanted.suite()).map(|known| known.openssl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, expected: &[&str], unknown: &[&str]) {
        let ciphers = Ciphers { tls12: list.to_owned(), tls13: String::new() };
        let (suites, warnings) = ciphers.select().expect("something is left");
        let names: Vec<_> = suites.iter().skip(3).filter_map(|s| openssl_name(*s)).collect();
        assert_eq!(names, expected, "{list}");
        let unknown: Vec<_> =
            unknown.iter().map(|name| UnknownCipher((*name).to_owned())).collect();
        assert_eq!(warnings, unknown, "{list}");
    }

    fn all() -> Vec<&'static str> {
        TLS12.iter().map(|known| known.openssl).collect()
    }

    #[test]
    fn common_lists_of_openssl_mean_what_they_say() {
        for list in ["", "default", "HIGH:!aNULL:!MD5", "HIGH:MEDIUM:+3DES:!aNULL", "secure"] {
            let unknown: &[&str] = if list.contains("MEDIUM") { &["MEDIUM"] } else { &[] };
            check(list, &all(), unknown);
        }
        check(
            "ECDHE+AESGCM:!aECDSA",
            &["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"],
            &[],
        );
        check(
            "ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384",
            &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"],
            &["AES256-SHA"],
        );
        check(
            "aRSA:+CHACHA20:-AES128:@STRENGTH",
            &["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"],
            &[],
        );
    }

    #[test]
    fn a_banned_cipher_never_comes_back() {
        check(
            "!CHACHA20:aRSA:ALL:!aECDSA",
            &["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"],
            &[],
        );
    }

    #[test]
    fn a_list_that_leaves_nothing_is_an_error() {
        for list in ["AES256-SHA", "ALL:!ALL", "!ALL"] {
            let ciphers = Ciphers { tls12: list.to_owned(), tls13: String::new() };
            assert!(matches!(ciphers.select(), Err(TlsError::NoCipher { .. })), "{list}");
        }
        let ciphers = Ciphers { tls12: String::new(), tls13: "TLS_AES_128_CCM_SHA256".to_owned() };
        assert!(matches!(ciphers.select(), Err(TlsError::NoCipher { .. })));
    }

    #[test]
    fn suites_of_tls_1_3_are_named_on_their_own() {
        let ciphers = Ciphers {
            tls12: "aRSA".to_owned(),
            tls13: "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256".to_owned(),
        };
        let (suites, warnings) = ciphers.select().expect("one is left");
        assert_eq!(openssl_name(suites[0]), Some("TLS_CHACHA20_POLY1305_SHA256"));
        assert_eq!(suites.len(), 4);
        assert_eq!(warnings, [UnknownCipher("TLS_AES_128_CCM_SHA256".to_owned())]);
    }
}
