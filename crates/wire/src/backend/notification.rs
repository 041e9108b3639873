//! NotificationResponse: a NOTIFY of some session.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// A NOTIFY of some session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationResponse<'a> {
    /// The process that notified.
    pub pid: i32,
    /// The channel.
    pub channel: &'a [u8],
    /// The text sent along.
    pub payload: &'a [u8],
}

impl<'a> NotificationResponse<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not a process and two strings.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let pid = cursor.i32()?;
        let channel = cursor.cstr()?;
        let payload = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { pid, channel, payload })
    }
}

/// Appends a NotificationResponse.
pub fn notification_response(out: &mut Vec<u8>, pid: i32, channel: &[u8], payload: &[u8]) {
    encode::message(out, BackendTag::NotificationResponse.byte(), |out| {
        encode::i32(out, pid);
        encode::cstr(out, channel);
        encode::cstr(out, payload);
    });
}
