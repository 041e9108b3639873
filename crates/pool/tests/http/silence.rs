//! Servers that close, stall, or answer by half: what is repeated, and what is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headpond::http::{Body, Client, Error, Method, Request, TimeoutPhase};
use tokio::sync::Notify;

use super::raw::Raw;
use super::server::until;

/// A server that answers once on its first connection, and closes it when the next request comes.
async fn closes_under_a_request() -> Raw {
    Raw::start(|number, mut peer| async move {
        peer.head().await;
        peer.answer("first").await;
        if number == 0 {
            // What a server does that decided to close before the request arrived.
            peer.head().await;
            return;
        }
        while peer.head().await.is_some() {
            peer.answer("again").await;
        }
    })
    .await
}

async fn warm(raw: &Raw) -> Client {
    let client = Client::builder().build().unwrap();
    let response = client.get(&raw.url("/")).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "first");
    client
}

#[tokio::test]
async fn an_idempotent_request_is_repeated_when_its_idle_connection_was_closed() {
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let raw = closes_under_a_request().await;
        let client = warm(&raw).await;
        let request = Request::builder().method(&method).uri(raw.url("/")).body("body").unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "first", "{method}");
        assert_eq!(client.origin_status()[0].totals.retries, 1);
        assert_eq!(raw.heads(), 3);
    }
}

#[tokio::test]
async fn a_request_that_is_not_idempotent_is_never_sent_twice() {
    for method in [Method::POST, Method::PATCH] {
        let raw = closes_under_a_request().await;
        let client = warm(&raw).await;
        let request = Request::builder().method(&method).uri(raw.url("/")).body("body").unwrap();
        let error = client.request(request).await.unwrap_err();
        assert!(error.may_have_been_sent(), "{error}");
        assert!(matches!(error, Error::Exchange { .. }), "{error}");
        assert_eq!(raw.heads(), 2, "{method} was sent once");
        assert_eq!(client.origin_status()[0].totals.retries, 0);
    }
}

#[tokio::test]
async fn a_body_that_was_streamed_is_never_sent_twice() {
    let raw = closes_under_a_request().await;
    let client = warm(&raw).await;
    let body = Body::stream(http_body_util::Full::new(bytes::Bytes::from_static(b"x")));
    let request = Request::put(raw.url("/")).body(body).unwrap();
    assert!(client.request(request).await.is_err());
    assert_eq!(raw.heads(), 2);
}

#[tokio::test]
async fn a_request_of_whose_response_a_byte_came_is_not_repeated() {
    let raw = Raw::start(|_, mut peer| async move {
        peer.head().await;
        peer.answer("first").await;
        peer.head().await;
        peer.say("HTTP/1.1 20").await;
    })
    .await;
    let client = warm(&raw).await;
    let error = client.get(&raw.url("/")).await.unwrap_err();
    assert!(matches!(error, Error::Exchange { sent: true, .. }), "{error}");
    assert_eq!(raw.heads(), 2);
}

#[tokio::test]
async fn a_new_connection_that_closes_under_its_request_is_no_reason_to_repeat_it() {
    let raw = Raw::start(|_, mut peer| async move {
        peer.head().await;
    })
    .await;
    let client = Client::builder().build().unwrap();
    assert!(client.get(&raw.url("/")).await.is_err());
    assert_eq!(raw.heads(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_was_idle_is_not_used() {
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let raw = Raw::start(move |_, mut peer| {
        let close = Arc::clone(&closing);
        async move {
            peer.head().await;
            peer.answer("first").await;
            close.notified().await;
        }
    })
    .await;
    let client = warm(&raw).await;
    close.notify_one();
    until("the end is heard", || client.origin_status()[0].connections == 0).await;
    let response = client.post(&raw.url("/"), "body").await.unwrap();
    assert_eq!(response.text().await.unwrap(), "first");
    assert_eq!(client.origin_status()[0].totals.retries, 0);
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let raw = Raw::start(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    })
    .await;
    let client = Client::builder().build().unwrap();
    let error = client.get(&raw.url("/")).await.unwrap().bytes().await.unwrap_err();
    assert!(matches!(error, Error::Exchange { .. }), "{error}");
}

/// A server that never answers.
async fn mute() -> Raw {
    Raw::start(|_, mut peer| async move {
        peer.head().await;
        peer.end().await;
    })
    .await
}

#[tokio::test]
async fn a_head_that_does_not_come_is_waited_for_no_longer_than_may_be() {
    let raw = mute().await;
    let limit = Duration::from_millis(50);
    let client = Client::builder().head_timeout(Some(limit)).build().unwrap();
    let began = Instant::now();
    let error = client.get(&raw.url("/")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { phase: TimeoutPhase::Head, .. }), "{error}");
    assert!(error.is_timeout() && error.may_have_been_sent());
    assert!(began.elapsed() >= limit);
    until("the connection is closed", || client.origin_status()[0].connections == 0).await;
}

#[tokio::test]
async fn a_request_takes_no_longer_than_may_be_whatever_it_waits_for() {
    let limit = Duration::from_millis(100);
    let build = || Client::builder().request_timeout(limit).max_per_origin(1).build().unwrap();
    let raw = mute().await;
    let error = build().get(&raw.url("/")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { phase: TimeoutPhase::Total, .. }), "{error}");
    // In the queue, behind one that is never answered.
    let (client, url) = (build(), raw.url("/"));
    let (first, second) = tokio::join!(client.get(&url), client.get(&url));
    assert!(first.unwrap_err().is_timeout() && second.unwrap_err().is_timeout());
    // In the middle of a body.
    let half = Raw::start(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
        peer.end().await;
    })
    .await;
    let error = build().get(&half.url("/")).await.unwrap().bytes().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { phase: TimeoutPhase::Total, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::builder().build().unwrap();
    let began = Instant::now();
    let error = client.get(&format!("http://{address}/secret-path")).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    let said = error.to_string();
    assert!(said.contains(&address.to_string()) && said.contains("refused"), "{said}");
    assert!(!said.contains("secret-path"), "{said}");
    assert!(!error.may_have_been_sent());
}

#[test]
fn a_response_that_outlives_its_runtime_is_dropped_quietly() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let response = first.block_on(async {
        let raw = Raw::start(|_, mut peer| async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
            peer.end().await;
        })
        .await;
        Client::builder().build().unwrap().get(&raw.url("/")).await.unwrap()
    });
    let handle = first.handle().clone();
    drop(first);
    let _inside = handle.enter();
    drop(response);
}
