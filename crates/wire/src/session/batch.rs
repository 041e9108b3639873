//! The extended-query messages since the last Sync.
//!
//! Invariant: `number` names the batch that a message sent now belongs to.
//! Not here: the replies (`pipeline.rs`).

/// Where the client's messages stand between two Syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// Counts the Syncs sent.
    pub(super) number: u32,
    /// Extended messages were sent that no Sync or Query has closed yet.
    pub(super) open: bool,
    /// A message was sent in this batch that may fail, so that the server skips what follows it.
    pub(super) fallible: bool,
    /// The server reported an error and ignores everything up to the next Sync.
    pub(super) skipping: bool,
    /// A Flush of ours is the last that was sent.
    pub(super) flushed: bool,
}

impl Batch {
    pub(super) const fn new() -> Self {
        Self { number: 1, open: false, fallible: false, skipping: false, flushed: false }
    }

    /// A Parse, Bind, Describe or Execute goes to the server.
    pub(super) const fn extend(&mut self) {
        self.open = true;
        self.fallible = true;
        self.flushed = false;
    }

    /// A Close goes to the server: it never fails.
    pub(super) const fn extend_safely(&mut self) {
        self.open = true;
        self.flushed = false;
    }

    /// A Sync goes to the server.
    pub(super) const fn close(&mut self) {
        *self = Self { number: self.number.wrapping_add(1), ..Self::new() };
    }

    /// Returns the position of a message sent now.
    pub(super) const fn position(&self) -> Position {
        Position { batch: self.number, sure: !self.fallible }
    }
}

/// Where in the stream something was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Its batch.
    pub(super) batch: u32,
    /// Nothing before it in its batch can make the server skip it.
    pub(super) sure: bool,
}
