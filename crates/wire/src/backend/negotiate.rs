//! NegotiateProtocolVersion: the newest version the server speaks, and options it does not know.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// What a server answers to a version or an option that is too new for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The version it will speak.
    pub version: (u16, u16),
    /// The options it does not know.
    pub unknown: Vec<&'a [u8]>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not a version and a list of names.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let version = (cursor.u16()?, cursor.u16()?);
        let count = usize::try_from(cursor.i32()?).map_err(|_| ProtocolError::BadLength)?;
        // Each name takes at least its terminator, so the body bounds the list.
        if count > cursor.remaining() {
            return Err(ProtocolError::BadLength);
        }
        let mut unknown = Vec::with_capacity(count);
        for _ in 0..count {
            unknown.push(cursor.cstr()?);
        }
        cursor.finish()?;
        Ok(Self { version, unknown })
    }
}

/// Appends a NegotiateProtocolVersion. The version is written whole, as PostgreSQL does, though
/// its documentation speaks of the minor version only.
///
/// # Panics
/// More than `u16::MAX` names: a startup packet cannot hold them.
pub fn negotiate_protocol_version<N: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    (major, minor): (u16, u16),
    unknown: &[N],
) {
    encode::message(out, BackendTag::NegotiateProtocolVersion.byte(), |out| {
        out.extend_from_slice(&major.to_be_bytes());
        out.extend_from_slice(&minor.to_be_bytes());
        encode::i16(out, 0);
        encode::count(out, unknown.len());
        for name in unknown {
            encode::cstr(out, name.as_ref());
        }
    });
}
