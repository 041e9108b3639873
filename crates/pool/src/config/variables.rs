//! Every environment variable there is, but for `HEADPOND_…`, whose names are the keys' own.
//!
//! Invariant: a variable that is not in the table is never looked at; `<NAME>` stands for a
//! database's name in capitals, with `_` for what is no letter and no digit.
//! Left out: what wins over what (`origin.rs`).

use super::kind::Kind;
use crate::options::Bare;

/// An environment variable.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it sets.
    pub to: To,
    /// Whom it concerns.
    pub whose: Whose,
    /// What a bare number counts.
    pub bare: Bare,
}

/// What a variable sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A key of databases.
    Key(&'static str),
    /// A key of all together.
    General(&'static str),
    /// The URL of a database.
    Url,
    /// A part of the URL of a database.
    Part(Part),
    /// Whether the main database is reached through a PgBouncer.
    UsePgbouncer,
    /// The URL of that PgBouncer.
    PgbouncerUrl,
    /// The URL of its console, for whoever watches.
    PgbouncerAdminUrl,
    /// Nothing; accepted because others set it.
    Nothing(&'static str),
}

/// Whom a variable concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All databases together.
    General,
    /// Every database that speaks SQL.
    Sql,
    /// Every database of a kind; for a URL or a part of it, the one named like the kind.
    Kind(Kind),
    /// The database of the name, of a kind.
    Named(Kind),
    /// The database of the name, of whatever kind.
    Any,
    /// The database `main`.
    Main,
}

/// A part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The host.
    Host,
    /// The port.
    Port,
    /// The user.
    User,
    /// The password.
    Password,
    /// The database, or its number.
    Database,
}

const fn variable(name: &'static str, whose: Whose, to: To, bare: Bare) -> Variable {
    Variable { name, to, whose, bare }
}

use Bare::{Milliseconds as Ms, Refused as No};
use Kind::{Mysql, Redis};
use Part::{Database, Host, Password, Port, User};
use To::{General, Key, Nothing, PgbouncerAdminUrl, PgbouncerUrl, Url, UsePgbouncer};
use Whose::{Any, Main, Named, Sql};

const DEADLINES: &str = "idle connections are closed when they are due, not at intervals";

