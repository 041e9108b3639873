//! Who may read and who may act.
//!
//! Invariant: an action needs POST, a header that no form can send, an origin that is our own, and
//! a token, all of them; a token is compared in constant time and guessing is slowed down. Health
//! for load balancers is open, everything else too on a loopback address only.
//! Not here: which hosts may be named (`guard.rs`).

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use subtle::ConstantTimeEq;

use super::serve::Peer;
use crate::watch::Monitor;

/// The header that every action must carry: a form of a foreign page cannot send it, and a script
/// of a foreign page may not.
pub(super) const ACTION_HEADER: &str = "x-headpond-action";
/// Where the actions are.
pub(super) const ACTIONS: &str = "/api/v1/actions/";
/// Wrong tokens that an address may send in a minute.
const FAILURES_MAX: u32 = 10;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered for that.
const ADDRESSES_MAX: usize = 1_000;

/// What programs write: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Answers that tell no more than a load balancer needs.
const OPEN: [&str; 6] =
    ["/livez", "/readyz", "/startupz", "/health/quick", "/api/health/live", "/api/health/ready"];

/// A secret that whoever knows it may do something.
#[derive(Clone)]
pub struct Token(Arc<[u8]>);

impl Token {
    /// Takes a token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    fn is(&self, given: &[u8]) -> bool {
        self.0.as_ref().ct_eq(given).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Allows actions, and reading. Default: none, and then nobody can act.
    pub action_token: Option<Token>,
    /// Allows reading. Default: none.
    pub read_token: Option<Token>,
    /// Reading needs a token. Default: it does not, because only this machine can ask.
    pub reads_need_token: bool,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Nothing,
    Read,
    Act,
}

pub(super) struct Door {
    monitor: Arc<Monitor>,
    failures: Failures,
}

/// Wrong tokens by address.
#[derive(Default)]
struct Failures(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Door {
    pub(super) fn new(monitor: Arc<Monitor>) -> Self {
        Self { monitor, failures: Failures::default() }
    }
}

impl Access {
    /// What the token of a request allows, if it has one.
    fn right(&self, headers: &HeaderMap) -> Option<Right> {
        let given = token(headers)?;
        let is = |token: &Option<Token>| token.as_ref().is_some_and(|token| token.is(&given));
        Some(if is(&self.action_token) {
            Right::Act
        } else if is(&self.read_token) {
            Right::Read
        } else {
            Right::Nothing
        })
    }
}

impl Failures {
    fn are_too_many(&self, peer: IpAddr) -> bool {
        let failures = self.0.lock().unwrap_or_else(|e| e.into_inner());
        failures.get(&peer).is_some_and(|(since, count)| {
            *count >= FAILURES_MAX && since.elapsed() < FAILURES_WINDOW
        })
    }

    fn note(&self, peer: IpAddr) {
        let mut failures = self.0.lock().unwrap_or_else(|e| e.into_inner());
        failures.retain(|_, (since, _)| since.elapsed() < FAILURES_WINDOW);
        if failures.len() < ADDRESSES_MAX || failures.contains_key(&peer) {
            failures.entry(peer).or_insert_with(|| (Instant::now(), 0)).1 += 1;
        }
    }
}

/// The token of a request: `Authorization: Bearer`, or the password of `Basic` (which browsers can
/// be asked for).
fn token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = given.split_at(given.iter().position(|byte| *byte == b' ')?);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = BASE64.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Lets a request pass, or says why not.
pub(super) async fn check(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match refusal(&door, &request) {
        None => next.run(request).await,
        Some((status, why)) => refuse(status, why),
    }
}

fn refusal(door: &Door, request: &Request) -> Option<(StatusCode, &'static str)> {
    let path = request.uri().path();
    if OPEN.contains(&path) {
        return None;
    }
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |p| p.0);
    let headers = request.headers();
    let is_action = path.starts_with(ACTIONS);
    if is_action && let Some(refused) = not_ours(request.method(), headers) {
        return Some(refused);
    }
    let access = door.monitor.access();
    let needs = match (is_action, access.reads_need_token) {
        (true, _) => Right::Act,
        (false, true) => Right::Read,
        (false, false) => return None,
    };
    if needs == Right::Act && access.action_token.is_none() {
        return Some((StatusCode::FORBIDDEN, "no token is configured (http.token)"));
    }
    if door.failures.are_too_many(peer) {
        return Some((StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens"));
    }
    match access.right(headers) {
        Some(right) if right >= needs => None,
        Some(Right::Read) => Some((StatusCode::FORBIDDEN, "this token only reads")),
        Some(_) => {
            door.failures.note(peer);
            Some((StatusCode::UNAUTHORIZED, "the token is wrong"))
        }
        None => Some((StatusCode::UNAUTHORIZED, "a token is needed")),
    }
}

/// Why an action was not asked for by a page of ours or by a program.
fn not_ours(method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    if *method != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "actions are posted"));
    }
    if !headers.contains_key(ACTION_HEADER) {
        return Some((StatusCode::FORBIDDEN, "the header X-Headpond-Action is missing"));
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Some((StatusCode::FORBIDDEN, "asked for by another site"));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let host = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let origin = origin.as_bytes();
        let place = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
        if place != Some(host) {
            return Some((StatusCode::FORBIDDEN, "asked for by another origin"));
        }
    }
    let is_json = headers.get(header::CONTENT_TYPE).is_none_or(|sort| {
        let sort = sort.as_bytes();
        sort == b"application/json" || sort.starts_with(b"application/json;")
    });
    (!is_json).then_some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON"))
}

fn refuse(status: StatusCode, why: &'static str) -> Response {
    let body = serde_json::json!({ "error": why }).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"headpond\", charset=\"UTF-8\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let value = HeaderValue::from_str(authorization).expect("a value");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[test]
    fn tokens_come_by_bearer_or_as_the_password_of_basic() {
        for (text, expected) in [
            ("Bearer abc", Some(&b"abc"[..])),
            ("bearer  abc ", Some(b"abc")),
            ("Basic dXNlcjphYmM=", Some(b"abc")),
            ("Basic OmE6Yg==", Some(b"a:b")),
            ("Basic OmE6Yg", Some(b"a:b")),
            ("Basic ???", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            assert_eq!(token(&headers(text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn whoever_guesses_is_barred_for_a_while_and_others_are_not() {
        let failures = Failures::default();
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..FAILURES_MAX {
            assert!(!failures.are_too_many(guesser));
            failures.note(guesser);
        }
        assert!(failures.are_too_many(guesser) && !failures.are_too_many(other));
    }

    #[test]
    fn a_token_is_never_shown() {
        let access = Access { action_token: Some(Token::new("canary")), ..Access::default() };
        assert!(!format!("{access:?}").contains("canary"));
    }
}
