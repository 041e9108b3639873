//! A PostgreSQL that the simulation plays: it lets sessions in, runs what they are sent, takes its
//! time, hears cancel requests, and fails when told to.
//!
//! Invariant: a session counts from its startup packet until this side has seen its end.
//! Not here: what a session answers (`session.rs`), when things fail (`chaos.rs`).

mod harm;
mod inside;
mod login;

use std::collections::BTreeMap;
use std::time::Duration;

use headpond_core::Timestamp;
use headpond_pooler::engine::Address;
use headpond_pooler::engine::sim::{Endpoint, Listener, Net, Received};
use headpond_wire::Status;
use headpond_wire::login::accept::{Accept, TlsOffer};
use headpond_wire::startup::{CancelRequest, Startup};

use crate::ledger::Ledger;
use crate::plan::{Proof, Times};
use crate::random::Dice;
use crate::session::{Run, Session, Settings, TRACKED};
use crate::tag::Tag;
use inside::Inside;

/// So long the pooler waits for the end of a backend that it has dropped, or a little longer.
const CLOSE_WAIT: Duration = Duration::from_millis(4900);

/// How a server treats those who come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It lets them in.
    Up,
    /// It is starting: 57P03.
    Starting,
    /// It has no room: 53300.
    Crowded,
    /// It does not believe their passwords: 28P01.
    Strict,
    /// It says nothing.
    Mute,
}

/// What a timer of a server is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// A statement has had its time.
    Thought(u64, u32),
    /// A cancel connection may be closed.
    CancelOver(u64),
}

/// What a session's statement is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thought {
    None,
    Running(Run),
    Over,
    Cancelled,
}

enum Stage {
    Login(Box<Accept>, Option<Startup>),
    Session(Box<Session>),
    Cancel,
    Over,
}

/// Ends a connection after so many more bytes.
#[derive(Clone, Copy)]
pub struct Doom {
    pub after: usize,
    pub reset: bool,
}

struct Conn {
    end: Option<Endpoint>,
    stage: Stage,
    input: Vec<u8>,
    pid: i32,
    key: [u8; 4],
    database: String,
    user: String,
    thought: Thought,
    serial: u32,
    doom: Option<Doom>,
    /// Since when the pooler waits for its end.
    ending_at: Option<Timestamp>,
    /// The network took it: this side knows nothing of it, and it does not count.
    lost: bool,
}

/// One server.
pub struct Postgres {
    pub address: Address,
    listener: Option<Listener>,
    pub mood: Mood,
    pub defaults: Settings,
    eager: bool,
    proof: Proof,
    times: Times,
    conns: BTreeMap<u64, Conn>,
    dice: Dice,
    next_pid: i32,
}

/// What a server needs of the world.
pub struct Around<'a> {
    pub net: &'a Net,
    pub ledger: &'a mut Ledger,
    /// Alarms to set: after how long, and what.
    pub alarms: &'a mut Vec<(Duration, Alarm)>,
    /// Sessions that logged in just now: database and user.
    pub arrived: &'a mut Vec<(String, String)>,
    /// Whether a client's connection has been closed by the pooler, though it may not know yet.
    pub is_leaving: &'a dyn Fn(u32) -> bool,
}

impl Postgres {
    /// A server that listens.
    pub fn new(net: &Net, address: Address, mut dice: Dice, proof: Proof, times: Times) -> Self {
        let zones = ["GMT", "Europe/Vienna", "Asia/Tokyo"];
        let values = ["", *dice.pick(&zones), "ISO, MDY", "UTF8", "on", "postgres"];
        let defaults = TRACKED.iter().copied().zip(values.map(str::to_owned)).collect();
        let listener = net.listen(&address);
        let next_pid = i32::try_from(dice.within(1, 1 << 20)).expect("a small number") * 1000;
        Self {
            address,
            listener,
            mood: Mood::Up,
            defaults,
            eager: dice.one_in(2),
            proof,
            times,
            conns: BTreeMap::new(),
            dice,
            next_pid,
        }
    }

    /// Whether this listener is this server's.
    pub fn listens(&self, id: u64) -> bool {
        self.listener.as_ref().is_some_and(|listener| listener.id() == id)
    }

    /// Whether this end is this server's.
    pub fn has(&self, id: u64) -> bool {
        self.conns.contains_key(&id)
    }

    /// Stops listening, or listens again.
    pub fn set_listening(&mut self, net: &Net, listening: bool) {
        match (listening, self.listener.is_some()) {
            (true, false) => self.listener = net.listen(&self.address),
            (false, true) => self.listener = None,
            _ => {}
        }
    }

    /// Takes its time from now on.
    pub fn set_times(&mut self, times: Times) {
        self.times = times;
    }

