//! Length-prefixed writing.
//!
//! Invariant: a length field is computed from what was written, never from what was promised, and
//! never wraps: a length that does not fit is a bug of ours and stops the connection.
//! Not here: which fields a message has (`frontend`, `backend`).

use alloc::vec::Vec;

/// Appends a message: the tag, a length field, and what `body` writes.
///
/// # Panics
/// The body is longer than `i32::MAX`. Bodies written here are ours and bounded by the limits
/// that were enforced before; wrapping the field instead would let the tail of a value be read as
/// messages.
pub fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    prefixed(out, body);
}

/// Appends a length field that counts itself, and what `body` writes: a packet without a tag.
///
/// # Panics
/// As [`message`].
pub fn prefixed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    patch(out, start, Field::WithItself);
}

/// Appends a value with its length in front; `None` is NULL.
///
/// # Panics
/// As [`message`].
pub fn value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(bytes) => {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(bytes);
            patch(out, start, Field::BodyOnly);
        }
    }
}

/// Appends a zero-terminated string. A zero byte inside ends it: what follows it could otherwise
/// be read as the next field.
pub fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    out.extend_from_slice(text);
    out.push(0);
}

/// Appends a 16-bit count.
///
/// # Panics
/// The count is above `u16::MAX`: the caller made a list that the protocol cannot carry.
#[expect(clippy::expect_used, reason = "a list of ours, not of a peer")]
pub fn count(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("a list of at most 65535 entries: callers bound it");
    out.extend_from_slice(&count.to_be_bytes());
}

/// Appends a signed 16-bit number.
pub fn i16(out: &mut Vec<u8>, number: i16) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a signed 32-bit number.
pub fn i32(out: &mut Vec<u8>, number: i32) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends an unsigned 32-bit number.
pub fn u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    WithItself,
    BodyOnly,
}

/// Fills the length field at `start` now that the end is known.
#[expect(clippy::expect_used, reason = "lengths of ours, bounded before anything is written")]
fn patch(out: &mut [u8], start: usize, field: Field) {
    let written = out.len().checked_sub(start).expect("the buffer only grew");
    let counted = match field {
        Field::WithItself => written,
        Field::BodyOnly => written.checked_sub(4).expect("the field was written first"),
    };
    let len = length_field(counted).expect("a body of at most 2^31 - 1 bytes: callers bound it");
    let hole = out
        .get_mut(start..)
        .and_then(|tail| tail.first_chunk_mut::<4>())
        .expect("the field was written first");
    *hole = len;
}

/// Returns the four bytes of a length field, or `None` when the protocol cannot express it.
fn length_field(len: usize) -> Option<[u8; 4]> {
    i32::try_from(len).ok().map(i32::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_itself_but_not_the_tag() {
        let mut out = Vec::new();
        message(&mut out, b'Q', |out| cstr(out, b"select 1"));
        assert_eq!(out, b"Q\0\0\0\x0dselect 1\0");
    }

    #[test]
    fn a_length_that_would_wrap_is_refused() {
        assert_eq!(length_field(i32::MAX as usize), Some([0x7f, 255, 255, 255]));
        for len in [1usize << 31, 1 << 32, (1 << 32) + 5, usize::MAX] {
            assert_eq!(length_field(len), None);
        }
    }

    #[test]
    fn a_zero_byte_inside_a_string_cannot_start_the_next_field() {
        let mut out = Vec::new();
        cstr(&mut out, b"user\0database");
        assert_eq!(out, b"user\0");
    }

    #[test]
    fn null_is_minus_one_and_an_empty_value_is_zero() {
        let mut out = Vec::new();
        value(&mut out, None);
        value(&mut out, Some(b""));
        value(&mut out, Some(b"x"));
        assert_eq!(out, b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x01x");
    }
}
