//! What every handle of a pool shares: the free list, the lock, and what is behind it.
//!
//! A connection in the free list counts as lent to the core: the core is asked and told under the
//! lock only, and the list is a shelf in front of it. While anybody waits, or the pool is paused or
//! closed, the list is closed and everything goes through the core.
//!
//! Invariant: the list is open exactly while nobody waits and callers are served; it is closed, and
//! emptied into the core, before the core is asked for a connection.
//! Left out: waiting (`acquire.rs`), and what runs in tasks of its own (`task.rs`).

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use headpond_core::{
    Breaker, Command, ConnId, ConnectFailure, Failure, Fate, Health, Lane, PoolCore, Refusal,
    Timestamp, WaiterId, breaker,
};
use headpond_stats::Distribution;
use parking_lot::Mutex;
use slab::Slab;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{Id, JoinHandle};

use crate::budget::{Budget, Member, Share};
use crate::clock::Clock;
use crate::entry::Entry;
use crate::error::{ConnectError, Error};
use crate::events::{Errors, EventKind, Events};
use crate::freelist::Freelist;
use crate::holders::Spots;
use crate::hooks::Hooks;
use crate::manager::{CloseReason, Manager};
use crate::seats::Seats;
use crate::settings::{Check, Settings};
use crate::sizing::Sizer;
use crate::task::{Job, Work};
use crate::usage::Usage;

/// The library spreads no pool over lanes.
pub(crate) const LANE: Lane = Lane(0);

pub(crate) type Boxed<M> = Box<Entry<<M as Manager>::Connection>>;

pub(crate) struct Shared<M: Manager> {
    pub(crate) name: Arc<str>,
    pub(crate) manager: M,
    pub(crate) hooks: Hooks<M::Connection>,
    pub(crate) clock: Clock,
    pub(crate) free: Freelist<Boxed<M>>,
    /// What those who wait were granted and have not fetched yet, by their key.
    pub(crate) seats: Seats<Boxed<M>>,
    pub(crate) spots: Spots,
    /// Changes when connections must be shown to the core before they are lent again.
    pub(crate) epoch: AtomicU64,
    /// `Settings::check_after` in nanoseconds.
    check_after: AtomicU64,
    /// Whether every connection that comes back is looked at in a task.
    pub(crate) looks_at_returns: bool,
    pub(crate) kept: Mutex<Kept<M>>,
    pub(crate) usage: Mutex<Usage>,
    /// Wakes the task that waits for the next deadline.
    pub(crate) timer: Arc<Notify>,
    /// Wakes those who wait for the number of connections to change.
    pub(crate) changed: Notify,
    pub(crate) budget: Option<Budget>,
    pub(crate) events: Option<Events>,
    me: Weak<Self>,
}

/// What is behind the lock.
pub(crate) struct Kept<M: Manager> {
    pub(crate) core: PoolCore,
    pub(crate) settings: Settings,
    /// Connections that the core decides about, by place.
    parked: Vec<Option<Boxed<M>>>,
    pub(crate) waiting: Slab<Waiting>,
    pub(crate) breaker: Option<Breaker>,
    /// Leaves to connect, by place.
    permits: Vec<Option<breaker::Permit>>,
    /// Until when the open breaker lets nothing be opened, if something was to be.
    pub(crate) postponed_until: Option<Timestamp>,
    pub(crate) last_error: Option<Arc<ConnectError<M::Error>>>,
    pub(crate) runtime: Option<Handle>,
    pub(crate) driver: Option<JoinHandle<()>>,
    /// When the driver will look again by itself.
    pub(crate) due: Timestamp,
    /// Whether the driver comes round regularly, because something is lent or lies in the free
    /// list.
    pub(crate) rounds: bool,
    /// Whether the free list is closed.
    shut: bool,
    pub(crate) waits: Distribution,
    pub(crate) sizer: Sizer,
    pub(crate) leaks: u64,
    pub(crate) nested: u64,
    /// What the pool has of the budget, if there is one.
    pub(crate) share: Option<Share>,
    pub(crate) errors: Errors,
}

/// A caller in the queue; after it was granted a connection only what keeps its key from others.
pub(crate) struct Waiting {
    pub(crate) waker: Option<Waker>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) id: WaiterId,
    pub(crate) task: Option<Id>,
}

pub(crate) enum Outcome<M: Manager> {
    Granted(Boxed<M>),
    Refused(Refusal),
}

