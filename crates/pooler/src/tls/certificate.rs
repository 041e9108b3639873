//! What Headpond reads out of a certificate: names, validity, keys, and its digest.
//!
//! Invariant: every byte comes from a peer and is read through `der.rs`; a name with a zero
//! byte is an error, because two readers would take it for two different names.
//! Not here: trust (`anchors.rs`, `verify.rs`).

use std::net::IpAddr;
use std::time::Duration;

use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use super::der::{self, DerError, Element, Reader};

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

const DNS_NAME: u8 = 0x82;
const RFC822_NAME: u8 = 0x81;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

/// The version of certificates without extensions, as DER writes it.
const V1: u8 = 0;

/// A certificate, borrowed from its DER.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    version: u8,
    /// What is signed, with its header.
    pub(crate) signed: &'a [u8],
    /// The content of the AlgorithmIdentifier of the signature.
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    /// The first and the last moment.
    validity: (UnixTime, UnixTime),
    /// The whole SubjectPublicKeyInfo.
    pub(crate) key_info: &'a [u8],
    /// The content of the AlgorithmIdentifier of the key.
    pub(crate) key_algorithm: &'a [u8],
    pub(crate) key: &'a [u8],
    alternative_names: Option<&'a [u8]>,
}

/// A name in the subjectAltName extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    /// The name of a host, perhaps with a wildcard.
    Dns(String),
    /// The address of a host.
    Ip(IpAddr),
    /// A mail address.
    Mail(String),
    /// A URI, such as a SPIFFE identity.
    Uri(String),
}

