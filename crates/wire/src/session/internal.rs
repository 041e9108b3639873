//! Queries that the pooler runs on a server itself.
//!
//! Invariant: while one runs, nobody else's message is sent and no reply of it is passed on.
//! Not here: when they are run (the worker), and what a SET looks like (`settle.rs`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::parameter::Parameters;
use super::pipeline::{Action, Kind, Owed};
use super::server::ServerState;
use super::unnamed::Owner;
use crate::backend::ErrorFields;
use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::frontend::{self, Target};

/// The largest row of a lookup.
pub(super) const ROW_MAX: usize = 64 * 1024;

/// Why the pooler runs a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Internal {
    /// To give the server the parameters of its next client.
    Settle,
    /// To clean the server after a client.
    Reset,
    /// To see whether it is alive.
    Check,
    /// To set up a new server.
    Connect,
    /// To end the transaction of a client that vanished.
    Rollback,
    /// To ask for a user's secret.
    Lookup,
}

/// How a query of the pooler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Why it was run.
    pub kind: Internal,
    /// The first error, if there was one.
    pub error: Option<Box<ErrorFields>>,
    /// The first row of a lookup.
    pub row: Option<Vec<Option<Vec<u8>>>>,
    /// The number of columns of a lookup.
    pub columns: usize,
}

/// A query of the pooler that runs, or has ended and was not asked for yet.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) finished: Finished,
    pub(super) ended: bool,
    /// What the server's parameters were when it began.
    pub(super) before: Parameters,
}

impl Running {
    pub(super) const fn new(kind: Internal, before: Parameters) -> Self {
        let finished = Finished { kind, error: None, row: None, columns: 0 };
        Self { finished, ended: false, before }
    }

    pub(super) fn is_lookup(&self) -> bool {
        self.finished.kind == Internal::Lookup
    }

    pub(super) fn fail(&mut self, error: &ErrorFields) {
        if self.finished.error.is_none() {
            self.finished.error = Some(Box::new(error.clone()));
        }
    }

    /// Keeps the row of a lookup, given the body of a DataRow.
    pub(super) fn keep_row(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        if self.finished.row.is_some() {
            return Ok(());
        }
        let mut cursor = Cursor::new(body);
        let row = (0..cursor.u16()?)
            .map(|_| Ok(cursor.value()?.map(<[u8]>::to_vec)))
            .collect::<Result<Vec<_>, ProtocolError>>()?;
        cursor.finish()?;
        self.finished.row = Some(row);
        Ok(())
    }
}

impl ServerState {
    /// Begins a query of the pooler and appends it to `out`. The server must be settled, and no
    /// client may send anything until [`ServerState::take_internal`] has told the end.
    pub fn begin_internal(&mut self, kind: Internal, sql: &[u8], out: &mut Vec<u8>) {
        self.internal = Some(Box::new(Running::new(kind, self.parameters.clone())));
        self.send_query(sql, out);
    }

    /// Appends a simple query of the pooler's own.
    pub(super) fn send_query(&mut self, sql: &[u8], out: &mut Vec<u8>) {
        frontend::query(out, sql);
        self.unnamed.sent(Owner::Nobody, self.batch.position());
        self.owed.push(Owed { unnamed: true, ..Owed::new(Kind::Query, Action::Discard) });
    }

    /// Begins to ask for one row by the extended protocol, with the user as the only parameter,
    /// and appends the messages to `out`. The server must be settled.
    pub fn begin_lookup(&mut self, sql: &[u8], user: &[u8], out: &mut Vec<u8>) {
        self.internal = Some(Box::new(Running::new(Internal::Lookup, self.parameters.clone())));
        frontend::parse(out, b"", sql, &[]);
        frontend::bind_text(out, b"", b"", &[Some(user)]);
        frontend::describe(out, Target::Portal, b"");
        frontend::execute(out, b"", 0);
        frontend::sync(out);
        self.unnamed.estrange();
        let kinds = [Kind::Parse, Kind::Bind, Kind::DescribePortal, Kind::Execute, Kind::Sync];
        for kind in kinds {
            self.owed.push(Owed::new(kind, Action::Discard));
        }
        self.batch.close();
    }

    /// Tells how the query of the pooler ended, once.
    pub fn take_internal(&mut self) -> Option<Finished> {
        if self.internal.as_ref().is_some_and(|running| running.ended) {
            self.internal.take().map(|running| running.finished)
        } else {
            None
        }
    }
}
