//! Strangers wait in line: clients that are not logged in are served after everybody else.
//!
//! A turn first does all that clients and servers who are past their login need, then serves a
//! slice of the line. However many strangers come, and whatever they send, those who are in wait
//! for one slice and one stranger's step, not for all of them.
//!
//! Invariant: the events of one socket keep their order, also when it ceases to be a stranger's;
//! whatever stays in line holds none of the engine's memory; while the line is long, nobody is
//! accepted.
//! Not here: accepting (`accept.rs`), what strangers say (`login.rs`).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headpond_core::{Lane, Timestamp};

use super::client::{Client, Phase};
use super::{KIND_CLIENT, NEVER, Worker, split};
use crate::engine::{Chunk, Engine, Event, Peer, Socket};

/// How long a turn serves strangers before it looks after the others again.
const SLICE: Duration = Duration::from_micros(100);
/// How many a turn serves at most, however short the time they take.
const SLICE_MAX: usize = 32;
/// How many in line are too many to accept more: the system's queue holds the others.
const LONG: usize = 64;
/// How few in line there must be to accept again.
const SHORT: usize = 16;
/// How often it is looked whether other workers' lines have become short.
const LOOK: Duration = Duration::from_millis(1);

/// What is done when it is a stranger's turn.
enum Turn<H> {
    /// A connection becomes a client.
    Arrival { handle: H, peer: Peer, local: Peer },
    /// A client that is not logged in is heard, or learns that what it was told has left.
    Event { event: Event<H>, index: usize, socket: Socket },
}

/// Strangers, in the order they came.
pub(super) struct Line<H> {
    turns: VecDeque<Turn<H>>,
    /// How many at the front have been through `keep`.
    kept: usize,
    /// Nobody is accepted because some line is long.
    is_long: bool,
}

impl<H> Default for Line<H> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), kept: 0, is_long: false }
    }
}

impl<H> Line<H> {
    /// Gives the engine back the memory of what has to wait longer than a turn.
    fn keep(&mut self) {
        for turn in self.turns.iter_mut().skip(self.kept) {
            if let Turn::Event { event: Event::Read { data, .. }, .. } = turn
                && !data.is_empty()
            {
                *data = Chunk::from(data.to_vec());
            }
        }
        self.kept = self.turns.len();
    }

    fn pop(&mut self) -> Option<Turn<H>> {
        self.kept = self.kept.saturating_sub(1);
        self.turns.pop_front()
    }
}

impl<E: Engine> Worker<E> {
    /// Returns the place of the stranger that an event is of, or of whom more is in line.
    #[inline]
    pub(super) fn stranger_of(&self, event: &Event<E::Handle>) -> Option<usize> {
        let (token, socket) = match event {
            Event::Read { token, socket, .. }
            | Event::ReadFailed { token, socket, .. }
            | Event::Written { token, socket, .. } => (*token, *socket),
            Event::Accepted { .. }
            | Event::Connected { .. }
            | Event::AcceptFailed { .. }
            | Event::Woken => return None,
        };
        let (KIND_CLIENT, index) = split(token) else { return None };
        let client = self.clients.get(index)?;
        (client.socket == socket && must_wait(client)).then_some(index)
    }

    /// Puts an event of this stranger in line.
    pub(super) fn line_up(&mut self, index: usize, event: Event<E::Handle>) {
        let client = &mut self.clients[index];
        client.in_line += 1;
        self.line.turns.push_back(Turn::Event { event, index, socket: client.socket });
    }

    /// A connection was accepted for a worker, here or elsewhere, and stands in line there.
    pub(super) fn count_arrival(&self, lane: Lane) {
        if let Some(load) = self.shared.loads.get(usize::from(lane.0)) {
            load.strangers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Puts a counted connection in this worker's line.
    pub(super) fn line_up_arrival(&mut self, handle: E::Handle, peer: Peer, local: Peer) {
        self.line.turns.push_back(Turn::Arrival { handle, peer, local });
    }

    /// Serves a slice of the line.
    pub(super) fn serve_line(&mut self) {
        if self.line.turns.is_empty() && !self.line.is_long {
            return;
        }
        let until = self.engine.now() + SLICE;
        for _ in 0..SLICE_MAX {
            let Some(turn) = self.line.pop() else { break };
            self.serve_stranger(turn);
            self.finish_todo();
            if self.engine.now() >= until {
                break;
            }
        }
        self.line.keep();
        self.watch_length();
    }

    fn serve_stranger(&mut self, turn: Turn<E::Handle>) {
        match turn {
            Turn::Arrival { handle, peer, local } => {
                self.load_of().strangers.fetch_sub(1, Ordering::Relaxed);
                self.take_client(handle, peer, local);
            }
            Turn::Event { event, index, socket } => {
                if let Some(client) = self.clients.get_mut(index)
                    && client.socket == socket
                {
                    client.in_line -= 1;
                }
                self.handle(event);
            }
        }
    }

    /// When the worker must turn for the line's sake.
    pub(super) fn line_deadline(&self) -> Timestamp {
        if !self.line.turns.is_empty() {
            self.now
        } else if self.line.is_long {
            self.now + LOOK
        } else {
            NEVER
        }
    }

    /// Stops accepting while a line is long, and goes on once all are short.
    fn watch_length(&mut self) {
        if self.listeners.is_empty() {
            self.line.is_long = false;
            return;
        }
        let others = self.shared.loads.iter().map(|l| l.strangers.load(Ordering::Relaxed)).max();
        let longest = self.line.turns.len().max(others.unwrap_or(0) as usize);
        if !self.line.is_long && longest > LONG {
            self.line.is_long = true;
            for listener in &self.listeners {
                self.engine.pause_accept(listener.socket());
            }
        } else if self.line.is_long && longest <= SHORT {
            self.line.is_long = false;
            // Out of descriptors: the end of that pause resumes.
            if self.accept_again == NEVER {
                self.resume_listeners();
            }
        }
    }

    /// Whether accepting has to wait for the line.
    pub(super) fn is_line_long(&self) -> bool {
        self.line.is_long
    }
}

/// Strangers wait, and whoever has ceased to be one while something of it is in line.
fn must_wait(client: &Client) -> bool {
    client.in_line > 0 || matches!(client.phase, Phase::Login(_) | Phase::Canceling)
}
