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

    /// Tells whether rows or copy data may come in reply to it.
    pub(super) const fn gives_rows(self) -> bool {
        matches!(self, Self::Query | Self::Execute)
    }

    /// Tells whether it ends in ReadyForQuery.
    pub(super) const fn owes_ready(self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::FunctionCall)
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
    /// How many entries are of the kind CopyEnd.
    copy_ends: usize,
    /// How many ReadyForQuery are owed.
    readies: usize,
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
        self.append(owed);
    }

    fn append(&mut self, owed: Owed) {
        match owed.kind {
            Kind::CopyEnd => self.copy_ends = self.copy_ends.saturating_add(1),
            kind if kind.owes_ready() => self.readies = self.readies.saturating_add(1),
            _ => {}
        }
        self.queue.push_back(owed);
    }

    /// Adds an entry and how to take its change back.
    pub(super) fn push_with(&mut self, owed: Owed, undo: Undo) {
        self.append(Owed { undo: true, ..owed });
        self.undos.push_back(undo);
    }

    pub(super) fn head(&self) -> Option<Owed> {
        self.queue.front().copied()
    }

    /// Removes the entry whose turn has come, with its change.
    pub(super) fn pop(&mut self) -> Option<(Owed, Option<Undo>)> {
        let owed = self.queue.pop_front()?;
        self.note_gone(owed);
        let undo = if owed.undo { self.undos.pop_front() } else { None };
        // Nothing is owed for those, so they are never at the head.
        while self.queue.front().is_some_and(|owed| owed.kind == Kind::CopyEnd) {
            self.queue.pop_front();
            self.copy_ends = self.copy_ends.saturating_sub(1);
        }
        Some((owed, undo))
    }

    const fn note_gone(&mut self, owed: Owed) {
        if matches!(owed.kind, Kind::CopyEnd) {
            self.copy_ends = self.copy_ends.saturating_sub(1);
        } else if owed.kind.owes_ready() {
            self.readies = self.readies.saturating_sub(1);
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

    /// Takes out what a server that waits for copy data does not answer: the Syncs between the
    /// head and the end of the data, and that end. Returns how many Syncs there were, and whether
    /// there was an end; or `None` if something else follows, over which the server would end the
    /// session.
    pub(super) fn begin_copy_in(&mut self) -> Option<(u32, bool)> {
        let follow = |owed: &&Owed| owed.kind == Kind::Sync;
        let syncs = self.queue.iter().skip(1).take_while(follow).count();
        let next = self.queue.get(syncs.saturating_add(1)).map(|owed| owed.kind);
        if next.is_some_and(|kind| kind != Kind::CopyEnd) {
            return None;
        }
        let ended = next.is_some();
        if let Some(head) = self.queue.pop_front() {
            self.queue.drain(..syncs.saturating_add(usize::from(ended)));
            self.queue.push_front(head);
            self.copy_ends = self.copy_ends.saturating_sub(usize::from(ended));
            self.readies = self.readies.saturating_sub(syncs);
        }
        Some((u32::try_from(syncs).unwrap_or(u32::MAX), ended))
    }

    /// Tells whether the end of copy data is under way.
    pub(super) const fn has_copy_end(&self) -> bool {
        self.copy_ends > 0
    }

    /// Returns how many ReadyForQuery are owed: one for each Query, Sync and FunctionCall.
    pub(super) const fn readies(&self) -> usize {
        self.readies
    }

    /// Tells whether a Sync is under way.
    pub(super) fn has_sync(&self) -> bool {
        self.queue.iter().any(|owed| owed.kind == Kind::Sync)
    }

    /// A mistake on purpose, for the tests of the tests.
    #[cfg(test)]
    pub(super) fn forget_before_query(&mut self) {
        if let Some(at) = self.queue.iter().position(|owed| owed.kind == Kind::Query) {
            let head: Vec<_> = self.queue.drain(..at).collect();
            self.queue.extend(head.into_iter().filter(|owed| owed.kind == Kind::Sync));
        }
    }

    /// A mistake on purpose, for the tests of the tests.
    #[cfg(test)]
    pub(super) fn forget_undos(&mut self) {
        self.undos.clear();
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
