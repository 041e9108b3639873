//! What the monitor sees of whoever it watches: pools, databases, clients, servers, settings.
//!
//! Invariant: plain values of one moment, in base units (seconds, bytes, ratios from 0 to 1); no
//! value is a secret: whoever fills them in has redacted what must not be shown.
//! Not here: how they are gathered (the owner does that), what follows from them (`health`,
//! `alert`, `advice`).

mod bouncer;

use std::future::Future;
use std::pin::Pin;

use headpond_stats::Distribution;
use serde::Serialize;

pub use bouncer::{
    Bouncer, BouncerCheck, BouncerDatabase, BouncerFigures, BouncerOutcome, BouncerPool,
    BouncerState, BouncerSum, BouncerTotals, Through,
};

use crate::probe::Probe;

/// An answer that takes a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whatever is watched: all that the monitor knows of anyone.
pub trait Source: Probe {
    /// Returns the process as a whole.
    fn process(&self) -> Process;
    /// Returns every pool.
    fn pools(&self) -> Vec<Pool>;
    /// Returns every database that pools lead to, with what it says of itself.
    fn databases(&self) -> Vec<Database>;
    /// Returns who is connected at this moment.
    fn connections(&self) -> Later<'_, Connections>;
    /// Returns the settings in force, redacted, each with where it was written.
    fn settings(&self) -> Vec<Setting>;
    /// Returns every real PgBouncer that pools go through, or that runs beside this process.
    fn bouncers(&self) -> Vec<Bouncer> {
        Vec::new()
    }
}

/// Whatever can be told to do something.
pub trait Actions: Send + Sync {
    /// Carries out an action and says what came of it. `actor` is who asked, for the log.
    ///
    /// Dropping the future does not take the action back.
    fn act(&self, action: Action, actor: String) -> Later<'_, Result<String, String>>;
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hold clients back, of one database or of all.
    Pause(Option<String>),
    /// Let them go on.
    Resume(Option<String>),
    /// Read the configuration again.
    Reload,
    /// Replace the servers of a database or of all as they become idle.
    Reconnect(Option<String>),
    /// Close one client.
    Kill(u64),
    /// Change how many servers each pool of a database may have.
    Resize {
        /// The database.
        database: String,
        /// Servers per pool; 0 is unlimited.
        size: u32,
    },
    /// End the process once its clients have left.
    Drain,
}

impl Action {
    /// Returns the word for it, as it stands in its path.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Reload => "reload",
            Self::Reconnect(_) => "reconnect",
            Self::Kill(_) => "kill",
            Self::Resize { .. } => "resize",
            Self::Drain => "drain",
        }
    }
}

/// The process that holds the pools.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Process {
    /// What it is called: `headpond`.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// `running` or `draining`.
    pub phase: &'static str,
    /// Everything is paused.
    pub paused: bool,
    /// Clients that are connected.
    pub clients: u64,
    /// How many may be; 0 for no limit.
    pub clients_max: u64,
    /// Memory in use.
    pub memory_bytes: u64,
    /// Memory that may be used, if there is a limit.
    pub memory_max_bytes: Option<u64>,
    /// Its threads.
    pub workers: Vec<Worker>,
}

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use.
    pub used: u64,
    /// What may be used: the limit of its control group, else what the machine has.
    pub max: Option<u64>,
}

impl Memory {
    /// Reads it; zero and nothing where the system does not say.
    #[must_use]
    pub fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let group = read("/sys/fs/cgroup/memory.max").trim().parse().ok();
        let max = group.or_else(|| kilobytes(&read("/proc/meminfo"), "MemTotal:"));
        Self { used: kilobytes(&read("/proc/self/status"), "VmRSS:").unwrap_or(0), max }
    }
}

/// Reads the line `key  1234 kB` as bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A thread that serves clients.
#[derive(Clone, Debug, Serialize)]
pub struct Worker {
    /// Its number.
    pub number: u16,
    /// Share of a core that it uses.
    pub busy_ratio: f64,
    /// Its clients.
    pub clients: u64,
}

/// How many connections of a pool are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Being opened.
    pub opening: u32,
    /// Free.
    pub idle: u32,
    /// Under a check.
    pub checking: u32,
    /// With somebody.
    pub used: u32,
    /// Being cleaned.
    pub resetting: u32,
    /// Being closed.
    pub closing: u32,
}

