//! The console of a real PgBouncer: what is asked of it, and what its answers mean.
//!
//! Invariant: columns are found by their names, so every version can be read: what is unknown is
//! ignored, and what a version does not have is left out. What cannot be read is an error with
//! its words, never a panic. Texts are cut to `TEXT_MAX`, rows to `POOLS_MAX`.
//! Not here: the connection (its owners: `headpond`, `headpond-pooler`), what follows from the
//! figures (`health`, `advice`).

use std::collections::HashMap;
use std::future::Future;

use crate::model::{
    BouncerDatabase, BouncerFigures, BouncerPool, BouncerState, BouncerSum, BouncerTotals,
    CheckError, CheckErrorKind,
};

/// The database that stands for the console.
pub const DATABASE: &str = "pgbouncer";
/// The most that one answer may have, in bytes: 4 MiB, because that is SHOW POOLS of a PgBouncer
/// with 30,000 pools.
pub const ANSWER_MAX: usize = 4 << 20;
/// Characters of a text that are kept: twice the longest name in PostgreSQL.
const TEXT_MAX: usize = 128;
/// Pools and databases that are kept, those that matter most.
const POOLS_MAX: usize = 1_000;

/// Rows of texts under named columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What a console answers: a table, or the words with which it refuses the question.
pub type Answer = Result<Table, String>;

/// A console that is logged in to.
pub trait Console: Send {
    /// Sends one question by the simple protocol and returns the answer.
    ///
    /// An answer of more than [`ANSWER_MAX`] bytes is an error.
    fn ask(
        &mut self,
        question: &'static str,
    ) -> impl Future<Output = Result<Answer, CheckError>> + Send;
}

/// Asks a console for all its figures. The caller limits the time.
///
/// # Errors
/// The connection broke, or the pools could not be read.
///
/// # Cancel safety
/// Dropping the future leaves the console in the middle of an answer: it must be closed.
pub async fn figures(console: &mut impl Console) -> Result<BouncerFigures, CheckError> {
    let mut figures = BouncerFigures::default();
    let version = optional(console, "SHOW VERSION").await?;
    figures.version = version.rows.first().map(|row| cut(row.first())).unwrap_or_default();
    let pools = required(console, "SHOW POOLS").await?;
    let databases = optional(console, "SHOW DATABASES").await?;
    let users = optional(console, "SHOW USERS").await?;
    figures.databases = read_databases(&databases);
    read_pools(&pools, &sizes_of_users(&users), &mut figures)?;
    let lists = values(&optional(console, "SHOW LISTS").await?, "list", "items");
    let count = |name: &str| lists.get(name).and_then(|text| text.parse().ok()).unwrap_or(0u64);
    figures.clients = count("used_clients");
    // Free ones are room that it has set aside for servers to come.
    figures.servers = count("used_servers");
    let config = values(&optional(console, "SHOW CONFIG").await?, "key", "value");
    let max = config.get("max_client_conn").and_then(|text| text.parse().ok());
    figures.clients_max = max.unwrap_or(0);
    figures.totals = read_totals(&optional(console, "SHOW STATS").await?);
    let state = match tells_state(&figures.version) {
        true => optional(console, "SHOW STATE").await?,
        false => Table::default(),
    };
    let state = values(&state, "key", "value");
    let is = |name: &str| state.get(name).is_some_and(|text| text == "yes");
    figures.state = match (is("suspended"), is("paused")) {
        (true, _) => BouncerState::Suspended,
        (_, true) => BouncerState::Paused,
        _ => BouncerState::Active,
    };
    figures.pools.truncate(POOLS_MAX);
    figures.databases.truncate(POOLS_MAX);
    Ok(figures)
}

/// Makes of a refused login what it is if the user is only not allowed to look.
#[must_use]
pub fn login_error(error: CheckError) -> CheckError {
    // Every refusal of a PgBouncer has the same code: only its words tell this one apart.
    let is_stranger = error.kind == CheckErrorKind::Refused && error.text.contains("not allowed");
    if !is_stranger {
        return error;
    }
    let text = format!("{}: it shows its figures to admin_users and stats_users only", error.text);
    CheckError { kind: CheckErrorKind::NotAllowed, text }
}

