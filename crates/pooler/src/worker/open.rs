//! Opening a server: budget, address, transport, TLS, login, connect_query; checks and resets.
//!
//! Invariant: a budget is taken before the connect and given back exactly once, when the slot is
//! free; the client that asked for the server is not tied to it.
//! Not here: when to open (`headpond_core`), PBKDF2 and DNS (the control plane).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headpond_core::{ConnId, ConnectFailure, Failure};
use headpond_wire::ErrorFields;
use headpond_wire::login::connect::{
    self, Connect, ConnectSpec, Credential, Progress, TlsAnswer, Welcome,
};
use headpond_wire::session::{Internal, Parameters, ServerState};
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::server::{Server, Stage};
use super::{KIND_SERVER, Worker, token};
use crate::auth::secrets::Stored;
use crate::catalog::{Greeting, Pool, Salted};
use crate::config::tls::SslMode;
use crate::control::Ask;
use crate::engine::{Address, Engine};
use crate::log::Level;
use crate::tls::Tls;

impl<E: Engine> Worker<E> {
    /// The core wants a connection in this slot.
    pub(super) fn open_server(&mut self, pool: &Arc<Pool>, conn: ConnId) {
        if !self.take_budgets(pool) {
            self.with_core(pool, |core, now, _| core.postpone(now, conn));
            return;
        }
        let generation = self.next_generation();
        let id = self.shared.number();
        let mut server = Server::new(id, generation, Arc::clone(pool), conn, self.now);
        let deadline = self.due(pool.settings.load().connect_timeout);
        server.deadline = deadline;
        let index = self.servers.insert(Box::new(server));
        self.remember_conn(pool, conn, index);
        self.sweep_by(deadline);
        self.connect_server(index);
    }

    /// Takes a place in the database's and the user's budget, evicting an idle server if needed.
    fn take_budgets(&mut self, pool: &Arc<Pool>) -> bool {
        if !pool.database.budget.try_take() {
            self.starve(pool, true);
            return false;
        }
        if !pool.user.budget.try_take() {
            for starved in pool.database.budget.put() {
                self.todo.push_back(super::Todo::Feed(starved));
            }
            self.starve(pool, false);
            return false;
        }
        pool.starved.store(false, Ordering::Relaxed);
        true
    }

    /// Waits for room in a budget and makes some: the longest idle server of another pool goes.
    fn starve(&mut self, pool: &Arc<Pool>, by_database: bool) {
        pool.starved.store(true, Ordering::Relaxed);
        let budget = if by_database { &pool.database.budget } else { &pool.user.budget };
        budget.wait(pool);
        if budget.has_room() {
            // It came before the pool was listed, and was announced to others only.
            self.todo.push_back(super::Todo::Feed(Arc::clone(pool)));
            return;
        }
        let victim = self.shared.catalog.longest_idle(|other| {
            !Arc::ptr_eq(other, pool)
                && if by_database {
                    Arc::ptr_eq(&other.database, &pool.database)
                } else {
                    Arc::ptr_eq(&other.user, &pool.user)
                }
        });
        if let Some(victim) = victim {
            self.with_core(&victim, |core, now, _| core.evict_oldest_idle(now));
        }
    }

    /// Starts the transport, once an address is known.
    pub(super) fn connect_server(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let pool = Arc::clone(&server.pool);
        let choice = pool.next_host.load(Ordering::Relaxed) as usize;
        let now = self.now;
        let Some(place) = pool.database.place(choice, now) else {
            server.stage = Stage::Resolving;
            if let Some(found) = pool.database.unresolved.load_full().filter(|f| f.until > now) {
                let text = format!("DNS lookup failed before: {}", found.error);
                self.log_server(index, Level::Debug, &text);
                self.server_login_failed(index, "server DNS lookup failed", None);
                return;
            }
            let (lane, server) = (self.lane, self.server_ref(index));
            let database = Arc::clone(&pool.database);
            self.ask(Ask::Resolve { lane, server, database });
            return;
        };
        if pool.database.balances_hosts() {
            pool.next_host.fetch_add(1, Ordering::Relaxed);
        }
        let address = place.address;
        server.host_name = place.name;
        server.address = Some(address.clone());
        server.stage = Stage::Connecting;
        let options = &self.view.socket_options;
        match self.engine.connect(&address, options, token(KIND_SERVER, index)) {
            Ok(socket) => self.servers[index].socket = Some(socket),
            Err(error) => {
                let text = format!("connect failed: {error}");
                self.server_login_failed(index, &text, None);
            }
        }
    }

