//! The first packet of a connection, and the settings inside its `options` parameter.
//!
//! Invariant: a length outside of 8..=10004 is refused from its four bytes alone; every parameter
//! name occurs once, with the value that came last, so that all who ask see the same one.
//! Not here: in which order first packets are legal (`login::accept`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use crate::backend;
use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::frontend::{CANCEL_CODE, GSS_CODE, SSL_CODE};

/// The smallest length field of a first packet.
pub const LEN_MIN: u32 = 8;
/// The largest length field of a first packet: four more than PostgreSQL's 10000.
pub const LEN_MAX: u32 = 10_004;
/// The newest protocol version spoken here.
pub const PROTOCOL_NEWEST: (u16, u16) = (3, 2);
/// The longest user name, as in PgBouncer.
pub const USER_MAX: usize = 127;

/// Names and values of parameters, in order.
pub type Params = Vec<(Vec<u8>, Vec<u8>)>;

/// What a client may open a connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// A login.
    Startup(Startup),
    /// A request for TLS.
    Ssl,
    /// A request for GSSAPI encryption.
    Gss,
    /// A request to cancel what another connection runs.
    Cancel(CancelRequest),
}

/// A login as the client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The protocol version: as asked for, or as negotiated after [`Startup::negotiate`].
    pub protocol: (u16, u16),
    /// The parameters in order, each name once.
    pub params: Params,
    /// The names of protocol options (`_pq_.…`), none of which is known here.
    pub unknown_options: Vec<Vec<u8>>,
}

/// What a replication connection replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replication {
    /// The whole cluster.
    Physical,
    /// One database.
    Logical,
}

/// A request to cancel what another connection runs.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// The process named in BackendKeyData.
    pub pid: i32,
    /// The secret named there: 4 to 256 bytes.
    pub key: Vec<u8>,
}

impl fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelRequest").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Startup {
    /// Returns the value of a parameter.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.params.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }

    /// Returns the user; empty if none was given.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        self.get(b"user").unwrap_or_default()
    }

    /// Returns the database: the user's name if none was given.
    #[must_use]
    pub fn database(&self) -> &[u8] {
        self.get(b"database").filter(|name| !name.is_empty()).unwrap_or_else(|| self.user())
    }

    /// Returns what the connection wants to replicate, if anything.
    ///
    /// # Errors
    /// The value of `replication` is neither a boolean nor `database`.
    pub fn replication(&self) -> Result<Option<Replication>, ProtocolError> {
        let Some(value) = self.get(b"replication") else {
            return Ok(None);
        };
        if value == b"database" {
            return Ok(Some(Replication::Logical));
        }
        boolean(value)
            .map(|on| on.then_some(Replication::Physical))
            .ok_or(ProtocolError::BadReplication)
    }

    /// Settles the protocol version: if the client asked for a newer minor version or for options
    /// that are unknown here, appends the one NegotiateProtocolVersion that says so.
    pub fn negotiate(&mut self, out: &mut Vec<u8>) {
        if self.protocol > PROTOCOL_NEWEST || !self.unknown_options.is_empty() {
            self.protocol = self.protocol.min(PROTOCOL_NEWEST);
            backend::negotiate_protocol_version(out, self.protocol, &self.unknown_options);
        }
    }
}

/// Reads a boolean as PostgreSQL does: any unique prefix, any case.
fn boolean(text: &[u8]) -> Option<bool> {
    let prefix_of = |word: &[u8], least: usize| {
        text.len() >= least
            && word.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text))
    };
    if prefix_of(b"true", 1) || prefix_of(b"yes", 1) || prefix_of(b"on", 2) || text == b"1" {
        return Some(true);
    }
    if prefix_of(b"false", 1) || prefix_of(b"no", 1) || prefix_of(b"off", 2) || text == b"0" {
        return Some(false);
    }
    None
}

