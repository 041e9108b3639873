//! What went wrong, whose fault it is, and what the client hears.
//!
//! Invariant: every error that the pooler itself sends to a client is a row of this table, so
//! that the text (PgBouncer's where it has one), the SQLSTATE and the severity are decided once.
//! Not here: errors that PostgreSQL sent (they pass through) and writing the log.

use std::time::Duration;

use headpond_core::Refusal;
pub use headpond_wire::Severity;
use headpond_wire::backend::{self, Notice};
use headpond_wire::{ProtocolError, SqlState};

/// An error of the pooler's own making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The client sent something the protocol does not allow.
    Protocol(String),
    /// The name of the database is not in the catalog.
    NoDatabase(String),
    /// The database exists but does not accept clients.
    DatabaseDisabled(String),
    /// The entry was taken out of the configuration.
    DatabaseRemoved,
    /// The startup packet named no user.
    NoUserName,
    /// The password, proof or certificate was wrong, or the user does not exist.
    Authentication(&'static str),
    /// The HBA file rejects this connection.
    LoginRejected,
    /// TLS is required.
    TlsRequired,
    /// A startup parameter that cannot be honoured.
    StartupParameter(String),
    /// `max_client_conn` and its kin.
    TooManyClients(&'static str),
    /// The client waited `query_wait_timeout` for a server.
    QueryWaitTimeout {
        /// How long it waited.
        waited: Duration,
        /// Its place in the queue when it gave up, 1 for the head.
        position: u32,
        /// What it waited for.
        reason: &'static str,
    },
    /// A query ran longer than `query_timeout`.
    QueryTimeout,
    /// The client was idle longer than `client_idle_timeout`.
    ClientIdleTimeout,
    /// The client did not log in in time.
    LoginTimeout,
    /// No server came up while the client waited to log in.
    LoginTimeoutServerDown,
    /// Idle inside a transaction longer than `idle_transaction_timeout`.
    IdleTransactionTimeout,
    /// A transaction ran longer than `transaction_timeout`.
    TransactionTimeout,
    /// The server cannot be reached or refuses logins; the cached reason is repeated.
    ServerFailing {
        /// What the last attempt said.
        cached: String,
        /// When another attempt is due.
        retry_after: Duration,
    },
    /// The server refused the login.
    ServerLogin(Box<headpond_wire::ErrorFields>),
    /// The server vanished while the client was using it.
    ServerLost(&'static str),
    /// The queue of waiters is full.
    QueueFull,
    /// The pooler stops.
    ShuttingDown,
    /// `KILL_CLIENT`.
    Killed,
    /// Transaction blocks do not exist in statement mode.
    TransactionInStatementMode,
    /// The client's settings could not be applied to the server.
    SettingsRefused(String),
    /// A cancel request arrived while the query waited for a server.
    CanceledInQueue,
    /// The configuration makes this login impossible.
    Configuration(&'static str),
    /// A panic was caught: a defect of ours.
    Defect,
}

impl Fault {
    /// The SQLSTATE of this fault.
    ///
    /// PgBouncer answers nearly everything with 08P01; where PostgreSQL has a precise code, that
    /// one is used, because drivers decide by code what to retry. The text stays PgBouncer's.
    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        let code: &[u8; 5] = match self {
            Fault::Protocol(_) | Fault::TransactionInStatementMode => b"08P01",
            Fault::NoDatabase(_) | Fault::DatabaseRemoved => b"3D000",
            Fault::DatabaseDisabled(_) | Fault::ShuttingDown => b"57P01",
            Fault::NoUserName | Fault::LoginRejected | Fault::TlsRequired => b"28000",
            Fault::Authentication(_) => b"28P01",
            Fault::StartupParameter(_) => b"08P01",
            Fault::TooManyClients(_) | Fault::QueueFull => b"53300",
            Fault::QueryWaitTimeout { .. } => b"08P01",
            Fault::QueryTimeout | Fault::CanceledInQueue => b"57014",
            Fault::ClientIdleTimeout => b"57P05",
            Fault::LoginTimeout | Fault::LoginTimeoutServerDown => b"08P01",
            Fault::IdleTransactionTimeout => b"25P03",
            Fault::TransactionTimeout => b"25P04",
            Fault::ServerFailing { .. } => b"08006",
            Fault::ServerLogin(_) | Fault::ServerLost(_) => b"08006",
            Fault::Killed => b"57P01",
            Fault::SettingsRefused(_) => b"22023",
            Fault::Configuration(_) => b"08P01",
            Fault::Defect => b"XX000",
        };
        SqlState::from_bytes(code).unwrap_or(SqlState::INTERNAL_ERROR)
    }

    /// The message, in PgBouncer's words where it has any.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Fault::Protocol(text) | Fault::StartupParameter(text) => text.clone(),
            Fault::NoDatabase(name) => format!("no such database: {name}"),
            Fault::DatabaseDisabled(name) => format!("database \"{name}\" is disabled"),
            Fault::DatabaseRemoved => "database removed".into(),
            Fault::NoUserName => "no username supplied".into(),
            Fault::Authentication(text) | Fault::Configuration(text) => (*text).into(),
            Fault::LoginRejected => "login rejected".into(),
            Fault::TlsRequired => "SSL required".into(),
            Fault::TooManyClients(text) => (*text).into(),
            Fault::QueryWaitTimeout { .. } => "query_wait_timeout".into(),
            Fault::QueryTimeout => "query_timeout".into(),
            Fault::ClientIdleTimeout => "client_idle_timeout".into(),
            Fault::LoginTimeout => "client_login_timeout".into(),
            Fault::LoginTimeoutServerDown => "client_login_timeout (server down)".into(),
            Fault::IdleTransactionTimeout => "idle transaction timeout".into(),
            Fault::TransactionTimeout => "transaction timeout".into(),
            Fault::ServerFailing { cached, .. } => format!(
                "server login has been failing, cached error: {cached} (server_login_retry)"
            ),
            Fault::ServerLogin(fields) => fields.text().into_owned(),
            Fault::ServerLost(text) => (*text).into(),
            Fault::QueueFull => "too many clients are waiting for a server".into(),
            Fault::ShuttingDown => "pooler is shutting down".into(),
            Fault::Killed => "admin forced disconnect".into(),
            Fault::TransactionInStatementMode => {
                "transaction blocks not allowed in statement pooling mode".into()
            }
            Fault::SettingsRefused(text) => format!("cannot apply client settings: {text}"),
            Fault::CanceledInQueue => "canceling statement due to user request".into(),
            Fault::Defect => "internal error, the connection is closed".into(),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Fault::QueryWaitTimeout { waited, position, reason } => Some(format!(
                "waited {:.3} s for a server, place {position} in the queue, because: {reason}",
                waited.as_secs_f64()
            )),
            Fault::ServerFailing { retry_after, .. } => {
                Some(format!("next attempt in {:.1} s", retry_after.as_secs_f64()))
            }
            Fault::ServerLogin(fields) if !fields.detail.is_empty() => {
                Some(String::from_utf8_lossy(&fields.detail).into_owned())
            }
            _ => None,
        }
    }

    /// Appends the ErrorResponse that the client gets; fatal ones close the connection after it.
    pub fn encode(&self, out: &mut Vec<u8>, severity: Severity) {
        let message = self.message();
        let detail = self.detail();
        backend::error_response(
            out,
            &Notice {
                severity,
                code: self.sqlstate(),
                message: message.as_bytes(),
                detail: detail.as_deref().map(str::as_bytes),
                hint: None,
            },
        );
    }
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Self {
        Fault::Protocol(error.to_string())
    }
}

/// Translates a refusal of the pool; `cached` is the last error of a server login.
#[must_use]
pub fn from_refusal(refusal: Refusal, cached: Option<String>, reason: &'static str) -> Fault {
    let cached = || cached.clone().unwrap_or_else(|| "connect failed".into());
    match refusal {
        Refusal::Timeout { waited, position } => {
            Fault::QueryWaitTimeout { waited, position, reason }
        }
        Refusal::QueueFull => Fault::QueueFull,
        Refusal::Failing { retry_after } => Fault::ServerFailing { cached: cached(), retry_after },
        Refusal::Rejected => Fault::ServerFailing { cached: cached(), retry_after: Duration::ZERO },
        Refusal::Closed => Fault::DatabaseRemoved,
    }
}
