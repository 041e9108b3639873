//! The three messages that share the tag `p`: PasswordMessage, SASLInitialResponse, SASLResponse.
//!
//! Invariant: which of them a body is depends on what the server asked for, never on the body.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::FrontendTag;

/// A password in clear, or the answer to an MD5 request. Without Debug: it is a secret.
#[derive(Clone, Copy)]
pub struct Password<'a> {
    /// The text, without its terminator.
    pub text: &'a [u8],
}

impl<'a> Password<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The text has no terminator, or something follows it.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let text = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { text })
    }
}

/// The start of a SASL exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitial<'a> {
    /// The mechanism the client chose.
    pub mechanism: &'a [u8],
    /// Its first message; `None` if it has nothing to say first.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitial<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not that of a SASLInitialResponse.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let mechanism = cursor.cstr()?;
        let data = cursor.value()?;
        cursor.finish()?;
        Ok(Self { mechanism, data })
    }
}

/// Appends a PasswordMessage.
pub fn password(out: &mut Vec<u8>, text: &[u8]) {
    encode::message(out, FrontendTag::Password.byte(), |out| encode::cstr(out, text));
}

/// Appends a SASLInitialResponse.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &[u8], data: &[u8]) {
    encode::message(out, FrontendTag::Password.byte(), |out| {
        encode::cstr(out, mechanism);
        encode::value(out, Some(data));
    });
}

/// Appends a SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    encode::message(out, FrontendTag::Password.byte(), |out| out.extend_from_slice(data));
}
