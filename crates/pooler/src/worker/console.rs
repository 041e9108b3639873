//! The console's side on a worker: who may enter, and the way of its commands.
//!
//! Invariant: one command at a time per console client; what it says is decided elsewhere.
//! Not here: the commands (`crate::admin`), carrying them out (`crate::service::console`).

use headpond_wire::backend::{self, Notice};
use headpond_wire::{Severity, SqlState, Status, frame};

use super::Worker;
use super::client::Phase;
use crate::cancel::Target;
use crate::catalog;
use crate::config::AuthType;
use crate::control::Ask;
use crate::engine::{Engine, Peer};
use crate::fault::Fault;

/// The longest console command.
const COMMAND_MAX: usize = 64 * 1024;

/// A console client.
pub struct Console {
    /// Its name.
    pub user: String,
    /// It may do everything, not only look.
    pub admin: bool,
    /// A command runs.
    busy: bool,
}

/// Appends a NOTICE.
pub fn notice(out: &mut Vec<u8>, text: &str) {
    backend::notice_response(out, &Notice::new(Severity::Notice, SqlState::SUCCESS, text));
}

impl<E: Engine> Worker<E> {
    /// A client wants the console: is it somebody who may?
    pub(super) fn start_console(&mut self, index: usize) -> Result<bool, Fault> {
        let user = self.login_user(index);
        if self.is_own_user(index, &user) {
            self.shared.log.line(crate::log::Level::Log, "pgbouncer access from unix socket");
            return self.let_in(index);
        }
        let global = &self.view.config.global;
        let known = global.admin_users.contains(&user) || global.stats_users.contains(&user);
        if !known && global.auth_type != AuthType::Any {
            return Err(Fault::Authentication("not allowed"));
        }
        self.challenge(index)
    }

    fn login_user(&self, index: usize) -> String {
        match &self.clients[index].phase {
            Phase::Login(login) => login.user.clone(),
            _ => String::new(),
        }
    }

    /// The user `pgbouncer` on the unix socket, run by the same unix user as this process.
    fn is_own_user(&self, index: usize, user: &str) -> bool {
        let Peer::Unix { uid, .. } = self.clients[index].peer else { return false };
        user == "pgbouncer" && uid == self.view.own_uid
    }

    /// Greets a console client.
    pub(super) fn enter_console(&mut self, index: usize) -> Result<bool, Fault> {
        let user = self.login_user(index);
        let admin =
            self.view.config.global.admin_users.contains(&user) || self.is_own_user(index, &user);
        let mut out = Vec::new();
        let version = format!("{}/bouncer", env!("CARGO_PKG_VERSION"));
        let params: [(&[u8], &[u8]); 7] = [
            (b"server_version", version.as_bytes()),
            (b"client_encoding", b"UTF8"),
            (b"server_encoding", b"UTF8"),
            (b"DateStyle", b"ISO"),
            (b"TimeZone", b"GMT"),
            (b"standard_conforming_strings", b"on"),
            (b"is_superuser", b"on"),
        ];
        for (name, value) in params {
            backend::parameter_status(&mut out, name, value);
        }
        let target = Target { lane: self.lane, caller: self.caller(index) };
        let (pid, key) = self
            .shared
            .cancels
            .issue(target, false)
            .map_err(|_| Fault::Configuration("no random bytes"))?;
        self.clients[index].key_pid = pid;
        backend::backend_key_data(&mut out, pid, key.bytes());
        backend::ready_for_query(&mut out, Status::Idle);
        self.write_client(index, &out);
        self.shared.catalog.console.logins.add(1);
        self.clients[index].phase = Phase::Admin(Box::new(Console { user, admin, busy: false }));
        Ok(true)
    }

    /// Bytes of a console client.
    pub(super) fn pump_console(&mut self, index: usize, data: &[u8]) {
        self.clients[index].held.extend_from_slice(data);
        match self.next_command(index) {
            Ok(()) => self.arm_client(index),
            Err(None) => self.on_client_gone(index, "client close request"),
            Err(Some(fault)) => self.fail_client(index, &fault),
        }
    }

    fn next_command(&mut self, index: usize) -> Result<(), Option<Fault>> {
        let (lane, caller) = (self.lane, self.caller(index));
        let client = &mut self.clients[index];
        let Phase::Admin(console) = &mut client.phase else { return Ok(()) };
        if console.busy {
            return Ok(());
        }
        let header = frame::header(&client.held).map_err(|e| Some(Fault::from(e)))?;
        let Some(header) = header else { return Ok(()) };
        match header.tag {
            b'Q' => {}
            b'X' => return Err(None),
            b'P' | b'B' | b'D' | b'E' | b'S' | b'H' | b'C' => {
                let text = "extended query protocol not supported by admin console";
                return Err(Some(Fault::Protocol(text.into())));
            }
            tag => {
                let text = format!("unsupported packet type for admin console: {tag}");
                self.log_client(index, crate::log::Level::Warning, &text);
                return Err(Some(Fault::Protocol("bad packet".into())));
            }
        }
        let total = usize::try_from(header.len).unwrap_or(usize::MAX).saturating_add(1);
        if total > COMMAND_MAX {
            return Err(Some(Fault::Protocol("command too long".into())));
        }
        if client.held.len() < total {
            return Ok(());
        }
        let body = client.held[5..total].to_vec();
        client.held.drain(..total);
        console.busy = true;
        let admin = console.admin;
        let text = body.strip_suffix(b"\0").unwrap_or(&body);
        let text = String::from_utf8_lossy(text).into_owned();
        self.ask(Ask::Admin { lane, caller, admin, text });
        Ok(())
    }

    /// A console client asked for the end of what it waits for.
    pub(super) fn cancel_command(&mut self, index: usize) {
        if self.is_busy(index) {
            let (lane, caller) = (self.lane, self.caller(index));
            self.ask(Ask::AdminCancel { lane, caller });
        }
    }

    /// A client goes away: if its command was not answered yet, nobody needs the answer.
    pub(super) fn leave_console(&mut self, index: usize) {
        if self.is_busy(index) {
            let (lane, caller) = (self.lane, self.caller(index));
            self.ask(Ask::AdminLeft { lane, caller });
        }
    }

    fn is_busy(&self, index: usize) -> bool {
        matches!(&self.clients[index].phase, Phase::Admin(console) if console.busy)
    }

    /// A command was answered.
    pub(super) fn on_admin_reply(&mut self, caller: u64, bytes: &[u8], close: bool) {
        let Some(index) = self.client_of(caller) else { return };
        self.write_client(index, bytes);
        if close {
            self.on_client_gone(index, "pooler is shutting down");
            return;
        }
        if let Phase::Admin(console) = &mut self.clients[index].phase {
            console.busy = false;
        }
        self.pump_console(index, &[]);
    }

    /// Returns true for clients of the console.
    pub(super) fn is_console(&self, index: usize) -> bool {
        match &self.clients[index].phase {
            Phase::Admin(_) => true,
            Phase::Login(login) => login.database == catalog::CONSOLE,
            _ => false,
        }
    }
}
