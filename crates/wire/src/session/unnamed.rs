//! The unnamed prepared statement: whose it is on a server, and what a client's last one was.
//!
//! Invariant: a client never runs the unnamed statement of another: before it binds one that may
//! be foreign, its own is parsed again, or the foreign one closed.
//! Not here: named statements (`cache.rs`, `names.rs`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::batch::Position;
use super::statement::Statement;

/// A text that a client keeps is given back to the system when it grew over this.
const KEPT_MAX: usize = 16 * 1024;

/// What the unnamed statement of a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is none.
    Nobody,
    /// It is of some other client, or it is not known.
    Foreign,
    /// It is the linked client's with this number.
    Own(u64),
}

/// The unnamed statement of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    real: Owner,
    under_way: u32,
    latest: Owner,
    latest_at: Position,
}

impl Slot {
    pub(super) const fn new() -> Self {
        Self {
            real: Owner::Nobody,
            under_way: 0,
            latest: Owner::Nobody,
            latest_at: Position { batch: 0, sure: true },
        }
    }

    /// A message was sent that makes `owner` the owner.
    pub(super) const fn sent(&mut self, owner: Owner, at: Position) {
        self.under_way = self.under_way.saturating_add(1);
        self.latest = owner;
        self.latest_at = at;
    }

    /// The oldest message under way did what it was meant to do.
    pub(super) const fn done(&mut self, owner: Owner) {
        self.real = owner;
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// The server skipped the oldest message under way.
    pub(super) const fn skipped(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Messages are sent that are not followed, or the client changes.
    pub(super) const fn estrange(&mut self) {
        self.real = Owner::Foreign;
    }

    /// Tells whether a message sent now meets the client's statement with this number.
    pub(super) fn is_own(&self, serial: u64, batch: u32) -> bool {
        self.certain(batch) == Some(Owner::Own(serial))
    }

    /// Tells whether a message sent now may meet a statement of another client.
    pub(super) fn may_be_foreign(&self, batch: u32) -> bool {
        self.certain(batch).unwrap_or(self.real) == Owner::Foreign
    }

    /// Tells whether the owner is known.
    pub(super) fn is_certain(&self, batch: u32) -> bool {
        self.certain(batch).is_some()
    }

    /// Returns the owner if it does not depend on how an earlier batch ends.
    fn certain(&self, batch: u32) -> Option<Owner> {
        if self.under_way == 0 {
            Some(self.real)
        } else if self.latest_at.batch == batch || self.latest_at.sure {
            Some(self.latest)
        } else {
            None
        }
    }
}

/// What is known of a client's last unnamed Parse.
#[derive(Debug, Default)]
enum Text {
    /// Nothing: it was too large to keep, or skipped by a server.
    #[default]
    Lost,
    /// Its bytes are in `bytes`.
    Kept,
    /// It is treated as a statement that clients share.
    Shared(Arc<Statement>),
}

/// The unnamed statement of a client.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    serial: u64,
    live: bool,
    text: Text,
    bytes: Vec<u8>,
}

impl Unnamed {
    /// Keeps the part of a Parse after the name and returns the statement's number.
    pub(super) fn keep(&mut self, parse: &[u8]) -> u64 {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_MAX && parse.len() <= KEPT_MAX {
            self.bytes.shrink_to(KEPT_MAX);
        }
        self.bytes.extend_from_slice(parse);
        self.renew(Text::Kept)
    }

    /// Takes a shared statement and returns the statement's number.
    pub(super) fn share(&mut self, statement: Arc<Statement>) -> u64 {
        self.renew(Text::Shared(statement))
    }

    /// Notes a Parse that is too large to keep and returns the statement's number.
    pub(super) fn pass(&mut self) -> u64 {
        self.renew(Text::Lost)
    }

    fn renew(&mut self, text: Text) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.text = text;
        self.live = true;
        self.serial
    }

    /// Returns the number of the statement, if there is one.
    pub(super) const fn live(&self) -> Option<u64> {
        if self.live { Some(self.serial) } else { None }
    }

    /// Returns the part of its Parse after the name, if it can be parsed again.
    pub(super) fn kept(&self) -> Option<&[u8]> {
        match &self.text {
            Text::Kept if self.live => Some(&self.bytes),
            _ => None,
        }
    }

    /// Returns the shared statement behind the name "", if there is one.
    pub(super) const fn shared(&self) -> Option<&Arc<Statement>> {
        match &self.text {
            Text::Shared(statement) if self.live => Some(statement),
            _ => None,
        }
    }

    /// A Query or Close that destroys it is on its way.
    pub(super) const fn destroy(&mut self) {
        self.live = false;
    }

    /// The server skipped the message that should have destroyed it.
    pub(super) const fn restore(&mut self, serial: u64) {
        if serial != 0 && serial == self.serial {
            self.live = true;
        }
    }

    /// Its Parse failed.
    pub(super) const fn fail(&mut self, serial: u64) {
        if serial == self.serial {
            self.live = false;
        }
    }

    /// Its Parse was skipped: the one before it lives on, but its text is gone.
    pub(super) fn lose(&mut self, serial: u64) {
        if serial == self.serial {
            self.text = Text::Lost;
            self.live = false;
        }
    }
}
