//! Sync, Flush and Terminate: messages without a body.

use alloc::vec::Vec;

use crate::encode;
use crate::tag::FrontendTag;

/// Appends a Sync.
pub fn sync(out: &mut Vec<u8>) {
    encode::message(out, FrontendTag::Sync.byte(), |_| {});
}

/// Appends a Flush.
pub fn flush(out: &mut Vec<u8>) {
    encode::message(out, FrontendTag::Flush.byte(), |_| {});
}

/// Appends a Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    encode::message(out, FrontendTag::Terminate.byte(), |_| {});
}