impl Counts {
    /// Returns how many there are in any state: what counts against the limit.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.live() + self.opening + self.closing
    }

    /// Returns how many are open and stay so.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.idle + self.checking + self.used + self.resetting
    }
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Connections opened.
    pub created: u64,
    /// Connections closed.
    pub destroyed: u64,
    /// Connections that could not be opened.
    pub connect_failures: u64,
    /// Connections handed out.
    pub assignments: u64,
    /// Transactions finished.
    pub transactions: u64,
    /// Queries finished.
    pub queries: u64,
    /// Errors that the pool itself gave to its callers.
    pub errors: u64,
    /// Callers refused or timed out while they waited.
    pub timeouts: u64,
    /// Loans suspected to be leaks.
    pub leaks: u64,
    /// Statements that callers wanted prepared.
    pub client_parses: u64,
    /// Statements that servers were told to prepare.
    pub server_parses: u64,
    /// Executions of prepared statements.
    pub binds: u64,
    /// Bytes from callers.
    pub received_bytes: u64,
    /// Bytes to callers.
    pub sent_bytes: u64,
}

/// Whether new connections are being attempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// They are.
    #[default]
    Closed,
    /// The last attempt failed: one at a time, with pauses.
    Open,
    /// It came back: the number of attempts is being raised again.
    HalfOpen,
}

impl Breaker {
    /// Returns the number that dashboards know: 0 closed, 1 open, 2 half open.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }
}

/// Durations since the start.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Of waits for a connection, by reason; each reason once.
    pub waits: Vec<(&'static str, Distribution)>,
    /// Of queries.
    pub query: Distribution,
    /// Of transactions.
    pub transaction: Distribution,
    /// Of opening a connection.
    pub connect: Distribution,
}

/// One pool.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pool {
    /// Its name, unique in the process.
    pub name: String,
    /// The kind of server: `postgresql`, `mysql`, `redis`, `sqlite`, `http`.
    pub backend: &'static str,
    /// The database it leads to.
    pub database: String,
    /// The user its connections log in as.
    pub user: String,
    /// When a connection goes back: `session`, `transaction`, `statement`; empty if asked by hand.
    pub mode: &'static str,
    /// It hands nothing out.
    pub paused: bool,
    /// Whether it attempts to connect.
    pub breaker: Breaker,
    /// Its connections.
    pub connections: Counts,
    /// How many there may be; 0 for no limit.
    pub size_max: u32,
    /// How many are kept open.
    pub size_min: u32,
    /// How many more may be opened under pressure.
    pub reserve: u32,
    /// Callers that are connected to it, where they are.
    pub clients: u64,
    /// Callers who wait.
    pub waiting: u32,
    /// How long the first of them has waited.
    pub oldest_wait_seconds: f64,
    /// The error of the last attempt to connect, while attempts fail.
    pub error: Option<String>,
    /// What only grows.
    pub totals: Totals,
    /// How long things take.
    #[serde(skip)]
    pub times: Times,
}

impl Pool {
    /// Returns the share of its size that is in use; 0 without a limit.
    #[must_use]
    pub fn utilization(&self) -> f64 {
        if self.size_max == 0 {
            return 0.0;
        }
        f64::from(self.connections.used) / f64::from(self.size_max)
    }
}

/// A database that pools lead to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The kind of server.
    pub backend: &'static str,
    /// Where it is; never with a password.
    pub place: String,
    /// Somebody paused it.
    pub paused: bool,
    /// Somebody disabled it.
    pub disabled: bool,
    /// Connections to it, over all pools.
    pub connections: u64,
    /// How many there may be; 0 for no limit.
    pub connections_max: u64,
    /// Clients that use it.
    pub clients: u64,
    /// What came of the last check, if there was one.
    pub check: Option<Checked>,
}

/// What came of asking a database how it is.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Seconds since then.
    pub ago_seconds: f64,
    /// How long it took.
    pub took_seconds: f64,
    /// What it said, or why it said nothing.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The answer to a check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It answered.
    Truth(Truth),
    /// It did not.
    Failed(CheckError),
}

/// Why a database did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckError {
    /// What sort of failure.
    pub kind: CheckErrorKind,
    /// Its words, without any secret.
    pub text: String,
}

/// Sorts of failed checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckErrorKind {
    /// It cannot be reached.
    Unreachable,
    /// It took longer than it may.
    Timeout,
    /// It has no room for another connection.
    TooManyConnections,
    /// It starts, stops or recovers.
    StartingUp,
    /// It refused the login.
    Refused,
    /// It let us in and shows us nothing.
    NotAllowed,
    /// It answered something else than was asked for.
    Protocol,
}

