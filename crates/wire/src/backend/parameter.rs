//! ParameterStatus and ParameterDescription.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// The value of a run-time parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not two strings.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let name = cursor.cstr()?;
        let value = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { name, value })
    }
}

/// Appends a ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    encode::message(out, BackendTag::ParameterStatus.byte(), |out| {
        encode::cstr(out, name);
        encode::cstr(out, value);
    });
}

/// Appends a ParameterDescription.
pub fn parameter_description(out: &mut Vec<u8>, oids: &[u32]) {
    encode::message(out, BackendTag::ParameterDescription.byte(), |out| {
        encode::count(out, oids.len());
        for oid in oids {
            encode::u32(out, *oid);
        }
    });
}
