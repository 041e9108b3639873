//! What time alone brings about: deadlines, connections that have lain idle, loans that last too
//! long.
//!
//! Invariant: while a connection is lent or lies in the free list, house is kept at least once in
//! every interval; while none does, the driver sleeps until the core has a deadline.
//! Left out: what the core does when something is due.

use std::time::Duration;

use headpond_core::Timestamp;

use crate::manager::Manager;
use crate::settings::Settings;
use crate::shared::{Kept, Shared};

/// The shortest and the longest pause between two rounds.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

impl<M: Manager> Shared<M> {
    /// Does what is due and returns when to come again.
    pub(crate) fn keep_house(&self) -> Timestamp {
        let suspects = self.enter(|kept, now| {
            self.clock.note(now);
            let pause = pause(&kept.settings);
            kept.shelve_unused(self, now, pause);
            kept.keep_alive(now);
            kept.lift_postponement(now);
            kept.core.handle_timeout(now);
            kept.size_up(self, now);
            let suspects = kept.suspects(self, now);
            // What is lent or in the free list is in use as far as the core knows.
            kept.rounds = kept.core.counts().in_use > 0;
            let round = if kept.rounds { now + pause } else { Timestamp::MAX };
            kept.due = round.min(kept.next_deadline());
            suspects
        });
        for suspect in suspects {
            tracing::warn!(
                pool = &*self.name,
                site = %suspect.site,
                age_ms = u64::try_from(suspect.age.as_millis()).unwrap_or(u64::MAX),
                "a connection was lent long ago and has not come back: is it leaked?"
            );
        }
        self.kept.lock().due
    }
}

fn pause(settings: &Settings) -> Duration {
    let halves = [settings.check_after, settings.idle_timeout, settings.leak_after];
    let shortest = halves.into_iter().flatten().map(|time| time / 2).min();
    shortest.unwrap_or(PAUSES[1]).clamp(PAUSES[0], PAUSES[1])
}

impl<M: Manager> Kept<M> {
    /// Gives the core what has lain in the free list for `pause`, so that it can be checked, kept
    /// alive and closed.
    fn shelve_unused(&mut self, shared: &Shared<M>, now: Timestamp, pause: Duration) {
        if shared.free.len() == 0 {
            return;
        }
        let mut unused = Vec::new();
        for place in 0..self.places() {
            let Some(entry) = shared.free.take_at(place) else { continue };
            if now.since(entry.touched) >= pause {
                unused.push(entry);
            } else if let Err(entry) = shared.free.put(place, entry) {
                unused.push(entry);
            }
        }
        unused.sort_unstable_by_key(|entry| entry.touched);
        for entry in unused {
            self.lay_aside(now, entry);
        }
    }

    /// Returns when something is due whatever else happens.
    pub(crate) fn next_deadline(&self) -> Timestamp {
        let deadline = self.core.poll_timeout().unwrap_or(Timestamp::MAX);
        let deadline = deadline.min(self.postponed_until.unwrap_or(Timestamp::MAX));
        let silent = self.core.oldest_idle_since().zip(self.settings.keep_alive);
        silent.map_or(deadline, |(since, keep_alive)| deadline.min(since + keep_alive))
    }

    /// Has idle connections checked that have been silent for too long.
    fn keep_alive(&mut self, now: Timestamp) {
        if let Some(keep_alive) = self.settings.keep_alive {
            self.core.check_idle(now, keep_alive);
        }
    }
}
