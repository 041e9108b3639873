//! A pooler around the relay in a few lines: clients, model servers, and chance in between.
//!
//! Invariant: bytes of a direction stay in order; how they are cut, when they move, and which
//! idle server a client gets is decided by a seed.
//! Not here: what clients send (`script.rs`), what must hold (`laws.rs`).

use alloc::sync::Arc;
use std::cell::RefCell;
use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

use super::backend::Backend;
use crate::backend::Status;
use crate::error::ProtocolError;
use crate::session::cache::Whose;
use crate::session::pipeline::{Action, Kind, Owed};
use crate::session::reuse::reusable;
use crate::session::{
    ClientState, Context, Internal, Interner, Linked, Mode, Orphan, Parameters, ServerState,
    Settings, Staged, Statement, Step, Tracked, Violation, from_client, from_server, link, orphan,
    part,
};

/// A mistake planted on purpose, to see that the laws find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Give a server away at the first ReadyForQuery.
    ReleaseAtFirstReady,
    /// Give a server away inside a transaction.
    ReleaseInTransaction,
    /// Owe a ReadyForQuery for a Sync that the server ignores.
    OweForSyncInCopy,
    /// After an error skip to the next Query instead of the next Sync.
    SkipToQuery,
    /// Do not parse the unnamed statement again.
    KeepUnnamed,
    /// Do not apply the client's parameters.
    NoSettle,
    /// Believe that a server has all statements.
    TrustCache,
    /// Send on what must be dropped.
    ForwardDiscarded,
    /// Do not take back what a failed batch changed.
    NoUndo,
}

/// Small, fast, and the same everywhere.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// A number of bytes from 1 to `most`: often few, often all.
    fn piece(&mut self, most: usize) -> usize {
        match self.below(4) {
            0 => 1,
            1 => most,
            _ => 1 + self.below(most),
        }
    }
}

#[derive(Default)]
pub struct Statements(RefCell<HashMap<Vec<u8>, Arc<Statement>>>);

impl Interner for Statements {
    fn intern(&self, parse: &[u8]) -> Arc<Statement> {
        let mut all = self.0.borrow_mut();
        let id = all.len() as u64 + 1;
        let new = || Arc::new(Statement::new(id, parse));
        Arc::clone(all.entry(parse.to_vec()).or_insert_with(new))
    }
}

pub struct Client {
    pub state: ClientState,
    pub script: Vec<u8>,
    sent: usize,
    /// Where it waits for answers.
    stops: Vec<usize>,
    held: Vec<u8>,
    pub output: Vec<u8>,
    server: Option<usize>,
    waiting: bool,
    pub closed: bool,
    vanishes: bool,
    pub interrupted: bool,
}

pub struct Server {
    pub state: ServerState,
    pub backend: Backend,
    to_backend: Vec<u8>,
    held: Vec<u8>,
    client: Option<usize>,
    draining: bool,
}

pub struct World {
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    pub settings: Settings,
    statements: Statements,
    tracked: Arc<Tracked>,
    chance: Chance,
    mutant: Option<Mutant>,
    pub drained: usize,
    pub closed: usize,
    pub switches: usize,
    pub settled: usize,
}

pub const DEFAULTS: [(&str, &str); 5] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
    ("application_name", ""),
];

pub fn settings() -> Settings {
    Settings {
        mode: Mode::Transaction,
        statements_max: 2,
        share_unnamed: false,
        simple_query_allowed: true,
        message_max: 0,
        statement_bytes_max: 4096,
    }
}

fn pairs<'a>(list: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    list.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

impl Client {
    /// How far it may send now.
    fn reach(&self) -> usize {
        self.stops.first().copied().unwrap_or(self.script.len())
    }

    fn can_send(&self) -> bool {
        !self.closed && !self.waiting && self.held.len() < 8192 && self.sent < self.reach()
    }
}

impl World {
    pub fn new(settings: Settings, servers: usize, seed: u64, mutant: Option<Mutant>) -> Self {
        let tracked = Tracked::standard();
        let mut world = Self {
            clients: Vec::new(),
            servers: Vec::new(),
            settings,
            statements: Statements::default(),
            tracked,
            chance: Chance::new(seed),
            mutant,
            drained: 0,
            closed: 0,
            switches: 0,
            settled: 0,
        };
        for _ in 0..servers {
            let server = world.new_server();
            world.servers.push(server);
        }
        world
    }

