//! What to change about a PgBouncer and the pools that go through it.
//!
//! Invariant: as all advice: pure, and only with the figures of both sides as evidence.
//! Not here: how the figures were got (`crate::bouncer`).

use super::{Advice, time};
use crate::health::Status;
use crate::model::{Bouncer, BouncerFigures, CheckErrorKind, Pool, Through};

/// Looks at every PgBouncer and says what follows.
pub(super) fn advise(bouncers: &[Bouncer], pools: &[&Pool]) -> Vec<Advice> {
    let mut advice = Vec::new();
    for bouncer in bouncers {
        advice.extend(stranger(bouncer));
        let Some(figures) = bouncer.figures() else { continue };
        for through in &bouncer.through {
            let Some(pool) = pools.iter().find(|pool| pool.name == through.pool) else { continue };
            advice.extend(unseen(bouncer, figures, through, pool));
            advice.extend(narrower(bouncer, figures, through, pool));
        }
    }
    advice
}

/// Whoever may not look sees no figures at all.
fn stranger(bouncer: &Bouncer) -> Option<Advice> {
    let error = bouncer.error().filter(|error| error.kind == CheckErrorKind::NotAllowed)?;
    Some(Advice {
        subject: bouncer.name.clone(),
        weight: Status::Healthy,
        title: format!("let {} look at the PgBouncer at {}", bouncer.user, bouncer.name),
        evidence: vec![error.text.clone()],
        setting: format!("[pgbouncer]\nstats_users = {}", bouncer.user),
        effect: "its figures stand beside those of the pools; it may not change anything"
            .to_owned(),
    })
}

/// Callers who wait in the PgBouncer have a connection here, and look busy.
fn unseen(
    bouncer: &Bouncer,
    figures: &BouncerFigures,
    through: &Through,
    pool: &Pool,
) -> Option<Advice> {
    let there = figures.pool_of(through)?;
    if there.cl_waiting == 0 || pool.waiting > 0 {
        return None;
    }
    let size = figures.size_for(through);
    Some(Advice {
        subject: pool.name.clone(),
        weight: Status::Warning,
        title: format!("callers of {} wait inside the PgBouncer", pool.name),
        evidence: vec![
            format!(
                "{} of {}@{} wait at {}, the first for {} (cl_waiting, maxwait)",
                there.cl_waiting,
                through.user,
                through.database,
                bouncer.name,
                time(there.maxwait_seconds)
            ),
            format!(
                "nobody waits here: {} of {} connections are in use",
                pool.connections.used, pool.size_max
            ),
            format!("{} of its servers have a client, {} are idle", there.sv_active, there.sv_idle),
        ],
        setting: size.map_or_else(String::new, |size| setting(pool, size)),
        effect: "who must wait waits here: in order, with a deadline, and seen".to_owned(),
    })
}

/// A pool that is larger than what is behind it only moves the queue.
fn narrower(
    bouncer: &Bouncer,
    figures: &BouncerFigures,
    through: &Through,
    pool: &Pool,
) -> Option<Advice> {
    let size = figures.size_for(through)?;
    if pool.size_max == 0 || u64::from(pool.size_max) <= size {
        return None;
    }
    let mode = figures.pool_of(through).map_or("", |pool| pool.pool_mode.as_str());
    // By transaction it is meant so as long as few are busy at once; by session the others hang.
    let weight = if mode == "session" { Status::Warning } else { Status::Healthy };
    let of_mode = if mode.is_empty() { String::new() } else { format!(" by {mode}") };
    Some(Advice {
        subject: pool.name.clone(),
        weight,
        title: format!(
            "{} connections to a PgBouncer that has {size} servers for them: callers will wait \
             there, unseen",
            pool.size_max
        ),
        evidence: vec![
            format!("{}: at most {} connections to {}", pool.name, pool.size_max, bouncer.name),
            format!(
                "pool_size = {size} for {}@{}, given out{of_mode}",
                through.user, through.database
            ),
        ],
        setting: setting(pool, size),
        effect: format!(
            "at most {size} at once get as far as the PgBouncer, and the rest wait here, seen; or \
             raise pool_size there, if the database has room"
        ),
    })
}

