//! Cancel requests: from the client that asks, to the server that runs the query, and the lease.
//!
//! Invariant: a cancel goes out only while the server still serves the client it is meant for, and
//! from then on the server is not reused until the cancel connection has ended.
//! Not here: the keys (`crate::cancel`).

use headpond_core::{Lane, Timestamp};
use headpond_wire::frontend;
use headpond_wire::startup::CancelRequest;

use super::client::{Phase, Wait};
use super::server::Stage;
use super::{KIND_CANCEL, Worker, token};
use crate::control::Mail;
use crate::engine::{Engine, Socket};
use crate::fault::{Fault, Severity};

/// A cancel on its way to a server.
pub struct Link {
    pub(super) socket: Socket,
    /// The server it is for: its place and generation here; `None` once that is gone.
    server: Option<(usize, u32)>,
    /// Which hand-out of the server it is meant for.
    uses: u64,
    sent: bool,
    request: Vec<u8>,
    /// Who asked for it, if anybody waits.
    requester: Option<(Lane, u64)>,
    /// When to give up.
    pub deadline: Timestamp,
}

impl<E: Engine> Worker<E> {
    /// A client asks for the cancellation of another one's query.
    pub(super) fn on_cancel_request(&mut self, index: usize, request: &CancelRequest) {
        self.clients[index].phase = Phase::Canceling;
        let Some(target) = self.shared.cancels.find(request.pid, &request.key) else {
            self.on_client_gone(index, "failed cancel request");
            return;
        };
        let (from, requester) = (self.lane, self.caller(index));
        if target.lane == self.lane {
            self.cancel_client(target.caller, from, requester);
        } else {
            let mail = Mail::Cancel { target: target.caller, from, requester };
            self.shared.post(target.lane, mail);
        }
    }

    /// Cancels what a client here is doing.
    pub(super) fn cancel_client(&mut self, target: u64, from: Lane, requester: u64) {
        let done = match self.client_of(target) {
            None => true,
            Some(index) => self.cancel_index(index, from, requester),
        };
        if done {
            self.cancel_done(from, requester);
        }
    }

    /// Returns true if the request is dealt with already.
    fn cancel_index(&mut self, index: usize, from: Lane, requester: u64) -> bool {
        let client = &self.clients[index];
        if matches!(client.phase, Phase::Admin(_)) {
            self.cancel_command(index);
            return true;
        }
        match (client.wait, client.server) {
            (Wait::Queued(_) | Wait::Delivery(_), _) if matches!(client.phase, Phase::Ready) => {
                self.cancel_waiting(index);
                true
            }
            // While its settings are applied, a cancel would hit our own statement.
            (Wait::Nothing, Some(server)) if client.query_since.is_some() => {
                !self.send_cancel(server, Some((from, requester)))
            }
            _ => true,
        }
    }

    /// The query has not left yet: it is answered here, and never sent.
    fn cancel_waiting(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let pool = std::sync::Arc::clone(client.pool());
        if let Wait::Queued(waiter) = client.wait {
            client.wait = Wait::Nothing;
            self.with_core(&pool, |core, now, _| core.abandon(now, waiter));
        }
        // A granted server that is still on its way finds nobody waiting and goes back.
        let client = &mut self.clients[index];
        client.wait = Wait::Nothing;
        let state = client.session.as_mut().expect("a ready client has a session");
        state.reject();
        let mut out = Vec::new();
        Fault::CanceledInQueue.encode(&mut out, Severity::Error);
        self.write_client(index, &out);
        if self.clients[index].held.is_empty() {
            self.arm_client(index);
        } else {
            self.resume(index);
        }
    }

    /// Cancels what a server does for a client that is gone; nobody waits for it. A statement of
    /// our own is left to end.
    pub(super) fn cancel_server(&mut self, server: usize) {
        if !self.servers[server].session().is_internal() {
            self.send_cancel(server, None);
        }
    }

    /// Opens the connection that carries the cancel; false if there is none to open.
    fn send_cancel(&mut self, place: usize, requester: Option<(Lane, u64)>) -> bool {
        let server = &self.servers[place];
        let Some(address) = server.address.clone() else { return false };
        if server.key.is_empty() {
            return false;
        }
        let mut request = Vec::new();
        frontend::cancel_request(&mut request, server.pid, &server.key);
        let deadline = self.due(server.pool.settings.load().cancel_wait_timeout);
        let entry = self.cancels.vacant_entry();
        let options = &self.view.socket_options;
        let Ok(socket) = self.engine.connect(&address, options, token(KIND_CANCEL, entry.key()))
        else {
            return false;
        };
        entry.insert(Link {
            socket,
            server: Some((place, server.generation)),
            uses: server.uses,
            sent: false,
            request,
            requester,
            deadline,
        });
        server.pool.stats[usize::from(self.lane.0)].cancels.add(1);
        self.servers[place].leases += 1;
        self.sweep_by(deadline);
        true
    }

    /// The cancel connection stands: send the request if it still concerns the same use.
    pub(super) fn on_cancel_connected(&mut self, index: usize, result: std::io::Result<()>) {
        let Some(link) = self.cancels.get_mut(index) else { return };
        let still = link.server.is_some_and(|(place, generation)| {
            self.servers.get(place).is_some_and(|s| {
                s.generation == generation
                    && s.uses == link.uses
                    && matches!(s.stage, Stage::Linked | Stage::Draining | Stage::Closing)
                    && s.session
                        .as_ref()
                        .is_some_and(|session| !session.is_settled() && !session.is_internal())
            })
        });
        if result.is_err() || !still {
            self.end_cancel(index, false);
            return;
        }
        link.sent = true;
        let socket = link.socket;
        let request = std::mem::take(&mut link.request);
        self.engine.write(socket, &request);
        self.engine.read(socket);
    }

    /// The server closed the cancel connection: it has acted on the request.
    pub(super) fn on_cancel_bytes(&mut self, index: usize, data: &[u8]) {
        if data.is_empty() {
            self.end_cancel(index, false);
        } else if let Some(link) = self.cancels.get(index) {
            self.engine.read(link.socket);
        }
    }

    /// A cancel is over; `late` if it took too long and the server cannot be trusted any more.
    pub(super) fn end_cancel(&mut self, index: usize, late: bool) {
        let Some(link) = self.cancels.try_remove(index) else { return };
        self.engine.close(link.socket);
        if let Some((from, requester)) = link.requester {
            self.cancel_done(from, requester);
        }
        let Some((place, generation)) = link.server else { return };
        let Some(server) = self.servers.get_mut(place) else { return };
        if server.generation != generation {
            return;
        }
        server.leases = server.leases.checked_sub(1).expect("each link took one lease");
        server.lease_broken |= late && link.sent;
        if server.leases == 0 && matches!(server.stage, Stage::Leased) {
            self.finish_drain(place);
        }
    }

    /// A server is gone: cancels on their way to it concern nobody.
    pub(super) fn detach_cancels(&mut self, place: usize, generation: u32) {
        for (_, link) in &mut self.cancels {
            if link.server == Some((place, generation)) {
                link.server = None;
            }
        }
    }

    fn cancel_done(&mut self, from: Lane, requester: u64) {
        if from == self.lane {
            self.on_cancel_done(requester);
        } else {
            self.shared.post(from, Mail::CancelDone { requester });
        }
    }

    /// Closes the connection of the client that asked: that is its answer.
    pub(super) fn on_cancel_done(&mut self, requester: u64) {
        if let Some(index) = self.client_of(requester) {
            self.on_client_gone(index, "successfully sent cancel request");
        }
    }
}
