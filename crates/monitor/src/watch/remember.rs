//! From a look to the history, in memory and beyond.
//!
//! Invariant: nothing here waits for a disk but the end, and that for bounded time.
//! Not here: what is kept (`history`), and who asks for it (`http/`).

use super::{Event, Monitor, State};
use crate::figures::Figures;
use crate::health;
use crate::history::store::Keep;
use crate::model::Pool;
use crate::time::wall;

impl Monitor {
    /// Puts a look into the history; a minute that is over goes to the store, and what that has to
    /// say among the events.
    pub(super) fn remember(&self, state: &mut State, now: f64, pools: &[(Pool, Figures)]) {
        let Some(store) = self.store() else { return state.history.push(now, pools) };
        let State { history, minutes, .. } = state;
        // The clock as it is now: it may have been set since the start.
        if let Some(over) = minutes.turn(wall()) {
            store.put(over);
        }
        history.push_and(now, pools, |name, point| minutes.add(name, point));
        for remark in store.remarks() {
            let status = match remark.is_good {
                true => health::Status::Healthy,
                false => health::Status::Warning,
            };
            let at = now + self.offset;
            let subject = String::new();
            state.note(Event { at, sort: "history", subject, text: remark.text, status });
        }
    }

    /// Hands what was seen of this minute to the store and waits until it is written, for two
    /// seconds at most. Dropping the monitor does the same.
    pub fn close(&self) {
        let Some(store) = self.store() else { return };
        if let Some(begun) = self.state().minutes.take() {
            store.put(begun);
        }
        store.close();
    }

    pub(crate) fn store(&self) -> Option<&dyn Keep> {
        self.store.as_ref().map(|store| &*store.0)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.close();
    }
}
