//! One connection to a database that serves no client: log in, ask, leave.
//!
//! Invariant: bounded in what is read; an error never carries a secret, only what the server or
//! the system said. Dropping the line closes the connection, without waiting for the server.
//! Not here: when and what to ask (`check.rs`).

use std::sync::Arc;

use headpond_monitor::model::{CheckError, CheckErrorKind};
use headpond_wire::login::connect::{self, Connect, ConnectSpec, Credential, Progress, TlsAnswer};
use headpond_wire::startup::Params;
use headpond_wire::table::{Answer, Reading};
use headpond_wire::{ErrorFields, frontend};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use crate::catalog::{Database, Place, Pool, Salted};
use crate::config::tls::SslMode;
use crate::engine::Address;
use crate::tls::Tls;

/// The longest answer: the settings of a server are a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection on its way to an answer.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    tls: Option<Tls>,
    input: Vec<u8>,
}

fn failed(kind: CheckErrorKind, text: impl ToString) -> CheckError {
    CheckError { kind, text: text.to_string() }
}

fn unreachable(error: impl ToString) -> CheckError {
    failed(CheckErrorKind::Unreachable, error)
}

fn garbled(error: impl ToString) -> CheckError {
    failed(CheckErrorKind::Protocol, error)
}

fn refused(fields: &ErrorFields) -> CheckError {
    let kind = match &fields.code {
        b"53300" => CheckErrorKind::TooManyConnections,
        code if code.starts_with(b"57P") => CheckErrorKind::StartingUp,
        _ => CheckErrorKind::Refused,
    };
    failed(kind, fields.text())
}

