//! CopyInResponse, CopyOutResponse, CopyBothResponse, CopyData and CopyDone of a server.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::list::Formats;
use crate::tag::BackendTag;

/// A COPY begins.
#[derive(Debug, Clone, Copy)]
pub struct CopyResponse<'a> {
    /// The overall format: 0 is text, 1 is binary.
    pub format: u8,
    /// The format of each column.
    pub columns: Formats<'a>,
}

impl<'a> CopyResponse<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not a format and a list of formats.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let format = cursor.u8()?;
        if format > 1 {
            return Err(ProtocolError::BadValue);
        }
        let columns = Formats::read(&mut cursor)?;
        cursor.finish()?;
        Ok(Self { format, columns })
    }
}

fn response(out: &mut Vec<u8>, tag: BackendTag, columns: usize) {
    encode::message(out, tag.byte(), |out| {
        out.push(0);
        encode::count(out, columns);
        for _ in 0..columns {
            encode::i16(out, 0);
        }
    });
}

/// Appends a CopyInResponse for text columns.
pub fn copy_in_response(out: &mut Vec<u8>, columns: usize) {
    response(out, BackendTag::CopyInResponse, columns);
}

/// Appends a CopyOutResponse for text columns.
pub fn copy_out_response(out: &mut Vec<u8>, columns: usize) {
    response(out, BackendTag::CopyOutResponse, columns);
}

/// Appends a CopyBothResponse for text columns.
pub fn copy_both_response(out: &mut Vec<u8>, columns: usize) {
    response(out, BackendTag::CopyBothResponse, columns);
}

/// Appends a CopyData.
pub fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    encode::message(out, BackendTag::CopyData.byte(), |out| out.extend_from_slice(data));
}

/// Appends a CopyDone.
pub fn copy_done(out: &mut Vec<u8>) {
    encode::message(out, BackendTag::CopyDone.byte(), |_| {});
}
