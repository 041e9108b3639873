//! Parting: a server leaves its client and goes back to the pool, or is closed.
//!
//! Invariant: only `give_back` returns a server to the pool, and only after the reuse predicate
//! (`headpond_wire::session::reuse`) agreed; in doubt the server is closed.
//! Not here: joining (`link.rs`).

use std::sync::Arc;

use headpond_core::{CloseReason, ConnId, Failure, Fate};
use headpond_wire::Status;
use headpond_wire::frontend;
use headpond_wire::session::reuse::{self, Evidence, NotReusable};
use headpond_wire::session::{self, Internal, Mode, Orphan};

use super::client::{Client, Wait};
use super::link::Acquired;
use super::server::Stage;
use super::{Todo, Worker};
use crate::catalog::{Pool, PoolSettings};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::log::Level;

/// How long a closed server may take to end before its slot is given up.
const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

impl<E: Engine> Worker<E> {
    /// After bytes of a server: ends of queries, of internal exchanges, of links.
    pub(super) fn after_server(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let lane = usize::from(self.lane.0);
        let session = server.session.as_mut().expect("only called for logged-in servers");
        let events = session.take_events();
        let stats = &server.pool.stats[lane];
        stats.count(&events);
        if let Some(finished) = session.take_internal() {
            self.on_internal_done(index, finished);
            return;
        }
        let settled = session.is_settled();
        match server.client {
            Some(client) if settled => self.on_settled(index, client),
            Some(client) => {
                if self.clients[client].full {
                    self.clients[client].full = false;
                    self.resume(client);
                }
                self.arm_server(index);
            }
            None => {
                if settled && matches!(server.stage, Stage::Draining) {
                    self.finish_drain(index);
                } else {
                    self.check_idle_server(index);
                }
            }
        }
    }

    /// Nothing is owed: the query is over, perhaps the transaction and the link.
    fn on_settled(&mut self, index: usize, client: usize) {
        let now = self.now;
        let server = &mut self.servers[index];
        let status = server.session().status();
        let pool = Arc::clone(&server.pool);
        let stats = &pool.stats[usize::from(self.lane.0)];
        let state = &mut self.clients[client];
        if let Some(since) = state.query_since.take() {
            let took = now.since(since);
            stats.query_time.add(nanos(took));
            stats.query_seconds.record(took);
        }
        let settings = pool.settings.load();
        if status == Status::Idle {
            if let Some(since) = state.transaction_since.take() {
                let took = now.since(since);
                stats.transaction_time.add(nanos(took));
                stats.transaction_seconds.record(took);
            }
            state.idle_since = None;
            state.request_at = now;
            if settings.session.mode != Mode::Session {
                self.part(client, index, &settings);
                return;
            }
            if settings.fast_close && self.is_outdated(index) {
                drop(settings);
                self.fail_client(client, &Fault::ServerLost("database configuration changed"));
                return;
            }
        } else {
            state.idle_since = Some(now);
            self.watch_idle_transaction(&settings);
        }
        if self.clients[client].full {
            self.clients[client].full = false;
            self.resume(client);
        }
        self.arm_server(index);
    }

    /// Returns true if a server is of before the last RECONNECT or change of its settings.
    fn is_outdated(&self, index: usize) -> bool {
        let server = &self.servers[index];
        server.pool.core.lock().is_outdated(server.conn)
    }

