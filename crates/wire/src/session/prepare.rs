//! Parse, Bind, Describe and Close of statements that are followed from server to server.
//!
//! Invariant: when a message that uses a statement reaches a server, that server has been sent
//! the statement before, in the same stream; what the server then fails or skips is taken back.
//! Where a decision would depend on an earlier batch whose outcome is open, the client waits.
//! Not here: who keeps what (`names.rs`, `cache.rs`, `unnamed.rs`).
//!
//! Where this differs from a server of one's own: a Parse of a statement that the server has is
//! not analysed again; a name used right behind `DISCARD ALL` or `DEALLOCATE ALL`, before those are
//! answered, may still be found; SQL-level PREPARE, EXECUTE and DEALLOCATE of a name pass through
//! and do not follow the client.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::cache::View;
use super::client::{ClientState, Verdict, drop_unless, wait};
use super::head::{self, BindNames, Found};
use super::pipeline::{Action, Certainty, Change, Kind, Owed, Undo};
use super::reply;
use super::server::ServerState;
use super::statement::{PREFIX, Statement};
use super::supply::{ensure, make_room, prepare, refuse_name, unnamed_use};
use super::unnamed::Owner;
use super::{Context, Course, Settings, Step, Violation};
use crate::backend::Status;
use crate::encode;
use crate::error::ProtocolError;
use crate::frame::{HEADER_LEN, Header};
use crate::frontend::{self, Target};
use crate::tag::FrontendTag;

/// What a name in a Bind or Describe stands for.
enum Meaning<'a> {
    /// The unnamed statement of the server itself.
    Unnamed,
    /// A statement that clients share.
    Known(&'a Arc<Statement>),
    /// Nothing that the client prepared: the server is to say so.
    Unknown,
}

/// Decides on one message.
pub(super) fn request(
    c: &mut ClientState,
    s: &mut ServerState,
    tag: FrontendTag,
    header: Header,
    rest: &[u8],
    course: Course,
    cx: &mut Context<'_>,
) -> Result<Verdict, Violation> {
    match tag {
        FrontendTag::Parse => parse(c, s, header, rest, course, cx),
        FrontendTag::Bind => match head::bind(header, rest)? {
            Found::Need(bytes) => Ok(Verdict::Stop(Step::NeedInput(bytes))),
            Found::Here(names) => Ok(bind(c, s, header, &names, course, cx)),
        },
        _ => match head::target(header, rest, tag)? {
            Found::Need(bytes) => Ok(Verdict::Stop(Step::NeedInput(bytes))),
            Found::Here((target, name)) if tag == FrontendTag::Describe => {
                Ok(describe(c, s, header, target, name, course, cx))
            }
            Found::Here((target, name)) => Ok(close(c, s, target, name, course, cx)),
        },
    }
}

fn parse(
    c: &mut ClientState,
    s: &mut ServerState,
    header: Header,
    rest: &[u8],
    course: Course,
    cx: &mut Context<'_>,
) -> Result<Verdict, Violation> {
    let name = match head::parse(header, rest)? {
        Found::Need(bytes) => return Ok(Verdict::Stop(Step::NeedInput(bytes))),
        Found::Here(name) => name,
    };
    let total = header.total();
    let fits = u32::try_from(total).is_ok_and(|len| len <= cx.settings.statement_bytes_max);
    if name.is_empty() && !fits {
        let serial = c.prepared_mut().unnamed.pass(s.batch.position());
        return Ok(unnamed_parse(s, serial));
    }
    if !fits {
        let max = cx.settings.statement_bytes_max;
        return Err(ProtocolError::StatementTooLong { len: header.len, max }.into());
    }
    let Some(body) = rest.get(HEADER_LEN..total) else {
        return Ok(Verdict::Stop(Step::NeedInput(total)));
    };
    let text = body.get(name.len().saturating_add(1)..).unwrap_or_default();
    if name.is_empty() && !may_share(s, cx.settings) {
        let serial = c.prepared_mut().unnamed.keep(text, s.batch.position());
        return Ok(unnamed_parse(s, serial));
    }
    if course == Course::Forwarding {
        return Ok(Verdict::Break);
    }
    frontend::Parse::read(body).map_err(|_| ProtocolError::Broken(FrontendTag::Parse))?;
    if name.is_empty() {
        return Ok(shared_parse(c, s, text, total, cx));
    }
    Ok(named_parse(c, s, name, text, total, course, cx))
}

/// The server gets an unnamed Parse as it is.
fn unnamed_parse(s: &mut ServerState, serial: u64) -> Verdict {
    s.unnamed.sent(Owner::Own(serial), s.batch.position());
    s.batch.extend();
    s.owed.push(Owed {
        unnamed: true,
        statement: serial,
        ..Owed::new(Kind::Parse, Action::Forward)
    });
    Verdict::Pass
}

