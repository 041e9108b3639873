//! What travels: cut into pieces, delayed, lost or broken on the way, and taken in at its end.
//!
//! Invariant: arrivals of one direction keep their order; only a reset may overtake.
//! Not here: what an owner does about it (`engine.rs`, `endpoint.rs`).

use super::News;
use super::state::{After, Arrival, Connect, End, State, Write};
use crate::engine::Address;

/// Connections that wait to be accepted, per listener; more are refused.
const QUEUE_MAX: usize = 512;

impl State {
    /// Sends as much of the backlog as there is room for, and the end if it is due.
    pub(super) fn flush(&mut self, id: u32) {
        let (capacity, segment_max) = (self.conditions.capacity, self.conditions.segment_max);
        let reset_rate = self.conditions.reset_per_million;
        while let end = self.end(id)
            && end.connect == Connect::Done
            && let Some(peer) = end.peer
            && !end.backlog.is_empty()
            && end.in_flight < capacity
        {
            let most = end.backlog.len().min(capacity - end.in_flight).min(segment_max.max(1));
            let is_short = self.random.chance(self.conditions.cut_per_mille, 1_000);
            let len = if is_short { 1 + self.random.index(most) } else { most };
            if self.random.chance(reset_rate, 1_000_000) {
                self.send_reset(id, peer);
                self.send_reset(peer, id);
                return;
            }
            let at = self.arrival(id);
            let end = self.end(id);
            let bytes = end.backlog.drain(..len).collect();
            end.in_flight += len;
            self.schedule(at, Arrival::Bytes { to: peer, bytes });
        }
        let end = self.end(id);
        if end.write == Write::Finishing && end.backlog.is_empty() && end.connect == Connect::Done {
            end.write = Write::Finished;
            if let Some(peer) = end.peer {
                let at = self.arrival(id);
                self.schedule(at, Arrival::End { to: peer });
            }
        }
    }

    /// A reset usually keeps its place in the line, and sometimes overtakes.
    pub(super) fn send_reset(&mut self, from: u32, to: u32) {
        let at = match self.random.chance(1, 4) && self.conditions.cut_per_mille > 0 {
            true => self.delayed(),
            false => self.arrival(from),
        };
        self.schedule(at, Arrival::Reset { to });
    }

    pub(super) fn arrive(&mut self, what: Arrival) {
        match what {
            Arrival::Request { from, to } => self.arrive_request(from, &to),
            Arrival::Answer { to, accepted } => self.arrive_answer(to, accepted),
            Arrival::Bytes { to, bytes } => self.arrive_bytes(to, bytes),
            Arrival::End { to } => {
                let end = self.end(to);
                if !end.silent && !end.closed && end.after == After::More {
                    end.after = After::End;
                    self.notify(to);
                }
            }
            Arrival::Reset { to } => {
                let end = self.end(to);
                if !end.silent && !end.closed && end.after != After::Reset {
                    end.after = After::Reset;
                    end.write = Write::Broken;
                    self.notify(to);
                }
            }
            Arrival::Room { to } => {
                self.end(to).room_announced = false;
                self.flush(to);
                if self.end(to).backlog.is_empty() {
                    self.notify(to);
                }
            }
            Arrival::Timer { key } => self.news.push_back(News::Timer(key)),
        }
    }

    fn arrive_request(&mut self, from: u32, to: &Address) {
        if self.end(from).closed || self.end(from).silent || self.unreachable.contains(to) {
            return;
        }
        let at = self.delayed();
        let listener = self.addresses.get(to).copied();
        let listener = listener.filter(|id| self.listener(*id).waiting.len() < QUEUE_MAX);
        if let Some(listener) = listener {
            // What the server's end sends at once must not arrive before the answer.
            let end = End { peer: Some(from), last_arrival: at, ..End::default() };
            let id = self.add(end);
            self.end(from).peer = Some(id);
            self.listener(listener).waiting.push_back(id);
            self.notify_listener(listener);
        }
        self.schedule(at, Arrival::Answer { to: from, accepted: listener.is_some() });
    }

    fn arrive_answer(&mut self, to: u32, accepted: bool) {
        let end = self.end(to);
        if end.silent {
            return;
        }
        if accepted {
            end.connect = Connect::Done;
            self.flush(to);
        } else {
            end.connect = Connect::Refused;
            end.write = Write::Broken;
        }
        self.notify(to);
    }

    fn arrive_bytes(&mut self, to: u32, bytes: Vec<u8>) {
        let end = self.end(to);
        if end.silent || end.after == After::Reset {
            return;
        }
        if end.closed {
            if let Some(peer) = end.peer {
                self.send_reset(to, peer);
            }
            return;
        }
        end.incoming.extend(bytes);
        self.notify(to);
    }
}
