//! A client that the simulation plays, and the judge of every byte it is sent.
//!
//! Invariant: what comes is compared with what a session of its own would answer, in order, to
//! the byte; whatever else may come (notices, reported parameters, errors of the pooler) must be
//! this client's, and have its reason.
//! Not here: what it asks (`script.rs`).

mod judge;
mod login;

use std::collections::VecDeque;
use std::time::Duration;

use headpond_pooler::engine::Address;
use headpond_pooler::engine::sim::{Endpoint, Net, Phase as Link, Received};
use headpond_wire::backend::ErrorFields;
use headpond_wire::login::connect::Connect;
use headpond_wire::{frame, frontend};

use crate::ledger::Ledger;
use crate::plan::{Plan, Proof};
use crate::random::Dice;
use crate::script::{Act, Author};
use crate::session::Session;

/// What a timer of a client is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// It may go on.
    GoOn(usize),
    /// It reads again.
    Hear(usize),
}

/// What a client needs of the world.
pub struct Around<'a> {
    pub net: &'a Net,
    pub plan: &'a Plan,
    pub ledger: &'a mut Ledger,
    pub address: &'a Address,
    pub alarms: &'a mut Vec<(Duration, Alarm)>,
    /// Cancel connections to open: whose, and the request.
    pub cancels: &'a mut Vec<(u32, Vec<u8>)>,
}

enum Phase {
    /// Before its first life, or between two.
    Resting,
    Asking,
    Login(Box<Connect>),
    Ready,
    /// It has said goodbye, or heard that it has to go.
    Leaving,
    Over,
}

/// Who a client claims to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    Right,
    WrongPassword,
    NoDatabase,
}

/// One client, through all its lives.
pub struct Client {
    place: usize,
    /// Its number in this life.
    pub id: u32,
    lives: usize,
    phase: Phase,
    end: Option<Endpoint>,
    input: Vec<u8>,
    claim: Claim,
    user: &'static str,
    /// Messages sent and not yet given to the reference.
    asked: VecDeque<Vec<u8>>,
    /// What has to come next.
    expected: VecDeque<(u8, Vec<u8>)>,
    reference: Option<Session>,
    /// The pooler has refused a batch whose end was not sent yet.
    rejected: bool,
    acts: VecDeque<Act>,
    key: Option<(i32, Vec<u8>)>,
    resting: bool,
    deaf: bool,
    /// The pooler or a server has said that this is the end.
    fatal: Option<ErrorFields>,
    dice: Dice,
}

impl Client {
    /// A client that has not connected.
    pub fn new(place: usize, lives: usize, mut dice: Dice) -> Self {
        Self {
            place,
            id: 0,
            lives,
            phase: Phase::Resting,
            end: None,
            input: Vec::new(),
            claim: Claim::Right,
            user: "",
            asked: VecDeque::new(),
            expected: VecDeque::new(),
            reference: None,
            rejected: false,
            acts: VecDeque::new(),
            key: None,
            resting: true,
            deaf: false,
            fatal: None,
            dice: dice.split(),
        }
    }

    /// It will not come back.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether this end is this client's.
    pub fn has(&self, id: u64) -> bool {
        self.end.as_ref().is_some_and(|end| end.id() == id)
    }

    /// The number of its end of the connection.
    pub fn end(&self) -> Option<u64> {
        self.end.as_ref().map(Endpoint::id)
    }

    /// Whether the other side has closed already, though this one may not know yet.
    pub fn is_left(&self) -> bool {
        self.end.as_ref().is_none_or(Endpoint::is_abandoned)
    }

    /// How it stands, for whoever wonders why it is not over.
    pub fn describe(&self) -> String {
        let phase = match self.phase {
            Phase::Resting => "resting",
            Phase::Asking => "asking for TLS",
            Phase::Login(_) => "logging in",
            Phase::Ready => "ready",
            Phase::Leaving => "leaving",
            Phase::Over => "over",
        };
        format!(
            "client {} is {phase}, next {:?}, {} messages unanswered, expects {:?}, fatal {:?}",
            self.id,
            self.acts.front().map(|act| format!("{act:?}").chars().take(60).collect::<String>()),
            self.asked.len(),
            self.expected.front().map(|(tag, _)| char::from(*tag)),
            self.fatal.as_ref().map(|fatal| fatal.text().into_owned()),
        )
    }