/// Tells whether an unnamed Parse may become a named one. Where the fate of something sent before
/// is open, the plain one is as good, and nobody has to wait.
fn may_share(s: &ServerState, settings: &Settings) -> bool {
    settings.share_unnamed
        && s.owed.readies() == 0
        && s.status != Status::Failed
        && !s.is_in_doubt()
}

/// An unnamed Parse becomes a named one that clients share.
fn shared_parse(
    c: &mut ClientState,
    s: &mut ServerState,
    text: &[u8],
    total: usize,
    cx: &mut Context<'_>,
) -> Verdict {
    let statement = cx.statements.intern(text);
    let view = s.cache.view(statement.id(), s.batch.number);
    s.events.client_parses = s.events.client_parses.saturating_add(1);
    let at = s.batch.position();
    let serial = c.prepared_mut().unnamed.share(Arc::clone(&statement), at);
    let owed = Owed { unnamed: true, statement: serial, ..Owed::new(Kind::Parse, Action::Forward) };
    // An empty name: no client can have defined it.
    let name = Some(Box::default());
    if may_answer(s, view) {
        s.cache.touch(statement.id());
        reply::fabricate(s, owed, Undo { change: Change::Define, at, name, statement: None }, cx);
        return Verdict::Drop;
    }
    make_room(s, &statement, view, cx);
    prepare(s, &statement, owed, name, cx);
    Verdict::Replace(total)
}

fn named_parse(
    c: &mut ClientState,
    s: &mut ServerState,
    name: &[u8],
    text: &[u8],
    total: usize,
    course: Course,
    cx: &mut Context<'_>,
) -> Verdict {
    if s.is_in_doubt() {
        return wait(s, course, cx);
    }
    if s.owed.name_is_open(name, s.batch.number, Certainty::Answered) {
        return Verdict::Stop(Step::Full);
    }
    if c.prepared_mut().get(name).is_some() {
        refuse_name(s, text, cx);
        return Verdict::Replace(total);
    }
    let statement = cx.statements.intern(text);
    let view = s.cache.view(statement.id(), s.batch.number);
    if view == View::Open {
        return Verdict::Stop(Step::Full);
    }
    s.events.client_parses = s.events.client_parses.saturating_add(1);
    c.prepared_mut().define(name, Arc::clone(&statement));
    let owed = Owed { statement: statement.id(), ..Owed::new(Kind::Parse, Action::Forward) };
    if may_answer(s, view) {
        s.cache.touch(statement.id());
        let undo = Undo {
            change: Change::Define,
            at: s.batch.position(),
            name: Some(name.into()),
            statement: None,
        };
        reply::fabricate(s, owed, undo, cx);
        return Verdict::Drop;
    }
    make_room(s, &statement, view, cx);
    prepare(s, &statement, owed, Some(name.into()), cx);
    Verdict::Replace(total)
}

/// Tells whether a Parse of a statement that the server has may be answered here. In a failed
/// transaction PostgreSQL refuses most statements: where one is possible it must be asked.
fn may_answer(s: &ServerState, view: View) -> bool {
    view == View::Present && s.status != Status::Failed && s.owed.readies() == 0
}

fn bind(
    c: &mut ClientState,
    s: &mut ServerState,
    header: Header,
    names: &BindNames<'_>,
    course: Course,
    cx: &mut Context<'_>,
) -> Verdict {
    let mut owed = Owed::new(Kind::Bind, Action::Forward);
    let written: &[u8] = match meaning(c, s, names.statement) {
        None => return Verdict::Stop(Step::Full),
        Some(Meaning::Unnamed) => {
            return unnamed_use(c, s, course, cx).unwrap_or_else(|| used(s, owed));
        }
        Some(Meaning::Unknown) if !names.statement.starts_with(PREFIX) => return used(s, owed),
        Some(_) if course == Course::Forwarding => return Verdict::Break,
        Some(Meaning::Unknown) => b"",
        Some(Meaning::Known(statement)) => {
            if !ensure(s, statement, cx) {
                return Verdict::Stop(Step::Full);
            }
            owed.statement = statement.id();
            s.events.binds = s.events.binds.saturating_add(1);
            statement.name()
        }
    };
    let tail = header.total().saturating_sub(names.end);
    let out = &mut cx.staged.to_server;
    let len = tail
        .saturating_add(names.portal.len())
        .saturating_add(written_len(written, names.statement))
        .saturating_add(6);
    out.push(FrontendTag::Bind.byte());
    // A Bind has at most 1 GiB, and the names at most a few kilobytes.
    encode::u32(out, u32::try_from(len).unwrap_or(u32::MAX));
    encode::cstr(out, names.portal);
    write_name(out, written, names.statement);
    used(s, owed);
    Verdict::Replace(names.end)
}