impl<'a> Certificate<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, DerError> {
        let mut outside = Reader::new(bytes);
        let certificate = outside.expect(der::SEQUENCE)?;
        outside.finish()?;
        let mut parts = Reader::new(certificate.content);
        let signed = parts.expect(der::SEQUENCE)?;
        let signature_algorithm = parts.expect(der::SEQUENCE)?.content;
        let signature = der::bits(parts.expect(der::BIT_STRING)?.content)?;
        parts.finish()?;
        Self::parse_signed(signed, signature_algorithm, signature)
    }

    fn parse_signed(
        signed: Element<'a>,
        signature_algorithm: &'a [u8],
        signature: &'a [u8],
    ) -> Result<Self, DerError> {
        let mut fields = Reader::new(signed.content);
        let version = match fields.optional(VERSION)? {
            Some(wrapped) => match Reader::new(wrapped.content).expect(der::INTEGER)?.content {
                [version] => *version,
                _ => return Err(DerError::Tag),
            },
            None => V1,
        };
        fields.expect(der::INTEGER)?; // the serial number
        // RFC 5280: the algorithm inside the signature must be the one outside of it.
        if fields.expect(der::SEQUENCE)?.content != signature_algorithm {
            return Err(DerError::Tag);
        }
        let issuer = fields.expect(der::SEQUENCE)?.content;
        let validity = validity(fields.expect(der::SEQUENCE)?.content)?;
        let subject = fields.expect(der::SEQUENCE)?.content;
        let key_info = fields.expect(der::SEQUENCE)?;
        let mut key_parts = Reader::new(key_info.content);
        let key_algorithm = key_parts.expect(der::SEQUENCE)?.content;
        let key = der::bits(key_parts.expect(der::BIT_STRING)?.content)?;
        key_parts.finish()?;
        fields.optional(ISSUER_ID)?;
        fields.optional(SUBJECT_ID)?;
        let alternative_names = match fields.optional(EXTENSIONS)? {
            Some(extensions) => alternative_names(extensions.content)?,
            None => None,
        };
        fields.finish()?;
        Ok(Self {
            version,
            signed: signed.whole,
            signature_algorithm,
            signature,
            issuer,
            subject,
            validity,
            key_info: key_info.whole,
            key_algorithm,
            key,
            alternative_names,
        })
    }

    /// Returns true for the old kind without extensions, which the TLS library cannot read.
    pub(crate) fn is_v1(&self) -> bool {
        self.version == V1
    }

    /// Makes sure that the certificate is valid at this time.
    pub(crate) fn check_time(&self, time: UnixTime) -> Result<(), CertificateError> {
        let (not_before, not_after) = self.validity;
        if time < not_before {
            return Err(CertificateError::NotValidYetContext { time, not_before });
        }
        if time > not_after {
            return Err(CertificateError::ExpiredContext { time, not_after });
        }
        Ok(())
    }

    /// Returns the first common name of the subject, as OpenSSL and so PostgreSQL do.
    pub(crate) fn common_name(&self) -> Result<Option<String>, DerError> {
        let mut names = Reader::new(self.subject);
        while !names.is_empty() {
            let mut set = Reader::new(names.expect(der::SET)?.content);
            while !set.is_empty() {
                let mut pair = Reader::new(set.expect(der::SEQUENCE)?.content);
                let kind = pair.expect(der::OID)?.content;
                let value = pair.element()?;
                pair.finish()?;
                if kind == COMMON_NAME {
                    return text(value).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Returns the alternative names of the kinds that name hosts and users.
    pub(crate) fn alternative_names(&self) -> Result<Vec<AlternativeName>, DerError> {
        let mut list = Vec::new();
        let mut names = Reader::new(self.alternative_names.unwrap_or_default());
        while !names.is_empty() {
            let Element { tag, content, .. } = names.element()?;
            list.push(match tag {
                DNS_NAME => AlternativeName::Dns(ascii(content)?),
                RFC822_NAME => AlternativeName::Mail(ascii(content)?),
                URI => AlternativeName::Uri(ascii(content)?),
                IP_ADDRESS => AlternativeName::Ip(address(content)?),
                _ => continue,
            });
        }
        Ok(list)
    }
}

/// Finds the names in the list of extensions; returns the content of their sequence.
fn alternative_names(extensions: &[u8]) -> Result<Option<&[u8]>, DerError> {
    let mut outside = Reader::new(extensions);
    let mut list = Reader::new(outside.expect(der::SEQUENCE)?.content);
    outside.finish()?;
    let mut found = None;
    while !list.is_empty() {
        let mut extension = Reader::new(list.expect(der::SEQUENCE)?.content);
        let kind = extension.expect(der::OID)?.content;
        extension.optional(der::BOOLEAN)?;
        let value = extension.expect(der::OCTET_STRING)?.content;
        extension.finish()?;
        if kind != SUBJECT_ALT_NAME {
            continue;
        }
        if found.is_some() {
            return Err(DerError::Trailing);
        }
        let mut names = Reader::new(value);
        found = Some(names.expect(der::SEQUENCE)?.content);
        names.finish()?;
    }
    Ok(found)
}

fn address(content: &[u8]) -> Result<IpAddr, DerError> {
    if let Ok(v4) = <[u8; 4]>::try_from(content) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(content).map(IpAddr::from).map_err(|_| DerError::Name)
}

fn ascii(content: &[u8]) -> Result<String, DerError> {
    without_nul(content)?;
    if !content.is_ascii() {
        return Err(DerError::Name);
    }
    String::from_utf8(content.to_vec()).map_err(|_| DerError::Name)
}

fn without_nul(content: &[u8]) -> Result<(), DerError> {
    if content.contains(&0) { Err(DerError::NulInName) } else { Ok(()) }
}

/// Reads the string types that certificate authorities really use in subjects.
fn text(value: Element<'_>) -> Result<String, DerError> {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const BMP: u8 = 0x1e;
    let text = match value.tag {
        UTF8 => String::from_utf8(value.content.to_vec()).map_err(|_| DerError::Name)?,
        PRINTABLE | IA5 => return ascii(value.content),
        // Teletex is Latin-1 in practice.
        TELETEX => value.content.iter().map(|&byte| char::from(byte)).collect(),
        BMP => {
            let (pairs, []) = value.content.as_chunks::<2>() else {
                return Err(DerError::Name);
            };
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| DerError::Name)?
        }
        _ => return Err(DerError::Name),
    };
    without_nul(text.as_bytes())?;
    Ok(text)
}

fn validity(content: &[u8]) -> Result<(UnixTime, UnixTime), DerError> {
    let mut times = Reader::new(content);
    let first = time(times.element()?)?;
    let last = time(times.element()?)?;
    times.finish()?;
    Ok((moment(first), moment(last)))
}

/// What lies before 1970 is as good as 1970: nothing was signed then.
fn moment(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Reads `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`; returns seconds since 1970.
fn time(value: Element<'_>) -> Result<i64, DerError> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let (year, rest) = match value.tag {
        UTC => {
            let (year, rest) = number(value.content, 2)?;
            (if year < 50 { year + 2000 } else { year + 1900 }, rest)
        }
        GENERALIZED => number(value.content, 4)?,
        _ => return Err(DerError::Tag),
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61
        && rest == b"Z";
    if !sound {
        return Err(DerError::Time);
    }
    Ok(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(bytes: &[u8], digits: usize) -> Result<(i64, &[u8]), DerError> {
    let (digits, rest) = bytes.split_at_checked(digits).ok_or(DerError::Time)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(DerError::Time);
    }
    Ok((digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')), rest))
}

/// Returns the days from 1970-01-01, in the Gregorian calendar; the year has at most 4 digits.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year starts in March here, so that the leap day is its last day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leaps + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tag: u8, text: &str) -> Result<i64, DerError> {
        time(Element { tag, content: text.as_bytes(), whole: &[] })
    }

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(at(0x17, "700101000000Z"), Ok(0));
        assert_eq!(at(0x17, "000229123456Z"), Ok(951_827_696));
        assert_eq!(at(0x17, "491231235959Z"), Ok(2_524_607_999));
        assert_eq!(at(0x18, "20500101000000Z"), Ok(2_524_608_000));
        assert_eq!(at(0x18, "19691231235959Z"), Ok(-1));
        for wrong in ["20501301000000Z", "20500101000000", "20500101000000+0100", "2050010100Z"] {
            assert_eq!(at(0x18, wrong), Err(DerError::Time), "{wrong}");
        }
    }

    #[test]
    fn a_zero_byte_is_refused_in_every_kind_of_string() {
        for (tag, content) in [
            (0x0c, &b"alice\0.evil"[..]),
            (0x13, b"alice\0.evil"),
            (0x14, b"alice\0.evil"),
            (0x16, b"alice\0.evil"),
            (0x1e, b"\0a\0\0\0b"),
        ] {
            let element = Element { tag, content, whole: &[] };
            assert_eq!(text(element), Err(DerError::NulInName), "{tag:#x}");
        }
    }

    #[test]
    fn strings_of_every_kind_read_as_text() {
        for (tag, content, expected) in [
            (0x0c, "grün".as_bytes(), "grün"),
            (0x13, b"alice", "alice"),
            (0x14, b"gr\xfcn", "grün"),
            (0x1e, b"\0g\0r\0\xfc\0n", "grün"),
        ] {
            assert_eq!(text(Element { tag, content, whole: &[] }).as_deref(), Ok(expected));
        }
        assert_eq!(text(Element { tag: 0x04, content: b"x", whole: &[] }), Err(DerError::Name));
    }
}
