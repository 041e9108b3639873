//! Builders of the packets that open a connection; they have no type byte.
//!
//! Not here: reading them (`startup.rs`).

use alloc::vec::Vec;

use crate::encode;

/// The version field of protocol 3.0.
pub const PROTOCOL_3_0: (u16, u16) = (3, 0);

pub(crate) const CANCEL_CODE: u32 = 80_877_102;
pub(crate) const SSL_CODE: u32 = 80_877_103;
pub(crate) const GSS_CODE: u32 = 80_877_104;

/// Appends a startup packet of protocol 3.0. Pairs with an empty name are left out: an empty name
/// ends the list.
pub fn startup(out: &mut Vec<u8>, params: &[(&[u8], &[u8])]) {
    startup_version(out, PROTOCOL_3_0, params);
}

/// Appends a startup packet of the given protocol version.
pub fn startup_version(out: &mut Vec<u8>, (major, minor): (u16, u16), params: &[(&[u8], &[u8])]) {
    encode::prefixed(out, |out| {
        out.extend_from_slice(&major.to_be_bytes());
        out.extend_from_slice(&minor.to_be_bytes());
        for (name, value) in params.iter().filter(|(name, _)| !name.is_empty()) {
            encode::cstr(out, name);
            encode::cstr(out, value);
        }
        out.push(0);
    });
}

/// Appends an SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    encode::prefixed(out, |out| encode::u32(out, SSL_CODE));
}

/// Appends a GSSENCRequest.
pub fn gss_request(out: &mut Vec<u8>) {
    encode::prefixed(out, |out| encode::u32(out, GSS_CODE));
}

/// Appends a CancelRequest.
pub fn cancel_request(out: &mut Vec<u8>, pid: i32, key: &[u8]) {
    encode::prefixed(out, |out| {
        encode::u32(out, CANCEL_CODE);
        encode::i32(out, pid);
        out.extend_from_slice(key);
    });
}