/// Reads the first packet and says how many bytes it takes; `None` when a part of it is missing.
///
/// # Errors
/// The packet is none that may open a connection. What can be told from its first bytes is told
/// before the rest arrives.
pub fn parse_first(input: &[u8]) -> Result<Option<(usize, First)>, ProtocolError> {
    // No length starts with this byte; it is a password that nobody asked for.
    if input.first() == Some(&b'p') {
        return Err(ProtocolError::PasswordBeforeStartup);
    }
    let mut head = Cursor::new(input);
    let Ok(len) = head.u32() else {
        return Ok(None);
    };
    if !(LEN_MIN..=LEN_MAX).contains(&len) {
        return Err(ProtocolError::StartupLength { len });
    }
    let Ok(code) = head.u32() else {
        return Ok(None);
    };
    let bare = |first| match len {
        LEN_MIN => Ok(first),
        _ => Err(ProtocolError::StartupLength { len }),
    };
    // All that depends on the first eight bytes comes before waiting for the others.
    let bare = match code {
        SSL_CODE => Some(bare(First::Ssl)?),
        GSS_CODE => Some(bare(First::Gss)?),
        CANCEL_CODE if !(16..=268).contains(&len) => {
            return Err(ProtocolError::CancelLength { len });
        }
        CANCEL_CODE => None,
        version => {
            check_version(version)?;
            None
        }
    };
    let body =
        usize::try_from(len.saturating_sub(LEN_MIN)).map_err(|_| ProtocolError::BadLength)?;
    let Ok(body) = head.bytes(body) else {
        return Ok(None);
    };
    let consumed = input.len().saturating_sub(head.remaining());
    let first = match bare {
        Some(first) => first,
        None if code == CANCEL_CODE => First::Cancel(cancel(body)?),
        None => First::Startup(startup(code, body)?),
    };
    Ok(Some((consumed, first)))
}

fn version(code: u32) -> (u16, u16) {
    let [a, b, c, d] = code.to_be_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

fn check_version(code: u32) -> Result<(), ProtocolError> {
    match version(code) {
        (3, _) => Ok(()),
        (2, _) => Err(ProtocolError::OldProtocol),
        (major, minor) => Err(ProtocolError::UnsupportedProtocol { major, minor }),
    }
}

fn cancel(body: &[u8]) -> Result<CancelRequest, ProtocolError> {
    let mut cursor = Cursor::new(body);
    let pid = cursor.i32()?;
    Ok(CancelRequest { pid, key: cursor.rest().to_vec() })
}

fn startup(code: u32, body: &[u8]) -> Result<Startup, ProtocolError> {
    let pairs = pairs(body).map_err(|_| ProtocolError::StartupLayout)?;
    // From the end, so that the last of repeated names is the one that stays.
    let mut seen = BTreeSet::new();
    let mut kept: Vec<_> = pairs.iter().rev().filter(|(name, _)| seen.insert(*name)).collect();
    kept.reverse();
    let is_option = |name: &[u8]| name.starts_with(b"_pq_.");
    let (options, params): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|(name, _)| is_option(name));
    Ok(Startup {
        protocol: version(code),
        params: params.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        unknown_options: options.iter().map(|(name, _)| name.to_vec()).collect(),
    })
}

type Pair<'a> = (&'a [u8], &'a [u8]);

/// Names and values up to the empty name, which must be the last byte.
fn pairs(body: &[u8]) -> Result<Vec<Pair<'_>>, ProtocolError> {
    let mut cursor = Cursor::new(body);
    let mut pairs = Vec::new();
    loop {
        let name = cursor.cstr()?;
        if name.is_empty() {
            break;
        }
        pairs.push((name, cursor.cstr()?));
    }
    cursor.finish()?;
    Ok(pairs)
}

/// Reads the settings in an `options` parameter: `-c name=value`, `-cname=value` and
/// `--name=value`, where a backslash takes the next byte as it is.
///
/// # Errors
/// Anything else. The text is read once from front to back.
pub fn options(text: &[u8]) -> Result<Params, ProtocolError> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == b"-c" {
            words.next().ok_or(ProtocolError::BadOptions)?
        } else {
            word.strip_prefix(b"-c")
                .or_else(|| word.strip_prefix(b"--"))
                .ok_or(ProtocolError::BadOptions)?
                .to_vec()
        };
        let mut halves = setting.splitn(2, |byte| *byte == b'=');
        let name = halves.next().filter(|name| !name.is_empty());
        let (Some(name), Some(value)) = (name, halves.next()) else {
            return Err(ProtocolError::BadOptions);
        };
        // PostgreSQL takes both spellings of a name, with dashes and with underscores.
        let name = name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
        settings.push((name, value.to_vec()));
    }
    Ok(settings)
}