    /// An alarm of its own went off.
    pub fn alarm(&mut self, alarm: Alarm, next_id: &mut u32, around: &mut Around<'_>) {
        match alarm {
            Alarm::GoOn(_) => self.resting = false,
            Alarm::Hear(_) => self.deaf = false,
        }
        if matches!(self.phase, Phase::Resting) && !self.resting {
            self.begin_life(next_id, around);
        }
        self.turn(around);
    }

    fn begin_life(&mut self, next_id: &mut u32, around: &mut Around<'_>) {
        *next_id += 1;
        self.id = *next_id;
        self.lives -= 1;
        around.ledger.tally.clients += 1;
        self.user = *self.dice.pick(around.plan.users.as_slice());
        self.claim = match self.dice.below(60) {
            0 if around.plan.client_proof != Proof::Trust => Claim::WrongPassword,
            1 => Claim::NoDatabase,
            _ => Claim::Right,
        };
        let end = around.net.connect(around.address);
        let (place, id, number) = (self.place, self.id, end.id());
        around.ledger.note(|| format!("client {id} begins at place {place}, end {number}"));
        self.asked.clear();
        self.expected.clear();
        self.input.clear();
        (self.fatal, self.reference, self.key) = (None, None, None);
        self.rejected = false;
        self.acts = Author::new(around.plan, &mut self.dice, self.id).write();
        let mut hello = Vec::new();
        if self.dice.one_in(60) {
            // Somebody who does not speak the protocol, or says nothing at all.
            if self.dice.one_in(2) {
                end.write(&[0, 0, 0, 9, b'G', b'E', b'T', b' ', b'/', b'\n', b'\n']);
            }
            end.close();
            self.end_life(around);
            return;
        }
        if self.dice.one_in(3) {
            frontend::ssl_request(&mut hello);
            self.phase = Phase::Asking;
        } else {
            self.start_login(&mut hello, around);
        }
        end.write(&hello);
        self.end = Some(end);
    }

    /// It is over with this life; perhaps there is another.
    fn end_life(&mut self, around: &mut Around<'_>) {
        self.end = None;
        around.ledger.gone(self.id);
        let id = self.id;
        around.ledger.note(|| format!("client {id} is over"));
        if self.lives == 0 {
            self.phase = Phase::Over;
            return;
        }
        self.phase = Phase::Resting;
        self.resting = true;
        let pause = self.dice.up_to(Duration::from_millis(200));
        around.alarms.push((pause, Alarm::GoOn(self.place)));
    }

    /// Does what there is to do.
    pub fn turn(&mut self, around: &mut Around<'_>) {
        self.read(around);
        self.act(around);
    }

    fn read(&mut self, around: &mut Around<'_>) {
        while !self.deaf {
            let Some(end) = &self.end else { return };
            if end.phase() == Link::Refused {
                around.ledger.violation(format!("client {} was refused a connection", self.id));
                self.end_life(around);
                return;
            }
            match end.read(self.dice.within(1, 20_000)) {
                Received::Data(bytes) => {
                    self.input.extend_from_slice(&bytes);
                    self.understand(around);
                }
                Received::Nothing => return,
                Received::End => {
                    self.ended(around);
                    return;
                }
                Received::Reset => {
                    self.end_life(around);
                    return;
                }
            }
        }
    }

    /// The pooler closed in order: there must have been a reason, and it must have been told.
    fn ended(&mut self, around: &mut Around<'_>) {
        // The server died inside a message, or this client did not take what it was told.
        let may_be = around.plan.limits || around.ledger.tally.faults > 0;
        let is_inside = may_be && !self.input.is_empty();
        let is_excused = is_inside || self.end.as_ref().is_some_and(Endpoint::is_cut_short);
        match &self.phase {
            Phase::Leaving => {}
            Phase::Ready | Phase::Login(_) if is_excused => {}
            Phase::Ready | Phase::Login(_) | Phase::Asking => {
                let text = self.describe();
                around.ledger.violation(format!("closed without a word: {text}"));
            }
            Phase::Resting | Phase::Over => {}
        }
        self.end_life(around);
    }

