//! A client as its worker knows it.
//!
//! Invariant: a client has at most one server, and waits for at most one thing at a time.
//! Not here: what its bytes mean (`headpond_wire::session`), what is done with them (`relay.rs`).

use std::sync::Arc;

use headpond_core::{ConnId, Timestamp, WaiterId};
use headpond_wire::session::ClientState;

use super::login::Login;
use crate::catalog::{Pool, User, WaitReason};
use crate::engine::{Peer, Socket};
use crate::tls::Tls;

/// How far a client has come.
pub enum Phase {
    /// Not authenticated, or authenticated and waiting for the first server of its pool.
    Login(Box<Login>),
    /// It sends queries.
    Ready,
    /// It talks to the console.
    Admin(Box<super::console::Console>),
    /// It asked for the cancellation of another client and waits for our close.
    Canceling,
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// A server, in the pool's queue.
    Queued(WaiterId),
    /// A granted server that is on its way from another worker.
    Delivery(ConnId),
    /// Its settings are being applied to its server.
    Settling,
}

/// One client.
pub struct Client {
    /// Number in the console, shared counter with servers.
    pub id: u64,
    /// Distinguishes users of the same place in the table.
    pub generation: u32,
    /// Its socket.
    pub socket: Socket,
    /// Whence it came.
    pub peer: Peer,
    /// Where it arrived.
    pub local: Peer,
    /// Encryption, if any.
    pub tls: Option<Box<Tls>>,
    /// How far it has come.
    pub phase: Phase,
    /// The relay's view; present once logged in.
    pub session: Option<ClientState>,
    /// Its pool, once known.
    pub pool: Option<Arc<Pool>>,
    /// Index of its server here.
    pub server: Option<usize>,
    /// What it waits for.
    pub wait: Wait,
    /// Why it waits.
    pub reason: WaitReason,
    /// Input that cannot be used yet.
    pub held: Vec<u8>,
    /// How much input the relay asked for (0: whatever comes).
    pub needs: usize,
    /// The engine still holds output for it.
    pub blocked: bool,
    /// The owed-replies queue is full: read again once the server answered.
    pub full: bool,
    /// It was told that it queues (query_wait_notify).
    pub notified: bool,
    /// Who it logged in as, once it counts in the limits of its database and of this user.
    pub user: Option<Arc<User>>,
    /// It counts in max_client_conn.
    pub admitted: bool,
    /// Events of it that wait in the strangers' line: later ones go behind them.
    pub in_line: u32,
    /// The process id of its cancel key; 0 for none.
    pub key_pid: i32,
    /// When it connected.
    pub connected_at: Timestamp,
    /// When its last request or wait began.
    pub request_at: Timestamp,
    /// When it began to wait.
    pub wait_since: Timestamp,
    /// When the running query began.
    pub query_since: Option<Timestamp>,
    /// When the open transaction began.
    pub transaction_since: Option<Timestamp>,
    /// When it last became idle inside a transaction.
    pub idle_since: Option<Timestamp>,
}

impl Client {
    /// A fresh connection.
    #[must_use]
    pub fn new(
        id: u64,
        generation: u32,
        socket: Socket,
        peer: Peer,
        local: Peer,
        login: Login,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            generation,
            socket,
            peer,
            local,
            tls: None,
            phase: Phase::Login(Box::new(login)),
            session: None,
            pool: None,
            server: None,
            wait: Wait::Nothing,
            reason: WaitReason::PoolFull,
            held: Vec::new(),
            needs: 0,
            blocked: false,
            full: false,
            notified: false,
            user: None,
            admitted: false,
            in_line: 0,
            key_pid: 0,
            connected_at: now,
            request_at: now,
            wait_since: now,
            query_since: None,
            transaction_since: None,
            idle_since: None,
        }
    }

    /// Its pool.
    ///
    /// # Panics
    /// Before login has found one.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        self.pool.as_ref().expect("a client past login has a pool")
    }

    /// Returns true if nothing ties it to this worker: it may be moved.
    #[must_use]
    pub fn is_movable(&self) -> bool {
        matches!(self.phase, Phase::Ready)
            && self.server.is_none()
            && self.wait == Wait::Nothing
            && self.held.is_empty()
            && !self.blocked
            && !self.full
            && self.in_line == 0
    }

    /// The name it logged in with; empty before that.
    #[must_use]
    pub fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", |user| user.name.as_str())
    }

    /// `db/user@address:port`, as log lines show it.
    #[must_use]
    pub fn subject(&self) -> String {
        let (database, user) = match (&self.pool, &self.phase) {
            (_, Phase::Login(login)) => (login.database.as_str(), login.user.as_str()),
            (_, Phase::Admin(console)) => ("pgbouncer", console.user.as_str()),
            (Some(pool), _) => (pool.database.name.as_str(), self.user_name()),
            (None, _) => ("(nodb)", "(nouser)"),
        };
        let database = if database.is_empty() { "(nodb)" } else { database };
        let user = if user.is_empty() { "(nouser)" } else { user };
        format!("C-0x{:x}: {database}/{user}@{}", self.id, self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_holds_less_than_a_third_of_a_kibibyte() {
        // What else it costs: 24 bytes of the engine's, a cancel key, no buffer.
        assert!(size_of::<Client>() <= 320, "{} bytes", size_of::<Client>());
    }
}
