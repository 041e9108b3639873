//! A small model of a PostgreSQL backend: what one session answers to bytes of a client.
//!
//! Invariant: written from the protocol's documentation and PostgreSQL's main loop, and shares no
//! code with the relay. It answers in order, skips to Sync after an error, ignores Sync in COPY,
//! and keeps extended replies to itself until it must flush.
//! Not here: SQL. A query is one of a few words; its rows repeat what was asked, so that an answer
//! that reaches the wrong one is seen.

use std::collections::HashMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::backend::{self, Column, Notice, Status};
use crate::error::Severity;
use crate::frontend::{Message, Target};
use crate::sqlstate::SqlState;
use crate::{encode, frame};

/// A COPY from the client under way.
struct CopyIn {
    extended: bool,
    rows: usize,
    /// Fails at this row, or at the end.
    fails_at: Option<usize>,
    /// What of the query string is still to run.
    rest: Vec<String>,
}

/// One session.
pub struct Backend {
    input: Vec<u8>,
    held: Vec<u8>,
    /// Bytes that a client can read.
    pub output: Vec<u8>,
    pub status: Status,
    skipping: bool,
    copy: Option<CopyIn>,
    pub named: HashMap<Vec<u8>, (String, u32)>,
    unnamed: Option<(String, u32)>,
    portals: HashMap<Vec<u8>, (String, usize)>,
    pub settings: HashMap<String, String>,
    /// Tables were altered so often.
    pub version: u32,
    pub dead: bool,
    /// Every statement text that was executed.
    pub executed: Vec<String>,
}