    /// The control plane resolved the hosts of a database.
    pub(super) fn on_resolved(&mut self, reference: u64, result: Result<(), String>) {
        let Some(index) = self.server_by_ref(reference) else { return };
        if !matches!(self.servers[index].stage, Stage::Resolving) {
            return;
        }
        match result {
            Ok(()) => self.connect_server(index),
            Err(text) => {
                self.log_server(index, Level::Warning, &format!("DNS lookup failed: {text}"));
                self.server_login_failed(index, "server DNS lookup failed", None);
            }
        }
    }

    /// The transport is there, or not.
    pub(super) fn on_connected(&mut self, index: usize, result: std::io::Result<()>) {
        if let Err(error) = result {
            let text = format!("connect failed: {error}");
            // Another host of the list may be up.
            self.servers[index].pool.next_host.fetch_add(1, Ordering::Relaxed);
            self.server_login_failed(index, &text, None);
            return;
        }
        let wants_tls = self.wants_tls(index);
        if wants_tls {
            let mut out = Vec::new();
            connect::ssl_request(&mut out);
            self.servers[index].stage = Stage::TlsAnswer;
            self.write_server_raw(index, &out);
            self.arm_server(index);
        } else {
            self.start_login(index);
        }
    }

    fn wants_tls(&self, index: usize) -> bool {
        let is_unix = matches!(self.servers[index].address, Some(Address::Unix(_)));
        let mode = **self.servers[index].pool.database.sslmode.load();
        !is_unix && !matches!(mode, SslMode::Disable | SslMode::Allow)
    }

    /// The answer to SSLRequest.
    pub(super) fn on_tls_answer(&mut self, index: usize, data: &[u8]) {
        match connect::ssl_answer(data) {
            Ok(Some(TlsAnswer::Yes)) => self.start_tls(index),
            Ok(Some(TlsAnswer::No)) => {
                if **self.servers[index].pool.database.sslmode.load() == SslMode::Prefer {
                    self.start_login(index);
                } else {
                    self.server_login_failed(index, "server refused TLS", None);
                }
            }
            Ok(None) => self.arm_server(index),
            // Whatever the server says before TLS is not to be believed, nor shown.
            Err(_) => self.server_login_failed(index, "server refused TLS", None),
        }
    }

    fn start_tls(&mut self, index: usize) {
        let config = self.servers[index].pool.database.tls.load_full();
        let host = self.servers[index].host_name.clone();
        let name = ServerName::try_from(host).map_err(|error| error.to_string());
        let made = match (config, name) {
            (Some(config), Ok(name)) => Tls::connect(config, name).map_err(|e| e.to_string()),
            (None, _) => Err("TLS is not configured".to_owned()),
            (_, Err(error)) => Err(error),
        };
        match made {
            Ok(mut tls) => {
                let mut out = Vec::new();
                tls.take_output(&mut out);
                let server = &mut self.servers[index];
                server.tls = Some(Box::new(tls));
                server.stage = Stage::TlsHandshake;
                self.write_server_raw(index, &out);
                self.arm_server(index);
            }
            Err(text) => self.server_login_failed(index, &text, None),
        }
    }

    /// The TLS handshake with a server is over.
    pub(super) fn on_server_tls(&mut self, index: usize) {
        self.start_login(index);
    }

    fn start_login(&mut self, index: usize) {
        let mut nonce = [0u8; 18];
        if let Err(error) = getrandom::fill(&mut nonce) {
            self.server_login_failed(index, &format!("no random bytes: {error}"), None);
            return;
        }
        let server = &self.servers[index];
        let pool = &server.pool;
        let user = pool.key.user.clone();
        let credential = self.credential(pool);
        let params = pool.database.startup_params(pool.key.replication);
        let binding = server.tls.as_ref().and_then(|tls| tls.server_end_point());
        let spec = ConnectSpec { params, user: user.into_bytes(), credential, nonce, binding };
        let mut login = Connect::new(spec);
        let mut out = Vec::new();
        login.start(&mut out);
        self.servers[index].stage = Stage::Login(Box::new(login));
        self.write_server(index, &out);
        self.arm_server(index);
    }

