//! Lists inside a message: values, format codes, type identifiers.
//!
//! Invariant: a list is walked once when it is read; iterating it afterwards cannot fail.
//! Not here: what the values are.

use crate::cursor::Cursor;
use crate::error::ProtocolError;

/// A list of nullable values, each with its length in front.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Values<'a> {
    /// Reads a count and as many values.
    ///
    /// # Errors
    /// The body ends first, or a length is below -1.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, ProtocolError> {
        let count = cursor.u16()?;
        let mut walk = *cursor;
        for _ in 0..count {
            walk.value()?;
        }
        let len = cursor.remaining().saturating_sub(walk.remaining());
        Ok(Self { count, bytes: cursor.bytes(len)? })
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates the values; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.count).map_while(move |_| cursor.value().ok())
    }
}

/// A list of format codes: 0 is text, 1 is binary.
#[derive(Debug, Clone, Copy)]
pub struct Formats<'a> {
    bytes: &'a [u8],
}

impl<'a> Formats<'a> {
    /// Reads a count and as many codes.
    ///
    /// # Errors
    /// The body ends first.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, ProtocolError> {
        let count = usize::from(cursor.u16()?);
        Ok(Self { bytes: cursor.bytes(count.saturating_mul(2))? })
    }

    /// Returns the number of codes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.chunks_exact(2).len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Iterates the codes.
    pub fn iter(&self) -> impl Iterator<Item = i16> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        core::iter::from_fn(move || cursor.i16().ok())
    }
}

/// A list of type identifiers.
#[derive(Debug, Clone, Copy)]
pub struct Oids<'a> {
    bytes: &'a [u8],
}

impl<'a> Oids<'a> {
    /// Reads a count and as many identifiers.
    ///
    /// # Errors
    /// The body ends first.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, ProtocolError> {
        let count = usize::from(cursor.u16()?);
        Ok(Self { bytes: cursor.bytes(count.saturating_mul(4))? })
    }

    /// Returns the number of identifiers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.chunks_exact(4).len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Iterates the identifiers.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        core::iter::from_fn(move || cursor.u32().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_list_promising_more_than_is_there_is_refused() {
        let mut c = Cursor::new(b"\0\x02\0\0\0\x01a");
        assert_eq!(Values::read(&mut c).err(), Some(ProtocolError::Truncated));
        let mut c = Cursor::new(b"\xff\xff\0\0");
        assert_eq!(Formats::read(&mut c).err(), Some(ProtocolError::Truncated));
        let mut c = Cursor::new(b"\xff\xff\0\0");
        assert_eq!(Oids::read(&mut c).err(), Some(ProtocolError::Truncated));
    }

    #[test]
    fn values_come_back_in_order_and_leave_the_cursor_behind_them() {
        let mut c = Cursor::new(b"\0\x02\xff\xff\xff\xff\0\0\0\x01a\x07");
        let values = Values::read(&mut c).unwrap();
        assert_eq!(values.iter().collect::<Vec<_>>(), [None, Some(&b"a"[..])]);
        assert_eq!((values.len(), c.rest()), (2, &[7][..]));
    }
}
