//! Clients that go without a word: nothing of theirs stays, and their server serves on.

use crate::bench::{Bench, Setup, ask, client, doing, raw, run, until, value};
use crate::support::client::Client as Raw;
use crate::support::message::Messages;
use crate::support::postgres::APP;

/// What a client has done when it goes, and how.
struct Exit {
    before: &'static [&'static str],
    last: Messages,
    /// What the server does then.
    state: &'static str,
}

fn exits() -> Vec<Exit> {
    const INSERT: &str = "INSERT INTO ledger VALUES ('lost')";
    let slow = "INSERT INTO ledger SELECT 'lost' FROM pg_sleep(30)";
    let open: &[&str] = &["BEGIN", INSERT];
    let idle = "idle in transaction";
    vec![
        Exit { before: open, last: Messages::new(), state: idle },
        Exit { before: open, last: Messages::new().terminate(), state: idle },
        Exit {
            before: &["BEGIN", INSERT, "SAVEPOINT s"],
            last: Messages::new().query("SELECT 1/0"),
            state: "idle in transaction (aborted)",
        },
        Exit { before: &[], last: Messages::new().query(slow), state: "active" },
        Exit { before: open, last: Messages::new().query(slow), state: "active" },
        Exit {
            before: &[],
            last: Messages::new().parse("", slow).bind("", &[]).execute().sync(),
            state: "active",
        },
    ]
}

#[test]
fn nothing_is_committed_for_a_client_that_vanished_and_its_server_serves_on() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let next = client(&bench.pooler, APP, APP).await;
        let pid = value(&next, "SELECT pg_backend_pid()").await;
        for (number, exit) in exits().into_iter().enumerate() {
            let mut one: Raw = raw(&bench.pooler).await;
            for sql in exit.before {
                ask(&mut one, sql).await;
            }
            one.ask(&exit.last).await.expect("the pooler listens");
            if exit.last.bytes().first() != Some(&b'X') {
                let sql = if exit.state == "active" { "%pg_sleep%" } else { "%" };
                until("it is so far", async || doing(&direct, exit.state, sql).await == 1).await;
            }
            drop(one);
            // Whoever is next waits no longer than the clearing up takes.
            let server = value(&next, "SELECT pg_backend_pid()").await;
            assert_eq!(server, pid, "exit {number}: the same server");
            assert_eq!(doing(&direct, "active", "%pg_sleep%").await, 0, "exit {number}");
            assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0", "exit {number}");
        }
    });
}

#[test]
fn a_batch_that_was_never_ended_is_not_continued_by_the_next_client() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let insert = "INSERT INTO ledger VALUES ('lost')";
        let batches = [
            Messages::new().parse("", insert),
            Messages::new().parse("", insert).flush(),
            Messages::new().parse("", insert).bind("", &[]).execute().flush(),
            Messages::new().parse("s", insert).bind("s", &[]).execute(),
            Messages::new().parse("", "SELECT 1/0").bind("", &[]).execute().flush(),
        ];
        for batch in batches {
            let mut one = raw(&bench.pooler).await;
            one.ask(&batch).await.expect("the pooler listens");
            drop(one);
            let next = client(&bench.pooler, APP, APP).await;
            assert_eq!(value(&next, "SELECT 'own'").await, "own", "{batch:?}");
            let sql = "SELECT pg_current_xact_id_if_assigned()";
            assert_eq!(value(&next, sql).await, "", "{batch:?}");
            drop(next);
        }
        until("nothing is left open", async || {
            doing(&direct, "idle in transaction", "%").await == 0
        })
        .await;
        assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0");
    });
}