fn describe(
    c: &mut ClientState,
    s: &mut ServerState,
    header: Header,
    target: Target,
    name: &[u8],
    course: Course,
    cx: &mut Context<'_>,
) -> Verdict {
    if target == Target::Portal {
        return used(s, Owed::new(Kind::DescribePortal, Action::Forward));
    }
    let mut owed = Owed::new(Kind::DescribeStatement, Action::Forward);
    let written: &[u8] = match meaning(c, s, name) {
        None => return Verdict::Stop(Step::Full),
        Some(Meaning::Unnamed) => {
            return unnamed_use(c, s, course, cx).unwrap_or_else(|| used(s, owed));
        }
        Some(Meaning::Unknown) if !name.starts_with(PREFIX) => return used(s, owed),
        Some(_) if course == Course::Forwarding => return Verdict::Break,
        Some(Meaning::Unknown) => b"",
        Some(Meaning::Known(statement)) => {
            if !ensure(s, statement, cx) {
                return Verdict::Stop(Step::Full);
            }
            owed.statement = statement.id();
            statement.name()
        }
    };
    encode::message(&mut cx.staged.to_server, FrontendTag::Describe.byte(), |out| {
        out.push(Target::Statement.byte());
        write_name(out, written, name);
    });
    used(s, owed);
    Verdict::Replace(header.total())
}

fn close(
    c: &mut ClientState,
    s: &mut ServerState,
    target: Target,
    name: &[u8],
    course: Course,
    cx: &mut Context<'_>,
) -> Verdict {
    let mut owed = Owed::new(Kind::Close, Action::Forward);
    if target == Target::Statement && name.is_empty() {
        owed.unnamed = true;
        if let Some(prepared) = &mut c.prepared {
            owed.statement = prepared.unnamed.doom();
        }
        s.unnamed.sent(Owner::Nobody, s.batch.position());
    } else if target == Target::Statement {
        if s.owed.name_is_open(name, s.batch.number, Certainty::Answered) {
            return Verdict::Stop(Step::Full);
        }
        let known = c.prepared.as_ref().is_some_and(|prepared| prepared.get(name).is_some());
        if known || name.starts_with(PREFIX) {
            if course == Course::Forwarding {
                return Verdict::Break;
            }
            if s.is_in_doubt() {
                return wait(s, course, cx);
            }
            let undo = Undo {
                change: Change::Forget,
                at: s.batch.position(),
                name: Some(name.into()),
                statement: c.prepared.as_mut().and_then(|prepared| prepared.forget(name)),
            };
            reply::fabricate(s, owed, undo, cx);
            return drop_unless(course);
        }
    }
    s.batch.extend_safely();
    s.owed.push(owed);
    Verdict::Pass
}

/// Returns what a name stands for, or `None` if that depends on an earlier batch.
fn meaning<'a>(c: &'a ClientState, s: &ServerState, name: &[u8]) -> Option<Meaning<'a>> {
    let batch = s.batch.number;
    if s.owed.name_is_open(name, batch, Certainty::Sent) {
        return None;
    }
    let prepared = c.prepared.as_deref();
    let known = match name.is_empty() {
        true => prepared.and_then(|prepared| prepared.unnamed.shared()),
        false => prepared.and_then(|prepared| prepared.get(name)),
    };
    match known {
        None if name.is_empty() => Some(Meaning::Unnamed),
        None => Some(Meaning::Unknown),
        // A Parse that is not answered yet may have failed: what it prepares may be used, but
        // only under the name that it defines, and that name for nothing else.
        Some(statement)
            if (s.cache.view(statement.id(), batch) == View::Promised)
                != s.owed.name_is_open(name, batch, Certainty::Answered) =>
        {
            None
        }
        Some(statement) => Some(Meaning::Known(statement)),
    }
}

fn used(s: &mut ServerState, owed: Owed) -> Verdict {
    s.batch.extend();
    s.owed.push(owed);
    Verdict::Pass
}

/// Writes the name of a statement; one that merely looks like ours is made impossible first.
fn write_name(out: &mut alloc::vec::Vec<u8>, written: &[u8], asked: &[u8]) {
    if written.is_empty() {
        out.push(b'?');
        encode::cstr(out, asked);
    } else {
        encode::cstr(out, written);
    }
}

const fn written_len(written: &[u8], asked: &[u8]) -> usize {
    if written.is_empty() { asked.len().saturating_add(1) } else { written.len() }
}
