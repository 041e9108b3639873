//! From a configuration to a session: hosts, addresses, TLS, login, role.
//!
//! Invariant: nothing runs in the background before a session has logged in; a connect that is
//! given up leaves nothing behind.
//! Left out: retries and pauses; the pool decides about them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Notification;
use tokio_postgres::config as driver;
use tokio_postgres::error::SqlState;

use super::config::{
    Address, ChannelBinding, Config, Host, LoadBalance, Negotiation, SslMode, TargetSession,
};
use super::connection::Connection;
use super::error::Error;
use super::profile::Profile;
use super::socket::{self, Socket};
use super::watch::{Driver, Handshaken, Watch, Watched};
use crate::tls;

/// One address of a host, and how it was reached.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    host: String,
    /// What the server is called in its certificate.
    name: Option<String>,
    place: Place,
    encryption: Encryption,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf, u16),
}

/// How a session begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encryption {
    None,
    /// If the server has it.
    IfOffered,
    Must,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) if !self.host.starts_with(&address.ip().to_string()) => {
                write!(f, "{} ({address})", self.host)
            }
            _ => f.write_str(&self.host),
        }
    }
}

/// What is done with the notifications that a session receives.
pub(super) type Notify = Box<dyn FnMut(Notification) + Send>;

/// Opens a session on the first host that will do.
pub(super) async fn connect(profile: &Arc<Profile>) -> Result<Connection, Error> {
    let config = &profile.config;
    let passes: &[TargetSession] = match config.target {
        TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
        TargetSession::Any => &[TargetSession::Any],
        TargetSession::ReadWrite => &[TargetSession::ReadWrite],
        TargetSession::ReadOnly => &[TargetSession::ReadOnly],
        TargetSession::Primary => &[TargetSession::Primary],
        TargetSession::Standby => &[TargetSession::Standby],
    };
    let mut errors = Vec::new();
    for wanted in passes {
        for host in ordered(&config.hosts, config.load_balance) {
            let peers = match peers(host, config.load_balance).await {
                Ok(peers) => peers,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            for peer in peers {
                match attempt(profile, host, peer, *wanted).await {
                    Ok(connection) => return Ok(connection),
                    // Who was refused by one server is not tried on the others, as in libpq.
                    Err(error) if is_final(&error) => return Err(error),
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    match (errors.pop(), errors.is_empty()) {
        (Some(only), true) => Err(only),
        (last, _) => {
            errors.extend(last);
            Err(Error::Hosts(errors))
        }
    }
}

fn is_final(error: &Error) -> bool {
    error.failure() == headpond_core::ConnectFailure::Rejected && error.code().is_some()
}

fn ordered<T>(list: &[T], order: LoadBalance) -> Vec<&T> {
    let mut list: Vec<&T> = list.iter().collect();
    if order == LoadBalance::Random {
        shuffle(&mut list);
    }
    list
}

fn shuffle<T>(list: &mut [T]) {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    for i in (1..list.len()).rev() {
        let other = random.hash_one(i) % (i as u64 + 1);
        list.swap(i, usize::try_from(other).unwrap_or(0));
    }
}

pub(super) async fn peers(host: &Host, order: LoadBalance) -> Result<Vec<Peer>, Error> {
    let text = host.to_string();
    let peer = |name: Option<&str>, place| Peer {
        host: text.clone(),
        name: name.map(str::to_owned),
        place,
        encryption: Encryption::None,
    };
    Ok(match &host.address {
        Address::Unix(path) => vec![peer(None, Place::Unix(path.clone(), host.port))],
        Address::Ip { ip, name } => {
            let at = SocketAddr::new(*ip, host.port);
            let named = name.clone().unwrap_or_else(|| ip.to_string());
            vec![peer(Some(&named), Place::Tcp(at))]
        }
        Address::Name(name) => {
            let addresses: Vec<SocketAddr> = match name.parse::<IpAddr>() {
                Ok(ip) => vec![SocketAddr::new(ip, host.port)],
                Err(_) => {
                    let found = tokio::net::lookup_host((name.as_str(), host.port)).await;
                    let failed = |source| Error::Resolve { host: text.clone(), source };
                    found.map_err(failed)?.collect()
                }
            };
            let mut list: Vec<Peer> =
                addresses.into_iter().map(|at| peer(Some(name), Place::Tcp(at))).collect();
            if order == LoadBalance::Random {
                shuffle(&mut list);
            }
            list
        }
    })
}

async fn attempt(
    profile: &Arc<Profile>,
    host: &Host,
    peer: Peer,
    wanted: TargetSession,
) -> Result<Connection, Error> {
    let limit = profile.config.connect_timeout;
    let late = Error::Timeout { host: peer.to_string(), limit: limit.unwrap_or(Duration::MAX) };
    let work = async {
        let connection = negotiate(profile, host, peer.clone(), None).await?;
        check_role(&connection, &peer, wanted).await?;
        Ok(connection)
    };
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(late)),
    }
}

/// Logs in, with as much TLS as the mode asks for and the server has.
pub(super) async fn negotiate(
    profile: &Arc<Profile>,
    host: &Host,
    peer: Peer,
    notify: Option<Notify>,
) -> Result<Connection, Error> {
    let (first, second) = peer.ways(profile.config.tls.mode);
    let mut notify = notify;
    match login(profile, host, first.clone(), &mut notify).await {
        Err(error) if second.is_some() && is_about_tls(&error) => {
            let second = second.unwrap_or(first);
            match login(profile, host, second, &mut notify).await {
                // The other way is no better: the first answer is the one that matters.
                Err(Error::NoTls { .. }) => Err(error),
                result => result,
            }
        }
        result => result,
    }
}

/// Returns whether a login may work with TLS where it failed without, or the other way round.
fn is_about_tls(error: &Error) -> bool {
    match error {
        Error::Handshake { .. } => true,
        // What pg_hba.conf says about hostssl and hostnossl.
        error => error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
    }
}

async fn login(
    profile: &Arc<Profile>,
    host: &Host,
    peer: Peer,
    notify: &mut Option<Notify>,
) -> Result<Connection, Error> {
    let (socket, binding) = peer.open(profile).await?;
    let config = driver_config(&profile.config, host, &socket);
    let broken = |source| Error::Socket { host: peer.to_string(), source };
    let line = socket.line().map_err(broken)?;
    let encrypted = matches!(socket, Socket::Tls(_));
    let watch = Arc::new(Watch::new());
    let stream = Watched::new(socket, Arc::clone(&watch), binding);
    let (client, connection) = config.connect_raw(stream, Handshaken).await?;
    let driver = Driver::new(connection, Arc::clone(&watch), notify.take());
    let task = tokio::spawn(driver);
    Ok(Connection::new(client, (task, line, encrypted), watch, Arc::clone(profile), peer))
}

fn driver_config(config: &Config, host: &Host, socket: &Socket) -> driver::Config {
    let mut driver = driver::Config::new();
    driver.user(&config.user).dbname(&config.database);
    if let Some(password) = &host.password {
        driver.password(password.expose());
    }
    if let Some(name) = &config.application_name {
        driver.application_name(name);
    }
    if let Some(options) = config.server_options() {
        driver.options(options);
    }
    driver.channel_binding(match config.channel_binding {
        ChannelBinding::Disable => driver::ChannelBinding::Disable,
        ChannelBinding::Prefer => driver::ChannelBinding::Prefer,
        ChannelBinding::Require => driver::ChannelBinding::Require,
    });
    // The handshake is ours, and done: what the driver shall do is nothing.
    match socket {
        Socket::Tls(_) => driver
            .ssl_mode(driver::SslMode::Require)
            .ssl_negotiation(driver::SslNegotiation::Direct),
        _ => driver.ssl_mode(driver::SslMode::Disable),
    };
    // `has_hostname` of the driver is true only if it knows one.
    driver.host("localhost");
    driver
}

async fn check_role(
    connection: &Connection,
    peer: &Peer,
    wanted: TargetSession,
) -> Result<(), Error> {
    if matches!(wanted, TargetSession::Any | TargetSession::PreferStandby) {
        return Ok(());
    }
    let query = "SELECT pg_catalog.pg_is_in_recovery(), \
                 pg_catalog.current_setting('transaction_read_only')";
    let rows = connection.simple_query(query).await?;
    let row = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let standby = row.and_then(|row| row.get(0)) == Some("t");
    let read_only = standby || row.and_then(|row| row.get(1)) == Some("on");
    let fits = match wanted {
        TargetSession::ReadWrite => !read_only,
        TargetSession::ReadOnly => read_only,
        TargetSession::Primary => !standby,
        TargetSession::Standby => standby,
        TargetSession::Any | TargetSession::PreferStandby => true,
    };
    if fits { Ok(()) } else { Err(Error::Role { host: peer.to_string(), wanted }) }
}

impl Peer {
    /// Returns how it is to be reached in a mode of TLS: first so, then perhaps otherwise.
    pub(super) fn ways(&self, mode: SslMode) -> (Self, Option<Self>) {
        let mode = match self.place {
            // As in libpq: nobody listens between here and there.
            Place::Unix(..) => SslMode::Disable,
            Place::Tcp(_) => mode,
        };
        let with = |encryption| Self { encryption, ..self.clone() };
        let (first, second) = match mode {
            SslMode::Disable => (Encryption::None, None),
            SslMode::Allow => (Encryption::None, Some(Encryption::Must)),
            SslMode::Prefer => (Encryption::IfOffered, Some(Encryption::None)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Must, None),
        };
        (with(first), second.map(with))
    }

    /// Opens a socket and encrypts it, if that is the way.
    pub(super) async fn open(&self, profile: &Profile) -> Result<(Socket, Option<Vec<u8>>), Error> {
        let broken = |source| Error::Socket { host: self.to_string(), source };
        let address = match &self.place {
            Place::Unix(path, port) => {
                return Ok((socket::unix(path, *port).await.map_err(broken)?, None));
            }
            Place::Tcp(address) => *address,
        };
        let mut stream = socket::tcp(address, &profile.config.keepalive).await.map_err(broken)?;
        let (Some(config), true) = (&profile.tls, self.encryption != Encryption::None) else {
            return Ok((Socket::Tcp(stream), None));
        };
        if profile.config.tls.negotiation == Negotiation::Postgres
            && !self.ask_for_tls(&mut stream).await?
        {
            return match self.encryption {
                Encryption::Must => Err(Error::NoTls { host: self.to_string() }),
                _ => Ok((Socket::Tcp(stream), None)),
            };
        }
        let name = tls::server_name(self.name.as_deref().unwrap_or_default())?;
        let failed = |source| Error::Handshake { host: self.to_string(), source };
        socket::encrypt(stream, Arc::clone(config), name).await.map_err(failed)
    }

    async fn ask_for_tls(&self, stream: &mut TcpStream) -> Result<bool, Error> {
        const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
        let broken = |source| Error::Socket { host: self.to_string(), source };
        stream.write_all(&SSL_REQUEST).await.map_err(broken)?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(broken)?;
        // Whatever came with the answer was not encrypted, and could be anybody's.
        let mut room = [0];
        let injected = matches!(stream.try_read(&mut room), Ok(1..));
        match answer {
            _ if injected => Err(Error::Injected { host: self.to_string() }),
            [b'S'] => Ok(true),
            _ => Ok(false),
        }
    }
}

/// Opens a session for a listener: the first host that will do, with its notifications.
pub(super) async fn connect_with(
    profile: &Arc<Profile>,
    mut notify: impl FnMut() -> Notify,
) -> Result<Connection, Error> {
    let mut failed = Error::Ended;
    for host in &profile.config.hosts {
        let peers = match peers(host, LoadBalance::Disable).await {
            Ok(peers) => peers,
            Err(error) => {
                failed = error;
                continue;
            }
        };
        for peer in peers {
            match negotiate(profile, host, peer, Some(notify())).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = error,
            }
        }
    }
    Err(failed)
}
