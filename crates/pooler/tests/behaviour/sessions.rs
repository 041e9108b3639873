//! What belongs to a session, in session mode and in statement mode.

use std::future::poll_fn;

use tokio_postgres::{AsyncMessage, NoTls};

use crate::bench::{
    Bench, Setup, ask, client, config, failure, first, raw, refused, run, until_closed, value,
    within,
};
use crate::support::message::Messages;
use crate::support::postgres::APP;

const SESSION: &str = "pool_mode = session";

#[test]
fn notifications_reach_the_session_that_listens() {
    let bench = Bench::start(&Setup { keys: SESSION, ..Setup::default() });
    run(async {
        let settings = config(&bench.pooler, APP, APP);
        let (listener, mut connection) = settings.connect(NoTls).await.expect("it gets in");
        let (heard, mut notices) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = heard.send(notification.payload().to_owned());
                }
            }
        });
        listener.batch_execute("LISTEN news").await.expect("it listens");
        let speaker = client(&bench.pooler, APP, APP).await;
        for number in 0..20 {
            value(&speaker, &format!("NOTIFY news, '{number}'")).await;
            let news = within("a notification", notices.recv()).await;
            assert_eq!(news, Some(number.to_string()), "though the listener asks nothing");
        }
        value(&listener, "SELECT 1").await;
    });
}

#[test]
fn the_next_client_of_a_session_server_finds_nothing_of_the_last() {
    let setup = Setup { keys: SESSION, entry: "pool_size=1", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let mut pids = Vec::new();
        for turn in 0..3 {
            let one = client(&bench.pooler, APP, APP).await;
            assert_eq!(value(&one, "SHOW work_mem").await, "4MB", "turn {turn}");
            assert_eq!(value(&one, "SHOW TimeZone").await, "Etc/UTC", "turn {turn}");
            assert_eq!(value(&one, "SELECT to_regclass('pg_temp.mine')").await, "");
            assert_eq!(value(&one, "SELECT count(*) FROM pg_prepared_statements").await, "0");
            assert_eq!(value(&one, "SELECT count(*) FROM pg_cursors").await, "0");
            assert_eq!(value(&one, "SELECT count(*) FROM pg_listening_channels()").await, "0");
            let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
            assert_eq!(value(&one, locks).await, "0");
            assert_eq!(value(&one, "SELECT current_user").await, APP);
            let leavings = "SET work_mem = '7MB'; SET TimeZone = 'Asia/Tokyo'; \
                            CREATE TEMP TABLE mine (n int); PREPARE p AS SELECT 1; \
                            LISTEN news; SELECT pg_advisory_lock(1); SET ROLE pg_monitor; \
                            BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT";
            let sql = leavings.replace("SET ROLE pg_monitor; ", "");
            one.batch_execute(&sql).await.expect("a session may do all that");
            // It holds from statement to statement.
            assert_eq!(value(&one, "SHOW work_mem").await, "7MB");
            assert_eq!(value(&one, "EXECUTE p").await, "1");
            pids.push(value(&one, "SELECT pg_backend_pid()").await);
        }
        pids.dedup();
        assert_eq!(pids.len(), 1, "one server served them all");
    });
}

#[test]
fn a_session_keeps_its_server_until_it_ends_and_others_wait() {
    let setup = Setup {
        keys: "pool_mode = session\nquery_wait_timeout = 0.5",
        entry: "pool_size=1",
        ..Setup::default()
    };
    let bench = Bench::start(&setup);
    run(async {
        let one = client(&bench.pooler, APP, APP).await;
        value(&one, "SELECT 1").await;
        let waiter = client(&bench.pooler, APP, APP).await;
        assert_eq!(refused(&waiter, "SELECT 1").await, "08P01 query_wait_timeout");
        let next = client(&bench.pooler, APP, APP).await;
        drop(one);
        assert_eq!(value(&next, "SELECT 'next'").await, "next");
    });
}

#[test]
fn statement_mode_has_no_transactions() {
    let setup = Setup { keys: "pool_mode = statement", entry: "pool_size=1", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let text = "08P01 transaction blocks not allowed in statement pooling mode";
        let insert = "INSERT INTO ledger VALUES ('never')";
        let refusals = [
            Messages::new().query("BEGIN"),
            Messages::new().query(&format!("BEGIN; {insert}")),
            Messages::new().parse("", "BEGIN").bind("", &[]).execute().sync(),
        ];
        for messages in refusals {
            let mut one = raw(&bench.pooler).await;
            one.ask(&messages).await.expect("the pooler listens");
            let replies = until_closed(&mut one).await;
            assert_eq!(failure(&replies).as_deref(), Some(text), "{messages:?}");
            let mut next = raw(&bench.pooler).await;
            let replies = ask(&mut next, "SELECT 'served'").await;
            assert_eq!(first(&replies).as_deref(), Some("served"));
        }
        assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0");
    });
}
