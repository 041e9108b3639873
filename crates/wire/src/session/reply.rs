//! Deciding on the bytes of a server.
//!
//! Invariant: a message is matched with the queue of owed replies when it begins; what the queue
//! says becomes of all its bytes. Replies that are made here come out in their turn.
//! Not here: what the end of a batch or an error does to the books (`outcome.rs`).

use super::client::ClientState;
use super::copy::Copy;
use super::internal::ROW_MAX;
use super::outcome;
use super::pipeline::{Action, Kind, Owed, Undo};
use super::server::ServerState;
use super::{Context, Course, Fate, Run, Staged, Step, Violation};
use crate::backend::{self, ErrorFields, ParameterStatus, Status};
use crate::error::ProtocolError;
use crate::frame::{self, HEADER_LEN, Header};
use crate::frontend::{self, Target};
use crate::tag::{BackendTag, FrontendTag};

/// The largest end of a message that is copied so that something can follow it in one call.
const COPY_MAX: usize = 1024;
/// The largest ParameterStatus.
const PARAMETER_MAX: usize = 64 * 1024;
/// How much of an ErrorResponse is looked at.
const ERROR_MAX: usize = 4096;

/// How a message begins.
enum Begin {
    /// So many bytes are needed to tell.
    Need(usize),
    /// All its bytes go this way.
    Go(Fate),
}

/// Decides on bytes of a server, of which there must be some. Never says that a server is needed
/// or that the client ends.
///
/// # Errors
/// The server broke the protocol, or a client opened a transaction in statement mode: the server
/// is to be closed, and its client told.
pub fn from_server(
    s: &mut ServerState,
    mut c: Option<&mut ClientState>,
    input: &[u8],
    cx: &mut Context<'_>,
) -> Result<Step, Violation> {
    let mut run = Run::new();
    loop {
        let rest = input.get(run.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(run.step());
        }
        if s.left == 0 {
            if s.doubtful > 0 && ends_doubt(rest) {
                s.doubtful = 0;
            }
            let begun = match s.failed {
                Some(violation) => Err(violation),
                None => begin(s, c.as_deref_mut(), rest, cx),
            };
            match begun {
                Ok(Begin::Go(fate)) => s.fate = fate,
                Ok(Begin::Need(bytes)) if run.taken == 0 => return Ok(Step::NeedInput(bytes)),
                Ok(Begin::Need(_)) => return Ok(run.step()),
                Err(violation) => {
                    s.failed = Some(violation);
                    s.violated = true;
                    return if run.taken == 0 { Err(violation) } else { Ok(run.step()) };
                }
            }
        }
        if !body(s, c.as_deref_mut(), rest, &mut run, cx.staged) {
            return Ok(run.step());
        }
    }
}

/// Consumes what is there of the message under way. Returns false if the call ends here.
#[inline]
fn body(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    rest: &[u8],
    run: &mut Run,
    staged: &mut Staged,
) -> bool {
    let bytes = s.left.min(rest.len());
    let ends = bytes == s.left;
    let due = ends && s.owed.head().is_some_and(|owed| owed.action == Action::Fabricate);
    match s.fate {
        Fate::Swallow if run.course == Course::Forwarding => return false,
        Fate::Swallow => run.take(bytes, Course::Staging),
        Fate::Forward if run.course != Course::Staging && !due => {
            run.take(bytes, Course::Forwarding);
        }
        Fate::Forward if run.course == Course::Forwarding => return false,
        Fate::Forward if ends && bytes <= COPY_MAX => {
            // What is staged goes out first, so the end of this message must be staged, too.
            if run.course == Course::Staging && staged.to_client.is_empty() && !due {
                return false;
            }
            staged.to_client.extend_from_slice(rest.get(..bytes).unwrap_or_default());
            run.take(bytes, Course::Staging);
        }
        Fate::Forward if run.course == Course::Staging => return false,
        Fate::Forward => {
            let most = bytes.saturating_sub(1);
            run.take(most, Course::Forwarding);
            s.left = s.left.saturating_sub(most);
            return false;
        }
    }
    s.left = s.left.saturating_sub(bytes);
    if due {
        emit(s, c.is_some(), staged);
    }
    true
}

