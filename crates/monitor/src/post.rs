//! One POST to a receiver: of alerts as JSON, of metrics as OTLP.
//!
//! Invariant: a connection of its own, bounded in time and in what is read; redirects are answers
//! like any other. Shown in messages is the host alone: a path or a user may be a secret.
//! Not here: trying again (`alert/notify.rs`, `otlp/push.rs`).

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a delivery of alerts may take, from the lookup of the name to the end of the reply.
const LIMIT: Duration = Duration::from_secs(5);
/// How much of a reply is read.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Proves to a receiver of alerts who sent them.
const SIGNATURE: HeaderName = HeaderName::from_static("x-headpond-signature");

/// Where to post: `http://host:port/path` or `https://…`, with or without `user:password@`.
#[derive(Clone)]
pub struct Target {
    tls: Option<Arc<ClientConfig>>,
    host: String,
    port: u16,
    path: String,
    authorization: Option<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.host).field(&self.port).finish()
    }
}

/// The host and the port, which are all that may be shown.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// No host, or a port that is none.
    Host,
    /// `https://` without a TLS configuration to use.
    NoTls,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the address must begin with http:// or https://",
            Self::Host => "the address has no valid host and port",
            Self::NoTls => "https needs trusted authorities, and none were found",
        })
    }
}

impl std::error::Error for TargetError {}

/// What is posted.
pub(crate) struct Letter<'a> {
    /// A path below the target's own; nothing for the target as it is.
    pub path: &'a str,
    /// What is said of it, its type at least.
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a receiver answered.
pub(crate) struct Answer {
    pub status: StatusCode,
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "alerts need the status alone"))]
    pub headers: HeaderMap,
    /// Empty if it was too long.
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "alerts need the status alone"))]
    pub body: Bytes,
}

/// Why a delivery did not succeed.
#[derive(Debug)]
pub(crate) enum PostError {
    /// The receiver cannot be reached or does not speak HTTP.
    Io(String),
    /// It took longer than this.
    Timeout(Duration),
    /// It answered something else than success.
    Status(u16),
    /// The name leads to the address where clouds keep credentials.
    Forbidden,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(text) => f.write_str(text),
            Self::Timeout(limit) => write!(f, "took longer than {} s", limit.as_secs_f64()),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Forbidden => f.write_str("the address is link-local"),
        }
    }
}

impl Target {
    /// Reads an address; `tls` is what `https` uses.
    ///
    /// # Errors
    /// It is no address, or needs TLS and there is none.
    pub fn new(url: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, TargetError> {
        let (tls, rest, default_port) = if let Some(rest) = url.strip_prefix("https://") {
            (Some(tls.ok_or(TargetError::NoTls)?), rest, 443)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (None, rest, 80)
        } else {
            return Err(TargetError::Scheme);
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| TargetError::Host)?)
            }
            _ => (place, default_port),
        };
        let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || port == 0 || !is_text(host) || !is_text(path) {
            return Err(TargetError::Host);
        }
        let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(unescape(user))));
        Ok(Self { tls, host: host.to_owned(), port, path: path.to_owned(), authorization })
    }

    /// Returns the path of a request: the target's own as it is, or with `below` after it.
    fn path(&self, below: &str) -> String {
        let (base, query) = match self.path.split_once('?') {
            Some((base, query)) => (base, format!("?{query}")),
            None => (self.path.as_str(), String::new()),
        };
        let base = if below.is_empty() { base } else { base.trim_end_matches('/') };
        let slash = if base.is_empty() && below.is_empty() { "/" } else { "" };
        format!("{base}{below}{slash}{query}")
    }
}

