//! New clients: from the listener to a place on some worker.
//!
//! Invariant: a client lives on one worker at a time; out of descriptors never means spinning.
//! Not here: what the client says first (`login.rs`).

use std::io;

use headpond_wire::login::accept::{Accept, TlsOffer};

use super::client::Client;
use super::login::Login;
use super::{KIND_CLIENT, KIND_LISTENER, NEVER, Worker, token};
use crate::control::Mail;
use crate::engine::{Engine, Peer, Socket};
use crate::log::Level;

/// How long accepting pauses when the process is out of descriptors.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// A listening socket.
pub struct Listener {
    socket: Socket,
    reach: Reach,
}

impl Listener {
    pub(super) fn socket(&self) -> Socket {
        self.socket
    }
}

/// Who can connect to a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Other machines.
    Tcp,
    /// This machine.
    Unix,
}

impl<E: Engine> Worker<E> {
    /// Starts to accept on these sockets.
    pub(super) fn listen(&mut self, handles: Vec<E::Handle>, reach: Reach) {
        for handle in handles {
            let place = token(KIND_LISTENER, self.listeners.len());
            match self.engine.listen(handle, place) {
                Ok(socket) => self.listeners.push(Listener { socket, reach }),
                Err(error) => {
                    self.shared.log.line(Level::Error, &format!("cannot listen: {error}"));
                }
            }
        }
    }

    /// Closes the listeners that `which` names.
    pub(super) fn stop_listening(&mut self, which: impl Fn(Reach) -> bool) {
        let all = std::mem::take(&mut self.listeners);
        let (closing, staying): (Vec<_>, Vec<_>) = all.into_iter().partition(|l| which(l.reach));
        self.listeners = staying;
        for listener in closing {
            self.engine.close(listener.socket);
        }
    }

    /// Somebody connected.
    pub(super) fn on_accepted(
        &mut self,
        listener: usize,
        handle: E::Handle,
        peer: Peer,
        local: Peer,
    ) {
        let lane = self.shared.place();
        self.count_arrival(lane);
        if lane == self.lane {
            self.line_up_arrival(handle, peer, local);
        } else {
            self.shared.post(lane, Mail::Accepted { handle, peer, local, listener });
        }
    }

    /// Makes a client of a connection.
    pub(super) fn take_client(&mut self, handle: E::Handle, peer: Peer, local: Peer) {
        let generation = self.next_generation();
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        let socket = match self.engine.attach(handle, token(KIND_CLIENT, index)) {
            Ok(socket) => socket,
            Err(error) => {
                self.shared.log.line(Level::Error, &format!("cannot serve a client: {error}"));
                return;
            }
        };
        let is_unix = matches!(peer, Peer::Unix { .. });
        let offer = if self.view.client_tls.is_none() || is_unix {
            TlsOffer::Disabled
        } else {
            TlsOffer::Offered
        };
        let login = Login::new(Accept::new(offer));
        let id = self.shared.number();
        let client = Client::new(id, generation, socket, peer, local, login, self.now);
        entry.insert(Box::new(client));
        let timeout = self.view.config.global.client_login_timeout;
        if !timeout.is_zero() {
            let at = self.now + timeout;
            self.sweep_by(at);
        }
        self.engine.read(socket);
    }

    /// Accepting failed: wait a little, existing clients are served meanwhile.
    pub(super) fn on_accept_failed(&mut self, listener: usize, error: &io::Error) {
        let text = format!("accept failed, next try in {PAUSE:?}: {error}");
        self.shared.log.line(Level::Error, &text);
        if let Some(listener) = self.listeners.get(listener) {
            self.engine.pause_accept(listener.socket);
            self.accept_again = self.now + PAUSE;
        }
    }

    /// Resumes accepting when the pause is over.
    pub(super) fn accept_again(&mut self) {
        if self.now < self.accept_again {
            return;
        }
        self.accept_again = NEVER;
        if !self.is_line_long() {
            self.resume_listeners();
        }
    }

    pub(super) fn resume_listeners(&mut self) {
        for listener in &self.listeners {
            self.engine.resume_accept(listener.socket);
        }
    }
}
