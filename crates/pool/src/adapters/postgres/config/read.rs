//! From names and words to a configuration.
//!
//! Invariant: every word is checked, and what contradicts another is refused.
//! Left out: where the words come from (`sources.rs`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choices::{Choice, truth};
use super::error::ConfigError;
use super::keys::{self, Kind};
use super::sources::{Environment, Login, PasswordFile, Value, Values};
use super::{
    Address, CertMode, ChannelBinding, Config, Host, Keepalive, LoadBalance, Negotiation, Protocol,
    Recycling, RootCert, Route, Secret, Session, SslMode, TargetSession, Tls,
};

use crate::options::nearest::nearest;
use crate::options::{Bare, KeyError, PoolOptions, duration};

const DEFAULT_PORT: u16 = 5432;
/// Debian's and most others' directory for sockets.
const SOCKETS: &str = "/var/run/postgresql";

pub(super) fn config(values: Values, environment: &Environment) -> Result<Config, ConfigError> {
    let read = Reader { values: &values, environment };
    let user = match read.text("user").or_else(|| environment.user()) {
        Some(user) => user,
        None => return Err(ConfigError::Conflict("no user is given, and the account has no name")),
    };
    let database = read.text("dbname").unwrap_or_else(|| user.clone());
    let route = match read.boolean("pgbouncer")? {
        Some(true) => Route::Pooler,
        _ => Route::Direct,
    };
    Ok(Config {
        hosts: read.hosts(&user, &database)?,
        application_name: read
            .text("application_name")
            .or_else(|| read.text("fallback_application_name")),
        options: read.text("options"),
        connect_timeout: read.connect_timeout()?,
        tls: read.tls()?,
        channel_binding: read.choice::<ChannelBinding>("channel_binding")?.unwrap_or_default(),
        target: read.choice::<TargetSession>("target_session_attrs")?.unwrap_or_default(),
        load_balance: read.choice::<LoadBalance>("load_balance_hosts")?.unwrap_or_default(),
        keepalive: read.keepalive()?,
        session: read.session()?,
        route,
        recycling: Recycling::default(),
        statement_cache: match read.number("statement_cache_size")? {
            Some(size) => size as usize,
            None => 256,
        },
        pool: read.pool()?,
        user,
        database,
    })
}

struct Reader<'a> {
    values: &'a Values,
    environment: &'a Environment,
}