/// Tells whether no more ReadyForQuery can come for what was sent before a COPY failed: this
/// message answers something that was sent later.
fn ends_doubt(rest: &[u8]) -> bool {
    !matches!(rest.first(), None | Some(b'Z' | b'N' | b'A' | b'S'))
}

/// Makes the replies whose turn has come.
fn emit(s: &mut ServerState, linked: bool, staged: &mut Staged) {
    while s.owed.head().is_some_and(|owed| owed.action == Action::Fabricate) {
        if let Some((owed, _)) = s.owed.pop()
            && linked
        {
            stage_reply(owed.kind, staged);
        }
    }
}

fn stage_reply(kind: Kind, staged: &mut Staged) {
    if kind == Kind::Parse {
        backend::parse_complete(&mut staged.to_client);
    } else {
        backend::close_complete(&mut staged.to_client);
    }
}

/// Makes the reply to a message that the server is spared, now or when its turn comes.
pub(super) fn fabricate(s: &mut ServerState, owed: Owed, undo: Undo, cx: &mut Context<'_>) {
    if s.owed.is_empty() && s.left == 0 {
        stage_reply(owed.kind, cx.staged);
    } else {
        s.owed.push_with(Owed { action: Action::Fabricate, ..owed }, undo);
    }
}

/// Asks the server something harmless when nobody knows how many ReadyForQuery it still sends:
/// all of those come before the answer.
pub(super) fn fence(s: &mut ServerState, cx: &mut Context<'_>) {
    if s.doubtful > 0
        && s.owed.is_empty()
        && !s.mid_message
        && !s.batch.open
        && !s.batch.skipping
        && s.internal.is_none()
    {
        // There is no such portal: nothing changes, and the answer is always the same.
        frontend::close(&mut cx.staged.to_server, Target::Portal, b"HEADPOND_FENCE");
        frontend::sync(&mut cx.staged.to_server);
        s.batch.close();
        s.owed.push(Owed::new(Kind::Close, Action::Discard));
        s.owed.push(Owed::new(Kind::Sync, Action::Discard));
    }
}

/// Matches the first bytes of a message with what is owed.
fn begin(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    rest: &[u8],
    cx: &mut Context<'_>,
) -> Result<Begin, Violation> {
    let Some(header) = frame::header(rest)? else { return Ok(Begin::Need(HEADER_LEN)) };
    let linked = c.is_some();
    let begun = message(s, c, header, rest, cx)?;
    if matches!(begun, Begin::Go(_)) {
        s.left = header.total();
    }
    if !linked && (s.batch.open || s.batch.skipping) && s.internal.is_none() && !s.mid_message {
        // The client left without the Sync that the server turns out to wait for.
        frontend::sync(&mut cx.staged.to_server);
        s.batch.close();
        s.owed.push(Owed::new(Kind::Sync, Action::Discard));
    }
    Ok(begun)
}

fn message(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    header: Header,
    rest: &[u8],
    cx: &mut Context<'_>,
) -> Result<Begin, Violation> {
    let tag = header.tag;
    let known = BackendTag::from_byte(tag).ok_or(ProtocolError::UnknownBackend { tag })?;
    let linked = c.is_some();
    let unexpected = Violation::Protocol(ProtocolError::UnexpectedBackend { tag });
    match known {
        BackendTag::DataRow => row(s, header, rest, linked),
        BackendTag::RowDescription => row_description(s, c, header, rest),
        BackendTag::CommandComplete => command_complete(s, c, header, rest),
        BackendTag::ReadyForQuery => {
            fixed(header, 5)?;
            let Some(status) = rest.get(HEADER_LEN) else {
                return Ok(Begin::Need(header.total()));
            };
            outcome::ready(s, c, Status::from_byte(*status)?, cx).map(Begin::Go)
        }
        BackendTag::ParseComplete => reply(s, c, header, &[Kind::Parse]),
        BackendTag::BindComplete => reply(s, c, header, &[Kind::Bind]),
        BackendTag::CloseComplete => reply(s, c, header, &[Kind::Close]),
        BackendTag::NoData => reply(s, c, header, &[Kind::DescribeStatement, Kind::DescribePortal]),
        BackendTag::PortalSuspended => reply(s, c, header, &[Kind::Execute]),
        BackendTag::EmptyQueryResponse => empty_query(s, c, header),
        BackendTag::ParameterDescription => {
            let owed = head(s, tag, |kind| kind == Kind::DescribeStatement)?;
            Ok(Begin::Go(fate(owed, linked)))
        }
        BackendTag::FunctionCallResponse => {
            let owed = head(s, tag, |kind| kind == Kind::FunctionCall)?;
            s.answered = true;
            Ok(Begin::Go(fate(owed, linked)))
        }
        BackendTag::ErrorResponse => error(s, c, header, rest),
        BackendTag::NoticeResponse | BackendTag::NotificationResponse => {
            Ok(Begin::Go(asynchronous(s, linked)))
        }
        BackendTag::ParameterStatus => parameter(s, c, header, rest),
        BackendTag::CopyInResponse | BackendTag::CopyOutResponse | BackendTag::CopyBothResponse => {
            copy_begins(s, known, linked)
        }
        BackendTag::CopyData | BackendTag::CopyDone => match s.copy {
            Copy::Out | Copy::Both { .. } => {
                let owed = s.owed.head().ok_or(unexpected)?;
                Ok(Begin::Go(fate(owed, linked)))
            }
            Copy::No | Copy::In { .. } => Err(unexpected),
        },
        BackendTag::Authentication
        | BackendTag::BackendKeyData
        | BackendTag::NegotiateProtocolVersion => Err(unexpected),
    }
}

