//! A checked reader of DER, just enough for certificates.
//!
//! Invariant: every length is checked before it is used, nothing recurses, and what is not
//! DER (indefinite or padded lengths, tags of several bytes) is refused, not guessed at.
//! Not here: what a certificate means (`certificate.rs`).

use thiserror::Error;

/// A malformed part of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DerError {
    /// The bytes end before the element does.
    #[error("element is cut short")]
    Truncated,
    /// A length is indefinite, padded, or longer than four bytes.
    #[error("length is not in its shortest form")]
    Length,
    /// A tag of several bytes, or another element than the one that belongs here.
    #[error("unexpected element")]
    Tag,
    /// Bytes follow where the element should end.
    #[error("bytes after the end")]
    Trailing,
    /// A time that is not a date of the calendar.
    #[error("malformed time")]
    Time,
    /// A name that is not text.
    #[error("malformed name")]
    Name,
    /// A name with a zero byte: it would read as another name to anyone who stops there.
    #[error("name holds a zero byte")]
    NulInName,
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// One element: its tag, its content, and all of its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next element, whatever it is.
    pub(crate) fn element(&mut self) -> Result<Element<'a>, DerError> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::Tag);
        }
        let (len, body) = length(after_tag)?;
        let (content, rest) = body.split_at_checked(len).ok_or(DerError::Truncated)?;
        let used = self.rest.len().saturating_sub(rest.len());
        let whole = self.rest.get(..used).ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok(Element { tag, content, whole })
    }

    /// Reads the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let element = self.element()?;
        if element.tag == tag { Ok(element) } else { Err(DerError::Tag) }
    }

    /// Reads the next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.rest.first() == Some(&tag) { self.element().map(Some) } else { Ok(None) }
    }

    /// Makes sure that nothing is left.
    pub(crate) fn finish(self) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DerError::Trailing) }
    }
}

/// Reads a length; returns it and the bytes after it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let (&first, rest) = bytes.split_first().ok_or(DerError::Truncated)?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(DerError::Length);
    }
    let (digits, rest) = rest.split_at_checked(count).ok_or(DerError::Truncated)?;
    let value = digits.iter().fold(0u32, |value, &digit| (value << 8) | u32::from(digit));
    let shortest = digits.first() != Some(&0) && value >= 0x80;
    if !shortest {
        return Err(DerError::Length);
    }
    Ok((usize::try_from(value).map_err(|_| DerError::Length)?, rest))
}

/// Returns the bytes of a BIT STRING that is a whole number of bytes long.
pub(crate) fn bits(content: &[u8]) -> Result<&[u8], DerError> {
    match content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        Some(_) => Err(DerError::Tag),
        None => Err(DerError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(u8, Vec<u8>), DerError> {
        Reader::new(bytes).element().map(|element| (element.tag, element.content.to_vec()))
    }

    #[test]
    fn only_the_shortest_form_of_a_length_is_read() {
        assert_eq!(read(&[4, 2, 7, 8]), Ok((4, vec![7, 8])));
        assert_eq!(read(&[4, 0x81, 2, 7, 8]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x82, 0, 0x80]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x80, 0, 0]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x85, 1, 1, 1, 1, 1]), Err(DerError::Length));
        let long = [&[4, 0x81, 0x80][..], &[9; 128]].concat();
        assert_eq!(read(&long), Ok((4, vec![9; 128])));
    }

    #[test]
    fn an_element_longer_than_the_input_is_refused() {
        for bytes in [&[][..], &[4], &[4, 3, 1, 2], &[4, 0x82, 1], &[4, 0x84, 255, 255, 255, 255]] {
            assert_eq!(read(bytes), Err(DerError::Truncated), "{bytes:?}");
        }
    }

    #[test]
    fn a_tag_of_several_bytes_is_refused() {
        assert_eq!(read(&[0x1f, 0x81, 1, 0]), Err(DerError::Tag));
    }
}
