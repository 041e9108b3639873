//! What to change, why, and what to expect of it.
//!
//! Invariant: pure, and silent without evidence: a piece of advice names the figures it follows
//! from, the setting to paste, and the effect. Nothing is ever changed by itself.
//! Not here: load tests and models of capacity; they know more, and take longer.

mod bouncer;

use serde::Serialize;

use crate::figures::Figures;
use crate::health::Status;
use crate::history::trend::Trend;
use crate::model::{Bouncer, Database, Outcome, Pool, Truth};

/// Queries fewer than this say nothing about the size of a pool.
const ENOUGH: u64 = 1_000;

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// What it is about: a pool or a database; empty for the process.
    pub subject: String,
    /// How much it matters.
    pub weight: Status,
    /// What to do, in one sentence.
    pub title: String,
    /// The figures behind it.
    pub evidence: Vec<String>,
    /// What to paste; empty if there is nothing to paste.
    pub setting: String,
    /// What to expect.
    pub effect: String,
}

/// A pool over a stretch of time.
#[derive(Clone, Debug)]
pub struct Usage<'a> {
    /// The pool now.
    pub pool: &'a Pool,
    /// Its figures.
    pub figures: Figures,
    /// Connections in use over the last hours: time and count.
    pub used: Vec<(f64, f64)>,
    /// Callers who waited over the last hours: time and count.
    pub waiting: Vec<(f64, f64)>,
}

/// Looks at everything and says what follows.
#[must_use]
pub fn advise(usages: &[Usage<'_>], databases: &[Database], bouncers: &[Bouncer]) -> Vec<Advice> {
    let mut advice = Vec::new();
    for usage in usages {
        advice.extend(larger(usage));
        advice.extend(smaller(usage));
        advice.extend(growing(usage));
    }
    for database in databases {
        let pools: Vec<&Usage<'_>> =
            usages.iter().filter(|usage| usage.pool.database == database.name).collect();
        let truth = match database.check.as_ref().map(|check| &check.outcome) {
            Some(Outcome::Truth(truth)) => truth,
            _ => continue,
        };
        advice.extend(overcommitted(database, &pools, truth));
        advice.extend(session_limits(database, truth));
        advice.extend(idle_in_transaction(database, &pools, truth));
    }
    let pools: Vec<&Pool> = usages.iter().map(|usage| usage.pool).collect();
    advice.extend(bouncer::advise(bouncers, &pools));
    // What matters most first; among equals by name, so that two answers can be compared.
    advice.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.subject.cmp(&b.subject)));
    advice
}

fn share(values: &[(f64, f64)], is: impl Fn(f64) -> bool) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.iter().filter(|(_, value)| is(*value)).count() as f64 / values.len() as f64
}

fn minutes(values: &[(f64, f64)]) -> f64 {
    match (values.first(), values.last()) {
        (Some(first), Some(last)) => (last.0 - first.0) / 60.0,
        _ => 0.0,
    }
}

/// Whether a pool is of the pooler: one of a program has no mode, and other settings.
fn is_of_pooler(pool: &Pool) -> bool {
    !pool.mode.is_empty()
}

/// What to paste to give a pool another size.
fn size_of(pool: &Pool, size: u32) -> String {
    let key = if is_of_pooler(pool) { "pool_size" } else { "pool.max" };
    format!("[databases.{}]\n{key} = {size}", pool.database)
}

/// A pool is too small if callers wait although nothing else is in the way: it is full while they
/// do, again and again.
fn larger(usage: &Usage<'_>) -> Option<Advice> {
    let pool = usage.pool;
    let full = share(&usage.used, |used| used >= f64::from(pool.size_max));
    let queued = share(&usage.waiting, |waiting| waiting > 0.0);
    let seen = minutes(&usage.used);
    if pool.size_max == 0 || seen < 1.0 || full < 0.1 || queued < 0.1 {
        return None;
    }
    let peak = usage.waiting.iter().map(|(_, waiting)| *waiting).fold(0.0, f64::max);
    // Enough for those who waited at the peak, by steps of at most half the size: a database has a
    // knee beyond which more connections are slower.
    let step = (f64::from(pool.size_max) * 0.5).max(2.0).min(peak.max(1.0)).ceil();
    let size = pool.size_max.saturating_add(step as u32);
    Some(Advice {
        subject: pool.name.clone(),
        weight: Status::Warning,
        title: format!("raise the pool of {} from {} to {size}", pool.name, pool.size_max),
        evidence: vec![
            format!("full in {:.0} % of the last {seen:.0} minutes", full * 100.0),
            format!(
                "somebody waited in {:.0} % of them, at most {peak:.0} at once",
                queued * 100.0
            ),
            format!("99 of 100 waits take up to {}", time(usage.figures.wait_p99_seconds)),
        ],
        setting: size_of(pool, size),
        effect: format!(
            "up to {step:.0} more queries run at once; if queries then get slower, the database is \
             at its limit and the smaller pool was right"
        ),
    })
}

