//! Joining a client and a server, and taking them apart.
//!
//! Invariant: nothing of one client is left in a server's state for the next to meet.
//! Not here: choosing who gets which server.

use alloc::boxed::Box;

use super::client::ClientState;
use super::copy::Copy;
use super::internal::{Internal, Running};
use super::mutant::{self, Mutant};
use super::server::ServerState;
use super::{Context, Fate, settle};
use crate::backend::Status;

/// Whether a client may use its server at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// It may.
    Ready,
    /// Its parameters are being applied: hold it until [`ServerState::take_internal`] says how
    /// that ended. Then ask again: the server may have changed a parameter by itself meanwhile.
    Settling,
}

/// What is to become of a server whose client vanished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// Nothing is owed.
    Idle,
    /// It finishes what was asked; nobody hears the replies.
    Draining,
    /// It waits for something that will never come: close it, for this reason.
    Close(&'static str),
}

/// Joins a client and a settled server.
pub fn link(c: &mut ClientState, s: &mut ServerState, cx: &mut Context<'_>) -> Linked {
    c.status = s.status;
    if c.parameters.unite(&mut s.parameters) || mutant::is_made(Mutant::NoSettle) {
        return Linked::Ready;
    }
    let plan = settle::plan(&c.parameters, &s.parameters);
    if plan.is_empty() {
        c.parameters.adopt(&s.parameters);
        return Linked::Ready;
    }
    s.internal = Some(Box::new(Running::new(Internal::Settle, s.parameters.clone())));
    for sql in [&plan.first, &plan.then] {
        if !sql.is_empty() {
            s.send_query(sql, &mut cx.staged.to_server);
        }
    }
    Linked::Settling
}

/// Takes a client and its settled server apart.
pub fn part(c: &mut ClientState, s: &mut ServerState) {
    c.status = Status::Idle;
    s.unnamed.estrange();
}

/// Says what becomes of a server whose client vanished.
pub fn orphan(s: &mut ServerState) -> Orphan {
    const NOT_SENT: &str = "client disconnect before everything was sent to the server";
    const NOT_READY: &str = "client disconnect while server was not ready";
    s.unnamed.estrange();
    if s.mid_message {
        return Orphan::Close(NOT_SENT);
    }
    if s.copy.awaits_client() || matches!(s.copy, Copy::Both { .. }) {
        return Orphan::Close(NOT_READY);
    }
    if s.batch.open || s.batch.skipping {
        return Orphan::Close(NOT_READY);
    }
    if s.doubtful > 0 && s.owed.is_empty() {
        // How much it still says is known only after one more question, and nobody asks it.
        return Orphan::Close(NOT_READY);
    }
    s.owed.discard_all();
    s.fate = Fate::Swallow;
    if s.is_settled() { Orphan::Idle } else { Orphan::Draining }
}
