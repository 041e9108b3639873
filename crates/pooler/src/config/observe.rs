//! The settings of those who watch: `[http]`, `[alerts]`, `[history]`, `[rules]`.
//!
//! Invariant: with every one at its default only this machine can look, nobody can act, and
//! nothing is sent anywhere but to the log.
//! Not here: what a rule means (`headpond_monitor::alert`).

use std::time::Duration;

use headpond_monitor::alert::{Comparison, Metric, Rule, Severity};

use super::choice::Urgency;
use super::console::ConsoleUrl;
use super::kind::{
    Decimal, File, FileSize, Flag, Hidden, Listen, MetricName, MetricSets, Names, Ranged, Seconds,
    Text, WholeSeconds,
};
use super::table::{overrides, settings};

settings! {
    /// The HTTP side: health, metrics, the page, actions.
    Http;
    listen: Listen = "127.0.0.1:6433", Restart Policy Honoured,
        "Address and port of health, metrics and dashboard, empty for none",
        "numbers are there without asking, and only for this machine";
    names: Names = "", Restart Policy Honoured,
        "Hosts that requests may name besides the loopback ones, with or without a port",
        "any name that leads here would do for a page that attacks";
    token: Hidden = "", Live Policy Honoured,
        "Token that allows actions, and reading from elsewhere",
        "nobody should be able to act who was not told how";
    read_token: Hidden = "", Live Policy Honoured,
        "Token that allows reading from elsewhere", "who reads need not be able to act";
    tls_cert_file: File = "", Restart Policy Honoured,
        "Certificate of the endpoint, PEM; needed on any address but a loopback one",
        "what stays on this machine needs no encryption";
    tls_key_file: File = "", Restart Policy Honoured,
        "Its key, PEM", "what stays on this machine needs no encryption";
    metrics: MetricSets = "", Restart Policy Honoured,
        "Metrics under the names of other systems besides our own: database, db, pgbouncer",
        "one set of names is enough for whoever has no old dashboards";
    check_period: Seconds = "30", Live Policy Honoured,
        "How often each database is asked how it is, by a connection of its own; 0 for never",
        "half a minute is soon enough to know and too seldom to notice";
    check_timeout: Seconds = "5", Live Policy Honoured,
        "How long such a check may take", "a database that takes longer serves nobody";
    check_slow: Seconds = "1", Restart Policy Honoured,
        "How long it may take before the database is called slow",
        "a login and a query take milliseconds";
    check_lag: Seconds = "30", Restart Policy Honoured,
        "How far a standby may be behind before that is a warning",
        "a burst of writes is over by then, and people have not called yet";
    pgbouncer_url: ConsoleUrl = "", Live Policy Honoured,
        "URL of the console of a real PgBouncer beside this pooler, whose figures are shown",
        "most have replaced theirs";
}

settings! {
    /// Who is told when something is wrong.
    Alerts;
    built_in: Flag = "1", Live Policy Honoured,
        "Whether the rules that come with the program are in force",
        "a queue should be noticed by somebody who configured nothing";
    log: Flag = "1", Restart Policy Honoured,
        "Whether alerts are written to the log", "everybody has a log";
    webhook_url: Hidden = "", Restart Policy Honoured,
        "Where to post alerts, in the form of Alertmanager's webhook (version 4)",
        "nothing is sent anywhere unasked";
    webhook_secret: Hidden = "", Restart Policy Honoured,
        "Secret that signs them: X-Headpond-Signature is an HMAC-SHA256 of the body",
        "a receiver on the same machine may need none";
    webhook_severity: Urgency = "info", Restart Policy Honoured,
        "The least severity that is posted", "the receiver can choose";
    alertmanager_url: Hidden = "", Restart Policy Honoured,
        "Base address of an Alertmanager, which is sent alerts by its API v2",
        "nothing is sent anywhere unasked";
    alertmanager_severity: Urgency = "info", Restart Policy Honoured,
        "The least severity that it is sent", "Alertmanager can choose";
    command: File = "", Restart Policy Honoured,
        "Program that reads alerts from its standard input, in the webhook's form",
        "nothing is run unasked";
    command_severity: Urgency = "warning", Restart Policy Honoured,
        "The least severity that runs it", "a program may wake somebody up";
    leak_after: Seconds = "60", Live Policy Honoured,
        "How long a client may leave a server idle in a transaction, 0 for ever",
        "a transaction that has asked for nothing for a minute was forgotten";
}

settings! {
    /// What is remembered.
    History;
    keep: Seconds = "86400", Restart Policy Honoured,
        "How far back the history in memory goes",
        "as yesterday at this time is what is asked for";
    pools_max: Ranged<10000> = "100", Restart Policy Honoured,
        "Pools with a history of their own", "each takes at most 150 kB";
    file: File = "", Restart Policy Honoured,
        "File (of SQLite's) in which history outlives the process, in a folder that exists",
        "nothing is written to disk unasked";
    file_keep: WholeSeconds = "34560000", Restart Policy Honoured,
        "How far back the hours in the file go; ten minutes last 90 days, minutes a week",
        "as last year is what is asked for, and 400 days are a year and some";
    file_size_max: FileSize = "268435456", Restart Policy Honoured,
        "What the file may grow to, in bytes; then the oldest points go, the finest first",
        "all of a hundred pools takes about 256 MiB";
}

overrides! {
    /// A rule of one's own, as it is written.
    RuleEntry;
    metric: MetricName, Policy Honoured, "What is watched", "it must be said";
    above: Decimal, Policy Honoured, "The value above which it is bad", "one of the two is said";
    below: Decimal, Policy Honoured, "The value below which it is bad", "one of the two is said";
    duration: Seconds, Policy Honoured, "How long it must be bad before it fires",
        "it fires at once";
    severity: Urgency, Policy Honoured, "How bad it is", "it is a warning";
    cool_down: Seconds, Policy Honoured, "How long it stays quiet after it has resolved",
        "a minute is as good for this rule as for others";
    summary: Text, Policy Honoured, "What it means", "its name says it";
}

impl RuleEntry {
    /// Makes the rule; `None` if its metric or its threshold is missing.
    pub(super) fn rule(&self) -> Option<Rule> {
        let metric: Metric = self.metric?;
        let (comparison, threshold) = match (self.above, self.below) {
            (Some(above), None) => (Comparison::Above, above),
            (None, Some(below)) => (Comparison::Below, below),
            _ => return None,
        };
        let severity = self.severity.map_or(Severity::Warning, Severity::from);
        let seconds = |time: Duration| time.as_secs_f64();
        let base = Rule::above(&self.name, metric, threshold.0, severity);
        Some(Rule {
            comparison,
            for_seconds: self.duration.map_or(0.0, seconds),
            cool_down_seconds: self.cool_down.map_or(base.cool_down_seconds, seconds),
            summary: self.summary.clone().unwrap_or_default(),
            ..base
        })
    }
}

impl From<Urgency> for Severity {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Info => Self::Info,
            Urgency::Warning => Self::Warning,
            Urgency::Critical => Self::Critical,
        }
    }
}