impl Line {
    /// Connects to a server.
    pub async fn open(place: &Place) -> Result<Self, CheckError> {
        let stream: Box<dyn Stream> = match &place.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await;
                Box::new(stream.map_err(|error| unreachable(format!("{address}: {error}")))?)
            }
            Address::Unix(path) => {
                let text = path.to_string_lossy();
                // A leading @ stands for the abstract namespace.
                let stream = match text.strip_prefix('@') {
                    Some(name) => UnixStream::connect(format!("\0{name}")).await,
                    None => UnixStream::connect(path).await,
                };
                Box::new(stream.map_err(|error| unreachable(format!("{text}: {error}")))?)
            }
        };
        Ok(Self { stream, tls: None, input: Vec::new() })
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), CheckError> {
        match &mut self.tls {
            None => self.stream.write_all(bytes).await.map_err(unreachable),
            Some(tls) => {
                let mut sealed = Vec::new();
                tls.send(bytes, &mut sealed).map_err(garbled)?;
                self.stream.write_all(&sealed).await.map_err(unreachable)
            }
        }
    }

    /// Reads once, and decrypts what came.
    async fn read(&mut self) -> Result<(), CheckError> {
        let mut bytes = [0; 8192];
        let count = self.stream.read(&mut bytes).await.map_err(unreachable)?;
        if count == 0 {
            return Err(unreachable("the server closed the connection"));
        }
        let Some(tls) = &mut self.tls else {
            self.input.extend_from_slice(&bytes[..count]);
            return Ok(());
        };
        let received = tls.receive(&bytes[..count], &mut self.input);
        let mut output = Vec::new();
        tls.take_output(&mut output);
        if !output.is_empty() {
            self.stream.write_all(&output).await.map_err(unreachable)?;
        }
        received.map(|_| ()).map_err(garbled)
    }

    /// Encrypts the connection as far as the settings want it.
    async fn encrypt(
        &mut self,
        mode: SslMode,
        config: Option<Arc<ClientConfig>>,
        place: &Place,
    ) -> Result<(), CheckError> {
        let is_unix = matches!(place.address, Address::Unix(_));
        if is_unix || matches!(mode, SslMode::Disable | SslMode::Allow) {
            return Ok(());
        }
        let mut out = Vec::new();
        connect::ssl_request(&mut out);
        self.send(&out).await?;
        self.read().await?;
        let answer = connect::ssl_answer(&self.input).map_err(garbled)?;
        self.input.clear();
        match answer {
            Some(TlsAnswer::Yes) => {}
            _ if mode == SslMode::Prefer => return Ok(()),
            _ => return Err(failed(CheckErrorKind::Refused, "the server refused TLS")),
        }
        let config = config.ok_or_else(|| garbled("TLS is not configured"))?;
        let name = ServerName::try_from(place.name.clone()).map_err(garbled)?;
        let mut tls = Tls::connect(config, name).map_err(garbled)?;
        let mut hello = Vec::new();
        tls.take_output(&mut hello);
        self.stream.write_all(&hello).await.map_err(unreachable)?;
        self.tls = Some(tls);
        while self.tls.as_ref().is_some_and(Tls::is_handshaking) {
            self.read().await?;
        }
        Ok(())
    }

    async fn log_in(
        &mut self,
        params: Params,
        user: &str,
        credential: Credential,
        pool: Option<&Pool>,
    ) -> Result<(), CheckError> {
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).map_err(garbled)?;
        let mut login = Connect::new(ConnectSpec {
            params,
            user: user.as_bytes().to_vec(),
            credential,
            nonce,
            binding: self.tls.as_ref().and_then(Tls::server_end_point),
        });
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
                    let salted = salted(pool, password, salt, iterations).await?;
                    login.derived(*salted, &mut out);
                }
                Progress::Ready(_) => return Ok(()),
                Progress::Failed(fields) => return Err(refused(&fields)),
            }
        }
    }

    /// Asks for one row of texts. After an error the line is good for nothing but to be left.
    pub async fn one_row(&mut self, sql: &str) -> Result<Vec<Option<String>>, CheckError> {
        match self.ask(sql, ANSWER_BYTES_MAX).await? {
            Answer::Table(mut table) => Ok(table.rows.pop().unwrap_or_default()),
            Answer::Refused(fields) => Err(refused(&fields)),
        }
    }

    /// Asks for rows of texts, all of them together of so many bytes at most.
    pub async fn ask(&mut self, sql: &str, bytes_max: usize) -> Result<Answer, CheckError> {
        let mut out = Vec::new();
        frontend::query(&mut out, sql.as_bytes());
        self.send(&out).await?;
        let mut reading = Reading::new(bytes_max);
        loop {
            let (done, answer) = reading.receive(&self.input).map_err(garbled)?;
            self.input.drain(..done);
            match answer {
                Some(answer) => return Ok(answer),
                None => self.read().await?,
            }
        }
    }

    /// Encrypts the connection as far as that is wanted, and logs in.
    pub async fn log_in_to(
        &mut self,
        database: &Database,
        place: &Place,
        login: Login<'_>,
    ) -> Result<(), CheckError> {
        self.encrypt(**database.sslmode.load(), database.tls.load_full(), place).await?;
        let params = database.startup_params(None);
        self.log_in(params, login.user, login.credential, Some(login.pool)).await
    }

    /// Logs in to the console of another pooler, which is asked for its database and no parameter
    /// that it may refuse.
    pub async fn enter_console(
        &mut self,
        place: &Place,
        (mode, tls): (SslMode, Option<Arc<ClientConfig>>),
        user: &str,
        credential: Credential,
    ) -> Result<(), CheckError> {
        self.encrypt(mode, tls, place).await?;
        let database = headpond_monitor::bouncer::DATABASE.as_bytes().to_vec();
        let params = vec![(b"database".to_vec(), database)];
        self.log_in(params, user, credential, None).await
    }

    /// Says goodbye and waits until the server has closed: then its backend has ended.
    pub async fn leave(mut self) {
        let mut bye = Vec::new();
        frontend::terminate(&mut bye);
        // Where it cannot be said any more, the connection is at its end anyway.
        let told = self.send(&bye).await.is_ok() && self.stream.shutdown().await.is_ok();
        let mut bytes = [0; 8192];
        while told && self.stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    }
}

/// Uses a PBKDF2 result that a login of the pool yielded, or has it computed off this thread.
async fn salted(
    pool: Option<&Pool>,
    password: Zeroizing<Vec<u8>>,
    salt: Vec<u8>,
    iterations: u32,
) -> Result<Zeroizing<[u8; 32]>, CheckError> {
    let known = pool.and_then(|pool| pool.credentials.lock().salted.clone());
    let known = known.filter(|known| {
        known.salt == salt
            && known.iterations == iterations
            && crate::cancel::equal(&known.password, &password)
    });
    if let Some(known) = known {
        return Ok(known.value);
    }
    let done = tokio::task::spawn_blocking(move || {
        let salted = headpond_wire::auth::scram::salted_password(&password, &salt, iterations);
        Salted { salt, iterations, value: Zeroizing::new(salted), password }
    });
    let made = done.await.map_err(garbled)?;
    if let Some(pool) = pool {
        pool.credentials.lock().salted = Some(made.clone());
    }
    Ok(made.value)
}

/// Whom to log in as.
pub(super) struct Login<'a> {
    pub user: &'a str,
    pub credential: Credential,
    /// The pool of that user.
    pub pool: &'a Pool,
}
