//! One request to the pooler's endpoint.
//!
//! Invariant: bounded in time and size; a token is sent to a loopback address or over TLS only.
//! Not here: TLS. Whoever asks from elsewhere has a proxy or a tunnel, or asks with curl.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Act.
    Post,
}

/// Where a pooler answers.
pub struct Endpoint {
    host: String,
    address: SocketAddr,
    token: Option<String>,
}

impl Endpoint {
    /// Reads `http://host:port`.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let wrong = || Failure::new(format!("{url}: expected http://host:port"));
        let host = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let place = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut found = place.to_socket_addrs().map_err(|e| Failure::new(format!("{url}: {e}")))?;
        let address = found.next().ok_or_else(wrong)?;
        let token = match token {
            Some(_) if !address.ip().is_loopback() => {
                return Err(Failure::new(format!("{url}: a token is not sent without TLS")));
            }
            Some(token) if token.bytes().any(|byte| !byte.is_ascii_graphic()) => {
                return Err(Failure::new("the token has characters that none can have"));
            }
            token => token,
        };
        Ok(Self { host: host.to_owned(), address, token })
    }

    /// Whether it may be asked to act.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Reads a path; anything but 200 is a failure.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        match self.ask(Method::Get, path, None)? {
            (200, value) => Ok(value),
            (status, value) => Err(self.refused(status, &value)),
        }
    }

    /// Carries out an action.
    pub fn act(&self, word: &str, body: &Value) -> Result<Value, Failure> {
        let path = format!("/api/v1/actions/{word}");
        match self.ask(Method::Post, &path, Some(body))? {
            (200..=299, value) => Ok(value),
            (status, value) => Err(self.refused(status, &value)),
        }
    }

    fn refused(&self, status: u16, value: &Value) -> Failure {
        let why = value["error"].as_str().unwrap_or("no reason given");
        let hint = if status == 401 { "; say where it is: --token-file FILE" } else { "" };
        Failure::new(format!("http://{}: {status}: {why}{hint}", self.host))
    }

    /// Returns the status and the JSON of an answer.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(format!("http://{}: {error}; is the pooler running?", self.host))
        };
        let mut stream =
            TcpStream::connect_timeout(&self.address, CONNECT_LIMIT).map_err(failed)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(failed)?;
        let word = if method == Method::Get { "GET" } else { "POST" };
        let mut request =
            format!("{word} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        if let Some(token) = &self.token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if method == Method::Post {
            let length = body.len();
            request.push_str(&format!(
                "X-Headpond-Action: 1\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n"
            ));
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).map_err(failed)?;
        let answer = read(&mut stream).map_err(failed)?;
        let answer = String::from_utf8_lossy(&answer);
        let garbled = || Failure::new(format!("http://{}: no pooler answers there", self.host));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(garbled)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(garbled)?;
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }
}

/// Reads to the end, which comes soon or not at all: one byte a second is no answer either.
fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    let mut answer = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let bytes = match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(count) => part.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What the system calls a read that waited for too long.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        if answer.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer is too long"));
        }
        answer.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_this_machine_only() {
        assert!(Endpoint::new("http://127.0.0.1:1", Some("t".into())).is_ok());
        assert!(Endpoint::new("http://192.0.2.1:1", None).is_ok());
        for (url, token) in [("http://192.0.2.1:1", "t"), ("http://127.0.0.1:1", "t\r\nX: y")] {
            assert!(Endpoint::new(url, Some(token.into())).is_err(), "{url} {token:?}");
        }
        assert!(Endpoint::new("https://127.0.0.1:1", None).is_err());
    }
}
