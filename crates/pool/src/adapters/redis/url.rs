//! Reading the URLs of Redis and Valkey.
//!
//! Invariant: every key is understood or refused.
//! Left out: pool options (`keys.rs`).

use std::path::PathBuf;

use super::error::UrlError;
use crate::options::{PoolOptions, decode, pairs};

/// Where the servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    One(Host),
    Unix(PathBuf),
    /// Whoever these say is the master of the service.
    Sentinel {
        nodes: Vec<Host>,
        service: String,
    },
    Cluster(Vec<Host>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

/// How to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// How to encrypt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// Takes any certificate.
    pub(super) insecure: bool,
    /// Trusts these authorities instead of the system's.
    pub(super) ca: Option<PathBuf>,
}

pub(super) struct Parsed {
    pub(super) target: Target,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    pub(super) db: i64,
    pub(super) tls: Option<Tls>,
    pub(super) resp2: bool,
    pub(super) name: Option<String>,
    pub(super) keys: PoolOptions,
}

#[derive(PartialEq)]
enum Shape {
    One,
    Unix,
    Sentinel,
    Cluster,
}

pub(super) fn parse(url: &str) -> Result<Parsed, UrlError> {
    let (scheme, rest) = url.split_once(':').ok_or(UrlError::Scheme)?;
    let (shape, encrypted) = match scheme {
        "redis" | "valkey" => (Shape::One, false),
        "rediss" | "valkeys" => (Shape::One, true),
        "unix" | "redis+unix" | "valkey+unix" => (Shape::Unix, false),
        "redis-sentinel" | "redis+sentinel" | "valkey-sentinel" => (Shape::Sentinel, false),
        "rediss-sentinel" | "rediss+sentinel" | "valkeys-sentinel" => (Shape::Sentinel, true),
        "redis+cluster" | "redis-cluster" | "valkey+cluster" => (Shape::Cluster, false),
        "rediss+cluster" | "rediss-cluster" | "valkeys+cluster" => (Shape::Cluster, true),
        _ => return Err(UrlError::Scheme),
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) =
        if shape == Shape::Unix { ("", rest) } else { rest.split_once('/').unwrap_or((rest, "")) };
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut path = path.trim_end_matches('/');
    let mut parsed = Parsed {
        target: Target::Unix(decode(path).into()),
        login: read_login(login),
        sentinel_login: Login::default(),
        db: 0,
        tls: encrypted.then(|| Tls { insecure: fragment == "insecure", ca: None }),
        resp2: false,
        name: None,
        keys: PoolOptions::default(),
    };
    match shape {
        Shape::Unix => path = "",
        Shape::One => {
            let mut found = read_hosts(hosts, 6379)?;
            let host = found.pop().filter(|_| found.is_empty());
            parsed.target = Target::One(host.ok_or_else(|| UrlError::Host(hosts.into()))?);
        }
        Shape::Cluster => parsed.target = Target::Cluster(read_hosts(hosts, 6379)?),
        Shape::Sentinel => {
            let (service, db) = path.split_once('/').unwrap_or((path, ""));
            if service.is_empty() {
                return Err(UrlError::Service);
            }
            let nodes = read_hosts(hosts, 26379)?;
            parsed.target = Target::Sentinel { nodes, service: decode(service) };
            path = db;
        }
    }
    if !path.is_empty() {
        parsed.db = database(path)?;
    }
    for (key, value) in pairs(query) {
        parsed.option(&key, value)?;
    }
    Ok(parsed)
}

impl Parsed {
    fn option(&mut self, key: &str, value: String) -> Result<(), UrlError> {
        match key {
            "db" => self.db = database(&value)?,
            "user" => self.login.user = Some(value),
            "pass" | "password" => self.login.password = Some(value),
            "sentinel_user" => self.sentinel_login.user = Some(value),
            "sentinel_password" => self.sentinel_login.password = Some(value),
            "client_name" => self.name = Some(value),
            "tls_ca" => match &mut self.tls {
                Some(tls) => tls.ca = Some(value.into()),
                None => return Err(UrlError::Value(key.into(), value)),
            },
            "protocol" => match value.as_str() {
                "resp2" | "2" => self.resp2 = true,
                "resp3" | "3" => self.resp2 = false,
                _ => return Err(UrlError::Value(key.into(), value)),
            },
            _ if self.keys.take(key, &value)? => {}
            _ => return Err(UrlError::Option(key.into())),
        }
        Ok(())
    }
}

fn database(text: &str) -> Result<i64, UrlError> {
    text.parse().ok().filter(|db| *db >= 0).ok_or_else(|| UrlError::Database(text.into()))
}

fn read_login(text: &str) -> Login {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(decode(password))),
        None => (text, None),
    };
    Login { user: Some(decode(user)).filter(|user| !user.is_empty()), password }
}

fn read_hosts(text: &str, port: u16) -> Result<Vec<Host>, UrlError> {
    text.split(',')
        .map(|host| {
            let wrong = || UrlError::Host(host.to_owned());
            let (name, after) = match host.strip_prefix('[') {
                Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
                None => host.split_at(host.find(':').unwrap_or(host.len())),
            };
            let port = match after.strip_prefix(':') {
                Some(number) => number.parse().map_err(|_| wrong())?,
                None if after.is_empty() => port,
                None => return Err(wrong()),
            };
            let name = if name.is_empty() { "127.0.0.1".into() } else { decode(name) };
            Ok(Host { name, port })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Host, Target, UrlError, parse};

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    #[test]
    fn each_scheme_says_where_the_servers_are() {
        let cases = [
            ("redis://h", Target::One(host("h", 6379)), 0, false),
            ("rediss://u:p@h:1/3", Target::One(host("h", 1)), 3, true),
            ("valkey://[::1]:2", Target::One(host("::1", 2)), 0, false),
            ("unix:///run/r.sock?db=4", Target::Unix("/run/r.sock".into()), 4, false),
            ("redis+unix:///r.sock", Target::Unix("/r.sock".into()), 0, false),
            (
                "redis-sentinel://a,b:2/main/5",
                Target::Sentinel {
                    nodes: vec![host("a", 26379), host("b", 2)],
                    service: "main".into(),
                },
                5,
                false,
            ),
            (
                "rediss+cluster://a:1,b:2",
                Target::Cluster(vec![host("a", 1), host("b", 2)]),
                0,
                true,
            ),
        ];
        for (url, target, db, encrypted) in cases {
            let parsed = parse(url).unwrap();
            assert_eq!((parsed.target, parsed.db), (target, db), "{url}");
            assert_eq!(parsed.tls.is_some(), encrypted, "{url}");
        }
        let login = parse("redis://me:p%40ss@h").unwrap().login;
        assert_eq!((login.user.as_deref(), login.password.as_deref()), (Some("me"), Some("p@ss")));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let cases = [
            ("http://u:secret@h", UrlError::Scheme),
            ("redis://u:secret@h/x", UrlError::Database("x".into())),
            ("redis://u:secret@h:port", UrlError::Host("h:port".into())),
            ("redis-sentinel://u:secret@h", UrlError::Service),
            ("redis://u:secret@h?nonsense=1", UrlError::Option("nonsense".into())),
        ];
        for (url, error) in cases {
            let found = parse(url).err().expect(url);
            assert!(!format!("{found} {found:?}").contains("secret"));
            assert_eq!(found, error, "{url}");
        }
        assert!(matches!(parse("redis://h?pool_mx=3"), Err(UrlError::Key(_))));
    }
}
