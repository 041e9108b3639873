//! One worker: a thread that owns its sockets and turns their events into bytes for others.
//!
//! Invariant: within a turn `now` does not change; busy servers belong to the worker, idle ones to
//! the pool's bookkeeping; whatever an event makes necessary later in the turn is queued in
//! `todo`, so that no handler is ever entered twice.
//! Not here: what the bytes mean (`headpond_wire`), who gets which server (`headpond_core`).

mod accept;
mod cancel;
pub mod client;
mod console;
mod deadline;
mod link;
mod login;
pub mod mailbox;
mod newcomer;
mod notice;
mod open;
mod output;
mod post;
mod relay;
mod release;
pub mod server;
mod shared;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Weak};

use headpond_core::{Command, ConnId, Lane, Timestamp};
use headpond_wire::session::Staged;
use slab::Slab;

pub use self::shared::{Load, RunPhase, Shared};
use crate::catalog::{Pool, View};
use crate::control::Mail;
use crate::engine::{Engine, Event, Socket, Token};
use client::Client;
use server::Server;

/// Later than everything.
pub const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// Input kept for a client that waits, beyond which its socket is not read: the back-pressure.
const HELD_MAX: usize = 16 * 1024;

/// What must happen later in the same turn.
enum Todo {
    /// Carry out a command of a pool's core.
    Command(Arc<Pool>, Command),
    /// Go on with a client's held input.
    Resume(usize, u32),
    /// A budget has room again for this pool.
    Feed(Arc<Pool>),
}

/// Where output runs together before it is written.
#[derive(Default)]
struct Scratch {
    staged: Staged,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    cipher: Vec<u8>,
    plain: Vec<u8>,
}

/// One worker.
pub struct Worker<E: Engine> {
    lane: Lane,
    engine: E,
    shared: Arc<Shared<E>>,
    view: Arc<View>,
    now: Timestamp,
    clients: Slab<Box<Client>>,
    servers: Slab<Box<Server>>,
    cancels: Slab<cancel::Link>,
    /// pool number → connection index → server index plus one.
    conns: Vec<Vec<u32>>,
    generation: u32,
    events: Vec<Event<E::Handle>>,
    mail: Vec<Mail<E>>,
    todo: VecDeque<Todo>,
    scratch: Scratch,
    timers: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// pool number → the pool that has timers here, if it still exists.
    timed: Vec<Weak<Pool>>,
    sweep_at: Timestamp,
    listeners: Vec<accept::Listener>,
    accept_again: Timestamp,
    line: newcomer::Line<E::Handle>,
    load: shared::Meter,
    stopping: bool,
}

const KIND_LISTENER: u64 = 0;
const KIND_CLIENT: u64 = 1;
const KIND_SERVER: u64 = 2;
const KIND_CANCEL: u64 = 3;

fn token(kind: u64, index: usize) -> Token {
    (kind << 56) | index as u64
}

fn split(token: Token) -> (u64, usize) {
    (token >> 56, (token & 0x00ff_ffff_ffff_ffff) as usize)
}

impl<E: Engine> Worker<E> {
    /// Makes a worker; `shared` must have a mailbox for its lane.
    pub fn new(lane: Lane, mut engine: E, shared: Arc<Shared<E>>) -> Self {
        let now = engine.now();
        let view = shared.catalog.view();
        Self {
            lane,
            engine,
            shared,
            view,
            now,
            clients: Slab::new(),
            servers: Slab::new(),
            cancels: Slab::new(),
            conns: Vec::new(),
            generation: 0,
            events: Vec::new(),
            mail: Vec::new(),
            todo: VecDeque::new(),
            scratch: Scratch::default(),
            timers: BinaryHeap::new(),
            timed: Vec::new(),
            sweep_at: NEVER,
            listeners: Vec::new(),
            accept_again: NEVER,
            line: newcomer::Line::default(),
            load: shared::Meter::default(),
            stopping: false,
        }
    }