/// Splits at white space, taking the byte after a backslash as it is.
fn words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r' => words.extend(word.take()),
            b'\\' => {
                let word = word.get_or_insert_default();
                word.extend(bytes.next());
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend;
    use alloc::vec;

    fn raw(len: u32, rest: &[u8]) -> Vec<u8> {
        [&len.to_be_bytes()[..], rest].concat()
    }

    fn login(params: &[(&[u8], &[u8])]) -> Startup {
        let mut out = Vec::new();
        frontend::startup(&mut out, params);
        match parse_first(&out).unwrap().unwrap() {
            (consumed, First::Startup(startup)) if consumed == out.len() => startup,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_impossible_length_is_refused_from_its_four_bytes_and_without_a_reply() {
        for len in [0, 1, 2, 3, 4, 5, 6, 7, 10_005, 65_535, 65_537, 1 << 30, 1 << 31, u32::MAX] {
            let error = parse_first(&raw(len, b"")).unwrap_err();
            let expected = match len.to_be_bytes() {
                [b'p', ..] => ProtocolError::PasswordBeforeStartup,
                _ => ProtocolError::StartupLength { len },
            };
            assert_eq!(error, expected);
            assert!(error.is_silent());
        }
        for len in [8, 9_999, 10_000, 10_001, 10_004] {
            assert_eq!(parse_first(&raw(len, b"")), Ok(None));
        }
    }

    #[test]
    fn every_prefix_of_a_packet_waits_for_the_rest() {
        let mut out = Vec::new();
        frontend::startup(&mut out, &[(b"user", b"alice"), (b"database", b"shop")]);
        for n in 0..out.len() {
            assert_eq!(parse_first(&out[..n]), Ok(None));
        }
        out.extend_from_slice(b"more");
        assert_eq!(parse_first(&out).unwrap().unwrap().0, out.len() - 4);
    }

    #[test]
    fn requests_for_encryption_are_eight_bytes() {
        for (first, request) in [
            (First::Ssl, frontend::ssl_request as fn(&mut Vec<u8>)),
            (First::Gss, frontend::gss_request),
        ] {
            let mut out = Vec::new();
            request(&mut out);
            assert_eq!(parse_first(&out), Ok(Some((8, first))));
            out[3] = 9;
            out.push(0);
            assert_eq!(parse_first(&out), Err(ProtocolError::StartupLength { len: 9 }));
        }
    }

    #[test]
    fn a_cancel_key_has_4_to_256_bytes() {
        for len in [0usize, 1, 3, 4, 5, 32, 255, 256, 257] {
            let key = vec![7; len];
            let mut out = Vec::new();
            frontend::cancel_request(&mut out, -5, &key);
            let found = parse_first(&out);
            if (4..=256).contains(&len) {
                let first = First::Cancel(CancelRequest { pid: -5, key });
                assert_eq!(found, Ok(Some((out.len(), first))));
            } else {
                assert!(found.unwrap_err().is_silent());
            }
        }
    }

    #[test]
    fn only_protocol_3_is_spoken() {
        let check = |version: u32| parse_first(&raw(9, &version.to_be_bytes()));
        assert_eq!(check(2 << 16), Err(ProtocolError::OldProtocol));
        let unsupported = |major, minor| Err(ProtocolError::UnsupportedProtocol { major, minor });
        assert_eq!(check(4 << 16), unsupported(4, 0));
        assert_eq!(check(0), unsupported(0, 0));
        assert_eq!(check((1234 << 16) + 5681), unsupported(1234, 5681));
        assert_eq!(check((3 << 16) + 9999), Ok(None));
    }

    #[test]
    fn a_newer_minor_version_or_an_unknown_option_is_negotiated_once() {
        let check = |version, params: &[(&[u8], &[u8])]| {
            let mut out = Vec::new();
            frontend::startup_version(&mut out, version, params);
            let (_, First::Startup(mut startup)) = parse_first(&out).unwrap().unwrap() else {
                panic!("not a startup")
            };
            let mut reply = Vec::new();
            startup.negotiate(&mut reply);
            (startup, reply)
        };
        for version in [(3, 0), (3, 1), (3, 2)] {
            let (startup, reply) = check(version, &[(b"user", b"a")]);
            assert_eq!((startup.protocol, reply.len()), (version, 0));
        }
        let (startup, reply) = check((3, 9999), &[(b"_pq_.x", b"1"), (b"user", b"a")]);
        assert_eq!(startup.protocol, (3, 2));
        assert_eq!(startup.params, [(b"user".to_vec(), b"a".to_vec())]);
        assert_eq!(reply, b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0");
        let (startup, reply) = check((3, 0), &[(b"_pq_.x", b"1")]);
        assert_eq!(startup.protocol, (3, 0));
        assert_eq!(reply, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
    }

    #[test]
    fn the_last_of_repeated_parameters_counts_for_everyone() {
        let startup = login(&[(b"user", b"a"), (b"database", b"d"), (b"user", b"b")]);
        assert_eq!(startup.user(), b"b");
        assert_eq!(startup.params.len(), 2);
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        assert_eq!(login(&[(b"user", b"a")]).database(), b"a");
        assert_eq!(login(&[(b"user", b"a"), (b"database", b"")]).database(), b"a");
        assert_eq!(login(&[(b"user", b"a"), (b"database", b"d")]).database(), b"d");
    }

    #[test]
    fn replication_is_a_boolean_or_database() {
        let check = |value: &[u8]| login(&[(b"replication", value)]).replication();
        for on in [&b"true"[..], b"t", b"TRUE", b"1", b"on", b"yes", b"y"] {
            assert_eq!(check(on), Ok(Some(Replication::Physical)));
        }
        for off in [&b"false"[..], b"0", b"off", b"of", b"no", b"n"] {
            assert_eq!(check(off), Ok(None));
        }
        assert_eq!(check(b"database"), Ok(Some(Replication::Logical)));
        for bad in [&b""[..], b"o", b"2", b"databases", b"truex"] {
            assert_eq!(check(bad), Err(ProtocolError::BadReplication));
        }
        assert_eq!(login(&[]).replication(), Ok(None));
    }

    #[test]
    fn parameters_must_end_with_the_empty_name() {
        let version = 196_608u32.to_be_bytes();
        for bad in
            [&b"user\0a\0"[..], b"user\0a", b"user\0", b"user", b"\0\0", b"user\0a\0\0x", b""]
        {
            let rest = [&version[..], bad].concat();
            let len = u32::try_from(rest.len() + 4).unwrap();
            let found = parse_first(&raw(len, &rest));
            assert_eq!(found, Err(ProtocolError::StartupLayout), "{bad:?}");
        }
    }

    #[test]
    fn as_many_parameters_as_fit_are_read() {
        let names: Vec<_> = (0..1500u32).map(|n| alloc::format!("{n}").into_bytes()).collect();
        let params: Vec<(&[u8], &[u8])> = names.iter().map(|n| (&n[..], &b""[..])).collect();
        assert_eq!(login(&params).params.len(), 1500);
    }

    #[test]
    fn options_are_read_in_both_spellings_and_nothing_else_is() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let found = options(text.as_bytes()).unwrap();
            let expected: Vec<_> = expected
                .iter()
                .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
                .collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("  \t ", &[]);
        check("-c a=b", &[("a", "b")]);
        check(" -c   a=b  -cc=d --e=f ", &[("a", "b"), ("c", "d"), ("e", "f")]);
        check("--search-path=x", &[("search_path", "x")]);
        check("-c a=b=c", &[("a", "b=c")]);
        check("-c a=", &[("a", "")]);
        check(r"-c a=b\ c\\d\e", &[("a", r"b c\de")]);
        check(r"-c a=b\", &[("a", "b")]);
        check("-c\ta=b\n--c=d", &[("a", "b"), ("c", "d")]);
        let refused =
            ["-c", "-c=", "-c =", "-c =x", "--", "--=", "--a", "-c a", "a=b", "-d a=b", "-", r"\"];
        for bad in refused {
            assert_eq!(options(bad.as_bytes()), Err(ProtocolError::BadOptions), "{bad}");
        }
    }
}
