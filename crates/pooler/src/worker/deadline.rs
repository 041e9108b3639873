//! Times that run out: of clients, servers, cancels and pools.
//!
//! Invariant: a deadline fires at most `GRAIN` late and never early; while nothing is due, nothing
//! runs. Deadlines of clients and servers are not stored: they follow from their state, and
//! `sweep_at` is a lower bound of the earliest.
//! Not here: deadlines of waiters (`headpond_core`).

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use headpond_core::Timestamp;
use headpond_wire::backend::{self, Notice};
use headpond_wire::{Severity, SqlState};

use super::client::{Client, Phase, Wait};
use super::server::Stage;
use super::{NEVER, Worker};
use crate::catalog::{Pool, PoolSettings};
use crate::engine::Engine;
use crate::fault::Fault;

/// Sweeps are at least this far apart, so that dense deadlines cost little.
const GRAIN: Duration = Duration::from_millis(10);

/// What a client's deadline leads to.
enum Due {
    Fail(Fault),
    Notify,
}

impl<E: Engine> Worker<E> {
    /// When the worker must wake even if nothing comes.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.peek().map_or(NEVER, |Reverse((at, _))| *at);
        let next = timer.min(self.sweep_at).min(self.accept_again).min(self.line_deadline());
        (next != NEVER).then_some(next)
    }

    /// When a limit that begins now is over; never for a limit of zero.
    pub(super) fn due(&self, limit: Duration) -> Timestamp {
        if limit.is_zero() { NEVER } else { self.now + limit }
    }

    /// Makes sure that a sweep happens by then.
    pub(super) fn sweep_by(&mut self, at: Timestamp) {
        if at < self.sweep_at {
            self.sweep_at = at;
        }
    }

    /// Makes sure that this worker looks at a pool by then.
    pub(super) fn arm_pool(&mut self, pool: &Arc<Pool>, at: Timestamp) {
        let nanos = at.as_nanos();
        if pool.armed.load(Ordering::Relaxed) <= nanos {
            return;
        }
        pool.armed.store(nanos, Ordering::Relaxed);
        let id = pool.id as usize;
        if self.timed.len() <= id {
            self.timed.resize_with(id + 1, Weak::new);
        }
        // The number may have been another pool's, which was forgotten.
        if !std::ptr::eq(self.timed[id].as_ptr(), Arc::as_ptr(pool)) {
            self.timed[id] = Arc::downgrade(pool);
        }
        self.timers.push(Reverse((at, pool.id)));
    }

    /// Pools of these numbers are gone: their places in the tables hold no memory any more.
    pub(super) fn forget_pools(&mut self, numbers: &[u32]) {
        for number in numbers {
            let place = *number as usize;
            if let Some(pool) = self.timed.get_mut(place).filter(|pool| pool.strong_count() == 0) {
                *pool = Weak::new();
            }
            // A successor may have servers already.
            if let Some(row) = self.conns.get_mut(place).filter(|row| row.iter().all(|n| *n == 0)) {
                *row = Vec::new();
            }
        }
    }

    pub(super) fn fire_deadlines(&mut self) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop();
            let Some(pool) = self.timed.get(id as usize).and_then(Weak::upgrade) else { continue };
            pool.armed.store(u64::MAX, Ordering::Relaxed);
            self.with_core(&pool, |core, now, _| core.handle_timeout(now));
        }
        if self.now >= self.sweep_at {
            self.sweep();
        }
        if self.now >= self.accept_again {
            self.accept_again();
        }
    }

    /// Looks at every client, server and cancel, acts on what is due, and finds the next time.
    fn sweep(&mut self) {
        let now = self.now;
        let earliest = now + GRAIN;
        let mut next = NEVER;
        let mut due = Vec::new();
        let login = self.view.config.global.client_login_timeout;
        for (index, client) in &self.clients {
            for (at, what) in deadlines(client, login) {
                if at <= now {
                    due.push((index, client.id, what));
                } else {
                    next = next.min(at.max(earliest));
                }
            }
        }
        let mut late = Vec::new();
        for (index, server) in &self.servers {
            if server.deadline <= now {
                late.push(index);
            } else {
                next = next.min(server.deadline.max(earliest));
            }
        }
        let mut stuck = Vec::new();
        for (index, link) in &self.cancels {
            if link.deadline <= now {
                stuck.push(index);
            } else {
                next = next.min(link.deadline.max(earliest));
            }
        }
        self.sweep_at = next;
        for (index, id, what) in due {
            if self.clients.get(index).is_some_and(|c| c.id == id) {
                self.client_due(index, what);
            }
        }
        for index in late {
            self.server_due(index);
        }
        for index in stuck {
            self.end_cancel(index, true);
        }
    }

    fn client_due(&mut self, index: usize, what: Due) {
        match what {
            Due::Fail(fault) => self.fail_client(index, &fault),
            Due::Notify => {
                self.clients[index].notified = true;
                let mut out = Vec::new();
                backend::notice_response(
                    &mut out,
                    &Notice {
                        severity: Severity::Notice,
                        code: SqlState::SUCCESS,
                        message: b"No server connection available in postgres backend, \
                              client being queued",
                        detail: Some(self.clients[index].reason.as_str().as_bytes()),
                        hint: None,
                    },
                );
                self.write_client(index, &out);
            }
        }
    }

    fn server_due(&mut self, index: usize) {
        let Some(server) = self.servers.get(index) else { return };
        match server.stage {
            Stage::Closing => self.finish_close(index),
            Stage::Resolving => {
                self.server_login_failed(index, "connect timeout (DNS)", None);
            }
            _ if server.is_opening() => {
                self.server_login_failed(index, "connect timeout", None);
            }
            Stage::Checking => self.drop_server(index, "test query failed"),
            Stage::Resetting => self.drop_server(index, "reset query failed"),
            Stage::Draining => {
                self.drop_server(index, "client disconnected with query in progress");
            }
            Stage::Linked => {
                let client = server.client.filter(|c| self.clients[*c].wait == Wait::Settling);
                self.servers[index].deadline = NEVER;
                if let Some(client) = client {
                    // It does not take its next client's settings: another server will.
                    self.drop_unused(index, client);
                }
            }
            Stage::Idle | Stage::Leased => {
                self.servers[index].deadline = NEVER;
            }
            _ => {}
        }
    }

    /// A query begins: its limit, if any, must be watched.
    pub(super) fn watch_query(&mut self, settings: &PoolSettings) {
        let limits = [settings.query_timeout, settings.transaction_timeout];
        for limit in limits.into_iter().filter(|limit| !limit.is_zero()) {
            let at = self.now + limit;
            self.sweep_by(at);
        }
    }

    /// A client idles in a transaction: its limit, if any, must be watched.
    pub(super) fn watch_idle_transaction(&mut self, settings: &PoolSettings) {
        if !settings.idle_transaction_timeout.is_zero() {
            let at = self.now + settings.idle_transaction_timeout;
            self.sweep_by(at);
        }
    }

    /// A client is idle outside a transaction: its limit, if any, must be watched.
    pub(super) fn watch_idle_client(&mut self, settings: &PoolSettings) {
        if !settings.client_idle_timeout.is_zero() {
            let at = self.now + settings.client_idle_timeout;
            self.sweep_by(at);
        }
    }
}

