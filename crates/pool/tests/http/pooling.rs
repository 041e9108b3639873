//! Who gets which connection, how many there are, and when they are used again.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use headpond::http::{Body, Client, Error, Request, StatusCode};
use tokio::task::JoinSet;

use super::raw::Raw;
use super::server::{Server, Speaks, until};

fn client() -> Client {
    Client::builder().build().expect("the settings make sense")
}

async fn text(client: &Client, url: &str) -> String {
    client.get(url).await.expect(url).text().await.expect(url)
}

#[test]
fn a_client_does_as_the_agents_do_that_it_replaces_unless_told_otherwise() {
    let client = client();
    let settings = client.settings();
    assert_eq!((settings.max_per_origin, settings.max_idle, settings.redirects_max), (50, 10, 5));
    assert_eq!(settings.idle_timeout, Duration::from_secs(60));
    assert_eq!(settings.tcp_keep_alive, Some(Duration::from_millis(1000)));
    assert_eq!(settings.request_timeout, Duration::from_secs(30));
    assert_eq!(settings.body_limit, 50_000_000);
    // And the connection used last is used first.
    assert_eq!(headpond::Settings::default().order, headpond::IdleOrder::Lifo);
}

#[tokio::test]
async fn one_connection_serves_requests_that_follow_one_another() {
    let server = Server::start(Speaks::Http1).await;
    let client = client();
    for _ in 0..100 {
        assert_eq!(text(&client, &server.url("/")).await, "hello");
    }
    assert_eq!(server.connections(), 1);
    let status = &client.origin_status()[0];
    assert_eq!((status.totals.requests, status.totals.reused), (100, 99));
    assert_eq!((status.totals.opened, status.totals.waits), (1, 0));
    assert_eq!((status.connections, status.requests), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_maximum_is_never_exceeded() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().max_per_origin(5).build().unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..200_u32 {
        let (client, url) = (client.clone(), server.url(&format!("/slow/{}", n % 7 * 100)));
        tasks.spawn(async move { text(&client, &url).await });
    }
    while let Some(task) = tasks.join_next().await {
        assert_eq!(task.unwrap(), "slow");
    }
    assert_eq!(server.requests(), 200);
    assert!(server.seen.open_max.load(SeqCst) <= 5);
    assert_eq!(server.connections(), 5, "each was used again and again");
    assert!(client.origin_status()[0].totals.waits > 100);
}

#[tokio::test]
async fn whoever_asked_first_is_served_first() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().max_per_origin(1).build().unwrap();
    let watching = client.clone();
    let waiting = |client: &Client, n: u32| {
        client.origin_status().first().is_some_and(|origin| {
            origin.pool.waiting == n && origin.pool.in_use == 1 && origin.requests == n + 1
        })
    };
    let mut tasks = JoinSet::new();
    for n in 0..20_u32 {
        let (client, url) = (client.clone(), server.url(&format!("/held/{n}")));
        tasks.spawn(async move { text(&client, &url).await });
        until("it is in the queue", || waiting(&watching, n)).await;
    }
    server.seen.gate.pass(20);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(client.origin_status()[0].totals.waits, 19, "all but the first");
    let expected: Vec<String> = (0..20).map(|n| format!("/held/{n}")).collect();
    assert_eq!(*server.seen.paths.lock(), expected);
}

#[tokio::test]
async fn no_more_connections_lie_idle_than_may() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().max_per_origin(30).max_idle(4).build().unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..30 {
        let (client, url) = (client.clone(), server.url(&format!("/held/{n}")));
        tasks.spawn(async move { text(&client, &url).await });
    }
    until("all are under way", || server.requests() == 30).await;
    server.seen.gate.pass(30);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    until("the rest is closed", || server.seen.open.load(SeqCst) == 4).await;
    until("it is counted", || client.origin_status()[0].connections == 4).await;
    assert_eq!(client.origin_status()[0].pool.idle, 4);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_its_origin_forgotten() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().idle_timeout(Duration::from_millis(500)).build().unwrap();
    text(&client, &server.url("/")).await;
    assert_eq!(client.origin_status().len(), 1);
    until("it is closed", || server.seen.open.load(SeqCst) == 0).await;
    until("it is forgotten", || client.origin_status().is_empty()).await;
    assert_eq!(text(&client, &server.url("/")).await, "hello", "and found again");
}