fn unreadable(text: String) -> CheckError {
    CheckError { kind: CheckErrorKind::Protocol, text }
}

async fn required(console: &mut impl Console, question: &'static str) -> Result<Table, CheckError> {
    let refused = |text: String| unreadable(format!("{question}: {text}"));
    console.ask(question).await?.map_err(refused)
}

/// What a console does not know it refuses, and goes on.
async fn optional(console: &mut impl Console, question: &'static str) -> Result<Table, CheckError> {
    Ok(console.ask(question).await?.unwrap_or_default())
}

/// Whether a version is worth asking for its state: an old one would log each time that it does
/// not know the question.
fn tells_state(version: &str) -> bool {
    let Some(rest) = version.strip_prefix("PgBouncer 1.") else { return !version.is_empty() };
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    minor.parse().is_ok_and(|minor: u32| minor > 18)
}

/// A text as far as it is kept.
fn cut(value: Option<&Option<String>>) -> String {
    let text = value.and_then(Option::as_deref).unwrap_or_default();
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(TEXT_MAX).map(shown).collect()
}

/// A row whose values are found by the names of their columns.
#[derive(Clone, Copy)]
struct Row<'a> {
    places: &'a HashMap<&'a str, usize>,
    values: &'a [Option<String>],
}

fn places(table: &Table) -> HashMap<&str, usize> {
    table.columns.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect()
}

impl<'a> Row<'a> {
    fn value(&self, column: &str) -> Option<&'a Option<String>> {
        self.values.get(*self.places.get(column)?)
    }

    fn text(&self, column: &str) -> String {
        cut(self.value(column))
    }

    /// A number, if it is there and one.
    fn number(&self, column: &str) -> Option<u64> {
        self.value(column)?.as_deref()?.trim().parse().ok()
    }

    /// A number that PgBouncer may write with a fraction.
    fn decimal(&self, column: &str) -> Option<f64> {
        let number: f64 = self.value(column)?.as_deref()?.trim().parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    }

    /// A number without which the answer means nothing.
    fn needed(&self, column: &str) -> Result<u64, CheckError> {
        let wrong = || {
            let what = if self.places.contains_key(column) { "no number in" } else { "no" };
            unreadable(format!("SHOW POOLS: {what} column {column}"))
        };
        self.number(column).ok_or_else(wrong)
    }

    fn flag(&self, column: &str) -> bool {
        self.number(column).unwrap_or(0) != 0
    }
}

/// Turns a table of names and values into what it says.
fn values(table: &Table, name: &str, value: &str) -> HashMap<String, String> {
    let places = places(table);
    let rows = table.rows.iter().map(|values| Row { places: &places, values });
    rows.map(|row| (row.text(name), row.text(value))).collect()
}

fn sizes_of_users(table: &Table) -> HashMap<String, u64> {
    let places = places(table);
    let rows = table.rows.iter().map(|values| Row { places: &places, values });
    rows.filter_map(|row| Some((row.text("name"), row.number("pool_size")?))).collect()
}

fn read_databases(table: &Table) -> Vec<BouncerDatabase> {
    let places = places(table);
    let rows = table.rows.iter().map(|values| Row { places: &places, values });
    let database = |row: Row<'_>| BouncerDatabase {
        name: row.text("name"),
        force_user: Some(row.text("force_user")).filter(|user| !user.is_empty()),
        pool_size: row.number("pool_size"),
        paused: row.flag("paused"),
        disabled: row.flag("disabled"),
    };
    let mut all: Vec<BouncerDatabase> = rows.map(database).collect();
    all.retain(|database| database.name != DATABASE);
    // What is held back must not be among those that are left out.
    all.sort_by_key(|database| !(database.paused || database.disabled));
    all
}

