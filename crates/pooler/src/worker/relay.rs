//! Bytes of a client on their way to its server, and back.
//!
//! Invariant: one function per direction calls the relay's decisions and moves what they say, in
//! order; a client that waits keeps its input, at most `HELD_MAX` bytes of it.
//! Not here: the decisions (`headpond_wire::session`), who gets which server (`link.rs`).

use std::ops::Range;

use headpond_wire::session::{self, Context, Step, Violation};

use super::client::{Phase, Wait};
use super::server::Stage;
use super::{HELD_MAX, Worker};
use crate::engine::Engine;
use crate::fault::{Fault, Severity};

/// Bytes of one input that go on untouched, until something else comes between them.
#[derive(Default)]
struct Run {
    direct: Range<usize>,
    copied: bool,
}

impl Run {
    /// Adds `input[range]`; `out` is used as soon as the bytes are not one piece any more.
    fn add(&mut self, out: &mut Vec<u8>, input: &[u8], range: Range<usize>) {
        if self.copied {
            out.extend_from_slice(&input[range]);
        } else if self.direct.is_empty() && out.is_empty() {
            self.direct = range;
        } else if self.direct.end == range.start && !self.direct.is_empty() {
            self.direct.end = range.end;
        } else {
            self.copy(out, input);
            out.extend_from_slice(&input[range]);
        }
    }

    /// Makes room for staged bytes: from here on everything is copied.
    fn copy(&mut self, out: &mut Vec<u8>, input: &[u8]) {
        if !self.copied {
            out.extend_from_slice(&input[self.direct.clone()]);
            self.direct = 0..0;
            self.copied = true;
        }
    }

    /// What is to be written: the untouched piece or the gathered copy.
    fn bytes<'a>(&self, out: &'a [u8], input: &'a [u8]) -> &'a [u8] {
        if self.copied || self.direct.is_empty() { out } else { &input[self.direct.clone()] }
    }
}

/// Why the pump stopped.
enum Stop {
    /// All input is used.
    Done,
    /// The rest needs something that is not there yet.
    Hold(usize),
    /// The client is finished with, and why.
    End(Option<Fault>),
}

impl<E: Engine> Worker<E> {
    /// Bytes came from a client's socket.
    pub(super) fn on_client_bytes(&mut self, index: usize, data: &[u8]) {
        if data.is_empty() {
            self.on_client_gone(index, "client unexpected eof");
            return;
        }
        let client = &mut self.clients[index];
        if client.tls.is_none() {
            self.on_client_plain(index, data);
            return;
        }
        let mut plain = std::mem::take(&mut self.scratch.plain);
        plain.clear();
        let tls = client.tls.as_mut().expect("checked above");
        let was_handshaking = tls.is_handshaking();
        let received = tls.receive(data, &mut plain);
        let mut cipher = std::mem::take(&mut self.scratch.cipher);
        cipher.clear();
        tls.take_output(&mut cipher);
        let is_handshaking = tls.is_handshaking();
        if !cipher.is_empty() {
            self.write_client_raw(index, &cipher);
        }
        self.scratch.cipher = cipher;
        match received {
            Err(error) => {
                let text = error.to_string();
                self.log_client(index, crate::log::Level::Warning, &text);
                self.on_client_gone(index, "TLS error");
            }
            Ok(received) => {
                if was_handshaking && !is_handshaking && !self.on_client_tls(index) {
                    return;
                }
                let id = self.clients[index].id;
                if plain.is_empty() {
                    self.arm_client(index);
                } else {
                    self.on_client_plain(index, &plain);
                }
                let alive = self.clients.get(index).is_some_and(|c| c.id == id);
                if alive && received.closed {
                    self.on_client_gone(index, "client unexpected eof");
                }
            }
        }
        self.scratch.plain = plain;
    }

    fn on_client_plain(&mut self, index: usize, data: &[u8]) {
        let client = &mut self.clients[index];
        match &client.phase {
            Phase::Ready => {
                if let Some(pool) = &client.pool {
                    pool.stats[usize::from(self.lane.0)].received.add(data.len() as u64);
                }
                if client.wait == Wait::Nothing && !client.full {
                    self.pump_client(index, data);
                } else {
                    client.held.extend_from_slice(data);
                    self.arm_client(index);
                }
            }
            Phase::Login(_) => self.pump_login(index, data),
            Phase::Admin(_) => self.pump_console(index, data),
            // The answer to a cancel request is our close; nothing may follow it.
            Phase::Canceling => self.arm_client(index),
        }
    }

