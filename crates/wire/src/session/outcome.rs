//! What replies do to the books: success, errors, the end of a batch.
//!
//! Invariant: what was noted when a message was sent is confirmed when the server answers it, and
//! taken back when the server fails or skips it.
//! Not here: which reply belongs to which message (`reply.rs`).

use alloc::boxed::Box;

use super::client::ClientState;
use super::copy::Copy;
use super::internal::Internal;
use super::pipeline::{Action, Change, Kind, Owed, Undo};
use super::reply;
use super::server::ServerState;
use super::unnamed::Owner;
use super::{Context, Fate, Mode, Violation};
use crate::backend::{ErrorFields, Status};
use crate::cursor::Cursor;
use crate::error::{ProtocolError, Severity};

/// The head of the queue is answered completely.
pub(super) fn answered(s: &mut ServerState, c: Option<&mut ClientState>) {
    s.answered = false;
    if let Some((owed, undo)) = s.owed.pop() {
        let linked = c.is_some();
        if let Some(prepared) = c.and_then(|c| c.prepared.as_deref_mut())
            && owed.unnamed
            && owed.kind == Kind::Parse
        {
            prepared.unnamed.confirm(owed.statement);
        }
        confirm(s, linked, owed, undo);
    }
}

/// Tells whether an entry changes the unnamed statement on the server itself.
const fn changes_slot(owed: Owed) -> bool {
    owed.unnamed && !owed.undo && !matches!(owed.action, Action::Fabricate)
}

/// The server did what it was asked.
fn confirm(s: &mut ServerState, linked: bool, owed: Owed, undo: Option<Undo>) {
    if changes_slot(owed) {
        s.unnamed.done(match owed.kind {
            Kind::Parse if linked => Owner::Own(owed.statement),
            Kind::Parse => Owner::Foreign,
            _ => Owner::Nobody,
        });
    }
    let Some(undo) = undo else { return };
    match (undo.change, undo.statement) {
        (Change::Prepare, Some(statement)) => s.cache.done(statement.id(), true),
        (Change::Close, _) => s.cache.done(owed.statement, false),
        _ => {}
    }
}

/// Why a message had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It failed.
    Failed,
    /// The server skipped it because of another.
    Skipped,
}

/// The server did not do what it was asked.
fn revert(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    owed: Owed,
    undo: Option<Undo>,
    loss: Loss,
) {
    if changes_slot(owed) {
        match (owed.kind, loss) {
            // A failed unnamed Parse has destroyed its predecessor.
            (Kind::Parse, Loss::Failed) => s.unnamed.done(Owner::Nobody),
            _ => s.unnamed.skipped(),
        }
    }
    if let Some(undo) = &undo {
        match (undo.change, &undo.statement) {
            (Change::Prepare, Some(statement)) => s.cache.undone(statement.id()),
            (Change::Close, _) => s.cache.undone(owed.statement),
            _ => {}
        }
    }
    let Some(prepared) = c.and_then(|c| c.prepared.as_deref_mut()) else { return };
    if owed.unnamed && owed.action != Action::Discard {
        match (owed.kind, loss) {
            (Kind::Parse, Loss::Failed) => prepared.unnamed.fail(owed.statement),
            (Kind::Parse, Loss::Skipped) => prepared.unnamed.lose(owed.statement),
            _ => prepared.unnamed.spare(owed.statement),
        }
    }
    if let Some(undo) = undo {
        prepared.undo(undo);
    }
}

/// `DEALLOCATE ALL` or `DISCARD ALL` was run.
pub(super) fn statements_dropped(s: &mut ServerState, c: Option<&mut ClientState>, owed: Owed) {
    s.cache.drop_confirmed();
    if owed.action != Action::Forward {
        return;
    }
    if let Some(prepared) = c.and_then(|c| c.prepared.as_deref_mut()) {
        prepared.forget_all(&s.owed);
        s.owed.forget_forgotten();
    }
}

