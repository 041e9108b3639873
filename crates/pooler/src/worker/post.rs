//! Mail from other threads, carried out.
//!
//! Invariant: mail about somebody who is gone does nothing.
//! Not here: what each kind means (`crate::control`).

use std::sync::Arc;

use headpond_core::Lane;
use headpond_wire::backend::Status;
use headpond_wire::startup;

use super::Worker;
use super::accept::Reach;
use super::client::{Client, Phase, Wait};
use super::server::{Server, Stage};
use crate::admin::show::{ClientRow, ClientState, Replication, ServerRow, ServerState};
use crate::catalog::Pool;
use crate::control::{Collector, Mail, Select};
use crate::engine::{Engine, Peer};
use crate::fault::Fault;

impl<E: Engine> Worker<E> {
    pub(super) fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.shared.mailboxes[usize::from(self.lane.0)].take(&mut mail);
        for letter in mail.drain(..) {
            self.on_mail(letter);
            self.finish_todo();
        }
        self.mail = mail;
    }

    fn on_mail(&mut self, mail: Mail<E>) {
        match mail {
            Mail::Accepted { handle, peer, local, .. } => {
                self.line_up_arrival(handle, peer, local);
            }
            Mail::Client { client, handle } => self.adopt(client, handle),
            Mail::Command { pool, command } => self.carry_out(&pool, command),
            Mail::Yield { pool, conn, lane, caller } => self.grant(&pool, conn, lane, caller),
            Mail::Deliver { server, handle, caller } => self.on_delivered(server, handle, caller),
            Mail::Undelivered { pool, caller } => self.on_undelivered(&pool, caller),
            Mail::Cancel { target, from, requester } => {
                self.cancel_client(target, from, requester);
            }
            Mail::CancelDone { requester } => self.on_cancel_done(requester),
            Mail::ServerSalted { server, salted } => self.on_server_salted(server, &salted),
            Mail::ClientSecret { caller, secret } => self.on_client_secret(caller, &secret),
            Mail::Resolved { server, result } => self.on_resolved(server, result),
            Mail::AdminReply { caller, bytes, close } => {
                self.on_admin_reply(caller, &bytes, close);
            }
            Mail::Poke { pool } => self.with_core(&pool, |core, now, _| core.handle_timeout(now)),
            Mail::Collect(collector) => self.collect(&collector),
            Mail::CloseClients(select) => self.close_clients(&select),
            Mail::Reloaded => self.on_reloaded(),
            Mail::Forgotten { numbers } => self.forget_pools(&numbers),
            Mail::StopListening => self.stop_listening(|reach| reach == Reach::Tcp),
            Mail::Listen { tcp, unix } => {
                self.listen(tcp, Reach::Tcp);
                self.listen(unix, Reach::Unix);
            }
            Mail::Stop => self.stop(),
        }
    }

    /// Fills in this worker's rows of SHOW CLIENTS and SHOW SERVERS.
    fn collect(&mut self, collector: &Arc<Collector>) {
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        if collector.clients {
            let all = self.clients.iter();
            clients.extend(all.map(|(index, client)| self.client_row(index, client)));
        }
        if collector.servers {
            // One that closes is of no use to anybody any more.
            let open = self.servers.iter().filter(|(_, s)| !matches!(s.stage, Stage::Closing));
            servers.extend(open.map(|(_, server)| self.server_row(server)));
        }
        collector.add(clients, servers);
    }

    fn client_row(&self, index: usize, client: &Client) -> ClientRow {
        let (database, user) = match (&client.phase, &client.pool) {
            (Phase::Admin(console), _) => ("pgbouncer".to_owned(), console.user.clone()),
            (Phase::Login(login), _) => (login.database.clone(), login.user.clone()),
            (_, Some(pool)) => (pool.database.name.clone(), client.user_name().to_owned()),
            _ => (String::new(), String::new()),
        };
        let state = match (&client.phase, client.wait, client.server) {
            (Phase::Canceling, ..) => ClientState::WaitingCancelRequest,
            // Who has proved who it is waits like any other for a server that brings the welcome.
            (Phase::Login(login), ..) if !login.authenticated => ClientState::Login,
            (Phase::Admin(_), ..) => ClientState::Active,
            (_, Wait::Queued(_) | Wait::Delivery(_), _) => ClientState::Waiting,
            (_, _, Some(_)) => ClientState::Active,
            _ => ClientState::Idle,
        };
        let link = client.server.map(|server| self.servers[server].id);
        let waits = matches!(client.wait, Wait::Queued(_) | Wait::Delivery(_));
        ClientRow {
            id: client.id,
            user,
            pool_user: client.pool.as_ref().map(|pool| pool.key.user.clone()),
            database,
            state,
            replication: replication_of(client.pool.as_ref()),
            peer: client.peer,
            local: client.local,
            connected_ago: self.now.since(client.connected_at),
            request_ago: self.now.since(client.request_at),
            wait: waits.then(|| self.now.since(client.wait_since)),
            wait_reason: waits.then(|| client.reason.as_str()),
            link,
            remote_pid: client.server.map_or(0, |server| self.servers[server].pid),
            tls: client.tls.as_ref().map(|tls| tls.describe()),
            application_name: client
                .session
                .as_ref()
                .and_then(|session| session.wanted(b"application_name"))
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            prepared_statements: client.session.as_ref().map_or(0, |s| s.statements()),
            close_needed: false,
            lane: self.lane.0,
            admin: self.is_console(index),
        }
    }

    fn server_row(&self, server: &Server) -> ServerRow {
        let check_after = server.pool.settings.load().policy.check_after;
        let rested = self.now.since(server.request_at);
        let state = match server.stage {
            Stage::Idle if check_after.is_some_and(|after| rested >= after) => ServerState::Used,
            Stage::Idle => ServerState::Idle,
            Stage::Linked | Stage::Draining => ServerState::Active,
            Stage::Checking | Stage::Resetting | Stage::Setup => ServerState::Tested,
            Stage::Leased => ServerState::BeingCanceled,
            _ => ServerState::New,
        };
        ServerRow {
            id: server.id,
            user: server.pool.key.user.clone(),
            database: server.pool.key.database.clone(),
            state,
            replication: replication_of(Some(&server.pool)),
            address: server.address.clone(),
            local: server.socket.and_then(|socket| self.engine.local(socket)).map(Peer::Tcp),
            connected_ago: self.now.since(server.connected_at),
            request_ago: self.now.since(server.request_at),
            link: server.client.map(|client| self.clients[client].id),
            remote_pid: server.pid,
            tls: server.tls.as_ref().map(|tls| tls.describe()),
            application_name: server
                .session
                .as_ref()
                .and_then(|session| session.parameters().get(b"application_name"))
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            prepared_statements: server.session.as_ref().map_or(0, |s| s.statements()),
            close_needed: server.pool.core.lock().is_outdated(server.conn),
            lane: self.lane.0,
            idles_in_transaction: server
                .session
                .as_ref()
                .is_some_and(|session| session.owed() == 0 && session.status() != Status::Idle),
        }
    }

    fn close_clients(&mut self, select: &Select) {
        let chosen: Vec<(usize, u64)> = self
            .clients
            .iter()
            .filter(|(index, client)| match select {
                Select::All => !self.is_console(*index),
                Select::Database(name) => {
                    client.pool.as_ref().is_some_and(|pool| pool.database.name == *name)
                }
                Select::Id(id) => client.id == *id,
            })
            .map(|(index, client)| (index, client.id))
            .collect();
        for (index, id) in chosen {
            if self.clients.get(index).is_some_and(|c| c.id == id) {
                self.fail_client(index, &Fault::Killed);
            }
        }
    }

    /// The catalog was replaced.
    fn on_reloaded(&mut self) {
        self.view = self.shared.catalog.view();
        let removed: Vec<(usize, u64)> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                client
                    .pool
                    .as_ref()
                    .is_some_and(|pool| pool.removed.load(std::sync::atomic::Ordering::Relaxed))
            })
            .map(|(index, client)| (index, client.id))
            .collect();
        for (index, id) in removed {
            if self.clients.get(index).is_some_and(|c| c.id == id) {
                self.fail_client(index, &Fault::DatabaseRemoved);
            }
        }
        self.close_outdated();
        // New timeouts may be shorter than what the next sweep was planned for.
        let now = self.now;
        self.sweep_by(now);
    }

    /// Ends everything here: clients hear why, servers are told goodbye.
    fn stop(&mut self) {
        self.stop_listening(|_| true);
        let clients: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        for index in clients {
            if self.clients.contains(index) {
                self.fail_client(index, &Fault::ShuttingDown);
            }
        }
        self.finish_todo();
        let mut goodbye = Vec::new();
        headpond_wire::frontend::terminate(&mut goodbye);
        let servers: Vec<usize> = self.servers.iter().map(|(index, _)| index).collect();
        for index in servers {
            if matches!(self.servers[index].stage, Stage::Idle) {
                self.write_server(index, &goodbye);
            }
            if let Some(socket) = self.socket_of(index) {
                self.engine.close(socket);
            }
        }
        self.stopping = true;
    }

    /// How many clients, servers and cancels are here, for tests.
    #[must_use]
    pub fn population(&self) -> [usize; 3] {
        [self.clients.len(), self.servers.len(), self.cancels.len()]
    }

    /// How many clients and servers came from other workers, for tests.
    #[must_use]
    pub fn moves(&self) -> [u64; 2] {
        [self.load.clients_taken, self.load.servers_taken]
    }

    /// This worker's lane, for tests.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

fn replication_of(pool: Option<&Arc<Pool>>) -> Replication {
    match pool.and_then(|pool| pool.key.replication) {
        Some(startup::Replication::Logical) => Replication::Logical,
        Some(startup::Replication::Physical) => Replication::Physical,
        None => Replication::None,
    }
}
