//! Deciding on the bytes of a client.
//!
//! Invariant: a message is decided on once, from its first bytes; what it changes in the books is
//! changed in the same call that consumes those bytes. Bodies stream.
//! Not here: prepared statements (`prepare.rs`), a client without a server (`alone.rs`).

use alloc::boxed::Box;

use super::alone;
use super::copy::Copy;
use super::names::Prepared;
use super::parameter::Parameters;
use super::pipeline::{Action, Kind, Owed};
use super::prepare;
use super::reply;
use super::server::ServerState;
use super::unnamed::Owner;
use super::{Context, Course, Fate, Run, Settings, Step, Violation};
use crate::backend::Status;
use crate::error::ProtocolError;
use crate::frame::{self, HEADER_LEN, Header};
use crate::frontend;
use crate::tag::FrontendTag;

/// The largest message that is copied to keep a call going.
const COPY_MAX: usize = 1024;
/// The most that one call stages by such copies.
const STAGED_MAX: usize = 16 * 1024;

/// A logged-in client, as the relay sees it.
#[derive(Debug)]
pub struct ClientState {
    /// Bytes still to come of the message that the client is sending.
    pub(super) left: usize,
    /// What becomes of them.
    pub(super) fate: Fate,
    pub(super) status: Status,
    /// An error of ours was reported: everything up to the next Sync is dropped.
    pub(super) rejecting: bool,
    pub(super) parameters: Parameters,
    pub(super) prepared: Option<Box<Prepared>>,
}

impl ClientState {
    /// Takes over a client after its login, with the parameter values it is to have.
    #[must_use]
    pub const fn new(parameters: Parameters) -> Self {
        Self {
            left: 0,
            fate: Fate::Forward,
            status: Status::Idle,
            rejecting: false,
            parameters,
            prepared: None,
        }
    }

    /// Tells whether the client's server has told it that a transaction is open.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.status != Status::Idle
    }

    /// Returns the value that a tracked parameter has, or is to have, on this client's server.
    #[must_use]
    pub fn wanted(&self, name: &[u8]) -> Option<&[u8]> {
        self.parameters.get(name)
    }

    /// Returns the values of the tracked parameters.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns how many statements the client has prepared under names.
    #[must_use]
    pub fn statements(&self) -> usize {
        self.prepared.as_ref().map_or(0, |prepared| prepared.len())
    }

    /// Tells whether the client is between two messages.
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        self.left == 0
    }

    /// Refuses the batch that waits for a server, after an ErrorResponse was written to the
    /// client: what follows up to its end is dropped, then the client hears ReadyForQuery.
    pub const fn reject(&mut self) {
        self.rejecting = true;
    }

    pub(super) fn prepared_mut(&mut self) -> &mut Prepared {
        self.prepared.get_or_insert_default()
    }
}

/// What is to be done with one message.
pub(super) enum Verdict {
    /// Send it on as it is.
    Pass,
    /// So many bytes of it are replaced by what was staged; the rest goes on as it is.
    Replace(usize),
    /// Drop it.
    Drop,
    /// It cannot join the bytes of this call: nothing was changed, ask again.
    Break,
    /// The call ends before it, with this step if nothing else was consumed.
    Stop(Step),
}

/// Decides on bytes of a client, of which there must be some.
///
/// # Errors
/// The client broke the protocol: it is to be closed, and so is its server.
pub fn from_client(
    c: &mut ClientState,
    s: Option<&mut ServerState>,
    input: &[u8],
    cx: &mut Context<'_>,
) -> Result<Step, Violation> {
    let Some(s) = s else { return alone::decide(c, input, cx) };
    if s.internal.is_some() {
        return Ok(Step::Full);
    }
    let staged = (cx.staged.to_server.len(), cx.staged.to_client.len());
    let mut run = Run::new();
    let end = relay(c, s, input, cx, &mut run);
    s.mid_message = c.left > 0 && c.fate == Fate::Forward;
    match end {
        _ if run.taken > 0 => Ok(run.step()),
        Ok(step) => Ok(step),
        Err(violation) => {
            // Nothing of a refused call may reach anyone.
            cx.staged.to_server.truncate(staged.0);
            cx.staged.to_client.truncate(staged.1);
            Err(violation)
        }
    }
}

