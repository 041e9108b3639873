//! What runs in tasks of its own: connects, checks, resets, closes, and the pool's timer.
//!
//! Each has a time limit, and a drop guard that reports the connection lost if the task ends
//! without a result, by a panic or with the runtime.
//!
//! Invariant: whatever becomes of a task, the core hears of its connection exactly once.
//! Left out: what the core makes of it.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use headpond_core::{ConnId, ConnectFailure, Failure, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::budget::Calls;
use crate::error::{BoxError, ConnectError};
use crate::events::EventKind;
use crate::manager::{CloseReason, Manager};
use crate::settings::Check;
use crate::shared::{Boxed, LANE, Shared};

/// Something to do outside the lock.
pub(crate) enum Job<M: Manager> {
    Open(ConnId),
    Check(Boxed<M>),
    Reset(Boxed<M>),
    Close(Boxed<M>, CloseReason),
}

/// Everything to do after the lock is given back. Allocates only if there is more than a waker.
pub(crate) struct Work<M: Manager> {
    waker: Option<Waker>,
    wakers: Vec<Waker>,
    jobs: Vec<Job<M>>,
    driver: bool,
    runtime: Option<Handle>,
    calls: Option<Calls>,
}

impl<M: Manager> Work<M> {
    pub(crate) const fn new() -> Self {
        Self {
            waker: None,
            wakers: Vec::new(),
            jobs: Vec::new(),
            driver: false,
            runtime: None,
            calls: None,
        }
    }

    pub(crate) fn push(&mut self, job: Job<M>) {
        self.jobs.push(job);
    }

    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        match &self.waker {
            None => self.waker = Some(waker),
            Some(_) => self.wakers.push(waker),
        }
    }

    /// Has others of the budget told something.
    pub(crate) fn call(&mut self, calls: Option<Calls>) {
        self.calls = calls;
    }

    pub(crate) const fn wake_driver(&mut self) {
        self.driver = true;
    }

    pub(crate) const fn needs_runtime(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub(crate) fn is_anything_closed(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Close(..)))
    }

    pub(crate) fn run_on(&mut self, runtime: Option<Handle>) {
        self.runtime = runtime;
    }

    pub(crate) fn run(self, shared: &Shared<M>) {
        if self.driver {
            shared.timer.notify_one();
        }
        for waker in self.waker.into_iter().chain(self.wakers) {
            waker.wake();
        }
        // While the last handle is being dropped there is nobody left to report to: dropping the
        // connections closes them.
        if !self.jobs.is_empty()
            && let (Some(shared), Some(runtime)) = (shared.me(), self.runtime)
        {
            for job in self.jobs {
                spawn(&shared, &runtime, job);
            }
        }
        if let Some(calls) = self.calls {
            calls.run();
        }
    }
}

fn spawn<M: Manager>(shared: &Arc<Shared<M>>, runtime: &Handle, job: Job<M>) {
    let shared = Arc::clone(shared);
    match job {
        Job::Open(id) => {
            let opening = Opening { shared, id, reported: false };
            runtime.spawn(opening.run());
        }
        Job::Check(entry) => {
            let tending = Tending::new(shared, entry);
            runtime.spawn(tending.check());
        }
        Job::Reset(entry) => {
            let tending = Tending::new(shared, entry);
            runtime.spawn(tending.reset());
        }
        Job::Close(entry, reason) => {
            tracing::trace!(pool = &*shared.name, conn = entry.id.index(), %reason, "closing");
            shared.tell(EventKind::Remove(Some(reason)));
            let tending = Tending::new(shared, entry);
            runtime.spawn(tending.close());
        }
    }
}

/// A connect under way.
struct Opening<M: Manager> {
    shared: Arc<Shared<M>>,
    id: ConnId,
    reported: bool,
}

impl<M: Manager> Opening<M> {
    async fn run(mut self) {
        let began = tokio::time::Instant::now();
        let limit = self.shared.kept.lock().settings.connect_timeout;
        let result = match timeout(limit, connect(&self.shared)).await {
            Ok(result) => result,
            Err(_) => Err((ConnectFailure::Refused, ConnectError::Timeout(limit))),
        };
        self.reported = true;
        let (shared, id) = (&self.shared, self.id);
        match result {
            Ok(conn) => {
                shared.usage.lock().connects.record(crate::clock::nanos(began.elapsed()));
                shared.enter(|kept, now| kept.welcome(shared, now, (id, conn)));
                shared.tell(EventKind::Connect);
            }
            Err((failure, error)) => {
                tracing::warn!(pool = &*shared.name, %error, "connect failed");
                shared.enter(|kept, now| kept.connect_failed(now, id, (failure, error)));
                shared.tell(EventKind::Error);
            }
        }
        shared.changed.notify_waiters();
    }
}

impl<M: Manager> Drop for Opening<M> {
    fn drop(&mut self) {
        if !self.reported {
            let failed = (ConnectFailure::Refused, ConnectError::Aborted);
            self.shared.enter(|kept, now| kept.connect_failed(now, self.id, failed));
            self.shared.changed.notify_waiters();
        }
    }
}

