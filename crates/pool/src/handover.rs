//! The way of a connection from who gives it back to who waits for it.
//!
//! In the plain case that is one lock section and one step of the core: nothing is parked, no
//! command is made, no deadline changes. Who waited finds its connection without the lock.
//!
//! Invariant: whoever is granted a connection keeps its key until the connection passes the lock
//! again; so a key's seat is empty before anybody else has the key.
//! Left out: asking and waiting (`acquire.rs`), and the free list, where nobody waits.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use headpond_core::{Fate, Timestamp};

use crate::entry::Entry;
use crate::manager::Manager;
use crate::shared::{Boxed, Kept, LANE, Outcome, Shared, Waiting};

impl<M: Manager> Shared<M> {
    /// Takes a connection back that the free list does not take, and does whatever follows.
    #[inline(never)]
    pub(crate) fn take_back(&self, entry: Boxed<M>, fate: Fate) {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let (entry, waker) = match fate {
            Fate::Reuse => kept.hand_over(self, now, entry),
            _ => (Some(entry), None),
        };
        if entry.is_none() && kept.core.counts().waiting > 0 {
            drop(kept);
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        if let Some(entry) = entry {
            kept.release(now, entry, fate);
        }
        let mut work = kept.carry_out(self, now);
        drop(kept);
        work.wake(waker);
        work.run(self);
    }

    /// Returns what became of a waiting caller, or leaves its waker.
    pub(crate) fn outcome(&self, key: usize, cx: &Context<'_>) -> Poll<Outcome<M>> {
        if let Some(entry) = self.seats.take(key) {
            return Poll::Ready(Outcome::Granted(entry));
        }
        let mut kept = self.kept.lock();
        // It may have been granted while the lock was waited for.
        if let Some(entry) = self.seats.take(key) {
            return Poll::Ready(Outcome::Granted(entry));
        }
        let waiting = kept.waiting.get_mut(key).expect("who waits is in the slab");
        if let Some(refusal) = waiting.refusal {
            kept.waiting.remove(key);
            return Poll::Ready(Outcome::Refused(refusal));
        }
        match &mut waiting.waker {
            Some(before) => before.clone_from(cx.waker()),
            None => waiting.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes a caller out of the queue, or passes on what it was granted.
    #[cold]
    pub(crate) fn abandon(&self, key: usize) {
        self.enter(|kept, now| match self.seats.take(key) {
            Some(entry) => kept.return_grant(now, entry),
            None => {
                let waiting = kept.waiting.remove(key);
                if waiting.refusal.is_none() {
                    kept.core.abandon(now, waiting.id);
                }
            }
        });
    }
}

impl<M: Manager> Kept<M> {
    /// Gives a connection to whoever waits longest, if that is all there is to do. Otherwise it
    /// comes back.
    fn hand_over(
        &mut self,
        shared: &Shared<M>,
        now: Timestamp,
        mut entry: Boxed<M>,
    ) -> (Option<Boxed<M>>, Option<Waker>) {
        if self.share.is_some() || entry.epoch != shared.epoch.load(Ordering::Relaxed) {
            return (Some(entry), None);
        }
        let Some(handover) = self.core.hand_over(now, entry.id, LANE, entry.untold) else {
            return (Some(entry), None);
        };
        self.waits.record(crate::clock::nanos(handover.waited));
        entry.untold_max = entry.untold_max.saturating_sub(entry.untold);
        entry.untold = 0;
        self.vacate(&mut entry);
        (None, self.seat(shared, now, handover.caller, entry))
    }

    /// Grants a connection to a caller who waits. Returns the waker that has to be woken.
    pub(crate) fn seat(
        &mut self,
        shared: &Shared<M>,
        now: Timestamp,
        caller: u64,
        mut entry: Boxed<M>,
    ) -> Option<Waker> {
        let waiting = self.waiting_mut(caller);
        waiting.task = None;
        let waker = waiting.waker.take();
        entry.touched = now;
        entry.seat = Some(key(caller));
        shared.seats.fill(key(caller), entry);
        waker
    }

    /// Gives back the key by which the connection's user had waited.
    pub(crate) fn vacate(&mut self, entry: &mut Entry<M::Connection>) {
        if let Some(key) = entry.seat.take() {
            self.waiting.remove(key);
        }
    }

    pub(crate) fn waiting_mut(&mut self, caller: u64) -> &mut Waiting {
        self.waiting.get_mut(key(caller)).expect("who waits is in the slab")
    }
}

fn key(caller: u64) -> usize {
    usize::try_from(caller).expect("it was a key of the slab")
}
