//! Redirects: followed so far and no further, and without what is not meant for the next server.

use headpond::http::{Body, Client, Error, Request, StatusCode};

use super::server::{Server, Speaks};

fn client() -> Client {
    Client::builder().build().expect("the settings make sense")
}

/// Sends a request with everything that identifies somebody, and returns what arrived.
async fn echo(server: &Server, path: &str, method: &str) -> String {
    let request = Request::builder()
        .method(method)
        .uri(server.url(path))
        .header("authorization", "Bearer secret")
        .header("cookie", "id=secret")
        .header("content-type", "text/plain")
        .header("x-plain", "stays")
        .body("the body")
        .unwrap();
    client().request(request).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_redirect_is_followed_and_the_response_says_from_where_it_is() {
    let server = Server::start(Speaks::Http1).await;
    let client = client();
    let response = client.get(&server.url("/to/302/tag/7")).await.unwrap();
    assert_eq!(response.uri().path(), "/tag/7");
    assert!(response.text().await.unwrap().starts_with("7;"));
    assert_eq!(server.connections(), 1, "the response in between was read");
}

#[tokio::test]
async fn the_method_changes_as_the_status_says() {
    let server = Server::start(Speaks::Http1).await;
    for (status, method, becomes, body) in [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "POST", "GET", ""),
        (303, "PUT", "GET", ""),
        (302, "PUT", "PUT", "the body"),
        (307, "POST", "POST", "the body"),
        (308, "POST", "POST", "the body"),
    ] {
        let echo = echo(&server, &format!("/to/{status}/echo"), method).await;
        assert!(echo.starts_with(becomes), "{status} {method}: {echo}");
        assert!(echo.ends_with(&format!("\n{body}")), "{status} {method}: {echo}");
        assert_eq!(echo.contains("content-type"), !body.is_empty(), "{status} {method}: {echo}");
        assert!(echo.contains("Bearer secret"), "the server is the same: {echo}");
    }
}

#[tokio::test]
async fn what_identifies_the_caller_goes_to_no_other_server() {
    let (one, other) = (Server::start(Speaks::Http1).await, Server::start(Speaks::Http1).await);
    let path = format!("/to/307/http:/{}/echo", other.address);
    let echo = echo(&one, &path, "POST").await;
    assert!(!echo.contains("secret"), "{echo}");
    assert!(echo.contains("stays") && echo.ends_with("the body"), "{echo}");
    assert!(echo.contains(&other.address.to_string()), "the host is the new one: {echo}");
}

#[tokio::test]
async fn circles_and_long_ways_end() {
    let server = Server::start(Speaks::Http1).await;
    let client = client();
    let way = |steps| format!("{}{}", "/to/302".repeat(steps), "/tag/1");
    let response = client.get(&server.url(&way(5))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let error = client.get(&server.url(&way(6))).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRedirects { limit: 5, .. }), "{error}");
    let raw = super::raw::Raw::start(|_, mut peer| async move {
        while let Some(head) = peer.head().await {
            let to = if head.starts_with("GET /one") { "/two" } else { "/one" };
            let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            peer.say(&head).await;
        }
    })
    .await;
    let error = client.get(&raw.url("/one")).await.unwrap_err();
    assert!(matches!(error, Error::RedirectLoop { .. }), "{error}");
    assert_eq!(raw.heads(), 2);
}

#[tokio::test]
async fn redirects_can_be_left_to_the_caller() {
    let server = Server::start(Speaks::Http1).await;
    let client = Client::builder().redirects_max(0).build().unwrap();
    let response = client.get(&server.url("/to/302/tag/7")).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], "/tag/7");
}

#[tokio::test]
async fn a_streamed_body_cannot_be_sent_to_the_next_place() {
    let server = Server::start(Speaks::Http1).await;
    let stream = || Body::stream(http_body_util::Full::new(bytes::Bytes::from_static(b"x")));
    let error = client().post(&server.url("/to/307/echo"), stream()).await.unwrap_err();
    assert!(matches!(error, Error::RedirectBody { .. }), "{error}");
    let response = client().post(&server.url("/to/303/echo"), stream()).await.unwrap();
    assert!(response.text().await.unwrap().starts_with("GET"));
}

#[tokio::test]
async fn a_redirect_to_something_else_than_http_is_an_error() {
    let server = Server::start(Speaks::Http1).await;
    let error = client().get(&server.url("/to/302/ftp:/example.com/x")).await.unwrap_err();
    assert!(matches!(error, Error::Address(_)), "{error}");
}
