//! Servers that die, hang, refuse or vanish; the pool is good again without a restart.

use std::time::{Duration, Instant};

use headpond::{Error, Pool, postgres};

use super::slicer::Slicer;
use super::support::{
    Server, backend, builder, builder_at, pool, run, run_on_one_thread, text, until, url,
};

async fn works(pool: &Pool<postgres::Postgres>) -> bool {
    match pool.get_timeout(Duration::from_secs(5)).await {
        Ok(connection) => connection.batch("SELECT 1").await.is_ok(),
        Err(_) => false,
    }
}

#[test]
fn after_a_restart_of_the_server_the_pool_works_again() {
    let mut server = Server::start();
    run(async {
        let pool = pool(&server, 4);
        let held = pool.get().await.unwrap();
        assert!(works(&pool).await);
        server.restart();
        assert!(held.batch("SELECT 1").await.is_err(), "its session died");
        drop(held);
        until("the pool works", async || works(&pool).await).await;
        for _ in 0..20 {
            assert!(works(&pool).await);
        }
    });
}

#[test]
fn after_a_crash_of_the_server_the_pool_works_again() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 4);
        let (held, idle) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        let process = backend(&idle).await;
        drop(idle);
        // One session that dies by force takes all others with it, and the server starts anew.
        let kill = std::process::Command::new("kill").args(["-KILL", process.as_str()]).status();
        assert!(kill.unwrap().success());
        assert!(held.batch("SELECT pg_sleep(60)").await.is_err(), "its session died");
        drop(held);
        until("the pool works", async || works(&pool).await).await;
        for _ in 0..20 {
            assert!(works(&pool).await);
        }
        assert!(pool.status().size <= 4, "{:?}", pool.status());
    });
}

#[test]
fn of_sessions_that_were_all_terminated_at_once_none_is_lent() {
    const SESSIONS: u32 = 20;
    let server = Server::start();
    // On one thread no driver has run when the first caller asks: the socket alone can tell.
    run_on_one_thread(async {
        let pool = builder(&server, SESSIONS).check_after(None).build().unwrap();
        for _ in 0..2 {
            let mut all = Vec::new();
            for _ in 0..SESSIONS {
                all.push(pool.get().await.unwrap());
            }
            drop(all);
            assert_eq!(pool.status().idle, SESSIONS);
            let every = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                         WHERE usename = 'app'";
            server.psql("postgres", every);
            for number in 0..500_i64 {
                let connection = pool.get().await.unwrap();
                let rows = connection.query("SELECT $1::int8", &[&number]).await.unwrap();
                assert_eq!(rows[0].get::<_, i64>(0), number);
            }
        }
        assert!(pool.status().totals.opened >= u64::from(SESSIONS) * 2);
    });
}

#[test]
fn a_network_that_swallows_everything_is_survived() {
    let server = Server::start();
    run(async {
        let slicer = Slicer::start(server.port()).await;
        let (at, through) = (format!(":{}/", server.port()), format!(":{}/", slicer.port()));
        let pool = builder_at(&url(&server).replace(&at, &through), 2)
            .check_after(Some(Duration::ZERO))
            .check_timeout(Duration::from_millis(200))
            .connect_timeout(Duration::from_millis(500))
            .build()
            .unwrap();
        assert!(works(&pool).await);
        slicer.silence(true);
        let began = Instant::now();
        pool.get_timeout(Duration::from_secs(1)).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        slicer.silence(false);
        until("the pool works", async || works(&pool).await).await;
        assert!(pool.status().size <= 2, "{:?}", pool.status());
    });
}

#[test]
fn a_session_that_was_terminated_while_idle_is_never_lent() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 2);
        for _ in 0..10 {
            let connection = pool.get().await.unwrap();
            let process = backend(&connection).await;
            drop(connection);
            let query = format!("SELECT pg_terminate_backend({process}, 5000)");
            server.psql("postgres", &query);
            let connection = pool.get().await.unwrap();
            assert_ne!(backend(&connection).await, process);
        }
    });
}