/// Consumes messages as long as they go the same way; returns why it stopped.
fn relay(
    c: &mut ClientState,
    s: &mut ServerState,
    input: &[u8],
    cx: &mut Context<'_>,
    run: &mut Run,
) -> Result<Step, Violation> {
    loop {
        let rest = input.get(run.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(run.step());
        }
        if c.left > 0 {
            if !run.admits(c.fate) {
                return Ok(run.step());
            }
            let bytes = c.left.min(rest.len());
            let course = if c.fate == Fate::Forward { Course::Forwarding } else { Course::Staging };
            run.take(bytes, course);
            c.left = c.left.saturating_sub(bytes);
            continue;
        }
        let Some(header) = frame::header(rest)? else { return Ok(Step::NeedInput(HEADER_LEN)) };
        let total = header.total();
        if s.doubtful > 0 {
            // Between two messages of the client, and before anything else of this call.
            if run.taken > 0 {
                return Ok(run.step());
            }
            s.mid_message = false;
            reply::fence(s, cx);
        }
        if run.course == Course::Staging
            && (total > rest.len() || total > COPY_MAX || cx.staged.to_server.len() > STAGED_MAX)
        {
            return Ok(run.step());
        }
        match request(c, s, header, rest, run.course, cx)? {
            Verdict::Pass => pass(c, header, rest, run, cx),
            Verdict::Replace(replaced) => {
                run.take(replaced, Course::Staging);
                if !finish_replaced(c, total.saturating_sub(replaced), rest, replaced, run, cx) {
                    return Ok(run.step());
                }
            }
            Verdict::Drop => {
                let bytes = total.min(rest.len());
                run.take(bytes, Course::Staging);
                c.left = total.saturating_sub(bytes);
                c.fate = Fate::Swallow;
            }
            Verdict::Break => return Ok(run.step()),
            Verdict::Stop(step) => return Ok(step),
        }
    }
}

/// Sends a message on, directly or as a part of what is staged.
#[inline]
fn pass(c: &mut ClientState, header: Header, rest: &[u8], run: &mut Run, cx: &mut Context<'_>) {
    let total = header.total();
    match rest.get(..total) {
        Some(message) if run.course == Course::Staging => {
            cx.staged.to_server.extend_from_slice(message);
            run.take(total, Course::Staging);
        }
        Some(_) => run.take(total, Course::Forwarding),
        None => {
            run.take(rest.len(), Course::Forwarding);
            c.left = total.saturating_sub(rest.len());
            c.fate = Fate::Forward;
        }
    }
}

/// Copies the rest of a message whose head was replaced, if it is there and small; otherwise it
/// is forwarded by the next call.
fn finish_replaced(
    c: &mut ClientState,
    left: usize,
    rest: &[u8],
    replaced: usize,
    run: &mut Run,
    cx: &mut Context<'_>,
) -> bool {
    let tail = rest.get(replaced..).and_then(|tail| tail.get(..left));
    match tail {
        Some(tail) if left <= COPY_MAX => {
            cx.staged.to_server.extend_from_slice(tail);
            run.take(left, Course::Staging);
            true
        }
        _ => {
            c.left = left;
            c.fate = Fate::Forward;
            false
        }
    }
}

/// Checks the tag and the length of a message.
pub(super) fn check(header: Header, settings: &Settings) -> Result<FrontendTag, ProtocolError> {
    let tag = header.tag;
    let tag = FrontendTag::from_byte(tag).ok_or(ProtocolError::UnknownFrontend { tag })?;
    let len = header.len.saturating_sub(4);
    let max = tag.body_max();
    if len > max {
        return Err(ProtocolError::FrameTooLong { len, max });
    }
    let max = settings.message_max;
    if max > 0 && header.len > max {
        return Err(ProtocolError::FrameTooLong { len: header.len, max });
    }
    match tag {
        FrontendTag::Query if !settings.simple_query_allowed => {
            Err(ProtocolError::SimpleQueryDisallowed)
        }
        FrontendTag::Password => Err(ProtocolError::UnexpectedFrontend(tag)),
        FrontendTag::Sync | FrontendTag::Flush | FrontendTag::Terminate if len > 0 => {
            Err(ProtocolError::Broken(tag))
        }
        _ => Ok(tag),
    }
}

