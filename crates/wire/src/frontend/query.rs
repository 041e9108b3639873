//! Query: a string of SQL, answered up to ReadyForQuery.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::FrontendTag;

/// A simple query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The text, without its terminator.
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The text has no terminator, or something follows it.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let sql = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { sql })
    }
}

/// Appends a Query.
pub fn query(out: &mut Vec<u8>, sql: &[u8]) {
    encode::message(out, FrontendTag::Query.byte(), |out| encode::cstr(out, sql));
}
