//! One database as a URL: `postgres://user:password@host:port/db?sslmode=require`.
//!
//! Invariant: a URL says nothing that the keys of a database entry cannot say; an option
//! nobody knows is an error, and no error holds a part of the URL but an option's name.

use super::assemble::Assembly;
use super::env::Env;
use super::error::{Place, Problem, Shown};
use super::nearest::nearest;
use super::table::Section;

/// What a pooler started with nothing but a URL does, and because of what.
pub const URL_ONLY: &str = "\
listens on 127.0.0.1:6432 and on a unix socket for its own user, because it was given no way to \
tell clients apart: whoever reaches it is let in (auth_type any) and acts as the user of the \
url, so only this machine may reach it; pools by transaction, because that is what a pooler is \
started for; serves the database of the url under its name and every other one of the same \
server, because the url's user may see them";

/// Why a URL is no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("expected postgres://user:password@host:port/database")]
    Scheme,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("invalid percent-encoding")]
    Percent,
    /// An IPv6 address without its `]`.
    #[error("expected ']' after an IPv6 address")]
    Bracket,
    /// Not a port.
    #[error("invalid port")]
    Port,
    /// An entry has one port for all its hosts.
    #[error("all hosts must have the same port")]
    PortsDiffer,
    /// The database has no name to be known by.
    #[error("it names no database")]
    NoDatabase,
    /// There is nobody to log in as.
    #[error("it names no user, and neither PGUSER nor USER is set")]
    NoUser,
    /// Not an option of a database entry.
    #[error("unknown option '{0}'")]
    Option(Shown, Option<String>),
    /// An option without its value.
    #[error("option '{0}' has no value")]
    OptionValue(Shown),
}

/// The options of a URL and the keys they set; the aliases are habits from other pools.
const OPTIONS: [(&str, &str); 24] = [
    ("sslmode", "sslmode"),
    ("sslrootcert", "sslrootcert"),
    ("sslcert", "sslcert"),
    ("sslkey", "sslkey"),
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "datestyle"),
    ("timezone", "timezone"),
    ("host", "host"),
    ("port", "port"),
    ("user", "user"),
    ("password", "password"),
    ("dbname", "dbname"),
    ("load_balance_hosts", "load_balance_hosts"),
    ("connect_query", "connect_query"),
    ("pool_mode", "pool_mode"),
    ("pool_size", "pool_size"),
    ("pool_max_conns", "pool_size"),
    ("connection_limit", "pool_size"),
    ("pool_min_conns", "min_pool_size"),
    ("min_pool_size", "min_pool_size"),
    ("reserve_pool_size", "reserve_pool_size"),
    ("pool_max_conn_lifetime", "server_lifetime"),
    ("server_lifetime", "server_lifetime"),
];

/// Returns true if the text is meant as a URL.
pub fn is_url(text: &str) -> bool {
    rest_of(text).is_some()
}

