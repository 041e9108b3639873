//! Making sure that a server has the statement that the next message uses.
//!
//! Invariant: what is staged here is in the books at once, with how to take it back.
//! Not here: what the client asked for (`prepare.rs`).
//!
//! Closing the statement that was used the longest time ago is safe even when replies to messages
//! that use it are still owed: the Close comes after them in the stream, and a portal outlives its
//! statement.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::cache::{View, Whose};
use super::client::{ClientState, Verdict};
use super::mutant::{self, Mutant};
use super::pipeline::{Action, Change, Kind, Owed, Undo};
use super::server::ServerState;
use super::statement::{Statement, TAKEN, stage_parse};
use super::unnamed::{Owner, Unnamed};
use super::{Context, Course, Step};
use crate::frontend::{self, Target};

/// Makes PostgreSQL say that a name is taken, or what else is wrong with the text: it is parsed
/// under a name that is taken indeed.
pub(super) fn refuse_name(s: &mut ServerState, text: &[u8], cx: &mut Context<'_>) {
    let out = &mut cx.staged.to_server;
    frontend::close(out, Target::Statement, TAKEN);
    frontend::parse(out, TAKEN, b"", &[]);
    stage_parse(out, TAKEN, text);
    s.owed.push(Owed::new(Kind::Close, Action::Discard));
    s.owed.push(Owed::new(Kind::Parse, Action::Discard));
    s.owed.push(Owed::new(Kind::Parse, Action::Forward));
    s.batch.extend();
}

/// Makes sure that the unnamed statement that a message meets is the client's last one, or none.
/// Returns what is to be done instead if that cannot be made sure in this call.
pub(super) fn unnamed_use(
    c: &ClientState,
    s: &mut ServerState,
    course: Course,
    cx: &mut Context<'_>,
) -> Option<Verdict> {
    let batch = s.batch.number;
    let Some(owner) = s.unnamed.certain(batch) else { return Some(Verdict::Stop(Step::Full)) };
    let unnamed = c.prepared.as_deref().map(|prepared| &prepared.unnamed);
    let serial = unnamed.and_then(Unnamed::live).unwrap_or(0);
    if owner == Owner::Own(serial) || mutant::is_made(Mutant::ForeignUnnamed) {
        return None;
    }
    let kept = unnamed.and_then(Unnamed::kept);
    if kept.is_none() && owner != Owner::Foreign {
        // What the server has is this client's, if anything: it is right by itself.
        return None;
    }
    if course == Course::Forwarding {
        return Some(Verdict::Break);
    }
    let at = s.batch.position();
    if let Some(text) = kept {
        stage_parse(&mut cx.staged.to_server, b"", text);
        s.unnamed.sent(Owner::Own(serial), at);
        s.batch.extend();
        let owed = Owed::new(Kind::Parse, Action::Discard);
        s.owed.push(Owed { unnamed: true, statement: serial, ..owed });
    } else {
        frontend::close(&mut cx.staged.to_server, Target::Statement, b"");
        s.unnamed.sent(Owner::Nobody, at);
        s.batch.extend_safely();
        s.owed.push(Owed { unnamed: true, ..Owed::new(Kind::Close, Action::Discard) });
    }
    None
}

/// Makes sure that the server has a statement when the next message arrives. Returns false if
/// that depends on an earlier batch.
pub(super) fn ensure(
    s: &mut ServerState,
    statement: &Arc<Statement>,
    cx: &mut Context<'_>,
) -> bool {
    let view = s.cache.view(statement.id(), s.batch.number);
    match view {
        View::Open => return false,
        View::Present | View::Promised => s.cache.touch(statement.id()),
        View::Stale | View::Absent => {
            make_room(s, statement, view, cx);
            let owed =
                Owed { statement: statement.id(), ..Owed::new(Kind::Parse, Action::Discard) };
            prepare(s, statement, owed, None, cx);
        }
    }
    true
}

/// Closes what must go before a statement is prepared.
pub(super) fn make_room(
    s: &mut ServerState,
    statement: &Statement,
    view: View,
    cx: &mut Context<'_>,
) {
    if view != View::Absent {
        close_on_server(s, statement, cx);
    }
    let max = usize::try_from(cx.settings.statements_max).unwrap_or(usize::MAX);
    while s.cache.len() >= max {
        let Some(oldest) = s.cache.oldest() else { break };
        close_on_server(s, &oldest, cx);
    }
}

fn close_on_server(s: &mut ServerState, statement: &Statement, cx: &mut Context<'_>) {
    let at = s.batch.position();
    frontend::close(&mut cx.staged.to_server, Target::Statement, statement.name());
    s.cache.close_sent(statement.id(), at);
    s.batch.extend_safely();
    let owed = Owed { statement: statement.id(), ..Owed::new(Kind::Close, Action::Discard) };
    s.owed.push_with(owed, Undo { change: Change::Close, at, name: None, statement: None });
}

/// Stages the Parse of a statement under its own name.
pub(super) fn prepare(
    s: &mut ServerState,
    statement: &Arc<Statement>,
    owed: Owed,
    name: Option<Box<[u8]>>,
    cx: &mut Context<'_>,
) {
    let at = s.batch.position();
    stage_parse(&mut cx.staged.to_server, statement.name(), statement.parse());
    let whose = if owed.action == Action::Forward { Whose::Client } else { Whose::Pooler };
    s.cache.parse_sent(statement, at, whose);
    s.batch.extend();
    s.events.server_parses = s.events.server_parses.saturating_add(1);
    let undo = Undo { change: Change::Prepare, at, name, statement: Some(Arc::clone(statement)) };
    s.owed.push_with(owed, undo);
}
