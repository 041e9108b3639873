//! TLS as a pure filter: ciphertext in, plaintext out, and back.
//!
//! Invariant: any split of the input gives the same output (the chunking law); an idle session
//! holds no buffer; after an error the session only gives out its alert and never decrypts
//! again. Whoever switches a connection to TLS must have nothing unread left: bytes that came
//! before the handshake are never taken for bytes that came inside of it.
//! Not here: sockets (`engine`), `SSLRequest` (`wire`), timeouts (`worker`).

mod anchors;
mod binding;
mod certificate;
mod ciphers;
mod client;
mod der;
mod error;
mod files;
mod provider;
mod record;
mod server;
mod verify;
mod web;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, ProtocolVersion};
use rustls_pki_types::ServerName;

pub use certificate::AlternativeName;
pub use ciphers::{Ciphers, UnknownCipher};
pub use client::client_config;
pub use der::DerError;
pub use error::TlsError;
pub use files::{ClientTls, ServerTls, TlsFiles};
pub use rustls::ClientConfig;
pub use server::{ALPN, ServerConfig, server_config};
pub use web::{web_client, web_server};

use certificate::Certificate;

/// Returns true if the first byte of a connection begins a TLS handshake: the client starts
/// TLS at once, without an `SSLRequest`. No startup packet begins so: it would be 369 MB long.
pub fn is_direct_tls_hello(first_byte: u8) -> bool {
    first_byte == 0x16
}

/// One TLS session, of either side.
pub struct Tls {
    side: Side,
    phase: Phase,
    /// Ciphertext that is not a whole record yet.
    incoming: Vec<u8>,
    /// Handshake messages and alerts that nobody took yet.
    outgoing: Vec<u8>,
}

enum Side {
    Accept(Box<UnbufferedServerConnection>, Arc<ServerConfig>),
    Connect(Box<UnbufferedClientConnection>),
}

/// Who still speaks: each side says `close_notify` for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Live,
    PeerClosed,
    WeClosed,
    BothClosed,
    Failed,
}

/// What became of the bytes given to [`Tls::receive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The peer said that it sends nothing more.
    pub closed: bool,
}

