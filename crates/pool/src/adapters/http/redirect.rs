//! Where a response sends its request next.
//!
//! Invariant: what identifies the caller goes to the origin it was meant for, and to no other.
//! Left out: sending it there (`client.rs`).

use std::collections::HashSet;

use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_TYPE, COOKIE, HOST, LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Method, StatusCode, Uri};

use super::body::Body;
use super::error::{AddressError, Error};
use super::origin::Origin;

/// The way of one request from place to place.
pub(crate) struct Trail {
    limit: u32,
    visited: HashSet<(Method, Uri)>,
}

impl Trail {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, visited: HashSet::new() }
    }

    /// Changes a request into the one that a response asks for. Returns its body; none if the
    /// response is to be handed to the caller.
    pub(crate) fn follow(
        &mut self,
        origin: &Origin,
        head: &mut Parts,
        body: Option<Body>,
        (status, headers): (StatusCode, &HeaderMap),
    ) -> Result<Option<Body>, Error> {
        if self.limit == 0 || !is_redirect(status) {
            return Ok(None);
        }
        let Some(location) = headers.get(LOCATION) else { return Ok(None) };
        let location = location.to_str().map_err(|_| AddressError::Malformed)?;
        let next = resolve(&head.uri, location)?;
        let to = Origin::of(&next)?;
        self.visited.insert((head.method.clone(), head.uri.clone()));
        let body = if becomes_get(status, &head.method) {
            head.method = Method::GET;
            for name in [
                CONTENT_LENGTH,
                CONTENT_TYPE,
                CONTENT_ENCODING,
                CONTENT_LANGUAGE,
                CONTENT_LOCATION,
                TRANSFER_ENCODING,
            ] {
                head.headers.remove(name);
            }
            Body::default()
        } else {
            body.ok_or_else(|| Error::RedirectBody { origin: origin.clone() })?
        };
        if to != *origin {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST] {
                head.headers.remove(name);
            }
        }
        if self.visited.contains(&(head.method.clone(), next.clone())) {
            return Err(Error::RedirectLoop { origin: to });
        }
        if self.visited.len() > self.limit as usize {
            return Err(Error::TooManyRedirects { origin: to, limit: self.limit });
        }
        head.uri = next;
        Ok(Some(body))
    }
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Browsers have turned POST into GET since the first of them, and the standard gave in.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => *method != Method::HEAD && *method != Method::GET,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

/// Reads a reference as seen from an address (RFC 3986, section 5).
fn resolve(from: &Uri, reference: &str) -> Result<Uri, AddressError> {
    let reference = reference.split('#').next().unwrap_or_default();
    let parse = |text: &str| text.parse::<Uri>().map_err(|_| AddressError::Malformed);
    if has_scheme(reference) {
        return parse(reference);
    }
    let scheme = from.scheme_str().ok_or(AddressError::Scheme)?;
    if reference.starts_with("//") {
        return parse(&format!("{scheme}:{reference}"));
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (path, query) = match path {
        "" => (from.path().to_owned(), query.or(from.query())),
        _ if path.starts_with('/') => (flat(path), query),
        _ => {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            (flat(&format!("{folder}/{path}")), query)
        }
    };
    let path = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    let path = PathAndQuery::try_from(path).map_err(|_| AddressError::Malformed)?;
    let scheme = from.scheme().cloned().unwrap_or(Scheme::HTTP);
    let authority: Authority = from.authority().cloned().ok_or(AddressError::Host)?;
    let parts = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    parts.build().map_err(|_| AddressError::Malformed)
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Takes `.` and `..` out of a path.
fn flat(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                if last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_standard_says() {
        let from: Uri = "http://a/b/c/d?q".parse().expect("it is an address");
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g/../h", "http://a/b/c/h"),
            ("https://x/y", "https://x/y"),
        ] {
            let resolved = resolve(&from, reference).expect(reference);
            assert_eq!(resolved.to_string(), expected, "{reference}");
        }
    }
}