    pub fn add_client(&mut self, name: &str, script: Vec<u8>, stops: Vec<usize>, vanishes: bool) {
        let wanted = Parameters::new(&self.tracked, pairs(&DEFAULTS))
            .with(b"application_name", name.as_bytes());
        self.clients.push(Client {
            state: ClientState::new(wanted),
            script,
            sent: 0,
            stops,
            held: Vec::new(),
            output: Vec::new(),
            server: None,
            waiting: false,
            closed: false,
            vanishes,
            interrupted: false,
        });
    }

    /// What the same script gets from a backend of its own.
    pub fn dedicated(name: &str, script: &[u8]) -> Backend {
        let mut backend = Backend::new(&DEFAULTS);
        backend.settings.insert("application_name".into(), name.into());
        backend.receive(script);
        backend
    }

    fn new_server(&self) -> Server {
        Server {
            state: ServerState::new(&self.tracked, pairs(&DEFAULTS), Status::Idle),
            backend: Backend::new(&DEFAULTS),
            to_backend: Vec::new(),
            held: Vec::new(),
            client: None,
            draining: false,
        }
    }

    /// Lets everything happen that can happen.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..200_000 {
            let mut possible = Vec::new();
            for (i, client) in self.clients.iter().enumerate() {
                let leaves = client.vanishes && client.sent == client.script.len();
                if client.can_send() || (leaves && !client.closed) {
                    possible.push((0, i));
                }
                if !client.closed && !client.held.is_empty() && client.waiting {
                    possible.push((1, i));
                }
            }
            let mut live = false;
            for (i, server) in self.servers.iter().enumerate() {
                if !server.to_backend.is_empty() && !server.backend.dead {
                    possible.push((2, i));
                    live = true;
                }
                if !server.backend.output.is_empty() || server.backend.dead {
                    possible.push((3, i));
                    live = true;
                }
            }
            if !live && possible.iter().all(|(what, _)| *what == 1) {
                let before: usize = self.clients.iter().map(|c| c.held.len()).sum();
                for i in 0..self.clients.len() {
                    self.pump_client(i)?;
                }
                let after: usize = self.clients.iter().map(|c| c.held.len()).sum();
                let moved = self.servers.iter().any(|s| !s.to_backend.is_empty())
                    || self.clients.iter().any(|c| c.can_send());
                if before == after && !moved {
                    let mut goes_on = false;
                    for client in self.clients.iter_mut().filter(|c| !c.closed) {
                        if client.stops.first() == Some(&client.sent) && client.held.is_empty() {
                            client.stops.remove(0);
                            goes_on = true;
                        }
                    }
                    if !goes_on {
                        return self.at_rest();
                    }
                }
                continue;
            }
            match possible[self.chance.below(possible.len())] {
                (0, i) => self.client_sends(i)?,
                (1, i) => self.pump_client(i)?,
                (2, i) => {
                    let server = &mut self.servers[i];
                    let n = self.chance.piece(server.to_backend.len());
                    let bytes: Vec<u8> = server.to_backend.drain(..n).collect();
                    server.backend.receive(&bytes);
                }
                (_, i) => self.server_sends(i)?,
            }
        }
        Err("it never ends".into())
    }

    /// Nothing moves any more: nothing may be left over.
    fn at_rest(&self) -> Result<(), String> {
        for (i, client) in self.clients.iter().enumerate() {
            if !client.closed && (client.sent < client.script.len() || !client.held.is_empty()) {
                return Err(std::format!("client {i} is stuck: {:?}", client.held));
            }
        }
        for (i, server) in self.servers.iter().enumerate() {
            if server.draining {
                return Err(std::format!("server {i} drains for ever: {:?}", server.state));
            }
            let (has, known) = (server.backend.statements(), server.state.statements());
            if self.settings.tracks_statements() && has != known {
                return Err(std::format!("server {i} has {has} statements, not {known}"));
            }
        }
        Ok(())
    }

    fn client_sends(&mut self, i: usize) -> Result<(), String> {
        let client = &mut self.clients[i];
        if client.sent == client.script.len() {
            client.closed = true;
            if let Some(server) = client.server.take() {
                return self.orphan(server);
            }
            return Ok(());
        }
        let n = self.chance.piece(client.reach() - client.sent);
        client.held.extend_from_slice(&client.script[client.sent..client.sent + n]);
        client.sent += n;
        self.pump_client(i)
    }

    fn orphan(&mut self, k: usize) -> Result<(), String> {
        let server = &mut self.servers[k];
        server.client = None;
        match orphan(&mut server.state) {
            Orphan::Close(_) => {
                self.closed += 1;
                self.servers[k] = self.new_server();
                Ok(())
            }
            Orphan::Idle | Orphan::Draining => {
                self.drained += 1;
                server.draining = true;
                self.after_server(k)
            }
        }
    }

    fn pump_client(&mut self, i: usize) -> Result<(), String> {
        let mut staged = Staged::default();
        self.clients[i].waiting = false;
        loop {
            let client = &mut self.clients[i];
            if client.held.is_empty() || client.closed {
                return Ok(());
            }
            let mut server = client.server.map(|k| &mut self.servers[k]);
            let mut cx = Context {
                settings: &self.settings,
                statements: &self.statements,
                staged: &mut staged,
            };
            if self.mutant == Some(Mutant::OweForSyncInCopy)
                && let Some(server) = server.as_mut()
                && server.state.copy.awaits_client()
                && client.held[0] == b'S'
            {
                server.state.owed.push(Owed::new(Kind::Sync, Action::Forward));
            }
            let state = server.as_mut().map(|s| &mut s.state);
            let step = match from_client(&mut client.state, state, &client.held, &mut cx) {
                Ok(step) => step,
                Err(Violation::Protocol(ProtocolError::UnexpectedFrontend(_))) => {
                    client.closed = true;
                    client.interrupted = true;
                    if let Some(k) = client.server.take() {
                        self.servers[k] = self.new_server();
                    }
                    return Ok(());
                }
                Err(violation) => return Err(std::format!("client {i}: {violation}")),
            };
            client.output.append(&mut staged.to_client);
            if let Some(server) = &mut server {
                server.to_backend.append(&mut staged.to_server);
            }
            assert!(staged.to_server.is_empty(), "staged for a server that is not there");
            match step {
                Step::Forward(n) => {
                    assert!(n > 0 && n <= client.held.len());
                    let bytes: Vec<u8> = client.held.drain(..n).collect();
                    server.expect("forwarded to a server").to_backend.extend(bytes);
                }
                Step::Swallow(n) => {
                    assert!(n > 0 && n <= client.held.len());
                    client.held.drain(..n);
                }
                Step::NeedServer => {
                    assert!(client.server.is_none());
                    if !self.find_server(i) {
                        self.clients[i].waiting = true;
                        return Ok(());
                    }
                }
                Step::NeedInput(n) => {
                    assert!(n > client.held.len(), "asked for what is there");
                    return Ok(());
                }
                Step::Full => {
                    client.waiting = true;
                    return Ok(());
                }
                Step::End => {
                    client.closed = true;
                    if let Some(k) = client.server.take() {
                        return self.orphan(k);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn find_server(&mut self, i: usize) -> bool {
        let idle: Vec<usize> = (0..self.servers.len())
            .filter(|k| {
                let server = &self.servers[*k];
                server.client.is_none() && !server.draining && !server.backend.dead
            })
            .collect();
        if idle.is_empty() {
            return false;
        }
        let k = idle[self.chance.below(idle.len())];
        let (client, server) = (&mut self.clients[i], &mut self.servers[k]);
        if self.mutant.is_none() {
            assert_eq!(reusable(&server.state.evidence()), Ok(()), "asserted at hand-out");
        }
        client.server = Some(k);
        server.client = Some(i);
        self.switches += 1;
        if self.mutant == Some(Mutant::NoSettle) {
            server.state.parameters = client.state.parameters.clone();
        }
        if self.mutant == Some(Mutant::KeepUnnamed)
            && let Some(serial) = client.state.prepared.as_ref().and_then(|p| p.unnamed.live())
        {
            server.state.unnamed.done(crate::session::unnamed::Owner::Own(serial));
        }
        if self.mutant == Some(Mutant::TrustCache) {
            for statement in self.statements.0.borrow().values() {
                let at = server.state.batch.position();
                server.state.cache.parse_sent(statement, at, Whose::Client);
                server.state.cache.done(statement.id(), true);
            }
        }
        let mut staged = Staged::default();
        let mut cx =
            Context { settings: &self.settings, statements: &self.statements, staged: &mut staged };
        let linked = link(&mut client.state, &mut server.state, &mut cx);
        self.settled += usize::from(linked == Linked::Settling);
        server.to_backend.append(&mut staged.to_server);
        true
    }

    fn server_sends(&mut self, k: usize) -> Result<(), String> {
        let server = &mut self.servers[k];
        if server.backend.output.is_empty() {
            // Dead, and all it said was heard.
            let client = server.client;
            self.servers[k] = self.new_server();
            if let Some(i) = client {
                self.clients[i].server = None;
                self.clients[i].closed = true;
            }
            return Ok(());
        }
        let n = self.chance.piece(server.backend.output.len());
        let bytes: Vec<u8> = server.backend.output.drain(..n).collect();
        server.held.extend(bytes);
        self.pump_server(k)?;
        self.after_server(k)
    }

    fn pump_server(&mut self, k: usize) -> Result<(), String> {
        let mut staged = Staged::default();
        loop {
            let server = &mut self.servers[k];
            if server.held.is_empty() {
                return Ok(());
            }
            let mut client = server.client.map(|i| &mut self.clients[i]);
            let mut cx = Context {
                settings: &self.settings,
                statements: &self.statements,
                staged: &mut staged,
            };
            if self.mutant == Some(Mutant::SkipToQuery) && server.held[0] == b'E' {
                server.state.owed.forget_before_query();
            }
            if self.mutant == Some(Mutant::NoUndo) && server.held[0] == b'E' {
                server.state.owed.forget_undos();
            }
            let state = client.as_mut().map(|c| &mut c.state);
            let step = from_server(&mut server.state, state, &server.held, &mut cx);
            if step.is_err() && server.draining {
                self.closed += 1;
                self.servers[k] = self.new_server();
                return Ok(());
            }
            if let Err(
                Violation::Protocol(ProtocolError::UnexpectedFrontend(_))
                | Violation::TransactionInStatementMode,
            ) = step
            {
                // The client interrupted its own COPY, over which a server ends the session, too;
                // or it opened a transaction where it must not.
                let client = client.expect("a client that did something");
                client.output.append(&mut staged.to_client);
                client.closed = true;
                client.interrupted = true;
                client.server = None;
                self.servers[k] = self.new_server();
                return Ok(());
            }
            let step = step.map_err(|violation| std::format!("server {k}: {violation}"))?;
            server.to_backend.append(&mut staged.to_server);
            if let Some(client) = &mut client {
                client.output.append(&mut staged.to_client);
            }
            assert!(staged.to_client.is_empty(), "staged for a client that is not there");
            match step {
                Step::Forward(n) => {
                    let bytes: Vec<u8> = server.held.drain(..n).collect();
                    assert!(n > 0);
                    client.expect("forwarded to a client").output.extend(bytes);
                }
                Step::Swallow(n) => {
                    assert!(n > 0);
                    let bytes: Vec<u8> = server.held.drain(..n).collect();
                    if self.mutant == Some(Mutant::ForwardDiscarded)
                        && bytes.len() == 5
                        && let Some(client) = client
                    {
                        client.output.extend(bytes);
                    }
                }
                Step::NeedInput(n) => {
                    assert!(n > server.held.len(), "asked for what is there");
                    return Ok(());
                }
                other => panic!("a server cannot cause {other:?}"),
            }
        }
    }

    fn after_server(&mut self, k: usize) -> Result<(), String> {
        let server = &mut self.servers[k];
        if let Some(finished) = server.state.take_internal() {
            match finished.error {
                None => {}
                Some(error) => return Err(std::format!("internal query failed: {error}")),
            }
        }
        let at_rest = match self.mutant {
            Some(Mutant::ReleaseAtFirstReady) => {
                server.state.left == 0
                    && server.held.is_empty()
                    && server.state.status == Status::Idle
                    && server.state.internal.is_none()
            }
            Some(Mutant::ReleaseInTransaction) => server.state.is_settled(),
            _ => server.state.is_settled() && server.state.status() == Status::Idle,
        };
        if at_rest
            && self.settings.mode != Mode::Session
            && let Some(i) = server.client
        {
            if self.mutant.is_none() {
                assert_eq!(reusable(&server.state.evidence()), Ok(()));
            }
            part(&mut self.clients[i].state, &mut server.state);
            self.clients[i].server = None;
            server.client = None;
        } else if server.draining && server.state.is_settled() {
            if server.state.status() == Status::Idle {
                assert_eq!(reusable(&server.state.evidence()), Ok(()));
                server.draining = false;
            } else {
                let out = &mut server.to_backend;
                server.state.begin_internal(Internal::Rollback, b"rollback", out);
            }
        }
        Ok(())
    }
}
