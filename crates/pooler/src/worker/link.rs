//! Joining clients and servers.
//!
//! Invariant: a server is joined to a client only after the reuse predicate agreed once more, and
//! a query leaves only after the client's settings hold on that server.
//! Not here: parting (`release.rs`), opening servers (`open.rs`).

use std::sync::Arc;

use headpond_core::{Acquire, ConnId, Lane, Refusal, WaiterId};
use headpond_wire::session::{self, ClientState, Context, Linked};

use super::client::{Phase, Wait};
use super::server::Stage;
use super::{Todo, Worker};
use crate::catalog::{Pool, WaitReason};
use crate::control::Mail;
use crate::engine::Engine;
use crate::fault::{self, Fault};
use crate::worker::RunPhase;

/// What came of asking a pool.
pub(super) enum Acquired {
    /// A server on this worker.
    Here(usize),
    /// The client waits.
    Later,
}

impl<E: Engine> Worker<E> {
    /// Finds a server for a client: `true` if it is joined and ready, `false` if it must wait.
    pub(super) fn find_server(&mut self, index: usize) -> Result<bool, Fault> {
        if self.shared.phase() != RunPhase::Running
            && self.shared.phase() != RunPhase::WaitingForClients
        {
            return Err(Fault::ShuttingDown);
        }
        match self.acquire(index, false)? {
            Acquired::Here(server) => Ok(self.link(index, server)),
            Acquired::Later => Ok(false),
        }
    }

