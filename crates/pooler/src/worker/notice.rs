//! The log lines of a worker, in PgBouncer's words.
//!
//! Invariant: nothing secret is passed in here.
//! Not here: writing them (`crate::log`).

use std::fmt;

use headpond_wire::session::Events;

use super::Worker;
use super::client::Phase;
use crate::catalog::PoolStats;
use crate::engine::{Address, Engine, Peer};
use crate::fault::Fault;
use crate::log::Level;

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix { pid, .. } => write!(f, "unix({pid})"),
            Peer::Sim(number) => write!(f, "sim({number})"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix({})", path.display()),
        }
    }
}

impl PoolStats {
    /// Adds what the relay has seen.
    pub(super) fn count(&self, events: &Events) {
        if *events == Events::default() {
            return;
        }
        self.queries.add(u64::from(events.queries));
        self.transactions.add(u64::from(events.transactions));
        self.client_parses.add(u64::from(events.client_parses));
        self.server_parses.add(u64::from(events.server_parses));
        self.binds.add(u64::from(events.binds));
        self.dropped_notices.add(u64::from(events.dropped_notices));
    }
}

impl Fault {
    /// The reason in the log line of the client's close.
    #[must_use]
    pub fn close_reason(&self) -> &str {
        match self {
            Fault::Protocol(text) | Fault::StartupParameter(text) => text,
            Fault::Authentication(text)
            | Fault::TooManyClients(text)
            | Fault::ServerLost(text)
            | Fault::Configuration(text) => text,
            Fault::NoDatabase(_) => "no such database",
            Fault::DatabaseDisabled(_) => "database disabled",
            Fault::DatabaseRemoved => "database removed",
            Fault::NoUserName => "no username supplied",
            Fault::LoginRejected => "login rejected",
            Fault::TlsRequired => "SSL required",
            Fault::QueryWaitTimeout { .. } => "query_wait_timeout",
            Fault::QueryTimeout => "query timeout",
            Fault::ClientIdleTimeout => "client_idle_timeout",
            Fault::LoginTimeout => "client_login_timeout",
            Fault::LoginTimeoutServerDown => "client_login_timeout (server down)",
            Fault::IdleTransactionTimeout => "idle transaction timeout",
            Fault::TransactionTimeout => "transaction timeout",
            Fault::ServerFailing { .. } => "server login has been failing",
            Fault::ServerLogin(_) => "server login failed",
            Fault::QueueFull => "too many clients are waiting",
            Fault::ShuttingDown => "pooler is shutting down",
            Fault::Killed => "admin forced disconnect",
            Fault::TransactionInStatementMode => "transaction block in statement mode",
            Fault::SettingsRefused(_) => "var change failed",
            Fault::CanceledInQueue => "client gave up on cancel request",
            Fault::Defect => "defect",
        }
    }
}

impl<E: Engine> Worker<E> {
    pub(super) fn log_client(&self, index: usize, level: Level, text: &str) {
        self.shared.log.about(level, &self.clients[index].subject(), text);
    }

    pub(super) fn log_server(&self, index: usize, level: Level, text: &str) {
        self.shared.log.about(level, &self.servers[index].subject(), text);
    }

    pub(super) fn is_logging_disconnects(&self, index: usize) -> bool {
        // A probe that connects and says nothing is not worth a line.
        match &self.clients[index].phase {
            Phase::Login(login) => login.heard_anything,
            Phase::Canceling => false,
            _ => true,
        }
    }

    pub(super) fn log_disconnect(&self, index: usize, reason: &str) {
        if self.view.config.global.log_disconnections {
            let age = self.now.since(self.clients[index].connected_at).as_secs();
            self.log_client(index, Level::Log, &format!("closing because: {reason} (age={age}s)"));
        }
    }

    pub(super) fn log_login(&self, index: usize, database: &str, user: &str) {
        if self.view.config.global.log_connections {
            let client = &self.clients[index];
            let tls = client.tls.as_ref().map_or_else(|| "no".to_owned(), |tls| tls.describe());
            let text = format!("login attempt: db={database} user={user} tls={tls}");
            self.log_client(index, Level::Log, &text);
        }
    }

    pub(super) fn note_fault(&self, index: usize, fault: &Fault) {
        if let Some(pool) = &self.clients[index].pool {
            pool.stats[usize::from(self.lane.0)].errors.add(1);
        }
        if self.view.config.global.log_pooler_errors {
            let text = format!("pooler error: {}", fault.message());
            self.log_client(index, Level::Warning, &text);
        }
    }

    pub(super) fn log_server_opened(&self, index: usize) {
        if self.view.config.global.log_connections {
            let server = &self.servers[index];
            let from = server.socket.and_then(|socket| self.engine.local(socket));
            let text = match from {
                Some(from) => format!("new connection to server (from {from})"),
                None => "new connection to server".to_owned(),
            };
            self.log_server(index, Level::Log, &text);
        }
    }

    pub(super) fn log_server_close(&self, index: usize, reason: &str) {
        if self.view.config.global.log_disconnections {
            let age = self.now.since(self.servers[index].connected_at).as_secs();
            self.log_server(index, Level::Log, &format!("closing because: {reason} (age={age}s)"));
        }
    }

    pub(super) fn log_login_failure(&self, index: usize, text: &str) {
        self.log_server(index, Level::Warning, &format!("login failed: {text}"));
    }
}
