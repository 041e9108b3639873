//! What all workers of a process share.
//!
//! Invariant: nothing here is locked per byte or per message of an unprepared query.
//! Not here: the catalog's contents (`catalog/`).

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use headpond_core::{Lane, Timestamp};
use tokio::sync::mpsc;

use super::Worker;
use super::mailbox::Mailbox;
use crate::cancel::Registry;
use crate::catalog::{Catalog, StatementTable};
use crate::control::{Ask, Mail};
use crate::engine::Engine;
use crate::log::Log;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunPhase {
    /// Serving.
    Running,
    /// Waiting for clients to leave; no new ones.
    WaitingForClients,
    /// Waiting for servers to become free; no new clients, no new transactions.
    WaitingForServers,
    /// Closing everything.
    Stopping,
}

/// How busy a worker is; written by itself, read by whoever places clients.
#[derive(Default)]
pub struct Load {
    /// Share of a core, per mille, over the last measurement.
    pub busy: AtomicU32,
    /// Clients.
    pub clients: AtomicU32,
    /// Connections that were accepted for it and wait for their first look.
    pub strangers: AtomicU32,
    /// Nanoseconds of the clock at the last turn (liveness).
    pub turn_at: AtomicU64,
    /// Turns so far.
    pub turns: AtomicU64,
}

/// What all workers share.
pub struct Shared<E: Engine> {
    /// Databases, users, pools, configuration.
    pub catalog: Catalog,
    /// One per worker.
    pub mailboxes: Vec<Mailbox<E>>,
    /// One per worker.
    pub loads: Vec<Load>,
    /// Cancel keys.
    pub cancels: Registry,
    /// Prepared statements of all clients.
    pub statements: StatementTable,
    /// Numbers of clients and servers.
    pub next_id: AtomicU64,
    /// Clients that count in max_client_conn.
    pub clients: AtomicU32,
    /// A [`RunPhase`].
    pub phase: AtomicU8,
    /// A client left while the process was ending.
    pub left: tokio::sync::Notify,
    /// The way to the control plane.
    pub control: mpsc::UnboundedSender<Ask>,
    /// The log.
    pub log: Log,
}

impl<E: Engine> Shared<E> {
    /// Posts mail to a worker.
    pub fn post(&self, lane: Lane, mail: Mail<E>) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(lane.0)) {
            mailbox.post(mail);
        }
    }

    /// Posts mail to every worker.
    pub fn post_all(&self, mut mail: impl FnMut() -> Mail<E>) {
        for mailbox in &self.mailboxes {
            mailbox.post(mail());
        }
    }

    /// The next number for a client or a server.
    pub fn number(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// What the process is doing.
    pub fn phase(&self) -> RunPhase {
        match self.phase.load(Ordering::Acquire) {
            0 => RunPhase::Running,
            1 => RunPhase::WaitingForClients,
            2 => RunPhase::WaitingForServers,
            _ => RunPhase::Stopping,
        }
    }

    /// A client is gone: a drain may be over.
    pub fn client_left(&self) {
        if self.phase() != RunPhase::Running {
            self.left.notify_one();
        }
    }

    /// Changes what the process is doing.
    pub fn set_phase(&self, phase: RunPhase) {
        let value = match phase {
            RunPhase::Running => 0,
            RunPhase::WaitingForClients => 1,
            RunPhase::WaitingForServers => 2,
            RunPhase::Stopping => 3,
        };
        self.phase.store(value, Ordering::Release);
    }

    /// The worker that should take a new client: the first that has room, else the least busy.
    ///
    /// Filling one worker before waking the next keeps a small machine, which also runs the
    /// database, from paying wake-ups for idle cores.
    pub fn place(&self) -> Lane {
        let busy = |lane: &Load| lane.busy.load(Ordering::Relaxed);
        let room = self.loads.iter().position(|lane| busy(lane) < BUSY_ENOUGH);
        let index = room.unwrap_or_else(|| {
            let lanes = self.loads.iter().enumerate();
            lanes.min_by_key(|(_, lane)| busy(lane)).map_or(0, |(index, _)| index)
        });
        Lane(u16::try_from(index).unwrap_or(0))
    }
}

