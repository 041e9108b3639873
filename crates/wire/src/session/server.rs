//! What is known of a logged-in server.
//!
//! Invariant: the state is what the bytes passed on so far mean, in both directions.
//! Not here: deciding on bytes (`client.rs`, `reply.rs`).

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::batch::Batch;
use super::cache::Cache;
use super::copy::Copy;
use super::internal::Running;
use super::mutant::{self, Mutant};
use super::parameter::{Parameters, Tracked};
use super::pipeline::Pipeline;
use super::reuse::Evidence;
use super::unnamed::Slot;
use super::{Events, Fate, Violation};
use crate::backend::{ErrorFields, Status};
use crate::login::connect::Welcome;

/// A logged-in server, as the relay sees it.
#[derive(Debug)]
pub struct ServerState {
    /// Replies still to come.
    pub(super) owed: Pipeline,
    /// The query at the head of the queue had its first result.
    pub(super) answered: bool,
    /// Bytes still to come of the message that the server is sending.
    pub(super) left: usize,
    /// What becomes of them.
    pub(super) fate: Fate,
    /// Bytes still to go of the message that is being sent to the server.
    pub(super) mid_message: bool,
    pub(super) status: Status,
    pub(super) batch: Batch,
    pub(super) copy: Copy,
    /// Syncs sent before a COPY failed: the server answers some of them, nobody can know which.
    pub(super) doubtful: u32,
    pub(super) cache: Cache,
    pub(super) unnamed: Slot,
    pub(super) parameters: Parameters,
    pub(super) internal: Option<Box<Running>>,
    pub(super) last_error: Option<Box<ErrorFields>>,
    /// Reported as soon as the bytes before it are consumed.
    pub(super) failed: Option<Violation>,
    pub(super) violated: bool,
    pub(super) events: Events,
}

impl ServerState {
    /// Takes over a server after its login, with the parameters it reported.
    pub fn new<'a>(
        tracked: &Arc<Tracked>,
        parameters: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        status: Status,
    ) -> Self {
        Self {
            owed: Pipeline::default(),
            answered: false,
            left: 0,
            fate: Fate::Forward,
            mid_message: false,
            status,
            batch: Batch::new(),
            copy: Copy::No,
            doubtful: 0,
            cache: Cache::new(),
            unnamed: Slot::new(),
            parameters: Parameters::new(tracked, parameters),
            internal: None,
            last_error: None,
            failed: None,
            violated: false,
            events: Events::default(),
        }
    }

    /// Takes over a server as its login left it.
    #[must_use]
    pub fn from_welcome(welcome: &Welcome, tracked: &Arc<Tracked>) -> Self {
        let parameters = welcome.params.iter().map(|(name, value)| (&name[..], &value[..]));
        Self::new(tracked, parameters, welcome.status)
    }

    /// Returns what the last ReadyForQuery said.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Tells whether everything sent was answered: nothing is owed, both directions are between
    /// messages, no COPY, no batch without Sync, no query of the pooler. A transaction may be
    /// open.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.owes_nothing()
            && self.left == 0
            && !self.mid_message
            && self.copy == Copy::No
            && !self.batch.open
            && !self.batch.skipping
            && self.doubtful == 0
            && self.internal.is_none()
    }

    /// Tells whether the client has been sent a part of a message: whatever else it is sent now it
    /// takes for the rest.
    #[must_use]
    pub fn is_inside_reply(&self) -> bool {
        self.left > 0 && self.fate == Fate::Forward
    }

    fn owes_nothing(&self) -> bool {
        self.owed.is_empty() || mutant::is_made(Mutant::EarlyRelease) && self.owed.len() == 1
    }

    /// Returns the values of the tracked parameters.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns the last error after which the server said that the session ends.
    #[must_use]
    pub fn last_error(&self) -> Option<&ErrorFields> {
        self.last_error.as_deref()
    }

    /// Returns how many replies are owed.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Tells whether a query of the pooler runs, so that a cancel request must not reach it.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        self.internal.is_some()
    }

    /// Returns how many statements the server is expected to keep.
    #[must_use]
    pub const fn statements(&self) -> usize {
        self.cache.len()
    }

    /// Tells whether it is open how many ReadyForQuery are to come: then no reply made here could
    /// be put where it belongs.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubtful > 0 || self.owed.has_copy_end() || matches!(self.copy, Copy::In { .. })
    }

    /// Returns what happened since the last call.
    pub fn take_events(&mut self) -> Events {
        core::mem::take(&mut self.events)
    }

    /// Returns what the relay knows of the things that forbid reuse. What it does not know
    /// (sockets, leases, marks) is filled in as harmless, for the worker to overwrite.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        Evidence {
            status_idle: self.status == Status::Idle,
            owed_empty: self.owes_nothing() && self.doubtful == 0,
            write_boundary: !self.mid_message,
            unsent_bytes: false,
            read_boundary: self.left == 0,
            unread_bytes: false,
            copying: self.copy != Copy::No,
            batch_open: self.batch.open || self.batch.skipping,
            internal_running: self.internal.is_some(),
            cancel_lease: false,
            // Reported at login and after each change, so always known.
            parameters_known: true,
            close_needed: false,
            violation_seen: self.violated || self.failed.is_some() || self.last_error.is_some(),
        }
    }
}
