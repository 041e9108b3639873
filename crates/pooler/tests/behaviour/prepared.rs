//! Prepared statements: named, unnamed and shared, over more than one server.

use crate::bench::{Bench, Setup, ask, client, failure, first, raw, run, send, value};
use crate::support::client::{Client as Raw, Reply};
use crate::support::message::Messages;
use crate::support::postgres::APP;

const COUNT: &str = "SELECT count(*) FROM pg_prepared_statements";

fn execute(name: &str, parameters: &[&str]) -> Messages {
    Messages::new().bind(name, parameters).execute().sync()
}

/// Occupies servers, so that the next query runs on another one.
async fn hold(bench: &Bench, count: usize) -> Vec<tokio_postgres::Client> {
    let mut held = Vec::new();
    for _ in 0..count {
        let one = client(&bench.pooler, APP, APP).await;
        one.batch_execute("BEGIN").await.expect("a server");
        held.push(one);
    }
    held
}

async fn pid(one: &mut Raw) -> String {
    first(&ask(one, "SELECT pg_backend_pid()").await).expect("a number")
}

#[test]
fn named_statements_follow_their_client_and_names_never_mix() {
    let bench = Bench::start(&Setup { entry: "pool_size=2", ..Setup::default() });
    run(async {
        let (mut one, mut two) = (raw(&bench.pooler).await, raw(&bench.pooler).await);
        let parse =
            |text: &str| Messages::new().parse("s", &format!("SELECT '{text}' || $1::text")).sync();
        send(&mut one, &parse("one ")).await;
        send(&mut two, &parse("two ")).await;
        let mut pids = Vec::new();
        for round in 0..6 {
            let held = hold(&bench, round % 2).await;
            pids.push(pid(&mut one).await);
            for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
                let parameter = round.to_string();
                let replies = send(client, &execute("s", &[&parameter])).await;
                assert_eq!(first(&replies), Some(format!("{name} {round}")), "{replies:?}");
            }
            for one in &held {
                one.batch_execute("COMMIT").await.expect("an end");
            }
        }
        pids.sort();
        pids.dedup();
        assert_eq!(pids.len(), 2, "both servers served");
    });
}

#[test]
fn a_cache_of_one_statement_serves_pipelines_of_many() {
    let setup =
        Setup { entry: "pool_size=1", keys: "max_prepared_statements = 1", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let mut one = raw(&bench.pooler).await;
        let mut pipeline = Messages::new();
        for number in 0..10 {
            let name = format!("s{number}");
            pipeline = pipeline.parse(&name, &format!("SELECT {number} + $1::int"));
        }
        let replies = send(&mut one, &pipeline.sync()).await;
        assert_eq!(replies.len(), 11, "{replies:?}");
        for round in 0..5 {
            let mut pipeline = Messages::new();
            for number in 0..10 {
                pipeline = pipeline.bind(&format!("s{number}"), &[&round.to_string()]).execute();
            }
            let replies = send(&mut one, &pipeline.sync()).await;
            let rows: Vec<_> = replies
                .iter()
                .filter_map(|reply| match reply {
                    Reply::Row(columns) => columns[0].clone(),
                    _ => None,
                })
                .collect();
            let wanted: Vec<_> = (0..10).map(|number| (number + round).to_string()).collect();
            assert_eq!(rows, wanted, "{replies:?}");
            let count = first(&ask(&mut one, COUNT).await).expect("a number");
            assert!(count == "1" || count == "0", "{count} on the server");
        }
    });
}

#[test]
fn a_plan_whose_result_changed_heals_outside_a_transaction() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect(APP).await;
        direct.batch_execute("INSERT INTO ledger VALUES ('row')").await.expect("a row");
        let mut one = raw(&bench.pooler).await;
        let parse = Messages::new().parse("s", "SELECT * FROM ledger").sync();
        send(&mut one, &parse).await;
        assert_eq!(first(&send(&mut one, &execute("s", &[])).await).as_deref(), Some("row"));
        let sql = "ALTER TABLE ledger ADD extra int DEFAULT 7";
        direct.batch_execute(sql).await.expect("a column");
        let mut healed = None;
        for _ in 0..2 {
            let replies = send(&mut one, &execute("s", &[])).await;
            healed = first(&replies);
            match failure(&replies) {
                None => break,
                Some(error) => {
                    assert_eq!(error, "0A000 cached plan must not change result type");
                }
            }
        }
        assert_eq!(healed.as_deref(), Some("row"), "at most one failure");
        // For other clients with the same text as well.
        let mut two = raw(&bench.pooler).await;
        send(&mut two, &parse).await;
        let replies = send(&mut two, &execute("s", &[])).await;
        assert_eq!(first(&replies).as_deref(), Some("row"), "{replies:?}");
    });
}

#[test]
fn an_unnamed_statement_is_there_in_the_next_batch_on_any_server() {
    let bench = Bench::start(&Setup { entry: "pool_size=2", ..Setup::default() });
    run(async {
        let (mut one, mut two) = (raw(&bench.pooler).await, raw(&bench.pooler).await);
        for round in 0..6 {
            for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
                let sql = format!("SELECT '{name} {round}'");
                let parse = Messages::new().parse("", &sql).describe_statement("").sync();
                assert_eq!(failure(&send(client, &parse).await), None);
            }
            let held = hold(&bench, round % 2).await;
            for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
                let replies = send(client, &execute("", &[])).await;
                assert_eq!(first(&replies), Some(format!("{name} {round}")), "{replies:?}");
            }
            for one in &held {
                one.batch_execute("COMMIT").await.expect("an end");
            }
        }
    });
}