async fn connect<M: Manager>(
    shared: &Shared<M>,
) -> Result<M::Connection, (ConnectFailure, ConnectError<M::Error>)> {
    let refused = |error| (ConnectFailure::Refused, ConnectError::Hook(error));
    if let Some(hook) = &shared.hooks.before_connect {
        hook().await.map_err(refused)?;
    }
    let mut conn = shared.manager.connect().await.map_err(|error| {
        let failure = shared.manager.failure(&error);
        (failure, ConnectError::Driver(error))
    })?;
    if let Some(hook) = &shared.hooks.after_connect {
        hook(&mut conn).await.map_err(refused)?;
    }
    Ok(conn)
}

/// A connection that a task looks after.
struct Tending<M: Manager> {
    shared: Arc<Shared<M>>,
    id: ConnId,
    entry: Option<Boxed<M>>,
}

/// How it went.
type Outcome = Result<(), BoxError>;

impl<M: Manager> Tending<M> {
    fn new(shared: Arc<Shared<M>>, entry: Boxed<M>) -> Self {
        Self { shared, id: entry.id, entry: Some(entry) }
    }

    async fn check(mut self) {
        let limit = self.shared.kept.lock().settings.check_timeout;
        let shared = Arc::clone(&self.shared);
        let entry = self.entry.as_mut().expect("taken at the end only");
        let outcome = limited(limit, shared.manager.ping(&mut entry.conn)).await;
        self.end(outcome, CloseReason::CheckFailed);
    }

    async fn reset(mut self) {
        let (limit, ping, check_limit) = {
            let kept = self.shared.kept.lock();
            let settings = &kept.settings;
            (settings.reset_timeout, settings.check_on_return, settings.check_timeout)
        };
        let shared = Arc::clone(&self.shared);
        let conn = &mut self.entry.as_mut().expect("taken at the end only").conn;
        let outcome = async {
            if let Some(hook) = &shared.hooks.on_release {
                match timeout(limit, hook(conn)).await {
                    Ok(outcome) => outcome?,
                    Err(late) => return Err(late.into()),
                }
            }
            if shared.manager.fate(conn) != headpond_core::Fate::Reuse {
                limited(limit, shared.manager.reset(conn)).await?;
            }
            if ping == Check::Ping {
                limited(check_limit, shared.manager.ping(conn)).await?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        self.end(outcome, CloseReason::ResetFailed);
    }

    async fn close(mut self) {
        let limit = self.shared.kept.lock().settings.close_timeout;
        let shared = Arc::clone(&self.shared);
        let mut entry = self.entry.take().expect("taken here only");
        let goodbye = async move {
            if let Some(hook) = &shared.hooks.before_disconnect {
                hook(&mut entry.conn).await;
            }
            shared.manager.close(entry.conn).await;
        };
        if timeout(limit, goodbye).await.is_err() {
            tracing::debug!(pool = &*self.shared.name, "goodbye took too long");
        }
        // The drop guard reports that it is gone.
    }

    fn end(mut self, outcome: Outcome, reason: CloseReason) {
        let entry = self.entry.take().expect("taken here only");
        match outcome {
            Ok(()) => self.shared.enter(|kept, now| kept.approve(now, entry)),
            Err(error) => {
                tracing::debug!(pool = &*self.shared.name, %error, %reason, "connection given up");
                self.shared.enter(|kept, now| kept.condemn(now, entry, reason));
            }
        }
        // Reported: the drop guard has nothing to say.
        self.id = ConnId::from_bits(u64::MAX);
    }
}

impl<M: Manager> Drop for Tending<M> {
    fn drop(&mut self) {
        let id = self.id;
        if id.to_bits() == u64::MAX {
            return;
        }
        // First the connection, so that the server has it no more when its slot is free.
        drop(self.entry.take());
        self.shared.enter(|kept, now| kept.core.failed(now, id, Failure::Lost));
        self.shared.changed.notify_waiters();
    }
}

async fn limited<E: Into<BoxError>>(
    limit: Duration,
    work: impl Future<Output = Result<(), E>>,
) -> Outcome {
    match timeout(limit, work).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(late) => Err(late.into()),
    }
}

impl<M: Manager> crate::shared::Kept<M> {
    /// Takes back a connection that passed its check or is clean.
    fn approve(&mut self, now: Timestamp, entry: Boxed<M>) {
        let id = entry.id;
        self.park(entry);
        self.core.ready(now, id, LANE);
    }

    /// Takes back a connection that is to be closed.
    fn condemn(&mut self, now: Timestamp, entry: Boxed<M>, reason: CloseReason) {
        let id = entry.id;
        self.park(entry);
        self.core.release(now, id, LANE, headpond_core::Fate::Discard(reason));
    }
}

/// Wakes the core when something is due, and keeps house, until the pool is gone.
pub(crate) async fn drive<M: Manager>(pool: Weak<Shared<M>>, timer: Arc<Notify>) {
    loop {
        let next = match pool.upgrade() {
            Some(shared) => shared.clock.instant(shared.keep_house()),
            None => return,
        };
        // Whichever comes first: the deadline, or news that there is an earlier one.
        let _ = tokio::time::timeout_at(next, timer.notified()).await;
    }
}