    /// Arms the next read of a client unless something must happen first.
    pub(super) fn arm_client(&mut self, index: usize) {
        let client = &self.clients[index];
        let server_blocked = client.server.is_some_and(|s| self.servers[s].blocked);
        let room = client.held.len() < HELD_MAX.max(client.needs);
        if room && !server_blocked && !client.blocked {
            self.engine.read(client.socket);
        }
    }

    /// Moves a client's input on: what it held, then `fresh`.
    pub(super) fn pump_client(&mut self, index: usize, fresh: &[u8]) {
        let client = &mut self.clients[index];
        if client.held.is_empty() {
            self.pump_input(index, fresh);
            return;
        }
        let mut held = std::mem::take(&mut client.held);
        held.extend_from_slice(fresh);
        self.pump_input(index, &held);
        // Keep the memory if the rest went back into it; otherwise it is given back.
        drop(held);
    }

    fn pump_input(&mut self, index: usize, input: &[u8]) {
        let id = self.clients[index].id;
        let mut pos = 0;
        let mut run = Run::default();
        let stop = self.pump_steps(index, input, &mut pos, &mut run);
        self.flush_pump(index, input, &run);
        if self.clients.get(index).is_none_or(|c| c.id != id) {
            return;
        }
        match stop {
            Stop::Done => {}
            Stop::Hold(needs) => {
                let client = &mut self.clients[index];
                client.needs = needs;
                if pos < input.len() {
                    debug_assert!(client.held.is_empty());
                    client.held.extend_from_slice(&input[pos..]);
                }
            }
            Stop::End(None) => {
                self.on_client_gone(index, "client close request");
                return;
            }
            Stop::End(Some(fault)) => {
                self.fail_client(index, &fault);
                return;
            }
        }
        self.settle_server_of(index);
        if self.clients.get(index).is_some_and(|c| c.id == id) {
            self.arm_client(index);
        }
    }

    /// The one loop that asks the relay about client bytes.
    fn pump_steps(&mut self, index: usize, input: &[u8], pos: &mut usize, run: &mut Run) -> Stop {
        let Some(pool) = self.clients[index].pool.clone() else { return Stop::Done };
        let settings = pool.settings.load();
        while *pos < input.len() {
            let client = &mut self.clients[index];
            let server = client.server.map(|s| &mut self.servers[s]);
            let mut cx = Context {
                settings: &settings.session,
                statements: &self.shared.statements,
                staged: &mut self.scratch.staged,
            };
            let state = client.session.as_mut().expect("a ready client has a session");
            let step = session::from_client(
                state,
                server.and_then(|s| s.session.as_mut()),
                &input[*pos..],
                &mut cx,
            );
            let step = match step {
                Ok(step) => step,
                Err(violation) => return Stop::End(Some(violation_fault(violation))),
            };
            self.take_staged(run, input);
            match step {
                Step::Forward(n) => {
                    run.add(&mut self.scratch.to_server, input, *pos..*pos + n);
                    *pos += n;
                    if client_query_starts(&mut self.clients[index], self.now) {
                        self.watch_query(&settings);
                    }
                }
                Step::Swallow(n) => {
                    *pos += n;
                    if self.clients[index].server.is_some()
                        && client_query_starts(&mut self.clients[index], self.now)
                    {
                        self.watch_query(&settings);
                    }
                }
                Step::NeedServer => match self.find_server(index) {
                    Ok(true) => {}
                    Ok(false) => return Stop::Hold(0),
                    Err(fault) => return Stop::End(Some(fault)),
                },
                Step::NeedInput(n) => return Stop::Hold(n),
                Step::Full => {
                    self.clients[index].full = true;
                    return Stop::Hold(0);
                }
                Step::End => return Stop::End(None),
            }
        }
        Stop::Done
    }

    /// Puts what the relay staged behind what already runs.
    fn take_staged(&mut self, run: &mut Run, input: &[u8]) {
        let scratch = &mut self.scratch;
        if !scratch.staged.to_server.is_empty() {
            run.copy(&mut scratch.to_server, input);
            scratch.to_server.append(&mut scratch.staged.to_server);
        }
        if !scratch.staged.to_client.is_empty() {
            scratch.to_client.append(&mut scratch.staged.to_client);
        }
    }

