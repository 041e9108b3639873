//! Servers that die, hang and come back.

use std::time::{Duration, Instant};

use headpond::redis::{self, AsyncCommands, Config, Error};

use super::server::{Server, clients};
use super::slicer::Slicer;
use super::until;

#[tokio::test]
async fn a_server_that_died_and_came_back_is_used_again() {
    let mut server = Server::start();
    let pool = redis::pool(&server.url("?pool_max=3&pool_min=0")).unwrap();
    let shared = redis::shared(&server.url("")).unwrap();
    shared.set("k", 1).await.unwrap();
    drop(pool.get().await.unwrap());
    server.kill();
    until("the end is seen", async || shared.status().open == 0).await;
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.query::<String>(redis::cmd("ECHO").arg("x")).await }
    });
    server.restart();
    assert_eq!(waiting.await.unwrap().unwrap(), "x");
    until("it answers", async || shared.ping().await.is_ok()).await;
    assert!(shared.status().opened >= 2);
}

#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let server = Server::start();
    let mut root = server.root().await;
    let kill =
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes").clone();
    let pool = redis::pool(&server.url("?pool_max=1&pool_min=0")).unwrap();
    drop(pool.get().await.unwrap());
    let shared = redis::shared(&server.url("")).unwrap();
    shared.set("k", 1).await.unwrap();
    let _: u32 = kill.query_async(&mut root).await.unwrap();
    // A read is sent again if the end was not seen yet.
    assert_eq!(shared.get::<u32>("k").await.unwrap(), 1);
    until("the end is seen", async || {
        pool.query::<String>(redis::cmd("ECHO").arg("x")).await.is_ok()
    })
    .await;
    // While it is lent.
    let mut connection = pool.get().await.unwrap();
    let _: u32 = kill.query_async(&mut root).await.unwrap();
    connection.get::<_, Option<u32>>("k").await.unwrap_err();
    drop(connection);
    assert_eq!(pool.query::<u32>(redis::cmd("GET").arg("k")).await.unwrap(), 1);
    until("one is left", async || clients(&mut root).await == 1).await;
}

#[tokio::test]
async fn a_write_that_may_have_been_executed_is_not_sent_again() {
    let server = Server::start();
    let slicer = Slicer::start(server.port()).await;
    let url = format!("redis://127.0.0.1:{}", slicer.port());
    let config = Config::from_url(&url).unwrap().response_timeout(Some(Duration::from_millis(100)));
    let shared = config.shared();
    shared.set("n", 0).await.unwrap();
    slicer.silence(true);
    let error = shared.query::<u32>(redis::cmd("INCR").arg("n")).await.unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
    slicer.silence(false);
    until("it answers", async || shared.ping().await.is_ok()).await;
    assert_eq!(shared.get::<u32>("n").await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_check_and_not_the_pool() {
    let mut server = Server::start();
    let url =
        server.url("?pool_max=2&pool_min=0&pool_ping_timeout=200ms&pool_connect_timeout=500ms");
    let config = Config::from_url(&url).unwrap();
    let pool = config.builder().unwrap().check_after(Some(Duration::ZERO)).build().unwrap();
    drop(pool.get().await.unwrap());
    server.process().signal("STOP");
    let begin = Instant::now();
    pool.get_timeout(Duration::from_secs(1)).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    server.process().signal("CONT");
    until("it answers", async || pool.get().await.is_ok()).await;
    assert!(pool.status().size <= 2);
}

/// On one thread no driver has run when the first caller asks: the socket alone can tell.
#[tokio::test]
async fn of_connections_that_were_all_killed_at_once_none_is_lent() {
    use std::io::{BufRead, BufReader, Write};
    let server = Server::start();
    let config = Config::from_url(&server.url("?pool_max=20&pool_min=0")).unwrap();
    let pool = config.builder().unwrap().check_after(None).build().unwrap();
    let mut beside = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut replies = BufReader::new(beside.try_clone().unwrap()).lines();
    for _ in 0..5 {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(pool.get().await.unwrap());
        }
        drop(all);
        assert_eq!(pool.status().idle, 20);
        // Not asynchronously, or the drivers would run meanwhile.
        beside.write_all(b"CLIENT KILL TYPE normal SKIPME yes\r\n").unwrap();
        assert_eq!(replies.next().unwrap().unwrap(), ":20");
        // A socket is looked at once in a tick of the kernel, which lasts 10 ms at most.
        std::thread::sleep(Duration::from_millis(10));
        for number in 0..200 {
            let mut connection = pool.get().await.unwrap();
            let echo: u32 = connection.query(redis::cmd("ECHO").arg(number)).await.unwrap();
            assert_eq!(echo, number);
        }
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_survived() {
    let server = Server::start();
    let slicer = Slicer::start(server.port()).await;
    let more = "?pool_max=2&pool_min=0&pool_ping_timeout=200ms&pool_connect_timeout=500ms";
    let url = format!("redis://127.0.0.1:{}{more}", slicer.port());
    let config = Config::from_url(&url).unwrap();
    let pool = config.builder().unwrap().check_after(Some(Duration::ZERO)).build().unwrap();
    let echo = async || pool.query::<String>(redis::cmd("ECHO").arg("x")).await;
    assert_eq!(echo().await.unwrap(), "x");
    slicer.silence(true);
    assert!(pool.get_timeout(Duration::from_secs(1)).await.is_err());
    slicer.silence(false);
    until("it answers", async || echo().await.is_ok()).await;
    assert!(pool.status().size <= 2);
}

#[tokio::test]
async fn nobody_listening_is_said_with_its_cause_after_three_more_tries() {
    let url = format!("redis://127.0.0.1:{}", super::process::free_port());
    let pool = redis::pool(&url).unwrap();
    let error = pool.get_timeout(Duration::from_millis(300)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    let begin = Instant::now();
    let error = redis::shared(&url).unwrap().ping().await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    // 50 + 100 + 150 ms.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_server_without_room_is_waited_for() {
    let server = Server::start_with(&["--maxclients", "3"]);
    let pool = redis::pool(&server.url("?pool_max=8&pool_min=0")).unwrap();
    let work = (0..40).map(|number: u32| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.query::<u32>(redis::cmd("ECHO").arg(number)).await })
    });
    for (number, task) in work.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap() as usize, number);
    }
    assert!(pool.status().size <= 3, "{:?}", pool.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_its_data_is_waited_for() {
    let mut server = Server::start_with(&[
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    let mut root = server.root().await;
    let _: redis::driver::Value =
        redis::cmd("DEBUG").arg("POPULATE").arg(300).query_async(&mut root).await.unwrap();
    let _: redis::driver::Value = redis::cmd("SAVE").query_async(&mut root).await.unwrap();
    server.kill();
    let pool = redis::pool(&server.url("?pool_max=1&pool_min=0")).unwrap();
    let shared = redis::shared(&server.url("")).unwrap();
    let waiting =
        tokio::spawn(
            async move { pool.query::<Option<String>>(redis::cmd("GET").arg("key:1")).await },
        );
    // It accepts connections long before it serves.
    server.restart();
    assert!(waiting.await.unwrap().unwrap().is_some());
    until("it answers", async || shared.ping().await.is_ok()).await;
}
