//! Servers that end, refuse, or have no room.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{
    Bench, Setup, ask, backends, client, config, describe, doing, failure, kept_out, password_of,
    pooler, raw, refused, run, server, until, until_closed, value, within,
};
use crate::support::client::Reply;
use crate::support::message::Messages;
use crate::support::postgres::{APP, Options, connect};

const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                         WHERE usename = 'app'";
const TERMINATED: &str = "57P01 terminating connection due to administrator command";

#[test]
fn an_idle_server_that_ended_is_noticed_before_anybody_gets_it() {
    let bench = Bench::start(&Setup::default());
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(client(&bench.pooler, APP, APP).await);
        }
        for _ in 0..10 {
            for one in &clients {
                one.batch_execute("BEGIN").await.expect("a server each");
            }
            for one in &clients {
                one.batch_execute("COMMIT").await.expect("an end");
            }
            assert_eq!(value(&direct, TERMINATE).await, "4");
            until("all have ended", async || backends(&direct, APP).await == 0).await;
            for one in &clients {
                assert_eq!(value(one, "SELECT 'served'").await, "served");
            }
        }
    });
}

#[test]
fn a_server_that_ends_under_a_client_takes_its_work_along_and_is_never_replaced() {
    let bench = Bench::start(&Setup { entry: "pool_size=2", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let insert = "INSERT INTO ledger VALUES ('lost')";
        // Each with what it has asked when its server ends.
        let slow = "INSERT INTO ledger SELECT 'lost' FROM pg_sleep(30)";
        for (before, last) in [
            (vec![], Messages::new().query(slow)),
            (vec!["BEGIN", insert], Messages::new().query(slow)),
            (vec!["BEGIN", insert], Messages::new()),
        ] {
            let mut one = raw(&bench.pooler).await;
            for sql in before {
                ask(&mut one, sql).await;
            }
            one.ask(&last).await.expect("the pooler listens");
            let (state, sql) = match last.bytes() {
                [] => ("idle in transaction", "%"),
                _ => ("active", "%pg_sleep%"),
            };
            until("it is so far", async || doing(&direct, state, sql).await == 1).await;
            value(&direct, TERMINATE).await;
            // COMMIT on a fresh server would succeed: it must not be heard of any more.
            let _ = one.ask(&Messages::new().query("COMMIT")).await;
            let replies = until_closed(&mut one).await;
            assert_eq!(failure(&replies).as_deref(), Some(TERMINATED), "{last:?}");
            assert!(!replies.contains(&Reply::Complete("COMMIT".into())), "{replies:?}");
            let next = client(&bench.pooler, APP, APP).await;
            assert_eq!(value(&next, "SELECT 'served'").await, "served");
            assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0");
        }
    });
}

#[test]
fn a_server_that_refuses_the_login_says_so_to_the_client() {
    let postgres = server(&Options::default());
    let setup = Setup {
        databases: "gone = host=127.0.0.1 port=PORT dbname=missing",
        auth_file: Some(format!(
            "\"{APP}\" \"wrong\"\n\"other\" \"{}\"\n\"absent\" \"x\"\n",
            password_of("other")
        )),
        ..Setup::default()
    };
    let pooler = pooler(postgres.port(), &setup);
    run(async {
        let start = Instant::now();
        for (user, database, reason) in [
            (APP, APP, "password authentication failed for user \"app\""),
            ("absent", APP, "password authentication failed for user \"absent\""),
            ("other", "gone", "database \"missing\" does not exist"),
        ] {
            for _ in 0..3 {
                let error = kept_out(&config(&pooler, user, database)).await;
                assert!(error.contains(reason), "{user} at {database}: {error}");
            }
            // Others are none the worse for it.
            let other = client(&pooler, "other", APP).await;
            assert_eq!(value(&other, "SELECT 'served'").await, "served");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "told at once: {:?}", start.elapsed());
    });
}

#[test]
fn clients_wait_while_the_database_starts() {
    let postgres = server(&Options::default());
    let server_port = postgres.port();
    run(async {
        let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = front.local_addr().expect("it is bound").port();
        tokio::spawn(async move {
            let mut refusals = 3;
            while let Ok((mut client, _)) = front.accept().await {
                if refusals > 0 {
                    refusals -= 1;
                    refuse_startup(&mut client).await;
                    continue;
                }
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server_port)).await;
                    let mut server = server.expect("the database listens");
                    // Either side may end it.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        let keys = "server_tls_sslmode = disable\nserver_login_retry = 1";
        let pooler = pooler(port, &Setup { keys, ..Setup::default() });
        let mut tasks = Vec::new();
        for _ in 0..10 {
            let settings = config(&pooler, APP, APP);
            tasks.push(tokio::spawn(async move {
                let one = connect(&settings).await.map_err(|e| describe(&e))?;
                one.simple_query("SELECT 1").await.map_err(|e| describe(&e))
            }));
        }
        for task in tasks {
            let result = within("an answer", task).await.expect("no panic");
            assert!(result.is_ok(), "nobody hears of it: {result:?}");
        }
    });
}

async fn refuse_startup(client: &mut TcpStream) {
    use tokio::io::AsyncReadExt;
    let length = client.read_u32().await.expect("a startup packet");
    let mut body = vec![0; length as usize - 4];
    client.read_exact(&mut body).await.expect("a startup packet");
    let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
    let length = u32::try_from(fields.len() + 4).expect("it is short").to_be_bytes();
    let message = [&b"E"[..], &length, fields].concat();
    client.write_all(&message).await.expect("the pooler reads");
}

#[test]
fn a_full_database_makes_clients_wait_and_not_fail() {
    let options = Options {
        max_connections: 9,
        settings: vec![
            ("superuser_reserved_connections", "5".into()),
            ("max_wal_senders", "0".into()),
        ],
        ..Options::default()
    };
    let postgres = server(&options);
    let pooler = pooler(postgres.port(), &Setup { entry: "pool_size=10", ..Setup::default() });
    run(async {
        let direct = postgres.connect(APP).await;
        let mut tasks = Vec::new();
        for number in 0..20 {
            let settings = config(&pooler, APP, APP);
            tasks.push(tokio::spawn(async move {
                let one = connect(&settings).await.map_err(|e| describe(&e))?;
                for turn in 0..10 {
                    let sql = format!("SELECT '{number} {turn}' FROM pg_sleep(0.002)");
                    one.simple_query(&sql).await.map_err(|e| describe(&e))?;
                }
                Ok::<(), String>(())
            }));
        }
        for task in tasks {
            let result = within("its turn", task).await.expect("no panic");
            assert_eq!(result, Ok(()));
        }
        assert!(backends(&direct, APP).await <= 3);
        // No storm of attempts either.
        let lines = postgres.log().lines();
        let refused = lines.iter().filter(|line| line.contains("53300")).count();
        assert!(refused <= 20, "{refused} refused logins");
    });
}

#[test]
fn an_unknown_database_or_user_of_the_pooler_is_named() {
    let bench = Bench::start(&Setup::default());
    run(async {
        let error = kept_out(&config(&bench.pooler, APP, "nowhere")).await;
        assert_eq!(error, "3D000 no such database: nowhere");
        let one = client(&bench.pooler, APP, APP).await;
        // What the server refuses later is the server's word, and the connection lives.
        assert!(refused(&one, "SELECT * FROM nowhere").await.starts_with("42P01"));
        assert_eq!(value(&one, "SELECT 'alive'").await, "alive");
    });
}
