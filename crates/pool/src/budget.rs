//! One allowance of connections for several pools together.
//!
//! A pool takes a place before it opens a connection and gives it back when the connection is gone.
//! A pool that finds no place waits in a queue; if callers wait for it, another pool's connection
//! that has been idle longest is closed, or the next one that comes back there.
//!
//! Invariant: no more places are taken than there are; a pool asks another for something only
//! after it gave back its own lock, so two pools never wait for each other.
//! Left out: connections that were detached from a pool; nobody knows of those any more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Connections that several pools may have together. Clones are the same budget.
///
/// # Examples
/// ```
/// # use headpond::{Budget, Pool, testing::FakeManager};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let budget = Budget::new(10);
/// let one = Pool::builder(FakeManager::default()).max(8).min(0).budget(&budget).build()?;
/// let two = Pool::builder(FakeManager::default()).max(8).min(0).budget(&budget).build()?;
/// let connections = (one.get().await?, two.get().await?);
/// assert_eq!(budget.used(), 2);
/// # drop(connections); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Budget {
    state: Arc<State>,
}

struct State {
    ledger: Mutex<Ledger>,
    /// Pools in need for which nobody gives anything up yet: looked at on every return.
    needs: AtomicU32,
}

struct Ledger {
    places: headpond_core::Budget,
    members: Vec<Option<Weak<dyn Member>>>,
    /// Pools that found no place, the one that came first in front.
    starved: VecDeque<Starved>,
}

struct Starved {
    member: usize,
    need: Need,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// It would only like to keep more open.
    Wish,
    /// Callers wait for it.
    Open,
    /// Callers wait for it, and somebody gives a connection up.
    Claimed,
}

/// What a pool is to a budget.
pub(crate) trait Member: Send + Sync {
    /// There may be room.
    fn room(&self);
    /// Closes the connection that has been idle longest; false if there is none to spare.
    fn spare(&self) -> bool;
}

impl Budget {
    /// Returns a budget of so many connections; 0 is no limit.
    #[must_use]
    pub fn new(max: u32) -> Self {
        let places = headpond_core::Budget::new(max);
        let ledger = Ledger { places, members: Vec::new(), starved: VecDeque::new() };
        Self { state: Arc::new(State { ledger: Mutex::new(ledger), needs: AtomicU32::new(0) }) }
    }

    /// Returns how many connections there may be; 0 is no limit.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.state.ledger.lock().places.max()
    }

    /// Returns how many there are.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.state.ledger.lock().places.used()
    }

    /// Changes how many there may be. Those above it stay until they are closed.
    pub fn set_max(&self, max: u32) {
        self.state.ledger.lock().places.set_max(max);
        Calls::room(&self.state).run();
    }

    pub(crate) fn join(&self, member: Weak<dyn Member>) -> Share {
        let mut ledger = self.state.ledger.lock();
        let free = ledger.members.iter().position(Option::is_none);
        let at = free.unwrap_or(ledger.members.len());
        match ledger.members.get_mut(at) {
            Some(place) => *place = Some(member),
            None => ledger.members.push(Some(member)),
        }
        Share { state: Arc::clone(&self.state), member: at, taken: 0, want: Want::Nothing }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.state.ledger.lock();
        f.debug_struct("Budget")
            .field("max", &ledger.places.max())
            .field("used", &ledger.places.used())
            .field("starved", &ledger.starved.len())
            .finish_non_exhaustive()
    }
}

impl State {
    /// Keeps the number that is looked at on every return.
    fn count(&self, ledger: &Ledger) {
        let open = ledger.starved.iter().filter(|starved| starved.need == Need::Open).count();
        self.needs.store(u32::try_from(open).unwrap_or(u32::MAX), Relaxed);
    }
}

/// What a pool has of a budget; kept behind the pool's lock.
pub(crate) struct Share {
    state: Arc<State>,
    member: usize,
    taken: u32,
    want: Want,
}

/// What a pool wants that found no place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Nothing,
    /// It waits for a place.
    Place,
    /// And callers wait for it, as the others know.
    Badly,
}

impl Share {
    /// Takes a place, or joins the queue.
    pub(crate) fn try_take(&mut self) -> bool {
        let mut ledger = self.state.ledger.lock();
        if ledger.places.try_take() {
            self.taken += 1;
            return true;
        }
        self.want = Want::Place;
        if !ledger.starved.iter().any(|starved| starved.member == self.member) {
            ledger.starved.push_back(Starved { member: self.member, need: Need::Wish });
        }
        false
    }

