//! One POST of JSON to a receiver of alerts.
//!
//! Invariant: a connection of its own, bounded in time and in what is read; redirects are answers
//! like any other. Shown in messages is the host alone: a path or a user may be a secret.
//! Not here: trying again (`alert/notify.rs`).

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a delivery may take, from the lookup of the name to the end of the reply.
const LIMIT: Duration = Duration::from_secs(5);
/// How much of a reply is read.
const REPLY_BYTES_MAX: usize = 64 * 1024;

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

/// Why a delivery did not succeed.
#[derive(Debug)]
pub(crate) enum PostError {
    /// The receiver cannot be reached or does not speak HTTP.
    Io(String),
    /// It took too long.
    Timeout,
    /// It answered something else than success.
    Status(u16),
    /// The name leads to the address where clouds keep credentials.
    Forbidden,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(text) => f.write_str(text),
            Self::Timeout => write!(f, "took longer than {} s", LIMIT.as_secs()),
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
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { tls, host: host.to_owned(), port, path, authorization })
    }
}

/// Posts a body to a path below the target's own.
pub(crate) async fn json(
    target: &Target,
    path: &str,
    body: &str,
    signature: Option<&str>,
) -> Result<(), PostError> {
    timeout(LIMIT, send(target, path, body, signature)).await.unwrap_or(Err(PostError::Timeout))
}

async fn send(
    target: &Target,
    path: &str,
    body: &str,
    signature: Option<&str>,
) -> Result<(), PostError> {
    let stream = connect(target).await?;
    match &target.tls {
        None => exchange(stream, target, path, body, signature).await,
        Some(config) => {
            let host = target.host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(io)?;
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name, stream).await.map_err(io)?;
            exchange(stream, target, path, body, signature).await
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

async fn exchange<S>(
    stream: S,
    target: &Target,
    path: &str,
    body: &str,
    signature: Option<&str>,
) -> Result<(), PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io)?;
    let (base, query) = match target.path.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (target.path.as_str(), String::new()),
    };
    let whole = format!("{base}{path}{query}");
    let mut request =
        Request::post(if whole.starts_with('/') { whole } else { format!("/{whole}") })
            .header(HOST, format!("{}:{}", target.host, target.port))
            .header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = &target.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if let Some(signature) = signature {
        request = request.header("X-Headpond-Signature", signature);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).map_err(io)?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(io)?;
        let status = answer.status();
        // The reply is read so that the receiver is done with the request; its words are not used.
        let _ = Limited::new(answer.into_body(), REPLY_BYTES_MAX).collect().await;
        Ok::<StatusCode, PostError>(status)
    };
    let mut talk = pin!(talk);
    let status = tokio::select! {
        biased;
        status = &mut talk => status?,
        // A receiver may answer and close at once. Whoever waits for the answer has it then, or
        // hears why there is none.
        _ = connection => talk.await?,
    };
    if status.is_success() { Ok(()) } else { Err(PostError::Status(status.as_u16())) }
}

fn io(error: impl fmt::Display) -> PostError {
    PostError::Io(error.to_string())
}

/// Undoes percent escapes; what is no escape stays as it is.
fn unescape(text: &str) -> String {
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
}
