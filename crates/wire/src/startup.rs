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

/// So many parameters are compared each with each; more, which nobody but a hostile client sends,
/// go through a set.
const FEW: usize = 16;

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
    let mut startup = Startup {
        protocol: version(code),
        params: Vec::with_capacity(pairs.len()),
        unknown_options: Vec::new(),
    };
    let repeated = repeated(&pairs);
    for (place, (name, value)) in pairs.iter().enumerate() {
        if repeated.contains(&place) {
            continue;
        }
        if name.starts_with(b"_pq_.") {
            startup.unknown_options.push(name.to_vec());
        } else {
            startup.params.push((name.to_vec(), value.to_vec()));
        }
    }
    Ok(startup)
}

/// The places of pairs whose name comes again later: the last of repeated names stays.
fn repeated(pairs: &[Pair<'_>]) -> BTreeSet<usize> {
    if pairs.len() <= FEW {
        let comes_again = |place: usize, name: &[u8]| {
            pairs.iter().skip(place.saturating_add(1)).any(|(later, _)| *later == name)
        };
        let places = pairs.iter().enumerate();
        return places.filter(|(p, (name, _))| comes_again(*p, name)).map(|(p, _)| p).collect();
    }
    let mut seen = BTreeSet::new();
    let places = pairs.iter().enumerate().rev();
    places.filter(|(_, (name, _))| !seen.insert(*name)).map(|(place, _)| place).collect()
}

type Pair<'a> = (&'a [u8], &'a [u8]);

/// Names and values up to the empty name, which must be the last byte.
fn pairs(body: &[u8]) -> Result<Vec<Pair<'_>>, ProtocolError> {
    let mut cursor = Cursor::new(body);
    let mut pairs = Vec::with_capacity(8);
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
#[path = "startup_tests.rs"]
mod tests;
