//! The settings PgBouncer does not have, of the pooler itself: `[headpond]`.
//!
//! Invariant: with every one at its default the pooler behaves as PgBouncer would, and only uses
//! the machine better.

use super::choice::{Engine, LogFormat, OnFailing};
use super::kind::{Bytes, Flag, Milliseconds, Ranged, Seconds};
use super::table::settings;

settings! {
    /// What only this program has.
    Native;
    workers: Ranged<1024> = "0", Restart Policy Honoured,
        "Worker threads, 0 for one per core", "a pooler should use the machine it was given";
    engine: Engine = "epoll", Restart Policy Honoured,
        "How the workers talk to the system: auto takes io_uring where the kernel allows it",
        "containers often forbid io_uring, and the same everywhere is easier to reason about";
    log_format: LogFormat = "pgbouncer", Live Policy Honoured,
        "How log lines look", "the tools that read PgBouncer's log go on reading it";
    share_unnamed as "share_unnamed_statements": Flag = "0", Live Policy Honoured,
        "Whether unnamed prepared statements are parsed once per server",
        "an application that never names statements may send a new text each time";
    local_first as "local_first_ms": Milliseconds = "1", Live Policy Honoured,
        "How long a waiter of another worker may be overtaken by the own worker's",
        "a handover between threads costs more than this on a busy machine";
    drain_timeout: Seconds = "0", Live Policy Honoured,
        "How long a shutdown waits before it closes who is left, 0 for as long as it takes",
        "PgBouncer waits for as long as it takes";
    on_failing: OnFailing = "fail", Live Policy Honoured,
        "What clients hear while no server can be reached",
        "PgBouncer fails them at once, and a client that is told can act";
    connects_max: Ranged<10000> = "8", Live Policy Honoured,
        "Server logins under way at once per pool",
        "a burst of logins is what a database that just came back cannot bear";
    statement_cache: Bytes = "67108864", Live Policy Accepted,
        "Memory for the texts of prepared statements, in bytes",
        "64 MiB hold some hundred thousand texts";
}