    fn understand(&mut self, around: &mut Around<'_>) {
        if matches!(self.phase, Phase::Asking) {
            match self.input.first() {
                Some(b'N') => {
                    self.input.remove(0);
                    let mut out = Vec::new();
                    self.start_login(&mut out, around);
                    self.write(&out);
                }
                // Whoever is told to go may be told so at any time.
                Some(b'E') => {
                    self.acts.clear();
                    self.phase = Phase::Ready;
                }
                _ => {
                    let id = self.id;
                    around.ledger.violation(format!("client {id} asked for TLS and got more"));
                }
            }
        }
        if matches!(self.phase, Phase::Login(_)) {
            self.log_in(around);
        }
        while !matches!(self.phase, Phase::Login(_) | Phase::Asking) {
            let found = match frame::whole(&self.input, u32::MAX >> 2) {
                Ok(Some(found)) => (found.tag, found.body.to_vec(), found.total),
                Ok(None) => return,
                Err(error) => {
                    around.ledger.violation(format!("client {} got garbage: {error}", self.id));
                    self.input.clear();
                    return;
                }
            };
            let (tag, body, total) = found;
            self.input.drain(..total);
            self.judge(tag, &body, around);
        }
    }

    fn write(&self, bytes: &[u8]) {
        if let Some(end) = &self.end {
            end.write(bytes);
        }
    }

    fn act(&mut self, around: &mut Around<'_>) {
        while matches!(self.phase, Phase::Ready) && !self.resting {
            let Some(act) = self.acts.front().cloned() else { break };
            if matches!(act, Act::Await) && !self.is_answered(around.ledger) {
                return;
            }
            self.acts.pop_front();
            self.perform(act, around);
        }
    }

    fn perform(&mut self, act: Act, around: &mut Around<'_>) {
        let id = self.id;
        match act {
            Act::Await => {}
            Act::Send(bytes) => {
                around.ledger.note(|| format!("client {id} sends {}", outline(&bytes)));
                if bytes.windows(6).any(|word| word == b"crash ") {
                    around.ledger.fault(|| format!("client {id} crashes its server"));
                }
                self.write(&bytes);
                let mut rest = bytes.as_slice();
                while let Ok(Some(found)) = frame::whole(rest, u32::MAX >> 2) {
                    let (message, tail) = rest.split_at(found.total);
                    self.asked.push_back(message.to_vec());
                    rest = tail;
                }
                self.skip_rejected();
            }
            Act::Pause(pause) => {
                self.resting = true;
                around.alarms.push((pause, Alarm::GoOn(self.place)));
            }
            Act::Deaf(pause) => {
                self.deaf = true;
                around.alarms.push((pause, Alarm::Hear(self.place)));
            }
            Act::Cancel => {
                if let Some((pid, key)) = &self.key {
                    let mut request = Vec::new();
                    frontend::cancel_request(&mut request, *pid, key);
                    around.cancels.push((id, request));
                }
            }
            Act::Goodbye => {
                let mut goodbye = Vec::new();
                frontend::terminate(&mut goodbye);
                self.write(&goodbye);
                around.ledger.gone(id);
                self.phase = Phase::Leaving;
                if self.dice.one_in(2) {
                    self.end_life(around);
                }
            }
            Act::Close => self.end_life(around),
            Act::Reset => {
                if let Some(end) = self.end.take() {
                    end.reset();
                }
                self.end_life(around);
            }
            Act::Half(bytes) => {
                self.write(&bytes);
                self.end_life(around);
            }
        }
    }
}

/// What a few bytes of a client are, in one line.
fn outline(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Ok(Some(found)) = frame::whole(rest, u32::MAX >> 2) {
        text.push(char::from(found.tag));
        let body = &found.body[..found.body.len().min(40)];
        let words: String =
            body.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { ' ' }).collect();
        if !words.trim().is_empty() {
            text.push_str(&format!("({})", words.trim()));
        }
        rest = &rest[found.total..];
    }
    text
}
