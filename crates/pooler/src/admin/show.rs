//! What SHOW shows: rows in, tables with PgBouncer's columns out.
//!
//! Invariant: columns, their order and their types are PgBouncer's to the letter, because
//! programs read them by name, by number and by type; every row has a value for each column,
//! and no number is ever NULL.
//! Not here: gathering the rows, and bytes (`render.rs`).

mod rows;
mod socket;
mod statistics;

pub use rows::{
    DatabaseRow, DnsHostRow, DnsZoneRow, Lists, MemRow, PeerPoolRow, PeerRow, PoolRow, State,
    UserRow, databases, dns_hosts, dns_zones, lists, mem, peer_pools, peers, pools, state, users,
    version,
};
pub use socket::{
    ClientRow, ClientState, Clock, Replication, ServerRow, ServerState, clients, servers, sockets,
};
pub use statistics::{Counters, StatsRow, stats, stats_averages, stats_totals, totals};

use super::command::FakeParameter;
use crate::config::ConfigRow;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`, oid 25; may be NULL.
    Text,
    /// `int4`, oid 23.
    Int,
    /// `int8`, oid 20.
    Big,
    /// `numeric`, oid 1700.
    Numeric,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

/// Makes a list of columns from `name kind` pairs.
macro_rules! columns {
    ($($kind:ident: $($name:literal)+;)+) => {
        &[ $( $( $crate::admin::show::Column {
            name: $name,
            kind: $crate::admin::show::Kind::$kind,
        }, )+ )+ ]
    };
}
use columns;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing; in text columns only.
    Null,
    /// A text.
    Text(String),
    /// A number; what a column cannot hold is shown as the most it can.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(text: Option<T>) -> Self {
        text.map_or(Value::Null, Into::into)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Number(u64::from(number))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Value::Number(u64::from(number))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Number(u64::from(flag))
    }
}

/// What one SHOW answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Value>>,
}

impl Table {
    fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    fn push(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a value for each column");
        for (value, column) in row.iter().zip(self.columns) {
            let fits = matches!(value, Value::Number(_)) != (column.kind == Kind::Text);
            assert!(fits, "column {} holds {:?}, not {value:?}", column.name, column.kind);
        }
        self.rows.push(row);
    }

    /// Returns the columns.
    pub fn columns(&self) -> &'static [Column] {
        self.columns
    }

    /// Returns the rows.
    pub fn rows(&self) -> &[Vec<Value>] {
        &self.rows
    }
}

/// Makes a row from values of any type that a column can show.
macro_rules! row {
    ($($value:expr),+ $(,)?) => {
        vec![ $( $crate::admin::show::Value::from($value) ),+ ]
    };
}
use row;

/// SHOW CONFIG.
pub fn config(rows: Vec<ConfigRow>) -> Table {
    let mut table = Table::new(columns! { Text: "key" "value" "default" "changeable"; });
    for ConfigRow { key, value, default, changeable } in rows {
        table.push(row![key, value, default, if changeable { "yes" } else { "no" }]);
    }
    table
}

/// SHOW of a parameter that clients ask for by habit.
pub fn fake(parameter: FakeParameter) -> Table {
    let columns: &'static [Column] = match parameter {
        FakeParameter::ClientEncoding => columns! { Text: "client_encoding"; },
        FakeParameter::DefaultTransactionIsolation => {
            columns! { Text: "default_transaction_isolation"; }
        }
        FakeParameter::StandardConformingStrings => {
            columns! { Text: "standard_conforming_strings"; }
        }
        FakeParameter::DateStyle => columns! { Text: "datestyle"; },
        FakeParameter::TimeZone => columns! { Text: "timezone"; },
        FakeParameter::ExtraFloatDigits => columns! { Text: "extra_float_digits"; },
    };
    let mut table = Table::new(columns);
    table.push(row![parameter.value()]);
    table
}