fn rest_of(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

/// Sets the keys of the entry `name` from a URL.
pub(super) fn entry(name: &str, text: &str, place: &Place, assembly: &mut Assembly) {
    match parse(text) {
        Ok(pairs) => {
            for (key, value) in pairs {
                assembly.set(Section::Database, name, key, &value, place.clone());
            }
        }
        Err(error) => report(error, place, assembly),
    }
}

/// Sets the entry that is named after the URL's own database.
pub(super) fn named_after_itself(text: &str, place: &Place, assembly: &mut Assembly) {
    match parse(text).and_then(|pairs| Ok((database_of(&pairs)?, pairs))) {
        Ok((name, pairs)) => {
            assembly.begin(Section::Database, &name, place);
            for (key, value) in pairs {
                assembly.set(Section::Database, &name, key, &value, place.clone());
            }
        }
        Err(error) => report(error, place, assembly),
    }
}

/// Sets everything for a pooler that was given nothing but a URL; see [`URL_ONLY`].
pub(super) fn start(text: &str, env: &Env, assembly: &mut Assembly) {
    for (key, value) in [
        ("listen_addr", "127.0.0.1"),
        ("unix_socket_mode", "0700"),
        ("pool_mode", "transaction"),
        ("auth_type", "any"),
    ] {
        assembly.set_at_start(key, value);
    }
    let place = Place::Url;
    let entries = parse(text).and_then(|mut pairs| {
        if !pairs.iter().any(|(key, _)| *key == "user") {
            let user = env.ambient("PGUSER").or(env.ambient("USER")).ok_or(UrlError::NoUser)?;
            pairs.push(("user", user.to_owned()));
        }
        if let Some(password) = env.ambient("PGPASSWORD")
            && !pairs.iter().any(|(key, _)| *key == "password")
        {
            pairs.push(("password", password.to_owned()));
        }
        // As in libpq, the database is named after the user if nothing else names it.
        let user = pairs.iter().find(|(key, _)| *key == "user").map(|(_, user)| user.clone());
        let name = database_of(&pairs).ok().or(user).ok_or(UrlError::NoDatabase)?;
        Ok((name, pairs))
    });
    match entries {
        Ok((name, pairs)) => {
            for entry in [name.as_str(), super::database::FALLBACK] {
                let kept = pairs.iter().filter(|(key, _)| entry == name || *key != "dbname");
                for (key, value) in kept {
                    assembly.set(Section::Database, entry, key, value, place.clone());
                }
            }
        }
        Err(error) => report(error, &place, assembly),
    }
}

fn report(error: UrlError, place: &Place, assembly: &mut Assembly) {
    let meant = match &error {
        UrlError::Option(_, meant) => meant.clone(),
        _ => None,
    };
    assembly.error(place.clone(), Problem::Url(error), meant);
}

fn database_of(pairs: &[(&'static str, String)]) -> Result<String, UrlError> {
    let name = pairs.iter().rfind(|(key, _)| *key == "dbname").map(|(_, name)| name.clone());
    name.ok_or(UrlError::NoDatabase)
}

/// Returns the keys of a database entry that a URL sets.
pub(super) fn parse(text: &str) -> Result<Vec<(&'static str, String)>, UrlError> {
    let rest = rest_of(text).ok_or(UrlError::Scheme)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut pairs = Vec::new();
    let hosts = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            push(&mut pairs, "user", decode(user)?);
            push(&mut pairs, "password", decode(password.unwrap_or_default())?);
            hosts
        }
        None => authority,
    };
    let (hosts, port) = hosts_and_port(hosts)?;
    push(&mut pairs, "host", hosts);
    push(&mut pairs, "port", port.unwrap_or_default());
    push(&mut pairs, "dbname", decode(path)?);
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let name = decode(name)?;
        let value = decode(value)?;
        if value.is_empty() {
            return Err(UrlError::OptionValue(Shown::new(&name)));
        }
        // The JDBC habit.
        if name == "ssl" {
            let on = matches!(value.as_str(), "true" | "1");
            pairs.push(("sslmode", if on { "require" } else { "disable" }.to_owned()));
            continue;
        }
        let Some((_, key)) = OPTIONS.iter().find(|(option, _)| *option == name) else {
            let meant = nearest(&name, OPTIONS.iter().map(|(option, _)| *option));
            return Err(UrlError::Option(Shown::new(&name), meant.map(str::to_owned)));
        };
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn push(pairs: &mut Vec<(&'static str, String)>, key: &'static str, value: String) {
    if !value.is_empty() {
        pairs.push((key, value));
    }
}

/// Splits `host:port,[::1]:port` into the list of hosts and their one port.
fn hosts_and_port(text: &str) -> Result<(String, Option<String>), UrlError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (host, port) = match part.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(UrlError::Bracket)?;
                (address, if after.is_empty() { None } else { after.strip_prefix(':') })
            }
            None => match part.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (part, None),
            },
        };
        hosts.push(decode(host)?);
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            port.parse::<u16>().map_err(|_| UrlError::Port)?;
            ports.push(port);
        }
    }
    let first = ports.first().map(|port| (*port).to_owned());
    if ports.iter().any(|port| Some(*port) != first.as_deref()) {
        return Err(UrlError::PortsDiffer);
    }
    Ok((hosts.join(","), first))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit(), digit());
        let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.ok_or(UrlError::Percent)?);
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Percent)
}
