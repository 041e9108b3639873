//! A PostgreSQL that the simulation plays: it lets sessions in, runs what they are sent, takes its
//! time, hears cancel requests, and fails when told to.
//!
//! Invariant: a session counts from its startup packet until this side has seen its end.
//! Not here: what a session answers (`session.rs`), when things fail (`chaos.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use headpond_core::Timestamp;
use headpond_pooler::engine::Address;
use headpond_pooler::engine::sim::{Endpoint, Listener, Net, Received};
use headpond_wire::auth::{md5, scram};
use headpond_wire::backend::{self, Notice, Status};
use headpond_wire::login::accept::{Accept, Ask, Challenge, TlsOffer};
use headpond_wire::startup::{CancelRequest, Startup};
use headpond_wire::{Severity, SqlState};

use crate::ledger::Ledger;
use crate::plan::{Proof, Times, password_of, secret_of};
use crate::random::Dice;
use crate::session::{Fate, Host, Output, Run, Session, Settings, TRACKED};
use crate::tag::Tag;

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

/// What came of a startup packet.
enum Challenged {
    Refused,
    Asked,
    In,
}

#[expect(clippy::large_enum_variant, reason = "a test; most are sessions, which are boxed")]
enum Stage {
    Login(Accept, Option<Startup>),
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

struct Inside<'a> {
    ledger: &'a mut Ledger,
    alarms: &'a mut Vec<(Duration, Alarm)>,
    dice: &'a mut Dice,
    times: &'a Times,
    id: u64,
    pid: i32,
    thought: &'a mut Thought,
    serial: &'a mut u32,
}

