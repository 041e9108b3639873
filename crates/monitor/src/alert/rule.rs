//! What is watched for: the rules that are built in, and what a rule of one's own may say.
//!
//! Invariant: a rule names a metric that exists; its name is a legal label value and stays the
//! same while it is in force, because it identifies its alerts.
//! Not here: when a rule fires (`evaluate.rs`).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// How bad it is. What other systems call HIGH, MEDIUM and LOW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "info" | "low" => Ok(Self::Info),
            "warning" | "medium" => Ok(Self::Warning),
            "critical" | "high" => Ok(Self::Critical),
            _ => Err(()),
        }
    }
}

/// Which side of the threshold is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// More than it.
    #[serde(rename = ">")]
    Above,
    /// It or more.
    #[serde(rename = ">=")]
    AtLeast,
    /// Less than it.
    #[serde(rename = "<")]
    Below,
    /// It or less.
    #[serde(rename = "<=")]
    AtMost,
}

impl Comparison {
    /// Tells whether a value is on the bad side.
    #[must_use]
    pub fn is_bad(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        })
    }
}

impl FromStr for Comparison {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            ">" | "above" => Ok(Self::Above),
            ">=" => Ok(Self::AtLeast),
            "<" | "below" => Ok(Self::Below),
            "<=" => Ok(Self::AtMost),
            _ => Err(()),
        }
    }
}

macro_rules! metrics {
    ($( $variant:ident $name:literal $means:literal; )+) => {
        /// What a rule can watch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Metric {
            $( #[doc = $means] $variant, )+
        }

        /// Every metric: its name and what it is.
        pub const METRICS: &[(Metric, &str, &str)] =
            &[ $( (Metric::$variant, $name, $means), )+ ];
    };
}

metrics! {
    Utilization "utilization" "Share of a pool's size in use, from 0 to 1.";
    Waiting "waiting" "Callers who wait for a connection of a pool.";
    OldestWaitSeconds "oldest_wait_seconds" "How long the first of a pool's waiters has waited.";
    WaitP99Seconds "wait_p99_seconds" "The wait that 99 of 100 callers of a pool did not exceed.";
    QueryP99Seconds "query_p99_seconds" "The time that 99 of 100 queries of a pool did not exceed.";
    ErrorRatio "error_ratio" "Share of a pool's attempts to connect that failed in the last hour.";
    ErrorsPerHour "errors_per_hour" "Errors of a pool in the last hour.";
    Timeouts "timeouts" "Callers of a pool refused or timed out in the last minute.";
    Leaks "leaks" "Connections of a pool that somebody has kept for too long.";
    BreakerOpen "breaker_open" "1 while a pool cannot open connections.";
    CheckFailed "check_failed" "1 while a database does not answer a check.";
    CheckSeconds "check_seconds" "How long a database took to answer its last check.";
    ReadOnly "read_only" "1 while a database that is no standby takes no writes.";
    ReplicationLagSeconds "replication_lag_seconds" "How far a standby is behind.";
    StandbyLagSeconds "standby_lag_seconds" "How far the slowest standby of a primary is behind.";
    DatabaseActive "database_active" "Sessions of a database that run something.";
    DatabaseIdleInTransaction "database_idle_in_transaction"
        "Sessions of a database that do nothing inside a transaction.";
    DatabaseConnectionsRatio "database_connections_ratio"
        "Share of a server's connections that are taken.";
    ClientsRatio "clients_ratio" "Share of the clients that may be connected.";
    MemoryRatio "memory_ratio" "Share of its memory that the process uses.";
}

impl Metric {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        METRICS.iter().find(|(metric, ..)| *metric == self).map_or("", |(_, name, _)| name)
    }
}

impl FromStr for Metric {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let found = METRICS.iter().find(|(_, name, _)| *name == text);
        found.map(|(metric, ..)| *metric).ok_or(())
    }
}

/// One thing to watch for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Its name: the label `alertname`.
    pub name: String,
    /// What it watches.
    pub metric: Metric,
    /// Which side is bad.
    pub comparison: Comparison,
    /// Where the bad side begins.
    pub threshold: f64,
    /// How long it must be bad before it fires, in seconds.
    pub for_seconds: f64,
    /// How bad it is.
    pub severity: Severity,
    /// How long it stays quiet after it has resolved, in seconds.
    pub cool_down_seconds: f64,
    /// What it means, for whoever reads it first.
    pub summary: String,
}

impl Rule {
    /// Makes a rule that fires when its metric is above a threshold.
    #[must_use]
    pub fn above(name: &str, metric: Metric, threshold: f64, severity: Severity) -> Self {
        Self {
            name: name.to_owned(),
            metric,
            comparison: Comparison::Above,
            threshold,
            for_seconds: 0.0,
            severity,
            cool_down_seconds: COOL_DOWN_SECONDS,
            summary: String::new(),
        }
    }

