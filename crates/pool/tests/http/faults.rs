//! Servers in processes of their own that are killed, stopped, and started again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headpond::http::{Client, Error, TimeoutPhase};

use super::raw::Raw;

const PORT: &str = "HEADPOND_TEST_HTTP_PORT";

/// A server in a process of its own; killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

/// Run in a process of its own by the tests below.
#[tokio::test]
#[ignore = "serves until it is killed"]
async fn child_that_serves() {
    let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let raw = Raw::on(listener, |_, mut peer| async move {
        while peer.head().await.is_some() {
            peer.answer("hello").await;
        }
    });
    println!("\nport {}", raw.address.port());
    std::future::pending::<()>().await;
}

impl Server {
    /// Starts a server on a port, or on any that is free if it is 0.
    fn start(port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::child_that_serves", "--ignored", "--nocapture"])
            .env(PORT, port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.find_map(|line| line.ok()?.strip_prefix("port ")?.parse().ok());
        Self { child, port: said.expect("it says where it is") }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends the server without any warning; its connections are closed when this returns.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that killed it has nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn hello(client: &Client, url: &str) -> Result<(), Error> {
    assert_eq!(client.get(url).await?.text().await?, "hello");
    Ok(())
}

/// Asks until there is an answer; a server that was away is tried for at intervals.
async fn works_again(client: &Client, url: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(error) = hello(client, url).await {
        assert!(Instant::now() < until, "in vain: {error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// On one thread no driver has run when the request is made: the socket alone can tell.
#[tokio::test]
async fn a_server_that_died_and_came_back_is_used_again_and_nothing_is_sent_twice() {
    let mut server = Server::start(0);
    let (client, url) = (Client::builder().build().unwrap(), server.url());
    hello(&client, &url).await.unwrap();
    server.kill();
    let error = hello(&client, &url).await.unwrap_err();
    assert!(error.to_string().contains("refused") && !error.may_have_been_sent(), "{error}");
    let mut server = Server::start(server.port);
    works_again(&client, &url).await;
    for _ in 0..20 {
        hello(&client, &url).await.unwrap();
    }
    // Killed and back before anybody noticed: a request that must not be repeated gets through.
    server.kill();
    let _server = Server::start(server.port);
    // A socket is looked at once in a tick of the kernel, which lasts 10 ms at most.
    std::thread::sleep(Duration::from_millis(10));
    let answer = client.post(&url, "body").await.unwrap().text().await.unwrap();
    assert_eq!(answer, "hello");
    assert_eq!(client.origin_status()[0].totals.retries, 0);
}

#[tokio::test]
async fn a_server_that_stands_still_costs_requests_their_limit_and_no_more() {
    let server = Server::start(0);
    let limit = Duration::from_millis(300);
    let client = Client::builder().request_timeout(limit).max_per_origin(2).build().unwrap();
    let url = server.url();
    hello(&client, &url).await.unwrap();
    server.signal("STOP");
    for _ in 0..4 {
        let began = Instant::now();
        let error = hello(&client, &url).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    server.signal("CONT");
    works_again(&client, &url).await;
    assert!(client.origin_status()[0].connections <= 2);
}

#[tokio::test]
async fn a_listener_that_never_shakes_hands_costs_the_limit_of_a_connect() {
    // The kernel accepts; nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = Duration::from_millis(100);
    let client = Client::builder().connect_timeout(limit).build().unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let error = client.get(&url).await.unwrap_err();
    assert!(!error.may_have_been_sent(), "{error}");
    let total = matches!(error, Error::Timeout { phase: TimeoutPhase::Total, .. });
    assert!(!total, "not the limit of the request: {error}");
    assert!(error.to_string().contains("100ms"), "{error}");
}
