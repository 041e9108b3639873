//! Transactions: begun when the lock is had, ended whatever the closure does.
//!
//! Invariant: a closure's changes are committed only if it returned `Ok`, nobody stopped it, and
//! its transaction is still the one that was begun for it.
//! Left out: who gets the writer, and when; that is the pool's.

use std::time::{Duration, Instant};

use rusqlite::{Connection, DropBehavior, Transaction, TransactionBehavior};

use crate::connection::caught;
use crate::control::Control;
use crate::error::{Error, TransactionError};
use crate::open::{PAUSE, is_busy};
use crate::watch::Watch;

/// How a transaction is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TransactionOptions {
    /// What it may do.
    /// Default: write, because reading needs no transaction unless several queries must agree.
    pub access: Access,
    /// How long it waits to begin: for a connection, and for other processes.
    /// Default: 5 s, because somebody usually waits for the answer.
    pub max_wait: Option<Duration>,
    /// How long it may run once it has begun.
    /// Default: 10 s, because nobody else can write meanwhile.
    pub timeout: Option<Duration>,
}

/// What a transaction may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Read and write, alone.
    #[default]
    Write,
    /// Read one state of the database, beside others.
    Read,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            access: Access::Write,
            max_wait: Some(Duration::from_secs(5)),
            timeout: Some(Duration::from_secs(10)),
        }
    }
}

impl TransactionOptions {
    /// Sets [`TransactionOptions::access`].
    #[must_use]
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Sets [`TransactionOptions::max_wait`].
    #[must_use]
    pub const fn max_wait(mut self, max_wait: Option<Duration>) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Sets [`TransactionOptions::timeout`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

/// How long a transaction has to get the lock of the database.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) began: Instant,
    pub(crate) max_wait: Option<Duration>,
    /// What other statements wait.
    pub(crate) busy_timeout: Duration,
}

/// Runs a closure in a transaction.
pub(crate) fn run<R, E>(
    connection: &Connection,
    (control, watch): (&Control, &Watch),
    (access, patience): (Access, Patience),
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
) -> Result<R, TransactionError<E>> {
    let behavior = match access {
        Access::Write => TransactionBehavior::Immediate,
        Access::Read => TransactionBehavior::Deferred,
    };
    let mut transaction = begin(connection, control, behavior, patience)?;
    let outcome = caught(watch, || work(&mut transaction).map_err(TransactionError::Aborted));
    // Whatever the closure chose, and whatever happens from here on.
    transaction.set_drop_behavior(DropBehavior::Rollback);
    let value = outcome?;
    if transaction.is_autocommit() {
        return Err(Error::Ended.into());
    }
    if !control.commit() {
        // Nobody hears of it: who stopped it has an answer already, or does not wait for one.
        return Err(Error::Lost.into());
    }
    commit(&transaction, patience)?;
    Ok(value)
}

fn begin<'a>(
    connection: &'a Connection,
    control: &Control,
    behavior: TransactionBehavior,
    patience: Patience,
) -> Result<Transaction<'a>, Error> {
    // SQLite's own waiting cannot be stopped, so it waits here.
    connection.busy_timeout(Duration::ZERO)?;
    let begun = retry(patience, control, || Transaction::new_unchecked(connection, behavior));
    connection.busy_timeout(patience.busy_timeout)?;
    begun
}

fn commit(transaction: &Transaction<'_>, patience: Patience) -> Result<(), Error> {
    // Without a write-ahead log readers of other processes can be in the way; SQLite waits for
    // them as long as it waits for anything.
    transaction.execute_batch("COMMIT").map_err(|error| match is_busy(&error) {
        true => Error::Busy { waited: patience.began.elapsed() },
        false => Error::Query(error),
    })
}

fn retry<T>(
    patience: Patience,
    control: &Control,
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T, Error> {
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if !is_busy(&error) => return Err(Error::Query(error)),
            Err(_) => {}
        }
        let waited = patience.began.elapsed();
        let late = patience.max_wait.is_some_and(|max_wait| waited >= max_wait);
        if late || control.is_stopped() {
            return Err(Error::Busy { waited });
        }
        std::thread::sleep(PAUSE);
    }
}
