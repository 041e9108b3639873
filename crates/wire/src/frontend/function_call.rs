//! FunctionCall: the old fast path, still legal and owed a ReadyForQuery.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::list::{Formats, Values};
use crate::tag::FrontendTag;

/// A call of a function by its identifier.
#[derive(Debug, Clone, Copy)]
pub struct FunctionCall<'a> {
    /// The function.
    pub oid: u32,
    /// The formats of the arguments: none, one for all, or one each.
    pub formats: Formats<'a>,
    /// The arguments.
    pub arguments: Values<'a>,
    /// The format wanted for the result.
    pub result_format: i16,
}

impl<'a> FunctionCall<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of a FunctionCall.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let oid = cursor.u32()?;
        let formats = Formats::read(&mut cursor)?;
        let arguments = Values::read(&mut cursor)?;
        let result_format = cursor.i16()?;
        cursor.finish()?;
        if formats.len() > 1 && formats.len() != arguments.len() {
            return Err(ProtocolError::BadLength);
        }
        Ok(Self { oid, formats, arguments, result_format })
    }
}

/// Appends a FunctionCall with text arguments and a text result.
pub fn function_call(out: &mut Vec<u8>, oid: u32, arguments: &[Option<&[u8]>]) {
    encode::message(out, FrontendTag::FunctionCall.byte(), |out| {
        encode::u32(out, oid);
        encode::count(out, 0);
        encode::count(out, arguments.len());
        for argument in arguments {
            encode::value(out, *argument);
        }
        encode::i16(out, 0);
    });
}