    /// Asks the pool; `again` puts the client at the head because its server died on the way.
    pub(super) fn acquire(&mut self, index: usize, again: bool) -> Result<Acquired, Fault> {
        let pool = Arc::clone(self.clients[index].pool());
        if pool.removed.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Fault::DatabaseRemoved);
        }
        let caller = self.caller(index);
        let timeout = pool.settings.load().query_wait_timeout;
        let now = self.now;
        let since = if again { self.clients[index].wait_since } else { now };
        let deadline = (!timeout.is_zero()).then(|| since + timeout);
        let acquired = self.with_core(&pool, |core, now, lane| {
            if again {
                core.regrant(now, lane, caller, deadline)
            } else {
                core.acquire(now, lane, caller, deadline)
            }
        });
        let client = &mut self.clients[index];
        if !again {
            client.wait_since = now;
            client.request_at = now;
        }
        match acquired {
            Acquire::Granted { conn, home } if home == self.lane => {
                match self.server_of(&pool, conn) {
                    Some(server) if self.is_quiet(server) => Ok(Acquired::Here(server)),
                    // Something came in that was not read yet: it may not be handed on. Each
                    // such server is closed, so this ends.
                    Some(server) => {
                        self.drop_server(server, "idle server got dirty");
                        self.acquire(index, true)
                    }
                    None => Err(Fault::Defect),
                }
            }
            Acquire::Granted { conn, home } => {
                client.wait = Wait::Delivery(conn);
                client.reason = WaitReason::Preparing;
                let lane = self.lane;
                let pool = Arc::clone(&pool);
                self.shared.post(home, Mail::Yield { pool, conn, lane, caller });
                Ok(Acquired::Later)
            }
            Acquire::Queued(waiter) => {
                self.queue(index, &pool, waiter);
                Ok(Acquired::Later)
            }
            Acquire::Refused(refusal) => Err(self.refusal_fault(&pool, index, refusal)),
        }
    }

    fn queue(&mut self, index: usize, pool: &Arc<Pool>, waiter: WaiterId) {
        let reason = wait_reason(pool);
        let notify = pool.settings.load().query_wait_notify;
        let client = &mut self.clients[index];
        client.wait = Wait::Queued(waiter);
        client.reason = reason;
        client.notified = false;
        if !notify.is_zero() {
            let at = self.now + notify;
            self.sweep_by(at);
        }
    }

    /// A connection that is here was granted to a caller.
    pub(super) fn grant(&mut self, pool: &Arc<Pool>, conn: ConnId, lane: Lane, caller: u64) {
        let Some(server) = self.server_of(pool, conn) else {
            // It died between the grant and now; its slot was freed by whoever saw that.
            self.undelivered(pool, lane, caller);
            return;
        };
        if !self.is_quiet(server) {
            self.drop_server(server, "idle server got dirty");
            self.undelivered(pool, lane, caller);
            return;
        }
        if lane == self.lane {
            match self.client_of(caller) {
                Some(index) if self.clients[index].wait != Wait::Nothing => {
                    self.deliver_here(index, server);
                }
                _ => self.return_unused(server),
            }
            return;
        }
        let Some(socket) = self.servers[server].socket else { return };
        // A read that has completed lies among the events of this turn: it would be lost.
        let handle = if self.engine.is_armed(socket) { self.engine.detach(socket) } else { None };
        match handle {
            Some(handle) => {
                let mut server = self.servers.remove(server);
                self.forget_conn(pool, conn);
                server.socket = None;
                self.shared.post(lane, Mail::Deliver { server, handle, caller });
            }
            None => {
                // Something came in while it was idle: it may not be handed on.
                self.drop_server(server, "idle server got dirty");
                self.undelivered(pool, lane, caller);
            }
        }
    }

    /// Returns true if nothing was received from an idle server since it was given back: its read
    /// is still armed. A read that has completed lies among the events of this turn. Nor may it
    /// be in the middle of saying something unasked.
    fn is_quiet(&self, place: usize) -> bool {
        self.servers[place].socket.is_some_and(|socket| self.engine.is_armed(socket))
            && self.at_hand_out(place).is_ok()
    }

    fn undelivered(&mut self, pool: &Arc<Pool>, lane: Lane, caller: u64) {
        let pool = Arc::clone(pool);
        if lane == self.lane {
            self.on_undelivered(&pool, caller);
        } else {
            self.shared.post(lane, Mail::Undelivered { pool, caller });
        }
    }

    /// The server granted to a caller here died on its way: the caller is served next.
    pub(super) fn on_undelivered(&mut self, pool: &Arc<Pool>, caller: u64) {
        let Some(index) = self.client_of(caller) else { return };
        let same = self.clients[index].pool.as_ref().is_some_and(|p| Arc::ptr_eq(p, pool));
        if !same || matches!(self.clients[index].wait, Wait::Nothing | Wait::Settling) {
            return;
        }
        self.clients[index].wait = Wait::Nothing;
        match self.acquire(index, true) {
            Ok(Acquired::Here(server)) => self.put_to_use(index, server),
            Ok(Acquired::Later) => {}
            Err(fault) => self.fail_client(index, &fault),
        }
    }

    /// A server arrived from another worker.
    pub(super) fn on_delivered(
        &mut self,
        mut server: Box<super::server::Server>,
        handle: E::Handle,
        caller: u64,
    ) {
        let pool = Arc::clone(&server.pool);
        let conn = server.conn;
        let entry = self.servers.vacant_entry();
        let place = entry.key();
        let Ok(socket) = self.engine.attach(handle, super::token(super::KIND_SERVER, place)) else {
            self.with_core(&pool, |core, now, _| {
                core.failed(now, conn, headpond_core::Failure::Lost);
            });
            self.slot_freed(&pool);
            self.on_undelivered(&pool, caller);
            return;
        };
        self.load.servers_taken += 1;
        server.socket = Some(socket);
        self.generation = self.generation.wrapping_add(1);
        server.generation = self.generation;
        entry.insert(server);
        self.remember_conn(&pool, conn, place);
        self.engine.read(socket);
        match self.client_of(caller) {
            Some(index) if self.clients[index].wait != Wait::Nothing => {
                self.deliver_here(index, place);
            }
            _ => self.return_unused(place),
        }
    }

    fn deliver_here(&mut self, index: usize, server: usize) {
        let waited = self.now.since(self.clients[index].wait_since);
        let client = &mut self.clients[index];
        let lane = usize::from(self.lane.0);
        let stats = &client.pool().stats[lane];
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        stats.waits[client.reason as usize].record(waited);
        stats.wait_time.add(nanos);
        client.wait = Wait::Nothing;
        self.put_to_use(index, server);
    }

    /// Does with a server what the client wanted it for.
    pub(super) fn put_to_use(&mut self, index: usize, server: usize) {
        match &self.clients[index].phase {
            Phase::Login(login) if login.looking_up => self.run_lookup(index, server),
            Phase::Login(_) => {
                // It only waited for the welcome that this server brought.
                self.return_unused(server);
                self.resume_login(index);
            }
            _ => {
                if self.link(index, server) {
                    self.resume(index);
                }
            }
        }
    }

    pub(super) fn return_unused(&mut self, server: usize) {
        let (pool, conn) = (Arc::clone(&self.servers[server].pool), self.servers[server].conn);
        self.servers[server].stage = Stage::Idle;
        self.with_core(&pool, |core, now, lane| core.grant_undeliverable(now, conn, lane));
    }

    pub(super) fn resume(&mut self, index: usize) {
        let generation = self.clients[index].generation;
        self.todo.push_back(Todo::Resume(index, generation));
    }

    /// Joins a client and a server; returns true if the client may go on at once.
    fn link(&mut self, index: usize, place: usize) -> bool {
        self.assert_reusable(place);
        let server = &mut self.servers[place];
        let client = &mut self.clients[index];
        server.client = Some(index);
        server.stage = Stage::Linked;
        server.uses += 1;
        server.request_at = self.now;
        client.server = Some(place);
        let pool = Arc::clone(&server.pool);
        pool.stats[usize::from(self.lane.0)].assignments.add(1);
        self.settle(index, place)
    }

    /// Gives a server its client's settings; returns true if they hold already.
    pub(super) fn settle(&mut self, index: usize, place: usize) -> bool {
        let server = &mut self.servers[place];
        let client = &mut self.clients[index];
        let pool = Arc::clone(&server.pool);
        let settings = pool.settings.load();
        let mut cx = Context {
            settings: &settings.session,
            statements: &self.shared.statements,
            staged: &mut self.scratch.staged,
        };
        let state = client.session.as_mut().expect("a linked client has a session");
        if pool.key.replication.is_some() {
            // A walsender takes no SET; the server was opened for this client and stays with it.
            *state = ClientState::new(server.session().parameters().clone());
        }
        match session::link(state, server.session(), &mut cx) {
            Linked::Ready => true,
            Linked::Settling => {
                client.wait = Wait::Settling;
                let deadline = self.due(settings.connect_timeout);
                self.servers[place].deadline = deadline;
                self.sweep_by(deadline);
                let mut staged = std::mem::take(&mut self.scratch.staged.to_server);
                self.write_server(place, &staged);
                staged.clear();
                self.scratch.staged.to_server = staged;
                false
            }
        }
    }

    /// The pool will not serve a caller here.
    pub(super) fn refuse(&mut self, pool: &Arc<Pool>, caller: u64, refusal: Refusal) {
        let Some(index) = self.client_of(caller) else { return };
        if !matches!(self.clients[index].wait, Wait::Queued(_)) {
            return;
        }
        let fault = self.refusal_fault(pool, index, refusal);
        self.clients[index].wait = Wait::Nothing;
        self.fail_client(index, &fault);
    }

    fn refusal_fault(&mut self, pool: &Arc<Pool>, index: usize, refusal: Refusal) -> Fault {
        pool.stats[usize::from(self.lane.0)].refusals.add(1);
        let cached = pool.last_error.lock().clone();
        let reason = self.clients[index].reason.as_str();
        if matches!(self.clients[index].phase, Phase::Login(_))
            && matches!(refusal, Refusal::Timeout { .. })
        {
            return Fault::LoginTimeoutServerDown;
        }
        fault::from_refusal(refusal, cached, reason)
    }
}

/// Why a client that was just queued will wait.
fn wait_reason(pool: &Pool) -> WaitReason {
    let core = pool.core.lock();
    let counts = core.counts();
    if core.is_paused() {
        WaitReason::Paused
    } else if pool.starved.load(std::sync::atomic::Ordering::Relaxed) {
        WaitReason::Budget
    } else if counts.opening > 0 {
        WaitReason::Connecting
    } else if counts.checking + counts.resetting > 0 {
        WaitReason::Preparing
    } else if counts.total() == 0 && pool.last_error.lock().is_some() {
        WaitReason::ServerDown
    } else {
        WaitReason::PoolFull
    }
}
