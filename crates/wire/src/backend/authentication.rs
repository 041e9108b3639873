//! Authentication: what the server wants to see before it lets a client in.

use alloc::vec::Vec;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::ProtocolError;
use crate::tag::BackendTag;

/// A login request, or its success.
#[derive(Debug, Clone, Copy)]
pub enum Authentication<'a> {
    /// The client is in.
    Ok,
    /// The password in clear.
    Cleartext,
    /// The password hashed with a salt.
    Md5 {
        /// The salt.
        salt: [u8; 4],
    },
    /// A SASL exchange.
    Sasl(Mechanisms<'a>),
    /// The server's next SASL message.
    SaslContinue(&'a [u8]),
    /// The server's last SASL message.
    SaslFinal(&'a [u8]),
    /// A method that exists but is not supported here (Kerberos, GSS, SSPI).
    Unsupported(u32),
}

impl<'a> Authentication<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// The code is unknown or the body does not fit it.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(body);
        let code = cursor.u32()?;
        let read = match code {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => {
                let salt = [cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?];
                Self::Md5 { salt }
            }
            10 => Self::Sasl(Mechanisms::read(&mut cursor)?),
            11 => Self::SaslContinue(cursor.rest()),
            12 => Self::SaslFinal(cursor.rest()),
            2 | 6 | 7 | 8 | 9 => {
                cursor.rest();
                Self::Unsupported(code)
            }
            _ => return Err(ProtocolError::BadValue),
        };
        cursor.finish()?;
        Ok(read)
    }
}

/// The SASL mechanisms a server offers.
#[derive(Debug, Clone, Copy)]
pub struct Mechanisms<'a> {
    bytes: &'a [u8],
}

impl<'a> Mechanisms<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, ProtocolError> {
        let bytes = cursor.rest();
        let mut walk = Cursor::new(bytes);
        while !walk.cstr()?.is_empty() {}
        walk.finish()?;
        Ok(Self { bytes })
    }

    /// Iterates the names.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        core::iter::from_fn(move || cursor.cstr().ok().filter(|name| !name.is_empty()))
    }
}

fn authentication(out: &mut Vec<u8>, code: u32, rest: impl FnOnce(&mut Vec<u8>)) {
    encode::message(out, BackendTag::Authentication.byte(), |out| {
        encode::u32(out, code);
        rest(out);
    });
}

/// Appends an AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0, |_| {});
}

/// Appends an AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3, |_| {});
}

/// Appends an AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, 5, |out| out.extend_from_slice(&salt));
}

/// Appends an AuthenticationSASL that offers the mechanisms in order of preference.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&[u8]]) {
    authentication(out, 10, |out| {
        for mechanism in mechanisms {
            encode::cstr(out, mechanism);
        }
        out.push(0);
    });
}

/// Appends an AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 11, |out| out.extend_from_slice(data));
}

/// Appends an AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 12, |out| out.extend_from_slice(data));
}
