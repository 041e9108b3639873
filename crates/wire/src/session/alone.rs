//! Deciding on the bytes of a client that has no server.
//!
//! Invariant: nothing is consumed that a server must see, and none is asked for before a small
//! message is complete: whoever sends slowly holds nothing.
//! Not here: a client with a server (`client.rs`).

use super::client::{ClientState, check};
use super::head::{self, Found};
use super::{Context, Fate, Step, Violation};
use crate::backend::{self, Status};
use crate::frame::{self, HEADER_LEN};
use crate::frontend::Target;
use crate::tag::FrontendTag;

/// Messages up to this size are complete before a server is asked for.
const WHOLE_MAX: usize = 4096;

/// Decides on the first message, or on the rest of one.
pub(super) fn decide(
    c: &mut ClientState,
    input: &[u8],
    cx: &mut Context<'_>,
) -> Result<Step, Violation> {
    if c.left > 0 {
        // Late copy data, or what a lost server would have got.
        return Ok(swallow(c, input, c.left));
    }
    let Some(header) = frame::header(input)? else { return Ok(Step::NeedInput(HEADER_LEN)) };
    let tag = check(header, cx.settings)?;
    let total = header.total();
    if c.rejecting && tag != FrontendTag::Terminate {
        return Ok(reject(c, tag, input, total, cx));
    }
    match tag {
        FrontendTag::Terminate => Ok(Step::End),
        FrontendTag::Sync => {
            backend::ready_for_query(&mut cx.staged.to_client, Status::Idle);
            Ok(Step::Swallow(total))
        }
        FrontendTag::Flush
        | FrontendTag::CopyData
        | FrontendTag::CopyDone
        | FrontendTag::CopyFail => Ok(swallow(c, input, total)),
        FrontendTag::Close if cx.settings.tracks_statements() => close(c, header, input, cx),
        FrontendTag::Parse if cx.settings.tracks_statements() => {
            let kept = usize::try_from(cx.settings.statement_bytes_max).unwrap_or(usize::MAX);
            Ok(wait_for(input, total, kept.max(WHOLE_MAX)))
        }
        FrontendTag::Query
        | FrontendTag::Parse
        | FrontendTag::Bind
        | FrontendTag::Describe
        | FrontendTag::Execute
        | FrontendTag::Close
        | FrontendTag::FunctionCall
        | FrontendTag::Password => Ok(wait_for(input, total, WHOLE_MAX)),
    }
}

fn wait_for(input: &[u8], total: usize, whole_max: usize) -> Step {
    if input.len() < total && total <= whole_max {
        Step::NeedInput(total)
    } else {
        Step::NeedServer
    }
}

fn swallow(c: &mut ClientState, input: &[u8], total: usize) -> Step {
    let bytes = total.min(input.len());
    c.left = total.saturating_sub(bytes);
    c.fate = Fate::Swallow;
    Step::Swallow(bytes)
}

/// Without a server nothing is owed, and no portal exists: the answer can be given at once.
fn close(
    c: &mut ClientState,
    header: frame::Header,
    input: &[u8],
    cx: &mut Context<'_>,
) -> Result<Step, Violation> {
    match head::target(header, input, FrontendTag::Close)? {
        Found::Need(bytes) => return Ok(Step::NeedInput(bytes)),
        Found::Here((Target::Statement, name)) => {
            if let Some(prepared) = &mut c.prepared {
                if name.is_empty() {
                    prepared.unnamed.doom();
                } else {
                    prepared.forget(name);
                }
            }
        }
        Found::Here((Target::Portal, _)) => {}
    }
    backend::close_complete(&mut cx.staged.to_client);
    Ok(Step::Swallow(header.total()))
}

/// Drops what belongs to a batch that was answered with an error of ours.
fn reject(
    c: &mut ClientState,
    tag: FrontendTag,
    input: &[u8],
    total: usize,
    cx: &mut Context<'_>,
) -> Step {
    let ends = matches!(tag, FrontendTag::Query | FrontendTag::FunctionCall | FrontendTag::Sync);
    if ends {
        c.rejecting = false;
        backend::ready_for_query(&mut cx.staged.to_client, Status::Idle);
    }
    swallow(c, input, total)
}
