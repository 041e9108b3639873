//! Which shared statements a server has, in order of use.
//!
//! Invariant: `real` is what the server has confirmed; what was sent since then is `latest`, and
//! when nothing is under way the two agree. The list holds exactly the entries that are expected
//! to be on the server.
//! Not here: the messages that change it (`prepare.rs`).

use alloc::sync::Arc;

use hashbrown::HashMap;

use super::batch::Position;
use super::statement::Statement;

/// The end of the list.
const NONE: u64 = u64::MAX;

/// How sure it is that a server has a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// It has not.
    Absent,
    /// It has: confirmed, or sent earlier in this very batch.
    Present,
    /// It will have, unless the client's own Parse fails, which was sent in an earlier batch.
    Promised,
    /// It has, but its plan is of no use any more.
    Stale,
    /// That depends on how an earlier batch ends.
    Open,
}

/// Whose idea a Parse was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The client sent it: when it fails the client has no such statement.
    Client,
    /// The pooler made it: when it fails the client's statement is still there.
    Pooler,
}

#[derive(Debug)]
struct Entry {
    statement: Arc<Statement>,
    real: bool,
    stale: bool,
    under_way: u32,
    latest_present: bool,
    latest_at: Position,
    latest_whose: Whose,
    listed: bool,
    older: u64,
    newer: u64,
}

