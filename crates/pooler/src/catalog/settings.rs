//! The settings of one pool, resolved from user, database and global values.
//!
//! Invariant: each default is `config`'s; here is only their translation into what the relay and
//! the core understand.
//! Not here: who wins over whom (`config::effective`).

use std::time::Duration;

use headpond_core::{IdleOrder, Limits, OnFailing, Policy};
use headpond_wire::session::{Mode, Settings};

use super::pool::PoolSettings;
use super::view::View;
use crate::config::{self, CheckQuery, PoolMode};

/// Share of the lifetime, per mille, over which closes are spread.
const LIFETIME_JITTER: u32 = 100;
/// First pause after a failed connect, because a restart takes less than a second.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between two attempts, so that a server that came back is used within it.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// The longest statement text that is kept for preparing it elsewhere.
const STATEMENT_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Resolves the settings of the pool of a database and a user.
#[must_use]
pub fn resolve(view: &View, spec: &config::Database, user: &str, lanes: usize) -> PoolSettings {
    let config = &view.config;
    let global = &config.global;
    let mode = match config.pool_mode(spec, user) {
        PoolMode::Session => Mode::Session,
        PoolMode::Transaction => Mode::Transaction,
        PoolMode::Statement => Mode::Statement,
    };
    let check = match &global.server_check_query {
        CheckQuery::Off => None,
        CheckQuery::Empty => Some(Vec::new()),
        CheckQuery::Sql(sql) => Some(sql.clone().into_bytes()),
    };
    PoolSettings {
        session: Settings {
            mode,
            statements_max: global.max_prepared_statements,
            share_unnamed: config.headpond.share_unnamed,
            simple_query_allowed: !global.disable_pqexec,
            message_max: global.max_packet_size,
            statement_bytes_max: STATEMENT_BYTES_MAX,
        },
        limits: Limits {
            size: config.pool_size(spec, user),
            min: config.min_pool_size(spec),
            reserve: config.reserve_pool_size(spec, user),
            waiters_max: None,
        },
        policy: policy(view, spec, check.is_some(), lanes),
        reset_query: global.server_reset_query.clone().into_bytes(),
        reset_always: global.server_reset_query_always,
        check_query: check,
        connect_query: spec.connect_query.clone().map(String::into_bytes),
        connect_timeout: global.server_connect_timeout,
        query_wait_timeout: config.query_wait_timeout(spec, user),
        query_wait_notify: global.query_wait_notify,
        query_timeout: config.query_timeout(user),
        idle_transaction_timeout: config.idle_transaction_timeout(user),
        transaction_timeout: config.transaction_timeout(user),
        client_idle_timeout: config.client_idle_timeout(user),
        cancel_wait_timeout: global.cancel_wait_timeout,
        fast_close: global.server_fast_close,
    }
}

impl PoolSettings {
    /// Makes servers belong to one client each: the walsender protocol leaves nothing to reuse.
    pub fn dedicate(&mut self) {
        self.session.mode = Mode::Session;
        self.policy.uses_max = Some(1);
        self.limits.min = 0;
        self.reset_query.clear();
        self.check_query = None;
        self.connect_query = None;
        self.query_timeout = Duration::ZERO;
        self.transaction_timeout = Duration::ZERO;
        self.idle_transaction_timeout = Duration::ZERO;
    }
}

fn policy(view: &View, spec: &config::Database, checks: bool, lanes: usize) -> Policy {
    let config = &view.config;
    let global = &config.global;
    let some = |time: Duration| (!time.is_zero()).then_some(time);
    let lifetime = config.server_lifetime(spec);
    Policy {
        reserve_after: some(global.reserve_pool_timeout),
        order: if global.server_round_robin { IdleOrder::Fifo } else { IdleOrder::Lifo },
        lifetime: some(lifetime),
        lifetime_jitter: LIFETIME_JITTER,
        idle_timeout: some(global.server_idle_timeout),
        check_after: checks.then_some(global.server_check_delay),
        // A lifetime of zero means a single use.
        uses_max: lifetime.is_zero().then_some(1),
        connects_max: config.headpond.connects_max,
        backoff_first: BACKOFF_FIRST,
        backoff_max: BACKOFF_MAX.min(global.server_login_retry.max(BACKOFF_FIRST)),
        on_failing: match config.headpond.on_failing {
            config::OnFailing::Fail => OnFailing::FailFast,
            config::OnFailing::Hold => OnFailing::Hold,
        },
        local_first: if lanes > 1 { config.headpond.local_first } else { Duration::ZERO },
        ..Policy::default()
    }
}

/// Appends the client's address to its application_name (`application_name_add_host`).
pub fn add_host(params: &mut Vec<(Vec<u8>, Vec<u8>)>, host: &str) {
    let suffix = format!(" - {host}");
    for (name, value) in params.iter_mut() {
        if name.eq_ignore_ascii_case(b"application_name") {
            value.extend_from_slice(suffix.as_bytes());
            return;
        }
    }
    params.push((b"application_name".to_vec(), format!("app{suffix}").into_bytes()));
}