#[test]
fn a_session_that_is_terminated_in_use_says_so_by_its_code() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        let connection = pool.get().await.unwrap();
        let process = backend(&connection).await;
        let ((), error) = tokio::join!(
            async {
                let active = format!("SELECT state FROM pg_stat_activity WHERE pid = {process}");
                until("it runs", async || server.psql("postgres", &active).trim() == "active")
                    .await;
                server.psql("postgres", &format!("SELECT pg_terminate_backend({process})"));
            },
            async { connection.batch("SELECT pg_sleep(30)").await.unwrap_err() }
        );
        assert_eq!(error.code().map(|code| code.code()), Some("57P01"));
        assert!(postgres::is_connection_error(&error));
        drop(connection);
        assert!(works(&pool).await);
    });
}

#[test]
fn a_server_that_stands_still_costs_callers_their_deadline_and_no_more() {
    let server = Server::start();
    run(async {
        let pool = builder(&server, 2)
            .check_after(Some(Duration::ZERO))
            .check_timeout(Duration::from_millis(200))
            .connect_timeout(Duration::from_millis(500))
            .build()
            .unwrap();
        let connection = pool.get().await.unwrap();
        let process = backend(&connection).await;
        drop(connection);
        server.signal("STOP");
        let stop = |signal: &str| {
            let status =
                std::process::Command::new("kill").args([signal, process.as_str()]).status();
            assert!(status.unwrap().success());
        };
        stop("-STOP");
        let began = Instant::now();
        let error = pool.get_timeout(Duration::from_secs(1)).await.unwrap_err();
        assert!(error.is_timeout() || error.retry_after().is_some(), "{error}");
        assert!(began.elapsed() < Duration::from_millis(1300), "{:?}", began.elapsed());
        server.signal("CONT");
        stop("-CONT");
        until("the pool works", async || works(&pool).await).await;
    });
}

#[test]
fn a_port_where_nobody_listens_is_reported_with_its_address() {
    run(async {
        let port = super::support::process::free_port();
        let url = format!("postgresql://app@127.0.0.1:{port}/app?sslmode=disable");
        let pool = builder_at(&url, 2).build().unwrap();
        let error = pool.get_timeout(Duration::from_millis(300)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&port.to_string()) && text.contains("refused"), "{text}");
    });
}

#[test]
fn a_listener_that_never_answers_costs_one_attempt_its_limit() {
    run(async {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgresql://app@127.0.0.1:{port}/app?connect_timeout=1");
        let pool = builder_at(&url, 2).build().unwrap();
        let error = pool.get_timeout(Duration::from_millis(2500)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no session within 1s"), "{text}");
    });
}

#[test]
fn a_wrong_password_and_a_missing_database_are_rejected_at_once() {
    let server = Server::start();
    run(async {
        for (good, bad, code) in [
            (super::support::server::APP_PASSWORD, "wrong-word", "28P01"),
            ("/app?", "/nowhere?", "3D000"),
        ] {
            let url = url(&server).replace(good, bad);
            let pool = builder_at(&url, 2).build().unwrap();
            let began = Instant::now();
            let error = pool.get_timeout(Duration::from_secs(20)).await.unwrap_err();
            assert!(matches!(error, Error::Rejected { .. }), "{error}");
            assert!(error.to_string().contains(code), "{error}");
            assert!(!error.to_string().contains("wrong-word") && began.elapsed().as_secs() < 10);
        }
    });
}

#[test]
fn the_first_host_that_will_do_is_taken() {
    let server = Server::start();
    run(async {
        let dead = super::support::process::free_port();
        let hosts = format!("127.0.0.1:{dead},127.0.0.1:{}", server.port());
        let at = format!("127.0.0.1:{}", server.port());
        for wanted in ["any", "read-write", "primary", "prefer-standby"] {
            let url =
                format!("{}&target_session_attrs={wanted}", url(&server).replace(&at, &hosts));
            let pool = builder_at(&url, 1).build().unwrap();
            let connection = pool.get_timeout(Duration::from_secs(5)).await.unwrap();
            assert_eq!(text(&connection, "SELECT 'here'").await, "here", "{wanted}");
        }
        for wanted in ["read-only", "standby"] {
            let url = format!("{}&target_session_attrs={wanted}", url(&server));
            let pool = builder_at(&url, 1).build().unwrap();
            let error = pool.get_timeout(Duration::from_secs(1)).await.unwrap_err();
            assert!(error.to_string().contains(&format!("server is not {wanted}")), "{error}");
        }
    });
}
