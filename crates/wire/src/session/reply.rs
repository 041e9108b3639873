//! Deciding on the bytes of a server.
//!
//! Invariant: a message is matched with the queue of owed replies when it begins; what the queue
//! says becomes of all its bytes. Replies that are made here come out in their turn.
//! Not here: which reply fits which entry (`expect.rs`), what it does to the books (`outcome.rs`).

use super::client::ClientState;
use super::expect::{self, Begin};
use super::pipeline::{Action, Kind, Owed, Undo};
use super::server::ServerState;
use super::{Context, Course, Fate, Run, Staged, Step, Violation};
use crate::backend;
use crate::frame::{self, HEADER_LEN, Header};
use crate::frontend::{self, Target};

/// The largest end of a message that is copied so that something can follow it in one call.
const COPY_MAX: usize = 1024;

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
            let rows = rows(s, c.is_some(), rest, run.course);
            if rows > 0 {
                run.take(rows, Course::Forwarding);
                continue;
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

/// Returns how many bytes at the start are whole rows that go on to the client: what most of the
/// time is spent on.
#[inline]
fn rows(s: &ServerState, linked: bool, rest: &[u8], course: Course) -> usize {
    if rest.first() != Some(&b'D') || !linked || course == Course::Staging {
        return 0;
    }
    let passes = |owed: Owed| owed.action == Action::Forward && owed.kind.gives_rows();
    if s.failed.is_some() || s.internal.is_some() || !s.owed.head().is_some_and(passes) {
        return 0;
    }
    let mut left = rest;
    while let Ok(Some(Header { tag: b'D', len })) = frame::header(left) {
        let total = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1);
        let Some(next) = left.get(total..) else { break };
        left = next;
    }
    rest.len().saturating_sub(left.len())
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
    let begun = expect::message(s, c, header, rest, cx)?;
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
