//! What a server says of itself.
//!
//! Invariant: plain numbers and texts; what a server did not say is 0, empty or nothing.
//! Left out: how it is asked (the adapters), and what follows from the answer (the monitor).

/// What a server says of itself; told by [`Manager::facts`](crate::Manager::facts).
///
/// Begins as [`Facts::default`]: nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// How many connections it takes; 0 if it does not say.
    pub connections_max: u64,
    /// How many of those are kept for administrators.
    pub connections_reserved: u64,
    /// Sessions of all sorts, without the one that asked.
    pub total: u64,
    /// Sessions of others that run something.
    pub active: u64,
    /// Sessions that do nothing.
    pub idle: u64,
    /// Sessions that do nothing inside a transaction; 0 where a server does not say.
    pub idle_in_transaction: u64,
    /// It takes no writes.
    pub read_only: bool,
    /// It is a standby or a replica.
    pub in_recovery: bool,
    /// How far a standby or replica is behind, in seconds; nothing if it is none, or does not say.
    pub replication_lag_seconds: Option<f64>,
    /// How many receive its changes, if it says so.
    pub standbys: Option<u64>,
    /// How far the slowest of those is behind, in seconds; nothing if there is none, or it does not
    /// say.
    pub standby_lag_seconds: Option<f64>,
    /// Settings and counts that pools depend on, under the server's own names.
    pub settings: Vec<(String, String)>,
}