impl Reader<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.text.is_empty())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.value(key).map(|value| value.text.clone())
    }

    fn bad(
        &self,
        key: &'static str,
        value: &Value,
        expected: &'static str,
        nearest: Option<&'static str>,
    ) -> ConfigError {
        let secret = keys::find(key).is_some_and(|key| key.kind == Kind::Secret);
        let shown = if secret { "***".to_owned() } else { value.text.clone() };
        ConfigError::BadValue { key, value: shown, origin: value.origin.clone(), expected, nearest }
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match parse(value.text.trim()) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(self.bad(key, value, expected, None)),
        }
    }

    fn choice<C: Choice>(&self, key: &'static str) -> Result<Option<C>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match C::ALL.iter().find(|(word, _)| *word == value.text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let nearest = nearest(&value.text, C::ALL.iter().map(|(word, _)| *word));
                Err(self.bad(key, value, C::NAMES, nearest))
            }
        }
    }

    fn boolean(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        self.parsed(key, "true or false", truth)
    }

    fn number(&self, key: &'static str) -> Result<Option<u32>, ConfigError> {
        self.parsed(key, "a number", |text| text.parse().ok())
    }

    fn seconds(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let seconds = self.parsed(key, "a number of seconds", |text| text.parse::<i64>().ok())?;
        // As in libpq, zero and less leave it to the system.
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, ConfigError> {
        match self.value("connect_timeout") {
            None => Ok(Some(Duration::from_secs(5))),
            Some(_) => self.seconds("connect_timeout"),
        }
    }

    fn hosts(&self, user: &str, database: &str) -> Result<Vec<Host>, ConfigError> {
        let list = |key| self.text(key).map(|text| text.split(',').map(str::to_owned).collect());
        let names: Vec<String> = list("host").unwrap_or_default();
        let ips: Vec<String> = list("hostaddr").unwrap_or_default();
        let ports: Vec<String> = list("port").unwrap_or_default();
        if !names.is_empty() && !ips.is_empty() && names.len() != ips.len() {
            return Err(ConfigError::Conflict("host and hostaddr must name equally many"));
        }
        let count = names.len().max(ips.len()).max(1);
        if ports.len() > 1 && ports.len() != count {
            return Err(ConfigError::Conflict("there must be one port for all hosts, or one each"));
        }
        let explicit = self.text("password").map(Secret::new);
        let file = match explicit {
            Some(_) => PasswordFile::default(),
            None => PasswordFile::read(self.text("passfile").as_deref(), self.environment),
        };
        let mut hosts = Vec::new();
        for i in 0..count {
            let name = names.get(i).cloned().filter(|name| !name.is_empty());
            let port = ports.get(i).or(ports.first()).map_or("", String::as_str);
            let port = self.port(port)?;
            let address = match ips.get(i).filter(|ip| !ip.is_empty()) {
                Some(ip) => {
                    let ip = ip.parse().map_err(|_| self.bad_list("hostaddr", "an IP address"))?;
                    Address::Ip { ip, name }
                }
                None => named(name),
            };
            let looked_up = match &address {
                Address::Name(name) | Address::Ip { name: Some(name), .. } => name.clone(),
                Address::Ip { ip, name: None } => ip.to_string(),
                Address::Unix(path) if path == Path::new(SOCKETS) => "localhost".to_owned(),
                Address::Unix(path) => path.display().to_string(),
            };
            let login = Login { host: &looked_up, port, database, user };
            let password = explicit.clone().or_else(|| file.find(login).map(Secret::new));
            hosts.push(Host { address, port, password });
        }
        Ok(hosts)
    }

    fn port(&self, text: &str) -> Result<u16, ConfigError> {
        if text.is_empty() {
            return Ok(DEFAULT_PORT);
        }
        let port = text.trim().parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| self.bad_list("port", "a number from 1 to 65535"))
    }

    fn bad_list(&self, key: &'static str, expected: &'static str) -> ConfigError {
        match self.value(key) {
            Some(value) => self.bad(key, value, expected, None),
            None => ConfigError::Conflict(expected),
        }
    }

    fn tls(&self) -> Result<Tls, ConfigError> {
        let said = self.choice::<SslMode>("sslmode")?;
        // What JDBC and Rails users write.
        let ssl = match self.boolean("ssl")? {
            Some(true) => Some(SslMode::Require),
            Some(false) => Some(SslMode::Disable),
            None => self.boolean("requiressl")?.and_then(|on| on.then_some(SslMode::Require)),
        };
        let path = |key| self.text(key).map(PathBuf::from);
        let home = |name: &str| {
            let file = self.environment.home()?.join(".postgresql").join(name);
            file.exists().then_some(file)
        };
        let root = match self.text("sslrootcert") {
            Some(system) if system == "system" => Some(RootCert::System),
            Some(file) => Some(RootCert::File(file.into())),
            None => home("root.crt").map(RootCert::File),
        };
        let mut mode = said.or(ssl).unwrap_or_default();
        if root == Some(RootCert::System) {
            match said {
                None => mode = SslMode::VerifyFull,
                Some(SslMode::VerifyFull) => {}
                Some(_) => {
                    let problem = "sslrootcert=system needs sslmode=verify-full: anybody can get \
                                   a certificate from those whom the system trusts";
                    return Err(ConfigError::Conflict(problem));
                }
            }
        }
        let negotiation = self.choice::<Negotiation>("sslnegotiation")?.unwrap_or_default();
        if negotiation == Negotiation::Direct && mode < SslMode::Require {
            let problem = "sslnegotiation=direct needs sslmode=require or stricter";
            return Err(ConfigError::Conflict(problem));
        }
        if self.value("sslpassword").is_some() {
            let problem = "sslpassword: encrypted keys are not supported, decrypt the key first";
            return Err(ConfigError::Conflict(problem));
        }
        let tls = Tls {
            mode,
            negotiation,
            root,
            crl: path("sslcrl"),
            cert: path("sslcert").or_else(|| home("postgresql.crt")),
            key: path("sslkey").or_else(|| home("postgresql.key")),
            cert_mode: self.choice::<CertMode>("sslcertmode")?.unwrap_or_default(),
            sni: self.boolean("sslsni")?.unwrap_or(true),
            min: self.choice::<Protocol>("ssl_min_protocol_version")?.unwrap_or(Protocol::Tls12),
            max: self.choice::<Protocol>("ssl_max_protocol_version")?.unwrap_or(Protocol::Tls13),
        };
        if tls.min > tls.max {
            let problem = "ssl_min_protocol_version is newer than ssl_max_protocol_version";
            return Err(ConfigError::Conflict(problem));
        }
        if mode >= SslMode::VerifyCa && tls.root.is_none() {
            let problem = "sslmode=verify-ca and verify-full need sslrootcert, a file or `system`";
            return Err(ConfigError::Conflict(problem));
        }
        Ok(tls)
    }

    fn keepalive(&self) -> Result<Keepalive, ConfigError> {
        let milliseconds = self.number("tcp_user_timeout")?.filter(|ms| *ms > 0);
        Ok(Keepalive {
            enabled: self.number("keepalives")?.is_none_or(|on| on != 0),
            idle: self.seconds("keepalives_idle")?,
            interval: self.seconds("keepalives_interval")?,
            count: self.number("keepalives_count")?.filter(|count| *count > 0),
            user_timeout: milliseconds.map(|ms| Duration::from_millis(ms.into())),
        })
    }

    fn session(&self) -> Result<Session, ConfigError> {
        // As the server reads them: a bare number is milliseconds, zero is no limit.
        let limit = |key: &'static str, default: u64| {
            let parse = |text: &str| duration::parse(text, Bare::Milliseconds).ok();
            let said = self.parsed(key, "milliseconds, or a time such as 30s", parse)?;
            Ok::<_, ConfigError>(Some(said.unwrap_or(Duration::from_secs(default))))
        };
        let mut parameters = Vec::new();
        for key in ["datestyle", "timezone", "geqo"] {
            parameters.extend(self.text(key).map(|value| (key.to_owned(), value)));
        }
        Ok(Session {
            idle_in_transaction: limit("idle_in_transaction_session_timeout", 30)?,
            statement: limit("statement_timeout", 30)?,
            lock: limit("lock_timeout", 10)?,
            parameters,
        })
    }

    fn pool(&self) -> Result<PoolOptions, ConfigError> {
        let mut said = PoolOptions::default();
        for (name, value) in self.values {
            if keys::find(name).is_some() || value.text.is_empty() {
                continue;
            }
            // A key stands for the option that is written with underlines.
            match said.take(&name.replace('.', "_"), value.text.trim()) {
                Ok(_) => {}
                Err(KeyError::Value { expected, .. }) => {
                    return Err(self.bad(name, value, expected, None));
                }
                Err(KeyError::Unknown { .. }) => unreachable!("known when it was added"),
            }
        }
        Ok(said)
    }
}

fn named(name: Option<String>) -> Address {
    match name {
        // @ begins a socket in Linux's abstract namespace.
        Some(path) if path.starts_with('/') || path.starts_with('@') => Address::Unix(path.into()),
        Some(name) => Address::Name(name),
        None if Path::new(SOCKETS).is_dir() => Address::Unix(SOCKETS.into()),
        None => Address::Name("localhost".to_owned()),
    }
}
