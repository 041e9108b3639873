//! Tags: which client asked for what. Every request carries one and every answer repeats it.
//!
//! Invariant: no two requests of a run have the same tag.

use std::fmt;

/// The request number `seq` of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tag {
    /// The client.
    pub client: u32,
    /// Its count of requests.
    pub seq: u32,
}

impl Tag {
    /// Reads `c17.42`.
    pub fn parse(text: &str) -> Option<Self> {
        let (client, seq) = text.strip_prefix('c')?.split_once('.')?;
        Some(Self { client: client.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// Finds a tag between brackets, as notices and errors carry it.
    pub fn inside(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('[')?;
        Self::parse(rest.split_once(']')?.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.client, self.seq)
    }
}
