//! Parse: prepare a statement under a name.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::list::Oids;
use crate::tag::FrontendTag;

/// A statement to prepare.
#[derive(Debug, Clone, Copy)]
pub struct Parse<'a> {
    /// The name; empty for the unnamed statement.
    pub name: &'a [u8],
    /// The text, without its terminator.
    pub sql: &'a [u8],
    /// The parameter types the client fixes; 0 leaves one to the server.
    pub oids: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of a Parse.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let name = cursor.cstr()?;
        let sql = cursor.cstr()?;
        let oids = Oids::read(&mut cursor)?;
        cursor.finish()?;
        Ok(Self { name, sql, oids })
    }
}

/// Appends a Parse.
pub fn parse(out: &mut Vec<u8>, name: &[u8], sql: &[u8], oids: &[u32]) {
    encode::message(out, FrontendTag::Parse.byte(), |out| {
        encode::cstr(out, name);
        encode::cstr(out, sql);
        encode::count(out, oids.len());
        for oid in oids {
            encode::u32(out, *oid);
        }
    });
}