#[tokio::test]
async fn there_are_never_more_origins_than_may_be() {
    let servers = [
        Server::start(Speaks::Http1).await,
        Server::start(Speaks::Http1).await,
        Server::start(Speaks::Http1).await,
    ];
    let client = Client::builder().origins_max(2).build().unwrap();
    for _ in 0..3 {
        for server in &servers {
            assert_eq!(text(&client, &server.url("/")).await, "hello");
            assert!(client.origin_status().len() <= 2);
        }
    }
    let [one, other, third] = &servers;
    let held: Vec<_> = [one, other]
        .into_iter()
        .map(|server| {
            let (client, url) = (client.clone(), server.url("/held/x"));
            tokio::spawn(async move { text(&client, &url).await })
        })
        .collect();
    until("both are under way", || {
        [one, other].iter().all(|server| server.seen.paths.lock().contains(&"/held/x".to_owned()))
    })
    .await;
    let error = client.get(&third.url("/")).await.unwrap_err();
    assert!(matches!(error, Error::TooManyOrigins { max: 2 }), "{error}");
    one.seen.gate.pass(1);
    other.seen.gate.pass(1);
    for held in held {
        held.await.unwrap();
    }
    assert_eq!(text(&client, &third.url("/")).await, "hello");
}

#[tokio::test]
async fn chunks_arrive_as_they_are_sent() {
    let server = Server::start(Speaks::Http1).await;
    let client = client();
    let mut response = client.get(&server.url("/chunks/500")).await.unwrap();
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        length += chunk.len();
    }
    assert_eq!(length, 500 * "piece;".len());
    text(&client, &server.url("/")).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_body_is_sent_whole_or_streamed() {
    let server = Server::start(Speaks::Http1).await;
    let client = client();
    let echo = client.post(&server.url("/echo"), "some words").await.unwrap().text().await.unwrap();
    assert!(echo.starts_with("POST") && echo.ends_with("\nsome words"), "{echo}");
    assert!(echo.contains("\"content-length\": \"10\""), "{echo}");
    let stream = http_body_util::Full::new(bytes::Bytes::from_static(b"a stream"));
    let echo = client.post(&server.url("/echo"), Body::stream(stream)).await.unwrap();
    assert!(echo.text().await.unwrap().ends_with("\na stream"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_response_larger_than_the_limit_is_refused() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().body_limit(1000).build().unwrap();
    assert_eq!(
        client.get(&server.url("/bytes/1000")).await.unwrap().bytes().await.unwrap().len(),
        1000
    );
    let error = client.get(&server.url("/bytes/1001")).await.unwrap_err();
    assert!(matches!(error, Error::BodyTooLarge { limit: 1000, .. }), "said before it is read");
    let response = client.get(&server.url("/chunks/200")).await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert!(matches!(error, Error::BodyTooLarge { limit: 1000, .. }), "found while reading");
    assert_eq!(text(&client, &server.url("/")).await, "hello");
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_whatever_it_says() {
    let raw = Raw::start(|_, mut peer| async move {
        while peer.head().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
        }
    })
    .await;
    let client = client();
    for _ in 0..3 {
        let request = Request::head(raw.url("/")).body(()).unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.bytes().await.unwrap().len(), 0);
    }
    assert_eq!(client.origin_status()[0].totals.opened, 1);
}

#[tokio::test]
async fn a_short_response_that_nobody_reads_costs_no_connection_and_a_long_one_does() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().max_per_origin(1).build().unwrap();
    for _ in 0..5 {
        drop(client.get(&server.url("/bytes/5000")).await.unwrap());
    }
    assert_eq!(text(&client, &server.url("/")).await, "hello");
    assert_eq!(server.connections(), 1);
    drop(client.get(&server.url("/bytes/5000000")).await.unwrap());
    assert_eq!(text(&client, &server.url("/")).await, "hello");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_says_close_is_not_asked_again_on_that_connection() {
    let raw = Raw::start(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(peer.head().await, None);
    })
    .await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(text(&client, &raw.url("/")).await, "ok");
    }
    assert_eq!(client.origin_status()[0].totals.opened, 3);
    assert_eq!(client.origin_status()[0].totals.retries, 0);
}

#[tokio::test]
async fn a_connection_whose_server_talks_out_of_turn_is_closed() {
    let raw = Raw::start(|number, mut peer| async move {
        peer.head().await;
        if number == 0 {
            // The second response belongs to no request.
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nWRONG").await;
            peer.end().await;
        } else {
            peer.answer("right").await;
            peer.end().await;
        }
    })
    .await;
    let client = client();
    assert_eq!(text(&client, &raw.url("/")).await, "ok");
    let second = client.get(&raw.url("/")).await.unwrap().text().await.unwrap();
    assert_eq!(second, "right");
}

#[tokio::test]
async fn a_closed_client_refuses_requests() {
    let server = Server::start(Speaks::Http1).await;
    let client = client();
    text(&client, &server.url("/")).await;
    client.close(Duration::from_secs(5)).await.unwrap();
    until("it is closed", || server.seen.open.load(SeqCst) == 0).await;
    let error = client.get(&server.url("/")).await.unwrap_err();
    assert!(matches!(error, Error::Pool { cause: headpond::Error::Closed { .. }, .. }), "{error}");
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_without_repeating_their_secrets() {
    let client = client();
    for address in ["nonsense", "ftp://x/", "http://ada:s3cret@localhost/", "http://"] {
        let error = client.get(address).await.unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}
