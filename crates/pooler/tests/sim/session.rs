//! One session of PostgreSQL, as far as the simulation needs it: bytes in, bytes out.
//!
//! It serves twice: as the backend behind the pooler, and as the reference that a client compares
//! its answers with, as if it had a connection of its own.
//!
//! Invariant: written from the protocol's documentation; shares no code with the relay. Messages
//! are handled in order; a statement runs only when the host says so.
//! Not here: SQL. A statement is `verb tag …`, and its answer repeats verb and tag.

mod statement;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use headpond_wire::backend::{self, Notice, Status};
use headpond_wire::frontend::{Message, Target};
use headpond_wire::{Severity, SqlState, frame};

use crate::tag::Tag;
use statement::{aborted, describe_row, gives_rows, is_wrong, parameters, split};

/// The parameters that follow a client, in the order of the answers.
pub const TRACKED: [&str; 6] = [
    "application_name",
    "TimeZone",
    "DateStyle",
    "client_encoding",
    "standard_conforming_strings",
    "IntervalStyle",
];

/// The values of the tracked parameters.
pub type Settings = BTreeMap<&'static str, String>;

/// A statement about to run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// Whose it is; none for the pooler's own.
    pub tag: Option<Tag>,
    /// How often it ran before (a portal that is run in parts).
    pub turn: usize,
}

/// What becomes of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It runs now.
    Run,
    /// It takes time: ask again later.
    Wait,
    /// Somebody cancelled it.
    Cancelled,
}

/// What a session belongs to.
pub trait Host {
    /// What becomes of a statement that begins.
    fn fate(&mut self, run: Run) -> Fate;
    /// A statement ran; the status was and is so.
    fn ran(&mut self, run: Run, before: Status, after: Status);
    /// A row of copy data came for a statement.
    fn copied(&mut self, of: Option<Tag>, row: &[u8]);
    /// The other side broke the protocol.
    fn broken(&mut self, text: String);
}

#[derive(Clone)]
struct CopyIn {
    tag: Option<Tag>,
    extended: bool,
    rows: usize,
    fails_at: Option<usize>,
}

#[derive(Clone)]
struct Portal {
    sql: String,
    run: String,
    done: usize,
    turn: usize,
}

#[derive(Clone)]
enum Work {
    Simple(String),
    Execute { portal: Vec<u8>, rows_max: usize },
    Ready,
}

/// Whether extended replies are kept back until they must go, as PostgreSQL does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// They are kept back.
    Held,
    /// Each goes at once, so that it can be told which message it answers.
    Prompt,
}

/// One session.
#[derive(Clone)]
pub struct Session {
    input: Vec<u8>,
    held: Vec<u8>,
    /// What goes to the other side.
    pub out: Vec<u8>,
    /// As the next ReadyForQuery would say.
    pub status: Status,
    /// It is over.
    pub dead: bool,
    /// The parameters in force.
    pub settings: Settings,
    output: Output,
    /// Changed parameters are reported at once, as before PostgreSQL 14.
    eager: bool,
    skipping: bool,
    copy: Option<CopyIn>,
    work: VecDeque<Work>,
    named: BTreeMap<Vec<u8>, String>,
    unnamed: Option<String>,
    portals: BTreeMap<Vec<u8>, Portal>,
    defaults: Settings,
    saved: Settings,
    reported: Settings,
    /// Parameters that were set in this session.
    explicit: BTreeSet<&'static str>,
}

