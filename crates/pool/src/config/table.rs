//! Every key there is beside a pool's own.
//!
//! Invariant: what `show` writes `set` reads; a key that is not in a table does not exist.
//! Left out: environment variables and options of URLs (`variables.rs`, `crate::options`), which
//! lead here.

use super::{DatabaseConfig, General};
use crate::options::duration::{parse, parse_optional, show, show_optional};
use crate::options::{
    FLAG, Key, PoolKeys, TIME, TIME_OR_OFF, flag, keys, number, number_or_off, or_off,
};

/// The keys of one database.
pub static DATABASE: &[Key<DatabaseConfig>] = &ALL;

const POOL: &[Key<DatabaseConfig>] = PoolKeys::ALL;
const ALL: [Key<DatabaseConfig>; POOL.len() + OWN.len()] = {
    let mut all = [OWN[0]; POOL.len() + OWN.len()];
    let mut n = 0;
    while n < all.len() {
        all[n] = if n < POOL.len() { POOL[n] } else { OWN[n - POOL.len()] };
        n += 1;
    }
    all
};

const OWN: &[Key<DatabaseConfig>] = keys! {
    "session.statement_timeout", TIME_OR_OFF,
        |c, t, b| c.session.statement_timeout = parse_optional(t, b)?,
        |c| show_optional(c.session.statement_timeout),
        "a statement nobody waits for any more should not keep a connection";
    "session.lock_timeout", TIME_OR_OFF, |c, t, b| c.session.lock_timeout = parse_optional(t, b)?,
        |c| show_optional(c.session.lock_timeout),
        "a queue behind a lock fills every pool";
    "session.idle_in_transaction_timeout", TIME_OR_OFF,
        |c, t, b| c.session.idle_in_transaction_timeout = parse_optional(t, b)?,
        |c| show_optional(c.session.idle_in_transaction_timeout),
        "a forgotten transaction holds locks and stops the clean-up of old rows";
    "statement_cache", "a whole number, or auto",
        |c, t, b| c.statement_cache = if t.trim() == "auto" { None } else { Some(number(t)?) },
        |c| c.statement_cache.map_or_else(|| "auto".to_owned(), |n| n.to_string()),
        "the adapter knows best";
};

/// The keys of all databases together.
pub static GENERAL: &[Key<General>] = keys! {
    "budget", "a whole number, or off", |c, t, b| c.budget = number_or_off(t)?,
        |c| or_off(c.budget), "only the operator knows what the server has room for";
    "startup_timeout", TIME, |c, t, b| c.startup_timeout = parse(t, b)?,
        |c| show(c.startup_timeout), "orchestrators give up on a service after about as long";
    "shutdown_timeout", TIME, |c, t, b| c.shutdown_timeout = parse(t, b)?,
        |c| show(c.shutdown_timeout), "Kubernetes kills after 30 s, and the rest needs time too";
    "monitoring.enabled", FLAG, |c, t, b| c.monitoring = flag(t)?,
        |c| c.monitoring.to_string(), "numbers can be had without it at any time";
    "monitoring.interval", TIME, |c, t, b| c.monitoring_interval = parse(t, b)?,
        |c| show(c.monitoring_interval), "a line per minute is read, a line per second is not";
    "health_interval", TIME_OR_OFF, |c, t, b| c.health_interval = parse_optional(t, b)?,
        |c| show_optional(c.health_interval), "pools check what they lend already";
    "log_events", FLAG, |c, t, b| c.log_events = flag(t)?, |c| c.log_events.to_string(),
        "a line for every loan is for debugging";
};
