//! A client's way in: first packet, TLS, who it is, which pool, the welcome.
//!
//! Invariant: the user who is let in is the user whose secret was checked; nothing a client sends
//! before that reaches a server; each step happens at most once (`wire::login::accept`).
//! Not here: the SCRAM and MD5 machines (`headpond_wire::auth`), PBKDF2 (control plane).

use std::sync::Arc;

use headpond_wire::Status;
use headpond_wire::auth::scram;
use headpond_wire::backend;
use headpond_wire::login::accept::{Accept, Ask as Heard, Challenge, TlsOffer};
use headpond_wire::session::{ClientState, Finished, Parameters};
use headpond_wire::startup::{Params, Replication, Startup, options as options_of};
use zeroize::Zeroizing;

use super::Worker;
use super::client::Phase;
use super::link::Acquired;
use super::server::Stage;
use crate::auth::hba::{IdentMap, Method, Origin, Transport, Wish};
use crate::auth::secrets::Stored;
use crate::cancel::Target;
use crate::catalog::{self, Database, Greeting, User};
use crate::config::AuthType;
use crate::control::Ask;
use crate::engine::{Engine, Peer};
use crate::fault::Fault;
use crate::tls::Tls;

/// The first byte of a TLS record with a handshake: a client that starts TLS without asking.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a login has gathered.
pub struct Login {
    /// The protocol's state.
    pub accept: Accept,
    /// The user's name, once known.
    pub user: String,
    /// The database's name, once known.
    pub database: String,
    /// auth_query runs, or waits for a server to run on.
    pub looking_up: bool,
    lookup_query: String,
    /// Credentials were right; only the welcome is missing.
    pub authenticated: bool,
    /// Any byte came.
    pub heard_anything: bool,
    startup: Option<Startup>,
    method: AuthType,
    map: Option<IdentMap>,
    waiting: bool,
    direct: bool,
    /// That the proof was right, which leaves with the welcome if that follows at once.
    unsent: Vec<u8>,
}

impl Login {
    /// A login that has heard nothing yet.
    #[must_use]
    pub fn new(accept: Accept) -> Self {
        Self {
            accept,
            user: String::new(),
            database: String::new(),
            looking_up: false,
            lookup_query: String::new(),
            authenticated: false,
            heard_anything: false,
            startup: None,
            method: AuthType::Md5,
            map: None,
            waiting: false,
            direct: false,
            unsent: Vec::new(),
        }
    }
}

impl<E: Engine> Worker<E> {
    fn login(&mut self, index: usize) -> &mut Login {
        match &mut self.clients[index].phase {
            Phase::Login(login) => login,
            _ => unreachable!("only called while logging in"),
        }
    }

