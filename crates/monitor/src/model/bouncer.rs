//! A real PgBouncer, in front of the pools' servers or beside this process.
//!
//! Invariant: as all of the model: plain values of one moment in base units, and no secret. Names
//! of columns are PgBouncer's own where a figure is one of its columns.
//! Not here: asking its console and reading the answers (`crate::bouncer`).

use serde::Serialize;

use super::CheckError;

/// A PgBouncer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bouncer {
    /// Its name, unique in the process: where it is, never with a password.
    pub name: String,
    /// Whom its console was asked as.
    pub user: String,
    /// The pools of this process whose connections go through it. Empty: it is a neighbour, which
    /// serves others.
    pub through: Vec<Through>,
    /// What came of asking it; nothing before the first time.
    pub check: Option<BouncerCheck>,
}

/// A pool of this process that goes through a PgBouncer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Through {
    /// The pool's name here.
    pub pool: String,
    /// The database that it asks the PgBouncer for.
    pub database: String,
    /// The user that it logs in as.
    pub user: String,
}

/// What came of asking a PgBouncer's console.
#[derive(Clone, Debug, Serialize)]
pub struct BouncerCheck {
    /// Seconds since then.
    pub ago_seconds: f64,
    /// How long it took, login included.
    pub took_seconds: f64,
    /// What it said, or why it said nothing.
    #[serde(flatten)]
    pub outcome: BouncerOutcome,
}

/// The answer of a console.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BouncerOutcome {
    /// Its figures.
    Figures(Box<BouncerFigures>),
    /// There was none.
    Failed(CheckError),
}

/// What a PgBouncer says of itself. A version that does not tell something leaves its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BouncerFigures {
    /// Its version, such as `PgBouncer 1.25.2`.
    pub version: String,
    /// Everything is held back, or only flushed out.
    pub state: BouncerState,
    /// Clients that are connected, whoever asks included.
    pub clients: u64,
    /// How many may be (`max_client_conn`); 0 if it does not say.
    pub clients_max: u64,
    /// Its connections to servers, over all pools.
    pub servers: u64,
    /// Its pools but for its own console's, those with waiting clients and the busiest first.
    pub pools: Vec<BouncerPool>,
    /// How many there are, shown or not.
    pub pools_total: u64,
    /// All of them added up.
    pub sum: BouncerSum,
    /// Its databases but for its own console.
    pub databases: Vec<BouncerDatabase>,
    /// What only grows, over all databases; nothing if it does not say.
    pub totals: Option<BouncerTotals>,
}

/// What a PgBouncer does at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BouncerState {
    /// It serves, as far as it says.
    #[default]
    Active,
    /// Somebody said PAUSE, without a database.
    Paused,
    /// Somebody said SUSPEND.
    Suspended,
}

impl BouncerState {
    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
        }
    }
}

/// A pool of a PgBouncer: a database and a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BouncerPool {
    /// Its database.
    pub database: String,
    /// Its user.
    pub user: String,
    /// Clients with a server or without a wish.
    pub cl_active: u64,
    /// Clients that wait for a server.
    pub cl_waiting: u64,
    /// Servers with a client.
    pub sv_active: u64,
    /// Servers that may be used at once.
    pub sv_idle: u64,
    /// Servers that were idle for long and need a check first.
    pub sv_used: u64,
    /// Servers that are being checked, cleaned or logged in to.
    pub sv_other: u64,
    /// How long the first client in line has waited.
    pub maxwait_seconds: f64,
    /// When a server goes back: `session`, `transaction`, `statement`; empty if it does not say.
    pub pool_mode: String,
    /// How many servers it may have; 0 is unlimited, nothing if it does not say.
    pub pool_size: Option<u64>,
}

/// The pools of a PgBouncer added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BouncerSum {
    /// Clients with a server or without a wish.
    pub cl_active: u64,
    /// Clients that wait for a server.
    pub cl_waiting: u64,
    /// Servers with a client.
    pub sv_active: u64,
    /// Servers that may be used at once.
    pub sv_idle: u64,
    /// Servers that were idle for long and need a check first.
    pub sv_used: u64,
    /// Servers that are being checked, cleaned or logged in to.
    pub sv_other: u64,
    /// The longest that somebody in line has waited.
    pub maxwait_seconds: f64,
}

/// A database of a PgBouncer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BouncerDatabase {
    /// Its name.
    pub name: String,
    /// The user of all its servers, if one is forced.
    pub force_user: Option<String>,
    /// Servers that a pool of it may have; 0 is unlimited, nothing if it does not say.
    pub pool_size: Option<u64>,
    /// Somebody paused it.
    pub paused: bool,
    /// Somebody disabled it.
    pub disabled: bool,
}

/// What only grows in a PgBouncer, until it is started anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BouncerTotals {
    /// Queries finished.
    pub queries: u64,
    /// Transactions finished.
    pub transactions: u64,
    /// Bytes from clients.
    pub received_bytes: u64,
    /// Bytes to clients.
    pub sent_bytes: u64,
    /// Time in queries.
    pub query_seconds: f64,
    /// Time in transactions.
    pub transaction_seconds: f64,
    /// Time that clients waited for a server.
    pub wait_seconds: f64,
}

impl Bouncer {
    /// Returns its figures, if it told them when it was last asked.
    #[must_use]
    pub fn figures(&self) -> Option<&BouncerFigures> {
        match &self.check.as_ref()?.outcome {
            BouncerOutcome::Figures(figures) => Some(figures),
            BouncerOutcome::Failed(_) => None,
        }
    }

    /// Returns why it told nothing, if it was asked and did not.
    #[must_use]
    pub fn error(&self) -> Option<&CheckError> {
        match &self.check.as_ref()?.outcome {
            BouncerOutcome::Figures(_) => None,
            BouncerOutcome::Failed(error) => Some(error),
        }
    }
}

impl BouncerFigures {
    /// Returns the share of its places for clients that are taken; 0 if it does not say.
    #[must_use]
    pub fn used_ratio(&self) -> f64 {
        if self.clients_max == 0 {
            return 0.0;
        }
        self.clients as f64 / self.clients_max as f64
    }

    fn database(&self, name: &str) -> Option<&BouncerDatabase> {
        self.databases.iter().find(|database| database.name == name)
    }

    /// Returns its pool for a pool of ours, if there is one by now.
    #[must_use]
    pub fn pool_of(&self, through: &Through) -> Option<&BouncerPool> {
        let forced = self.database(&through.database).and_then(|d| d.force_user.as_deref());
        let user = forced.unwrap_or(&through.user);
        self.pools.iter().find(|pool| pool.database == through.database && pool.user == user)
    }

    /// Returns how many servers it has for a pool of ours: nothing if that is unlimited or it does
    /// not say.
    #[must_use]
    pub fn size_for(&self, through: &Through) -> Option<u64> {
        let of_pool = self.pool_of(through).and_then(|pool| pool.pool_size);
        let of_database = || self.database(&through.database).and_then(|d| d.pool_size);
        of_pool.or_else(of_database).filter(|size| *size > 0)
    }
}