impl<M: Manager> Shared<M> {
    pub(crate) fn new(
        name: Arc<str>,
        manager: M,
        (settings, hooks): (Settings, Hooks<M::Connection>),
        (clock, seed): (Clock, u64),
        (budget, events): (Option<Budget>, Option<Events>),
    ) -> Arc<Self> {
        let core = PoolCore::new(clock.now(), settings.limits(), settings.policy(), seed);
        let breaker = settings.breaker.map(|settings| Breaker::new(settings, seed));
        Arc::new_cyclic(|me: &Weak<Self>| Self {
            name,
            manager,
            free: Freelist::new(),
            seats: Seats::new(),
            spots: Spots::new(),
            epoch: AtomicU64::new(1),
            check_after: AtomicU64::new(check_after(&settings)),
            looks_at_returns: hooks.on_release.is_some() || settings.check_on_return != Check::Skip,
            hooks,
            kept: Mutex::new(Kept {
                core,
                settings,
                parked: Vec::new(),
                waiting: Slab::new(),
                breaker,
                permits: Vec::new(),
                postponed_until: None,
                last_error: None,
                runtime: None,
                driver: None,
                due: Timestamp::MAX,
                rounds: false,
                shut: true,
                waits: Distribution::new(),
                sizer: Sizer::new(clock.now()),
                leaks: 0,
                nested: 0,
                share: budget.as_ref().map(|budget| budget.join(Weak::<Self>::clone(me))),
                errors: Errors::default(),
            }),
            usage: Mutex::new(Usage::default()),
            timer: Arc::new(Notify::new()),
            changed: Notify::new(),
            budget,
            events,
            me: me.clone(),
            clock,
        })
    }

