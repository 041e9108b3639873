//! The network itself: ends, their owners, and the agenda of what will arrive.
//!
//! Invariant: an end's `in_flight` is what its peer has not read of what it sent; an end is
//! `queued` with its owner at most once.
//! Not here: sending and arriving (`travel.rs`), who reads (`engine.rs`, `endpoint.rs`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::random::Random;
use super::{Conditions, News, What};
use crate::engine::{Address, Socket};

pub(super) struct State {
    pub(super) now: u64,
    pub(super) conditions: Conditions,
    pub(super) random: Random,
    pub(super) ends: Vec<End>,
    pub(super) listeners: Vec<Listening>,
    pub(super) workers: Vec<Desk>,
    pub(super) exhausted: bool,
    pub(super) addresses: BTreeMap<Address, u32>,
    pub(super) unreachable: BTreeSet<Address>,
    pub(super) news: VecDeque<News>,
    agenda: BinaryHeap<Reverse<Due>>,
    sequence: u64,
}

/// One end of a connection. Never removed: a run is short and an empty end is small.
#[derive(Default)]
pub(super) struct End {
    pub(super) peer: Option<u32>,
    pub(super) owner: Owner,
    pub(super) queued: bool,
    pub(super) connect: Connect,
    /// Arrived and not yet read.
    pub(super) incoming: VecDeque<u8>,
    /// What follows them.
    pub(super) after: After,
    /// Written and not yet on its way.
    pub(super) backlog: VecDeque<u8>,
    pub(super) write: Write,
    pub(super) in_flight: usize,
    pub(super) last_arrival: u64,
    pub(super) room_announced: bool,
    pub(super) closed: bool,
    /// It closed with bytes unsent.
    pub(super) dropped: bool,
    pub(super) silent: bool,
}

