//! What the endpoint asks of the process it stands for.
//!
//! Invariant: an answer is immediate: no lock that the data path holds for long, no I/O.
//! Not here: how the answers are worded for a client (`http.rs`).

use headpond_stats::Snapshot;

/// The answer to one question, with the single findings behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The answer.
    pub ok: bool,
    /// Name, verdict and a word of explanation of each finding.
    pub checks: Vec<(String, bool, String)>,
}

impl Check {
    /// Returns a check that is good if all findings are.
    pub fn all(checks: Vec<(String, bool, String)>) -> Self {
        Self { ok: checks.iter().all(|(_, ok, _)| *ok), checks }
    }
}

/// Answers for a running process.
pub trait Probe: Send + Sync {
    /// Tells whether the process works at all. A failure has it restarted, so the answer never
    /// depends on another system: with a database down, a restart would drop every client.
    fn live(&self) -> Check;

    /// Tells whether new clients should be sent here; false from the first moment of a drain.
    fn ready(&self) -> Check;

    /// Tells whether the start is over: configuration read, sockets bound.
    fn started(&self) -> Check;

    /// Adds all numbers the process has to tell.
    fn collect(&self, into: &mut Snapshot);
}