    fn lasting(mut self, seconds: f64) -> Self {
        self.for_seconds = seconds;
        self
    }

    fn says(mut self, summary: &str) -> Self {
        summary.clone_into(&mut self.summary);
        self
    }
}

/// How long a rule stays quiet after it has resolved: a minute, so that what comes and goes is
/// one message and not sixty.
const COOL_DOWN_SECONDS: f64 = 60.0;

/// Returns the rules that are in force unless they are switched off.
#[must_use]
pub fn built_in() -> Vec<Rule> {
    use Metric as M;
    use Severity::{Critical, Info, Warning};
    let rule = Rule::above;
    vec![
        rule("HeadpondPoolExhaustion", M::Waiting, 5.0, Critical)
            .lasting(5.0)
            .says("more callers wait than a pool serves at once"),
        rule("HeadpondPoolQueue", M::Waiting, 10.0, Critical)
            .lasting(120.0)
            .says("callers have been waiting in numbers for two minutes"),
        rule("HeadpondPoolTimeout", M::Timeouts, 0.0, Critical)
            .says("callers gave up waiting for a connection or were refused"),
        rule("HeadpondPoolLongWait", M::OldestWaitSeconds, 5.0, Warning)
            .says("somebody has waited for a connection for more than five seconds"),
        rule("HeadpondPoolBusy", M::Utilization, 0.8, Info)
            .lasting(60.0)
            .says("more than 80 % of a pool have been in use for a minute"),
        rule("HeadpondPoolAlmostFull", M::Utilization, 0.9, Warning)
            .lasting(300.0)
            .says("more than 90 % of a pool have been in use for five minutes"),
        rule("HeadpondPoolErrors", M::ErrorRatio, 0.1, Warning)
            .lasting(10.0)
            .says("more than a tenth of the attempts to connect fail"),
        rule("HeadpondPoolErrorsPerHour", M::ErrorsPerHour, 10.0, Warning)
            .says("more than ten errors in an hour"),
        rule("HeadpondConnectionLeak", M::Leaks, 0.0, Warning)
            .lasting(10.0)
            .says("a connection has been kept for much longer than is usual"),
        rule("HeadpondBreakerOpen", M::BreakerOpen, 0.0, Critical)
            .lasting(5.0)
            .says("no new connection can be opened"),
        rule("HeadpondHealthCheckFailed", M::CheckFailed, 0.0, Critical)
            .says("a database does not answer"),
        rule("HeadpondDatabaseReadOnly", M::ReadOnly, 0.0, Warning)
            .says("a database takes no writes"),
        rule("HeadpondReplicationLag", M::ReplicationLagSeconds, 30.0, Warning)
            .lasting(60.0)
            .says("a standby has been more than thirty seconds behind for a minute"),
        rule("HeadpondDatabaseBusy", M::DatabaseActive, 20.0, Warning)
            .lasting(60.0)
            .says("more than twenty sessions run something at once"),
        rule("HeadpondDatabaseAlmostFull", M::DatabaseConnectionsRatio, 0.9, Warning)
            .lasting(60.0)
            .says("a server has hardly any connections left"),
        rule("HeadpondClientsAlmostFull", M::ClientsRatio, 0.9, Warning)
            .lasting(60.0)
            .says("hardly any more clients may connect"),
        rule("HeadpondMemory", M::MemoryRatio, 0.8, Warning)
            .lasting(60.0)
            .says("more than 80 % of the memory are in use"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rules_and_metrics_are_unique_and_read_back() {
        let rules = built_in();
        for (place, rule) in rules.iter().enumerate() {
            assert!(rules[..place].iter().all(|other| other.name != rule.name), "{}", rule.name);
            assert!(!rule.summary.is_empty() && rule.cool_down_seconds > 0.0, "{}", rule.name);
        }
        for (metric, name, means) in METRICS {
            assert_eq!(name.parse(), Ok(*metric));
            assert_eq!(metric.name(), *name);
            assert!(means.ends_with('.'), "{name}");
            let json = serde_json::to_value(metric).expect("a word");
            assert_eq!(json, *name);
        }
    }

    #[test]
    fn the_words_of_other_systems_are_understood() {
        assert_eq!("HIGH".parse(), Ok(Severity::Critical));
        assert_eq!("medium".parse(), Ok(Severity::Warning));
        assert_eq!("urgent".parse::<Severity>(), Err(()));
        assert!(Comparison::AtLeast.is_bad(5.0, 5.0) && !Comparison::Above.is_bad(5.0, 5.0));
    }
}