/// Decides on one message.
fn request(
    c: &mut ClientState,
    s: &mut ServerState,
    header: Header,
    rest: &[u8],
    course: Course,
    cx: &mut Context<'_>,
) -> Result<Verdict, Violation> {
    let tag = check(header, cx.settings)?;
    if s.owed.is_full() {
        return Ok(wait(s, course, cx));
    }
    if s.batch.skipping && !matches!(tag, FrontendTag::Sync | FrontendTag::Terminate) {
        return Ok(drop_unless(course));
    }
    if matches!(s.copy, Copy::In { ended: false, .. }) && !may_follow_copy(tag) {
        // PostgreSQL ends the session over that, too.
        return Err(ProtocolError::UnexpectedFrontend(tag).into());
    }
    match tag {
        FrontendTag::Query => {
            query(c, s, cx.settings);
            Ok(Verdict::Pass)
        }
        FrontendTag::Parse | FrontendTag::Bind | FrontendTag::Describe | FrontendTag::Close
            if cx.settings.tracks_statements() =>
        {
            prepare::request(c, s, tag, header, rest, course, cx)
        }
        FrontendTag::Execute => {
            s.batch.extend();
            Ok(owe(s, Kind::Execute))
        }
        FrontendTag::Sync => Ok(sync(s)),
        FrontendTag::Parse => {
            s.unnamed.estrange();
            s.batch.extend();
            Ok(owe(s, Kind::Parse))
        }
        FrontendTag::Bind => {
            s.batch.extend();
            Ok(owe(s, Kind::Bind))
        }
        FrontendTag::Describe => Ok(describe_untracked(s, rest)),
        FrontendTag::Close => {
            s.batch.extend_safely();
            Ok(owe(s, Kind::Close))
        }
        FrontendTag::FunctionCall => {
            s.batch.open = false;
            Ok(owe(s, Kind::FunctionCall))
        }
        FrontendTag::Flush => {
            s.batch.flushed = true;
            Ok(Verdict::Pass)
        }
        FrontendTag::CopyData | FrontendTag::CopyDone | FrontendTag::CopyFail => {
            Ok(copy(s, tag, course))
        }
        FrontendTag::Terminate => Ok(Verdict::Stop(Step::End)),
        FrontendTag::Password => Err(ProtocolError::UnexpectedFrontend(tag).into()),
    }
}

/// Tells whether a message is legal while the server waits for copy data.
const fn may_follow_copy(tag: FrontendTag) -> bool {
    matches!(
        tag,
        FrontendTag::CopyData
            | FrontendTag::CopyDone
            | FrontendTag::CopyFail
            | FrontendTag::Flush
            | FrontendTag::Sync
            | FrontendTag::Terminate
    )
}

fn owe(s: &mut ServerState, kind: Kind) -> Verdict {
    s.owed.push(Owed::new(kind, Action::Forward));
    Verdict::Pass
}

/// Drops a message, in a call of its own if this one forwards.
pub(super) const fn drop_unless(course: Course) -> Verdict {
    match course {
        Course::Forwarding => Verdict::Break,
        Course::Start | Course::Staging => Verdict::Drop,
    }
}

fn query(c: &mut ClientState, s: &mut ServerState, settings: &Settings) {
    let mut owed = Owed::new(Kind::Query, Action::Forward);
    if settings.tracks_statements() {
        // A simple query destroys the unnamed statement.
        owed.unnamed = true;
        if let Some(prepared) = &mut c.prepared {
            owed.statement = prepared.unnamed.doom();
        }
        s.unnamed.sent(Owner::Nobody, s.batch.position());
    }
    s.owed.push(owed);
    s.batch.open = false;
}

fn sync(s: &mut ServerState) -> Verdict {
    if let Copy::In { ended: false, ignored } = &mut s.copy {
        // The server ignores it, unless the COPY has failed already.
        *ignored = ignored.saturating_add(1);
        return Verdict::Pass;
    }
    s.batch.close();
    owe(s, Kind::Sync)
}

fn describe_untracked(s: &mut ServerState, rest: &[u8]) -> Verdict {
    let kind = match rest.get(HEADER_LEN) {
        None => return Verdict::Stop(Step::NeedInput(HEADER_LEN.saturating_add(1))),
        Some(b'S') => Kind::DescribeStatement,
        Some(_) => Kind::DescribePortal,
    };
    s.batch.extend();
    owe(s, kind)
}

/// Copy data goes to a server that asked for it or may ask for it soon; what comes late is
/// dropped, as PostgreSQL does.
fn copy(s: &mut ServerState, tag: FrontendTag, course: Course) -> Verdict {
    s.batch.flushed = false;
    if s.copy.awaits_client() {
        if tag != FrontendTag::CopyData {
            s.copy.end();
        }
        return Verdict::Pass;
    }
    if s.owed.is_empty() {
        return drop_unless(course);
    }
    if tag != FrontendTag::CopyData {
        s.owed.push(Owed::new(Kind::CopyEnd, Action::Discard));
    }
    Verdict::Pass
}

/// Stops the client until the server has answered something. Without a Sync the server may keep
/// what it has said to itself, so it is asked to flush, once.
pub(super) fn wait(s: &mut ServerState, course: Course, cx: &mut Context<'_>) -> Verdict {
    if course != Course::Start {
        return Verdict::Break;
    }
    if s.batch.open && !s.batch.flushed {
        frontend::flush(&mut cx.staged.to_server);
        s.batch.flushed = true;
    }
    Verdict::Stop(Step::Full)
}
