//! Counts and averages.
//!
//! Invariant: the twelve counters are in PgBouncer's order, whatever a table calls them.

use super::{Column, Table, Value, columns};

/// What is counted; as an average, per second or per transaction, query or wait.
/// Times are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times a client was given a server.
    pub server_assignment_count: u64,
    /// Transactions.
    pub xact_count: u64,
    /// Queries.
    pub query_count: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Time in transactions.
    pub xact_time: u64,
    /// Time in queries.
    pub query_time: u64,
    /// Time clients waited for a server.
    pub wait_time: u64,
    /// Parse messages of clients.
    pub client_parse_count: u64,
    /// Parse messages to servers.
    pub server_parse_count: u64,
    /// Bind messages.
    pub bind_count: u64,
    /// Logins of clients.
    pub client_login_count: u64,
}

impl Counters {
    fn values(&self) -> [u64; 12] {
        [
            self.server_assignment_count,
            self.xact_count,
            self.query_count,
            self.received,
            self.sent,
            self.xact_time,
            self.query_time,
            self.wait_time,
            self.client_parse_count,
            self.server_parse_count,
            self.bind_count,
            self.client_login_count,
        ]
    }
}

/// One database, the console's included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRow {
    /// The database entry.
    pub database: String,
    /// Counts since the start.
    pub totals: Counters,
    /// Averages over the last period.
    pub averages: Counters,
}

fn table<'a>(
    columns: &'static [Column],
    rows: &'a [StatsRow],
    values: impl Fn(&'a StatsRow) -> Vec<u64>,
) -> Table {
    let mut table = Table::new(columns);
    for row in rows {
        let name = std::iter::once(Value::from(row.database.as_str()));
        table.push(name.chain(values(row).into_iter().map(Value::from)).collect());
    }
    table
}

/// SHOW STATS.
pub fn stats(rows: &[StatsRow]) -> Table {
    let columns = columns! {
        Text: "database";
        Numeric: "total_server_assignment_count" "total_xact_count" "total_query_count"
            "total_received" "total_sent" "total_xact_time" "total_query_time" "total_wait_time"
            "total_client_parse_count" "total_server_parse_count" "total_bind_count"
            "total_client_login_count"
            "avg_server_assignment_count" "avg_xact_count" "avg_query_count"
            "avg_recv" "avg_sent" "avg_xact_time" "avg_query_time" "avg_wait_time"
            "avg_client_parse_count" "avg_server_parse_count" "avg_bind_count"
            "avg_client_login_count";
    };
    table(columns, rows, |row| [row.totals.values(), row.averages.values()].concat())
}

/// SHOW STATS_TOTALS.
pub fn stats_totals(rows: &[StatsRow]) -> Table {
    let columns = columns! {
        Text: "database";
        Numeric: "server_assignment_count" "xact_count" "query_count" "bytes_received"
            "bytes_sent" "xact_time" "query_time" "wait_time" "client_parse_count"
            "server_parse_count" "bind_count" "client_login_count";
    };
    table(columns, rows, |row| row.totals.values().to_vec())
}

/// SHOW STATS_AVERAGES.
pub fn stats_averages(rows: &[StatsRow]) -> Table {
    let columns = columns! {
        Text: "database";
        Numeric: "server_assignment_count" "xact_count" "query_count" "bytes_received"
            "bytes_sent" "xact_time" "query_time" "wait_time" "avg_client_parse_count"
            "avg_server_parse_count" "avg_bind_count" "avg_client_login_count";
    };
    table(columns, rows, |row| row.averages.values().to_vec())
}

/// SHOW TOTALS: each counter summed over the databases.
pub fn totals(rows: &[StatsRow]) -> Table {
    const NAMES: [&str; 12] = [
        "server_assignment_count",
        "xact_count",
        "query_count",
        "client_bytes",
        "server_bytes",
        "xact_time",
        "query_time",
        "wait_time",
        "ps_client_parse_count",
        "ps_server_parse_count",
        "ps_bind_count",
        "client_login_count",
    ];
    let mut table = Table::new(columns! { Text: "name"; Numeric: "value"; });
    let mut sum = |prefix: &str, of: fn(&StatsRow) -> &Counters| {
        let mut sums = [0_u64; 12];
        for row in rows {
            for (sum, value) in sums.iter_mut().zip(of(row).values()) {
                *sum = sum.saturating_add(value);
            }
        }
        for (name, sum) in NAMES.iter().zip(sums) {
            table.push(vec![Value::from(format!("{prefix}{name}")), Value::from(sum)]);
        }
    };
    sum("total_", |row| &row.totals);
    sum("avg_", |row| &row.averages);
    table
}
