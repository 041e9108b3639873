//! A client of HTTP with a bounded pool: `cargo run --example http --features http`.
//!
//! Starts a little server of its own, sends 200 requests over at most 8 connections, and says what
//! the pool did.
//! Left out: TLS, redirects and errors: see `docs/adapters/http.md`.

use std::convert::Infallible;
use std::time::Duration;

use headpond::http::Client;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));

    let client = Client::builder().max_per_origin(8).max_idle(4).build()?;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let client = client.clone();
        let url = format!("http://{address}/pages/{n}");
        tasks.spawn(async move { client.get(&url).await?.text().await });
    }
    let mut bytes = 0;
    while let Some(task) = tasks.join_next().await {
        bytes += task??.len();
    }
    println!("200 responses, {bytes} bytes");
    for status in client.origin_status() {
        let totals = status.totals;
        println!(
            "{}: {} requests, {} on used connections, {} opened, {} waited; {} idle now",
            status.origin,
            totals.requests,
            totals.reused,
            totals.opened,
            totals.waits,
            status.pool.idle
        );
    }
    client.close(Duration::from_secs(5)).await.map_err(|left| format!("{left:?}"))?;
    Ok(())
}

async fn serve(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service_fn(|request: Request<Incoming>| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let text = format!("you asked for {}\n", request.uri().path());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(socket), service);
        tokio::spawn(connection);
    }
}