type Failed = (&'static [u8; 5], String);

fn fail<T>(code: &'static [u8; 5], text: &str) -> Result<T, Failed> {
    Err((code, text.to_string()))
}

impl Backend {
    pub fn new(settings: &[(&str, &str)]) -> Self {
        Self {
            input: Vec::new(),
            held: Vec::new(),
            output: Vec::new(),
            status: Status::Idle,
            skipping: false,
            copy: None,
            named: HashMap::new(),
            unnamed: None,
            portals: HashMap::new(),
            settings: settings.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            version: 0,
            dead: false,
            executed: Vec::new(),
        }
    }

    /// Takes bytes of a client and answers what is complete.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while !self.dead {
            let input = std::mem::take(&mut self.input);
            let Ok(Some(found)) = frame::whole(&input, u32::MAX) else {
                self.input = input;
                return;
            };
            self.message(found.tag, found.body);
            self.input = input[found.total..].to_vec();
        }
    }

    /// How many statements it keeps, but for the one that only stands for taken names.
    pub fn statements(&self) -> usize {
        self.named.keys().filter(|name| *name != b"HEADPOND_TAKEN").count()
    }

    pub fn flush(&mut self) {
        self.output.append(&mut self.held);
    }

    fn ready(&mut self) {
        if self.status == Status::Idle {
            self.portals.clear();
        }
        backend::ready_for_query(&mut self.held, self.status);
        self.flush();
    }

    fn report(&mut self, (code, text): Failed, severity: Severity) {
        let code = SqlState::from_bytes(code).unwrap();
        let mut body = Vec::new();
        backend::error_response(&mut body, &Notice::new(severity, code, &text));
        if text == "cached plan must not change result type" {
            // The routine is the only field that tells this error from others of its kind.
            body.pop();
            body.push(b'R');
            encode::cstr(&mut body, b"RevalidateCachedQuery");
            body.push(0);
            let len = u32::try_from(body.len() - 1).unwrap();
            body[1..5].copy_from_slice(&len.to_be_bytes());
        }
        self.held.extend_from_slice(&body);
        self.flush();
        if self.status == Status::Open {
            self.status = Status::Failed;
        }
        self.copy = None;
    }

    fn die(&mut self, text: &str) {
        self.report((b"08P01", text.to_string()), Severity::Fatal);
        self.dead = true;
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        let Ok(message) = Message::decode(tag, body) else {
            self.die("broken message");
            return;
        };
        if self.copy.is_some() {
            self.copy_message(&message);
            return;
        }
        match message {
            Message::Sync => {
                self.skipping = false;
                self.ready();
            }
            Message::Terminate => self.dead = true,
            _ if self.skipping => {}
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
            Message::Flush => self.flush(),
            Message::Query(query) => {
                self.unnamed = None;
                self.portals.remove(&b""[..]);
                let text = String::from_utf8_lossy(query.sql).into_owned();
                let rest = text.split(';').map(|s| s.trim().to_string()).collect();
                let empty = text.chars().all(|c| c == ';' || c.is_whitespace());
                self.simple(rest, empty);
            }
            Message::FunctionCall(call) => {
                if call.oid == 0 {
                    self.report((b"42883", "no such function".to_string()), Severity::Error);
                } else if self.status == Status::Failed {
                    self.report(aborted(), Severity::Error);
                } else {
                    backend::function_call_response(&mut self.held, Some(b"called"));
                }
                self.ready();
            }
            Message::Password(_) => self.die("unexpected password"),
            extended => {
                if let Err(failed) = self.extended(&extended) {
                    self.report(failed, Severity::Error);
                    self.skipping = true;
                }
            }
        }
    }

    fn simple(&mut self, statements: Vec<String>, empty: bool) {
        if empty {
            backend::empty_query_response(&mut self.held);
            self.ready();
            return;
        }
        let mut statements = statements.into_iter().filter(|s| !s.is_empty());
        while let Some(sql) = statements.next() {
            if sql == "syntax" {
                self.report((b"42601", "syntax error".to_string()), Severity::Error);
                self.ready();
                return;
            }
            if self.status == Status::Failed && !is_exit(&sql) {
                self.report(aborted(), Severity::Error);
                self.ready();
                return;
            }
            if gives_rows(&sql) {
                row_description(&mut self.held);
            }
            match self.run(&sql, &sql, usize::MAX, 0) {
                _ if self.dead => return,
                Ok(_) if self.copy.is_some() => {
                    let copy = self.copy.as_mut().unwrap();
                    copy.rest = statements.collect();
                    self.begin_copy();
                    return;
                }
                Ok(_) => {}
                Err(failed) => {
                    self.report(failed, Severity::Error);
                    self.ready();
                    return;
                }
            }
        }
        self.ready();
    }

    fn extended(&mut self, message: &Message<'_>) -> Result<(), Failed> {
        match message {
            Message::Parse(parse) => self.parse(parse.name, parse.sql)?,
            Message::Bind(bind) => {
                let (sql, version) = self.statement(bind.statement)?;
                self.check_usable(&sql)?;
                if version != self.version && gives_rows(&sql) {
                    return fail(b"0A000", "cached plan must not change result type");
                }
                if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
                    return fail(b"42P03", "portal already exists");
                }
                let values: Vec<String> = bind
                    .values
                    .iter()
                    .map(|v| v.map_or("NULL".to_string(), |v| String::from_utf8_lossy(v).into()))
                    .collect();
                let text = format!("{sql}({})", values.join(","));
                self.portals.insert(bind.portal.to_vec(), (text, 0));
                backend::bind_complete(&mut self.held);
            }
            Message::Describe(describe) => {
                let sql = match describe.target {
                    Target::Statement => self.statement(describe.name)?.0,
                    Target::Portal => self.portal(describe.name)?.0,
                };
                // PostgreSQL would still describe what gives no rows; whoever must prepare the
                // statement first cannot do that.
                self.check_usable(&sql)?;
                if describe.target == Target::Statement {
                    backend::parameter_description(&mut self.held, &[25]);
                }
                match gives_rows(&sql) {
                    true => row_description(&mut self.held),
                    false => backend::no_data(&mut self.held),
                }
            }
            Message::Execute(execute) => {
                let (text, done) = self.portal(execute.portal)?;
                let sql = text.split('(').next().unwrap_or_default().to_string();
                self.check_usable(&sql)?;
                let max = usize::try_from(execute.rows_max).unwrap_or(0);
                let max = if max == 0 { usize::MAX } else { max };
                let done = self.run(&sql, &text, max, done)?;
                if self.copy.is_some() {
                    self.copy.as_mut().unwrap().extended = true;
                    self.begin_copy();
                } else if let Some(portal) = self.portals.get_mut(execute.portal) {
                    portal.1 = done;
                }
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

    fn parse(&mut self, name: &[u8], sql: &[u8]) -> Result<(), Failed> {
        if name.is_empty() {
            self.unnamed = None;
        }
        let sql = String::from_utf8_lossy(sql).trim().to_string();
        if sql == "syntax" {
            return fail(b"42601", "syntax error");
        }
        if !sql.is_empty() {
            self.check_usable(&sql)?;
        }
        let statement = (sql, self.version);
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else if self.named.contains_key(name) {
            return fail(b"42P05", "prepared statement already exists");
        } else {
            self.named.insert(name.to_vec(), statement);
        }
        backend::parse_complete(&mut self.held);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<(String, u32), Failed> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        found.cloned().map_or_else(|| fail(b"26000", "prepared statement does not exist"), Ok)
    }

    fn portal(&self, name: &[u8]) -> Result<(String, usize), Failed> {
        self.portals.get(name).cloned().map_or_else(|| fail(b"34000", "portal does not exist"), Ok)
    }

    fn check_usable(&self, sql: &str) -> Result<(), Failed> {
        if self.status == Status::Failed && !is_exit(sql) { Err(aborted()) } else { Ok(()) }
    }

    /// Runs one statement; `shown` is what its rows say. Returns how many rows were sent so far.
    fn run(&mut self, sql: &str, shown: &str, max: usize, done: usize) -> Result<usize, Failed> {
        self.executed.push(sql.to_string());
        let words: Vec<&str> = sql.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|w| w.parse::<usize>().ok());
        let tag = match *words.first().unwrap_or(&"") {
            "" => {
                backend::empty_query_response(&mut self.held);
                return Ok(0);
            }
            "begin" => {
                self.status = Status::Open;
                "BEGIN".to_string()
            }
            "commit" | "rollback" => {
                let failed = self.status == Status::Failed;
                self.status = Status::Idle;
                self.portals.clear();
                match words[0] == "commit" && !failed {
                    true => "COMMIT".to_string(),
                    false => "ROLLBACK".to_string(),
                }
            }
            "fail" => return fail(b"22012", "division by zero"),
            "crash" => {
                self.die("terminating connection because of crash");
                return Ok(0);
            }
            "rows" => {
                let all = number(1).unwrap_or(1);
                for row in done..all.min(done.saturating_add(max)) {
                    data_row(&mut self.held, &format!("{shown} {row}"));
                }
                if all - done > max {
                    backend::portal_suspended(&mut self.held);
                    return Ok(done + max);
                }
                format!("SELECT {}", all - done)
            }
            "set" => {
                let (name, value) = (words[1].to_string(), words[2].to_string());
                backend::parameter_status(&mut self.held, name.as_bytes(), value.as_bytes());
                self.settings.insert(name, value);
                "SET".to_string()
            }
            "SET" => self.apply(sql)?,
            "show" => {
                let value = self.settings.get(words[1]).cloned().unwrap_or_default();
                data_row(&mut self.held, &value);
                "SHOW".to_string()
            }
            "notice" => {
                let notice = Notice::new(Severity::Notice, SqlState::SUCCESS, "something to know");
                backend::notice_response(&mut self.held, &notice);
                "DO".to_string()
            }
            "notify" => {
                backend::notification_response(&mut self.held, 7, b"channel", b"payload");
                "NOTIFY".to_string()
            }
            "discard" => {
                self.named.clear();
                self.portals.clear();
                "DISCARD ALL".to_string()
            }
            "deallocate" => {
                self.named.clear();
                "DEALLOCATE ALL".to_string()
            }
            "alter" => {
                self.version += 1;
                "ALTER TABLE".to_string()
            }
            "copyin" => {
                let fails_at = number(1);
                self.copy = Some(CopyIn { extended: false, rows: 0, fails_at, rest: Vec::new() });
                return Ok(0);
            }
            "copyout" => {
                backend::copy_out_response(&mut self.held, 1);
                for row in 0..number(1).unwrap_or(2) {
                    backend::copy_data(&mut self.held, format!("{shown} {row}\n").as_bytes());
                }
                backend::copy_done(&mut self.held);
                "COPY 2".to_string()
            }
            _ => {
                data_row(&mut self.held, shown);
                "SELECT 1".to_string()
            }
        };
        backend::command_complete(&mut self.held, tag.as_bytes());
        Ok(done)
    }

    /// A `SET name='value'`, as the relay writes it.
    fn apply(&mut self, sql: &str) -> Result<String, Failed> {
        let (name, value) = sql["SET ".len()..].split_once('=').unwrap();
        let value = value.trim_matches('\'').replace("''", "'");
        if value == "refused" {
            return fail(b"22023", "invalid value for parameter");
        }
        if self.settings.get(name) != Some(&value) {
            backend::parameter_status(&mut self.held, name.as_bytes(), value.as_bytes());
            self.settings.insert(name.to_string(), value);
        }
        Ok("SET".to_string())
    }

    fn begin_copy(&mut self) {
        backend::copy_in_response(&mut self.held, 1);
        self.flush();
        let copy = self.copy.as_ref().unwrap();
        if copy.fails_at == Some(0) {
            // A trigger refuses before any data is read.
            self.fail_copy("trigger refused");
        }
    }

    fn fail_copy(&mut self, text: &str) {
        let extended = self.copy.as_ref().unwrap().extended;
        self.report((b"22P04", text.to_string()), Severity::Error);
        if extended {
            self.skipping = true;
        } else {
            self.ready();
        }
    }

    fn copy_message(&mut self, message: &Message<'_>) {
        let copy = self.copy.as_mut().unwrap();
        match message {
            Message::Flush | Message::Sync => {}
            Message::CopyData(_) => {
                copy.rows += 1;
                if copy.fails_at == Some(copy.rows) {
                    self.fail_copy("bad row");
                }
            }
            Message::CopyFail(_) => self.fail_copy("COPY from stdin failed"),
            Message::CopyDone => {
                let copy = self.copy.take().unwrap();
                let tag = format!("COPY {}", copy.rows);
                backend::command_complete(&mut self.held, tag.as_bytes());
                if !copy.extended {
                    self.simple(copy.rest, false);
                }
            }
            _ => self.die("unexpected message during COPY from stdin"),
        }
    }
}

fn aborted() -> Failed {
    (b"25P02", "current transaction is aborted".to_string())
}

fn is_exit(sql: &str) -> bool {
    sql == "commit" || sql == "rollback"
}

fn gives_rows(sql: &str) -> bool {
    let word = sql.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    !word.is_empty()
        && ![
            "begin",
            "commit",
            "rollback",
            "set",
            "SET",
            "notice",
            "notify",
            "discard",
            "deallocate",
            "alter",
            "copyin",
            "copyout",
            "crash",
            "fail",
        ]
        .contains(&word)
}

fn row_description(out: &mut Vec<u8>) {
    backend::row_description(out, &[Column::text(b"asked")]);
}

fn data_row(out: &mut Vec<u8>, text: &str) {
    backend::data_row(out, &[Some(text.as_bytes())]);
}
