//! What the pooler asks of servers on its own account, and what a reload changes.

use crate::bench::{
    Bench, Setup, ask, client, config, failure, first, kept_out, password_of, pooler, raw, run,
    send, server, until, value,
};
use crate::support::Pooler;
use crate::support::client::Reply;
use crate::support::message::Messages;
use crate::support::postgres::{APP, Options, connect};

#[test]
fn servers_are_greeted_checked_and_reset_as_told_and_clients_see_none_of_it() {
    let bench = Bench::start(&Setup {
        entry: "pool_size=1 connect_query='SET work_mem = ''9MB'''",
        keys: "server_reset_query = RESET statement_timeout\nserver_reset_query_always = 1\n\
               server_check_query = SELECT 'checked'\nserver_check_delay = 0",
        ..Setup::default()
    });
    run(async {
        let mut one = raw(&bench.pooler).await;
        let mut two = raw(&bench.pooler).await;
        for round in 0..5 {
            let replies = ask(&mut one, "SET statement_timeout = 777").await;
            assert_eq!(replies, [Reply::Complete("SET".into()), Reply::Ready('I')]);
            let timeout = first(&ask(&mut two, "SHOW statement_timeout").await);
            assert_eq!(timeout.as_deref(), Some("0"), "round {round}");
            let memory = first(&ask(&mut two, "SHOW work_mem").await);
            assert_eq!(memory.as_deref(), Some("9MB"), "round {round}");
        }
    });
}

#[test]
fn a_server_that_cannot_be_reset_is_closed_and_nobody_is_told() {
    let bench = Bench::start(&Setup {
        entry: "pool_size=1",
        keys: "pool_mode = session\nserver_reset_query = SELECT 1/0",
        ..Setup::default()
    });
    run(async {
        let mut pids = Vec::new();
        for _ in 0..3 {
            let one = client(&bench.pooler, APP, APP).await;
            pids.push(value(&one, "SELECT pg_backend_pid()").await);
        }
        pids.dedup();
        assert_eq!(pids.len(), 3);
    });
}

#[test]
fn a_password_that_was_wrong_serves_after_a_reload() {
    let postgres = server(&Options::default());
    let auth_file = Some(format!("\"{APP}\" \"wrong\"\n"));
    let pooler = pooler(postgres.port(), &Setup { auth_file, ..Setup::default() });
    run(async {
        let settings = config(&pooler, APP, APP);
        let text = "password authentication failed for user \"app\"";
        assert!(kept_out(&settings).await.contains(text));
        let list = format!("\"{APP}\" \"{}\"\n", password_of(APP));
        std::fs::write(pooler.place().directory.join("userlist.txt"), list).expect("it is ours");
        pooler.signal("HUP");
        until("it gets in", async || connect(&settings).await.is_ok()).await;
        // A file that cannot be read changes nothing.
        let ini = pooler.place().directory.join("pgbouncer.ini");
        std::fs::write(ini, "[pgbouncer]\nauth_type = nonsense\n").expect("it is ours");
        pooler.signal("HUP");
        let told = pooler.log().wait_for(|line| line.contains("RELOAD Failed"));
        assert!(told, "the log says that it failed");
        let one = client(&pooler, APP, APP).await;
        assert_eq!(value(&one, "SELECT 'served'").await, "served");
    });
}

#[test]
fn a_deep_pipeline_is_answered_in_order_and_its_server_is_free_afterwards() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let mut one = raw(&bench.pooler).await;
        let mut two = raw(&bench.pooler).await;
        let mut pipeline = Messages::new();
        for number in 0..2_000 {
            // Each tenth fails, and takes only its own batch along.
            let sql = format!("SELECT {number} / {}", u8::from(number % 10 != 0));
            pipeline = pipeline.parse("", &sql).bind("", &[]).execute().sync();
        }
        one.ask(&pipeline).await.expect("the pooler listens");
        two.ask(&Messages::new().query("SELECT 'in between'")).await.expect("it listens");
        for number in 0..2_000 {
            let replies = one.until_ready().await.expect("an answer");
            if number % 10 == 0 {
                let error = failure(&replies).expect("a division by zero");
                assert!(error.starts_with("22012"), "{error}");
            } else {
                assert_eq!(first(&replies), Some(number.to_string()), "{replies:?}");
            }
        }
        let replies = two.until_ready().await.expect("an answer");
        assert_eq!(first(&replies).as_deref(), Some("in between"));
    });
}

#[test]
fn transactions_end_only_when_the_server_says_so() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let mut one = raw(&bench.pooler).await;
        let mut two = raw(&bench.pooler).await;
        for (sql, status) in [
            ("BEGIN; SELECT 1; COMMIT; SELECT 2", 'I'),
            ("SELECT 1; BEGIN", 'T'),
            ("COMMIT; BEGIN", 'T'),
            ("SAVEPOINT s", 'T'),
            ("SELECT 1/0", 'E'),
            ("ROLLBACK TO s", 'T'),
            ("COMMIT AND CHAIN", 'T'),
            ("SELECT 1/0", 'E'),
            ("COMMIT", 'I'),
            ("", 'I'),
            (";", 'I'),
            ("-- nothing", 'I'),
        ] {
            let replies = ask(&mut one, sql).await;
            assert_eq!(replies.last(), Some(&Reply::Ready(status)), "{sql}");
            if status == 'I' {
                assert_eq!(first(&ask(&mut two, "SELECT 'two'").await).as_deref(), Some("two"));
            }
        }
        // A batch may leave a transaction open as well.
        let begin = Messages::new().parse("", "BEGIN").bind("", &[]).execute().sync();
        assert_eq!(send(&mut one, &begin).await.last(), Some(&Reply::Ready('T')));
        let end = Messages::new().parse("", "ROLLBACK").bind("", &[]).execute().sync();
        assert_eq!(send(&mut one, &end).await.last(), Some(&Reply::Ready('I')));
        assert_eq!(first(&ask(&mut two, "SELECT 'two'").await).as_deref(), Some("two"));
    });
}
