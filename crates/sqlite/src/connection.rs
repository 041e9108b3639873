//! The handle of a connection, which itself lives on a thread.
//!
//! Invariant: dropping the handle ends the thread after the work that it was given.
//! Left out: borrowing it from a pool (`sqlite.rs`).

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use rusqlite::InterruptHandle;
use tokio::sync::oneshot;

use crate::control::Control;
use crate::error::Error;
use crate::watch::Watch;

/// Something to do on the connection's thread. It must not panic.
pub(crate) type Job = Box<dyn FnOnce(&mut rusqlite::Connection) + Send>;

/// A connection of SQLite's on a thread of its own, as hooks of the pools see it.
pub struct Connection {
    jobs: Sender<Job>,
    watch: Arc<Watch>,
    interrupt: Arc<InterruptHandle>,
    /// Ends when the thread has closed the connection.
    ended: oneshot::Receiver<()>,
}

impl Connection {
    pub(crate) const fn new(
        jobs: Sender<Job>,
        watch: Arc<Watch>,
        interrupt: Arc<InterruptHandle>,
        ended: oneshot::Receiver<()>,
    ) -> Self {
        Self { jobs, watch, interrupt, ended }
    }

    /// Runs a closure on the connection's thread.
    ///
    /// # Errors
    /// With the closure's, or when it panicked or the thread has ended.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closure; what runs on the connection next waits for
    /// it.
    pub async fn call<R, F>(&mut self, work: F) -> Result<R, Error>
    where
        F: FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<R> + Send + 'static,
        R: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let watch = Arc::clone(&self.watch);
        self.send(Box::new(move |connection| {
            let outcome = caught(&watch, || work(connection).map_err(Error::Query));
            settle(connection, &watch);
            let _ = reply.send(outcome);
        }))?;
        answer.await.unwrap_or(Err(Error::Lost))
    }

    /// Gives the thread something to do.
    pub(crate) fn send(&self, job: Job) -> Result<(), Error> {
        self.jobs.send(job).map_err(|_| Error::Lost)
    }

    pub(crate) fn sender(&self) -> Sender<Job> {
        self.jobs.clone()
    }

    pub(crate) fn control(&self) -> Control {
        Control::new(Arc::clone(&self.watch), Arc::clone(&self.interrupt))
    }

    pub(crate) const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Waits until the thread has done its work and closed the connection.
    pub(crate) async fn close(self) {
        let Self { jobs, ended, .. } = self;
        drop(jobs);
        let _ = ended.await;
    }
}

/// Runs the application's code; a panic of it costs the connection.
pub(crate) fn caught<T, E: From<Error>>(
    watch: &Watch,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        watch.soil();
        Err(Error::Panicked { message: said(&*panic) }.into())
    })
}

/// Ends a transaction that was left open, for whatever reason.
pub(crate) fn settle(connection: &rusqlite::Connection, watch: &Watch) {
    if connection.is_autocommit() {
        return;
    }
    let rolled_back = connection.execute_batch("ROLLBACK");
    if rolled_back.is_err() || !connection.is_autocommit() {
        watch.soil();
    }
}

/// Returns what a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("something that is no text").to_owned()
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("watch", &self.watch).finish_non_exhaustive()
    }
}
