//! Which messages a server may send now: matching replies with what is owed.
//!
//! Invariant: a reply that nothing is owed for, or of the wrong kind, is an error; nothing is
//! changed before enough bytes are there to decide.
//! Not here: what a reply does to the books (`outcome.rs`), and its bytes (`reply.rs`).

use super::client::ClientState;
use super::copy::Copy;
use super::internal::ROW_MAX;
use super::outcome;
use super::pipeline::{Action, Kind, Owed};
use super::server::ServerState;
use super::{Context, Fate, Mode, Violation};
use crate::backend::{ErrorFields, ParameterStatus, Status};
use crate::error::ProtocolError;
use crate::frame::{HEADER_LEN, Header};
use crate::tag::{BackendTag, FrontendTag};

/// The largest ParameterStatus.
const PARAMETER_MAX: usize = 64 * 1024;
/// How much of an ErrorResponse is looked at.
const ERROR_MAX: usize = 4096;

/// How a message begins.
pub(super) enum Begin {
    /// So many bytes are needed to tell.
    Need(usize),
    /// All its bytes go this way.
    Go(Fate),
}

/// Decides on a message from its first bytes.
pub(super) fn message(
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
        BackendTag::ErrorResponse => error(s, c, header, rest, cx.settings.mode),
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
    let owed = head(s, header.tag, Kind::gives_rows)?;
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
    let owed = head(s, header.tag, |kind| describes(kind) || kind.gives_rows())?;
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
    let owed = head(s, header.tag, Kind::gives_rows)?;
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
    let owed = head(s, header.tag, Kind::gives_rows)?;
    let linked = c.is_some();
    if owed.kind == Kind::Execute {
        outcome::answered(s, c);
    } else {
        s.answered = true;
    }
    Ok(Begin::Go(fate(owed, linked)))
}

fn copy_begins(s: &mut ServerState, tag: BackendTag, linked: bool) -> Result<Begin, Violation> {
    let owed = head(s, tag.byte(), Kind::gives_rows)?;
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
                s.batch.flushed = false;
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
    mode: Mode,
) -> Result<Begin, Violation> {
    let wanted = header.total().min(ERROR_MAX);
    let Some(body) = rest.get(HEADER_LEN..wanted) else { return Ok(Begin::Need(wanted)) };
    let fields = ErrorFields::parse(body);
    Ok(Begin::Go(outcome::failed(s, c, fields, body, mode)))
}