#[test]
fn unnamed_statements_may_share_a_plan() {
    let setup =
        Setup { entry: "pool_size=1", native: "share_unnamed_statements = 1", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let mut clients = [raw(&bench.pooler).await, raw(&bench.pooler).await];
        for round in 0..10 {
            for one in &mut clients {
                let batch = Messages::new()
                    .parse("", "SELECT 'shared ' || $1::text")
                    .bind("", &[&round.to_string()])
                    .execute()
                    .sync();
                let replies = send(one, &batch).await;
                assert_eq!(first(&replies), Some(format!("shared {round}")), "{replies:?}");
            }
        }
        let counted = "SELECT count(*) || ' ' || sum(generic_plans + custom_plans) \
                       FROM pg_prepared_statements WHERE statement LIKE '%shared%'";
        assert_eq!(first(&ask(&mut clients[0], counted).await).as_deref(), Some("1 20"));
    });
}

#[test]
fn unknown_and_duplicate_names_are_errors_and_not_the_end() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let mut one = raw(&bench.pooler).await;
        let code = |replies: &[Reply]| failure(replies).map(|text| text[..5].to_owned());
        for batch in [execute("unknown", &[]), Messages::new().describe_statement("unknown").sync()]
        {
            let replies = send(&mut one, &batch).await;
            assert_eq!(code(&replies).as_deref(), Some("26000"), "{replies:?}");
            assert_eq!(replies.len(), 2, "{replies:?}");
        }
        let parse = Messages::new().parse("s", "SELECT 'first'").sync();
        assert_eq!(failure(&send(&mut one, &parse).await), None);
        let again = Messages::new().parse("s", "SELECT 'second'").sync();
        assert_eq!(code(&send(&mut one, &again).await).as_deref(), Some("42P05"));
        assert_eq!(first(&send(&mut one, &execute("s", &[])).await).as_deref(), Some("first"));
        // What failed to parse does not exist.
        let broken = Messages::new().parse("b", "SELEC 1").sync();
        assert_eq!(code(&send(&mut one, &broken).await).as_deref(), Some("42601"));
        assert_eq!(code(&send(&mut one, &execute("b", &[])).await).as_deref(), Some("26000"));
        // What is closed may be named again; closing what is not there is no error.
        let close = Messages::new().close_statement("s").close_statement("unknown");
        let batch = close.parse("s", "SELECT 'third'").sync();
        let replies = send(&mut one, &batch).await;
        let answers = ['3', '3', '1'].map(Reply::Other);
        assert_eq!(replies[..3], answers, "{replies:?}");
        assert_eq!(first(&send(&mut one, &execute("s", &[])).await).as_deref(), Some("third"));
        // DEALLOCATE ALL forgets this client's, and nobody else's.
        let mut two = raw(&bench.pooler).await;
        send(&mut two, &Messages::new().parse("s", "SELECT 'of two'").sync()).await;
        ask(&mut one, "DEALLOCATE ALL").await;
        assert_eq!(code(&send(&mut one, &execute("s", &[])).await).as_deref(), Some("26000"));
        assert_eq!(first(&send(&mut two, &execute("s", &[])).await).as_deref(), Some("of two"));
        let driver = client(&bench.pooler, APP, APP).await;
        assert_eq!(value(&driver, "SELECT 'alive'").await, "alive");
    });
}

#[test]
fn statements_work_without_a_cache_as_far_as_one_transaction() {
    let setup =
        Setup { entry: "pool_size=1", keys: "max_prepared_statements = 0", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let mut one = raw(&bench.pooler).await;
        ask(&mut one, "BEGIN").await;
        let batch = Messages::new().parse("s", "SELECT 'plain'").sync();
        assert_eq!(failure(&send(&mut one, &batch).await), None);
        assert_eq!(first(&send(&mut one, &execute("s", &[])).await).as_deref(), Some("plain"));
        // The server knows it under the client's own name.
        let sql = "SELECT name FROM pg_prepared_statements";
        assert_eq!(first(&ask(&mut one, sql).await).as_deref(), Some("s"));
        send(&mut one, &Messages::new().close_statement("s").sync()).await;
        ask(&mut one, "COMMIT").await;
    });
}

#[test]
fn a_statement_heals_after_its_plan_changed_though_unnamed_ones_are_shared() {
    let setup =
        Setup { entry: "pool_size=1", native: "share_unnamed_statements = 1", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let direct = bench.postgres.connect(APP).await;
        direct.batch_execute("INSERT INTO ledger VALUES ('row')").await.expect("a row");
        let mut one = raw(&bench.pooler).await;
        let batch =
            Messages::new().parse("", "SELECT * FROM ledger").bind("", &[]).execute().sync();
        assert_eq!(first(&send(&mut one, &batch).await).as_deref(), Some("row"));
        let sql = "ALTER TABLE ledger ADD extra int DEFAULT 7";
        direct.batch_execute(sql).await.expect("a column");
        let mut failures = 0;
        while failure(&send(&mut one, &batch).await).is_some() {
            failures += 1;
            assert!(failures < 2, "at most one failure");
        }
    });
}
