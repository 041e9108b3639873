//! A server connection as its worker knows it.
//!
//! Invariant: a server is in exactly one stage; its slot in the pool's core is freed exactly once,
//! when the connection is gone.
//! Not here: opening it (`open.rs`), relaying (`relay.rs`), giving it back (`release.rs`).

use std::sync::Arc;

use headpond_core::{ConnId, Timestamp};
use headpond_wire::login::connect::Connect;
use headpond_wire::session::ServerState;

use crate::catalog::Pool;
use crate::engine::{Address, Socket};
use crate::tls::Tls;

/// How far a server connection has come.
pub enum Stage {
    /// Its host name is being looked up.
    Resolving,
    /// The transport connects.
    Connecting,
    /// SSLRequest is sent.
    TlsAnswer,
    /// The TLS handshake runs.
    TlsHandshake,
    /// The login runs.
    Login(Box<Connect>),
    /// connect_query runs.
    Setup,
    /// In the pool.
    Idle,
    /// With a client.
    Linked,
    /// A check query runs.
    Checking,
    /// The reset query runs.
    Resetting,
    /// Its client is gone; it finishes what it owes.
    Draining,
    /// It would be free but for a cancel request on its way.
    Leased,
    /// Terminate is sent; the other side has not closed yet.
    Closing,
}

/// One server connection.
pub struct Server {
    /// Number in the console.
    pub id: u64,
    /// Distinguishes users of the same place in the table.
    pub generation: u32,
    /// Its pool.
    pub pool: Arc<Pool>,
    /// Its slot there.
    pub conn: ConnId,
    /// Its socket; absent while resolving or travelling.
    pub socket: Option<Socket>,
    /// Encryption, if any.
    pub tls: Option<Box<Tls>>,
    /// How far it has come.
    pub stage: Stage,
    /// The relay's view; present once logged in.
    pub session: Option<ServerState>,
    /// Index of its client here.
    pub client: Option<usize>,
    /// Input that cannot be used yet.
    pub held: Vec<u8>,
    /// The engine still holds output for it.
    pub blocked: bool,
    /// Its address.
    pub address: Option<Address>,
    /// The name for certificate checks.
    pub host_name: String,
    /// Process id of the backend.
    pub pid: i32,
    /// Its real cancel key.
    pub key: Vec<u8>,
    /// How often it was handed to a client.
    pub uses: u64,
    /// Cancel requests on their way to it.
    pub leases: u32,
    /// A cancel request to it did not end in time: it cannot be trusted any more.
    pub lease_broken: bool,
    /// Something happened that the protocol does not allow.
    pub violated: bool,
    /// When the connect began.
    pub connected_at: Timestamp,
    /// When it was last handed out or given back.
    pub request_at: Timestamp,
    /// When the present stage must be over; `Timestamp::MAX` for never.
    pub deadline: Timestamp,
    /// The log says why it closes.
    pub close_logged: bool,
}

impl Server {
    /// A connection about to be opened.
    #[must_use]
    pub fn new(id: u64, generation: u32, pool: Arc<Pool>, conn: ConnId, now: Timestamp) -> Self {
        Self {
            id,
            generation,
            pool,
            conn,
            socket: None,
            tls: None,
            stage: Stage::Resolving,
            session: None,
            client: None,
            held: Vec::new(),
            blocked: false,
            address: None,
            host_name: String::new(),
            pid: 0,
            key: Vec::new(),
            uses: 0,
            leases: 0,
            lease_broken: false,
            violated: false,
            connected_at: now,
            request_at: now,
            deadline: super::NEVER,
            close_logged: false,
        }
    }

    /// The relay's view.
    ///
    /// # Panics
    /// Before login.
    #[must_use]
    pub fn session(&mut self) -> &mut ServerState {
        self.session.as_mut().expect("a server past login has a session")
    }

    /// Returns true from the first byte on until the login is over.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        matches!(
            self.stage,
            Stage::Resolving
                | Stage::Connecting
                | Stage::TlsAnswer
                | Stage::TlsHandshake
                | Stage::Login(_)
                | Stage::Setup
        )
    }

    /// `S-0x…: db/user@address:port`, as log lines show it.
    #[must_use]
    pub fn subject(&self) -> String {
        let key = &self.pool.key;
        let at = self.address.as_ref().map_or_else(|| "(none)".into(), ToString::to_string);
        format!("S-0x{:x}: {}/{}@{at}", self.id, key.database, key.user)
    }
}
