//! Where one reply ends, and whether it was an error: headers only, no body is kept.
//!
//! Invariant: any split of the bytes gives the same answer; memory is bounded by one error's head.
//! Left out: the values in rows. They are counted by nobody here.

use headpond_wire::frame::{self, HEADER_LEN};
use headpond_wire::{BackendTag, ErrorFields, ProtocolError};

/// How much of an error's body is kept: its SQLSTATE comes before any long text.
const KEPT: usize = 512;

/// Follows the replies on one connection.
#[derive(Debug, Default)]
pub struct Reply {
    /// A header of which a part has come.
    head: Vec<u8>,
    /// Bytes of the current body still to come.
    left: usize,
    /// The current message, if its body is looked at.
    tag: Option<BackendTag>,
    body: Vec<u8>,
    error: Option<ErrorFields>,
}

/// How a request ended.
#[derive(Debug)]
pub enum Ended {
    /// Answered.
    Ok,
    /// Refused, with what the server said.
    Error(Box<ErrorFields>),
}

impl Reply {
    /// Takes bytes of the server. When the request is over, returns how it ended and how many
    /// bytes belonged to it.
    ///
    /// # Errors
    /// The server broke the protocol.
    pub fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Ended>), ProtocolError> {
        let mut done = 0usize;
        while let Some(rest) = input.get(done..).filter(|rest| !rest.is_empty()) {
            if self.left > 0 {
                done += self.take_body(rest);
            } else {
                let wanted = HEADER_LEN.saturating_sub(self.head.len()).min(rest.len());
                self.head.extend_from_slice(rest.get(..wanted).unwrap_or_default());
                done += wanted;
                let Some(header) = frame::header(&self.head)? else { continue };
                let tag = BackendTag::from_byte(header.tag)
                    .ok_or(ProtocolError::UnknownBackend { tag: header.tag })?;
                self.head.clear();
                self.left = header.body_len();
                self.tag = Some(tag);
                self.body.clear();
            }
            if self.left == 0
                && let Some(tag) = self.tag.take()
                && let Some(ended) = self.end_message(tag)
            {
                return Ok((done, Some(ended)));
            }
        }
        Ok((done, None))
    }

    fn take_body(&mut self, rest: &[u8]) -> usize {
        let part = rest.get(..self.left.min(rest.len())).unwrap_or_default();
        if self.tag == Some(BackendTag::ErrorResponse) && self.body.len() < KEPT {
            let room = KEPT.saturating_sub(self.body.len()).min(part.len());
            self.body.extend_from_slice(part.get(..room).unwrap_or_default());
        }
        self.left -= part.len();
        part.len()
    }

    fn end_message(&mut self, tag: BackendTag) -> Option<Ended> {
        match tag {
            BackendTag::ErrorResponse => {
                self.error.get_or_insert_with(|| ErrorFields::parse(&self.body));
                None
            }
            BackendTag::ReadyForQuery => Some(match self.error.take() {
                Some(error) => Ended::Error(Box::new(error)),
                None => Ended::Ok,
            }),
            _ => None,
        }
    }

    /// Returns what the server said before it hung up, if anything.
    pub fn last_words(&self) -> Option<&ErrorFields> {
        self.error.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headpond_wire::backend::{self, Notice, Status};
    use headpond_wire::{Severity, SqlState};

    fn answer() -> Vec<u8> {
        let mut out = Vec::new();
        backend::bind_complete(&mut out);
        backend::data_row(&mut out, &[Some(&b"42"[..]), None]);
        backend::command_complete(&mut out, b"SELECT 1");
        backend::ready_for_query(&mut out, Status::Idle);
        out
    }

    fn refusal() -> Vec<u8> {
        let mut out = Vec::new();
        let notice = Notice::new(Severity::Error, SqlState::QUERY_CANCELED, "too long");
        backend::error_response(&mut out, &notice);
        backend::ready_for_query(&mut out, Status::Idle);
        out
    }

    fn outcomes(parts: &[&[u8]]) -> Vec<Option<String>> {
        let (mut reply, mut all) = (Reply::default(), Vec::new());
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let (done, ended) = reply.take(rest).expect("the protocol");
                rest = &rest[done..];
                all.extend(ended.map(|ended| match ended {
                    Ended::Ok => None,
                    Ended::Error(error) => Some(error.text().into_owned()),
                }));
            }
        }
        all
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_answers() {
        let all = [answer(), refusal(), answer()].concat();
        let expected = [None, Some("too long".to_owned()), None];
        assert_eq!(outcomes(&[&all]), expected);
        for at in 0..all.len() {
            assert_eq!(outcomes(&[&all[..at], &all[at..]]), expected, "split at {at}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(outcomes(&bytes), expected);
    }

    #[test]
    fn what_is_no_message_is_an_error_and_no_panic() {
        for bytes in [&b"\0\0\0\0\0"[..], b"Z\0\0\0\x03I", b"D\xff\xff\xff\xff"] {
            assert!(Reply::default().take(bytes).is_err(), "{bytes:?}");
        }
    }
}
