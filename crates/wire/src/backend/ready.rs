//! ReadyForQuery: the server has answered, and says whether a transaction is open.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// Where the session stands between two queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// No transaction, `I`.
    Idle,
    /// Inside a transaction, `T`.
    Open,
    /// Inside a transaction that failed and waits for its end, `E`.
    Failed,
}

impl Status {
    /// Returns the byte that goes on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }

    /// Returns the status that a byte stands for.
    ///
    /// # Errors
    /// The byte is none of `I`, `T`, `E`.
    pub const fn from_byte(byte: u8) -> Result<Self, ProtocolError> {
        match byte {
            b'I' => Ok(Self::Idle),
            b'T' => Ok(Self::Open),
            b'E' => Ok(Self::Failed),
            status => Err(ProtocolError::BadStatus { status }),
        }
    }

    /// Reads the body of a ReadyForQuery.
    ///
    /// # Errors
    /// The body is not one known status byte.
    pub fn read(body: &[u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let status = Self::from_byte(cursor.u8()?)?;
        cursor.finish()?;
        Ok(status)
    }
}

/// Appends a ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: Status) {
    encode::message(out, BackendTag::ReadyForQuery.byte(), |out| out.push(status.byte()));
}