    /// Returns a handle of its own; none while the pool is being dropped.
    pub(crate) fn me(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Takes an idle connection from the free list, if one can be lent as it is.
    #[inline]
    pub(crate) fn take_idle(&self, site: &'static Location<'static>) -> Option<Boxed<M>> {
        loop {
            let mut entry = self.free.take()?;
            let now = self.clock.coarse();
            let idle = now.as_nanos().saturating_sub(entry.touched.as_nanos());
            let rested = idle >= self.check_after.load(Ordering::Relaxed);
            let current = entry.epoch == self.epoch.load(Ordering::Acquire);
            if rested || !current || now >= entry.expires {
                self.show(entry);
                continue;
            }
            if !self.manager.is_usable(&mut entry.conn) {
                self.discard(entry, CloseReason::Broken);
                continue;
            }
            let spot = self.spots.at(entry.place());
            spot.quick.store(spot.quick.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            self.lend(&mut entry, now, site);
            return Some(entry);
        }
    }

    /// Gives the core an idle connection that may not be lent as it is.
    #[cold]
    fn show(&self, entry: Boxed<M>) {
        self.enter(|kept, now| kept.lay_aside(now, entry));
    }

    /// Tells listeners, if there may be any.
    #[inline]
    pub(crate) fn tell(&self, kind: EventKind) {
        if let Some(events) = &self.events {
            events.tell(&self.name, kind);
        }
    }

    /// Returns whether another pool of the budget is in need of a connection.
    #[inline]
    fn is_needed_elsewhere(&self) -> bool {
        self.budget.as_ref().is_some_and(Share::is_needed)
    }

    /// Notes that a connection is lent.
    #[inline]
    pub(crate) fn lend(
        &self,
        entry: &mut Entry<M::Connection>,
        now: Timestamp,
        site: &'static Location<'static>,
    ) {
        self.tell(EventKind::Acquire);
        entry.untold += 1;
        entry.touched = now;
        if self.spots.lend(entry.place(), (now, tokio::task::try_id()), site) {
            entry.began = Some(tokio::time::Instant::now());
        }
    }

    /// Takes a connection back from its user.
    #[inline]
    pub(crate) fn give_back(&self, mut entry: Boxed<M>) {
        let fate = if std::thread::panicking() {
            Fate::Discard(CloseReason::Unclean)
        } else {
            self.manager.fate(&mut entry.conn)
        };
        self.tell(EventKind::Release);
        let site = self.spots.at(entry.place()).end();
        if let Some(began) = entry.began.take() {
            self.measure(site, began);
        }
        let fate = match fate {
            Fate::Reuse if self.looks_at_returns => Fate::Reset,
            fate => fate,
        };
        match self.put_down(entry, fate) {
            Ok(()) => {}
            Err(entry) => self.take_back(entry, fate),
        }
    }

    /// Records how long a loan lasted.
    #[cold]
    fn measure(&self, site: Option<&'static Location<'static>>, began: tokio::time::Instant) {
        self.usage.lock().record_loan(site, began.elapsed());
    }

    /// Lays a connection into the free list, if it may be lent again as it is.
    #[inline]
    fn put_down(&self, mut entry: Boxed<M>, fate: Fate) -> Result<(), Boxed<M>> {
        if fate != Fate::Reuse
            || self.free.is_closed()
            || entry.untold >= entry.untold_max
            || entry.epoch != self.epoch.load(Ordering::Acquire)
            || self.is_needed_elsewhere()
        {
            return Err(entry);
        }
        let since = self.clock.rough(entry.touched);
        if since >= entry.expires {
            return Err(entry);
        }
        entry.touched = since;
        self.free.put(entry.place(), entry)
    }

    /// Gives up a connection that nobody should have.
    #[cold]
    pub(crate) fn discard(&self, entry: Boxed<M>, reason: CloseReason) {
        self.spots.at(entry.place()).end();
        self.enter(|kept, now| kept.release(now, entry, Fate::Discard(reason)));
    }

    /// Takes a connection that can be had at once.
    pub(crate) fn try_take(
        &self,
        site: &'static Location<'static>,
    ) -> Result<Boxed<M>, Error<M::Error>> {
        match self.take_idle(site) {
            Some(entry) => Ok(entry),
            None => self.ask_at_once(site),
        }
    }

    /// Lets a connection go out of the pool.
    pub(crate) fn forget(&self, mut entry: Entry<M::Connection>) -> M::Connection {
        self.spots.at(entry.place()).end();
        self.enter(|kept, now| {
            kept.vacate(&mut entry);
            kept.core.failed(now, entry.id, Failure::Lost);
        });
        self.changed.notify_waiters();
        self.tell(EventKind::Remove(None));
        entry.conn
    }

    /// Begins to open connections. Returns how many connects had failed before.
    pub(crate) fn begin_warm_up(&self) -> Result<u64, Error<M::Error>> {
        self.enter(|kept, now| {
            kept.see_to_driver(self);
            if kept.runtime.is_none() {
                return Err(Error::NoRuntime { pool: Arc::clone(&self.name) });
            }
            let failures = kept.core.counters().open_failures;
            kept.core.warm_up(now);
            kept.core.handle_timeout(now);
            Ok(failures)
        })
    }

    /// Returns how the warm-up ended, if it has.
    pub(crate) fn is_warm(&self, failures: u64) -> Option<Result<(), Error<M::Error>>> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        if kept.core.is_closed() {
            return Some(Err(Error::Closed { pool: Arc::clone(&self.name) }));
        }
        if kept.core.counts().live() >= kept.settings.min {
            return Some(Ok(()));
        }
        if kept.core.counters().open_failures == failures {
            return None;
        }
        let refusal = match kept.core.health() {
            Health::Failing(ConnectFailure::Rejected) => Refusal::Rejected,
            _ => Refusal::Failing { retry_after: kept.settings.backoff_first },
        };
        Some(Err(kept.explain(self, now, refusal)))
    }

    /// Does something under the lock, and afterwards whatever it entails.
    pub(crate) fn enter<R>(&self, verb: impl FnOnce(&mut Kept<M>, Timestamp) -> R) -> R {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let result = verb(&mut kept, now);
        if !kept.is_settled() {
            let work = kept.carry_out(self, now);
            drop(kept);
            work.run(self);
        }
        result
    }

    /// The same, with everything that lies in the free list given to the core before.
    pub(crate) fn enter_shut<R>(&self, verb: impl FnOnce(&mut Kept<M>, Timestamp) -> R) -> R {
        self.enter(|kept, now| {
            kept.shut(self, now);
            verb(kept, now)
        })
    }

    /// Makes new settings known to the fast paths.
    pub(crate) fn refresh(&self, settings: &Settings) {
        self.check_after.store(check_after(settings), Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

fn check_after(settings: &Settings) -> u64 {
    settings.check_after.map_or(u64::MAX, crate::clock::nanos)
}

impl<M: Manager> Kept<M> {
    /// Closes the free list and gives what lies there to the core.
    fn shut(&mut self, shared: &Shared<M>, now: Timestamp) {
        if self.shut {
            return;
        }
        self.shut = true;
        let mut found = Vec::new();
        shared.free.close(|_, entry| found.push(entry));
        found.sort_unstable_by_key(|entry| entry.touched);
        for entry in found {
            self.lay_aside(now, entry);
        }
    }

    /// Gives the core a connection that nobody has had since it was touched.
    pub(crate) fn lay_aside(&mut self, now: Timestamp, mut entry: Boxed<M>) {
        let (id, since) = (entry.id, entry.touched);
        let untold = std::mem::take(&mut entry.untold);
        self.park(entry);
        self.core.lay_aside(now, id, LANE, since, untold);
    }

    /// Gives the core a connection that its user gave back.
    pub(crate) fn release(&mut self, now: Timestamp, mut entry: Boxed<M>, fate: Fate) {
        let id = entry.id;
        let untold = std::mem::take(&mut entry.untold);
        self.core.note_uses(id, untold.saturating_sub(1));
        self.park(entry);
        self.core.release(now, id, LANE, fate);
    }

    /// Gives the core a connection that was granted to somebody who is gone.
    pub(crate) fn return_grant(&mut self, now: Timestamp, entry: Boxed<M>) {
        let id = entry.id;
        self.park(entry);
        self.core.grant_undeliverable(now, id, LANE);
    }

    pub(crate) fn park(&mut self, mut entry: Boxed<M>) {
        self.vacate(&mut entry);
        let place = entry.place();
        if self.parked.len() <= place {
            self.parked.resize_with(place + 1, || None);
        }
        self.parked[place] = Some(entry);
    }

    /// Returns how many places there have been so far.
    pub(crate) fn places(&self) -> usize {
        self.parked.len()
    }

    /// Takes a connection that the core decided about, with what the core knows of it.
    pub(crate) fn unpark(&mut self, shared: &Shared<M>, id: ConnId) -> Boxed<M> {
        let parked = self.parked.get_mut(id.index()).and_then(Option::take);
        let mut entry = parked.expect("the core decides about connections it was given");
        entry.epoch = shared.epoch.load(Ordering::Acquire);
        entry.expires = self.core.expires(id).unwrap_or(Timestamp::ZERO);
        let worn = self.core.uses(id).unwrap_or(u64::MAX);
        let most = self.settings.uses_max.unwrap_or(u64::MAX);
        entry.untold_max = most.saturating_sub(worn);
        entry
    }

    /// Takes a connection into the pool that has just been opened.
    pub(crate) fn welcome(
        &mut self,
        shared: &Shared<M>,
        now: Timestamp,
        (id, conn): (ConnId, M::Connection),
    ) {
        shared.spots.make_room(id.index());
        shared.free.make_room(id.index());
        self.record(now, id, breaker::Outcome::Success);
        self.last_error = None;
        self.park(Box::new(Entry {
            conn,
            id,
            epoch: 0,
            expires: Timestamp::ZERO,
            untold: 0,
            untold_max: 0,
            touched: now,
            seat: None,
            began: None,
        }));
        self.core.ready(now, id, LANE);
    }

    /// Notes that a connection could not be opened.
    pub(crate) fn connect_failed(
        &mut self,
        now: Timestamp,
        id: ConnId,
        (failure, error): (ConnectFailure, ConnectError<M::Error>),
    ) {
        // A server without room is not a server that fails: the ceiling of the core is for that.
        let outcome = match failure {
            ConnectFailure::TooMany => breaker::Outcome::Ignored,
            _ => breaker::Outcome::Failure,
        };
        self.errors.note(&error);
        self.record(now, id, outcome);
        self.last_error = Some(Arc::new(error));
        self.core.failed(now, id, Failure::Connect(failure));
        // With the breaker open nothing will come for those who wait.
        if self.core.counts().live() == 0
            && let Some(retry_after) = self.breaker_wait(now)
        {
            self.core.turn_away(now, Refusal::Failing { retry_after });
        }
    }

    /// Tells the breaker how a connect or a check went.
    fn record(&mut self, now: Timestamp, id: ConnId, outcome: breaker::Outcome) {
        let permit = self.permits.get_mut(id.index()).and_then(Option::take);
        if let (Some(breaker), Some(permit)) = (&mut self.breaker, permit) {
            breaker.record(now, permit, outcome);
        }
    }

    /// Carries out what the core decided, as far as it can be done under the lock.
    pub(crate) fn carry_out(&mut self, shared: &Shared<M>, now: Timestamp) -> Work<M> {
        let mut work = Work::new();
        self.carry_out_commands(shared, now, &mut work);
        if shared.is_needed_elsewhere() && self.give_up_for_others(now) {
            self.carry_out_commands(shared, now, &mut work);
        }
        if let Some(share) = &mut self.share {
            let counts = self.core.counts();
            work.call(share.settle(counts.total(), counts.waiting > 0));
        }
        self.follow_up(shared, &mut work);
        work
    }

    fn carry_out_commands(&mut self, shared: &Shared<M>, now: Timestamp, work: &mut Work<M>) {
        while let Some(command) = self.core.poll_command() {
            match command {
                Command::Open { conn } => self.open(now, conn, work),
                Command::Check { conn, .. } => work.push(Job::Check(self.unpark(shared, conn))),
                Command::Reset { conn, .. } => work.push(Job::Reset(self.unpark(shared, conn))),
                Command::Close { conn, reason, .. } => {
                    work.push(Job::Close(self.unpark(shared, conn), reason));
                }
                Command::Grant { caller, conn, waited, .. } => {
                    self.waits.record(crate::clock::nanos(waited));
                    let entry = self.unpark(shared, conn);
                    work.wake(self.seat(shared, now, caller, entry));
                }
                Command::Refuse { caller, refusal, .. } => {
                    let waiting = self.waiting_mut(caller);
                    waiting.refusal = Some(refusal);
                    work.wake(waiting.waker.take());
                }
            }
        }
    }

    /// Returns whether nothing follows from what was done: no command and no earlier deadline, and
    /// the free list is as it should be. Only then `carry_out` need not be called.
    fn is_settled(&self) -> bool {
        let waiting = self.shut && self.core.counts().waiting > 0;
        let quiet = waiting && self.share.is_none() && !self.core.has_commands();
        quiet && self.rounds && self.next_deadline() >= self.due && !self.core.is_closed()
    }

    /// Opens the free list, wakes who has to be woken, and says where the work runs.
    fn follow_up(&mut self, shared: &Shared<M>, work: &mut Work<M>) {
        let counts = self.core.counts();
        let serving = counts.waiting == 0 && !self.core.is_paused() && !self.core.is_closed();
        if serving && self.shut && counts.total() > 0 {
            self.shut = false;
            shared.free.open();
        }
        let next = self.next_deadline();
        if next < self.due || (counts.in_use > 0 && !self.rounds) {
            self.due = self.due.min(next);
            work.wake_driver();
        }
        if work.is_anything_closed() || self.core.is_closed() {
            shared.changed.notify_waiters();
        }
        if work.needs_runtime() {
            work.run_on(self.runtime.clone());
        }
    }

    /// Closes an idle connection if another pool of the budget needs its place.
    fn give_up_for_others(&mut self, now: Timestamp) -> bool {
        let counts = self.core.counts();
        let Some(share) = self.share.as_ref().filter(|_| counts.waiting == 0 && counts.idle > 0)
        else {
            return false;
        };
        share.claim() && self.core.evict_oldest_idle(now).is_some()
    }

    fn open(&mut self, now: Timestamp, conn: ConnId, work: &mut Work<M>) {
        // The budget first: a leave of the breaker that is not used would block its trial.
        if let Some(share) = &mut self.share
            && !share.try_take()
        {
            self.core.postpone(now, conn);
            return;
        }
        let permit = match &mut self.breaker {
            None => None,
            Some(breaker) => match breaker.try_pass(now) {
                Ok(permit) => Some(permit),
                Err(rejection) => {
                    self.core.postpone(now, conn);
                    self.postponed_until = Some(now + rejection.retry_after);
                    return;
                }
            },
        };
        let place = conn.index();
        if self.permits.len() <= place {
            self.permits.resize_with(place + 1, || None);
        }
        self.permits[place] = permit;
        work.push(Job::Open(conn));
    }

    /// Lets connections be opened again once the breaker may let a trial pass.
    pub(crate) fn lift_postponement(&mut self, now: Timestamp) {
        if self.postponed_until.is_some_and(|until| until <= now) {
            self.postponed_until = None;
            self.core.budget_available(now);
        }
    }

    /// Returns how long the open breaker still rejects; none while it does not.
    pub(crate) fn breaker_wait(&self, now: Timestamp) -> Option<Duration> {
        self.breaker.as_ref()?.rejects_for(now)
    }
}

impl<M: Manager> Member for Shared<M> {
    fn room(&self) {
        self.enter(|kept, now| {
            if let Some(share) = &mut kept.share {
                share.feed();
            }
            kept.core.budget_available(now);
        });
    }

    fn spare(&self) -> bool {
        self.enter_shut(|kept, now| kept.give_up_for_others(now))
    }
}
