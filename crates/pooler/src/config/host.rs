//! Where a server is: the comma list of hosts of a database entry.
//!
//! Invariant: a list is never empty. Names are not resolved here.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::kind::{Invalid, Kind};

/// One host of a database entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// The directory of a unix socket; a leading `@` means the abstract namespace.
    Unix(String),
    /// An address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
}

impl Host {
    /// Returns the path of the server's unix socket, or `None` for a TCP host.
    pub fn socket_path(&self, port: u16) -> Option<PathBuf> {
        match self {
            Host::Unix(directory) => Some(PathBuf::from(format!("{directory}/.s.PGSQL.{port}"))),
            Host::Ip(_) | Host::Name(_) => None,
        }
    }

    pub(super) fn parse(text: &str) -> Result<Host, Invalid> {
        if text.is_empty() {
            return Err(Invalid::Empty);
        }
        if text.starts_with('/') || text.starts_with('@') {
            return Ok(Host::Unix(text.to_owned()));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Host::Ip(address));
        }
        // A colon can only be part of an IPv6 address, and this was none.
        if text.contains([':', '[', ']', ' ', '/']) {
            return Err(Invalid::Expected(Hosts::EXPECTS));
        }
        Ok(Host::Name(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(text) | Host::Name(text) => f.write_str(text),
            Host::Ip(address) => address.fmt(f),
        }
    }
}

/// One or more hosts.
pub enum Hosts {}

impl Kind for Hosts {
    type Value = Vec<Host>;
    const EXPECTS: &'static str = "a comma list of host names, addresses or socket directories";

    fn parse(text: &str) -> Result<Vec<Host>, Invalid> {
        text.split(',').map(|host| Host::parse(host.trim())).collect()
    }

    fn show(value: &Vec<Host>) -> Option<String> {
        let hosts: Vec<String> = value.iter().map(Host::to_string).collect();
        Some(hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_host_is_told_from_the_others() {
        let hosts =
            Hosts::parse("db.example, 10.0.0.1,::1,[::2],/run/pg,@abstract").expect("valid");
        let shown: Vec<&str> = hosts
            .iter()
            .map(|host| match host {
                Host::Unix(_) => "unix",
                Host::Ip(_) => "ip",
                Host::Name(_) => "name",
            })
            .collect();
        assert_eq!(shown, ["name", "ip", "ip", "ip", "unix", "unix"]);
        let text = Hosts::show(&hosts).expect("a list has a text");
        assert_eq!(Hosts::parse(&text), Ok(hosts));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", ",", "a,,b", "fe80::zz", "host:5432", "two words"] {
            assert!(Hosts::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_socket_is_named_after_the_port() {
        let path = Host::Unix("/run".to_owned()).socket_path(5432);
        assert_eq!(path, Some(PathBuf::from("/run/.s.PGSQL.5432")));
        assert_eq!(Host::Name("a".to_owned()).socket_path(5432), None);
    }
}
