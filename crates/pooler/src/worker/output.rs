//! Writing to clients and servers, through TLS where there is any.
//!
//! Invariant: bytes leave in the order of the calls; a peer that does not take them stops the
//! other side from being read.
//! Not here: what is written.

use super::Worker;
use crate::engine::{Engine, Flow};

impl<E: Engine> Worker<E> {
    /// Writes to a client.
    pub(super) fn write_client(&mut self, index: usize, bytes: &[u8]) {
        if self.clients[index].tls.is_none() {
            self.write_client_raw(index, bytes);
            return;
        }
        let mut cipher = std::mem::take(&mut self.scratch.cipher);
        cipher.clear();
        let tls = self.clients[index].tls.as_mut().expect("checked above");
        // A session that cannot encrypt is broken: its next read reports it.
        if tls.send(bytes, &mut cipher).is_ok() {
            self.write_client_raw(index, &cipher);
        }
        self.scratch.cipher = cipher;
    }

    /// Writes to a client as it is.
    pub(super) fn write_client_raw(&mut self, index: usize, bytes: &[u8]) {
        let client = &mut self.clients[index];
        match self.engine.write(client.socket, bytes) {
            Flow::Sent => {}
            Flow::Blocked => client.blocked = true,
            // The end is read as well, in this turn or the next.
            Flow::Broken => self.engine.read(client.socket),
        }
    }

    /// Writes to a server.
    pub(super) fn write_server(&mut self, index: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.servers[index].tls.is_none() {
            self.write_server_raw(index, bytes);
            return;
        }
        let mut cipher = std::mem::take(&mut self.scratch.cipher);
        cipher.clear();
        let tls = self.servers[index].tls.as_mut().expect("checked above");
        if tls.send(bytes, &mut cipher).is_ok() {
            self.write_server_raw(index, &cipher);
        }
        self.scratch.cipher = cipher;
    }

    /// Writes to a server as it is.
    pub(super) fn write_server_raw(&mut self, index: usize, bytes: &[u8]) {
        let server = &mut self.servers[index];
        let Some(socket) = server.socket else { return };
        match self.engine.write(socket, bytes) {
            Flow::Sent => {}
            Flow::Blocked => server.blocked = true,
            Flow::Broken => self.engine.read(socket),
        }
    }
}