    /// Bytes of a client that is not logged in.
    pub(super) fn pump_login(&mut self, index: usize, data: &[u8]) {
        let login = self.login(index);
        if !login.heard_anything && !data.is_empty() {
            login.heard_anything = true;
            let direct = data.first() == Some(&TLS_HANDSHAKE);
            if direct && self.clients[index].tls.is_none() && self.start_direct_tls(index) {
                self.on_client_bytes(index, data);
                return;
            }
        }
        let mut input = std::mem::take(&mut self.clients[index].held);
        input.extend_from_slice(data);
        let id = self.clients[index].id;
        let mut pos = 0;
        while !self.login(index).waiting {
            let mut out = Vec::new();
            let heard = self.login(index).accept.receive(&input[pos..], &mut out);
            if matches!(heard, Ok((_, Heard::Authenticated(_)))) {
                self.login(index).unsent = out;
            } else if !out.is_empty() {
                self.write_client(index, &out);
            }
            let step = match heard {
                Ok((used, heard)) => {
                    pos += used;
                    self.go_on(index, heard)
                }
                Err(error) if error.is_silent() => {
                    self.on_client_gone(index, "bad packet");
                    return;
                }
                Err(error) => Err(Fault::from(error)),
            };
            match step {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    self.fail_client(index, &fault);
                    return;
                }
            }
            let still = self.clients.get(index).is_some_and(|c| c.id == id);
            if !still {
                return;
            }
            if !matches!(self.clients[index].phase, Phase::Login(_)) {
                break;
            }
        }
        if self.clients.get(index).is_none_or(|c| c.id != id) {
            return;
        }
        let rest = input.split_off(pos);
        let client = &mut self.clients[index];
        if !rest.is_empty() {
            client.held = rest;
        }
        match client.phase {
            Phase::Login(_) | Phase::Canceling => self.arm_client(index),
            _ => self.resume(index),
        }
    }

    /// Goes on with a login that waited for somebody.
    pub(super) fn resume_login(&mut self, index: usize) {
        let login = self.login(index);
        login.waiting = false;
        if login.authenticated {
            match self.enter_pool(index) {
                Ok(true) => self.resume(index),
                Ok(false) => {}
                Err(fault) => self.fail_client(index, &fault),
            }
        } else {
            self.pump_login(index, &[]);
        }
    }

    /// Acts on what the login machine heard, and sees that the client hears all it is to hear.
    fn go_on(&mut self, index: usize, heard: Heard) -> Result<bool, Fault> {
        let step = self.on_heard(index, heard);
        self.send_unsent(index);
        step
    }

    /// Sends what was to leave with a welcome that does not follow at once.
    fn send_unsent(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Phase::Login(login) = &mut client.phase else { return };
        let unsent = std::mem::take(&mut login.unsent);
        if !unsent.is_empty() {
            self.write_client(index, &unsent);
        }
    }

    /// Acts on what the login machine heard; true to go on, false to wait for more.
    fn on_heard(&mut self, index: usize, heard: Heard) -> Result<bool, Fault> {
        match heard {
            Heard::NeedInput => Ok(false),
            Heard::Tls => {
                let config = self.view.client_tls.clone();
                let mut out = Vec::new();
                self.login(index).accept.tls_answer(config.is_some(), &mut out);
                self.write_client(index, &out);
                if let Some(config) = config {
                    let tls = Tls::accept(config)
                        .map_err(|_| Fault::Configuration("TLS cannot be started"))?;
                    self.clients[index].tls = Some(Box::new(tls));
                }
                Ok(true)
            }
            Heard::Cancel(request) => {
                self.on_cancel_request(index, &request);
                Ok(false)
            }
            Heard::Startup(startup) => self.on_startup(index, startup),
            Heard::PlainPassword(password) => self.on_plain_password(index, &password),
            Heard::Authenticated(keys) => self.on_authenticated(index, keys),
            Heard::Refused(failure) => Err(Fault::Authentication(failure.text())),
            Heard::Closed => {
                self.on_client_gone(index, "client close request");
                Ok(false)
            }
        }
    }

    fn start_direct_tls(&mut self, index: usize) -> bool {
        let is_unix = matches!(self.clients[index].peer, Peer::Unix { .. });
        let Some(config) = self.view.client_tls.clone().filter(|_| !is_unix) else { return false };
        let Ok(tls) = Tls::accept(config) else { return false };
        self.clients[index].tls = Some(Box::new(tls));
        let login = self.login(index);
        login.direct = true;
        login.accept = Accept::new(TlsOffer::Established);
        true
    }

    /// The TLS handshake with a client is over; false if the client had to be closed.
    pub(super) fn on_client_tls(&mut self, index: usize) -> bool {
        let tls = self.clients[index].tls.as_ref();
        let agreed = tls.is_some_and(|tls| tls.speaks_postgresql());
        let login = self.login(index);
        if !login.direct {
            login.accept.tls_established();
        } else if !agreed {
            self.on_client_gone(index, "direct TLS without ALPN");
            return false;
        }
        true
    }

    /// The startup packet: who asks for what.
    fn on_startup(&mut self, index: usize, startup: Startup) -> Result<bool, Fault> {
        let view = Arc::clone(&self.view);
        if startup.user().is_empty() {
            return Err(Fault::NoUserName);
        }
        let user = text(startup.user(), "user name")?;
        let database = text(startup.database(), "database name")?;
        let client = &self.clients[index];
        let is_unix = matches!(client.peer, Peer::Unix { .. });
        let tls = client.tls.is_some();
        if view.requires_client_tls() && !tls && !is_unix {
            return Err(Fault::TlsRequired);
        }
        let login = self.login(index);
        login.user.clone_from(&user);
        login.database.clone_from(&database);
        login.startup = Some(startup);
        self.log_login(index, &database, &user);
        if database == catalog::CONSOLE {
            return self.start_console(index);
        }
        if self.shared.phase() != super::RunPhase::Running {
            return Err(Fault::ShuttingDown);
        }
        self.check_startup_params(index)?;
        let max = view.config.global.max_client_conn;
        if !catalog::try_enter(&self.shared.clients, max) {
            return Err(Fault::TooManyClients("no more connections allowed (max_client_conn)"));
        }
        self.clients[index].admitted = true;
        // The database enters the catalog once the client is let in: names that strangers invent
        // would stay there.
        self.challenge(index)
    }

    fn check_startup_params(&mut self, index: usize) -> Result<(), Fault> {
        let view = Arc::clone(&self.view);
        let login = self.login(index);
        let startup = login.startup.as_ref().expect("set by on_startup");
        for (name, _) in &startup.params {
            let Ok(name) = std::str::from_utf8(name) else {
                return Err(Fault::StartupParameter("startup parameter is not UTF-8".into()));
            };
            if !view.accepts_startup_param(name) {
                let text = format!("unsupported startup parameter: {name}");
                return Err(Fault::StartupParameter(text));
            }
        }
        if view.ignores_options() {
            return Ok(());
        }
        let options = startup.get(b"options").unwrap_or_default();
        for (name, _) in options_of(options).map_err(Fault::from)? {
            let name = String::from_utf8_lossy(&name).into_owned();
            if !view.accepts_startup_param(&name) {
                let text = format!("unsupported startup parameter in options: {name}");
                return Err(Fault::StartupParameter(text));
            }
        }
        Ok(())
    }

    /// Which method applies to this client: `auth_type`, or the first HBA line that fits.
    fn method(&mut self, index: usize) -> Result<AuthType, Fault> {
        let view = Arc::clone(&self.view);
        if view.config.global.auth_type != AuthType::Hba {
            return Ok(view.config.global.auth_type);
        }
        let Some(rules) = &view.hba else { return Err(Fault::LoginRejected) };
        let client = &self.clients[index];
        let origin = match client.peer {
            Peer::Tcp(address) => Origin::Tcp {
                address: address.ip(),
                transport: if client.tls.is_some() { Transport::Tls } else { Transport::Plain },
            },
            Peer::Unix { .. } | Peer::Sim(_) => Origin::Unix,
        };
        let login = self.login(index);
        let startup = login.startup.as_ref().expect("set by on_startup");
        let physical = startup.replication().map_err(Fault::from)? == Some(Replication::Physical);
        let wish =
            if physical { Wish::Replication } else { Wish::Database(login.database.as_str()) };
        let decision = rules.decide(origin, wish, &login.user);
        let map = decision.map.cloned();
        Ok(match decision.method {
            Method::Trust => AuthType::Trust,
            Method::Password => AuthType::Plain,
            Method::Md5 => AuthType::Md5,
            Method::ScramSha256 => AuthType::ScramSha256,
            Method::Cert => {
                self.login(index).map = map;
                AuthType::Cert
            }
            Method::Peer if self.is_peer(index, map.as_ref()) => AuthType::Any,
            Method::Peer => return Err(Fault::Authentication("unix socket login rejected")),
            Method::Reject | Method::Ldap(_) => return Err(Fault::LoginRejected),
        })
    }

    /// Returns true if the unix user at the other end has the name it asks for.
    fn is_peer(&mut self, index: usize, map: Option<&IdentMap>) -> bool {
        let Peer::Unix { uid, .. } = self.clients[index].peer else { return false };
        let Some(name) = self.view.unix_user(uid) else { return false };
        is_mapped(map, &name, &self.login(index).user)
    }

    /// Finds the user's secret and asks the client to prove that it knows it.
    pub(super) fn challenge(&mut self, index: usize) -> Result<bool, Fault> {
        let method = self.method(index)?;
        self.login(index).method = method;
        let (user, database) = {
            let login = self.login(index);
            (login.user.clone(), login.database.clone())
        };
        let stored = self.view.secrets.get(&user).cloned();
        match (method, stored) {
            (AuthType::Any, _) => self.let_in(index),
            (AuthType::Cert, _) => {
                let map = self.login(index).map.take();
                let tls = self.clients[index].tls.as_ref();
                let name = tls.and_then(|tls| tls.peer_common_name());
                if name.is_some_and(|name| is_mapped(map.as_ref(), &name, &user)) {
                    self.let_in(index)
                } else {
                    Err(Fault::Authentication("certificate authentication failed"))
                }
            }
            (_, Some(stored)) => self.challenge_with(index, Some(&stored)),
            (_, None) => match self.shared.catalog.lookup_of(&database) {
                Some(lookup) => self.start_lookup(index, &lookup),
                None => self.challenge_with(index, None),
            },
        }
    }

    /// Asks for the proof that fits the method and the form of the stored secret.
    fn challenge_with(&mut self, index: usize, stored: Option<&Stored>) -> Result<bool, Fault> {
        let method = self.login(index).method;
        let scram = matches!(stored, Some(Stored::Scram(_)));
        let challenge = match (method, stored) {
            (AuthType::Trust, Some(_)) => return self.let_in(index),
            (AuthType::Trust, None) => {
                return Err(Fault::Authentication("\"trust\" authentication failed"));
            }
            (AuthType::Plain, _) => Challenge::Plain,
            (AuthType::Md5, _) if !scram => {
                let user = self.login(index).user.clone();
                let digest = stored.and_then(|stored| stored.md5_digits(&user));
                Challenge::Md5 { salt: random()?, digest }
            }
            (AuthType::Md5 | AuthType::ScramSha256, Some(Stored::Scram(text))) => {
                match scram::Secret::parse(text.reveal()) {
                    Some(secret) => self.scram(index, secret, true)?,
                    None => return Err(Fault::Authentication("wrong password type")),
                }
            }
            (AuthType::ScramSha256, Some(Stored::Plain(password))) => {
                let password = Zeroizing::new(password.reveal().as_bytes().to_vec());
                return self.scram_from_plain(index, password);
            }
            // An unknown user hears the same as a known one, and fails at the end.
            (AuthType::ScramSha256, None | Some(Stored::Md5(_) | Stored::Nothing)) => {
                let user = self.login(index).user.clone();
                let iterations = self.view.config.global.scram_iterations;
                let key = &self.view.mock_key;
                let mock = scram::Secret::mock(key, user.as_bytes(), iterations);
                self.scram(index, mock, false)?
            }
            _ => return Err(Fault::Configuration("no authentication method is found")),
        };
        match self.send_challenge(index, challenge) {
            // The proof may be in the input already.
            Heard::NeedInput => Ok(true),
            other => self.on_heard(index, other),
        }
    }

    fn scram(
        &mut self,
        index: usize,
        secret: scram::Secret,
        genuine: bool,
    ) -> Result<Challenge, Fault> {
        let tls = self.clients[index].tls.as_ref();
        let binding = tls.and_then(|tls| tls.server_end_point());
        Ok(Challenge::Scram { secret, genuine, nonce: random()?, binding })
    }

    fn scram_from_plain(
        &mut self,
        index: usize,
        password: Zeroizing<Vec<u8>>,
    ) -> Result<bool, Fault> {
        let name = self.login(index).user.clone();
        let user = self.shared.catalog.user(&name);
        if let Some(secret) = user.derived.load_full() {
            let challenge = self.scram(index, (*secret).clone(), true)?;
            let _needs_input = self.send_challenge(index, challenge);
            return Ok(true);
        }
        let (lane, caller) = (self.lane, self.caller(index));
        self.login(index).waiting = true;
        self.ask(Ask::Secret { lane, caller, user, password });
        Ok(false)
    }

    /// The control plane derived the SCRAM secret of a plain password.
    pub(super) fn on_client_secret(&mut self, caller: u64, secret: &scram::Secret) {
        let Some(index) = self.client_of(caller) else { return };
        if !matches!(self.clients[index].phase, Phase::Login(_)) {
            return;
        }
        match self.scram(index, secret.clone(), true) {
            Ok(challenge) => {
                let _needs_input = self.send_challenge(index, challenge);
                self.resume_login(index);
            }
            Err(fault) => self.fail_client(index, &fault),
        }
    }

    fn send_challenge(&mut self, index: usize, challenge: Challenge) -> Heard {
        let mut out = Vec::new();
        let ask = self.login(index).accept.challenge(challenge, &mut out);
        self.write_client(index, &out);
        ask
    }

    /// Lets a client in that needs no proof.
    pub(super) fn let_in(&mut self, index: usize) -> Result<bool, Fault> {
        let login = self.login(index);
        let heard = login.accept.challenge(Challenge::Trust, &mut login.unsent);
        self.go_on(index, heard)
    }

    fn on_plain_password(&mut self, index: usize, password: &[u8]) -> Result<bool, Fault> {
        let user = self.login(index).user.clone();
        let known = self.shared.catalog.known_user(&user);
        let looked_up = known.and_then(|user| user.looked_up.load_full());
        let stored = self.view.secrets.get(&user).cloned().or(looked_up.map(|s| (*s).clone()));
        let right = match &stored {
            None => false,
            Some(stored) => stored.is_password(&user, password),
        };
        if !right {
            return Err(Fault::Authentication("password authentication failed"));
        }
        let login = self.login(index);
        let heard = login.accept.accept_plain(&mut login.unsent);
        self.go_on(index, heard)
    }

    /// The client is who it says it is.
    fn on_authenticated(&mut self, index: usize, keys: Option<scram::Keys>) -> Result<bool, Fault> {
        let login = self.login(index);
        login.authenticated = true;
        if login.database == catalog::CONSOLE {
            self.send_unsent(index);
            return self.enter_console(index);
        }
        let (name, user) = (login.database.clone(), login.user.clone());
        let database =
            self.shared.catalog.database(&name).ok_or(Fault::NoDatabase(name.clone()))?;
        if database.disabled.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Fault::DatabaseDisabled(name));
        }
        let startup = self.login(index).startup.as_ref().expect("set by on_startup");
        let replication = startup.replication().map_err(Fault::from)?;
        let pool = self.shared.catalog.pool(&database, &user, replication);
        // The keys of one user open nothing for the user that an entry puts in its place.
        if let Some(keys) = keys
            && pool.key.user == user
        {
            pool.credentials.lock().scram = Some(keys);
        }
        let user = self.shared.catalog.user(&user);
        self.count_in(index, &database, user)?;
        pool.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.clients[index].pool = Some(pool);
        self.enter_pool(index)
    }

    fn count_in(
        &mut self,
        index: usize,
        database: &Database,
        user: Arc<User>,
    ) -> Result<(), Fault> {
        let config = &self.view.config;
        let by_database = config.max_db_client_connections(&database.spec.load());
        if !catalog::try_enter(&database.clients, by_database) {
            let text = "client connections exceeded (max_db_client_connections)";
            return Err(Fault::TooManyClients(text));
        }
        if !catalog::try_enter(&user.clients, config.max_user_client_connections(&user.name)) {
            catalog::leave(&database.clients);
            let text = "client connections exceeded (max_user_client_connections)";
            return Err(Fault::TooManyClients(text));
        }
        self.clients[index].user = Some(user);
        Ok(())
    }

    /// Sends the welcome, or waits for the first server of the pool to bring it.
    fn enter_pool(&mut self, index: usize) -> Result<bool, Fault> {
        let pool = Arc::clone(self.clients[index].pool());
        let Some(greeting) = pool.welcome.load_full() else {
            return match self.acquire(index, false)? {
                Acquired::Here(server) => {
                    self.return_unused(server);
                    self.enter_pool(index)
                }
                Acquired::Later => {
                    self.login(index).waiting = true;
                    Ok(false)
                }
            };
        };
        let startup = self.login(index).startup.as_ref().expect("set by on_startup");
        let long = startup.protocol >= (3, 2);
        let target = Target { lane: self.lane, caller: self.caller(index) };
        let (pid, key) = self
            .shared
            .cancels
            .issue(target, long)
            .map_err(|_| Fault::Configuration("no random bytes"))?;
        self.clients[index].key_pid = pid;
        let settings = pool.settings.load();
        let mut out = std::mem::take(&mut self.login(index).unsent);
        let parameters = self.tell(index, &greeting, &mut out);
        backend::backend_key_data(&mut out, pid, key.bytes());
        let notice = &self.view.config.global.login_notify_message;
        if !notice.is_empty() {
            super::console::notice(&mut out, notice);
        }
        backend::ready_for_query(&mut out, Status::Idle);
        self.write_client(index, &out);
        let client = &mut self.clients[index];
        client.session = Some(ClientState::new(parameters));
        client.phase = Phase::Ready;
        client.request_at = self.now;
        pool.stats[usize::from(self.lane.0)].logins.add(1);
        self.watch_idle_client(&settings);
        Ok(true)
    }

    /// Tells a client the values that it is to have: the server's, its entry's, its own.
    fn tell(&mut self, index: usize, greeting: &Greeting, out: &mut Vec<u8>) -> Parameters {
        let view = Arc::clone(&self.view);
        let peer = self.clients[index].peer;
        let startup = self.login(index).startup.as_ref().expect("set by on_startup");
        let add_host = view.config.global.application_name_add_host;
        let extra = add_host.then_some(|wanted: &mut Params| {
            catalog::add_host(wanted, &peer.to_string());
        });
        // What is ignored at startup is ignored here.
        greeting.tell(out, &startup.params, !view.ignores_options(), extra)
    }

    /// Runs auth_query for a login over the pool of auth_user.
    fn start_lookup(&mut self, index: usize, lookup: &catalog::Lookup) -> Result<bool, Fault> {
        if lookup.database.disabled.load(std::sync::atomic::Ordering::Relaxed) {
            let text = "authentication database is disabled";
            return Err(Fault::Configuration(text));
        }
        let pool = self.shared.catalog.pool(&lookup.database, &lookup.user, None);
        let login = self.login(index);
        login.waiting = true;
        login.looking_up = true;
        login.lookup_query.clone_from(&lookup.query);
        self.clients[index].pool = Some(pool);
        match self.acquire(index, false)? {
            Acquired::Here(server) => self.run_lookup(index, server),
            Acquired::Later => {}
        }
        Ok(false)
    }

    /// Sends auth_query on a server that was acquired for it.
    pub(super) fn run_lookup(&mut self, index: usize, place: usize) {
        self.assert_reusable(place);
        let login = self.login(index);
        let (query, user) = (login.lookup_query.clone(), login.user.clone());
        let server = &mut self.servers[place];
        server.client = Some(index);
        server.stage = Stage::Linked;
        server.uses += 1;
        server.request_at = self.now;
        self.clients[index].server = Some(place);
        let mut out = Vec::new();
        // Nothing that the client sent reaches this server but its name, as a bound value.
        self.servers[place].session().begin_lookup(query.as_bytes(), user.as_bytes(), &mut out);
        self.write_server(place, &out);
        self.arm_server(place);
    }

    /// auth_query answered.
    pub(super) fn on_lookup_done(&mut self, place: usize, finished: Finished) {
        let client = self.servers[place].client.take();
        self.finish_drain(place);
        let Some(index) = client else { return };
        self.clients[index].server = None;
        self.clients[index].pool = None;
        let login = self.login(index);
        login.looking_up = false;
        let user = login.user.clone();
        let stored = match lookup_result(finished, &user) {
            Ok(stored) => stored,
            Err(text) => {
                self.log_client(index, crate::log::Level::Warning, text);
                self.fail_client(index, &Fault::Configuration("bouncer config error"));
                return;
            }
        };
        let known = match &stored {
            Some(_) => Some(self.shared.catalog.user(&user)),
            // A name that nobody has is not kept.
            None => self.shared.catalog.known_user(&user),
        };
        if let Some(known) = known {
            known.looked_up.store(stored.clone().map(Arc::new));
        }
        match self.challenge_with(index, stored.as_ref()) {
            Ok(true) => self.resume_login(index),
            Ok(false) => {}
            Err(fault) => self.fail_client(index, &fault),
        }
    }
}

fn is_mapped(map: Option<&IdentMap>, system: &str, user: &str) -> bool {
    match map {
        Some(map) => map.allows(system, user),
        None => system == user,
    }
}

fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Configuration("no random bytes"))?;
    Ok(bytes)
}

fn text(bytes: &[u8], what: &str) -> Result<String, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Fault::Protocol(format!("{what} is not UTF-8"))),
    }
}

/// Reads the row of auth_query: the user's name and secret.
fn lookup_result(finished: Finished, user: &str) -> Result<Option<Stored>, &'static str> {
    if finished.error.is_some() {
        return Err("error response from auth_query");
    }
    let Some(row) = finished.row else { return Ok(None) };
    let [name, secret] = row.as_slice() else {
        return Err("expected 2 columns from auth_query");
    };
    let Some(name) = name else { return Err("auth_query response contained null user name") };
    if name.as_slice() != user.as_bytes() {
        return Err("auth_query returned another user");
    }
    let Some(secret) = secret else { return Ok(None) };
    let Ok(secret) = std::str::from_utf8(secret) else {
        return Err("unexpected response from auth_query");
    };
    Ok(Some(Stored::from_text(secret)))
}
