//! Describe, Close and Execute: what is done with a statement or portal by its name.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::FrontendTag;

/// Which kind of name is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A prepared statement, `S`.
    Statement,
    /// A portal, `P`.
    Portal,
}

impl Target {
    /// Returns the byte that goes on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Statement => b'S',
            Self::Portal => b'P',
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ProtocolError> {
        match cursor.u8()? {
            b'S' => Ok(Self::Statement),
            b'P' => Ok(Self::Portal),
            _ => Err(ProtocolError::BadValue),
        }
    }
}

/// A request to describe a statement or portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// Which kind.
    pub target: Target,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of a Describe.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let (target, name) = named(body)?;
        Ok(Self { target, name })
    }
}

/// A request to close a statement or portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// Which kind.
    pub target: Target,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of a Close.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let (target, name) = named(body)?;
        Ok(Self { target, name })
    }
}

/// A request to run a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal.
    pub portal: &'a [u8],
    /// The most rows to return; 0 for all.
    pub rows_max: i32,
}

impl<'a> Execute<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of an Execute.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let portal = cursor.cstr()?;
        let rows_max = cursor.i32()?;
        cursor.finish()?;
        Ok(Self { portal, rows_max })
    }
}

fn named(body: &[u8]) -> Result<(Target, &[u8]), ProtocolError> {
    let mut cursor = Cursor::new(body);
    let target = Target::read(&mut cursor)?;
    let name = cursor.cstr()?;
    cursor.finish()?;
    Ok((target, name))
}

/// Appends a Describe.
pub fn describe(out: &mut Vec<u8>, target: Target, name: &[u8]) {
    encode::message(out, FrontendTag::Describe.byte(), |out| {
        out.push(target.byte());
        encode::cstr(out, name);
    });
}

/// Appends a Close.
pub fn close(out: &mut Vec<u8>, target: Target, name: &[u8]) {
    encode::message(out, FrontendTag::Close.byte(), |out| {
        out.push(target.byte());
        encode::cstr(out, name);
    });
}

/// Appends an Execute; `rows_max` 0 asks for all rows.
pub fn execute(out: &mut Vec<u8>, portal: &[u8], rows_max: i32) {
    encode::message(out, FrontendTag::Execute.byte(), |out| {
        encode::cstr(out, portal);
        encode::i32(out, rows_max);
    });
}
