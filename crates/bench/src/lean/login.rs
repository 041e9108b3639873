//! Opening one connection: logging in and preparing the statements, blocking.
//!
//! Invariant: a connection that is handed out is idle, outside a transaction, and knows every
//! statement of the workload.
//! Left out: TLS. Who needs it is measured through the library's adapter (`drive`).

use std::io::{self, Read, Write};
use std::time::Duration;

use headpond::postgres::{Config, Host};
use headpond_wire::auth::scram::salted_password;
use headpond_wire::frontend;
use headpond_wire::login::connect::{Connect, ConnectSpec, Credential, Progress};
use headpond_wire::{ErrorFields, ProtocolError};
use zeroize::Zeroizing;

use super::reply::{Ended, Reply};
use super::request::Request;
use super::socket::Socket;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The network, or the server's machine.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server does not speak the protocol, or wants what we do not have.
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    /// The server refused.
    #[error("{}", said(.0))]
    Server(Box<ErrorFields>),
    /// No randomness for a nonce.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

fn said(error: &ErrorFields) -> String {
    let mut text = format!("{} ({})", error.text(), String::from_utf8_lossy(&error.code));
    if !error.hint.is_empty() {
        text.push_str(&format!("; {}", String::from_utf8_lossy(&error.hint)));
    }
    text
}

/// Opens a connection to the first host that lets us in.
pub fn open(config: &Config, request: &Request, limit: Duration) -> Result<Socket, LoginError> {
    let mut last = LoginError::Io(io::Error::new(io::ErrorKind::NotFound, "the url has no host"));
    for host in &config.hosts {
        match login(config, host, limit).and_then(|socket| prepare(socket, request)) {
            Ok(socket) => {
                socket.begin()?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Logs in; the connection blocks.
pub fn login(config: &Config, host: &Host, limit: Duration) -> Result<Socket, LoginError> {
    let mut socket = Socket::connect(host, limit)?;
    let mut nonce = [0; 18];
    getrandom::fill(&mut nonce).map_err(LoginError::Random)?;
    let credential = match &host.password {
        Some(password) => Credential::Plain(Zeroizing::new(password.expose().as_bytes().to_vec())),
        None => Credential::None,
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let name = config.application_name.as_deref().unwrap_or("headpond bench");
    let mut params = vec![
        (text("database"), text(&config.database)),
        (text("application_name"), text(name)),
        (text("client_encoding"), text("UTF8")),
    ];
    params.extend(config.options.iter().map(|options| (text("options"), text(options))));
    let user = text(&config.user);
    let mut connect = Connect::new(ConnectSpec { params, user, credential, nonce, binding: None });
    let (mut out, mut input) = (Vec::new(), Vec::new());
    connect.start(&mut out);
    loop {
        socket.write_all(&out)?;
        out.clear();
        let (done, progress) = connect.receive(&input, &mut out)?;
        input.drain(..done);
        match progress {
            Progress::Ready(_) => return Ok(socket),
            Progress::Failed(error) => return Err(LoginError::Server(error)),
            Progress::Derive { password, salt, iterations } => {
                connect.derived(salted_password(&password, &salt, iterations), &mut out);
            }
            Progress::NeedInput if out.is_empty() => more(&mut socket, &mut input)?,
            Progress::NeedInput => {}
        }
    }
}

fn more(socket: &mut Socket, input: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 8192];
    match socket.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            input.extend_from_slice(buffer.get(..n).unwrap_or_default());
            Ok(())
        }
    }
}

fn prepare(mut socket: Socket, request: &Request) -> Result<Socket, LoginError> {
    for message in request.preparations() {
        exchange(&mut socket, &message)?;
    }
    Ok(socket)
}

/// Runs one statement without parameters on a connection that blocks.
pub fn execute(socket: &mut Socket, sql: &str) -> Result<(), LoginError> {
    let mut out = Vec::new();
    frontend::query(&mut out, sql.as_bytes());
    exchange(socket, &out)
}

fn exchange(socket: &mut Socket, message: &[u8]) -> Result<(), LoginError> {
    socket.write_all(message)?;
    let mut reply = Reply::default();
    let mut buffer = [0; 8192];
    loop {
        let n = socket.read(&mut buffer)?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match reply.take(buffer.get(..n).unwrap_or_default())?.1 {
            Some(Ended::Ok) => return Ok(()),
            Some(Ended::Error(error)) => return Err(LoginError::Server(error)),
            None => {}
        }
    }
}