    /// What a server of this pool logs in with: the entry's password, the user's stored secret,
    /// or what a client's login has yielded.
    fn credential(&self, pool: &Pool) -> Credential {
        let spec = pool.database.spec.load();
        let forced = spec.user.as_deref() == Some(pool.key.user.as_str());
        if forced && let Some(password) = &spec.password {
            return Credential::Plain(Zeroizing::new(password.reveal().as_bytes().to_vec()));
        }
        match self.view.secrets.get(&pool.key.user) {
            Some(Stored::Plain(text)) => {
                return Credential::Plain(Zeroizing::new(text.reveal().as_bytes().to_vec()));
            }
            Some(Stored::Md5(digest)) => return Credential::Md5(digest.reveal().to_owned()),
            _ => {}
        }
        let looked_up = pool.user.looked_up.load();
        // The keys that a client proved with fit our own salt then, and not the server's.
        if let Some(Stored::Plain(text)) = looked_up.as_deref() {
            return Credential::Plain(Zeroizing::new(text.reveal().as_bytes().to_vec()));
        }
        let kept = pool.credentials.lock();
        if let Some(keys) = &kept.scram {
            return Credential::Scram(keys.clone());
        }
        if let Some(plain) = &kept.plain {
            return Credential::Plain(plain.clone());
        }
        drop(kept);
        match looked_up.as_deref() {
            Some(Stored::Md5(digest)) => Credential::Md5(digest.reveal().to_owned()),
            _ => Credential::None,
        }
    }

    /// Bytes during a server's login.
    pub(super) fn pump_server_login(&mut self, index: usize, data: &[u8]) {
        let mut input = std::mem::take(&mut self.servers[index].held);
        input.extend_from_slice(data);
        let mut pos = 0;
        let mut out = Vec::new();
        loop {
            let Stage::Login(login) = &mut self.servers[index].stage else { return };
            let (used, progress) = match login.receive(&input[pos..], &mut out) {
                Ok(step) => step,
                Err(error) => {
                    self.server_login_failed(index, &format!("login failed: {error}"), None);
                    return;
                }
            };
            pos += used;
            if !out.is_empty() {
                self.write_server(index, &out);
                out.clear();
            }
            match progress {
                Progress::NeedInput => break,
                Progress::Derive { password, salt, iterations } => {
                    if self.salt_server(index, password, salt, iterations) {
                        continue;
                    }
                    break;
                }
                Progress::Failed(fields) => {
                    let text = fields.text().into_owned();
                    self.server_login_failed(index, &text, Some(&fields));
                    return;
                }
                Progress::Ready(welcome) => {
                    self.servers[index].held = input.split_off(pos);
                    self.server_logged_in(index, *welcome);
                    return;
                }
            }
        }
        self.servers[index].held = input.split_off(pos);
        self.arm_server(index);
    }

    /// Uses a PBKDF2 result known from an earlier login (true), or has it computed elsewhere.
    fn salt_server(
        &mut self,
        index: usize,
        password: Zeroizing<Vec<u8>>,
        salt: Vec<u8>,
        iterations: u32,
    ) -> bool {
        let pool = Arc::clone(&self.servers[index].pool);
        let known = {
            let kept = pool.credentials.lock();
            kept.salted.as_ref().and_then(|known| {
                let same = known.salt == salt
                    && known.iterations == iterations
                    && crate::cancel::equal(&known.password, &password);
                same.then(|| known.value.clone())
            })
        };
        if let Some(value) = known {
            self.on_salted_at(index, &value);
            return true;
        }
        let (lane, server) = (self.lane, self.server_ref(index));
        self.ask(Ask::Salt { lane, server, password, salt, iterations });
        false
    }

    /// PBKDF2 is done for a server's login.
    pub(super) fn on_server_salted(&mut self, reference: u64, salted: &Salted) {
        let Some(index) = self.server_by_ref(reference) else { return };
        self.servers[index].pool.credentials.lock().salted = Some(salted.clone());
        self.on_salted_at(index, &salted.value);
        if self.server_by_ref(reference).is_some() {
            self.pump_server_login(index, &[]);
        }
    }

