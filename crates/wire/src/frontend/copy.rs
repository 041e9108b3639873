//! CopyData, CopyDone and CopyFail of a client.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::FrontendTag;

/// The client gives up a COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFail<'a> {
    /// Why.
    pub reason: &'a [u8],
}

impl<'a> CopyFail<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The text has no terminator, or something follows it.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let reason = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { reason })
    }
}

/// Appends a CopyData.
pub fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    encode::message(out, FrontendTag::CopyData.byte(), |out| out.extend_from_slice(data));
}

/// Appends a CopyDone.
pub fn copy_done(out: &mut Vec<u8>) {
    encode::message(out, FrontendTag::CopyDone.byte(), |_| {});
}

/// Appends a CopyFail.
pub fn copy_fail(out: &mut Vec<u8>, reason: &[u8]) {
    encode::message(out, FrontendTag::CopyFail.byte(), |out| encode::cstr(out, reason));
}