impl Host for Inside<'_> {
    fn fate(&mut self, run: Run) -> Fate {
        match std::mem::replace(self.thought, Thought::None) {
            Thought::None => {
                let time = self.times.draw(self.dice);
                if time.is_zero() {
                    return Fate::Run;
                }
                *self.serial += 1;
                *self.thought = Thought::Running(run);
                self.alarms.push((time, Alarm::Thought(self.id, *self.serial)));
                Fate::Wait
            }
            Thought::Running(of) => {
                *self.thought = Thought::Running(of);
                Fate::Wait
            }
            Thought::Over => Fate::Run,
            Thought::Cancelled => {
                if run.tag.is_some() {
                    self.ledger.cancelled(run);
                }
                Fate::Cancelled
            }
        }
    }

    fn ran(&mut self, run: Run, before: Status, after: Status) {
        if let (Some(owner), Some(tag)) = (self.ledger.owner(self.pid), run.tag)
            && owner != tag.client
        {
            let pid = self.pid;
            self.ledger.violation(format!("{tag} ran in client {owner}'s transaction at {pid}"));
        }
        if run.tag.is_none() && after == Status::Idle {
            // The pooler ended a transaction: whoever had it must be gone.
            if let Some(owner) = self.ledger.owner(self.pid).filter(|_| before != Status::Idle) {
                self.ledger.note(|| format!("the transaction of client {owner} was rolled back"));
            }
            self.ledger.transaction_lost(self.pid);
        }
        self.ledger.ran(self.pid, run, before, after);
    }

    fn copied(&mut self, of: Option<Tag>, row: &[u8]) {
        let text = String::from_utf8_lossy(row).into_owned();
        let tag = Tag::parse(text.split_whitespace().next().unwrap_or_default());
        if tag != of {
            self.ledger.violation(format!("copy data {text:?} of {tag:?} went into {of:?}"));
        }
    }

    fn broken(&mut self, text: String) {
        let pid = self.pid;
        self.ledger.violation(format!("backend {pid} was sent garbage: {text}"));
    }
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
                stage: Stage::Login(Accept::new(TlsOffer::Disabled), None),
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

    fn login(&mut self, id: u64, around: &mut Around<'_>) {
        let mut out = Vec::new();
        loop {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let Stage::Login(accept, startup) = &mut conn.stage else { break };
            let input = std::mem::take(&mut conn.input);
            let (used, ask) = match accept.receive(&input, &mut out) {
                Ok(heard) => heard,
                Err(error) => {
                    around.ledger.violation(format!("a server login broke the protocol: {error}"));
                    conn.stage = Stage::Over;
                    break;
                }
            };
            conn.input = input[used..].to_vec();
            match ask {
                Ask::NeedInput => break,
                Ask::Startup(found) => {
                    conn.user = String::from_utf8_lossy(found.user()).into_owned();
                    conn.database = String::from_utf8_lossy(found.database()).into_owned();
                    *startup = Some(found);
                    match self.challenge(id, &mut out) {
                        Challenged::Asked => {}
                        Challenged::Refused => break,
                        Challenged::In => {
                            self.welcome(id, &mut out, around);
                            break;
                        }
                    }
                }
                Ask::PlainPassword(given) => {
                    if given.as_slice() == password_of(&conn.user).as_bytes() {
                        accept.accept_plain(&mut out);
                        self.welcome(id, &mut out, around);
                    } else {
                        around.ledger.violation(format!("wrong password for {}", conn.user));
                        conn.stage = Stage::Over;
                    }
                    break;
                }
                Ask::Authenticated(_) => {
                    self.welcome(id, &mut out, around);
                    break;
                }
                Ask::Refused(_) => {
                    around.ledger.violation(format!("wrong proof for {}", conn.user));
                    conn.stage = Stage::Over;
                    break;
                }
                Ask::Cancel(request) => {
                    conn.stage = Stage::Cancel;
                    let wait = self.times.cancel(&mut self.dice);
                    if let Some(wait) = wait {
                        around.alarms.push((wait, Alarm::CancelOver(id)));
                    }
                    self.cancel(&request, around);
                    break;
                }
                Ask::Tls | Ask::Closed => break,
            }
        }
        self.write(id, &out, around);
        self.go_on(id, &[], around);
    }

    /// Asks for a proof, or turns somebody away, or lets him in.
    fn challenge(&mut self, id: u64, out: &mut Vec<u8>) -> Challenged {
        let Some(conn) = self.conns.get_mut(&id) else { return Challenged::Refused };
        let Stage::Login(accept, _) = &mut conn.stage else { return Challenged::Refused };
        let refusal: Option<(&[u8; 5], &str)> = match self.mood {
            Mood::Starting => Some((b"57P03", "the database system is starting up")),
            Mood::Crowded => Some((b"53300", "sorry, too many clients already")),
            Mood::Strict => Some((b"28P01", "password authentication failed")),
            Mood::Up | Mood::Mute => None,
        };
        if let Some((code, text)) = refusal {
            let code = SqlState::from_bytes(code).expect("five letters");
            accept.refuse(&Notice::new(Severity::Fatal, code, text), out);
            conn.stage = Stage::Over;
            return Challenged::Refused;
        }
        let mut salt = [0; 4];
        salt.copy_from_slice(&self.dice.bits().to_be_bytes()[..4]);
        let challenge = match self.proof {
            Proof::Trust => Challenge::Trust,
            Proof::Plain => Challenge::Plain,
            Proof::Md5 => {
                let stored =
                    md5::digest_password(conn.user.as_bytes(), password_of(&conn.user).as_bytes());
                Challenge::Md5 { salt, digest: md5::digits(stored.as_bytes()) }
            }
            Proof::Scram => {
                let secret = scram::Secret::parse(&secret_of(&conn.user)).expect("made by us");
                let mut nonce = [b'n'; 18];
                nonce[..8].copy_from_slice(&self.dice.bits().to_be_bytes());
                Challenge::Scram { secret, genuine: true, nonce, binding: None }
            }
        };
        match accept.challenge(challenge, out) {
            Ask::Authenticated(_) => Challenged::In,
            _ => Challenged::Asked,
        }
    }

    fn welcome(&mut self, id: u64, out: &mut Vec<u8>, around: &mut Around<'_>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Login(_, Some(startup)) = &conn.stage else { return };
        let mut settings = self.defaults.clone();
        for (name, value) in &startup.params {
            let known = TRACKED.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
            if let Some(known) = known {
                settings.insert(known, String::from_utf8_lossy(value).into_owned());
            }
        }
        for (name, value) in &settings {
            backend::parameter_status(out, name.as_bytes(), value.as_bytes());
        }
        backend::parameter_status(out, b"server_version", b"15.0");
        backend::backend_key_data(out, conn.pid, &conn.key);
        backend::ready_for_query(out, Status::Idle);
        conn.stage = Stage::Session(Box::new(Session::new(settings, Output::Held, self.eager)));
        around.ledger.tally.sessions += 1;
        if conn.end.as_ref().is_none_or(Endpoint::is_abandoned) {
            // Whoever called has given up: this session ends as soon as it hears of that.
            conn.lost = true;
            conn.end = None;
            conn.stage = Stage::Over;
            return;
        }
        around.arrived.push((conn.database.clone(), conn.user.clone()));
        let pid = conn.pid;
        around.ledger.note(|| format!("backend {pid} starts"));
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

    /// Ends a connection as its doom says.
    fn kill(&mut self, id: u64, around: &mut Around<'_>) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        around.ledger.note(|| format!("backend {} is killed", conn.pid));
        around.ledger.transaction_lost(conn.pid);
        let reset = conn.doom.is_some_and(|doom| doom.reset);
        match conn.end.take() {
            Some(end) if reset => end.reset(),
            Some(end) => end.close(),
            None => {}
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

    fn any_session(&mut self) -> Option<u64> {
        let sessions: Vec<u64> = self
            .conns
            .iter()
            .filter(|(_, conn)| !conn.lost && !matches!(conn.stage, Stage::Over))
            .map(|(id, _)| *id)
            .collect();
        if sessions.is_empty() { None } else { Some(*self.dice.pick(&sessions)) }
    }

    /// Ends some connection at some byte.
    pub fn doom(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        let after = if self.dice.one_in(3) { 0 } else { self.dice.below(400) };
        let doom = Doom { after, reset: self.dice.one_in(2) };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.doom = Some(doom);
        let pid = conn.pid;
        around.ledger.fault(|| format!("backend {pid} ends after {after} bytes"));
        if after == 0 {
            self.kill(id, around);
        }
    }

    /// Ends some session as an administrator does.
    pub fn terminate(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Session(session) = &mut conn.stage else { return };
        session.die(b"57P01", "terminating connection due to administrator command");
        let pid = conn.pid;
        around.ledger.fault(|| format!("backend {pid} is terminated"));
        let out = std::mem::take(&mut session.out);
        self.write(id, &out, around);
        self.ended(id, around);
    }

    /// Breaks some connection on its way: both ends hear of it.
    pub fn cut(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        around.net.cut(id);
        self.lose(id, around, "cut");
    }

    /// Silences some connection: nobody ever hears of it.
    pub fn silence(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        around.net.silence(id);
        self.lose(id, around, "silent");
    }

    fn lose(&mut self, id: u64, around: &mut Around<'_>, how: &str) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.lost = true;
        conn.end = None;
        conn.stage = Stage::Over;
        let pid = conn.pid;
        around.ledger.fault(|| format!("backend {pid} is {how}"));
        around.ledger.transaction_lost(pid);
    }

    /// Looks at all connections again.
    pub fn wake(&mut self, around: &mut Around<'_>) {
        let all: Vec<u64> = self.conns.keys().copied().collect();
        for id in all {
            self.turn(id, around);
        }
    }

    /// Says something unasked in some session, or changes a setting under it.
    pub fn volunteer(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        let zone = *self.dice.pick(&["GMT", "Europe/Vienna", "Asia/Tokyo"]);
        let changes = self.dice.one_in(3);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let owner = around.ledger.owner(conn.pid);
        let Stage::Session(session) = &mut conn.stage else { return };
        if !session.is_waiting() {
            return;
        }
        if changes {
            let pid = conn.pid;
            around.ledger.note(|| format!("backend {pid} is reconfigured: {zone}"));
            session.reconfigure("TimeZone", zone);
            session.report();
            session.volunteer(|_| {});
        } else {
            let whose = owner.map_or_else(|| "nobody".into(), |owner| format!("[c{owner}.0]"));
            let text = format!("unasked, for {whose}");
            let notice = Notice::new(Severity::Notice, SqlState::SUCCESS, &text);
            session.volunteer(|out| backend::notice_response(out, &notice));
        }
        let out = std::mem::take(&mut session.out);
        self.write(id, &out, around);
    }
}