fn fixed(header: Header, len: u32) -> Result<(), ProtocolError> {
    if header.len == len {
        Ok(())
    } else {
        Err(ProtocolError::BadHeader { tag: header.tag, len: header.len })
    }
}

/// Returns the entry at the head of the queue if a reply of this kind may be its.
#[inline]
fn head(
    s: &mut ServerState,
    tag: u8,
    fits: impl FnOnce(Kind) -> bool,
) -> Result<Owed, ProtocolError> {
    match s.owed.head() {
        Some(owed) if fits(owed.kind) && owed.action != Action::Fabricate => Ok(owed),
        _ => Err(ProtocolError::UnexpectedBackend { tag }),
    }
}

#[inline]
fn fate(owed: Owed, linked: bool) -> Fate {
    if linked && owed.action == Action::Forward { Fate::Forward } else { Fate::Swallow }
}

const fn gives_rows(kind: Kind) -> bool {
    matches!(kind, Kind::Query | Kind::Execute)
}

/// A reply without a body that answers its message completely.
fn reply(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    header: Header,
    kinds: &[Kind],
) -> Result<Begin, Violation> {
    fixed(header, 4)?;
    let owed = head(s, header.tag, |kind| kinds.contains(&kind))?;
    let linked = c.is_some();
    outcome::answered(s, c);
    Ok(Begin::Go(fate(owed, linked)))
}

#[inline]
fn row(s: &mut ServerState, header: Header, rest: &[u8], linked: bool) -> Result<Begin, Violation> {
    let owed = head(s, header.tag, gives_rows)?;
    if let Some(running) = s.internal.as_mut().filter(|running| running.is_lookup()) {
        let total = header.total();
        if total > ROW_MAX {
            return Err(ProtocolError::BadLength.into());
        }
        let Some(body) = rest.get(HEADER_LEN..total) else { return Ok(Begin::Need(total)) };
        running.keep_row(body)?;
    }
    Ok(Begin::Go(fate(owed, linked)))
}

fn row_description(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    header: Header,
    rest: &[u8],
) -> Result<Begin, Violation> {
    let describes = |kind| matches!(kind, Kind::DescribeStatement | Kind::DescribePortal);
    let owed = head(s, header.tag, |kind| describes(kind) || gives_rows(kind))?;
    if let Some(running) = s.internal.as_mut().filter(|running| running.is_lookup()) {
        if header.body_len() < 2 {
            return Err(ProtocolError::Truncated.into());
        }
        let Some([a, b]) = rest.get(HEADER_LEN..).and_then(|body| body.first_chunk::<2>()) else {
            return Ok(Begin::Need(HEADER_LEN.saturating_add(2)));
        };
        running.finished.columns = usize::from(u16::from_be_bytes([*a, *b]));
    }
    let linked = c.is_some();
    if describes(owed.kind) {
        outcome::answered(s, c);
    } else {
        s.answered = true;
    }
    Ok(Begin::Go(fate(owed, linked)))
}