    /// Accepts whoever waits.
    pub fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        while let Some(end) = listener.accept() {
            self.next_pid += 1;
            let mut key = [0; 4];
            key.copy_from_slice(&self.dice.bits().to_be_bytes()[..4]);
            let conn = Conn {
                stage: Stage::Login(Box::new(Accept::new(TlsOffer::Disabled)), None),
                input: Vec::new(),
                pid: self.next_pid,
                key,
                database: String::new(),
                user: String::new(),
                thought: Thought::None,
                serial: 0,
                doom: None,
                ending_at: None,
                lost: false,
                end: None,
            };
            let id = end.id();
            self.conns.insert(id, Conn { end: Some(end), ..conn });
        }
    }

    /// How many sessions there are for a database, a user, or both.
    pub fn sessions(&self, now: Timestamp, database: Option<&str>, user: Option<&str>) -> usize {
        let counts = |conn: &&Conn| {
            !conn.lost
                && conn.ending_at.is_none_or(|since| now.since(since) < CLOSE_WAIT)
                && matches!(conn.stage, Stage::Session(_))
                && database.is_none_or(|name| conn.database == name)
                && user.is_none_or(|name| conn.user == name)
        };
        self.conns.values().filter(counts).count()
    }

    /// An alarm went off.
    pub fn alarm(&mut self, alarm: Alarm, around: &mut Around<'_>) {
        match alarm {
            Alarm::Thought(id, serial) => {
                let Some(conn) = self.conns.get_mut(&id) else { return };
                if conn.serial == serial && matches!(conn.thought, Thought::Running(_)) {
                    if conn.end.as_ref().is_none_or(Endpoint::is_abandoned) {
                        // Its answer goes nowhere, and that is how a backend learns of it.
                        self.ended(id, around);
                        return;
                    }
                    conn.thought = Thought::Over;
                    self.go_on(id, &[], around);
                    self.turn(id, around);
                }
            }
            Alarm::CancelOver(id) => drop(self.conns.remove(&id)),
        }
    }

    /// Something came for a connection.
    pub fn turn(&mut self, id: u64, around: &mut Around<'_>) {
        loop {
            let most = self.dice.within(1, 9000);
            let Some(conn) = self.conns.get_mut(&id) else { return };
            if conn.end.as_ref().is_some_and(Endpoint::is_ending) {
                conn.ending_at.get_or_insert(around.net.now());
            }
            if conn.lost || matches!(conn.stage, Stage::Session(ref s) if s.is_busy()) {
                return;
            }
            if self.mood == Mood::Mute && matches!(conn.stage, Stage::Login(..)) {
                return;
            }
            let Some(end) = &conn.end else { return };
            match end.read(most) {
                Received::Data(bytes) => self.heard(id, &bytes, around),
                Received::Nothing => return,
                Received::End | Received::Reset => {
                    self.ended(id, around);
                    return;
                }
            }
        }
    }

    fn ended(&mut self, id: u64, around: &mut Around<'_>) {
        let Some(conn) = self.conns.remove(&id) else { return };
        around.ledger.note(|| format!("backend {} saw the end", conn.pid));
        around.ledger.transaction_lost(conn.pid);
    }

    fn heard(&mut self, id: u64, bytes: &[u8], around: &mut Around<'_>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match conn.stage {
            Stage::Login(..) => {
                conn.input.extend_from_slice(bytes);
                self.login(id, around);
            }
            Stage::Session(_) => self.go_on(id, bytes, around),
            Stage::Cancel | Stage::Over => {}
        }
    }

    /// Lets a session go on with what it has, and with more bytes.
    fn go_on(&mut self, id: u64, bytes: &[u8], around: &mut Around<'_>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Session(session) = &mut conn.stage else {
            if matches!(conn.stage, Stage::Over) {
                self.conns.remove(&id);
            }
            return;
        };
        let mut inside = Inside {
            ledger: around.ledger,
            alarms: around.alarms,
            dice: &mut self.dice,
            times: &self.times,
            id,
            pid: conn.pid,
            thought: &mut conn.thought,
            serial: &mut conn.serial,
        };
        session.receive(bytes, &mut inside);
        let out = std::mem::take(&mut session.out);
        let dead = session.dead;
        self.write(id, &out, around);
        if dead {
            self.ended(id, around);
        }
    }

    /// Writes, as far as the connection is not doomed.
    fn write(&mut self, id: u64, bytes: &[u8], around: &mut Around<'_>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(end) = &conn.end else { return };
        let Some(doom) = &mut conn.doom else {
            end.write(bytes);
            return;
        };
        let part = bytes.len().min(doom.after);
        end.write(&bytes[..part]);
        doom.after -= part;
        if doom.after == 0 {
            self.kill(id, around);
        }
    }

    fn cancel(&mut self, request: &CancelRequest, around: &mut Around<'_>) {
        let found = self.conns.iter().find(|(_, conn)| conn.pid == request.pid);
        let Some((id, conn)) = found.map(|(id, conn)| (*id, conn)) else { return };
        if conn.key.as_slice() != request.key.as_slice() {
            around.ledger.violation(format!("a cancel for {} with a wrong key", request.pid));
            return;
        }
        let pid = conn.pid;
        let Thought::Running(run) = conn.thought else {
            around.ledger.note(|| format!("a cancel finds backend {pid} idle"));
            return;
        };
        let is_meant = match run.tag {
            Some(Tag { client, .. }) => {
                around.ledger.has_wish(client)
                    || around.ledger.is_gone(client)
                    || (around.is_leaving)(client)
            }
            // A rollback for a client that vanished may be cut short: the server is closed then.
            None => matches!(&conn.stage, Stage::Session(s) if s.status != Status::Idle),
        };
        around.ledger.note(|| format!("a cancel hits {run:?} at backend {pid}"));
        if !is_meant {
            around.ledger.violation(format!("a cancel hit {run:?} at {pid}, which nobody asked"));
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.thought = Thought::Cancelled;
        }
        self.go_on(id, &[], around);
        self.turn(id, around);
    }

    /// Looks at all connections again.
    pub fn wake(&mut self, around: &mut Around<'_>) {
        let all: Vec<u64> = self.conns.keys().copied().collect();
        for id in all {
            self.turn(id, around);
        }
    }
}