    fn on_salted_at(&mut self, index: usize, value: &[u8; 32]) {
        let Stage::Login(login) = &mut self.servers[index].stage else { return };
        let mut out = Vec::new();
        login.derived(*value, &mut out);
        self.write_server(index, &out);
    }

    fn server_logged_in(&mut self, index: usize, welcome: Welcome) {
        let now = self.now;
        let server = &mut self.servers[index];
        server.pid = welcome.pid;
        server.key.clone_from(&welcome.key);
        let pool = Arc::clone(&server.pool);
        let settings = pool.settings.load();
        server.session = Some(ServerState::from_welcome(&welcome, &self.view.tracked));
        let stats = &pool.stats[usize::from(self.lane.0)];
        stats.connects.add(1);
        stats.connect_seconds.record(now.since(server.connected_at));
        *pool.last_error.lock() = None;
        if pool.welcome.load().is_none() {
            let pairs = welcome.params.iter().map(|(n, v)| (n.as_slice(), v.as_slice()));
            let parameters = Parameters::new(&self.view.tracked, pairs);
            pool.welcome.store(Some(Arc::new(Greeting::new(welcome, parameters))));
        }
        self.log_server_opened(index);
        match &settings.connect_query {
            Some(sql) => {
                let mut out = Vec::new();
                let server = &mut self.servers[index];
                server.stage = Stage::Setup;
                server.session().begin_internal(Internal::Connect, sql, &mut out);
                self.write_server(index, &out);
                self.arm_server(index);
            }
            None => self.server_ready(index),
        }
    }

    /// A server is clean and may be given to a client.
    pub(super) fn server_ready(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.stage = Stage::Idle;
        server.deadline = super::NEVER;
        server.request_at = self.now;
        let (pool, conn) = (Arc::clone(&server.pool), server.conn);
        self.with_core(&pool, |core, now, lane| core.ready(now, conn, lane));
        self.arm_server(index);
    }

    /// A server could not be opened: the pool hears why.
    pub(super) fn server_login_failed(
        &mut self,
        index: usize,
        text: &str,
        fields: Option<&ErrorFields>,
    ) {
        self.log_login_failure(index, text);
        let server = &self.servers[index];
        let (pool, conn) = (Arc::clone(&server.pool), server.conn);
        pool.stats[usize::from(self.lane.0)].connect_failures.add(1);
        *pool.last_error.lock() = Some(text.to_owned());
        let failure = match fields.map(|f| f.code) {
            Some([b'5', b'7', b'P', b'0', b'3']) => ConnectFailure::StartingUp,
            Some([b'5', b'3', b'3', b'0', b'0']) => ConnectFailure::TooMany,
            Some(_) => ConnectFailure::Rejected,
            None => ConnectFailure::Refused,
        };
        if failure == ConnectFailure::Rejected {
            // The stored keys may be of an old password.
            let mut kept = pool.credentials.lock();
            kept.salted = None;
        }
        self.forget_server(index);
        self.with_core(&pool, |core, now, _| {
            core.failed(now, conn, Failure::Connect(failure));
        });
        self.slot_freed(&pool);
    }

    /// The core wants an idle server checked before use.
    pub(super) fn check_server(&mut self, pool: &Arc<Pool>, conn: ConnId) {
        let sql = pool.settings.load().check_query.clone();
        self.serve(pool, conn, Internal::Check, sql.unwrap_or_default());
    }

    /// The core wants a returned server reset.
    pub(super) fn reset_server(&mut self, pool: &Arc<Pool>, conn: ConnId) {
        let sql = pool.settings.load().reset_query.clone();
        self.serve(pool, conn, Internal::Reset, sql);
    }

    fn serve(&mut self, pool: &Arc<Pool>, conn: ConnId, kind: Internal, sql: Vec<u8>) {
        let Some(index) = self.server_of(pool, conn) else { return };
        let deadline = self.due(pool.settings.load().connect_timeout);
        let server = &mut self.servers[index];
        server.stage = if kind == Internal::Check { Stage::Checking } else { Stage::Resetting };
        server.deadline = deadline;
        let mut out = Vec::new();
        server.session().begin_internal(kind, &sql, &mut out);
        self.sweep_by(deadline);
        self.write_server(index, &out);
        self.arm_server(index);
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        // The control plane ends last; an unanswered request ends by its own deadline.
        let _ = self.shared.control.send(ask);
    }
}