/// A pool is too large if most of it was never used.
fn smaller(usage: &Usage<'_>) -> Option<Advice> {
    let pool = usage.pool;
    let seen = minutes(&usage.used);
    let peak = usage.used.iter().map(|(_, used)| *used).fold(0.0, f64::max);
    let is_small = pool.size_max < 10 || pool.totals.queries < ENOUGH;
    if is_small || seen < 60.0 || peak > f64::from(pool.size_max) * 0.3 {
        return None;
    }
    let size = ((peak * 1.5).ceil() as u32).max(5);
    Some(Advice {
        subject: pool.name.clone(),
        weight: Status::Healthy,
        title: format!("{size} connections would do for {}", pool.name),
        evidence: vec![
            format!("at most {peak:.0} of {} were in use in {seen:.0} minutes", pool.size_max),
            format!("{} queries since the start", pool.totals.queries),
        ],
        setting: size_of(pool, size),
        effect: format!(
            "{} connections of the server are free for others",
            pool.size_max.saturating_sub(size)
        ),
    })
}

fn growing(usage: &Usage<'_>) -> Option<Advice> {
    let pool = usage.pool;
    let trend = Trend::of(&usage.used).filter(|_| pool.size_max > 0)?;
    let seconds = trend.seconds_until(f64::from(pool.size_max))?;
    if trend.now >= f64::from(pool.size_max) || trend.seen_seconds < 600.0 {
        return None;
    }
    Some(Advice {
        subject: pool.name.clone(),
        weight: Status::Warning,
        title: format!("{} will be full in about {}", pool.name, time(seconds)),
        evidence: vec![
            format!(
                "in use: {:.1} of {}, growing by {:.1} an hour",
                trend.now, pool.size_max, trend.per_hour
            ),
            format!(
                "seen over {}, the line explains {:.0} % of it",
                time(trend.seen_seconds),
                trend.fit * 100.0
            ),
        ],
        setting: String::new(),
        effect: "from then on callers wait; find out what grows before raising the size".to_owned(),
    })
}

