//! How an endpoint is asked: blocking, one request for each connection.
//!
//! Not here: what is asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::PATIENCE;

/// Asks for a path, in the version of HTTP that has no chunks; returns the status and the body.
pub fn ask(http: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {http}\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Reads JSON.
pub fn read(http: SocketAddr, path: &str) -> (u16, Value) {
    let (status, body) = ask(http, "GET", path, "", "");
    let value = serde_json::from_str(&body);
    (status, value.unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

/// Looks again and again until something is found.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // The pause only spares the processor: what is waited for is the condition.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