    /// Parts clients of session pools from outdated servers (`server_fast_close`); a transaction
    /// is left to its end, where `on_settled` does it.
    pub(super) fn close_outdated(&mut self) {
        let due: Vec<(usize, u64)> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                let Some(place) = client.server else { return false };
                let server = &self.servers[place];
                let settings = server.pool.settings.load();
                let session = server.session.as_ref();
                settings.fast_close
                    && settings.session.mode == Mode::Session
                    && matches!(server.stage, Stage::Linked)
                    && session.is_some_and(|s| s.is_settled() && s.status() == Status::Idle)
                    && self.is_outdated(place)
            })
            .map(|(index, client)| (index, client.id))
            .collect();
        for (index, id) in due {
            if self.clients.get(index).is_some_and(|client| client.id == id) {
                self.fail_client(index, &Fault::ServerLost("database configuration changed"));
            }
        }
    }

    /// After client bytes: a fabricated answer may have ended the transaction already.
    pub(super) fn settle_server_of(&mut self, index: usize) {
        let client = &self.clients[index];
        let Some(place) = client.server else { return };
        if client.wait == Wait::Settling {
            return;
        }
        let server = &mut self.servers[place];
        let session = server.session();
        // Only an exchange that was answered entirely here (no reply outstanding) ends like this.
        if session.is_settled() && client.query_since.is_some() {
            self.on_settled(place, index);
        }
    }

    /// Ends a link in order: the transaction is over.
    fn part(&mut self, client: usize, index: usize, settings: &PoolSettings) {
        let server = &mut self.servers[index];
        let state = &mut self.clients[client];
        session::part(
            state.session.as_mut().expect("a linked client has a session"),
            server.session.as_mut().expect("a linked server has a session"),
        );
        state.server = None;
        server.client = None;
        server.request_at = self.now;
        self.watch_idle_client(settings);
        self.give_back(index);
        let state = &self.clients[client];
        if !state.held.is_empty() || state.full {
            self.clients[client].full = false;
            self.resume(client);
        } else if !self.give_away(client) {
            self.arm_client(client);
        }
    }

    /// Everything the predicate looks at.
    fn evidence(&self, index: usize) -> Evidence {
        let server = &self.servers[index];
        let unsent = server.socket.map_or(0, |socket| self.engine.unsent(socket));
        let mut evidence =
            server.session.as_ref().map_or_else(Evidence::unknown, session::ServerState::evidence);
        evidence.unsent_bytes = unsent > 0 || server.blocked;
        evidence.unread_bytes = !server.held.is_empty();
        evidence.cancel_lease = server.leases > 0;
        evidence.close_needed = server.lease_broken;
        evidence.violation_seen |= server.violated;
        evidence
    }

    /// Asked again at every hand-out: a server that is not clean here is a defect of ours.
    pub(super) fn assert_reusable(&self, index: usize) {
        if let Err(reason) = self.at_hand_out(index) {
            panic!("a server that is not reusable was handed out: {reason:?}");
        }
    }

    /// What the predicate says of an idle server that is about to be handed out.
    pub(super) fn at_hand_out(&self, index: usize) -> Result<(), NotReusable> {
        let mut evidence = self.evidence(index);
        // Marked for closing while idle: the core closes it at release, it may serve once more.
        evidence.close_needed = false;
        reuse::reusable(&evidence)
    }

    /// Gives a server without a client back to the pool.
    fn give_back(&mut self, index: usize) {
        match reuse::reusable(&self.evidence(index)) {
            Ok(()) => {
                let fate = if self.needs_reset(index) { Fate::Reset } else { Fate::Reuse };
                self.release(index, fate);
            }
            Err(NotReusable::CancelLease) => {
                self.servers[index].stage = Stage::Leased;
                self.arm_server(index);
            }
            Err(reason) => {
                let close = match reason {
                    NotReusable::CloseNeeded => CloseReason::Renewed,
                    _ => CloseReason::Unclean,
                };
                if close == CloseReason::Unclean {
                    self.log_server(index, Level::Warning, reason.as_str());
                }
                self.release(index, Fate::Discard(close));
            }
        }
    }

    fn needs_reset(&self, index: usize) -> bool {
        let settings = self.servers[index].pool.settings.load();
        !settings.reset_query.is_empty()
            && (settings.session.mode == Mode::Session || settings.reset_always)
    }

    fn release(&mut self, index: usize, fate: Fate) {
        let server = &mut self.servers[index];
        server.stage = Stage::Idle;
        server.request_at = self.now;
        let (pool, conn) = (Arc::clone(&server.pool), server.conn);
        self.with_core(&pool, |core, now, lane| core.release(now, conn, lane, fate));
        self.arm_server(index);
    }

    /// An internal exchange ended.
    fn on_internal_done(&mut self, index: usize, finished: session::Finished) {
        let error = finished.error.as_ref().map(|e| e.text().into_owned());
        match finished.kind {
            Internal::Settle => self.on_settings_applied(index, error),
            Internal::Lookup => self.on_lookup_done(index, finished),
            Internal::Connect => match error {
                None => self.server_ready(index),
                Some(text) => self.server_login_failed(index, &text, None),
            },
            Internal::Check => self.on_served(index, error, "test query failed"),
            Internal::Reset => self.on_served(index, error, "reset query failed"),
            Internal::Rollback => match error {
                None => self.finish_drain(index),
                Some(_) => self.drop_server(index, "client disconnect while server was not ready"),
            },
        }
    }

    fn on_served(&mut self, index: usize, error: Option<String>, reason: &'static str) {
        let clean = self.servers[index].session().is_settled()
            && self.servers[index].session().status() == Status::Idle;
        match error {
            None if clean => self.server_ready(index),
            _ => self.drop_server(index, reason),
        }
    }

    fn on_settings_applied(&mut self, index: usize, error: Option<String>) {
        let Some(client) = self.servers[index].client else {
            self.finish_drain(index);
            return;
        };
        self.servers[index].deadline = super::NEVER;
        if self.servers[index].session().last_error().is_some() {
            // It ended while our own statement ran; nothing of the client's was sent.
            self.drop_unused(index, client);
            return;
        }
        self.clients[client].wait = Wait::Nothing;
        match error {
            None => {
                if self.settle(client, index) {
                    self.resume(client);
                }
                self.arm_server(index);
            }
            Some(text) => {
                self.fail_client(client, &Fault::SettingsRefused(text));
            }
        }
    }

    /// A server that was joined to a client died before it got anything of the client's: the
    /// client is served by another one, before everybody else.
    pub(super) fn drop_unused(&mut self, index: usize, client: usize) {
        self.servers[index].client = None;
        self.clients[client].server = None;
        self.drop_server(index, "server conn crashed?");
        self.serve_again(client);
    }

    fn serve_again(&mut self, client: usize) {
        self.clients[client].wait = Wait::Nothing;
        match self.acquire(client, true) {
            Ok(Acquired::Here(server)) => self.put_to_use(client, server),
            Ok(Acquired::Later) => {}
            Err(fault) => self.fail_client(client, &fault),
        }
    }

    /// The client of a server left and all it owed has come.
    pub(super) fn finish_drain(&mut self, index: usize) {
        let status = self.servers[index].session().status();
        if status == Status::Idle {
            self.give_back(index);
            return;
        }
        if self.servers[index].leases > 0 {
            // The cancel would hit our own statement: when it has ended this is asked again.
            self.servers[index].stage = Stage::Leased;
            self.arm_server(index);
            return;
        }
        let mut out = Vec::new();
        let limit = self.servers[index].pool.settings.load().cancel_wait_timeout;
        let deadline = self.due(limit);
        let server = &mut self.servers[index];
        server.session().begin_internal(Internal::Rollback, b"ROLLBACK", &mut out);
        server.stage = Stage::Draining;
        server.deadline = deadline;
        self.sweep_by(deadline);
        self.write_server(index, &out);
        self.arm_server(index);
    }

    /// Bytes came to a server in the pool: only harmless ones may.
    fn check_idle_server(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let session = server.session.as_ref().expect("only called for logged-in servers");
        if matches!(server.stage, Stage::Idle | Stage::Leased) && session.last_error().is_some() {
            let text = session.last_error().map(|e| e.text().into_owned()).unwrap_or_default();
            self.log_server(index, Level::Log, &format!("server said while idle: {text}"));
            self.drop_server(index, "server conn crashed?");
        } else {
            self.arm_server(index);
        }
    }

    /// A client is gone, for whatever reason.
    pub(super) fn on_client_gone(&mut self, index: usize, reason: &str) {
        if self.clients[index].pool.is_some() || self.is_logging_disconnects(index) {
            self.log_disconnect(index, reason);
        }
        self.leave_console(index);
        let mut client = self.clients.remove(index);
        if let Some(tls) = client.tls.as_mut() {
            // OpenSSL calls an end without this an error; libpq reports it for a cancel.
            let mut goodbye = Vec::new();
            tls.close(&mut goodbye);
            self.engine.write(client.socket, &goodbye);
        }
        self.engine.close(client.socket);
        self.farewell(&mut client);
        if let Some(server) = client.server {
            self.orphan(server);
        }
    }

    /// Gives back everything that a client held outside its worker's tables.
    pub(super) fn farewell(&mut self, client: &mut Client) {
        if client.key_pid != 0 {
            self.shared.cancels.revoke(client.key_pid);
        }
        if client.admitted {
            crate::catalog::leave(&self.shared.clients);
        }
        let Some(pool) = client.pool.take() else { return };
        if let Some(user) = client.user.take() {
            crate::catalog::leave(&pool.clients);
            crate::catalog::leave(&pool.database.clients);
            crate::catalog::leave(&user.clients);
        }
        if let Wait::Queued(waiter) = client.wait {
            self.with_core(&pool, |core, now, _| core.abandon(now, waiter));
        }
        self.shared.client_left();
    }

    /// The client of a server vanished: let it finish if that is safe, else close it.
    fn orphan(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.client = None;
        server.request_at = self.now;
        match session::orphan(server.session()) {
            Orphan::Idle => self.finish_drain(index),
            Orphan::Draining => {
                server.stage = Stage::Draining;
                let limit = server.pool.settings.load().cancel_wait_timeout;
                let deadline = self.due(limit);
                self.servers[index].deadline = deadline;
                self.sweep_by(deadline);
                self.cancel_server(index);
                self.arm_server(index);
            }
            Orphan::Close(reason) => {
                self.cancel_server(index);
                self.drop_server(index, reason);
            }
        }
    }

    /// Closes a server whose slot the core still counts as in use, idle or being served.
    pub(super) fn drop_server(&mut self, index: usize, reason: &'static str) {
        self.log_server_close(index, reason);
        let server = &mut self.servers[index];
        server.close_logged = true;
        if let Some(client) = server.client.take() {
            let is_over = self.has_last_word(index);
            self.clients[client].server = None;
            if is_over {
                self.on_client_gone(client, "server conn crashed?");
            } else {
                self.fail_client(client, &Fault::ServerLost("server conn crashed?"));
            }
        }
        let server = &mut self.servers[index];
        let (pool, conn) = (Arc::clone(&server.pool), server.conn);
        if !server.is_opening() {
            // The backend may still be at work: its slot stays taken until it has ended.
            self.release_unclean(index);
        } else {
            self.forget_server(index);
            self.with_core(&pool, |core, now, _| core.failed(now, conn, Failure::Lost));
            self.slot_freed(&pool);
        }
    }

    fn release_unclean(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.stage = Stage::Idle;
        let (pool, conn) = (Arc::clone(&server.pool), server.conn);
        self.with_core(&pool, |core, now, lane| {
            core.release(now, conn, lane, Fate::Discard(CloseReason::Unclean));
        });
    }

    /// The core wants a slot closed.
    pub(super) fn close_slot(&mut self, pool: &Arc<Pool>, conn: ConnId, reason: CloseReason) {
        // Absent: it died meanwhile, and whoever saw that has freed its slot.
        let Some(index) = self.server_of(pool, conn) else { return };
        if !self.servers[index].close_logged {
            self.log_server_close(index, reason.as_str());
        }
        let at_boundary = reuse::reusable(&self.evidence(index)).is_ok();
        let server = &mut self.servers[index];
        server.stage = Stage::Closing;
        server.deadline = self.now + CLOSE_WAIT;
        let deadline = server.deadline;
        self.sweep_by(deadline);
        if at_boundary {
            let mut out = Vec::new();
            frontend::terminate(&mut out);
            self.write_server(index, &out);
        }
        match self.servers[index].socket {
            // Its slot stays taken until the backend has really ended, so that the limit holds on
            // the database's side too.
            Some(socket) => {
                self.engine.shutdown_write(socket);
                self.engine.read(socket);
            }
            None => self.finish_close(index),
        }
    }

    /// A closing server has ended.
    pub(super) fn finish_close(&mut self, index: usize) {
        let (pool, conn) = (Arc::clone(&self.servers[index].pool), self.servers[index].conn);
        self.forget_server(index);
        self.with_core(&pool, |core, now, _| core.closed(now, conn));
        self.slot_freed(&pool);
    }

    /// A server's socket ended.
    pub(super) fn on_server_gone(&mut self, index: usize, error: Option<&std::io::Error>) {
        let server = &self.servers[index];
        if matches!(server.stage, Stage::Closing) {
            self.finish_close(index);
            return;
        }
        if server.is_opening() {
            let text = error.map_or_else(
                || "server closed the connection during login".to_owned(),
                |error| format!("server connection: {error}"),
            );
            self.server_login_failed(index, &text, None);
            return;
        }
        self.log_server_close(index, "server conn crashed?");
        let (pool, conn) = (Arc::clone(&server.pool), server.conn);
        let client = server.client;
        let is_over = self.has_last_word(index);
        self.forget_server(index);
        self.with_core(&pool, |core, now, _| core.failed(now, conn, Failure::Lost));
        self.slot_freed(&pool);
        let Some(client) = client else { return };
        self.clients[client].server = None;
        if self.clients[client].wait == Wait::Settling {
            self.serve_again(client);
        } else if is_over {
            self.on_client_gone(client, "server conn crashed?");
        } else {
            self.fail_client(client, &Fault::ServerLost("server conn crashed?"));
        }
    }

    /// Takes a server out of the tables and closes its socket.
    pub(super) fn forget_server(&mut self, index: usize) {
        let server = self.servers.remove(index);
        self.forget_conn(&server.pool, server.conn);
        if let Some(socket) = server.socket {
            self.engine.close(socket);
        }
        server.pool.stats[usize::from(self.lane.0)].closes.add(1);
        self.detach_cancels(index, server.generation);
    }

    /// A slot is free: its budgets have room again, for whoever waited for it.
    pub(super) fn slot_freed(&mut self, pool: &Arc<Pool>) {
        let mut starved = pool.database.budget.put();
        starved.append(&mut pool.user.budget.put());
        for pool in starved {
            pool.starved.store(false, std::sync::atomic::Ordering::Relaxed);
            self.todo.push_back(Todo::Feed(pool));
        }
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
