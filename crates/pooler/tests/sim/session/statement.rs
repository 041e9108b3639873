//! What a statement does: its rows, its effects, its errors.
//!
//! Invariant: an answer repeats the verb and the tag, so that one that goes astray is seen.
//! Not here: the protocol around it (`session.rs`).

use headpond_wire::backend::{self, Column, Notice, Status};
use headpond_wire::{Severity, SqlState};

use super::{CopyIn, Failed, Fate, Host, Output, Run, Session, TRACKED, fail};
use crate::tag::Tag;

impl Session {
    /// Runs a statement: `sql` as it was written, `text` with its value. Returns the rows given so
    /// far, or none if it has to wait.
    pub(super) fn run(
        &mut self,
        sql: &str,
        text: &str,
        (turn, done, rows_max): (usize, usize, usize),
        extended: bool,
        host: &mut dyn Host,
    ) -> Result<Option<usize>, Failed> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let verb = words.first().copied().unwrap_or_default();
        let name = words.get(1).copied().unwrap_or_default();
        if is_wrong(text) {
            return fail(b"42601", "syntax error");
        }
        if self.refuses(text) {
            return Err(aborted(name));
        }
        let run = Run { tag: Tag::parse(name), turn };
        match host.fate(run) {
            Fate::Run => {}
            Fate::Wait => return Ok(None),
            Fate::Cancelled => {
                return fail(b"57014", format!("canceling statement [{name}]"));
            }
        }
        let before = self.status;
        let result = self.act(verb, &words, sql, text, done, rows_max);
        host.ran(run, before, self.status);
        if let Some(copy) = &mut self.copy {
            (copy.tag, copy.extended) = (run.tag, extended);
            let fails = copy.fails_at == Some(0);
            backend::copy_in_response(&mut self.held, 1);
            self.flush();
            if fails {
                self.fail_copy("no data wanted");
            }
        }
        if self.eager {
            self.report();
        }
        result.map(Some)
    }

    fn act(
        &mut self,
        verb: &str,
        words: &[&str],
        sql: &str,
        text: &str,
        done: usize,
        rows_max: usize,
    ) -> Result<usize, Failed> {
        let name = words.get(1).copied().unwrap_or_default();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        let complete = match verb {
            "begin" => {
                if self.status == Status::Idle {
                    self.status = Status::Open;
                    self.saved = self.settings.clone();
                }
                format!("BEGIN {name}")
            }
            "commit" | "rollback" | "ROLLBACK" => self.end(verb, name),
            "fail" => return fail(b"22012", format!("division by zero [{name}]")),
            "crash" => {
                self.die(b"57P02", &format!("terminating because of crash [{name}]"));
                return Ok(0);
            }
            "rows" => {
                let all = number(2).unwrap_or(1);
                let size = number(3).unwrap_or(0);
                let until = all.min(done.saturating_add(rows_max));
                for row in done..until {
                    self.row(sql, &format!("{name} {row}"), size);
                }
                if all > until {
                    backend::portal_suspended(&mut self.held);
                    return Ok(until);
                }
                let complete = format!("SELECT {} {name}", until - done);
                backend::command_complete(&mut self.held, complete.as_bytes());
                return Ok(until);
            }
            "set" => {
                let (to, value) = (canonical(words[2]), words[3].to_owned());
                self.settings.insert(to, value);
                self.explicit.insert(to);
                format!("SET {name}")
            }
            "SET" => {
                self.apply(text);
                "SET".into()
            }
            "notice" => {
                let text = format!("something to know [{name}]");
                let notice = Notice::new(Severity::Notice, SqlState::SUCCESS, &text);
                backend::notice_response(&mut self.held, &notice);
                format!("DO {name}")
            }
            "discard" | "DISCARD" => {
                if self.status != Status::Idle {
                    return fail(b"25001", format!("cannot run inside a transaction [{name}]"));
                }
                self.named.clear();
                self.portals.clear();
                if self.output == Output::Held {
                    // A reference does not know what the pooler's server began with: it is told.
                    self.settings = self.defaults.clone();
                }
                self.explicit.clear();
                "DISCARD ALL".into()
            }
            "deallocate" => {
                self.named.clear();
                "DEALLOCATE ALL".into()
            }
            "copyin" => {
                let fails_at = number(2);
                self.copy = Some(CopyIn { tag: None, extended: false, rows: 0, fails_at });
                return Ok(0);
            }
            "copyout" => {
                backend::copy_out_response(&mut self.held, 1);
                for row in 0..number(2).unwrap_or(2) {
                    backend::copy_data(&mut self.held, format!("{name} {row}\n").as_bytes());
                }
                backend::copy_done(&mut self.held);
                format!("COPY {name}")
            }
            _ => {
                self.row(sql, name, number(2).unwrap_or(0));
                format!("SELECT 1 {name}")
            }
        };
        backend::command_complete(&mut self.held, complete.as_bytes());
        Ok(done)
    }

    fn end(&mut self, verb: &str, name: &str) -> String {
        let keeps = verb == "commit" && self.status != Status::Failed;
        if self.status != Status::Idle && !keeps {
            self.settings = self.saved.clone();
        }
        self.status = Status::Idle;
        self.portals.clear();
        match keeps {
            true => format!("COMMIT {name}"),
            false => format!("ROLLBACK {name}"),
        }
    }

    /// `SET name='value'`, as the relay writes it.
    fn apply(&mut self, sql: &str) {
        let (name, value) = sql["SET ".len()..].split_once('=').expect("as the relay writes it");
        let value = value.trim_matches('\'').replace("''", "'");
        self.settings.insert(canonical(name), value);
        self.explicit.insert(canonical(name));
    }

    /// What was asked, for whom, under which settings, and some more bytes.
    fn row(&mut self, sql: &str, name: &str, size: usize) {
        let settings: Vec<&str> =
            TRACKED.iter().map(|name| self.settings.get(name).map_or("", String::as_str)).collect();
        let settings = settings.join("|");
        let more = vec![b'.'; size];
        let values = [sql.as_bytes(), name.as_bytes(), settings.as_bytes(), &more];
        backend::data_row(&mut self.held, &values.map(Some));
    }

    pub(super) fn refuses(&self, sql: &str) -> bool {
        self.status == Status::Failed && !is_exit(sql)
    }
}

