//! HTTP/2: one connection for all, and none of its ends is anybody else's.

use headpond::http::{Client, Versions};
use tokio::task::JoinSet;

use super::server::{Server, Speaks, until};
use super::tls;

fn client() -> Client {
    Client::builder().versions(Versions::Http2).max_per_origin(20).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_share_one_connection() {
    let tls = tls::start(&["h2", "http/1.1"]).await;
    let client = tls.client().build().unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..30 {
        let (client, url) = (client.clone(), tls.url(&format!("/held/{n}")));
        tasks.spawn(async move { (n, client.get(&url).await.unwrap().text().await.unwrap()) });
    }
    until("all are under way at once", || tls.server.requests() == 30).await;
    assert_eq!(tls.server.connections(), 1);
    tls.server.seen.gate.pass(30);
    while let Some(task) = tasks.join_next().await {
        let (n, text) = task.unwrap();
        assert_eq!(text, n.to_string());
    }
    let status = &client.origin_status()[0];
    assert_eq!((status.totals.opened, status.connections), (1, 1));
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_may_be() {
    let server = Server::start(Speaks::Http2).await;
    let client = Client::builder().versions(Versions::Http2).max_per_origin(3).build().unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let (client, url) = (client.clone(), server.url(&format!("/held/{n}")));
        tasks.spawn(async move { client.get(&url).await.unwrap().text().await.unwrap() });
    }
    let full = || client.origin_status().first().is_some_and(|status| status.pool.waiting == 7);
    until("seven wait", full).await;
    until("three are under way", || server.requests() == 3).await;
    server.seen.gate.pass(10);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!((server.connections(), server.requests()), (1, 10));
}

#[tokio::test]
async fn a_connection_that_is_going_away_ends_its_requests_and_gets_no_new_ones() {
    let server = Server::start(Speaks::Http2).await;
    let client = client();
    let held = tokio::spawn({
        let (client, url) = (client.clone(), server.url("/held/old"));
        async move { client.get(&url).await.unwrap().text().await.unwrap() }
    });
    until("it is under way", || server.requests() == 1).await;
    server.leave.notify_waiters();
    // Everything that is asked from now on ends well, whichever connection it is asked on.
    let mut n = 0;
    while server.connections() < 2 {
        let body = format!("body {n}");
        let response = client.post(&server.url("/echo"), body.clone()).await;
        assert!(response.unwrap().text().await.unwrap().ends_with(&body));
        n += 1;
        assert!(n < 1000, "the old connection is still used");
    }
    server.seen.gate.pass(1);
    assert_eq!(held.await.unwrap(), "old");
    assert_eq!(client.get(&server.url("/")).await.unwrap().text().await.unwrap(), "hello");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_request_that_was_given_up_does_not_disturb_the_others() {
    let server = Server::start(Speaks::Http2).await;
    let client = client();
    let leaving = tokio::spawn({
        let (client, url) = (client.clone(), server.url("/held/x"));
        async move { client.get(&url).await.map(|_| ()) }
    });
    until("it is under way", || server.requests() == 1).await;
    leaving.abort();
    let _ = leaving.await;
    drop(client.get(&server.url("/bytes/5000000")).await.unwrap());
    for n in 0..20 {
        let text = client.get(&server.url(&format!("/tag/{n}"))).await.unwrap().text().await;
        assert!(text.unwrap().starts_with(&format!("{n};")));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_speak_it_is_named() {
    let tls = tls::start(&["http/1.1"]).await;
    let client = tls.client().versions(Versions::Http2).build().unwrap();
    assert!(client.get(&tls.url("/")).await.is_err());
}