/// Posts alerts to a path below the target's own.
pub(crate) async fn json(
    target: &Target,
    path: &str,
    body: &str,
    signature: Option<&str>,
) -> Result<(), PostError> {
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    if let Some(signature) = signature {
        headers.insert(SIGNATURE, HeaderValue::from_str(signature).map_err(io)?);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    let answer = deliver(target, Letter { path, headers, body }, LIMIT).await?;
    let status = answer.status;
    if status.is_success() { Ok(()) } else { Err(PostError::Status(status.as_u16())) }
}

/// Posts a letter and returns the answer, whatever it says.
pub(crate) async fn deliver(
    target: &Target,
    letter: Letter<'_>,
    limit: Duration,
) -> Result<Answer, PostError> {
    timeout(limit, send(target, letter)).await.unwrap_or(Err(PostError::Timeout(limit)))
}

async fn send(target: &Target, letter: Letter<'_>) -> Result<Answer, PostError> {
    let stream = connect(target).await?;
    match &target.tls {
        None => exchange(stream, target, letter).await,
        Some(config) => {
            let host = target.host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(io)?;
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name, stream).await.map_err(io)?;
            exchange(stream, target, letter).await
        }
    }
}

/// Connects to the address that was checked, so that a name cannot change in between.
async fn connect(target: &Target) -> Result<TcpStream, PostError> {
    let host = target.host.trim_matches(['[', ']']);
    let mut last = PostError::Io("no address found".to_owned());
    for address in tokio::net::lookup_host((host, target.port)).await.map_err(io)? {
        let is_link_local = match address.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => ip.is_link_local(),
            std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if is_link_local {
            last = PostError::Forbidden;
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io(error),
        }
    }
    Err(last)
}

async fn exchange<S>(stream: S, target: &Target, letter: Letter<'_>) -> Result<Answer, PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io)?;
    let mut request =
        Request::post(target.path(letter.path)).body(Full::new(letter.body)).map_err(io)?;
    let headers = request.headers_mut();
    *headers = letter.headers;
    headers.insert(HOST, HeaderValue::from_str(&target.to_string()).map_err(io)?);
    if let Some(authorization) = &target.authorization {
        headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).map_err(io)?);
    }
    let talk = async {
        let answer = sender.send_request(request).await.map_err(io)?;
        let (head, body) = answer.into_parts();
        // The reply is read so that the receiver is done with the request; one that is too long or
        // breaks off is as good as none.
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    let mut talk = pin!(talk);
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        // A receiver may answer and close at once. Whoever waits for the answer has it then, or
        // hears why there is none.
        _ = connection => talk.await,
    }
}

fn io(error: impl fmt::Display) -> PostError {
    PostError::Io(error.to_string())
}

/// Undoes percent escapes; what is no escape stays as it is.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_never_shown_whole() {
        let target = Target::new("http://me:p%40ss@hooks.example:8080/T0/secret?x=1", None);
        let target = target.expect("an address");
        assert_eq!((target.host.as_str(), target.port), ("hooks.example", 8080));
        assert_eq!(target.path, "/T0/secret?x=1");
        assert_eq!(target.authorization.as_deref(), Some("Basic bWU6cEBzcw=="));
        assert_eq!(format!("{target:?}"), "Target(\"hooks.example\", 8080)");
        assert_eq!(target.to_string(), "hooks.example:8080");
        let plain = Target::new("http://[::1]", None).expect("an address");
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("[::1]", 80, ""));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (url, error) in [
            ("ftp://x", TargetError::Scheme),
            ("x", TargetError::Scheme),
            ("https://x", TargetError::NoTls),
            ("http://", TargetError::Host),
            ("http://x:port/", TargetError::Host),
            ("http://x y/", TargetError::Host),
            ("http://x/\r\nHost: y", TargetError::Host),
        ] {
            assert_eq!(Target::new(url, None).err(), Some(error), "{url}");
        }
    }

    #[test]
    fn a_path_is_taken_as_it_is_or_followed_by_another() {
        for (url, alone, below) in [
            ("http://x", "/", "/v1/y"),
            ("http://x/", "/", "/v1/y"),
            ("http://x/a", "/a", "/a/v1/y"),
            ("http://x/a/", "/a/", "/a/v1/y"),
            ("http://x?k=1", "/?k=1", "/v1/y?k=1"),
            ("http://x/a/?k=1", "/a/?k=1", "/a/v1/y?k=1"),
        ] {
            let target = Target::new(url, None).expect("an address");
            assert_eq!((target.path("").as_str(), &*target.path("/v1/y")), (alone, below), "{url}");
        }
    }
}
