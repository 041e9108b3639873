//! The tag oracle: no answer, and no part of one, ever reaches a client that did not ask for it.
//!
//! Hundreds of clients share a few server connections in transaction mode. They ask in every form
//! the protocol has, vanish in the middle of it, cancel, fail, and have backends killed under
//! them. Each checks every message it reads against the one sequence that is right; afterwards the
//! ledger is compared with what each was told, and the server's log is searched.
//!
//! `HEADPOND_TEST_SCALE` multiplies the operations; `HEADPOND_TEST_SEED` repeats a run (as far as
//! the kernel's scheduling allows).

mod ask;
mod control;
mod operation;
mod session;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use ask::Ask;
use session::{ANSWER_MAX, Session};
use support::postgres::{APP, Options};
use support::random::{Random, scaled};
use support::{Postgres, Settings, Target};
use tokio::task::LocalSet;
use world::World;

const CLIENTS: usize = 150;
const POOL_SIZE: u32 = 8;
const KILL_EVERY: usize = 100;

#[test]
fn every_answer_reaches_the_client_that_asked() {
    run(false);
}

#[test]
fn every_answer_reaches_the_client_that_asked_while_backends_are_killed() {
    run(true);
}

fn run(kills: bool) {
    let seed = Random::seed();
    let postgres = Postgres::start_with(&Options { max_connections: 60, ..Options::default() });
    postgres.psql(APP, "CREATE TABLE ledger (tag text); ALTER TABLE ledger OWNER TO app");
    let settings = Settings { pool_size: POOL_SIZE, auth_type: "trust", ..Settings::default() };
    let target = Target::from_env();
    let pooler = target.start(&postgres, &settings);
    let world = Rc::new(World::new(pooler.address(), target.tracks_statements()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let most = LocalSet::new().block_on(&runtime, async {
        let most = storm(&world, &postgres, seed, kills).await;
        quiet(&world, &postgres).await;
        everyone_is_served(&world, seed).await;
        most
    });
    println!("{}; at most {most} backends", world.summary());
    world.audit(&ledger(&postgres));
    check_server_log(&world, &postgres, target);
    let limit = if target.counts_leaving_backends() { POOL_SIZE } else { 2 * POOL_SIZE };
    assert!(most <= limit, "{most} backends, but the pool's size is {POOL_SIZE} (seed {seed})");
    assert_eq!(world.violations(), 0, "seed {seed}");
    assert!(world.counted("answered") > world.counted("lost"), "a run that proves nothing");
    assert_eq!(world.counted("killed") > 0, kills);
}

/// Lets all clients run; returns how many backends were seen at once.
async fn storm(world: &Rc<World>, postgres: &Postgres, seed: u64, kills: bool) -> u32 {
    let operations = scaled(40);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| Session::new(Rc::clone(world), seed, number).run(operations))
        .map(tokio::task::spawn_local)
        .collect();
    let counter = postgres.connect("postgres").await;
    let killer = postgres.connect("postgres").await;
    let kill = async {
        let mut done = world.done.subscribe();
        let mut next = KILL_EVERY;
        if !kills {
            std::future::pending::<()>().await;
        }
        loop {
            let now = *done.wait_for(|done| *done >= next).await.expect("the world lives");
            next = now + KILL_EVERY;
            world.count("killed");
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE usename = 'app' ORDER BY random() LIMIT 1";
            killer.simple_query(sql).await.expect("a direct connection works");
        }
    };
    let mut most = 0;
    let count = async {
        let mut done = world.done.subscribe();
        loop {
            let sql = "SELECT count(*)::int4 FROM pg_stat_activity WHERE usename = 'app'";
            let row = counter.query_one(sql, &[]).await.expect("a direct connection works");
            most = most.max(u32::try_from(row.get::<_, i32>(0)).expect("a count"));
            done.changed().await.expect("the world lives");
        }
    };
    let all = async {
        for client in clients {
            client.await.expect("a client notes violations and does not panic");
        }
    };
    tokio::select! {
        () = all => {}
        () = kill => {}
        () = count => {}
    }
    most
}

/// Waits until no backend works any more: nobody may be left inside a transaction.
async fn quiet(world: &World, postgres: &Postgres) {
    let client = postgres.connect("postgres").await;
    let deadline = Instant::now() + ANSWER_MAX;
    let sql = "SELECT coalesce(string_agg(state || ': ' || query, '; '), '') \
               FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
    loop {
        let row = client.query_one(sql, &[]).await.expect("a direct connection works");
        let busy: String = row.get(0);
        if busy.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            return world.violation(format!("backends never come to rest: {busy}"));
        }
    }
}

/// No connection of the pool was lost: more clients than it has are all served.
async fn everyone_is_served(world: &Rc<World>, seed: u64) {
    let clients: Vec<_> = (0..2 * POOL_SIZE as usize)
        .map(|number| {
            let mut session = Session::new(Rc::clone(world), seed, CLIENTS + number);
            tokio::task::spawn_local(async move {
                for _ in 0..5 {
                    session.arrive().await?;
                    let tag = session.tag();
                    let ask = Ask::command("BEGIN", 'T')
                        .then(Ask::simple(&tag, 'T'))
                        .then(Ask::command("COMMIT", 'I'));
                    session.ask(&ask).await?;
                }
                Ok::<(), session::End>(())
            })
        })
        .collect();
    for client in clients {
        if let Err(end) = client.await.expect("it does not panic") {
            world.violation(format!("after the storm: {end:?}"));
        }
    }
}

fn ledger(postgres: &Postgres) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for tag in postgres.psql(APP, "SELECT tag FROM ledger").lines() {
        *found.entry(tag.to_owned()).or_default() += 1;
    }
    found
}

/// Searches the server's log for signs that a connection was handed on in the wrong state.
fn check_server_log(world: &World, postgres: &Postgres, target: Target) {
    // PgBouncer sends Terminate also in the middle of a client's message or copy, and the server
    // takes those five bytes for its rest: no complaint about a message says anything there.
    let codes: &[&str] = match target {
        Target::Headpond => &[" 25001:", " 08P01:"],
        Target::PgBouncer => &[" 25001:"],
    };
    // A client vanished inside a message that was being passed on, and was rightly cut off. Had
    // the server lost its place otherwise, it would also name the message it cannot make out.
    let cut_off = ["incomplete message", "unexpected EOF", "protocol synchronization was lost"];
    for line in postgres.log().lines() {
        let suspect = codes.iter().any(|code| line.contains(code));
        if suspect && !cut_off.iter().any(|words| line.contains(words)) {
            world.violation(format!("in the server's log: {line}"));
        }
    }
}
