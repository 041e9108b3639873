//! The HBA file: which clients may log in from where, and how they prove who they are.
//!
//! Invariant: the first rule that matches decides, and where none does the answer is reject.
//! A line that cannot be read is skipped with a warning, as in PgBouncer; in a doubt inside a
//! line the reading that lets fewer clients in is taken.
//! Not here: carrying out a method, and DNS names, which the format here does not have.

mod ident;
mod line;
mod matching;

use std::path::Path;

pub use ident::{IdentMap, IdentMaps};
pub use line::LineFlaw;

use crate::config::Secret;
use line::LineReader;
use matching::{Names, Range};

/// How a client proves who it is under one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// It may not log in.
    Reject,
    /// MD5, or SCRAM if the stored secret is a SCRAM one.
    Md5,
    /// The password in clear text.
    Password,
    /// The unix user at the other end of the socket.
    Peer,
    /// A client certificate.
    Cert,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// An LDAP server, asked with these options.
    Ldap(Secret),
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Over the unix socket.
    Unix,
    /// Over TCP from this address.
    Tcp {
        /// The address.
        address: std::net::IpAddr,
        /// What is between us.
        transport: Transport,
    },
}

/// What a TCP connection is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// TLS.
    Tls,
}

/// What a client wants to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// A database; logical replication is one of its uses.
    Database(&'a str),
    /// The stream of physical replication, which belongs to no database.
    Replication,
}

/// The decision about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// How it must prove who it is.
    pub method: &'a Method,
    /// The map its system name goes through, for `peer` and `cert`.
    pub map: Option<&'a IdentMap>,
    /// The line of the rule; `None` if no rule matched.
    pub line: Option<u32>,
}

/// The rules of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    line: u32,
    connection: Connection,
    databases: Names,
    users: Names,
    method: Method,
    map: Option<IdentMap>,
}

/// Which connections a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Local,
    Host(Option<Transport>, Range),
}

/// A line that is skipped, or that most likely does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hba line {line}: {flaw}")]
pub struct HbaWarning {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub flaw: LineFlaw,
}

/// The rules of a text and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The rules that could be read.
    pub rules: Rules,
    /// The lines that could not.
    pub warnings: Vec<HbaWarning>,
}

/// Reads a file of names, which a rule refers to by `@file`.
type ReadNames<'a> = &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

impl Rules {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path, maps: &IdentMaps) -> std::io::Result<Parsed> {
        let bytes = std::fs::read(path)?;
        Ok(Self::parse(&bytes, path, maps, &|names| std::fs::read(names)))
    }

    /// Reads a text; `path` is what relative `@file` names are relative to.
    pub fn parse(
        bytes: &[u8],
        path: &Path,
        maps: &IdentMaps,
        read: &dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
    ) -> Parsed {
        let mut parsed = Parsed { rules: Rules::default(), warnings: Vec::new() };
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            let mut warn = |flaw| parsed.warnings.push(HbaWarning { line: number, flaw });
            let Ok(line) = std::str::from_utf8(line) else {
                // A comment may be in any encoding.
                if !line.trim_ascii_start().starts_with(b"#") {
                    warn(LineFlaw::Encoding);
                }
                continue;
            };
            let mut reader = LineReader::new(line, path, maps, read);
            match reader.rule(number) {
                Ok(None) => {}
                Ok(Some(rule)) => {
                    if let Connection::Host(_, range) = &rule.connection
                        && range.has_host_bits()
                    {
                        warn(LineFlaw::HostBits);
                    }
                    parsed.rules.rules.push(rule);
                }
                Err(flaw) => warn(flaw),
            }
        }
        parsed
    }

    /// Decides about a client.
    pub fn decide(&self, origin: Origin, wish: Wish<'_>, user: &str) -> Decision<'_> {
        for rule in &self.rules {
            if rule.matches(origin, wish, user) {
                let (method, map) = (&rule.method, rule.map.as_ref());
                return Decision { method, map, line: Some(rule.line) };
            }
        }
        Decision { method: &Method::Reject, map: None, line: None }
    }

    /// Returns how many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns true if there is no rule, so that every client is rejected.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn matches(&self, origin: Origin, wish: Wish<'_>, user: &str) -> bool {
        let from_here = match (origin, self.connection) {
            (Origin::Unix, Connection::Local) => true,
            (Origin::Tcp { address, transport }, Connection::Host(wanted, range)) => {
                wanted.is_none_or(|wanted| wanted == transport)
                    && range.contains(address, self.method == Method::Reject)
            }
            (Origin::Unix, Connection::Host(..)) | (Origin::Tcp { .. }, Connection::Local) => false,
        };
        from_here && self.databases.match_wish(wish, user) && self.users.match_name(user)
    }
}

/// Entry point for the fuzzers: any bytes are rules; a file of names has the same bytes again.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let maps = IdentMaps::parse(bytes).0;
    let parsed = Rules::parse(bytes, Path::new("hba"), &maps, &|_| Ok(bytes.to_vec()));
    let decision = parsed.rules.decide(Origin::Unix, Wish::Database("db"), "user");
    assert!(decision.line.is_some() || *decision.method == Method::Reject);
}

#[cfg(test)]
mod tests;
