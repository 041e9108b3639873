//! Bind: give a prepared statement its parameters and make a portal of it.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::list::{Formats, Values};
use crate::tag::FrontendTag;

/// Parameters for a prepared statement.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// The portal to make; empty for the unnamed portal.
    pub portal: &'a [u8],
    /// The statement; empty for the unnamed statement.
    pub statement: &'a [u8],
    /// The formats of the values: none, one for all, or one each.
    pub formats: Formats<'a>,
    /// The values.
    pub values: Values<'a>,
    /// The formats wanted for the result columns.
    pub result_formats: Formats<'a>,
}

impl<'a> Bind<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of a Bind.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let portal = cursor.cstr()?;
        let statement = cursor.cstr()?;
        let formats = Formats::read(&mut cursor)?;
        let values = Values::read(&mut cursor)?;
        let result_formats = Formats::read(&mut cursor)?;
        cursor.finish()?;
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(ProtocolError::BadLength);
        }
        Ok(Self { portal, statement, formats, values, result_formats })
    }
}

/// Appends a Bind with text values and text results.
pub fn bind_text(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], values: &[Option<&[u8]>]) {
    bind(out, portal, statement, &[], values, &[]);
}

/// Appends a Bind.
pub fn bind(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    formats: &[i16],
    values: &[Option<&[u8]>],
    result_formats: &[i16],
) {
    encode::message(out, FrontendTag::Bind.byte(), |out| {
        encode::cstr(out, portal);
        encode::cstr(out, statement);
        encode::count(out, formats.len());
        for format in formats {
            encode::i16(out, *format);
        }
        encode::count(out, values.len());
        for value in values {
            encode::value(out, *value);
        }
        encode::count(out, result_formats.len());
        for format in result_formats {
            encode::i16(out, *format);
        }
    });
}