type Failed = (&'static [u8; 5], String);

fn fail<T>(code: &'static [u8; 5], text: impl Into<String>) -> Result<T, Failed> {
    Err((code, text.into()))
}

impl Session {
    /// A session right after its login.
    pub fn new(settings: Settings, output: Output, eager: bool) -> Self {
        Self {
            input: Vec::new(),
            held: Vec::new(),
            out: Vec::new(),
            status: Status::Idle,
            dead: false,
            output,
            eager,
            skipping: false,
            copy: None,
            work: VecDeque::new(),
            named: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            defaults: settings.clone(),
            saved: settings.clone(),
            reported: settings.clone(),
            explicit: BTreeSet::new(),
            settings,
        }
    }

    /// Takes bytes and does what can be done.
    pub fn receive(&mut self, bytes: &[u8], host: &mut dyn Host) {
        self.input.extend_from_slice(bytes);
        self.go_on(host);
    }

    /// Does what can be done.
    pub fn go_on(&mut self, host: &mut dyn Host) {
        while !self.dead {
            if self.copy.is_none()
                && let Some(work) = self.work.pop_front()
            {
                if !self.step(work, host) {
                    break;
                }
                continue;
            }
            let input = std::mem::take(&mut self.input);
            match frame::whole(&input, u32::MAX >> 2) {
                Ok(Some(found)) => {
                    self.message(found.tag, found.body, host);
                    self.input = input[found.total..].to_vec();
                }
                Ok(None) => {
                    self.input = input;
                    break;
                }
                Err(error) => {
                    host.broken(format!("no message: {error}"));
                    self.dead = true;
                }
            }
        }
        if self.output == Output::Prompt || self.dead {
            self.flush();
        }
    }

    /// A statement waits for its time.
    pub fn is_busy(&self) -> bool {
        self.copy.is_none() && !self.work.is_empty()
    }

    /// Nothing is owed to the other side, and no transaction is open.
    pub fn is_at_rest(&self) -> bool {
        self.status == Status::Idle && self.is_waiting() && self.held.is_empty() && !self.skipping
    }

    /// It waits for the next request.
    pub fn is_waiting(&self) -> bool {
        self.copy.is_none() && self.work.is_empty() && self.input.is_empty()
    }

    /// Says something unasked.
    pub fn volunteer(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.flush();
        write(&mut self.out);
    }

    /// The configuration of the server changed under the session; what was set in the session
    /// itself stays.
    pub fn reconfigure(&mut self, name: &'static str, value: &str) {
        if self.explicit.contains(name) {
            return;
        }
        for settings in [&mut self.settings, &mut self.defaults, &mut self.saved] {
            settings.insert(name, value.to_owned());
        }
    }

    /// The other side was told a value: it is so, whatever was thought before.
    pub fn learn(&mut self, name: &'static str, value: &str) {
        if self.settings.get(name).is_none_or(|known| known != value) {
            for settings in [&mut self.settings, &mut self.defaults, &mut self.saved] {
                settings.insert(name, value.to_owned());
            }
        }
    }

    /// Reports changed parameters.
    pub fn report(&mut self) {
        for name in TRACKED {
            let now = self.settings.get(name).cloned().unwrap_or_default();
            if self.reported.get(name) != Some(&now) {
                backend::parameter_status(&mut self.held, name.as_bytes(), now.as_bytes());
                self.reported.insert(name, now);
            }
        }
    }

    fn flush(&mut self) {
        self.out.append(&mut self.held);
    }

    fn ready(&mut self) {
        if self.output == Output::Held {
            self.report();
        }
        backend::ready_for_query(&mut self.held, self.status);
        self.flush();
    }

    fn error(&mut self, (code, text): Failed, severity: Severity) {
        let code = SqlState::from_bytes(code).expect("five letters");
        backend::error_response(&mut self.held, &Notice::new(severity, code, &text));
        self.flush();
        if self.status == Status::Open {
            self.status = Status::Failed;
        }
    }

    /// Ends the session with an error.
    pub fn die(&mut self, code: &'static [u8; 5], text: &str) {
        self.error((code, text.to_owned()), Severity::Fatal);
        self.dead = true;
    }

    fn message(&mut self, tag: u8, body: &[u8], host: &mut dyn Host) {
        let message = match Message::decode(tag, body) {
            Ok(message) => message,
            Err(error) => {
                host.broken(format!("broken message {:?}: {error}", char::from(tag)));
                self.dead = true;
                return;
            }
        };
        if self.copy.is_some() {
            self.copy_message(&message, host);
            return;
        }
        match message {
            Message::Sync => {
                self.skipping = false;
                if self.status == Status::Idle {
                    self.portals.clear();
                }
                self.ready();
            }
            Message::Terminate => self.dead = true,
            _ if self.skipping => {}
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
            Message::Flush => self.flush(),
            Message::Query(query) => self.query(query.sql),
            Message::FunctionCall(call) => {
                if self.status == Status::Failed {
                    self.error(aborted(""), Severity::Error);
                } else {
                    let argument = call.arguments.iter().next().flatten().unwrap_or_default();
                    backend::function_call_response(&mut self.held, Some(argument));
                }
                self.ready();
            }
            Message::Password(_) => {
                host.broken("a password in the middle of a session".into());
                self.dead = true;
            }
            extended => {
                if let Err(failed) = self.extended(&extended) {
                    self.error(failed, Severity::Error);
                    self.skipping = true;
                }
            }
        }
    }

    fn query(&mut self, sql: &[u8]) {
        self.unnamed = None;
        self.portals.remove(&b""[..]);
        let statements = split(&String::from_utf8_lossy(sql));
        if statements.is_empty() {
            backend::empty_query_response(&mut self.held);
        }
        self.work.extend(statements.into_iter().map(Work::Simple));
        self.work.push_back(Work::Ready);
    }

    /// Does one piece of work; false if it has to wait.
    fn step(&mut self, work: Work, host: &mut dyn Host) -> bool {
        match work {
            Work::Ready => self.ready(),
            Work::Simple(sql) => {
                let described = gives_rows(&sql) && !self.refuses(&sql) && !is_wrong(&sql);
                let begins = self.held.len();
                if described {
                    describe_row(&mut self.held);
                }
                match self.run(&sql, &sql, (0, 0, usize::MAX), false, host) {
                    Err(failed) => {
                        self.held.truncate(begins.min(self.held.len()));
                        self.error(failed, Severity::Error);
                        self.work.retain(|work| matches!(work, Work::Ready));
                    }
                    Ok(None) => {
                        self.held.truncate(begins);
                        self.work.push_front(Work::Simple(sql));
                        return false;
                    }
                    Ok(Some(_)) => {}
                }
            }
            Work::Execute { portal, rows_max } => {
                let Some(found) = self.portals.get(&portal).cloned() else {
                    self.error((b"34000", "portal does not exist".into()), Severity::Error);
                    self.skipping = true;
                    return true;
                };
                let part = (found.turn, found.done, rows_max);
                match self.run(&found.sql, &found.run, part, true, host) {
                    Err(failed) => {
                        self.error(failed, Severity::Error);
                        self.skipping = true;
                    }
                    Ok(None) => {
                        self.work.push_front(Work::Execute { portal, rows_max });
                        return false;
                    }
                    Ok(Some(done)) => {
                        if let Some(portal) = self.portals.get_mut(&portal) {
                            portal.done = done;
                            portal.turn += 1;
                        }
                    }
                }
            }
        }
        true
    }

    fn extended(&mut self, message: &Message<'_>) -> Result<(), Failed> {
        match message {
            Message::Parse(parse) => {
                let sql = String::from_utf8_lossy(parse.sql).into_owned();
                if parse.name.is_empty() {
                    self.unnamed = None;
                }
                if is_wrong(&sql) {
                    return fail(b"42601", "syntax error");
                }
                if self.refuses(&sql) {
                    return Err(aborted(""));
                }
                if parse.name.is_empty() {
                    self.unnamed = Some(sql);
                } else if self.named.contains_key(parse.name) {
                    return fail(b"42P05", "statement already exists");
                } else {
                    self.named.insert(parse.name.to_vec(), sql);
                }
                backend::parse_complete(&mut self.held);
            }
            Message::Bind(bind) => {
                let sql = self.statement(bind.statement)?;
                if self.refuses(&sql) {
                    return Err(aborted(""));
                }
                if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
                    return fail(b"42P03", "portal already exists");
                }
                let given = bind.values.iter().count();
                if given != parameters(&sql) {
                    return fail(b"08P01", format!("{given} parameters for '{sql}'"));
                }
                let value = bind.values.iter().next().flatten().unwrap_or_default();
                let run = sql.replace("$1", &String::from_utf8_lossy(value));
                self.portals.insert(bind.portal.to_vec(), Portal { sql, run, done: 0, turn: 0 });
                backend::bind_complete(&mut self.held);
            }
            Message::Describe(describe) => {
                let sql = match describe.target {
                    Target::Statement => self.statement(describe.name)?,
                    Target::Portal => match self.portals.get(describe.name) {
                        Some(portal) => portal.sql.clone(),
                        None => return fail(b"34000", "portal does not exist"),
                    },
                };
                if self.status == Status::Failed && gives_rows(&sql) {
                    return Err(aborted(""));
                }
                if describe.target == Target::Statement {
                    let oids = vec![25; parameters(&sql)];
                    backend::parameter_description(&mut self.held, &oids);
                }
                match gives_rows(&sql) {
                    true => describe_row(&mut self.held),
                    false => backend::no_data(&mut self.held),
                }
            }
            Message::Execute(execute) => {
                let rows_max = match usize::try_from(execute.rows_max).unwrap_or(0) {
                    0 => usize::MAX,
                    some => some,
                };
                self.work.push_back(Work::Execute { portal: execute.portal.to_vec(), rows_max });
            }
            Message::Close(close) => {
                match (close.target, close.name.is_empty()) {
                    (Target::Portal, _) => drop(self.portals.remove(close.name)),
                    (Target::Statement, true) => self.unnamed = None,
                    (Target::Statement, false) => drop(self.named.remove(close.name)),
                }
                backend::close_complete(&mut self.held);
            }
            _ => unreachable!("handled by the caller"),
        }
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<String, Failed> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        found.cloned().ok_or((b"26000", "statement does not exist".into()))
    }

    fn fail_copy(&mut self, text: &str) {
        let Some(copy) = self.copy.take() else { return };
        let name = copy.tag.map_or_else(String::new, |tag| tag.to_string());
        self.error((b"22P04", format!("{text} [{name}]")), Severity::Error);
        if copy.extended {
            self.skipping = true;
        } else {
            self.work.retain(|work| matches!(work, Work::Ready));
        }
    }

    fn copy_message(&mut self, message: &Message<'_>, host: &mut dyn Host) {
        let Some(copy) = &mut self.copy else { return };
        match message {
            Message::Flush | Message::Sync => {}
            Message::CopyData(row) => {
                host.copied(copy.tag, row);
                copy.rows += 1;
                if copy.fails_at == Some(copy.rows) {
                    self.fail_copy("bad row");
                }
            }
            Message::CopyFail(_) => self.fail_copy("COPY from stdin failed"),
            Message::CopyDone => {
                let name = copy.tag.map_or_else(String::new, |tag| tag.to_string());
                let complete = format!("COPY {} {name}", copy.rows);
                backend::command_complete(&mut self.held, complete.as_bytes());
                self.copy = None;
            }
            Message::Terminate => self.dead = true,
            _ => self.die(b"08P01", "unexpected message during COPY from stdin"),
        }
    }
}