/// The deadlines that follow from a client's state.
fn deadlines(client: &Client, login: Duration) -> impl Iterator<Item = (Timestamp, Due)> {
    let mut found: [Option<(Timestamp, Due)>; 4] = [const { None }; 4];
    let limit = |since: Timestamp, limit: Duration, fault: Fault| {
        (!limit.is_zero()).then(|| (since + limit, Due::Fail(fault)))
    };
    match (&client.phase, &client.pool) {
        (Phase::Login(state), _) => {
            let fault = if state.authenticated {
                Fault::LoginTimeoutServerDown
            } else {
                Fault::LoginTimeout
            };
            found[0] = limit(client.connected_at, login, fault);
        }
        (Phase::Canceling, _) => found[0] = limit(client.connected_at, login, Fault::LoginTimeout),
        (Phase::Ready, Some(pool)) => {
            let settings = pool.settings.load();
            if let Some(since) = client.query_since {
                found[0] = limit(since, settings.query_timeout, Fault::QueryTimeout);
            }
            if let Some(since) = client.idle_since {
                let fault = Fault::IdleTransactionTimeout;
                found[1] = limit(since, settings.idle_transaction_timeout, fault);
            }
            if let Some(since) = client.transaction_since {
                let fault = Fault::TransactionTimeout;
                found[2] = limit(since, settings.transaction_timeout, fault);
            }
            let idle = client.server.is_none() && client.wait == Wait::Nothing;
            if idle {
                let fault = Fault::ClientIdleTimeout;
                found[3] = limit(client.request_at, settings.client_idle_timeout, fault);
            } else if matches!(client.wait, Wait::Queued(_))
                && !client.notified
                && !settings.query_wait_notify.is_zero()
            {
                found[3] = Some((client.wait_since + settings.query_wait_notify, Due::Notify));
            }
        }
        _ => {}
    }
    found.into_iter().flatten()
}
