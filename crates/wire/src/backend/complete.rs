//! The short answers: something finished, or there is nothing.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// A statement finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// What it was and how many rows, for example `INSERT 0 1`.
    pub tag: &'a [u8],
}

impl<'a> CommandComplete<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The text has no terminator, or something follows it.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let tag = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { tag })
    }
}

/// Appends a CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &[u8]) {
    encode::message(out, BackendTag::CommandComplete.byte(), |out| encode::cstr(out, tag));
}

/// Appends a ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::ParseComplete.byte(), |_| {});
}

/// Appends a BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::BindComplete.byte(), |_| {});
}

/// Appends a CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::CloseComplete.byte(), |_| {});
}

/// Appends an EmptyQueryResponse.
pub fn empty_query_response(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::EmptyQueryResponse.byte(), |_| {});
}

/// Appends a NoData.
pub fn no_data(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::NoData.byte(), |_| {});
}

/// Appends a PortalSuspended.
pub fn portal_suspended(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::PortalSuspended.byte(), |_| {});
}

/// Appends a FunctionCallResponse.
pub fn function_call_response(out: &mut Vec<u8>, value: Option<&[u8]>) {
    encode::message(out, BackendTag::FunctionCallResponse.byte(), |out| encode::value(out, value));
}