    /// Writes what a pump gathered: first to the server, then the fabricated replies.
    fn flush_pump(&mut self, index: usize, input: &[u8], run: &Run) {
        let mut out = std::mem::take(&mut self.scratch.to_server);
        let bytes = run.bytes(&out, input);
        if !bytes.is_empty()
            && let Some(server) = self.clients[index].server
        {
            self.write_server(server, bytes);
        }
        out.clear();
        self.scratch.to_server = out;
        self.flush_to_client(index);
    }

    /// Writes the gathered replies to a client.
    pub(super) fn flush_to_client(&mut self, index: usize) {
        if self.scratch.to_client.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut self.scratch.to_client);
        self.write_client(index, &out);
        out.clear();
        self.scratch.to_client = out;
    }

    /// Bytes came from a server's socket.
    pub(super) fn on_server_bytes(&mut self, index: usize, data: &[u8]) {
        if data.is_empty() {
            self.on_server_gone(index, None);
            return;
        }
        let server = &mut self.servers[index];
        if matches!(server.stage, Stage::TlsAnswer) {
            self.on_tls_answer(index, data);
            return;
        }
        let Some(tls) = server.tls.as_mut() else {
            self.on_server_plain(index, data);
            return;
        };
        let mut plain = std::mem::take(&mut self.scratch.plain);
        plain.clear();
        let received = tls.receive(data, &mut plain);
        let mut cipher = Vec::new();
        tls.take_output(&mut cipher);
        let handshaking = tls.is_handshaking();
        if !cipher.is_empty() {
            self.write_server_raw(index, &cipher);
        }
        let (id, closed) = match received {
            Err(error) => {
                let error = std::io::Error::other(error);
                self.on_server_gone(index, Some(&error));
                return;
            }
            Ok(received) => (self.servers[index].id, received.closed),
        };
        if !handshaking && matches!(self.servers[index].stage, Stage::TlsHandshake) {
            self.on_server_tls(index);
        }
        if plain.is_empty() {
            self.arm_server(index);
        } else if self.servers.get(index).is_some_and(|s| s.id == id) {
            self.on_server_plain(index, &plain);
        }
        if closed && self.servers.get(index).is_some_and(|s| s.id == id) {
            self.on_server_gone(index, None);
        }
        self.scratch.plain = plain;
    }

    fn on_server_plain(&mut self, index: usize, data: &[u8]) {
        let server = &mut self.servers[index];
        match server.stage {
            Stage::Login(_) => self.pump_server_login(index, data),
            Stage::Closing => self.arm_server(index),
            _ if server.session.is_none() => self.on_server_gone(index, None),
            _ => {
                if server.held.is_empty() {
                    self.pump_server(index, data);
                } else {
                    let mut held = std::mem::take(&mut server.held);
                    held.extend_from_slice(data);
                    self.pump_server(index, &held);
                }
            }
        }
    }

    /// Arms the next read of a server unless its client must take what it has first.
    pub(super) fn arm_server(&mut self, index: usize) {
        let server = &self.servers[index];
        let client_blocked = server.client.is_some_and(|c| self.clients[c].blocked);
        if let Some(socket) = server.socket
            && !client_blocked
        {
            self.engine.read(socket);
        }
    }

    /// The one loop that asks the relay about server bytes.
    fn pump_server(&mut self, index: usize, input: &[u8]) {
        let pool = std::sync::Arc::clone(&self.servers[index].pool);
        let settings = pool.settings.load();
        let mut pos = 0;
        let mut run = Run::default();
        let mut violation = None;
        while pos < input.len() {
            let server = &mut self.servers[index];
            let client = server.client.map(|c| &mut self.clients[c]);
            let mut cx = Context {
                settings: &settings.session,
                statements: &self.shared.statements,
                staged: &mut self.scratch.staged,
            };
            let state = server.session.as_mut().expect("checked by the caller");
            let step = session::from_server(
                state,
                client.and_then(|c| c.session.as_mut()),
                &input[pos..],
                &mut cx,
            );
            let scratch = &mut self.scratch;
            if !scratch.staged.to_client.is_empty() {
                run.copy(&mut scratch.to_client, input);
                scratch.to_client.append(&mut scratch.staged.to_client);
            }
            match step {
                Ok(Step::Forward(n)) => {
                    run.add(&mut scratch.to_client, input, pos..pos + n);
                    pos += n;
                }
                Ok(Step::Swallow(n)) => pos += n,
                Ok(_) => {
                    server.held.extend_from_slice(&input[pos..]);
                    break;
                }
                Err(error) => {
                    violation = Some(error);
                    break;
                }
            }
        }
        drop(settings);
        self.finish_server_pump(index, input, &run, violation);
    }

    fn finish_server_pump(
        &mut self,
        index: usize,
        input: &[u8],
        run: &Run,
        violation: Option<Violation>,
    ) {
        let mut out = std::mem::take(&mut self.scratch.to_client);
        let bytes = run.bytes(&out, input);
        if !bytes.is_empty()
            && let Some(client) = self.servers[index].client
        {
            let lane = usize::from(self.lane.0);
            self.servers[index].pool.stats[lane].sent.add(bytes.len() as u64);
            self.write_client(client, bytes);
        }
        out.clear();
        self.scratch.to_client = out;
        // What the relay staged for the server itself (the rest of an internal exchange).
        if !self.scratch.staged.to_server.is_empty() {
            let mut staged = std::mem::take(&mut self.scratch.staged.to_server);
            self.write_server(index, &staged);
            staged.clear();
            self.scratch.staged.to_server = staged;
        }
        match violation {
            Some(violation) => self.on_violation(index, violation),
            None => self.after_server(index),
        }
    }

    fn on_violation(&mut self, index: usize, violation: Violation) {
        let fault = match violation_fault(violation) {
            Fault::TransactionInStatementMode => Fault::TransactionInStatementMode,
            Fault::Protocol(text) => {
                self.log_server(index, crate::log::Level::Warning, &text);
                Fault::ServerLost("server sent an invalid message")
            }
            other => other,
        };
        self.servers[index].violated = true;
        let client = self.servers[index].client;
        if let Some(client) = client {
            self.fail_client(client, &fault);
        }
        if let Some(server) = self.servers.get(index)
            && server.client.is_none()
            && !matches!(server.stage, Stage::Closing)
        {
            self.drop_server(index, "protocol violation");
        }
    }

    /// A client's blocked output was written.
    pub(super) fn on_client_written(&mut self, index: usize, ok: bool) {
        if !ok {
            self.on_client_gone(index, "client unexpected eof");
            return;
        }
        self.clients[index].blocked = false;
        if let Some(server) = self.clients[index].server {
            self.arm_server(server);
        }
        self.arm_client(index);
    }

    /// A server's blocked output was written.
    pub(super) fn on_server_written(&mut self, index: usize, ok: bool) {
        if !ok {
            self.on_server_gone(index, None);
            return;
        }
        self.servers[index].blocked = false;
        match self.servers[index].client {
            Some(client) => self.arm_client(client),
            None if self.servers[index].session.is_some() => self.after_server(index),
            // It was a part of the login, whose answer is read anyway.
            None => {}
        }
    }

    /// Tells a client what went wrong and closes it.
    ///
    /// Inside a message of its server nothing can be said: it would be taken for a part of that.
    /// Nor after the server itself has said that this is the end.
    pub(super) fn fail_client(&mut self, index: usize, fault: &Fault) {
        self.note_fault(index, fault);
        let is_over = self.clients[index].server.is_some_and(|at| self.has_last_word(at));
        // A cancel request is never answered with words.
        if !is_over && !matches!(self.clients[index].phase, Phase::Canceling) {
            let mut out = Vec::new();
            fault.encode(&mut out, Severity::Fatal);
            self.write_client(index, &out);
        }
        self.on_client_gone(index, fault.close_reason());
    }

    /// Whether the client of a server has been sent a part of a message, or PostgreSQL's own FATAL;
    /// one that came for a statement of ours was not passed on.
    pub(super) fn has_last_word(&self, place: usize) -> bool {
        self.servers[place].session.as_ref().is_some_and(|session| {
            session.is_inside_reply() || session.last_error().is_some() && !session.is_internal()
        })
    }
}

/// Notes the start of a query; returns true if one starts here.
fn client_query_starts(client: &mut super::client::Client, now: headpond_core::Timestamp) -> bool {
    if client.query_since.is_some() {
        return false;
    }
    client.query_since = Some(now);
    client.idle_since = None;
    if client.transaction_since.is_none() {
        client.transaction_since = Some(now);
    }
    true
}

fn violation_fault(violation: Violation) -> Fault {
    match violation {
        Violation::TransactionInStatementMode => Fault::TransactionInStatementMode,
        Violation::Protocol(error) => Fault::from(error),
    }
}