fn command_complete(
    s: &mut ServerState,
    mut c: Option<&mut ClientState>,
    header: Header,
    rest: &[u8],
) -> Result<Begin, Violation> {
    let owed = head(s, header.tag, gives_rows)?;
    let linked = c.is_some();
    // Only two commands are of interest, and their length is told by the header.
    let drops_all: Option<&[u8]> = match header.body_len() {
        15 => Some(b"DEALLOCATE ALL\0"),
        12 => Some(b"DISCARD ALL\0"),
        _ => None,
    };
    if let Some(text) = drops_all {
        let Some(body) = rest.get(HEADER_LEN..header.total()) else {
            return Ok(Begin::Need(header.total()));
        };
        if body == text {
            outcome::statements_dropped(s, c.as_deref_mut(), owed);
        }
    }
    s.copy = Copy::No;
    if owed.kind == Kind::Execute {
        outcome::answered(s, c);
    } else {
        s.answered = true;
    }
    Ok(Begin::Go(fate(owed, linked)))
}

fn empty_query(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    header: Header,
) -> Result<Begin, Violation> {
    fixed(header, 4)?;
    let owed = head(s, header.tag, gives_rows)?;
    let linked = c.is_some();
    if owed.kind == Kind::Execute {
        outcome::answered(s, c);
    } else {
        s.answered = true;
    }
    Ok(Begin::Go(fate(owed, linked)))
}

fn copy_begins(s: &mut ServerState, tag: BackendTag, linked: bool) -> Result<Begin, Violation> {
    let owed = head(s, tag.byte(), gives_rows)?;
    let heard = linked && owed.action == Action::Forward;
    let unexpected = Violation::Protocol(ProtocolError::UnexpectedBackend { tag: tag.byte() });
    s.answered = true;
    s.copy = match tag {
        BackendTag::CopyBothResponse if heard => Copy::Both { ended: false },
        BackendTag::CopyBothResponse => return Err(unexpected),
        BackendTag::CopyInResponse => {
            let (ignored, ended) = s
                .owed
                .begin_copy_in()
                .ok_or(ProtocolError::UnexpectedFrontend(FrontendTag::Parse))?;
            if !heard && !ended {
                // Nobody is there to send the data: the server would wait for ever.
                return Err(unexpected);
            }
            if owed.kind == Kind::Execute && !s.owed.has_sync() {
                s.batch.open = true;
            }
            Copy::In { ended, ignored }
        }
        _ => Copy::Out,
    };
    Ok(Begin::Go(fate(owed, linked)))
}

/// Notices and notifications are for the linked client, unless the pooler is talking itself.
fn asynchronous(s: &mut ServerState, linked: bool) -> Fate {
    if linked && s.internal.is_none() {
        return Fate::Forward;
    }
    s.events.dropped_notices = s.events.dropped_notices.saturating_add(1);
    Fate::Swallow
}

fn parameter(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    header: Header,
    rest: &[u8],
) -> Result<Begin, Violation> {
    let total = header.total();
    if total > PARAMETER_MAX {
        return Err(ProtocolError::BadLength.into());
    }
    let Some(body) = rest.get(HEADER_LEN..total) else { return Ok(Begin::Need(total)) };
    let ParameterStatus { name, value } = ParameterStatus::read(body)?;
    let before = s.parameters.clone();
    s.parameters = before.with(name, value);
    let Some(c) = c.filter(|_| s.internal.is_none()) else { return Ok(Begin::Go(Fate::Swallow)) };
    c.parameters = if c.parameters.is(&before) {
        s.parameters.clone()
    } else {
        c.parameters.with(name, value)
    };
    Ok(Begin::Go(Fate::Forward))
}

fn error(
    s: &mut ServerState,
    c: Option<&mut ClientState>,
    header: Header,
    rest: &[u8],
) -> Result<Begin, Violation> {
    let wanted = header.total().min(ERROR_MAX);
    let Some(body) = rest.get(HEADER_LEN..wanted) else { return Ok(Begin::Need(wanted)) };
    let fields = ErrorFields::parse(body);
    Ok(Begin::Go(outcome::failed(s, c, fields, body)))
}
