//! The way of a closure to a connection's thread, and of its result back.
//!
//! Invariant: the loan travels with the closure and ends when it ends, so that nobody gets a
//! connection on which another's closure still runs, whatever becomes of the caller.
//! Left out: transactions (`transaction.rs`).

use std::sync::Arc;
use std::time::Duration;

use headpond::OwnedGuard;
use tokio::sync::oneshot;

use crate::connection::{caught, settle};
use crate::control::{Caller, Control};
use crate::error::Error;
use crate::manager::Manager;
use crate::watch::Watch;

/// Runs a closure on a borrowed connection, for so long at most, and gives the connection back.
///
/// # Cancel safety
/// Dropping the future takes the closure out of the queue if it has not begun, and interrupts it
/// if it has.
pub(crate) async fn call<R, E>(
    guard: OwnedGuard<Manager>,
    limit: Option<Duration>,
    work: impl FnOnce(&mut rusqlite::Connection, &Control, &Watch) -> Result<R, E> + Send + 'static,
) -> Result<R, E>
where
    R: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let control = Arc::new(guard.control());
    let caller = Caller(Arc::clone(&control));
    let (reply, answer) = oneshot::channel();
    let jobs = guard.sender();
    let job = move |connection: &mut rusqlite::Connection| {
        if !control.begin() {
            return;
        }
        let watch = Arc::clone(guard.watch());
        let outcome = caught(&watch, || work(connection, &control, &watch));
        control.end();
        settle(connection, &watch);
        // The loan is over before the caller hears of it, so that it finds what it gave back.
        drop(guard);
        let _ = reply.send(outcome);
    };
    if jobs.send(Box::new(job)).is_err() {
        return Err(Error::Lost.into());
    }
    drop(jobs);
    let answer = async { answer.await.unwrap_or_else(|_| Err(Error::Lost.into())) };
    let Some(limit) = limit else { return answer.await };
    tokio::pin!(answer);
    match tokio::time::timeout(limit, &mut answer).await {
        Ok(outcome) => outcome,
        Err(_) if caller.0.stop() => Err(Error::Timeout { limit }.into()),
        // Too late to stop it: it is being committed, or the answer is on its way.
        Err(_) => answer.await,
    }
}