/// The variables, in the order in which they are applied: of two that set the same for the same
/// databases the later one wins.
pub static VARIABLES: &[Variable] = &[
    variable("DATABASE_URL", Main, Url, No),
    variable("DATABASE_URL_<NAME>", Any, Url, No),
    variable("<NAME>_DATABASE_URL", Any, Url, No),
    variable("USE_PGBOUNCER", Main, UsePgbouncer, No),
    variable("PGBOUNCER_URL", Main, PgbouncerUrl, No),
    variable("PGBOUNCER_ADMIN_URL", Main, PgbouncerAdminUrl, No),
    variable("DB_POOL_MAX", Sql, Key("pool.max"), No),
    variable("DB_POOL_MIN", Sql, Key("pool.min"), No),
    variable("DB_ACQUIRE_TIMEOUT", Sql, Key("pool.acquire_timeout"), Ms),
    variable("DB_IDLE_TIMEOUT", Sql, Key("pool.idle_timeout"), Ms),
    variable("DATABASE_CONNECTION_TIMEOUT_MS", Sql, Key("pool.connect_timeout"), Ms),
    variable("DATABASE_IDLE_TIMEOUT_MS", Sql, Key("pool.idle_timeout"), Ms),
    variable("DATABASE_QUERY_TIMEOUT_MS", Sql, Key("session.statement_timeout"), Ms),
    variable("REDIS_URL", Whose::Kind(Redis), Url, No),
    variable("REDIS_HOST", Whose::Kind(Redis), To::Part(Host), No),
    variable("REDIS_PORT", Whose::Kind(Redis), To::Part(Port), No),
    variable("REDIS_USERNAME", Whose::Kind(Redis), To::Part(User), No),
    variable("REDIS_PASSWORD", Whose::Kind(Redis), To::Part(Password), No),
    variable("REDIS_DB", Whose::Kind(Redis), To::Part(Database), No),
    variable("REDIS_POOL_MIN", Whose::Kind(Redis), Key("pool.min"), No),
    variable("REDIS_POOL_MAX", Whose::Kind(Redis), Key("pool.max"), No),
    variable("REDIS_POOL_ACQUIRE_TIMEOUT", Whose::Kind(Redis), Key("pool.acquire_timeout"), Ms),
    variable("REDIS_POOL_IDLE_TIMEOUT", Whose::Kind(Redis), Key("pool.idle_timeout"), Ms),
    variable("REDIS_POOL_EVICTION_INTERVAL", Whose::Kind(Redis), Nothing(DEADLINES), Ms),
    variable("MYSQL_URL", Whose::Kind(Mysql), Url, No),
    variable("MYSQL_HOST", Whose::Kind(Mysql), To::Part(Host), No),
    variable("MYSQL_PORT", Whose::Kind(Mysql), To::Part(Port), No),
    variable("MYSQL_USER", Whose::Kind(Mysql), To::Part(User), No),
    variable("MYSQL_PASSWORD", Whose::Kind(Mysql), To::Part(Password), No),
    variable("MYSQL_DATABASE", Whose::Kind(Mysql), To::Part(Database), No),
    variable("MYSQL_POOL_MIN", Whose::Kind(Mysql), Key("pool.min"), No),
    variable("MYSQL_POOL_MAX", Whose::Kind(Mysql), Key("pool.max"), No),
    variable("MYSQL_POOL_ACQUIRE_TIMEOUT", Whose::Kind(Mysql), Key("pool.acquire_timeout"), Ms),
    variable("MYSQL_POOL_IDLE_TIMEOUT", Whose::Kind(Mysql), Key("pool.idle_timeout"), Ms),
    variable("MYSQL_POOL_EVICTION_TIMEOUT", Whose::Kind(Mysql), Nothing(DEADLINES), Ms),
    variable("MYSQL_<NAME>_URL", Named(Mysql), Url, No),
    variable("MYSQL_<NAME>_HOST", Named(Mysql), To::Part(Host), No),
    variable("MYSQL_<NAME>_PORT", Named(Mysql), To::Part(Port), No),
    variable("MYSQL_<NAME>_USER", Named(Mysql), To::Part(User), No),
    variable("MYSQL_<NAME>_PASSWORD", Named(Mysql), To::Part(Password), No),
    variable("MYSQL_<NAME>_DATABASE", Named(Mysql), To::Part(Database), No),
    variable("MYSQL_<NAME>_POOL_MIN", Named(Mysql), Key("pool.min"), No),
    variable("MYSQL_<NAME>_POOL_MAX", Named(Mysql), Key("pool.max"), No),
    variable("MYSQL_<NAME>_POOL_ACQUIRE_TIMEOUT", Named(Mysql), Key("pool.acquire_timeout"), Ms),
    variable("MYSQL_<NAME>_POOL_IDLE_TIMEOUT", Named(Mysql), Key("pool.idle_timeout"), Ms),
    variable("MYSQL_<NAME>_POOL_EVICTION_TIMEOUT", Named(Mysql), Nothing(DEADLINES), Ms),
    variable("ENABLE_CONNECTION_MONITORING", Whose::General, General("monitoring.enabled"), No),
    variable(
        "CONNECTION_MONITORING_INTERVAL_MS",
        Whose::General,
        General("monitoring.interval"),
        Ms,
    ),
    variable("POOL_MONITORING_ENABLED", Whose::General, General("monitoring.enabled"), No),
    variable("POOL_STATS_INTERVAL", Whose::General, General("monitoring.interval"), Ms),
    variable("ENABLE_POOL_LOGGING", Whose::General, General("log_events"), No),
    variable("HEALTH_CHECK_INTERVAL", Whose::General, General("health_interval"), Ms),
];

/// Where a name stands in a variable's.
pub(super) const NAME: &str = "<NAME>";

/// Returns a database's name as it stands in variables.
pub(super) fn capital(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

/// Returns the name that a variable gives a database, if it fits the pattern.
pub(super) fn name_in<'v>(pattern: &str, variable: &'v str) -> Option<&'v str> {
    let (before, after) = pattern.split_once(NAME)?;
    let name = variable.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty()).then_some(name)
}