    /// Notes that the pool will try again.
    pub(crate) const fn feed(&mut self) {
        self.want = Want::Nothing;
    }

    /// Brings the budget up to date: the pool has `total` connections, and callers wait or not.
    /// Returns what is to be done after the pool's lock is given back.
    pub(crate) fn settle(&mut self, total: u32, waiting: bool) -> Option<Calls> {
        let surplus = self.taken.saturating_sub(total);
        let want = match self.want {
            Want::Nothing => Want::Nothing,
            _ if waiting => Want::Badly,
            _ => Want::Place,
        };
        if surplus == 0 && want == self.want {
            return None;
        }
        let mut ledger = self.state.ledger.lock();
        self.taken -= surplus;
        (0..surplus).for_each(|_| ledger.places.put());
        let mut spare = false;
        if want != self.want
            && let Some(mine) =
                ledger.starved.iter_mut().find(|starved| starved.member == self.member)
        {
            // Those it wanted a place for may have gone, or have been served otherwise.
            spare = want == Want::Badly;
            mine.need = if spare { Need::Open } else { Need::Wish };
        }
        self.want = want;
        self.state.count(&ledger);
        drop(ledger);
        let state = Arc::clone(&self.state);
        (surplus > 0 || spare).then_some(Calls { state, spare: spare.then_some(self.member) })
    }

    /// Returns whether another pool is in need. Cheap.
    #[inline]
    pub(crate) fn is_needed(state: &Budget) -> bool {
        state.state.needs.load(Relaxed) > 0
    }

    /// Undertakes to close a connection for the pool that has been in need longest.
    pub(crate) fn claim(&self) -> bool {
        let mut ledger = self.state.ledger.lock();
        let member = self.member;
        let mut others = ledger.starved.iter_mut().filter(|starved| starved.member != member);
        let claimed = match others.find(|starved| starved.need == Need::Open) {
            Some(starved) => {
                starved.need = Need::Claimed;
                true
            }
            None => false,
        };
        self.state.count(&ledger);
        claimed
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut ledger = self.state.ledger.lock();
        (0..self.taken).for_each(|_| ledger.places.put());
        if let Some(member) = ledger.members.get_mut(self.member) {
            *member = None;
        }
        let member = self.member;
        ledger.starved.retain(|starved| starved.member != member);
        self.state.count(&ledger);
        drop(ledger);
        Calls::room(&self.state).run();
    }
}

/// What a pool has to tell others once its own lock is free.
pub(crate) struct Calls {
    state: Arc<State>,
    /// The pool for which somebody is to give up an idle connection.
    spare: Option<usize>,
}

impl Calls {
    fn room(state: &Arc<State>) -> Self {
        Self { state: Arc::clone(state), spare: None }
    }

    pub(crate) fn run(self) {
        self.offer_room();
        if let Some(needy) = self.spare {
            self.ask_for_spare(needy);
        }
    }

    /// Tells pools that wait, in turn, as long as there is room.
    fn offer_room(&self) {
        // Each pool is told once at most: one that does not want the room must not be asked again.
        let turns = self.state.ledger.lock().starved.len();
        for _ in 0..turns {
            let member = {
                let mut ledger = self.state.ledger.lock();
                if !ledger.places.has_room() {
                    return;
                }
                // Who only wishes for more comes after those for whom callers wait.
                let needy = ledger.starved.iter().position(|starved| starved.need != Need::Wish);
                let Some(first) = ledger.starved.remove(needy.unwrap_or(0)) else { return };
                self.state.count(&ledger);
                ledger.members.get(first.member).cloned().flatten()
            };
            if let Some(member) = member.and_then(|member| member.upgrade()) {
                member.room();
            }
        }
    }

    /// Asks the others for an idle connection, each in turn.
    fn ask_for_spare(&self, needy: usize) {
        let others: Vec<Arc<dyn Member>> = {
            let ledger = self.state.ledger.lock();
            let others = ledger.members.iter().enumerate().filter(|(at, _)| *at != needy);
            others.filter_map(|(_, member)| member.as_ref()?.upgrade()).collect()
        };
        // What is closed gives its place back by itself, and then there is room.
        let _ = others.iter().any(|member| member.spare());
    }
}