    /// Runs turns until told to stop.
    ///
    /// # Errors
    /// The engine cannot wait for events any more.
    pub fn run(&mut self) -> std::io::Result<()> {
        while !self.stopping {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn: wait, handle what came, fire what is due.
    ///
    /// # Errors
    /// The engine cannot wait for events any more.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let until = self.next_deadline();
        let mut events = std::mem::take(&mut self.events);
        let waited = self.engine.wait(until, &mut events);
        self.now = self.engine.now();
        for event in events.drain(..) {
            if let Some(index) = self.stranger_of(&event) {
                self.line_up(index, event);
                continue;
            }
            self.handle(event);
            self.finish_todo();
        }
        self.events = events;
        waited?;
        self.read_mail();
        self.finish_todo();
        self.fire_deadlines();
        self.finish_todo();
        self.serve_line();
        self.measure_load();
        Ok(())
    }

    /// Returns true once the worker was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The engine, for tests that drive it.
    pub fn engine(&mut self) -> &mut E {
        &mut self.engine
    }

    /// Returns whether an event is for the socket that the index means now. One turn's events
    /// come together: an earlier one may have closed this socket, or given its place to another.
    fn is_current(&self, token: Token, socket: Socket) -> bool {
        match split(token) {
            (KIND_CLIENT, index) => self.clients.get(index).is_some_and(|c| c.socket == socket),
            (KIND_SERVER, index) => self.socket_of(index) == Some(socket),
            (_, index) => self.cancels.get(index).is_some_and(|c| c.socket == socket),
        }
    }

    fn handle(&mut self, event: Event<E::Handle>) {
        let of = match &event {
            Event::Read { token, socket, .. }
            | Event::ReadFailed { token, socket, .. }
            | Event::Written { token, socket, .. }
            | Event::Connected { token, socket, .. } => Some((*token, *socket)),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => None,
        };
        if of.is_some_and(|(token, socket)| !self.is_current(token, socket)) {
            return;
        }
        match event {
            Event::Accepted { token, handle, peer, local } => {
                self.on_accepted(split(token).1, handle, peer, local);
            }
            Event::AcceptFailed { token, error } => self.on_accept_failed(split(token).1, &error),
            Event::Read { token, data, .. } => match split(token) {
                (KIND_CLIENT, index) => self.on_client_bytes(index, &data),
                (KIND_SERVER, index) => self.on_server_bytes(index, &data),
                (_, index) => self.on_cancel_bytes(index, &data),
            },
            Event::ReadFailed { token, error, .. } => match split(token) {
                (KIND_CLIENT, index) => self.on_client_gone(index, "client unexpected eof"),
                (KIND_SERVER, index) => self.on_server_gone(index, Some(&error)),
                // Whether the server has acted on it nobody knows.
                (_, index) => self.end_cancel(index, true),
            },
            Event::Written { token, result, .. } => match split(token) {
                (KIND_CLIENT, index) => self.on_client_written(index, result.is_ok()),
                (KIND_SERVER, index) => self.on_server_written(index, result.is_ok()),
                (_, index) if result.is_err() => self.end_cancel(index, false),
                _ => {}
            },
            Event::Connected { token, result, .. } => match split(token) {
                (KIND_SERVER, index) => self.on_connected(index, result),
                (_, index) => self.on_cancel_connected(index, result),
            },
            Event::Woken => {}
        }
    }

    fn finish_todo(&mut self) {
        while let Some(next) = self.todo.pop_front() {
            match next {
                Todo::Command(pool, command) => self.carry_out(&pool, command),
                Todo::Resume(index, generation) => {
                    let client = self.clients.get(index).filter(|c| c.generation == generation);
                    match client.map(|client| &client.phase) {
                        // A command came together with the end of its login.
                        Some(client::Phase::Admin(_)) => self.pump_console(index, &[]),
                        Some(_) => self.pump_client(index, &[]),
                        None => {}
                    }
                }
                Todo::Feed(pool) => {
                    self.with_core(&pool, |core, now, _| core.budget_available(now));
                }
            }
        }
    }

    /// Runs a verb of a pool's core and queues the commands that it leads to.
    fn with_core<R>(
        &mut self,
        pool: &Arc<Pool>,
        verb: impl FnOnce(&mut headpond_core::PoolCore, Timestamp, Lane) -> R,
    ) -> R {
        let mut core = pool.core.lock();
        let result = verb(&mut core, self.now, self.lane);
        let has_idle = core.counts().idle > 0;
        if has_idle
            && (pool.database.budget.is_owed_room(pool) || pool.user.budget.is_owed_room(pool))
        {
            core.evict_oldest_idle(self.now);
        }
        while let Some(command) = core.poll_command() {
            self.todo.push_back(Todo::Command(Arc::clone(pool), command));
        }
        let timeout = core.poll_timeout();
        drop(core);
        if let Some(at) = timeout {
            self.arm_pool(pool, at);
        }
        result
    }

    /// Sends a command to the worker that it concerns, or carries it out here.
    fn carry_out(&mut self, pool: &Arc<Pool>, command: Command) {
        let at = match &command {
            Command::Open { .. } => self.lane,
            Command::Check { lane, .. }
            | Command::Reset { lane, .. }
            | Command::Close { lane, .. }
            | Command::Refuse { lane, .. } => *lane,
            Command::Grant { home, .. } => *home,
        };
        if at != self.lane {
            self.shared.post(at, Mail::Command { pool: Arc::clone(pool), command });
            return;
        }
        match command {
            Command::Open { conn } => self.open_server(pool, conn),
            Command::Check { conn, .. } => self.check_server(pool, conn),
            Command::Reset { conn, .. } => self.reset_server(pool, conn),
            Command::Close { conn, reason, .. } => self.close_slot(pool, conn, reason),
            Command::Grant { caller, lane, conn, .. } => self.grant(pool, conn, lane, caller),
            Command::Refuse { caller, refusal, .. } => self.refuse(pool, caller, refusal),
        }
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// The server that holds a slot here.
    fn server_of(&self, pool: &Pool, conn: ConnId) -> Option<usize> {
        let row = self.conns.get(pool.id as usize)?;
        let index = (*row.get(conn.index())?).checked_sub(1)? as usize;
        let server = self.servers.get(index)?;
        (server.conn == conn && server.pool.id == pool.id).then_some(index)
    }

    fn remember_conn(&mut self, pool: &Pool, conn: ConnId, index: usize) {
        let id = pool.id as usize;
        if self.conns.len() <= id {
            self.conns.resize_with(id + 1, Vec::new);
        }
        let row = &mut self.conns[id];
        if row.len() <= conn.index() {
            row.resize(conn.index() + 1, 0);
        }
        row[conn.index()] = u32::try_from(index + 1).expect("fewer servers than 2^32");
    }

    fn forget_conn(&mut self, pool: &Pool, conn: ConnId) {
        if let Some(place) =
            self.conns.get_mut(pool.id as usize).and_then(|row| row.get_mut(conn.index()))
        {
            *place = 0;
        }
    }

    /// What a client is called in a pool's queue: its place and its generation.
    fn caller(&self, index: usize) -> u64 {
        (u64::from(self.clients[index].generation) << 32) | index as u64
    }

    fn client_of(&self, caller: u64) -> Option<usize> {
        let index = (caller & 0xffff_ffff) as usize;
        let client = self.clients.get(index)?;
        (u64::from(client.generation) == caller >> 32).then_some(index)
    }

    fn server_ref(&self, index: usize) -> u64 {
        (u64::from(self.servers[index].generation) << 32) | index as u64
    }

    fn server_by_ref(&self, reference: u64) -> Option<usize> {
        let index = (reference & 0xffff_ffff) as usize;
        let server = self.servers.get(index)?;
        (u64::from(server.generation) == reference >> 32).then_some(index)
    }

    fn socket_of(&self, index: usize) -> Option<Socket> {
        self.servers.get(index).and_then(|s| s.socket)
    }
}
