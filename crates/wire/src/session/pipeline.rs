//! The replies a server still owes, in order, and what is to become of each.
//!
//! Invariant: there is one entry for every message sent that will be answered, and for every
//! answer made here that must wait for its turn; nothing is owed for what the server ignores.
//! Not here: matching replies to entries (`reply.rs`).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::batch::Position;
use super::statement::Statement;

/// When so many replies are owed, the client must wait.
pub(super) const OWED_MAX: usize = 16_384;
/// How many changes are searched for a name before the client must wait instead.
const SEARCH_MAX: usize = 64;

/// What the client, or we, sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Execute,
    Close,
    Sync,
    Query,
    FunctionCall,
    /// CopyDone or CopyFail before the server asked for data: nothing is owed for it.
    CopyEnd,
}

impl Kind {
    /// Tells whether an error in place of its reply makes the server skip to the next Sync.
    pub(super) const fn is_extended(self) -> bool {
        match self {
            Self::Parse
            | Self::Bind
            | Self::DescribeStatement
            | Self::DescribePortal
            | Self::Execute
            | Self::Close => true,
            Self::Sync | Self::Query | Self::FunctionCall | Self::CopyEnd => false,
        }
    }
}

/// What becomes of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The client gets it.
    Forward,
    /// Nobody gets it.
    Discard,
    /// The server never saw the message: the reply is made here when its turn comes.
    Fabricate,
}

/// One reply that is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) kind: Kind,
    pub(super) action: Action,
    /// The oldest [`Undo`] belongs to it.
    pub(super) undo: bool,
    /// It changes the unnamed statement of the server.
    pub(super) unnamed: bool,
    /// The number of the statement it refers to, or of the client's unnamed statement when
    /// `unnamed` is set; 0 for none.
    pub(super) statement: u64,
}

impl Owed {
    pub(super) const fn new(kind: Kind, action: Action) -> Self {
        Self { kind, action, undo: false, unnamed: false, statement: 0 }
    }
}

/// What a message changed in our books as soon as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The server got a statement; with a name, the client defined that too.
    Prepare,
    /// The server loses a statement.
    Close,
    /// The client defined a name for a statement that the server already has.
    Define,
    /// The client forgot a name.
    Forget,
}

/// How to take a change back when the server fails or skips the message.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) change: Change,
    pub(super) at: Position,
    pub(super) name: Option<Box<[u8]>>,
    /// The statement; for [`Change::Forget`] what the name stood for, if anything.
    pub(super) statement: Option<Arc<Statement>>,
}

/// What must be certain about the names that a message uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The change will happen, or fail on its own account.
    Sent,
    /// The change has happened.
    Answered,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    queue: VecDeque<Owed>,
    undos: VecDeque<Undo>,
}

impl Pipeline {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= OWED_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, owed: Owed) {
        debug_assert!(!owed.undo, "entries with a change come by push_with");
        self.queue.push_back(owed);
    }

    /// Adds an entry and how to take its change back.
    pub(super) fn push_with(&mut self, owed: Owed, undo: Undo) {
        self.queue.push_back(Owed { undo: true, ..owed });
        self.undos.push_back(undo);
    }

    pub(super) fn head(&self) -> Option<Owed> {
        self.queue.front().copied()
    }

    /// Removes the entry whose turn has come, with its change.
    pub(super) fn pop(&mut self) -> Option<(Owed, Option<Undo>)> {
        let owed = self.queue.pop_front()?;
        let undo = if owed.undo { self.undos.pop_front() } else { None };
        Some((owed, undo))
    }

    /// Steps over entries that nothing is owed for.
    pub(super) fn skip_markers(&mut self) {
        while self.queue.front().is_some_and(|owed| owed.kind == Kind::CopyEnd) {
            self.queue.pop_front();
        }
    }

    /// Removes what lies before the next Sync: the server skips it. The first element is the
    /// entry that failed.
    pub(super) fn pop_to_sync(&mut self) -> Vec<(Owed, Option<Undo>)> {
        let mut skipped = Vec::new();
        while self.queue.front().is_some_and(|owed| owed.kind != Kind::Sync) {
            skipped.extend(self.pop());
        }
        skipped
    }

    /// Takes out the Syncs that a server in COPY ignores: those up to the end of the data.
    /// Returns how many there were, and whether the end of the data is sent.
    pub(super) fn drop_syncs_in_copy(&mut self) -> (u32, bool) {
        let end = self.queue.iter().position(|owed| owed.kind == Kind::CopyEnd);
        let reach = end.unwrap_or(self.queue.len());
        let (mut at, mut ignored) = (0usize, 0u32);
        self.queue.retain(|owed| {
            let here = at;
            at = at.saturating_add(1);
            let drop = here < reach && here > 0 && owed.kind == Kind::Sync;
            ignored = ignored.saturating_add(u32::from(drop));
            !drop && Some(here) != end
        });
        (ignored, end.is_some())
    }

    /// Tells whether a Sync is under way.
    pub(super) fn has_sync(&self) -> bool {
        self.queue.iter().any(|owed| owed.kind == Kind::Sync)
    }

    /// Nobody is there any more to hear the replies.
    pub(super) fn discard_all(&mut self) {
        for owed in &mut self.queue {
            if owed.action == Action::Forward {
                owed.action = Action::Discard;
            }
        }
    }

    /// Tells whether what a name stands for depends on an earlier batch whose outcome is open.
    pub(super) fn name_is_open(&self, name: &[u8], batch: u32, needed: Certainty) -> bool {
        if self.undos.is_empty() {
            return false;
        }
        if self.undos.len() > SEARCH_MAX {
            return self.undos.front().is_some_and(|undo| undo.at.batch != batch);
        }
        self.undos.iter().any(|undo| {
            undo.at.batch != batch
                && undo.name.as_deref() == Some(name)
                && (needed == Certainty::Answered || !undo.at.sure)
        })
    }

    /// Lists the names that messages under way define.
    pub(super) fn names_under_way(&self) -> impl Iterator<Item = &[u8]> {
        self.undos
            .iter()
            .filter(|undo| matches!(undo.change, Change::Prepare | Change::Define))
            .filter_map(|undo| undo.name.as_deref())
    }

    /// Forgets what forgotten names stood for: all statements are gone.
    pub(super) fn forget_forgotten(&mut self) {
        for undo in self.undos.iter_mut().filter(|undo| undo.change == Change::Forget) {
            undo.statement = None;
        }
    }
}
