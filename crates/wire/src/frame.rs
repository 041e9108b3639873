//! Splits a byte stream into frames: one type byte, a length, a body.
//!
//! Invariant: a length field is checked before anything is made of it; nothing is buffered here.
//! Not here: the first packet of a connection (`startup.rs`) and what a body means.

use crate::error::ProtocolError;

/// Bytes in front of a body: the type byte and the length field.
pub const HEADER_LEN: usize = 5;

/// The first five bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type byte.
    pub tag: u8,
    /// The length field as on the wire: the body and the four bytes of the field itself.
    pub len: u32,
}

impl Header {
    /// Returns the number of bytes after the header.
    #[must_use]
    pub fn body_len(&self) -> usize {
        usize::try_from(self.len.saturating_sub(4)).unwrap_or(usize::MAX)
    }

    /// Returns the number of bytes of the whole message, header included.
    #[must_use]
    pub fn total(&self) -> usize {
        self.body_len().saturating_add(HEADER_LEN)
    }
}

/// A whole message that lies in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type byte.
    pub tag: u8,
    /// The bytes after the length field.
    pub body: &'a [u8],
    /// The number of bytes of the whole message, header included.
    pub total: usize,
}

/// Reads the header at the start of `input`; `None` when fewer than five bytes are there.
///
/// # Errors
/// A length field below four or above `i32::MAX`.
pub fn header(input: &[u8]) -> Result<Option<Header>, ProtocolError> {
    let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([a, b, c, d]);
    if len < 4 || i32::try_from(len).is_err() {
        return Err(ProtocolError::BadHeader { tag, len });
    }
    Ok(Some(Header { tag, len }))
}

/// Reads the whole message at the start of `input`; `None` when a part of it is missing.
///
/// # Errors
/// A bad header, or a body of more than `body_max` bytes: that is found from the header alone, so
/// that nobody buffers what will be refused.
pub fn whole(input: &[u8], body_max: u32) -> Result<Option<Frame<'_>>, ProtocolError> {
    let Some(header) = header(input)? else {
        return Ok(None);
    };
    let body_len = header.len.saturating_sub(4);
    if body_len > body_max {
        return Err(ProtocolError::FrameTooLong { len: body_len, max: body_max });
    }
    let total = header.total();
    Ok(input.get(HEADER_LEN..total).map(|body| Frame { tag: header.tag, body, total }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_five_bytes_are_no_header_yet() {
        for n in 0..5 {
            assert_eq!(header(&b"Z\0\0\0\x05I"[..n]), Ok(None));
        }
    }

    #[test]
    fn a_length_that_excludes_itself_or_is_negative_is_refused() {
        for len in [0u32, 1, 2, 3, 1 << 31, (1 << 31) + 1, u32::MAX] {
            for tag in 0..=255u8 {
                let [a, b, c, d] = len.to_be_bytes();
                let found = header(&[tag, a, b, c, d]);
                assert_eq!(found, Err(ProtocolError::BadHeader { tag, len }));
            }
        }
    }

    #[test]
    fn a_length_in_range_is_taken_as_it_is() {
        let legal = [4u32, 5, 8, 9_999, 10_000, 65_535, 65_537, (1 << 30) - 1, (1 << 31) - 1];
        for len in legal {
            let [a, b, c, d] = len.to_be_bytes();
            let found = header(&[b'Q', a, b, c, d]).unwrap().unwrap();
            assert_eq!((found.len, found.total()), (len, len as usize + 1));
            assert_eq!(found.body_len(), len as usize - 4);
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_arrives() {
        let found = whole(b"p\0\x01\0\x04", 65_535);
        assert_eq!(found, Err(ProtocolError::FrameTooLong { len: 65_536, max: 65_535 }));
    }

    #[test]
    fn a_whole_frame_ends_where_its_length_says() {
        let found = whole(b"Z\0\0\0\x05Inext", 10).unwrap().unwrap();
        assert_eq!(found, Frame { tag: b'Z', body: b"I", total: 6 });
        assert_eq!(whole(b"Z\0\0\0\x05", 10), Ok(None));
    }
}
