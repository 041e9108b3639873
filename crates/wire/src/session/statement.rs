//! A prepared statement that clients share.
//!
//! Invariant: the name is derived from the id, and no client's own name reaches a server.
//! Not here: who knows it under which name (`names.rs`), which server has it (`cache.rs`).

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use crate::encode;
use crate::tag::FrontendTag;

/// How every name that we give to a statement on a server begins.
pub const PREFIX: &[u8] = b"HEADPOND_";

/// The name of an empty statement that stands for any name that is taken.
pub(super) const TAKEN: &[u8] = b"HEADPOND_TAKEN";

/// A prepared statement by its text and parameter types.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    id: u64,
    name: Box<[u8]>,
    parse: Box<[u8]>,
}

impl Statement {
    /// Makes the statement with a number that no other has, from the part of a Parse after the
    /// name.
    #[must_use]
    pub fn new(id: u64, parse: impl Into<Box<[u8]>>) -> Self {
        let name = format!("HEADPOND_{id}").into_bytes().into_boxed_slice();
        Self { id, name, parse: parse.into() }
    }

    /// Returns its number.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns its name on every server.
    #[must_use]
    pub const fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the part of its Parse after the name.
    #[must_use]
    pub const fn parse(&self) -> &[u8] {
        &self.parse
    }
}

/// Appends a Parse with the given name and the given bytes after it.
pub(super) fn stage_parse(out: &mut Vec<u8>, name: &[u8], parse: &[u8]) {
    encode::message(out, FrontendTag::Parse.byte(), |out| {
        encode::cstr(out, name);
        out.extend_from_slice(parse);
    });
}
