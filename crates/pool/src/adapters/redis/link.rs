//! Opening a connection and logging in, wherever the server is.
//!
//! Invariant: the socket is closed when the last handle of a link is gone, whatever is under way.
//! Left out: when (`manager.rs`, `shared.rs`).

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::Config;
use super::error::Error;
use super::tls;
use super::url::{Host, Login, Target};
use crate::adapters::line::{Line, Unread};

/// A connection and the task that reads and writes for it.
pub(super) struct Link {
    pub(super) redis: MultiplexedConnection,
    pub(super) driver: Driver,
    pub(super) resp3: bool,
}

/// Ends the task when it is dropped, which closes the socket.
pub(super) struct Driver {
    task: JoinHandle<()>,
    line: Line,
}

impl Driver {
    /// Returns whether the other side has closed the connection, or it broke.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Returns whether the other side has closed the connection, even if the task has not run
    /// since. Encrypted, the end is seen only once what was said before it was read.
    pub(super) fn is_dead(&self) -> bool {
        self.is_over() || self.line.unread_lately() == Unread::End
    }

    /// Hangs up and waits until the server has noticed, whatever it was doing for this connection:
    /// then it does not count there any more.
    pub(super) async fn hang_up(&mut self) {
        self.line.hang_up();
        // However the task ends, it has ended.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes what the server sends by itself.
pub(super) type OnPush = Box<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

/// Opens a connection to whoever the target is now, and waits for its sign that it serves.
pub(super) async fn open(
    config: &Config,
    on_push: impl Fn() -> Option<OnPush>,
) -> Result<Link, Error> {
    let login = (&config.login, config.db);
    match &config.target {
        Target::One(host) => connect(config, Some(host), login, &on_push).await,
        Target::Unix(_) => connect(config, None, login, &on_push).await,
        Target::Cluster(_) => Err(super::UrlError::Cluster.into()),
        Target::Sentinel { nodes, service } => {
            let master = find_master(config, nodes, service).await?;
            let mut link = connect(config, Some(&master), login, &on_push).await?;
            // A sentinel may be late: what was a master is asked itself.
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut link.redis).await?;
            match role.first() {
                Some(redis::Value::BulkString(role)) if role == b"master" => Ok(link),
                _ => Err(Error::NoMaster {
                    service: service.clone(),
                    last: format!("{}:{} is no master", master.name, master.port),
                }),
            }
        }
    }
}

/// Asks the sentinels in order, until one knows.
async fn find_master(config: &Config, nodes: &[Host], service: &str) -> Result<Host, Error> {
    let mut last = String::from("there are no sentinels");
    for node in nodes {
        let asked = async {
            let mut link =
                connect(config, Some(node), (&config.sentinel_login, 0), &|| None).await?;
            let mut ask = redis::cmd("SENTINEL");
            ask.arg("get-master-addr-by-name").arg(service);
            let found: Option<(String, u16)> = ask.query_async(&mut link.redis).await?;
            Ok::<_, Error>(found)
        };
        let limit = config.sentinel_timeout;
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(Some((name, port)))) => return Ok(Host { name, port }),
            Ok(Ok(None)) => last = format!("{}:{} does not know it", node.name, node.port),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("{}:{} does not answer", node.name, node.port),
        }
    }
    Err(Error::NoMaster { service: service.to_owned(), last })
}

/// Connects, encrypts, logs in. In the newer protocol if the server has it.
async fn connect(
    config: &Config,
    host: Option<&Host>,
    login: (&Login, i64),
    on_push: &impl Fn() -> Option<OnPush>,
) -> Result<Link, Error> {
    if !config.resp2 {
        match attempt(config, host, login, on_push()).await {
            Err(Error::Driver(error)) if error.kind() == ErrorKind::RESP3NotSupported => {}
            outcome => return outcome,
        }
    }
    attempt(config, host, login, None).await
}

async fn attempt(
    config: &Config,
    host: Option<&Host>,
    login: (&Login, i64),
    on_push: Option<OnPush>,
) -> Result<Link, Error> {
    let resp3 = on_push.is_some();
    let info = info(login, resp3);
    let mut settings = AsyncConnectionConfig::new().set_response_timeout(config.response_timeout);
    if let Some(on_push) = on_push {
        settings = settings.set_push_sender(on_push);
    }
    let mut link = match (host, &config.target) {
        (Some(host), _) => {
            let at = || format!("{}:{}", host.name, host.port);
            let failed = |cause| Error::Io { host: at(), cause };
            let socket = TcpStream::connect((host.name.as_str(), host.port)).await;
            let socket = socket.map_err(failed)?;
            socket.set_nodelay(true).map_err(failed)?;
            let line = Line::of(&socket).map_err(failed)?;
            match &config.tls {
                None => drive(&info, (socket, line), settings).await?,
                Some(settings_of_tls) => {
                    let name = ServerName::try_from(host.name.clone());
                    let name = name.map_err(|error| Error::Tls(error.to_string()))?;
                    let connector = tls::connector(settings_of_tls)?;
                    let socket = connector.connect(name, socket).await.map_err(failed)?;
                    drive(&info, (socket, line), settings).await?
                }
            }
        }
        (None, Target::Unix(path)) => {
            let failed = |cause| Error::Io { host: path.display().to_string(), cause };
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            let line = Line::of(&socket).map_err(failed)?;
            drive(&info, (socket, line), settings).await?
        }
        (None, _) => return Err(super::UrlError::Host(String::new()).into()),
    };
    link.resp3 = resp3;
    if let Some(name) = &config.name {
        let mut naming = redis::cmd("CLIENT");
        naming.arg("SETNAME").arg(name).exec_async(&mut link.redis).await?;
    }
    Ok(link)
}

pub(super) fn info((login, db): (&Login, i64), resp3: bool) -> RedisConnectionInfo {
    let protocol = if resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
    let info = RedisConnectionInfo::default().set_db(db).set_protocol(protocol);
    let mut info = info.set_skip_set_lib_name();
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password);
    }
    info
}

async fn drive<S>(
    info: &RedisConnectionInfo,
    (stream, line): (S, Line),
    settings: AsyncConnectionConfig,
) -> Result<Link, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (redis, driver) = MultiplexedConnection::new_with_config(info, stream, settings).await?;
    let driver = Driver { task: tokio::spawn(driver), line };
    Ok(Link { redis, driver, resp3: false })
}

/// Asks for the echo of a number and compares.
pub(super) async fn ping(redis: &mut impl ConnectionLike, number: u64) -> Result<(), Error> {
    let echo: String = redis::cmd("PING").arg(number).query_async(redis).await?;
    if echo == number.to_string() { Ok(()) } else { Err(Error::Stray) }
}
