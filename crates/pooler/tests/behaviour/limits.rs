//! How many servers and clients there may be, counted by the database itself.

use std::time::{Duration, Instant};

use crate::bench::{
    Bench, OTHER, SECOND, Setup, ask, backends, client, config, console, describe, kept_out,
    pooler, raw, refused, run, server, try_raw, until, value, waiting, within,
};
use crate::support::message::{Messages, startup};
use crate::support::postgres::{APP, Options, connect};
use crate::support::{Pooler, Postgres};

#[test]
fn the_reserve_opens_only_for_a_client_that_waited_for_it() {
    let bench = Bench::start(&Setup {
        entry: "pool_size=2 reserve_pool_size=1",
        keys: "reserve_pool_timeout = 0.4\nquery_wait_timeout = 1.2",
        ..Setup::default()
    });
    run(async {
        let direct = bench.postgres.connect("postgres").await;
        let (mut first, mut second) = (raw(&bench.pooler).await, raw(&bench.pooler).await);
        ask(&mut first, "BEGIN").await;
        ask(&mut second, "BEGIN").await;
        let third = client(&bench.pooler, APP, APP).await;
        let fourth = client(&bench.pooler, APP, APP).await;
        let asked = Instant::now();
        let begin = third.batch_execute("BEGIN");
        let watch = async {
            let mut early = 0;
            while asked.elapsed() < Duration::from_millis(300) {
                early = early.max(backends(&direct, APP).await);
            }
            early
        };
        let (begun, early) = tokio::join!(begin, watch);
        begun.expect("the reserve serves it");
        assert!(asked.elapsed() >= Duration::from_millis(400), "{:?}", asked.elapsed());
        assert_eq!(early, 2, "nothing opens before its time");
        assert_eq!(backends(&direct, APP).await, 3);
        // The reserve is used up: nobody else is let in, however long it takes.
        let error = refused(&fourth, "SELECT 1").await;
        assert_eq!(error, "08P01 query_wait_timeout");
        assert_eq!(backends(&direct, APP).await, 3);
    });
}

/// Two pools that share a limit of two: no more at any time, and no pool starves the other.
async fn share_two(postgres: &Postgres, pooler: &impl Pooler, pools: [(&str, &str); 2]) {
    let direct = postgres.connect("postgres").await;
    let mut clients = Vec::new();
    for (user, database) in pools {
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(client(pooler, user, database).await);
        }
        clients.push(three);
    }
    // The first pool takes both, and leaves them idle: the second takes them over.
    for turn in [0, 1, 0, 1] {
        let [one, two, _] = &clients[turn][..] else { unreachable!("three of each") };
        one.batch_execute("BEGIN").await.expect("a first server");
        two.batch_execute("BEGIN").await.expect("a second server");
        assert_eq!(backends(&direct, "%").await, 2);
        one.batch_execute("COMMIT").await.expect("an end");
        two.batch_execute("COMMIT").await.expect("an end");
    }
    // All at once: both pools get their turns while the other one is busy.
    let work = |one: tokio_postgres::Client| async move {
        for _ in 0..30 {
            value(&one, "SELECT pg_sleep(0.001)").await;
        }
    };
    let tasks: Vec<_> = clients.into_iter().flatten().map(|one| tokio::spawn(work(one))).collect();
    let mut most = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        most = most.max(backends(&direct, "%").await);
    }
    for task in tasks {
        within("its turn", task).await.expect("everyone is served");
    }
    assert_eq!(most, 2);
}

#[test]
fn users_of_a_database_share_its_connections() {
    let setup = Setup { entry: "pool_size=5 max_db_connections=2", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(share_two(&bench.postgres, &bench.pooler, [(APP, APP), (OTHER, APP)]));
}

#[test]
fn databases_of_a_user_share_its_connections() {
    let setup =
        Setup { entry: "pool_size=5", users: "app = max_user_connections=2", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(share_two(&bench.postgres, &bench.pooler, [(APP, APP), (APP, SECOND)]));
}

#[test]
fn clients_over_a_limit_are_told_which_and_every_end_makes_room_again() {
    let postgres = server(&Options::default());
    let limits = [
        ("max_client_conn = 3", "no more connections allowed (max_client_conn)"),
        (
            "max_db_client_connections = 3",
            "client connections exceeded (max_db_client_connections)",
        ),
        (
            "max_user_client_connections = 3",
            "client connections exceeded (max_user_client_connections)",
        ),
    ];
    for (keys, text) in limits {
        let auth = Setup { keys, ..Setup::default() };
        let pooler = pooler(postgres.port(), &auth);
        run(fill_and_leave(&pooler, text));
    }
}

async fn fill_and_leave(pooler: &impl Pooler, text: &str) {
    let over = config(pooler, APP, APP);
    for round in 0..6 {
        let mut inside = Vec::new();
        until("there is room for three", async || {
            match try_raw(pooler, APP, APP).await {
                Ok(one) => inside.push(one),
                // Those of the last round may still be on their way out.
                Err(notice) => assert_eq!((&*notice.code, &*notice.message), ("53300", text)),
            }
            inside.len() == 3
        })
        .await;
        assert_eq!(kept_out(&over).await, format!("53300 {text}"));
        // All ways to end, also before the login is over.
        leave_early(pooler).await;
        if round % 2 == 0 {
            for one in &mut inside {
                one.ask(&Messages::new().terminate()).await.expect("the pooler listens");
            }
        } else {
            ask(&mut inside[0], "BEGIN").await;
            inside[1].ask(&Messages::new().query("SELECT pg_sleep(0.1)")).await.expect("heard");
        }
    }
}

/// Connections that end in the middle of their login, or are refused there.
async fn leave_early(pooler: &impl Pooler) {
    use tokio::io::AsyncWriteExt;
    for database in ["app", "nowhere"] {
        let packet = startup(&[("user", "nobody"), ("database", database)]);
        for end in [3, packet.len() - 1, packet.len()] {
            let stream = tokio::net::TcpStream::connect(pooler.address()).await;
            let mut stream = stream.expect("the pooler listens");
            // It may have been refused already.
            let _ = stream.write_all(&packet[..end]).await;
        }
    }
}

#[test]
fn a_pool_never_exceeds_its_size_and_loses_nobody() {
    let bench = Bench::start(&Setup { entry: "pool_size=3", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect("postgres").await;
        let console = console(&bench.pooler).await;
        let mut tasks = Vec::new();
        for _ in 0..40 {
            let settings = config(&bench.pooler, APP, APP);
            tasks.push(tokio::spawn(async move {
                let one = connect(&settings).await.map_err(|e| describe(&e))?;
                for _ in 0..10 {
                    one.simple_query("SELECT pg_sleep(0.001)").await.map_err(|e| describe(&e))?;
                }
                Ok::<(), String>(())
            }));
        }
        let mut most = 0;
        while tasks.iter().any(|task| !task.is_finished()) {
            most = most.max(backends(&direct, APP).await);
        }
        for task in tasks {
            assert_eq!(within("its turn", task).await.expect("no panic"), Ok(()));
        }
        assert_eq!(most, 3);
        until("nobody waits", async || waiting(&console).await == 0).await;
    });
}
