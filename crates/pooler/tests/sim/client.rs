//! A client that the simulation plays, and the judge of every byte it is sent.
//!
//! Invariant: what comes is compared with what a session of its own would answer, in order, to
//! the byte; whatever else may come (notices, reported parameters, errors of the pooler) must be
//! this client's, and have its reason.
//! Not here: what it asks (`script.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use headpond_pooler::engine::Address;
use headpond_pooler::engine::sim::{Endpoint, Net, Phase as Link, Received};
use headpond_wire::auth::scram;
use headpond_wire::backend::{ErrorFields, Message, Status};
use headpond_wire::login::connect::{Connect, ConnectSpec, Credential, Progress};
use headpond_wire::{Severity, frame, frontend};
use zeroize::Zeroizing;

use crate::ledger::Ledger;
use crate::plan::{Plan, Proof, password_of};
use crate::random::Dice;
use crate::script::{Act, Author};
use crate::session::{Fate, Host, Output, Run, Session, Settings, TRACKED};
use crate::tag::Tag;

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

/// The host of a reference: what the backends did is what happens.
struct Told<'a>(&'a Ledger);

impl Host for Told<'_> {
    fn fate(&mut self, run: Run) -> Fate {
        if self.0.was_cancelled(run) { Fate::Cancelled } else { Fate::Run }
    }
    fn ran(&mut self, _: Run, _: Status, _: Status) {}
    fn copied(&mut self, _: Option<Tag>, _: &[u8]) {}
    fn broken(&mut self, text: String) {
        panic!("the script is wrong: {text}");
    }
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

    fn start_login(&mut self, out: &mut Vec<u8>, around: &mut Around<'_>) {
        let database = match self.claim {
            Claim::NoDatabase => "nowhere".to_owned(),
            _ => format!("db{}", self.dice.below(around.plan.databases)),
        };
        let password = match self.claim {
            Claim::WrongPassword => "wrong".to_owned(),
            _ => password_of(self.user),
        };
        let name = format!("client {}", self.id);
        let mut params = vec![
            (b"database".to_vec(), database.into_bytes()),
            (b"application_name".to_vec(), name.into_bytes()),
        ];
        if self.dice.one_in(2) {
            let zone = *self.dice.pick(&["GMT", "Europe/Vienna", "Asia/Tokyo"]);
            params.push((b"TimeZone".to_vec(), zone.into()));
        }
        let mut nonce = [b'c'; 18];
        nonce[..8].copy_from_slice(&self.dice.bits().to_be_bytes());
        let credential = Credential::Plain(Zeroizing::new(password.into_bytes()));
        let user = self.user.as_bytes().to_vec();
        let spec = ConnectSpec { params, user, credential, nonce, binding: None };
        let mut login = Connect::new(spec);
        login.start(out);
        self.phase = Phase::Login(Box::new(login));
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
        let is_inside = !self.input.is_empty() && around.ledger.tally.faults > 0;
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

    fn log_in(&mut self, around: &mut Around<'_>) {
        let Phase::Login(login) = &mut self.phase else { return };
        let mut out = Vec::new();
        let mut verdict = None;
        loop {
            match login.receive(&self.input, &mut out) {
                Ok((used, progress)) => {
                    self.input.drain(..used);
                    match progress {
                        Progress::NeedInput => break,
                        Progress::Derive { password, salt, iterations } => {
                            let salted = scram::salted_password(&password, &salt, iterations);
                            login.derived(salted, &mut out);
                        }
                        Progress::Ready(welcome) => {
                            verdict = Some(Ok(welcome));
                            break;
                        }
                        Progress::Failed(fields) => {
                            verdict = Some(Err(fields));
                            break;
                        }
                    }
                }
                Err(error) => {
                    let id = self.id;
                    around.ledger.violation(format!("client {id} could not log in: {error}"));
                    self.phase = Phase::Leaving;
                    return;
                }
            }
        }
        self.write(&out);
        match verdict {
            None => {}
            Some(Ok(welcome)) => self.welcomed(&welcome.params, welcome.pid, welcome.key, around),
            Some(Err(fields)) => self.turned_away(*fields, around),
        }
    }

    fn welcomed(
        &mut self,
        params: &[(Vec<u8>, Vec<u8>)],
        pid: i32,
        key: Vec<u8>,
        around: &mut Around<'_>,
    ) {
        let id = self.id;
        around.ledger.tally.logins += 1;
        around.ledger.note(|| format!("client {id} is in"));
        if self.claim != Claim::Right {
            around.ledger.violation(format!("client {id} should not have been let in"));
        }
        let value = |name: &str| {
            let found = params.iter().find(|(known, _)| known == name.as_bytes());
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let settings = TRACKED
            .iter()
            .map(|name| (*name, value(name).unwrap_or_default()))
            .collect::<Settings>();
        if settings["application_name"] != format!("client {id}") {
            around.ledger.violation(format!("client {id} was welcomed with {settings:?}"));
        }
        self.reference = Some(Session::new(settings, Output::Prompt, false));
        self.key = Some((pid, key));
        self.phase = Phase::Ready;
    }

    fn turned_away(&mut self, fields: ErrorFields, around: &mut Around<'_>) {
        let (id, text) = (self.id, fields.text().into_owned());
        around.ledger.tally.refused += 1;
        around.ledger.note(|| format!("client {id} is turned away: {text}"));
        if &fields.code == b"XX000" {
            around.ledger.violation(format!("client {id} met a defect: {text}"));
        }
        if self.claim == Claim::Right && !around.ledger.stormy && !is_excused(&fields) {
            around.ledger.violation(format!("client {id} was turned away in calm: {text}"));
        }
        self.fatal = Some(fields);
        self.phase = Phase::Leaving;
    }

    /// Compares one message with what has to come.
    fn judge(&mut self, tag: u8, body: &[u8], around: &mut Around<'_>) {
        let id = self.id;
        if self.fatal.is_some() {
            around.ledger.violation(format!("client {id} got {:?} after the end", char::from(tag)));
            return;
        }
        match Message::decode(tag, body) {
            Err(error) => {
                around.ledger.violation(format!("client {id} got a broken message: {error}"));
                return;
            }
            Ok(Message::ParameterStatus(found)) => return self.reported(found.name, found.value),
            Ok(Message::NoticeResponse(_)) => {
                let text = ErrorFields::parse(body).text().into_owned();
                around.ledger.check_owner("a notice", Tag::inside(&text), id);
                return;
            }
            Ok(Message::ErrorResponse(_)) => {
                let fields = ErrorFields::parse(body);
                if self.is_from_pooler(&fields, around) {
                    return;
                }
            }
            Ok(_) => {}
        }
        self.predict(around.ledger);
        let Some((wanted, right)) = self.expected.pop_front() else {
            let text = shorten(body);
            let what = char::from(tag);
            around.ledger.violation(format!("client {id} asked nothing and got {what:?} {text:?}"));
            return;
        };
        if tag == b'Z' {
            around.ledger.tally.answers += 1;
        }
        let same = match (tag, wanted) {
            (b'E', b'E') => is_same_error(body, &right),
            _ => tag == wanted && body == right,
        };
        if !same {
            around.ledger.violation(format!(
                "client {id} got {:?} {:?} instead of {:?} {:?}",
                char::from(tag),
                shorten(body),
                char::from(wanted),
                shorten(&right),
            ));
        }
        if wanted == b'E' && ErrorFields::parse(&right).severity == Severity::Fatal {
            self.fatal = Some(ErrorFields::parse(&right));
            self.phase = Phase::Leaving;
        }
    }

    fn reported(&mut self, name: &[u8], value: &[u8]) {
        let known = TRACKED.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if let (Some(name), Some(reference)) = (known, &mut self.reference) {
            reference.learn(name, &String::from_utf8_lossy(value));
        }
    }

    /// Errors that no session of its own would give: the pooler's, and those that end a server.
    fn is_from_pooler(&mut self, fields: &ErrorFields, around: &mut Around<'_>) -> bool {
        let (id, text) = (self.id, fields.text().into_owned());
        let tag = Tag::inside(&text);
        around.ledger.check_owner("an error", tag, id);
        if tag.is_some() {
            return false;
        }
        if fields.severity == Severity::Fatal {
            around.ledger.note(|| format!("client {id} hears: {text}"));
            if let Some(why) = self.unreasonable(fields, around.ledger) {
                around.ledger.violation(format!("client {id} heard {text:?}, {why}"));
            }
            self.fatal = Some(fields.clone());
            self.phase = Phase::Leaving;
            return true;
        }
        if &fields.code != b"57014" {
            return false;
        }
        around.ledger.tally.cancelled_waiting += 1;
        around.ledger.note(|| format!("client {id} was cancelled while it waited"));
        if !around.ledger.hear_of_wish(id) {
            around.ledger.violation(format!("client {id} was cancelled and had not asked"));
        }
        if !self.expected.is_empty() {
            around.ledger.violation(format!("client {id} was cancelled inside of an answer"));
        }
        self.rejected = true;
        self.skip_rejected();
        true
    }

    /// What was asked up to the end of a rejected batch is not answered.
    fn skip_rejected(&mut self) {
        while self.rejected
            && let Some(message) = self.asked.pop_front()
        {
            if matches!(message.first(), Some(b'Q' | b'F' | b'S')) {
                self.rejected = false;
                self.expected.push_back((b'Z', vec![b'I']));
            }
        }
    }

    /// Says why an error that ends the client has no good reason; none if it has.
    fn unreasonable(&self, fields: &ErrorFields, ledger: &Ledger) -> Option<&'static str> {
        let text = fields.text();
        match &fields.code {
            b"XX000" => Some("a defect"),
            b"08P01" if text == "query_wait_timeout" => {
                (!ledger.stormy).then_some("in calm, when everybody may wait")
            }
            b"08P01" if text.contains("timeout") => None,
            b"08P01" => Some("though it spoke well"),
            b"08006" if text.contains("invalid message") => Some("though no server sends such"),
            b"08006" | b"57P01" | b"57P02" if ledger.tally.faults == 0 => {
                Some("though nothing has failed")
            }
            b"22023" => Some("though every setting is right"),
            _ => None,
        }
    }

    /// Makes the reference answer the next message, unless it owes something already.
    fn predict(&mut self, ledger: &Ledger) {
        let Some(reference) = &mut self.reference else { return };
        while self.expected.is_empty()
            && let Some(message) = self.asked.pop_front()
        {
            reference.receive(&message, &mut Told(ledger));
            let out = std::mem::take(&mut reference.out);
            self.expected.extend(without_news(&out));
        }
    }

    /// Whether everything sent is answered.
    fn is_answered(&self, ledger: &Ledger) -> bool {
        if !self.expected.is_empty() {
            return false;
        }
        let Some(mut future) = self.reference.clone().filter(|_| !self.asked.is_empty()) else {
            return true;
        };
        for message in &self.asked {
            future.receive(message, &mut Told(ledger));
        }
        without_news(&future.out).next().is_none()
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

/// Errors at login that are right even in calm.
fn is_excused(fields: &ErrorFields) -> bool {
    fields.text().contains("max_")
}

/// The messages of a reference but those that come whenever they like.
fn without_news(out: &[u8]) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let mut rest = out;
    std::iter::from_fn(move || {
        let found = frame::whole(rest, u32::MAX >> 2).ok().flatten()?;
        let message = (found.tag, found.body.to_vec());
        rest = &rest[found.total..];
        Some(message)
    })
    .filter(|(tag, _)| !matches!(tag, b'N' | b'S' | b'A'))
}

/// Errors are alike if their code is, and their text as far as it names a request.
fn is_same_error(got: &[u8], right: &[u8]) -> bool {
    let (got, right) = (ErrorFields::parse(got), ErrorFields::parse(right));
    let named = Tag::inside(&right.text()).is_some();
    got.code == right.code
        && got.severity == right.severity
        && (!named || got.message == right.message)
}

/// The beginning of a message.
fn shorten(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned()
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
