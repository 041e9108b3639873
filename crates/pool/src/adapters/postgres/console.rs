//! The console of a PgBouncer: logs in as the pool does, asks, leaves.
//!
//! The protocol is spoken here and not by the driver: what a console answers is somebody else's
//! choice, and the driver buffers a message of any length and trusts rows to fit their columns.
//!
//! Invariant: bounded in what is read; nothing runs in the background; the startup packet names a
//! user and a database and nothing that a PgBouncer may refuse. An error holds no secret.
//! Left out: what is asked and what it means (`headpond_monitor::bouncer`), when, and for how long
//! (`registry/bouncers.rs`).

use headpond_monitor::bouncer::{self, Answer, Table};
use headpond_monitor::model::{BouncerFigures, CheckError, CheckErrorKind};
use headpond_wire::login::connect::{Connect, ConnectSpec, Credential, Progress};
use headpond_wire::table::{self, Reading};
use headpond_wire::{ErrorFields, frontend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::config::{ChannelBinding, Config, Host, LoadBalance};
use super::connect::{Peer, peers};
use super::error::Error;
use super::profile::Profile;
use super::socket::Socket;
use crate::tls::TlsError;

/// The console of one PgBouncer, for one user.
#[derive(Debug)]
pub(crate) struct Console {
    profile: Profile,
    host: Host,
}

impl Console {
    /// Takes the configuration that a pool has, for one of its hosts.
    ///
    /// # Errors
    /// When a certificate, key or list cannot be used.
    pub(crate) fn new(config: &Config, host: &Host) -> Result<Self, TlsError> {
        Ok(Self { profile: Profile::new(config.clone())?, host: host.clone() })
    }

    /// Asks for all its figures. The caller limits the time.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn figures(&self) -> Result<BouncerFigures, CheckError> {
        let mut session = self.log_in().await?;
        let figures = bouncer::figures(&mut session).await?;
        session.leave().await;
        Ok(figures)
    }

    async fn log_in(&self) -> Result<Session, CheckError> {
        if self.profile.config.channel_binding == ChannelBinding::Require {
            let text = "channel_binding=require, and the console of a PgBouncer has none";
            return Err(failed(CheckErrorKind::Refused, text));
        }
        let mut last = failed(CheckErrorKind::Unreachable, "the name has no address");
        for peer in peers(&self.host, LoadBalance::Disable).await.map_err(of_socket)? {
            match self.at(&peer).await {
                Ok(session) => return Ok(session),
                Err(error) if error.kind != CheckErrorKind::Unreachable => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Logs in at an address, with as much TLS as the mode asks for and the other side has.
    async fn at(&self, peer: &Peer) -> Result<Session, CheckError> {
        let (first, second) = peer.ways(self.profile.config.tls.mode);
        let error = match (self.by(&first).await, second) {
            (Ok(session), _) => return Ok(session),
            (Err(Failure::OfTls(error)), Some(second)) => match self.by(&second).await {
                Ok(session) => return Ok(session),
                // The other way is no better: the first answer is the one that matters.
                Err(_) => error,
            },
            (Err(Failure::OfTls(error) | Failure::Other(error)), _) => error,
        };
        Err(bouncer::login_error(error))
    }

    async fn by(&self, peer: &Peer) -> Result<Session, Failure> {
        let opened = peer.open(&self.profile).await;
        let (socket, binding) = opened.map_err(|error| match error {
            Error::Handshake { .. } => Failure::OfTls(of_socket(error)),
            error => Failure::Other(of_socket(error)),
        })?;
        let mut session = Session { socket, input: Vec::new() };
        let config = &self.profile.config;
        let binding = binding.filter(|_| config.channel_binding != ChannelBinding::Disable);
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).map_err(garbled)?;
        let password = self.host.password.as_ref();
        let plain = |text: &str| Credential::Plain(Zeroizing::new(text.as_bytes().to_vec()));
        let login = Connect::new(ConnectSpec {
            params: vec![(b"database".to_vec(), bouncer::DATABASE.as_bytes().to_vec())],
            user: config.user.as_bytes().to_vec(),
            credential: password.map_or(Credential::None, |text| plain(text.expose())),
            nonce,
            binding,
        });
        session.log_in(login).await?;
        Ok(session)
    }
}

/// Why there is no session.
enum Failure {
    /// With TLS it may work where it failed without, or the other way round.
    OfTls(CheckError),
    Other(CheckError),
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        Self::Other(error)
    }
}

fn failed(kind: CheckErrorKind, text: impl ToString) -> CheckError {
    CheckError { kind, text: text.to_string() }
}

fn garbled(error: impl ToString) -> CheckError {
    failed(CheckErrorKind::Protocol, error)
}

fn unreachable(error: impl ToString) -> CheckError {
    failed(CheckErrorKind::Unreachable, error)
}

/// What it means that there is no socket.
fn of_socket(error: Error) -> CheckError {
    let kind = match error {
        Error::NoTls { .. } | Error::Tls(_) | Error::Handshake { .. } | Error::Injected { .. } => {
            CheckErrorKind::Refused
        }
        _ => CheckErrorKind::Unreachable,
    };
    failed(kind, error)
}

fn refused(fields: &ErrorFields) -> Failure {
    // What pg_hba.conf says, and what a PgBouncer does, which has one code for everything.
    let of_tls = &fields.code == b"28000" || fields.message == b"SSL required";
    let kind = match &fields.code {
        b"53300" => CheckErrorKind::TooManyConnections,
        code if code.starts_with(b"57P") => CheckErrorKind::StartingUp,
        _ => CheckErrorKind::Refused,
    };
    let error = failed(kind, fields.text());
    if of_tls { Failure::OfTls(error) } else { Failure::Other(error) }
}

/// A connection to a console.
struct Session {
    socket: Socket,
    input: Vec<u8>,
}

impl Session {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), CheckError> {
        self.socket.write_all(bytes).await.map_err(unreachable)?;
        self.socket.flush().await.map_err(unreachable)
    }

    /// Reads once.
    async fn read(&mut self) -> Result<(), CheckError> {
        let mut bytes = [0; 8192];
        let count = self.socket.read(&mut bytes).await.map_err(unreachable)?;
        if count == 0 {
            return Err(unreachable("the other side closed the connection"));
        }
        self.input.extend_from_slice(&bytes[..count]);
        Ok(())
    }

    async fn log_in(&mut self, mut login: Connect) -> Result<(), Failure> {
        let mut out = Vec::new();
        login.start(&mut out);
        loop {
            self.send(&out).await?;
            out.clear();
            let (used, progress) = login.receive(&self.input, &mut out).map_err(garbled)?;
            self.input.drain(..used);
            match progress {
                Progress::NeedInput if out.is_empty() => self.read().await?,
                Progress::NeedInput => {}
                Progress::Derive { password, salt, iterations } => {
                    let salted = move || {
                        use headpond_wire::auth::scram::salted_password;
                        Zeroizing::new(salted_password(&password, &salt, iterations))
                    };
                    let salted = tokio::task::spawn_blocking(salted).await.map_err(garbled)?;
                    login.derived(*salted, &mut out);
                }
                Progress::Ready(_) => return Ok(()),
                Progress::Failed(fields) => return Err(refused(&fields)),
            }
        }
    }

    /// Says goodbye, so that the other side does not log that somebody vanished.
    async fn leave(mut self) {
        let mut bye = Vec::new();
        frontend::terminate(&mut bye);
        // Where it cannot be said any more, the connection is at its end anyway.
        let _ = self.send(&bye).await;
    }
}

impl bouncer::Console for Session {
    async fn ask(&mut self, question: &'static str) -> Result<Answer, CheckError> {
        let mut out = Vec::new();
        frontend::query(&mut out, question.as_bytes());
        self.send(&out).await?;
        let mut reading = Reading::new(bouncer::ANSWER_MAX);
        loop {
            let (used, answer) = reading.receive(&self.input).map_err(garbled)?;
            self.input.drain(..used);
            match answer {
                Some(table::Answer::Table(table)) => {
                    return Ok(Ok(Table { columns: table.columns, rows: table.rows }));
                }
                Some(table::Answer::Refused(fields)) => return Ok(Err(fields.text().into_owned())),
                None => self.read().await?,
            }
        }
    }
}
