//! What travels between workers, and between workers and the control plane.
//!
//! Invariant: a message carries everything its receiver needs; whoever sent it forgets it.
//! Not here: the queue that carries it (`worker/mailbox.rs`).

use std::sync::Arc;

use headpond_core::{Command, ConnId, Lane};
use headpond_monitor::model::Action;
use headpond_wire::auth::scram;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::admin::show;
use crate::catalog::{Database, Pool, User};
use crate::engine::{Engine, Peer};
use crate::worker::client::Client;
use crate::worker::server::Server;

/// A message to a worker.
#[allow(missing_docs, reason = "the variant says what its fields are")]
pub enum Mail<E: Engine> {
    /// A client that was accepted elsewhere.
    Accepted { handle: E::Handle, peer: Peer, local: Peer, listener: usize },
    /// A client that moves here between two transactions.
    Client { client: Box<Client>, handle: E::Handle },
    /// A command of a pool's core that concerns a connection or a waiter here.
    Command { pool: Arc<Pool>, command: Command },
    /// An idle connection here was granted to a caller of another lane: send it.
    Yield { pool: Arc<Pool>, conn: ConnId, lane: Lane, caller: u64 },
    /// A connection for a caller here.
    Deliver { server: Box<Server>, handle: E::Handle, caller: u64 },
    /// The connection granted to a caller here died on its way.
    Undelivered { pool: Arc<Pool>, caller: u64 },
    /// A cancel request for a client here, received by the given worker's cancel client.
    Cancel { target: u64, from: Lane, requester: u64 },
    /// The cancel request of a requester here has been dealt with.
    CancelDone { requester: u64 },
    /// PBKDF2 for a server's login is done.
    ServerSalted { server: u64, salted: crate::catalog::Salted },
    /// PBKDF2 for a client's login is done; the secret is kept by the user.
    ClientSecret { caller: u64, secret: Arc<scram::Secret> },
    /// The addresses of a database are known (or the reason why not).
    Resolved { server: u64, result: Result<(), String> },
    /// An answer of the console.
    AdminReply { caller: u64, bytes: Vec<u8>, close: bool },
    /// A pool was changed by somebody else: carry out its commands.
    Poke { pool: Arc<Pool> },
    /// Fill in the rows of this worker.
    Collect(Arc<Collector>),
    /// Close clients.
    CloseClients(Select),
    /// The catalog was replaced: look at every client's and server's standing.
    Reloaded,
    /// Pools with these numbers were forgotten.
    Forgotten { numbers: Arc<[u32]> },
    /// Stop accepting over TCP; the console stays in reach over the unix socket.
    StopListening,
    /// Accept on these (given at start).
    Listen { tcp: Vec<E::Handle>, unix: Vec<E::Handle> },
    /// Close everything and end the thread.
    Stop,
}

/// Which clients to close.
#[derive(Debug, Clone)]
pub enum Select {
    /// All.
    All,
    /// Those of a database.
    Database(String),
    /// The one with this number.
    Id(u64),
}

/// A message to the control plane.
#[allow(missing_docs, reason = "the variant says what its fields are")]
pub enum Ask {
    /// A console command.
    Admin { lane: Lane, caller: u64, admin: bool, text: String },
    /// A console client does not want to wait for its command any longer.
    AdminCancel { lane: Lane, caller: u64 },
    /// A console client left before its command was answered.
    AdminLeft { lane: Lane, caller: u64 },
    /// Compute PBKDF2 for a server's login.
    Salt { lane: Lane, server: u64, password: Zeroizing<Vec<u8>>, salt: Vec<u8>, iterations: u32 },
    /// Make a SCRAM secret out of a plain password.
    Secret { lane: Lane, caller: u64, user: Arc<User>, password: Zeroizing<Vec<u8>> },
    /// Carry out what somebody asked for over HTTP.
    Act { action: Action, actor: String, answer: oneshot::Sender<Result<String, String>> },
    /// Look up the hosts of a database.
    Resolve { lane: Lane, server: u64, database: Arc<Database> },
}

/// Gathers rows from all workers; the last one in wakes the asker.
pub struct Collector {
    /// What is asked for.
    pub clients: bool,
    /// Servers too.
    pub servers: bool,
    state: parking_lot::Mutex<Collected>,
    done: tokio::sync::Notify,
}

/// Rows so far.
#[derive(Default)]
pub struct Collected {
    /// SHOW CLIENTS.
    pub clients: Vec<show::ClientRow>,
    /// SHOW SERVERS.
    pub servers: Vec<show::ServerRow>,
    missing: usize,
}

impl Collector {
    /// Starts a collection over `workers` workers.
    #[must_use]
    pub fn new(workers: usize, clients: bool, servers: bool) -> Arc<Self> {
        let state = Collected { missing: workers, ..Collected::default() };
        Arc::new(Self {
            clients,
            servers,
            state: parking_lot::Mutex::new(state),
            done: tokio::sync::Notify::new(),
        })
    }

    /// Adds a worker's rows.
    pub fn add(&self, clients: Vec<show::ClientRow>, servers: Vec<show::ServerRow>) {
        let mut state = self.state.lock();
        state.clients.extend(clients);
        state.servers.extend(servers);
        state.missing = state.missing.saturating_sub(1);
        if state.missing == 0 {
            self.done.notify_one();
        }
    }

    /// Waits until every worker has answered.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the answer.
    pub async fn wait(&self) -> (Vec<show::ClientRow>, Vec<show::ServerRow>) {
        loop {
            {
                let mut state = self.state.lock();
                if state.missing == 0 {
                    let servers = std::mem::take(&mut state.servers);
                    return (std::mem::take(&mut state.clients), servers);
                }
            }
            self.done.notified().await;
        }
    }
}