/// The statements of one server.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<u64, Entry>,
    oldest: u64,
    newest: u64,
    listed: usize,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), oldest: NONE, newest: NONE, listed: 0 }
    }

    /// Returns how many statements are expected on the server.
    pub(super) const fn len(&self) -> usize {
        self.listed
    }

    /// Returns what a message sent now in `batch` may expect.
    pub(super) fn view(&self, id: u64, batch: u32) -> View {
        let Some(entry) = self.entries.get(&id) else { return View::Absent };
        let (present, view) = if entry.under_way == 0 {
            (entry.real, View::Present)
        } else if entry.latest_at.batch == batch {
            (entry.latest_present, View::Present)
        } else if entry.latest_at.sure
            && entry.under_way == 1
            && (entry.latest_whose == Whose::Client || !entry.latest_present)
        {
            (entry.latest_present, View::Promised)
        } else {
            return View::Open;
        };
        match present {
            false => View::Absent,
            true if entry.stale => View::Stale,
            true => view,
        }
    }

    /// Notes a use.
    pub(super) fn touch(&mut self, id: u64) {
        if self.newest != id && self.entries.get(&id).is_some_and(|entry| entry.listed) {
            self.unlist(id);
            self.list(id);
        }
    }

    /// Returns the statement that was used the longest time ago.
    pub(super) fn oldest(&self) -> Option<Arc<Statement>> {
        self.entries.get(&self.oldest).map(|entry| Arc::clone(&entry.statement))
    }

    /// A Parse of it was sent.
    pub(super) fn parse_sent(&mut self, statement: &Arc<Statement>, at: Position, whose: Whose) {
        let id = statement.id();
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            statement: Arc::clone(statement),
            real: false,
            stale: false,
            under_way: 0,
            latest_present: false,
            latest_at: at,
            latest_whose: whose,
            listed: false,
            older: NONE,
            newer: NONE,
        });
        entry.under_way = entry.under_way.saturating_add(1);
        entry.latest_present = true;
        entry.latest_at = at;
        entry.latest_whose = whose;
        entry.stale = false;
        self.unlist(id);
        self.list(id);
    }

    /// A Close of it was sent.
    pub(super) fn close_sent(&mut self, id: u64, at: Position) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.under_way = entry.under_way.saturating_add(1);
            entry.latest_present = false;
            entry.latest_at = at;
            self.unlist(id);
        }
    }

    /// The server did what the oldest message under way asked for.
    pub(super) fn done(&mut self, id: u64, present: bool) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.real = present;
        }
        self.resolved(id);
    }

    /// The server failed or skipped the oldest message under way.
    pub(super) fn undone(&mut self, id: u64) {
        self.resolved(id);
    }

    /// The plan of a statement is of no use any more.
    pub(super) fn spoil(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stale = true;
        }
    }

    /// The server dropped everything it had confirmed.
    pub(super) fn drop_confirmed(&mut self) {
        for entry in self.entries.values_mut() {
            entry.real = false;
        }
        let mut next = self.oldest;
        while let Some(entry) = self.entries.get(&next) {
            let (id, after) = (next, entry.newer);
            if entry.under_way == 0 {
                self.unlist(id);
            }
            next = after;
        }
        self.entries.retain(|_, entry| entry.under_way > 0);
    }

    fn resolved(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.under_way = entry.under_way.saturating_sub(1);
        if entry.under_way > 0 {
            return;
        }
        match (entry.real, entry.listed) {
            (true, false) => self.list(id),
            (false, _) => {
                self.unlist(id);
                self.entries.remove(&id);
            }
            (true, true) => {}
        }
    }

    /// Puts an entry at the newest end.
    fn list(&mut self, id: u64) {
        let newest = self.newest;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.listed = true;
        entry.older = newest;
        entry.newer = NONE;
        match self.entries.get_mut(&newest) {
            Some(before) => before.newer = id,
            None => self.oldest = id,
        }
        self.newest = id;
        self.listed = self.listed.saturating_add(1);
    }

    fn unlist(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.listed {
            return;
        }
        entry.listed = false;
        let (older, newer) = (entry.older, entry.newer);
        match self.entries.get_mut(&older) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(&newer) {
            Some(after) => after.older = older,
            None => self.newest = older,
        }
        self.listed = self.listed.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: Position = Position { batch: 1, sure: true };
    const UNSURE: Position = Position { batch: 1, sure: false };

    fn statement(id: u64) -> Arc<Statement> {
        Arc::new(Statement::new(id, *b"select\0\0\0"))
    }

    #[test]
    fn the_oldest_is_the_one_not_used_for_longest() {
        let mut cache = Cache::new();
        for id in 1..=3 {
            cache.parse_sent(&statement(id), SURE, Whose::Client);
            cache.done(id, true);
        }
        cache.touch(1);
        assert_eq!(cache.oldest().map(|s| s.id()), Some(2));
        cache.close_sent(2, SURE);
        assert_eq!(cache.oldest().map(|s| s.id()), Some(3));
        assert_eq!(cache.len(), 2);
        cache.done(2, false);
        assert_eq!(cache.view(2, 9), View::Absent);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn a_parse_counts_in_its_own_batch_at_once_and_later_only_if_nothing_can_skip_it() {
        let mut cache = Cache::new();
        cache.parse_sent(&statement(1), SURE, Whose::Client);
        cache.parse_sent(&statement(2), UNSURE, Whose::Client);
        assert_eq!((cache.view(1, 1), cache.view(1, 2)), (View::Present, View::Promised));
        assert_eq!((cache.view(2, 1), cache.view(2, 2)), (View::Present, View::Open));
        cache.undone(2);
        assert_eq!(cache.view(2, 2), View::Absent);
        cache.done(1, true);
        assert_eq!(cache.view(1, 2), View::Present);
    }

    #[test]
    fn a_skipped_close_leaves_the_statement_where_it_was() {
        let mut cache = Cache::new();
        cache.parse_sent(&statement(1), SURE, Whose::Client);
        cache.done(1, true);
        cache.close_sent(1, UNSURE);
        assert_eq!(cache.len(), 0);
        cache.undone(1);
        assert_eq!((cache.view(1, 2), cache.len()), (View::Present, 1));
    }

    #[test]
    fn dropping_all_spares_what_is_under_way() {
        let mut cache = Cache::new();
        for id in 1..=3 {
            cache.parse_sent(&statement(id), SURE, Whose::Client);
        }
        cache.done(1, true);
        cache.done(3, true);
        cache.drop_confirmed();
        assert_eq!((cache.view(1, 1), cache.view(3, 1)), (View::Absent, View::Absent));
        cache.done(2, true);
        assert_eq!((cache.view(2, 1), cache.len()), (View::Present, 1));
        assert_eq!(cache.oldest().map(|s| s.id()), Some(2));
    }
}
