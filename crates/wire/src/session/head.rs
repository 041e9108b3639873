//! The names at the beginning of Parse, Bind, Describe and Close.
//!
//! Invariant: works on the first bytes of a message; the rest need not have arrived.
//! Not here: what the names stand for (`prepare.rs`).

use super::Violation;
use crate::error::ProtocolError;
use crate::frame::{HEADER_LEN, Header};
use crate::frontend::Target;
use crate::tag::FrontendTag;

/// How far into a message its names may reach.
const NAMES_MAX: usize = 4096;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// The names.
    Here(T),
    /// So many bytes of the message are needed to tell.
    Need(usize),
}

/// The names of a Bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BindNames<'a> {
    pub(super) portal: &'a [u8],
    pub(super) statement: &'a [u8],
    /// The number of bytes up to the end of the names, header included.
    pub(super) end: usize,
}

/// Finds the names of a Bind.
pub(super) fn bind(header: Header, input: &[u8]) -> Result<Found<BindNames<'_>>, Violation> {
    let message = beginning(header, input);
    let body = message.get(HEADER_LEN..).unwrap_or_default();
    let mut parts = body.splitn(3, |byte| *byte == 0);
    if let (Some(portal), Some(statement), Some(_)) = (parts.next(), parts.next(), parts.next()) {
        let end = HEADER_LEN
            .saturating_add(portal.len())
            .saturating_add(statement.len())
            .saturating_add(2);
        return Ok(Found::Here(BindNames { portal, statement, end }));
    }
    missing(header, message, FrontendTag::Bind)
}

/// Finds the name of a Parse.
pub(super) fn parse(header: Header, input: &[u8]) -> Result<Found<&[u8]>, Violation> {
    let message = beginning(header, input);
    let body = message.get(HEADER_LEN..).unwrap_or_default();
    let mut parts = body.splitn(2, |byte| *byte == 0);
    if let (Some(name), Some(_)) = (parts.next(), parts.next()) {
        return Ok(Found::Here(name));
    }
    missing(header, message, FrontendTag::Parse)
}

/// Reads a Describe or Close, which is small, as a whole.
pub(super) fn target(
    header: Header,
    input: &[u8],
    tag: FrontendTag,
) -> Result<Found<(Target, &[u8])>, Violation> {
    let Some(body) = input.get(HEADER_LEN..header.total()) else {
        return Ok(Found::Need(header.total()));
    };
    let broken = Violation::Protocol(ProtocolError::Broken(tag));
    let (kind, name) = body.split_first().ok_or(broken)?;
    let target = match kind {
        b'S' => Target::Statement,
        b'P' => Target::Portal,
        _ => return Err(broken),
    };
    match name.split_last() {
        Some((0, name)) if !name.contains(&0) => Ok(Found::Here((target, name))),
        _ => Err(broken),
    }
}

/// Returns what has arrived of the part that names may be in.
fn beginning(header: Header, input: &[u8]) -> &[u8] {
    input.get(..header.total().min(NAMES_MAX)).unwrap_or(input)
}

fn missing<T>(header: Header, message: &[u8], tag: FrontendTag) -> Result<Found<T>, Violation> {
    let enough = header.total().min(NAMES_MAX);
    if message.len() >= enough {
        return Err(ProtocolError::Broken(tag).into());
    }
    Ok(Found::Need(enough))
}
