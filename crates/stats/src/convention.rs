//! OpenTelemetry's names for pools of database clients, and how Prometheus spells them.
//!
//! Invariant: a name, its spelling and its unit stand in one row; whoever translates in either
//! direction reads it here.
//! Not here: what has no name there; such families keep their own.

/// One metric of the conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convention {
    /// The name, with dots.
    pub name: &'static str,
    /// The family that Prometheus has for it, without a counter's `_total`.
    pub spelled: &'static str,
    /// The unit, as UCUM writes it; what is counted stands in braces.
    pub unit: &'static str,
}

const fn row(name: &'static str, spelled: &'static str, unit: &'static str) -> Convention {
    Convention { name, spelled, unit }
}

/// The metrics of a pool.
pub const METRICS: [Convention; 9] = [
    row("db.client.connection.count", "db_client_connection_count", "{connection}"),
    row("db.client.connection.max", "db_client_connection_max", "{connection}"),
    row("db.client.connection.idle.max", "db_client_connection_idle_max", "{connection}"),
    row("db.client.connection.idle.min", "db_client_connection_idle_min", "{connection}"),
    row(
        "db.client.connection.pending_requests",
        "db_client_connection_pending_requests",
        "{request}",
    ),
    row("db.client.connection.timeouts", "db_client_connection_timeouts", "{timeout}"),
    row("db.client.connection.create_time", "db_client_connection_create_time_seconds", "s"),
    row("db.client.connection.wait_time", "db_client_connection_wait_time_seconds", "s"),
    row("db.client.connection.use_time", "db_client_connection_use_time_seconds", "s"),
];

/// Their attributes: the name, and the label that Prometheus has for it.
pub const ATTRIBUTES: [(&str, &str); 2] = [
    ("db.client.connection.pool.name", "db_client_connection_pool_name"),
    ("db.client.connection.state", "db_client_connection_state"),
];

/// The label in which Prometheus is told whose metrics they are.
pub const SCOPE: &str = "otel_scope_name";

/// Returns the convention of a family.
#[must_use]
pub fn metric(spelled: &str) -> Option<&'static Convention> {
    METRICS.iter().find(|row| row.spelled == spelled)
}

/// Returns the attribute that a label stands for; any other label stands for itself.
#[must_use]
pub fn attribute(label: &str) -> &str {
    ATTRIBUTES.iter().find(|(_, spelled)| *spelled == label).map_or(label, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelled_as_the_rules_say() {
        for row in METRICS {
            let unit = if row.unit == "s" { "_seconds" } else { "" };
            assert_eq!(row.spelled, row.name.replace('.', "_") + unit);
            assert_eq!(metric(row.spelled), Some(&row));
        }
        for (name, spelled) in ATTRIBUTES {
            assert_eq!(spelled, name.replace('.', "_"));
            assert_eq!(attribute(spelled), name);
        }
        assert_eq!((metric("db_pool_size"), attribute("pool")), (None, "pool"));
    }
}
