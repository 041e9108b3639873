//! Decides before any route is looked up whether a request may be answered at all.
//!
//! A web page can make a browser on this machine talk to a loopback port under a name of the
//! page's own (DNS rebinding); only the `Host` it sends betrays it. So the host must be one of a
//! list, byte for byte and with its port.
//!
//! Invariant: no route runs for a host that is not listed; all answers carry the same headers.
//! Not here: proxies. `X-Forwarded-Host` and `Forwarded` are never looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

/// Longest request body: an action and its few words.
const BODY_BYTES_MAX: u64 = 64 * 1024;

const HEADERS: [(header::HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The hosts that requests may name.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// Returns the loopback names with the port of `local`, and `names`: those with a port as
    /// they are, those without one with the port of `local`.
    pub(super) fn new(local: SocketAddr, names: &[String]) -> Self {
        let port = local.port();
        let mut hosts = Vec::new();
        let loopback = ["127.0.0.1", "localhost", "[::1]"].map(str::to_owned);
        for name in loopback.iter().chain(names) {
            if has_port(name) {
                hosts.push(name.clone());
                continue;
            }
            hosts.push(format!("{name}:{port}"));
            if port == 80 {
                // The port of the scheme is left out by every client.
                hosts.push(name.clone());
            }
        }
        Self(hosts)
    }

    fn allow(&self, host: &[u8]) -> bool {
        self.0.iter().any(|known| known.as_bytes() == host)
    }
}

fn has_port(name: &str) -> bool {
    let after_address = name.rfind(']').map_or(name, |end| &name[end..]);
    after_address.contains(':')
}

/// Answers what must not reach a route, and adds the headers to every answer.
pub(super) async fn check(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match refusal(&hosts, &request) {
        Some(status) => refuse(status),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

fn refusal(hosts: &Hosts, request: &Request) -> Option<StatusCode> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let host_is_listed = match (named.next(), named.next()) {
        (Some(host), None) => hosts.allow(host.as_bytes()),
        _ => false,
    };
    let target_is_listed =
        request.uri().authority().is_none_or(|named| hosts.allow(named.as_str().as_bytes()));
    if !(host_is_listed && target_is_listed) {
        return Some(StatusCode::MISDIRECTED_REQUEST);
    }
    // A chunked body has no length to check, and next to Content-Length it is how requests are
    // smuggled past a proxy. Nobody who acts needs one.
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        return Some(StatusCode::BAD_REQUEST);
    }
    if request.body().size_hint().lower() > BODY_BYTES_MAX {
        return Some(StatusCode::PAYLOAD_TOO_LARGE);
    }
    None
}

/// Ends the connection too: what follows a refused request is not read as another one.
fn refuse(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(port: u16, names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        Hosts::new(SocketAddr::from(([127, 0, 0, 1], port)), &names).0
    }

    #[test]
    fn names_get_the_port_of_the_listener_unless_they_have_one() {
        let told = hosts(9127, &["pooler.example", "proxy:443", "[fd00::1]", "[fd00::2]:80"]);
        let expected = [
            "127.0.0.1:9127",
            "localhost:9127",
            "[::1]:9127",
            "pooler.example:9127",
            "proxy:443",
            "[fd00::1]:9127",
            "[fd00::2]:80",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_port_may_be_left_out_only_if_it_is_the_one_of_http() {
        assert!(hosts(80, &[]).contains(&"localhost".to_owned()));
        assert!(!hosts(8080, &[]).contains(&"localhost".to_owned()));
    }
}