fn setting(pool: &Pool, size: u64) -> String {
    format!("[databases.{}]\npool.max = {size}", pool.database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BouncerCheck, BouncerDatabase, BouncerOutcome, BouncerPool, CheckError};

    fn pool(size_max: u32, waiting: u32) -> Pool {
        let (name, database) = ("main".to_owned(), "main".to_owned());
        Pool { name, database, size_max, waiting, ..Pool::default() }
    }

    fn asked(outcome: BouncerOutcome) -> Bouncer {
        let [pool, database, user] = ["main", "app", "web"].map(str::to_owned);
        Bouncer {
            name: "127.0.0.1:6432".into(),
            user: "web".into(),
            through: vec![Through { pool, database, user }],
            check: Some(BouncerCheck { ago_seconds: 0.0, took_seconds: 0.0, outcome }),
        }
    }

    fn told(pool_size: u64, cl_waiting: u64, mode: &str) -> Bouncer {
        let [database, user] = ["app", "web"].map(str::to_owned);
        let pools = vec![BouncerPool {
            database: database.clone(),
            user,
            cl_waiting,
            maxwait_seconds: 4.2,
            pool_mode: mode.into(),
            pool_size: Some(pool_size),
            ..BouncerPool::default()
        }];
        let databases = vec![BouncerDatabase { name: database, ..BouncerDatabase::default() }];
        let figures = BouncerFigures { pools, databases, ..BouncerFigures::default() };
        asked(BouncerOutcome::Figures(Box::new(figures)))
    }

    fn said(bouncer: Bouncer, pool: &Pool) -> Vec<(Status, String)> {
        let all = advise(&[bouncer], &[pool]);
        assert!(all.iter().all(|advice| !advice.evidence.is_empty()));
        all.into_iter().map(|advice| (advice.weight, advice.title)).collect()
    }

    #[test]
    fn a_pool_larger_than_what_is_behind_it_is_told_both_numbers() {
        let title = "20 connections to a PgBouncer that has 10 servers for them: callers will \
                     wait there, unseen";
        let by_session = said(told(10, 0, "session"), &pool(20, 0));
        assert_eq!(by_session, [(Status::Warning, title.to_owned())]);
        let by_transaction = said(told(10, 0, "transaction"), &pool(20, 0));
        assert_eq!(by_transaction, [(Status::Healthy, title.to_owned())]);
        assert!(said(told(20, 0, "session"), &pool(20, 0)).is_empty());
        assert!(said(told(0, 0, "session"), &pool(20, 0)).is_empty(), "unlimited");
        let advice = advise(&[told(10, 0, "session")], &[&pool(20, 0)]);
        assert_eq!(advice[0].setting, "[databases.main]\npool.max = 10");
    }

    #[test]
    fn waits_that_only_the_pgbouncer_sees_are_told() {
        let waits = said(told(20, 3, "transaction"), &pool(20, 0));
        assert_eq!(waits, [(Status::Warning, "callers of main wait inside the PgBouncer".into())]);
        let evidence = &advise(&[told(20, 3, "transaction")], &[&pool(20, 0)])[0].evidence;
        assert!(
            evidence[0].contains("3 of web@app") && evidence[0].contains("4.2 s"),
            "{evidence:?}"
        );
        assert!(said(told(20, 3, "transaction"), &pool(20, 1)).is_empty(), "here they wait too");
        assert!(said(told(20, 0, "transaction"), &pool(20, 0)).is_empty());
        assert!(advise(&[told(1, 3, "session")], &[]).is_empty(), "no such pool");
    }

    #[test]
    fn who_may_not_look_is_told_the_setting() {
        let failed = |kind| {
            let text = "not allowed".to_owned();
            asked(BouncerOutcome::Failed(CheckError { kind, text }))
        };
        let advice = &advise(&[failed(CheckErrorKind::NotAllowed)], &[])[0];
        assert_eq!(advice.setting, "[pgbouncer]\nstats_users = web");
        assert_eq!(advice.weight, Status::Healthy);
        assert!(advise(&[failed(CheckErrorKind::Unreachable)], &[]).is_empty());
    }
}
