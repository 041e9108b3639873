//! The relay between two logged-in sides: who gets which byte, decided without I/O.
//!
//! Invariant: every reply the server still owes is in one queue, with what is to become of it;
//! a server is settled only when that queue is empty, both sides are between messages and the
//! last word was ReadyForQuery.
//! Not here: sockets, waiting for a server, deadlines (the worker), and who may have a server
//! after whom (`reuse.rs` says so, the worker asks it).

mod alone;
mod batch;
mod cache;
mod client;
mod copy;
mod expect;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod internal;
mod link;
#[doc(hidden)]
pub mod mutant;
mod names;
mod outcome;
mod parameter;
mod pipeline;
mod prepare;
mod reply;
pub mod reuse;
mod server;
mod settle;
mod statement;
mod supply;
#[cfg(test)]
mod tests;
mod unnamed;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub use client::{ClientState, from_client};
pub use internal::{Finished, Internal};
pub use link::{Linked, Orphan, link, orphan, part};
pub use parameter::{BadName, Parameters, Tracked};
pub use reply::from_server;
pub use server::ServerState;
pub use statement::{PREFIX, Statement};

use crate::error::ProtocolError;

/// How long a client keeps a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Until it leaves.
    Session,
    /// Until its transaction ends.
    Transaction,
    /// Until its statement ends; transaction blocks are refused.
    Statement,
}

/// What the relay needs to know of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a client keeps a server.
    pub mode: Mode,
    /// Prepared statements kept on one server; 0 passes them through untouched.
    pub statements_max: u32,
    /// Treat unnamed statements as named ones that clients share.
    pub share_unnamed: bool,
    /// Accept simple queries.
    pub simple_query_allowed: bool,
    /// The largest length field accepted from a client; 0 leaves PostgreSQL's own limits.
    pub message_max: u32,
    /// The largest named Parse, header included, that is kept to be prepared elsewhere.
    pub statement_bytes_max: u32,
}

impl Settings {
    /// Tells whether prepared statements are followed from server to server.
    #[must_use]
    pub fn tracks_statements(&self) -> bool {
        self.statements_max > 0 && self.mode != Mode::Session
    }
}

/// The one place where equal statements of all clients become one.
pub trait Interner {
    /// Returns the statement for the part of a Parse after the name: text, terminator, number of
    /// parameter types, types. Equal bytes give the same statement as long as someone holds it.
    fn intern(&self, parse: &[u8]) -> Arc<Statement>;
}

/// Bytes that a step made itself. They go out before the bytes that the same step forwards.
#[derive(Debug, Default)]
pub struct Staged {
    /// For the server.
    pub to_server: Vec<u8>,
    /// For the client.
    pub to_client: Vec<u8>,
}

/// What every step may use.
pub struct Context<'a> {
    /// The configuration of the pool.
    pub settings: &'a Settings,
    /// Shared statements.
    pub statements: &'a dyn Interner,
    /// Where made bytes go.
    pub staged: &'a mut Staged,
}

/// What is to be done with the input of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Pass on this many bytes: several messages, or a part of one.
    Forward(usize),
    /// Drop this many bytes: they were answered here, or staged in another form.
    Swallow(usize),
    /// Nothing is consumed: the next message needs a server.
    NeedServer,
    /// Nothing is consumed: come back with this many bytes, counted from the start of the input.
    NeedInput(usize),
    /// Nothing is consumed: come back when the server has answered something.
    Full,
    /// The client said goodbye.
    End,
}

/// Why a step cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A client opened a transaction block in statement mode: both sides are to be closed.
    #[error("transaction blocks not allowed in statement pooling mode")]
    TransactionInStatementMode,
    /// The side whose bytes were given broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// What happened since the last time someone asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Queries that ended.
    pub queries: u32,
    /// Transactions that ended.
    pub transactions: u32,
    /// Parse messages that clients sent and that are followed from server to server.
    pub client_parses: u32,
    /// Parse messages of those that a server got.
    pub server_parses: u32,
    /// Bind messages to such statements.
    pub binds: u32,
    /// Notices and notifications that nobody was there to hear.
    pub dropped_notices: u32,
}

/// What becomes of bytes that pass through the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Forward,
    Swallow,
}

/// What the bytes consumed so far by one call have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Nothing is consumed yet.
    Start,
    /// They go on as they are.
    Forwarding,
    /// They are dropped; what is to go on instead is staged.
    Staging,
}

/// The bytes that one call consumes.
#[derive(Debug, Clone, Copy)]
struct Run {
    taken: usize,
    course: Course,
}

impl Run {
    const fn new() -> Self {
        Self { taken: 0, course: Course::Start }
    }

    /// Adds bytes that go the way of the run, which `course` must fit.
    const fn take(&mut self, bytes: usize, course: Course) {
        self.taken = self.taken.saturating_add(bytes);
        self.course = course;
    }

    /// Tells whether bytes of this fate may join.
    fn admits(&self, fate: Fate) -> bool {
        match fate {
            Fate::Forward => self.course != Course::Staging,
            Fate::Swallow => self.course != Course::Forwarding,
        }
    }

    const fn step(&self) -> Step {
        match self.course {
            Course::Staging => Step::Swallow(self.taken),
            Course::Start | Course::Forwarding => Step::Forward(self.taken),
        }
    }
}
