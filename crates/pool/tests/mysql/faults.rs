//! Servers that die, hang and come back.

use std::time::{Duration, Instant};

use headpond::mysql::driver::prelude::Queryable;
use headpond::mysql::{self, Config, SslMode};

use super::mariadb::{Server, sessions};
use super::slicer::Slicer;
use super::until;

#[tokio::test]
async fn a_server_that_died_and_came_back_is_used_again() {
    let mut server = Server::start().await;
    let pool = mysql::pool(&server.url("pool_max=3&pool_min=0&pool_acquire_timeout=60s")).unwrap();
    let held: Vec<_> = [pool.get().await.unwrap(), pool.get().await.unwrap()].into();
    drop(held);
    server.kill();
    let error = pool.query::<u32>("SELECT 1").await;
    assert!(error.is_err() || pool.status().size == 0);
    // Callers who come while it is down wait for it.
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.query_first::<u32>("SELECT 7").await }
    });
    server.restart();
    let first = waiting.await.unwrap();
    // The first may have got the last connection that was dead.
    assert!(first.is_err() || first.unwrap() == Some(7));
    for _ in 0..3 {
        let _ = pool.query::<u32>("SELECT 1").await;
    }
    assert_eq!(pool.query_first::<u32>("SELECT 8").await.unwrap(), Some(8));
}

#[tokio::test]
async fn a_killed_session_is_replaced() {
    let server = Server::start().await;
    let mut root = server.root().await;
    let url = server.url("pool_max=1&pool_min=0");
    let pool = Config::from_url(&url).unwrap().builder().check_after(Some(Duration::ZERO));
    let pool = pool.build().unwrap();
    let id = pool.get().await.unwrap().id();
    root.query_drop(format!("KILL {id}")).await.unwrap();
    assert_eq!(pool.query_first::<u32>("SELECT 1").await.unwrap(), Some(1));
    // While it is lent.
    let mut connection = pool.get().await.unwrap();
    root.query_drop(format!("KILL {}", connection.id())).await.unwrap();
    connection.query_drop("SELECT 1").await.unwrap_err();
    drop(connection);
    assert_eq!(pool.query_first::<u32>("SELECT 1").await.unwrap(), Some(1));
    until("the side connection that killed is gone", async || sessions(&mut root).await == 1).await;
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_check_and_not_the_pool() {
    let mut server = Server::start().await;
    let url =
        server.url("pool_max=2&pool_min=0&pool_ping_timeout=200ms&pool_connect_timeout=500ms");
    let pool = Config::from_url(&url).unwrap().builder().check_after(Some(Duration::ZERO));
    let pool = pool.build().unwrap();
    drop(pool.get().await.unwrap());
    server.process().signal("STOP");
    let begin = Instant::now();
    let error = pool.get_timeout(Duration::from_secs(1)).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert!(error.to_string().contains("last connect failed") || error.is_timeout(), "{error}");
    server.process().signal("CONT");
    until("it answers", async || pool.query::<u32>("SELECT 1").await.is_ok()).await;
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_survived() {
    let server = Server::start().await;
    let slicer = Slicer::start(server.port()).await;
    let url =
        server.url("pool_max=2&pool_min=0&pool_ping_timeout=200ms&pool_connect_timeout=500ms");
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", slicer.port()));
    let pool = Config::from_url(&url).unwrap().builder().check_after(Some(Duration::ZERO));
    let pool = pool.build().unwrap();
    assert_eq!(pool.query_first::<u32>("SELECT 1").await.unwrap(), Some(1));
    slicer.silence(true);
    assert!(pool.get_timeout(Duration::from_secs(1)).await.is_err());
    slicer.silence(false);
    until("it answers", async || pool.query::<u32>("SELECT 1").await.is_ok()).await;
    assert!(pool.status().size <= 2);
}

#[tokio::test]
async fn nobody_listening_is_said_with_its_cause() {
    let url = format!("mysql://app:x@127.0.0.1:{}/app", super::process::free_port());
    let pool = mysql::pool(&url).unwrap();
    let error = pool.get_timeout(Duration::from_millis(300)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_server_without_room_is_waited_for() {
    let server = Server::start_with(&["--max-user-connections=2"]).await;
    let pool = mysql::pool(&server.url("pool_max=5&pool_min=0")).unwrap();
    let work = (0..40).map(|number: u32| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.exec_first::<u32>("SELECT ?", (number,)).await })
    });
    for (number, task) in work.collect::<Vec<_>>().into_iter().enumerate() {
        let reply = task.await.unwrap().unwrap();
        assert_eq!(reply.map(|reply| reply as usize), Some(number));
    }
    let status = pool.status();
    assert!(status.size < 5 && status.totals.connect_failures > 0, "{status:?}");
}

#[tokio::test]
async fn the_way_to_the_server_is_encrypted_as_the_url_says() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]);
    let made = made.unwrap();
    let folder = tempfile::Builder::new().prefix("hp-my-tls").tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for path in [folder.path(), &cert, &key] {
        super::process::Account::own(super::process::Account::unprivileged(), path);
    }
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let server =
        Server::start_with(&[&format!("--ssl-cert={cert}"), &format!("--ssl-key={key}")]).await;
    let encrypted = async |more: &str| {
        let pool = mysql::pool(&server.url(more)).unwrap();
        let sql = "SHOW STATUS LIKE 'Ssl_cipher'";
        let row = pool.query_first::<(String, String)>(sql).await;
        row.map(|row| !row.unwrap().1.is_empty())
    };
    assert!(!encrypted("ssl-mode=DISABLED").await.unwrap());
    for mode in ["PREFERRED", "REQUIRED"] {
        assert!(encrypted(&format!("ssl-mode={mode}")).await.unwrap(), "{mode}");
    }
    assert!(encrypted("").await.unwrap(), "preferred is the default");
    let ca = format!("&ssl-ca={cert}&pool_acquire_timeout=2s");
    assert!(encrypted(&format!("ssl-mode=VERIFY_IDENTITY{ca}")).await.unwrap());
    // Signed by nobody that is trusted.
    encrypted("ssl-mode=VERIFY_CA&pool_acquire_timeout=2s").await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_cannot_encrypt_is_taken_or_refused_as_asked() {
    let server = Server::start_with(&["--skip-ssl"]).await;
    let config = Config::from_url(&server.url("pool_acquire_timeout=2s")).unwrap();
    let preferred = config.clone().builder().build().unwrap();
    assert_eq!(preferred.query_first::<u32>("SELECT 1").await.unwrap(), Some(1));
    let required = config.ssl_mode(SslMode::Required).builder().build().unwrap();
    required.get().await.unwrap_err();
}
