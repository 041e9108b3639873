//! Walks along a stream of messages that comes in pieces of any length.
//!
//! Invariant: nothing is copied but the five bytes of a header; every byte is walked over once.
//! Left out: what messages mean.

use headpond_wire::frame::{HEADER_LEN, Header, header};

/// Where in a stream of messages the last piece ended.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEADER_LEN],
    have: usize,
    /// Bytes of the body that are still to come; none while a header is read.
    left: Option<usize>,
}

/// What was walked over.
pub(super) enum Step<'a> {
    /// A message begins.
    Begin(u8),
    /// A piece of its body.
    Body(&'a [u8]),
    /// It is complete.
    End,
    /// The peer does not speak the protocol.
    Lost,
}

impl Frames {
    /// Begins at a message with a tag.
    pub(super) const fn tagged() -> Self {
        Self { head: [0; HEADER_LEN], have: 0, left: None }
    }

    /// Begins at a startup packet, which has no tag and is reported with the tag 0.
    pub(super) const fn startup() -> Self {
        Self { head: [0; HEADER_LEN], have: 1, left: None }
    }

    /// Returns whether a message ended here and none has begun.
    pub(super) const fn is_between(&self) -> bool {
        self.have == 0 && self.left.is_none()
    }

    /// Walks over the next piece.
    pub(super) fn walk(&mut self, mut bytes: &[u8], mut step: impl FnMut(Step<'_>)) {
        loop {
            match self.left {
                None if bytes.is_empty() => return,
                None => bytes = self.take_head(bytes, &mut step),
                Some(left) => {
                    let (body, rest) = bytes.split_at(left.min(bytes.len()));
                    if !body.is_empty() {
                        step(Step::Body(body));
                    }
                    bytes = rest;
                    let left = left - body.len();
                    self.left = (left > 0).then_some(left);
                    if left > 0 {
                        return;
                    }
                    step(Step::End);
                }
            }
        }
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8], step: &mut impl FnMut(Step<'_>)) -> &'a [u8] {
        let (part, rest) = bytes.split_at(bytes.len().min(HEADER_LEN - self.have));
        for byte in part {
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
        }
        if self.have < HEADER_LEN {
            return rest;
        }
        self.have = 0;
        match header(&self.head) {
            Ok(Some(header)) => {
                step(Step::Begin(header.tag));
                self.left = Some(Header::body_len(&header));
                rest
            }
            _ => {
                step(Step::Lost);
                &[]
            }
        }
    }
}