fn read_pools(
    table: &Table,
    sizes: &HashMap<String, u64>,
    figures: &mut BouncerFigures,
) -> Result<(), CheckError> {
    let by_name: HashMap<&str, &BouncerDatabase> =
        figures.databases.iter().map(|database| (database.name.as_str(), database)).collect();
    let places = places(table);
    let mut pools = Vec::new();
    for values in &table.rows {
        let row = Row { places: &places, values };
        let mut pool = read_pool(row)?;
        if pool.database == DATABASE {
            continue;
        }
        // As PgBouncer decides: the user's own, else the database's.
        let of_database = || by_name.get(pool.database.as_str()).and_then(|d| d.pool_size);
        pool.pool_size = sizes.get(&pool.user).copied().or_else(of_database);
        pools.push(pool);
    }
    if table.columns.is_empty() {
        return Err(unreadable("SHOW POOLS: an answer without columns".to_owned()));
    }
    figures.sum = pools.iter().fold(BouncerSum::default(), add);
    figures.pools_total = pools.len() as u64;
    pools.sort_by(|a, b| {
        let weight = |pool: &BouncerPool| (pool.cl_waiting, pool.sv_active, pool.cl_active);
        weight(b).cmp(&weight(a)).then_with(|| (&a.database, &a.user).cmp(&(&b.database, &b.user)))
    });
    figures.pools = pools;
    Ok(())
}

fn read_pool(row: Row<'_>) -> Result<BouncerPool, CheckError> {
    let micros = row.decimal("maxwait_us").unwrap_or(0.0) / 1e6;
    let other = ["sv_tested", "sv_login", "sv_active_cancel", "sv_being_canceled"];
    let other = other.iter().filter_map(|column| row.number(column));
    Ok(BouncerPool {
        database: row.text("database"),
        user: row.text("user"),
        cl_active: row.needed("cl_active")?,
        cl_waiting: row.needed("cl_waiting")?,
        sv_active: row.needed("sv_active")?,
        sv_idle: row.needed("sv_idle")?,
        sv_used: row.needed("sv_used")?,
        sv_other: other.fold(0, u64::saturating_add),
        maxwait_seconds: row.needed("maxwait")? as f64 + micros,
        pool_mode: row.text("pool_mode"),
        pool_size: None,
    })
}

fn add(sum: BouncerSum, pool: &BouncerPool) -> BouncerSum {
    BouncerSum {
        cl_active: sum.cl_active.saturating_add(pool.cl_active),
        cl_waiting: sum.cl_waiting.saturating_add(pool.cl_waiting),
        sv_active: sum.sv_active.saturating_add(pool.sv_active),
        sv_idle: sum.sv_idle.saturating_add(pool.sv_idle),
        sv_used: sum.sv_used.saturating_add(pool.sv_used),
        sv_other: sum.sv_other.saturating_add(pool.sv_other),
        maxwait_seconds: sum.maxwait_seconds.max(pool.maxwait_seconds),
    }
}

fn read_totals(table: &Table) -> Option<BouncerTotals> {
    let places = places(table);
    if !places.contains_key("total_query_count") {
        return None;
    }
    let mut totals = BouncerTotals::default();
    for values in &table.rows {
        let row = Row { places: &places, values };
        if row.text("database") == DATABASE {
            continue;
        }
        let add = |to: &mut u64, column| {
            *to = to.saturating_add(row.number(column).unwrap_or(0));
        };
        add(&mut totals.queries, "total_query_count");
        add(&mut totals.transactions, "total_xact_count");
        add(&mut totals.received_bytes, "total_received");
        add(&mut totals.sent_bytes, "total_sent");
        let micros = |column| row.decimal(column).unwrap_or(0.0) / 1e6;
        totals.query_seconds += micros("total_query_time");
        totals.transaction_seconds += micros("total_xact_time");
        totals.wait_seconds += micros("total_wait_time");
    }
    Some(totals)
}

#[cfg(test)]
mod tests;