/// An ErrorResponse: answers a query, or makes the server skip to the next Sync.
pub(super) fn failed(
    s: &mut ServerState,
    mut c: Option<&mut ClientState>,
    fields: ErrorFields,
    body: &[u8],
    mode: Mode,
) -> Fate {
    let fatal = matches!(fields.severity, Severity::Fatal | Severity::Panic);
    if let Some(running) = &mut s.internal {
        running.fail(&fields);
    }
    if let Copy::In { ignored, .. } = s.copy {
        s.doubtful = s.doubtful.saturating_add(ignored);
    }
    s.copy = Copy::No;
    let head = s.owed.head();
    // Between two transactions the server is nobody's, though it may not have parted yet.
    let free =
        mode != Mode::Session && s.status == Status::Idle && !s.batch.open && s.doubtful == 0;
    let ours = s.internal.is_some()
        || head.is_none() && free
        || head.is_some_and(|owed| owed.action == Action::Discard && !owed.kind.is_extended());
    match head {
        Some(owed) if owed.kind.is_extended() => {
            spoil(s, owed, &fields, body);
            skip(s, c.as_deref_mut());
        }
        Some(_) => s.answered = true,
        None if s.batch.open => s.batch.skipping = true,
        // Nothing was asked: only an error that ends the session makes sense.
        None => s.violated = true,
    }
    if fatal {
        s.last_error = Some(Box::new(fields));
    }
    if c.is_some() && !ours { Fate::Forward } else { Fate::Swallow }
}

/// Drops what the server skips.
fn skip(s: &mut ServerState, mut c: Option<&mut ClientState>) {
    let skipped = s.owed.pop_to_sync();
    let last = skipped.len().saturating_sub(1);
    // Backwards: the last change of a name is the first to be taken back.
    for (at, (owed, undo)) in skipped.into_iter().rev().enumerate() {
        let loss = if at == last { Loss::Failed } else { Loss::Skipped };
        revert(s, c.as_deref_mut(), owed, undo, loss);
    }
    s.answered = false;
    if s.owed.is_empty() {
        s.batch.skipping = true;
    }
}

/// A shared statement whose result has changed is of no use any more: it is prepared anew the
/// next time.
fn spoil(s: &mut ServerState, owed: Owed, fields: &ErrorFields, body: &[u8]) {
    let uses = matches!(owed.kind, Kind::Bind | Kind::DescribeStatement);
    if uses && owed.statement != 0 && &fields.code == b"0A000" {
        let mut cursor = Cursor::new(body);
        while let (Ok(kind), Ok(text)) = (cursor.u8(), cursor.cstr()) {
            if kind == b'R' && text == b"RevalidateCachedQuery" {
                s.cache.spoil(owed.statement);
            }
        }
    }
}

/// A ReadyForQuery: the end of a query or of a batch.
pub(super) fn ready(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    status: Status,
    cx: &mut Context<'_>,
) -> Result<Fate, Violation> {
    let linked = c.is_some();
    let fate = match s.owed.head() {
        Some(owed) if answers(s, owed) => {
            s.owed.pop();
            confirm(s, linked, owed, None);
            count(s, owed, status);
            if linked && owed.action == Action::Forward { Fate::Forward } else { Fate::Swallow }
        }
        _ if s.doubtful > 0 => {
            s.doubtful = s.doubtful.saturating_sub(1);
            if s.batch.skipping {
                // So that Sync was seen after all.
                s.batch.skipping = false;
                s.batch.open = false;
            }
            if linked { Fate::Forward } else { Fate::Swallow }
        }
        _ => return Err(ProtocolError::UnexpectedBackend { tag: b'Z' }.into()),
    };
    s.answered = false;
    s.status = status;
    s.copy = Copy::No;
    if fate == Fate::Forward && cx.settings.mode == Mode::Statement && status != Status::Idle {
        return Err(Violation::TransactionInStatementMode);
    }
    if s.owed.is_empty() {
        end_internal(s, c, status);
    } else if let Some(c) = c {
        c.status = status;
    }
    reply::fence(s, cx);
    Ok(fate)
}

/// Tells whether a ReadyForQuery can be that of an entry: a query has results first, if it
/// matters.
fn answers(s: &ServerState, owed: Owed) -> bool {
    match owed.kind {
        Kind::Sync => true,
        Kind::Query | Kind::FunctionCall => s.answered || s.doubtful == 0,
        _ => false,
    }
}

fn count(s: &mut ServerState, owed: Owed, status: Status) {
    if owed.action == Action::Forward {
        s.events.queries = s.events.queries.saturating_add(1);
        if status == Status::Idle {
            s.events.transactions = s.events.transactions.saturating_add(1);
        }
    }
}

/// Nothing is owed any more: a query of the pooler has ended.
fn end_internal(s: &mut ServerState, c: Option<&mut ClientState>, status: Status) {
    if let Some(running) = &mut s.internal {
        running.ended = true;
        if let Some(c) = c
            && running.finished.kind == Internal::Settle
            && running.finished.error.is_none()
        {
            c.parameters.settle(&running.before, &s.parameters);
        }
    } else if let Some(c) = c {
        c.status = status;
    }
}
