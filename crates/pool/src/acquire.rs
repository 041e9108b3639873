//! The way from asking for a connection to having it.
//!
//! Invariant: a caller that goes away at any point leaves nothing behind: it leaves the queue, or
//! passes on what it was granted.
//! Left out: the two futures that callers see (`get.rs`).

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use headpond_core::{Acquire, Health, Refusal, Timestamp, WaiterId};
use tokio::runtime::Handle;
use tokio::task::Id;

use crate::error::{BoxError, Error, Holder, Phase, Timeout};
use crate::guard::OwnedGuard;
use crate::hooks::BoxFuture;
use crate::manager::{CloseReason, Manager};
use crate::settings::Nested;
use crate::shared::{Boxed, Kept, LANE, Outcome, Shared, Waiting};

/// How long a caller is willing to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as the settings say.
    Usual,
    /// Not at all.
    None,
    /// So long.
    For(Duration),
}

/// How urgent a caller is. Each step counts as having arrived
/// [`Settings::priority_step`](crate::Settings::priority_step) earlier, so that nobody who waits
/// long enough is overtaken for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Priority {
    /// Work that may wait: reports, clean-ups.
    Low,
    /// Everything else.
    #[default]
    Normal,
    /// Work that others wait for: health checks, payments.
    High,
}

/// A caller on its way to a connection.
pub(crate) struct Acquiring<M: Manager> {
    site: &'static Location<'static>,
    pub(crate) patience: Patience,
    pub(crate) priority: Priority,
    step: Step<M>,
    /// Connections that were taken and turned out to be unusable.
    refused: u32,
}

enum Step<M: Manager> {
    Start,
    /// In the queue, under this key.
    Queued(usize),
    /// A hook looks at the connection.
    Hooked(Hooked<M>),
    Done,
}

/// A hook that looks at a connection, and has it meanwhile.
type Hooked<M> = BoxFuture<'static, Result<OwnedGuard<M>, BoxError>>;

type Got<M> = Result<Boxed<M>, Error<<M as Manager>::Error>>;

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The caller takes its place in the queue.
    Own,
    /// It had its turn, and was given something that could not be used.
    Again,
}

/// What a caller asks for.
#[derive(Clone, Copy)]
struct Wish {
    patience: Patience,
    priority: Priority,
    turn: Turn,
}

/// What the core said.
enum Asked<M: Manager> {
    Granted(Boxed<M>),
    Queued(usize),
    Refused(Error<M::Error>),
}

impl<M: Manager> Acquiring<M> {
    pub(crate) const fn new(patience: Patience, site: &'static Location<'static>) -> Self {
        let priority = Priority::Normal;
        Self { site, patience, priority, step: Step::Start, refused: 0 }
    }

    #[inline]
    pub(crate) fn poll(&mut self, shared: &Shared<M>, cx: &mut Context<'_>) -> Poll<Got<M>> {
        if matches!(self.step, Step::Start)
            && let Some(entry) = shared.take_idle(self.site)
        {
            return self.offer(shared, cx, entry);
        }
        self.poll_slowly(shared, cx)
    }

    #[inline(never)]
    fn poll_slowly(&mut self, shared: &Shared<M>, cx: &mut Context<'_>) -> Poll<Got<M>> {
        loop {
            match &mut self.step {
                Step::Start => match shared.ask(self.site, self.wish(Turn::Own), cx.waker()) {
                    Asked::Granted(entry) => return self.offer(shared, cx, entry),
                    Asked::Queued(key) => {
                        // The queue has the waker already.
                        self.step = Step::Queued(key);
                        return Poll::Pending;
                    }
                    Asked::Refused(error) => {
                        self.step = Step::Done;
                        return Poll::Ready(Err(error));
                    }
                },
                Step::Queued(key) => {
                    let key = *key;
                    let Poll::Ready(outcome) = shared.outcome(key, cx) else {
                        return Poll::Pending;
                    };
                    self.step = Step::Done;
                    match outcome {
                        Outcome::Granted(mut entry) => {
                            // Others could not have it since it was granted.
                            let since = entry.touched;
                            shared.lend(&mut entry, since, self.site);
                            return self.offer(shared, cx, entry);
                        }
                        Outcome::Refused(refusal) => {
                            return Poll::Ready(Err(shared.explain(refusal)));
                        }
                    }
                }
                Step::Hooked(hooked) => {
                    let Poll::Ready(outcome) = hooked.as_mut().poll(cx) else {
                        return Poll::Pending;
                    };
                    self.step = Step::Done;
                    match outcome {
                        Ok(guard) => return Poll::Ready(Ok(guard.into_entry())),
                        Err(cause) => {
                            if let Some(error) = self.refuse(shared, cx, cause) {
                                return Poll::Ready(Err(error));
                            }
                        }
                    }
                }
                Step::Done => panic!("polled after it was done"),
            }
        }
    }

