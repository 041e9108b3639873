//! The unnamed prepared statement: whose it is on a server, and what a client's last one was.
//!
//! Invariant: a client never runs the unnamed statement of another: before it binds one that may
//! be foreign, its own is parsed again, or the foreign one closed.
//! Not here: named statements (`cache.rs`, `names.rs`).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::batch::Position;
use super::statement::Statement;

/// A text that a client keeps is given back to the system when it grew over this.
const KEPT_MAX: usize = 16 * 1024;
/// How many predecessors are kept for the case that the server skips a Parse.
const PAST_MAX: usize = 8;

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

    /// Returns the owner if it does not depend on how an earlier batch ends.
    pub(super) fn certain(&self, batch: u32) -> Option<Owner> {
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
    /// The last number given out.
    issued: u64,
    serial: u64,
    exists: bool,
    /// Messages sent that destroy it, and were not skipped so far.
    doomed: u32,
    text: Text,
    bytes: Vec<u8>,
    /// What it was before Parse messages that the server may yet skip.
    past: VecDeque<Past>,
    /// Memory for more of those.
    memory: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Past {
    serial: u64,
    exists: bool,
    doomed: u32,
    text: Text,
    bytes: Vec<u8>,
}

impl Unnamed {
    /// Keeps the part of a Parse after the name and returns the statement's number.
    pub(super) fn keep(&mut self, parse: &[u8], at: Position) -> u64 {
        let serial = self.renew(Text::Kept, at);
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_MAX && parse.len() <= KEPT_MAX {
            self.bytes.shrink_to(KEPT_MAX);
        }
        self.bytes.extend_from_slice(parse);
        serial
    }

    /// Takes a shared statement and returns the statement's number.
    pub(super) fn share(&mut self, statement: Arc<Statement>, at: Position) -> u64 {
        self.renew(Text::Shared(statement), at)
    }

    /// Notes a Parse that is too large to keep and returns the statement's number.
    pub(super) fn pass(&mut self, at: Position) -> u64 {
        self.renew(Text::Lost, at)
    }

    fn renew(&mut self, text: Text, at: Position) -> u64 {
        if !at.sure {
            if self.past.len() >= PAST_MAX
                && let Some(oldest) = self.past.pop_front()
            {
                self.memory.push(oldest.bytes);
            }
            let bytes = core::mem::replace(&mut self.bytes, self.memory.pop().unwrap_or_default());
            let text = core::mem::take(&mut self.text);
            let (serial, exists, doomed) = (self.serial, self.exists, self.doomed);
            self.past.push_back(Past { serial, exists, doomed, text, bytes });
        }
        self.issued = self.issued.wrapping_add(1);
        self.serial = self.issued;
        self.text = text;
        self.exists = true;
        self.doomed = 0;
        self.serial
    }

    /// Returns the number of the statement, if there is one.
    pub(super) const fn live(&self) -> Option<u64> {
        if self.exists && self.doomed == 0 { Some(self.serial) } else { None }
    }

    /// Returns the part of its Parse after the name, if it can be parsed again.
    pub(super) const fn kept(&self) -> Option<&[u8]> {
        match (&self.text, self.live()) {
            (Text::Kept, Some(_)) => Some(self.bytes.as_slice()),
            _ => None,
        }
    }

    /// Returns the shared statement behind the name "", if there is one.
    pub(super) const fn shared(&self) -> Option<&Arc<Statement>> {
        match (&self.text, self.live()) {
            (Text::Shared(statement), Some(_)) => Some(statement),
            _ => None,
        }
    }

    /// A Query or Close that destroys it is on its way. Returns its number.
    pub(super) const fn doom(&mut self) -> u64 {
        self.doomed = self.doomed.saturating_add(1);
        self.serial
    }

    /// The server skipped a message that should have destroyed the statement with this number, or
    /// what has taken its place.
    pub(super) fn spare(&mut self, serial: u64) {
        if serial >= self.serial {
            self.doomed = self.doomed.saturating_sub(1);
        } else if let Some(past) = self.past.iter_mut().rfind(|past| past.serial <= serial) {
            past.doomed = past.doomed.saturating_sub(1);
        }
    }

    /// Its Parse succeeded: what was before it is gone.
    pub(super) fn confirm(&mut self, serial: u64) {
        while self.past.front().is_some_and(|past| past.serial < serial) {
            self.memory.extend(self.past.pop_front().map(|past| past.bytes));
        }
    }

    /// Its Parse failed: it is gone, and what was before it, too.
    pub(super) fn fail(&mut self, serial: u64) {
        self.confirm(serial);
        if serial == self.serial {
            self.exists = false;
        }
        for past in self.past.iter_mut().filter(|past| past.serial == serial) {
            past.exists = false;
        }
    }

    /// Its Parse was skipped: the one before it lives on, as far as nothing else destroys it.
    pub(super) fn lose(&mut self, serial: u64) {
        if serial == self.serial {
            match self.past.pop_back() {
                Some(past) => {
                    self.serial = past.serial;
                    self.exists = past.exists;
                    self.doomed = self.doomed.saturating_add(past.doomed);
                    self.text = past.text;
                    self.memory.push(core::mem::replace(&mut self.bytes, past.bytes));
                }
                None => {
                    self.text = Text::Lost;
                    self.exists = false;
                }
            }
        } else if let Some(at) = self.past.iter().position(|past| past.serial == serial)
            && let Some(past) = self.past.remove(at)
        {
            let before = at.checked_sub(1).and_then(|at| self.past.get_mut(at));
            if let Some(before) = before {
                before.doomed = before.doomed.saturating_add(past.doomed);
            }
            self.memory.push(past.bytes);
        }
    }
}