/// Share of a core (per mille) from which a worker gets no new clients while another has room.
const BUSY_ENOUGH: u32 = 600;
/// Share of a core (per mille) from which a worker gives clients away.
const BUSY_TOO: u32 = 750;
/// How often the load is measured while there is any.
const MEASURE_NANOS: u64 = 100_000_000;

/// Measures a worker's own load.
#[derive(Default)]
pub struct Meter {
    at: Timestamp,
    cpu: u64,
    /// Clients to hand to another worker at their next idle moment.
    pub give: u32,
    /// To whom.
    pub to: Option<Lane>,
    /// Clients that came from other workers.
    pub clients_taken: u64,
    /// Servers that came from other workers.
    pub servers_taken: u64,
}

impl<E: Engine> Worker<E> {
    pub(super) fn load_of(&self) -> &Load {
        &self.shared.loads[usize::from(self.lane.0)]
    }

    /// Publishes this worker's load, and decides whether it should give clients away.
    pub(super) fn measure_load(&mut self) {
        let load = &self.shared.loads[usize::from(self.lane.0)];
        load.turn_at.store(self.now.as_nanos(), Ordering::Relaxed);
        load.turns.store(load.turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let wall = self.now.as_nanos().saturating_sub(self.load.at.as_nanos());
        if wall < MEASURE_NANOS {
            return;
        }
        let cpu = u64::try_from(self.engine.busy_time().as_nanos()).unwrap_or(u64::MAX);
        let used = cpu.saturating_sub(self.load.cpu);
        let busy = u32::try_from(used.saturating_mul(1000) / wall.max(1)).unwrap_or(1000);
        self.load.at = self.now;
        self.load.cpu = cpu;
        let load = self.load_of();
        load.busy.store(busy, Ordering::Relaxed);
        let clients = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        load.clients.store(clients, Ordering::Relaxed);
        self.plan_giving(busy, clients);
    }

    fn plan_giving(&mut self, busy: u32, clients: u32) {
        self.load.give = 0;
        if busy < BUSY_TOO || clients < 2 || self.shared.loads.len() < 2 {
            return;
        }
        let own = usize::from(self.lane.0);
        let others = self.shared.loads.iter().enumerate().filter(|(index, _)| *index != own);
        let idlest = others.map(|(index, load)| (load.busy.load(Ordering::Relaxed), index)).min();
        let Some((other, index)) = idlest else { return };
        if other + 250 < busy {
            // Half of the difference, as a share of this worker's clients.
            let share = (busy - other) / 2;
            self.load.give = clients.saturating_mul(share) / busy.max(1);
            self.load.to = u16::try_from(index).ok().map(Lane);
        }
    }

    /// Moves an idle client to a less busy worker if that is due; returns true if it left.
    pub(super) fn give_away(&mut self, index: usize) -> bool {
        if self.load.give == 0 || !self.clients[index].is_movable() {
            return false;
        }
        // A read that has completed lies among the events of this turn: it would be lost.
        let socket = self.clients[index].socket;
        if !self.engine.is_armed(socket) {
            return false;
        }
        let Some(to) = self.load.to else { return false };
        let Some(handle) = self.engine.detach(socket) else { return false };
        self.load.give -= 1;
        let client = self.clients.remove(index);
        self.shared.post(to, Mail::Client { client, handle });
        true
    }

    /// Takes in a client that another worker gave away.
    pub(super) fn adopt(&mut self, mut client: Box<super::client::Client>, handle: E::Handle) {
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        let Ok(socket) = self.engine.attach(handle, super::token(super::KIND_CLIENT, index)) else {
            self.farewell(&mut client);
            return;
        };
        self.load.clients_taken += 1;
        client.socket = socket;
        self.generation = self.generation.wrapping_add(1);
        client.generation = self.generation;
        entry.insert(client);
        let target = crate::cancel::Target { lane: self.lane, caller: self.caller(index) };
        self.shared.cancels.moved(self.clients[index].key_pid, target);
        self.arm_client(index);
    }
}