    /// Hands a connection to the caller, past the hook if there is one.
    #[inline]
    fn offer(&mut self, shared: &Shared<M>, cx: &mut Context<'_>, entry: Boxed<M>) -> Poll<Got<M>> {
        if shared.hooks.on_acquire.is_none() {
            self.step = Step::Done;
            return Poll::Ready(Ok(entry));
        }
        self.step = Step::Hooked(hooked(shared, entry));
        self.poll_slowly(shared, cx)
    }

    /// Asks again after a hook refused a connection, in front of all others; gives up after as many
    /// refusals as there may be connections.
    fn refuse(
        &mut self,
        shared: &Shared<M>,
        cx: &Context<'_>,
        cause: BoxError,
    ) -> Option<Error<M::Error>> {
        self.refused += 1;
        if self.refused > shared.kept.lock().settings.max {
            return Some(Error::Refused { pool: Arc::clone(&shared.name), cause });
        }
        match shared.ask(self.site, self.wish(Turn::Again), cx.waker()) {
            Asked::Granted(entry) => {
                // The hook looks at this one when it is polled next, which is at once.
                self.step = Step::Hooked(hooked(shared, entry));
                None
            }
            Asked::Queued(key) => {
                self.step = Step::Queued(key);
                None
            }
            Asked::Refused(error) => Some(error),
        }
    }

    const fn wish(&self, turn: Turn) -> Wish {
        Wish { patience: self.patience, priority: self.priority, turn }
    }

    /// Leaves the queue.
    #[inline]
    pub(crate) fn abandon(&mut self, shared: &Shared<M>) {
        if let Step::Queued(key) = self.step {
            self.step = Step::Done;
            shared.abandon(key);
        }
    }
}

/// Shows a connection to the hook; a refused one is closed.
fn hooked<M: Manager>(shared: &Shared<M>, entry: Boxed<M>) -> Hooked<M> {
    let pool = shared.me().expect("the caller has a handle");
    Box::pin(async move {
        let mut guard = OwnedGuard::new(Arc::clone(&pool), entry);
        let hook = pool.hooks.on_acquire.as_ref().expect("looked at before");
        match hook(&mut guard).await {
            Ok(()) => Ok(guard),
            Err(cause) => {
                pool.discard(guard.into_entry(), CloseReason::Unclean);
                Err(cause)
            }
        }
    })
}

impl<M: Manager> Shared<M> {
    /// Asks the core for a connection.
    fn ask(&self, site: &'static Location<'static>, mut wish: Wish, waker: &Waker) -> Asked<M> {
        let task = tokio::task::try_id();
        let nested = task.and_then(|task| self.spots.site_of(task));
        loop {
            let asked = self.enter_shut(|kept, now| {
                kept.see_to_driver(self);
                if kept.runtime.is_none() {
                    return Asked::Refused(Error::NoRuntime { pool: Arc::clone(&self.name) });
                }
                if let Some(held_since) = nested
                    && wish.patience != Patience::None
                    && kept.would_wait()
                    && let Some(error) = kept.judge_nested(self, task, held_since)
                {
                    return Asked::Refused(error);
                }
                kept.ask(self, now, wish, (task, waker))
            });
            match asked {
                Asked::Granted(mut entry) => {
                    if self.manager.is_usable(&mut entry.conn) {
                        self.lend(&mut entry, self.clock.coarse(), site);
                        return Asked::Granted(entry);
                    }
                    self.discard(entry, CloseReason::Broken);
                    wish.turn = Turn::Again;
                }
                other => return other,
            }
        }
    }

    /// Asks the core for a connection that can be had at once.
    pub(crate) fn ask_at_once(
        &self,
        site: &'static Location<'static>,
    ) -> Result<Boxed<M>, Error<M::Error>> {
        let (patience, priority) = (Patience::None, Priority::Normal);
        let wish = Wish { patience, priority, turn: Turn::Own };
        match self.ask(site, wish, Waker::noop()) {
            Asked::Granted(entry) => Ok(entry),
            Asked::Refused(error) => Err(error),
            Asked::Queued(_) => unreachable!("a caller without patience is not queued"),
        }
    }

    /// Puts a refusal into words, with everything that is known.
    pub(crate) fn explain(&self, refusal: Refusal) -> Error<M::Error> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        kept.explain(self, now, refusal)
    }
}

