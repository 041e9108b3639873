//! Checked reads from a message body; the only place that knows offsets.
//!
//! Invariant: a read either returns bytes that are there or an error; the cursor never moves back
//! and never past the end.
//! Not here: what the fields mean.

use crate::error::ProtocolError;

/// A reader over the bytes of one message.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// The body ends first.
    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a signed 16-bit number.
    ///
    /// # Errors
    /// The body ends first.
    pub fn i16(&mut self) -> Result<i16, ProtocolError> {
        self.array().map(i16::from_be_bytes)
    }

    /// Reads an unsigned 16-bit number.
    ///
    /// # Errors
    /// The body ends first.
    pub fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a signed 32-bit number.
    ///
    /// # Errors
    /// The body ends first.
    pub fn i32(&mut self) -> Result<i32, ProtocolError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Reads an unsigned 32-bit number.
    ///
    /// # Errors
    /// The body ends first.
    pub fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads up to the next zero byte and steps over it; the result is without that byte.
    ///
    /// # Errors
    /// There is no zero byte.
    pub fn cstr(&mut self) -> Result<&'a [u8], ProtocolError> {
        let end =
            self.rest.iter().position(|byte| *byte == 0).ok_or(ProtocolError::MissingTerminator)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// The body ends first.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads a length-prefixed value; a length of -1 means NULL.
    ///
    /// # Errors
    /// The body ends first, or the length is below -1.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.i32()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| ProtocolError::BadLength)?;
                self.bytes(len).map(Some)
            }
        }
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Tells whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Asserts that the body ends here.
    ///
    /// # Errors
    /// Something is left.
    pub const fn finish(self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ProtocolError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_big_endian() {
        let mut c = Cursor::new(&[1, 0, 2, 0xff, 0xfe, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(c.u8(), Ok(1));
        assert_eq!(c.u16(), Ok(2));
        assert_eq!(c.i16(), Ok(-2));
        assert_eq!(c.u32(), Ok(3));
        assert_eq!(c.i32(), Ok(-1));
        assert_eq!(c.finish(), Ok(()));
    }

    #[test]
    fn a_read_past_the_end_is_an_error_and_moves_nothing() {
        let mut c = Cursor::new(&[1, 2, 3]);
        assert_eq!(c.u32(), Err(ProtocolError::Truncated));
        assert_eq!(c.bytes(usize::MAX), Err(ProtocolError::Truncated));
        assert_eq!(c.rest(), &[1, 2, 3]);
        assert!(c.is_empty());
    }

    #[test]
    fn a_string_needs_its_terminator() {
        let mut c = Cursor::new(b"ab\0\0cd");
        assert_eq!(c.cstr(), Ok(&b"ab"[..]));
        assert_eq!(c.cstr(), Ok(&b""[..]));
        assert_eq!(c.cstr(), Err(ProtocolError::MissingTerminator));
        assert_eq!(c.remaining(), 2);
    }

    #[test]
    fn only_minus_one_is_null_other_negative_lengths_are_refused() {
        assert_eq!(Cursor::new(&[255; 4]).value(), Ok(None));
        let mut c = Cursor::new(&[255, 255, 255, 254]);
        assert_eq!(c.value(), Err(ProtocolError::BadLength));
        let mut c = Cursor::new(&[0, 0, 0, 2, 7, 8]);
        assert_eq!(c.value(), Ok(Some(&[7, 8][..])));
    }
}
