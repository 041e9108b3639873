//! The thread that a connection lives on, from opening to closing.
//!
//! Invariant: nobody else touches the connection. When the sender of jobs is gone, the thread does
//! what is queued, closes the connection, and ends.
//! Left out: what a job is (`call.rs`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;

use tokio::sync::oneshot;

use crate::connection::{Connection, Job};
use crate::error::OpenError;
use crate::manager::Role;
use crate::open::Recipe;
use crate::watch::Watch;

/// Starts a thread that opens a connection, and returns its handle when that is done.
///
/// # Cancel safety
/// Dropping the future closes the connection as soon as it is open.
pub(crate) async fn start(recipe: Recipe, role: Role) -> Result<Connection, OpenError> {
    let (ready, opened) = oneshot::channel();
    let name = match role {
        Role::Writer => "sqlite-writer",
        Role::Reader => "sqlite-reader",
    };
    let thread = Builder::new().name(name.to_owned());
    thread.spawn(move || live(&recipe, role, ready)).map_err(OpenError::Thread)?;
    opened.await.unwrap_or(Err(OpenError::Ended))
}

fn live(recipe: &Recipe, role: Role, ready: oneshot::Sender<Result<Connection, OpenError>>) {
    let watch = Arc::new(Watch::default());
    let mut connection = match recipe.open(role, &watch) {
        Ok(connection) => connection,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let (jobs, queue) = channel();
    let (ending, ended) = oneshot::channel::<()>();
    let interrupt = Arc::new(connection.get_interrupt_handle());
    let handle = Connection::new(jobs, Arc::clone(&watch), interrupt, ended);
    if ready.send(Ok(handle)).is_err() {
        return;
    }
    let lamp = Lamp(&watch);
    serve(&queue, &mut connection);
    drop(lamp);
    if role == Role::Writer && !watch.is_dirty() {
        // What SQLite recommends before closing: keeps the statistics of its planner fresh.
        let optimized = connection.execute_batch("PRAGMA optimize");
        if let Err(error) = optimized {
            tracing::debug!(%error, "PRAGMA optimize");
        }
    }
    if let Err((connection, error)) = connection.close() {
        tracing::debug!(%error, "close");
        drop(connection);
    }
    drop(ending);
}

fn serve(queue: &Receiver<Job>, connection: &mut rusqlite::Connection) {
    while let Ok(job) = queue.recv() {
        job(connection);
    }
}

/// Says that the thread is gone, also when a job's panic got past everything.
struct Lamp<'a>(&'a Watch);

impl Drop for Lamp<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