impl<M: Manager> Kept<M> {
    fn ask(
        &mut self,
        shared: &Shared<M>,
        now: Timestamp,
        wish: Wish,
        (task, waker): (Option<Id>, &Waker),
    ) -> Asked<M> {
        let wait = match wish.patience {
            Patience::Usual => self.settings.acquire_timeout,
            Patience::None => Some(Duration::ZERO),
            Patience::For(time) => Some(time),
        };
        if wish.turn == Turn::Own
            && self.core.counts().live() == 0
            && let Some(retry_after) = self.breaker_wait(now)
        {
            let (pool, cause) = (Arc::clone(&shared.name), self.last_error.clone());
            return Asked::Refused(Error::CircuitOpen { pool, retry_after, cause });
        }
        self.lift_postponement(now);
        let deadline = wait.map(|wait| now + wait);
        // The place in the slab is taken first: its key is what the core calls the caller by.
        let id = WaiterId::from_bits(u64::MAX);
        let waiting = Waiting { waker: Some(waker.clone()), refusal: None, id, task };
        let key = self.waiting.insert(waiting);
        shared.seats.make_room(key);
        let caller = key as u64;
        let acquire = match wish.turn {
            Turn::Again => self.core.regrant(now, LANE, caller, deadline),
            Turn::Own => {
                let boost = self.settings.priority_step * wish.priority as u32;
                self.core.acquire_ahead(now, LANE, caller, deadline, boost)
            }
        };
        match acquire {
            Acquire::Granted { conn, .. } => {
                self.waiting.remove(key);
                self.waits.record(0);
                Asked::Granted(self.unpark(shared, conn))
            }
            Acquire::Queued(id) => {
                self.waiting[key].id = id;
                Asked::Queued(key)
            }
            Acquire::Refused(refusal) => {
                self.waiting.remove(key);
                Asked::Refused(match (refusal, wish.patience) {
                    (Refusal::Timeout { .. }, Patience::None) => {
                        Error::Busy { pool: Arc::clone(&shared.name) }
                    }
                    (refusal, _) => self.explain(shared, now, refusal),
                })
            }
        }
    }

    /// Starts the driver if there is none, or if its runtime has ended.
    pub(crate) fn see_to_driver(&mut self, shared: &Shared<M>) {
        if self.driver.as_ref().is_some_and(|driver| !driver.is_finished()) {
            return;
        }
        let (Ok(runtime), Some(me)) = (Handle::try_current(), shared.me()) else { return };
        let driver = crate::task::drive(Arc::downgrade(&me), Arc::clone(&shared.timer));
        self.driver = Some(runtime.spawn(driver));
        self.runtime = Some(runtime);
    }

    /// Returns whether a caller would have to wait for others, not only for a connect.
    fn would_wait(&self) -> bool {
        let counts = self.core.counts();
        counts.idle == 0 && counts.total() >= self.settings.max
    }

    /// Decides about a task that has a connection, asks for another, and must wait.
    fn judge_nested(
        &mut self,
        shared: &Shared<M>,
        task: Option<Id>,
        held_since: &'static Location<'static>,
    ) -> Option<Error<M::Error>> {
        if self.settings.nested == Nested::Allow {
            return None;
        }
        self.nested += 1;
        let waits = |id: Option<Id>| {
            id.is_some()
                && (id == task || self.waiting.iter().any(|(_, waiting)| waiting.task == id))
        };
        let held = self.core.counts().in_use as usize;
        let hopeless = shared.spots.loans().filter(|loan| waits(loan.task)).count() >= held;
        let error = Error::Nested { pool: Arc::clone(&shared.name), held_since };
        if hopeless || self.settings.nested == Nested::Refuse {
            return Some(error);
        }
        tracing::warn!(
            pool = &*shared.name,
            "a task that has a connection waits for another: {error}"
        );
        None
    }

    pub(crate) fn explain(
        &mut self,
        shared: &Shared<M>,
        now: Timestamp,
        refusal: Refusal,
    ) -> Error<M::Error> {
        let error = self.in_words(shared, now, refusal);
        self.errors.note(&error);
        error
    }

    fn in_words(&self, shared: &Shared<M>, now: Timestamp, refusal: Refusal) -> Error<M::Error> {
        let pool = Arc::clone(&shared.name);
        let cause = self.last_error.clone();
        match refusal {
            Refusal::Timeout { waited, position } => {
                let status = self.status(shared, now);
                Error::Timeout(Box::new(Timeout {
                    pool,
                    phase: self.phase(position),
                    waited,
                    position,
                    oldest: self.oldest(shared, now),
                    cause: self.is_failing().then_some(cause).flatten(),
                    status,
                }))
            }
            Refusal::QueueFull => Error::QueueFull { pool, waiting: self.core.counts().waiting },
            Refusal::Failing { retry_after } => match self.breaker_wait(now) {
                Some(wait) => {
                    Error::CircuitOpen { pool, retry_after: retry_after.max(wait), cause }
                }
                None => Error::Unreachable { pool, retry_after, cause },
            },
            Refusal::Rejected => Error::Rejected { pool, cause },
            Refusal::Closed => Error::Closed { pool },
        }
    }

    /// Returns what the caller at a place of the queue is waiting for.
    fn phase(&self, position: u32) -> Phase {
        let counts = self.core.counts();
        if self.core.is_paused() {
            return Phase::Pause;
        }
        let growing = counts.total() < self.settings.max;
        if position <= counts.opening || growing {
            return Phase::Connect;
        }
        if position <= counts.opening + counts.checking + counts.resetting {
            return Phase::Validate;
        }
        Phase::Queue
    }

    fn is_failing(&self) -> bool {
        matches!(self.core.health(), Health::Failing(_))
    }

    fn oldest(&self, shared: &Shared<M>, now: Timestamp) -> Option<Holder> {
        let oldest = shared.spots.loans().min_by_key(|loan| loan.since)?;
        Some(Holder { site: oldest.site, age: now.since(oldest.since) })
    }
}