/// What a database says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Truth {
    /// Its version.
    pub version: String,
    /// It is a standby.
    pub in_recovery: bool,
    /// How far a standby is behind: the age of the last change that it has made its own, 0 when it
    /// has made all its own that came; nothing if it is no standby or does not say.
    pub replication_lag_seconds: Option<f64>,
    /// How many receive its changes, if it says so.
    pub standbys: Option<u64>,
    /// How far the slowest of those is behind; nothing if there is none, or it is not for us to
    /// know.
    pub standby_lag_seconds: Option<f64>,
    /// It takes no writes.
    pub read_only: bool,
    /// How many connections it takes; 0 if it does not say.
    pub connections_max: u64,
    /// How many of those are kept for administrators.
    pub connections_reserved: u64,
    /// Sessions that run something.
    pub active: u64,
    /// Sessions that do nothing.
    pub idle: u64,
    /// Sessions that do nothing inside a transaction; 0 where a server does not say.
    pub idle_in_transaction: u64,
    /// Sessions of all sorts, without the one that asked.
    pub total: u64,
    /// Its settings that pools depend on, and other facts under its own names.
    pub settings: Vec<(String, String)>,
}

impl Truth {
    /// Returns whether it gave a sign of life and said nothing of itself.
    pub(crate) fn is_silent(&self) -> bool {
        self.version.is_empty() && self.connections_max == 0
    }

    /// Returns one of its settings.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Who is connected.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connections {
    /// Callers.
    pub clients: Vec<Client>,
    /// Connections to databases.
    pub servers: Vec<Server>,
    /// Who has a connection, longest first.
    pub holders: Vec<Holder>,
    /// Who waits for one, longest first.
    pub waits: Vec<Wait>,
}

/// A caller.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Client {
    /// Its number.
    pub id: u64,
    /// The database it uses.
    pub database: String,
    /// The user it is.
    pub user: String,
    /// The name it gave itself.
    pub application: Option<String>,
    /// Where it comes from.
    pub place: String,
    /// What it does.
    pub state: &'static str,
    /// How long it has been there.
    pub connected_seconds: f64,
    /// How long ago it last asked for something.
    pub request_seconds: f64,
    /// The number of its server.
    pub server: Option<u64>,
    /// How it is encrypted.
    pub tls: Option<String>,
    /// Its worker.
    pub worker: u16,
}

/// A connection to a database.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Server {
    /// Its number.
    pub id: u64,
    /// The database it belongs to.
    pub database: String,
    /// The user it is logged in as.
    pub user: String,
    /// Where it leads.
    pub place: String,
    /// What it does.
    pub state: &'static str,
    /// How long it has been there.
    pub connected_seconds: f64,
    /// How long ago it was last given something to do.
    pub request_seconds: f64,
    /// The number of its client.
    pub client: Option<u64>,
    /// Its process at the other end.
    pub process: i32,
    /// How it is encrypted.
    pub tls: Option<String>,
    /// It is closed as soon as it is idle.
    pub leaving: bool,
}

/// Somebody who has a connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Holder {
    /// The pool it is from.
    pub pool: String,
    /// Who: a client's number, where there are clients.
    pub client: Option<u64>,
    /// Which connection, where they are numbered.
    pub server: Option<u64>,
    /// Its process at the other end.
    pub process: Option<i32>,
    /// Where it was asked for: an address and an application, or a line of code.
    pub place: String,
    /// For how long.
    pub seconds: f64,
    /// What it does with it.
    pub state: &'static str,
}

/// Somebody who waits for a connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wait {
    /// The pool it waits for.
    pub pool: String,
    /// Who: a client's number, where there are clients.
    pub client: Option<u64>,
    /// Where it asked.
    pub place: String,
    /// Why it waits.
    pub reason: &'static str,
    /// For how long.
    pub seconds: f64,
}

/// A setting in force.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Setting {
    /// The section and the entry: `pgbouncer`, `databases.shop`.
    pub section: String,
    /// Its name.
    pub key: String,
    /// Its value, redacted.
    pub value: Option<String>,
    /// Its default.
    pub default: Option<String>,
    /// Where it was written: a file and a line, a variable, `default`.
    pub origin: String,
    /// Whether it changes without a restart.
    pub live: bool,
}