/// All pools of a database together may open more connections than its server takes.
fn overcommitted(database: &Database, usages: &[&Usage<'_>], truth: &Truth) -> Option<Advice> {
    let room = truth.connections_max.saturating_sub(truth.connections_reserved);
    let sizes: u64 = usages.iter().map(|u| u64::from(u.pool.size_max + u.pool.reserve)).sum();
    let capped = match database.connections_max {
        0 => sizes,
        max => sizes.min(max),
    };
    if room == 0 || capped <= room || usages.iter().any(|usage| usage.pool.size_max == 0) {
        return None;
    }
    let is_of_pooler = usages.iter().any(|usage| is_of_pooler(usage.pool));
    let limit = if database.backend == "redis" { "maxclients" } else { "max_connections" };
    Some(Advice {
        subject: database.name.clone(),
        weight: Status::Warning,
        title: format!("the pools of {} may open more connections than it takes", database.name),
        evidence: vec![
            format!("{} pools of this process: {sizes} connections", usages.len()),
            format!(
                "{limit} = {}, of which {} are reserved",
                truth.connections_max, truth.connections_reserved
            ),
        ],
        setting: if is_of_pooler {
            format!("[databases.{}]\nmax_db_connections = {room}", database.name)
        } else {
            String::new()
        },
        effect: "callers wait in line here in place of errors from the server".to_owned(),
    })
}

/// What a server never ends by itself holds a connection of a pool for as long as it likes.
fn session_limits(database: &Database, truth: &Truth) -> Option<Advice> {
    // Words that others would not understand.
    if database.backend != "postgresql" {
        return None;
    }
    let wanted = [
        ("idle_in_transaction_session_timeout", "30s"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
    ];
    let missing: Vec<_> =
        wanted.iter().filter(|(name, _)| truth.setting(name) == Some("0")).collect();
    if missing.is_empty() {
        return None;
    }
    let lines = missing.iter().map(|(name, value)| {
        let quoted = database.name.replace('"', "\"\"");
        format!("ALTER DATABASE \"{quoted}\" SET {name} = '{value}';")
    });
    Some(Advice {
        subject: database.name.clone(),
        weight: Status::Healthy,
        title: format!("let {} end what hangs", database.name),
        evidence: missing.iter().map(|(name, _)| format!("{name} = 0 (never)")).collect(),
        setting: lines.collect::<Vec<_>>().join("\n"),
        effect: "one hanging client cannot keep a connection of the pool for ever".to_owned(),
    })
}

fn idle_in_transaction(
    database: &Database,
    usages: &[&Usage<'_>],
    truth: &Truth,
) -> Option<Advice> {
    let idle = truth.idle_in_transaction;
    if idle < 3 || idle * 4 < truth.total {
        return None;
    }
    Some(Advice {
        subject: database.name.clone(),
        weight: Status::Warning,
        title: format!("transactions of {} are left open", database.name),
        evidence: vec![format!(
            "{idle} of {} sessions do nothing inside a transaction",
            truth.total
        )],
        setting: if usages.iter().any(|usage| is_of_pooler(usage.pool)) {
            "[pooler]\nidle_transaction_timeout = \"30s\"".to_owned()
        } else {
            let name = &database.name;
            format!("[databases.{name}]\nsession.idle_in_transaction_timeout = \"30s\"")
        },
        effect: "their connections come back to the pool".to_owned(),
    })
}

/// Writes a time as people say it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.1} ms", s * 1000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} minutes", s / 60.0),
        s => format!("{:.1} hours", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Checked, Totals};

    fn pool(size_max: u32) -> Pool {
        let totals = Totals { queries: 50_000, ..Totals::default() };
        Pool {
            name: "shop/web".into(),
            mode: "transaction",
            database: "shop".into(),
            size_max,
            totals,
            ..Pool::default()
        }
    }

    fn usage<'a>(
        pool: &'a Pool,
        used: impl Fn(u32) -> f64,
        waiting: impl Fn(u32) -> f64,
    ) -> Usage<'a> {
        let points = |value: &dyn Fn(u32) -> f64| {
            (0..120).map(|n| (f64::from(n) * 60.0, value(n))).collect()
        };
        let figures = Figures { wait_p99_seconds: 0.041, ..Figures::default() };
        Usage { pool, figures, used: points(&used), waiting: points(&waiting) }
    }

    fn said(usage: Usage<'_>) -> Vec<Advice> {
        advise(&[usage], &[], &[])
    }

    #[test]
    fn a_pool_that_is_full_while_callers_wait_is_too_small() {
        let pool = pool(20);
        let full = usage(&pool, |_| 20.0, |n| f64::from(n % 9));
        let advice = &said(full)[0];
        assert_eq!(advice.title, "raise the pool of shop/web from 20 to 28");
        assert!(advice.setting.contains("pool_size = 28"), "{advice:?}");
        assert!(advice.evidence[2].contains("41.0 ms"), "{advice:?}");
    }

    #[test]
    fn a_pool_that_is_full_and_nobody_waits_is_right() {
        let pool = pool(20);
        assert!(said(usage(&pool, |_| 20.0, |_| 0.0)).is_empty());
        assert!(said(usage(&pool, |n| f64::from(n % 20), |_| 0.0)).is_empty());
    }

    #[test]
    fn a_pool_that_was_hardly_used_is_too_large() {
        let pool = pool(50);
        let advice = &said(usage(&pool, |n| f64::from(n % 5), |_| 0.0))[0];
        assert_eq!(advice.title, "6 connections would do for shop/web");
        assert_eq!(advice.weight, Status::Healthy);
    }

    #[test]
    fn a_pool_that_fills_is_told_before_it_is_full() {
        let pool = pool(40);
        let advice = &said(usage(&pool, |n| f64::from(n) * 0.25, |_| 0.0))[0];
        assert!(advice.title.contains("will be full in about 41 minutes"), "{advice:?}");
    }

    /// What is advised about a pool of 120 to a crowded server of some kind.
    fn crowded(pool: &Pool, backend: &'static str) -> Vec<Advice> {
        let settings =
            [("statement_timeout", "0"), ("lock_timeout", "0")].map(|(n, v)| (n.into(), v.into()));
        let truth = Truth {
            connections_max: 100,
            connections_reserved: 3,
            total: 8,
            idle_in_transaction: 4,
            settings: settings.to_vec(),
            ..Truth::default()
        };
        let outcome = Outcome::Truth(truth);
        let check = Some(Checked { ago_seconds: 0.0, took_seconds: 0.0, outcome });
        let database = Database { name: "shop".into(), backend, check, ..Database::default() };
        advise(&[usage(pool, |_| 60.0, |_| 0.0)], &[database], &[])
    }

    #[test]
    fn what_the_server_says_is_compared_with_the_pools() {
        let advice = crowded(&pool(120), "postgresql");
        let titles: Vec<&str> = advice.iter().map(|advice| advice.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "the pools of shop may open more connections than it takes",
                "transactions of shop are left open",
                "let shop end what hangs",
            ]
        );
    }

    #[test]
    fn nobody_is_told_settings_that_he_has_not() {
        let own = Pool { mode: "", ..pool(120) };
        for backend in ["mysql", "redis"] {
            let told = format!("{:?}", crowded(&own, backend));
            for word in ["statement_timeout", "ALTER DATABASE", "max_db_", "[pooler]"] {
                assert!(!told.contains(word), "{backend}: {word} in {told}");
            }
            assert_eq!(told.contains("maxclients = 100"), backend == "redis", "{told}");
        }
        let told = format!("{:?}", crowded(&own, "postgresql"));
        assert!(told.contains("session.idle_in_transaction_timeout") && !told.contains("[pooler]"));
        assert_eq!(size_of(&own, 7), "[databases.shop]\npool.max = 7");
    }

    #[test]
    fn without_evidence_nothing_is_said() {
        let pool = pool(20);
        let short =
            Usage { used: Vec::new(), waiting: Vec::new(), ..usage(&pool, |_| 20.0, |_| 9.0) };
        assert!(said(short).is_empty());
        assert!(advise(&[], &[Database::default()], &[]).is_empty());
    }
}