impl End {
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Owner {
    /// A handle on its way.
    #[default]
    Nobody,
    Test,
    Worker {
        number: usize,
        socket: Socket,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Connect {
    #[default]
    Done,
    UnderWay,
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum After {
    #[default]
    More,
    End,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Write {
    #[default]
    Open,
    /// The end follows the backlog.
    Finishing,
    Finished,
    Broken,
}

#[derive(Default)]
pub(super) struct Listening {
    pub(super) waiting: VecDeque<u32>,
    pub(super) owner: Owner,
    pub(super) queued: bool,
    address: Option<Address>,
}

/// What the network knows of an engine.
pub(super) struct Desk {
    pub(super) ready: Vec<Socket>,
    pub(super) until: Option<u64>,
    /// How long its worker was said to be busy.
    pub(super) busy: Duration,
    /// The last wait brought events, so that the next may have another `until`.
    pub(super) active: bool,
    pub(super) woken: Arc<AtomicBool>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: u64,
    sequence: u64,
    what: Arrival,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arrival {
    Request { from: u32, to: Address },
    Answer { to: u32, accepted: bool },
    Bytes { to: u32, bytes: Vec<u8> },
    End { to: u32 },
    Reset { to: u32 },
    Room { to: u32 },
    Timer { key: u64 },
}

impl State {
    pub(super) fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            now: 1,
            conditions,
            random: Random::new(seed),
            ends: Vec::new(),
            listeners: Vec::new(),
            workers: Vec::new(),
            exhausted: false,
            addresses: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            news: VecDeque::new(),
            agenda: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(super) fn end(&mut self, id: u32) -> &mut End {
        &mut self.ends[id as usize]
    }

    pub(super) fn listener(&mut self, id: u32) -> &mut Listening {
        &mut self.listeners[id as usize]
    }

    pub(super) fn listen(&mut self, address: &Address) -> Option<u32> {
        if self.addresses.contains_key(address) {
            return None;
        }
        let id = u32::try_from(self.listeners.len()).expect("a run is short");
        let address = address.clone();
        self.addresses.insert(address.clone(), id);
        self.listeners.push(Listening { address: Some(address), ..Listening::default() });
        self.listener(id).owner = Owner::Test;
        Some(id)
    }

    pub(super) fn unlisten(&mut self, id: u32) {
        let listener = self.listener(id);
        listener.owner = Owner::Nobody;
        let waiting = std::mem::take(&mut listener.waiting);
        if let Some(address) = listener.address.take() {
            self.addresses.remove(&address);
        }
        for end in waiting {
            self.abort(end);
        }
    }

    pub(super) fn set_unreachable(&mut self, address: &Address, unreachable: bool) {
        if unreachable {
            self.unreachable.insert(address.clone());
        } else {
            self.unreachable.remove(address);
        }
    }

    pub(super) fn connect(&mut self, to: &Address, owner: Owner) -> u32 {
        let id = self.add(End { owner, connect: Connect::UnderWay, ..End::default() });
        let at = self.delayed();
        self.schedule(at, Arrival::Request { from: id, to: to.clone() });
        id
    }

    pub(super) fn timer(&mut self, after: Duration, key: u64) {
        let at = self.now.saturating_add(nanos(after));
        self.schedule(at, Arrival::Timer { key });
    }

    pub(super) fn take_news(&mut self) -> Option<News> {
        let news = self.news.pop_front()?;
        match news {
            News::Endpoint(id) => self.ends[id as usize].queued = false,
            News::Listener(id) => self.listeners[id as usize].queued = false,
            News::Timer(_) => {}
        }
        Some(news)
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.news.is_empty()
            || self.workers.iter().any(|desk| {
                desk.active
                    || !desk.ready.is_empty()
                    || desk.until.is_some_and(|until| until <= self.now)
                    || desk.woken.load(Ordering::Acquire)
            })
    }

    pub(super) fn advance(&mut self, limit: u64) -> bool {
        let waits = self.workers.iter().filter_map(|desk| desk.until);
        let waits = waits.filter(|until| *until > self.now);
        let arrival = self.agenda.peek().map(|due| due.0.at);
        let Some(next) = waits.chain(arrival).min() else { return false };
        if next > limit {
            self.now = self.now.max(limit);
            return false;
        }
        self.now = self.now.max(next);
        while self.agenda.peek().is_some_and(|due| due.0.at <= self.now) {
            let due = self.agenda.pop().expect("peeked just above");
            self.arrive(due.0.what);
        }
        true
    }

    /// Takes all bytes; those that find no room on the way stay in the backlog.
    pub(super) fn write(&mut self, id: u32, bytes: &[u8]) {
        let end = self.end(id);
        if end.write == Write::Open {
            end.backlog.extend(bytes);
            self.flush(id);
        }
    }

    pub(super) fn finish(&mut self, id: u32) {
        if self.end(id).write == Write::Open {
            self.end(id).write = Write::Finishing;
            self.flush(id);
        }
    }

    /// Reads at most `max` bytes of what arrived.
    pub(super) fn read(&mut self, id: u32, max: usize) -> Vec<u8> {
        let end = self.end(id);
        let len = end.incoming.len().min(max);
        let bytes: Vec<u8> = end.incoming.drain(..len).collect();
        if let Some(peer) = end.peer {
            let sender = self.end(peer);
            sender.in_flight -= bytes.len();
            if !sender.backlog.is_empty() && !sender.room_announced {
                sender.room_announced = true;
                let at = self.delayed();
                self.schedule(at, Arrival::Room { to: peer });
            }
        }
        bytes
    }

    /// Closes one end. As in life, doing so with bytes unread is a reset, and bytes that come
    /// later are answered by one.
    pub(super) fn close(&mut self, id: u32) {
        let end = self.end(id);
        let is_test = end.owner == Owner::Test;
        end.owner = Owner::Nobody;
        if end.closed {
            return;
        }
        if !end.incoming.is_empty() {
            self.abort(id);
            return;
        }
        end.closed = true;
        if !is_test {
            // An engine gave up on its backlog; a test's actor is let off lightly.
            end.dropped = !end.backlog.is_empty();
            end.backlog.clear();
        }
        self.finish(id);
    }

    /// Resets the connection from one end.
    pub(super) fn abort(&mut self, id: u32) {
        let end = self.end(id);
        end.owner = Owner::Nobody;
        end.closed = true;
        end.write = Write::Broken;
        end.backlog.clear();
        if let Some(peer) = end.peer {
            self.send_reset(id, peer);
        }
    }

    pub(super) fn cut(&mut self, endpoint: u64) {
        let id = u32::try_from(endpoint).expect("an endpoint of this network");
        if let Some(peer) = self.end(id).peer {
            self.send_reset(id, peer);
            self.send_reset(peer, id);
        }
    }

    pub(super) fn silence(&mut self, endpoint: u64) {
        let id = u32::try_from(endpoint).expect("an endpoint of this network");
        self.end(id).silent = true;
        if let Some(peer) = self.end(id).peer {
            self.end(peer).silent = true;
        }
    }

    /// Tells an end's owner that something happened to it.
    pub(super) fn notify(&mut self, id: u32) {
        let end = &mut self.ends[id as usize];
        if end.queued {
            return;
        }
        match end.owner {
            Owner::Nobody => return,
            Owner::Test => self.news.push_back(News::Endpoint(u64::from(id))),
            Owner::Worker { number, socket } => self.workers[number].ready.push(socket),
        }
        end.queued = true;
    }

    pub(super) fn notify_listener(&mut self, id: u32) {
        let listener = &mut self.listeners[id as usize];
        if listener.queued {
            return;
        }
        match listener.owner {
            Owner::Nobody => return,
            Owner::Test => self.news.push_back(News::Listener(u64::from(id))),
            Owner::Worker { number, socket } => self.workers[number].ready.push(socket),
        }
        listener.queued = true;
    }

    /// Hands an end or a listener to another owner, who hears of what is there already.
    pub(super) fn give(&mut self, what: What, owner: Owner) {
        match what {
            What::End(id) => {
                let end = self.end(id);
                (end.owner, end.queued) = (owner, false);
                if !end.incoming.is_empty() || end.after != After::More {
                    self.notify(id);
                }
            }
            What::Listener(id) => {
                let listener = self.listener(id);
                (listener.owner, listener.queued) = (owner, false);
                if !listener.waiting.is_empty() {
                    self.notify_listener(id);
                }
            }
            What::Nothing => {}
        }
    }

    pub(super) fn add(&mut self, end: End) -> u32 {
        self.ends.push(end);
        u32::try_from(self.ends.len() - 1).expect("a run is short")
    }

    pub(super) fn schedule(&mut self, at: u64, what: Arrival) {
        self.sequence += 1;
        self.agenda.push(Reverse(Due { at, sequence: self.sequence, what }));
    }

    pub(super) fn delayed(&mut self) -> u64 {
        let low = nanos(self.conditions.delay_min);
        let high = nanos(self.conditions.delay_max).max(low);
        let mut delay = low + self.random.below(high - low + 1);
        if high > low && self.random.chance(1, 50) {
            delay = delay.saturating_mul(1 + self.random.below(10));
        }
        self.now.saturating_add(delay)
    }

    /// Returns when something sent now by an end arrives: after all it sent before.
    pub(super) fn arrival(&mut self, from: u32) -> u64 {
        let at = self.delayed();
        let end = self.end(from);
        end.last_arrival = end.last_arrival.max(at);
        end.last_arrival
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