impl Tls {
    /// Starts a session with a client.
    ///
    /// # Errors
    /// The TLS library refuses the configuration.
    pub fn accept(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&config.rustls))
            .map_err(TlsError::Settings)?;
        Ok(Self::new(Side::Accept(Box::new(connection), config)))
    }

    /// Starts a session with a server; its first message waits in [`Tls::take_output`].
    ///
    /// # Errors
    /// The TLS library refuses the configuration.
    pub fn connect(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let connection =
            UnbufferedClientConnection::new(config, name).map_err(TlsError::Settings)?;
        let mut tls = Self::new(Side::Connect(Box::new(connection)));
        tls.receive(&[], &mut Vec::new())?;
        Ok(tls)
    }

    fn new(side: Side) -> Self {
        Self { side, phase: Phase::Live, incoming: Vec::new(), outgoing: Vec::new() }
    }

    /// Decrypts what came from the peer and appends it to `plaintext`.
    ///
    /// Afterwards there may be something to send: see [`Tls::take_output`], also after an error
    /// (it is the alert that tells the peer why). What comes after `close_notify` is dropped.
    ///
    /// # Errors
    /// The peer broke the protocol or was not accepted; the session has ended.
    pub fn receive(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<Received, TlsError> {
        match self.phase {
            Phase::Failed => return Err(TlsError::Ended),
            Phase::PeerClosed | Phase::BothClosed => return Ok(Received { closed: true }),
            Phase::Live | Phase::WeClosed => self.incoming.extend_from_slice(ciphertext),
        }
        let Self { side, incoming, outgoing, .. } = self;
        let outcome = match side {
            Side::Accept(connection, _) => {
                record::open(connection, record::ACCEPT, incoming, outgoing, plaintext)
            }
            Side::Connect(connection) => {
                record::open(connection, record::CONNECT, incoming, outgoing, plaintext)
            }
        };
        self.phase = match (&outcome, self.phase) {
            (Ok(false), phase) => phase,
            (Ok(true), Phase::Live) => Phase::PeerClosed,
            (Ok(true), _) => Phase::BothClosed,
            (Err(_), _) => Phase::Failed,
        };
        if self.incoming.is_empty() || !matches!(outcome, Ok(false)) {
            self.incoming = Vec::new();
        }
        outcome.map(|closed| Received { closed }).map_err(TlsError::Peer)
    }

    /// Encrypts all of `plaintext` and appends it to `ciphertext`, after what
    /// [`Tls::take_output`] would give.
    ///
    /// # Errors
    /// The handshake is not finished, or the session has ended.
    pub fn send(&mut self, plaintext: &[u8], ciphertext: &mut Vec<u8>) -> Result<(), TlsError> {
        self.seal(record::Message::Data(plaintext), ciphertext)
    }

    /// Ends our side: appends what still waits, and `close_notify`, to `ciphertext`.
    ///
    /// A peer that is not told takes the end for an attack: OpenSSL reports an error. Before the
    /// end of the handshake, and after an error, there is nobody to tell.
    pub fn close(&mut self, ciphertext: &mut Vec<u8>) {
        self.take_output(ciphertext);
        if self.is_handshaking() {
            return;
        }
        let told = self.seal(record::Message::CloseNotify, ciphertext);
        self.phase = match (told, self.phase) {
            (Ok(()), Phase::Live) => Phase::WeClosed,
            (Ok(()), _) => Phase::BothClosed,
            // It was over before, or the keys are used up.
            (Err(_), phase) => phase,
        };
    }

    fn seal(
        &mut self,
        message: record::Message<'_>,
        ciphertext: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        self.take_output(ciphertext);
        if !matches!(self.phase, Phase::Live | Phase::PeerClosed) {
            return Err(TlsError::Ended);
        }
        let incoming = &mut self.incoming;
        match &mut self.side {
            Side::Accept(connection, _) => {
                record::seal(connection, record::ACCEPT, incoming, message, ciphertext)
            }
            Side::Connect(connection) => {
                record::seal(connection, record::CONNECT, incoming, message, ciphertext)
            }
        }
    }

    /// Appends the handshake messages and alerts that wait to be sent.
    pub fn take_output(&mut self, ciphertext: &mut Vec<u8>) {
        ciphertext.extend_from_slice(&self.outgoing);
        self.outgoing = Vec::new();
    }

    /// Returns true until application data may flow both ways.
    pub fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Returns the protocol and the cipher: `TLSv1.3/TLS_AES_256_GCM_SHA384`.
    pub fn describe(&self) -> String {
        let state = self.state();
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => return String::new(),
        };
        let suite = state.negotiated_cipher_suite().and_then(ciphers::openssl_name);
        format!("{version}/{}", suite.unwrap_or("unknown"))
    }

    /// Returns the common name in the peer's certificate, if it presented one.
    pub fn peer_common_name(&self) -> Option<String> {
        Certificate::parse(self.peer_certificate()?).ok()?.common_name().ok()?
    }

    /// Returns the alternative names in the peer's certificate.
    pub fn peer_alternative_names(&self) -> Vec<AlternativeName> {
        let certificate = self.peer_certificate().and_then(|der| Certificate::parse(der).ok());
        certificate.and_then(|parsed| parsed.alternative_names().ok()).unwrap_or_default()
    }

    /// Returns the application protocol that both sides agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// Returns true if the peer asked for PostgreSQL by name: a direct session needs it, so
    /// that no browser and no other protocol's client can be led here.
    pub fn speaks_postgresql(&self) -> bool {
        self.alpn() == Some(ALPN)
    }

    /// Returns the data of `tls-server-end-point` channel binding: the digest of the server's
    /// certificate, which is ours if we accepted and the peer's if we connected.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        match &self.side {
            Side::Accept(_, config) => config.end_point.clone(),
            Side::Connect(_) => binding::server_end_point(self.peer_certificate()?),
        }
    }

    fn peer_certificate(&self) -> Option<&[u8]> {
        self.state().peer_certificates()?.first().map(AsRef::as_ref)
    }

    fn state(&self) -> &CommonState {
        match &self.side {
            Side::Accept(connection, _) => connection,
            Side::Connect(connection) => connection,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Accept(..) => "accept",
            Side::Connect(..) => "connect",
        };
        f.debug_struct("Tls")
            .field("side", &side)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