pub(super) fn aborted(name: &str) -> Failed {
    (b"25P02", format!("current transaction is aborted [{name}]"))
}

pub(super) fn is_wrong(sql: &str) -> bool {
    sql.starts_with("syntax")
}

fn is_exit(sql: &str) -> bool {
    ["commit", "rollback", "ROLLBACK"].iter().any(|word| sql.starts_with(word))
}

pub(super) fn parameters(sql: &str) -> usize {
    usize::from(sql.contains("$1"))
}

pub(super) fn gives_rows(sql: &str) -> bool {
    const WITHOUT: [&str; 15] = [
        "begin",
        "commit",
        "rollback",
        "ROLLBACK",
        "fail",
        "crash",
        "set",
        "SET",
        "notice",
        "discard",
        "DISCARD",
        "deallocate",
        "copyin",
        "copyout",
        "syntax",
    ];
    let verb = sql.split_whitespace().next().unwrap_or_default();
    !verb.is_empty() && !WITHOUT.contains(&verb)
}

fn canonical(name: &str) -> &'static str {
    let found = TRACKED.iter().find(|known| known.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("{name} is not a parameter that follows anybody"))
}

/// Takes a query string apart; semicolons inside of literals do not count.
pub(super) fn split(sql: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    for letter in sql.chars() {
        quoted ^= letter == '\'';
        match found.last_mut() {
            Some(last) if letter != ';' || quoted => last.push(letter),
            _ => found.push(String::new()),
        }
    }
    let trimmed = found.iter().map(|statement| statement.trim().to_owned());
    trimmed.filter(|statement| !statement.is_empty()).collect()
}

pub(super) fn describe_row(out: &mut Vec<u8>) {
    let names: [&[u8]; 4] = [b"asked", b"tag", b"settings", b"more"];
    backend::row_description(out, &names.map(Column::text));
}
