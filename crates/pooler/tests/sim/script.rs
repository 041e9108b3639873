//! What a client does in its life: requests in every form of the protocol, pauses, ways to leave.
//!
//! Invariant: whatever is sent here has one right answer, told by a session of its own.
//! Not here: comparing (`client.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use headpond_wire::frontend::{self, Target};

use crate::plan::{Mode, Plan};
use crate::random::Dice;
use crate::tag::Tag;

/// One thing a client does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Send whole messages.
    Send(Vec<u8>),
    /// Wait until everything sent is answered.
    Await,
    /// Do nothing for a while.
    Pause(Duration),
    /// Read nothing for a while.
    Deaf(Duration),
    /// Ask on another connection for a cancel.
    Cancel,
    /// Say goodbye.
    Goodbye,
    /// Close without a word.
    Close,
    /// Break the connection.
    Reset,
    /// Send the beginning of a message, then close.
    Half(Vec<u8>),
}

/// Writes the script of one life.
pub struct Author<'a> {
    plan: &'a Plan,
    dice: &'a mut Dice,
    client: u32,
    seq: u32,
    acts: VecDeque<Act>,
    bytes: Vec<u8>,
    /// Names of statements that this client has prepared.
    named: Vec<String>,
    /// The text of its unnamed statement still holds.
    unnamed: bool,
}

/// Texts that many clients prepare alike, so that they share them.
const SHARED: [&str; 4] = ["row $1", "row $1 100", "rows $1 3", "row $1 2000"];

impl<'a> Author<'a> {
    /// Begins a script.
    pub fn new(plan: &'a Plan, dice: &'a mut Dice, client: u32) -> Self {
        let (acts, bytes) = (VecDeque::new(), Vec::new());
        Self { plan, dice, client, seq: 0, acts, bytes, named: Vec::new(), unnamed: false }
    }

    /// Writes the whole script.
    pub fn write(mut self) -> VecDeque<Act> {
        let acts = self.dice.within(1, self.plan.acts);
        for _ in 0..acts {
            self.request();
            if self.dice.one_in(40) {
                self.leave_badly();
                return self.acts;
            }
        }
        self.send();
        self.acts.push_back(Act::Await);
        self.acts.push_back(if self.dice.one_in(4) { Act::Close } else { Act::Goodbye });
        self.acts
    }

    fn tag(&mut self) -> String {
        self.seq += 1;
        Tag { client: self.client, seq: self.seq }.to_string()
    }

    fn send(&mut self) {
        if !self.bytes.is_empty() {
            self.acts.push_back(Act::Send(std::mem::take(&mut self.bytes)));
        }
    }

    /// Sends what there is; usually waits for the answer.
    fn end(&mut self) {
        if self.dice.one_in(6) {
            // It goes out together with what follows.
            return;
        }
        self.send();
        if self.dice.one_in(20) {
            self.acts.push_back(Act::Deaf(self.dice.up_to(Duration::from_millis(300))));
        }
        if self.dice.one_in(12) {
            let longest = *self.dice.pick(&[1, 60]);
            let pause = self.dice.up_to(Duration::from_millis(longest));
            self.acts.push_back(Act::Pause(pause));
            self.acts.push_back(Act::Cancel);
        }
        if !self.dice.one_in(5) {
            self.acts.push_back(Act::Await);
        }
        if self.dice.one_in(6) {
            self.acts.push_back(Act::Pause(self.dice.up_to(Duration::from_millis(100))));
        }
        if self.dice.one_in(60) {
            self.acts.push_back(Act::Cancel);
        }
    }

    fn request(&mut self) {
        match self.plan.mode {
            Mode::Statement => match self.dice.below(8) {
                0..=2 => self.simple(),
                3..=5 => self.batch(),
                6 => self.setting(),
                _ => self.copy(),
            },
            Mode::Session | Mode::Transaction => match self.dice.below(20) {
                0..=3 => self.simple(),
                4..=7 => self.batch(),
                8 | 9 => self.prepared(),
                10 => self.reused(),
                11..=14 => self.transaction(),
                15 => self.many(),
                16 | 17 => self.setting(),
                18 => self.copy(),
                _ => self.odd(),
            },
        }
    }

    fn query(&mut self, sql: &str) {
        self.unnamed = false;
        frontend::query(&mut self.bytes, sql.as_bytes());
    }

    fn text(&mut self) -> String {
        let tag = self.tag();
        match self.dice.below(12) {
            0 => format!("rows {tag} {}", self.dice.within(0, 20)),
            1 => format!("row {tag} {}", self.dice.within(0, 20_000)),
            2 => format!("fail {tag}"),
            3 => format!("notice {tag}"),
            4 => format!("copyout {tag} {}", self.dice.within(0, 9)),
            _ => format!("row {tag}"),
        }
    }

    fn simple(&mut self) {
        let sql = match self.dice.below(10) {
            0 => format!("{};{}", self.text(), self.text()),
            1 if self.plan.mode != Mode::Statement => {
                let (begin, commit) = (self.tag(), self.tag());
                let (first, second, third) = (self.text(), self.text(), self.text());
                // The tags of a query rise in the order in which they run.
                let text = format!("begin {begin};{first};{second};commit {commit};{third}");
                self.in_order(&text)
            }
            2 => " ".into(),
            _ => self.text(),
        };
        self.query(&sql);
        self.end();
    }

    /// Numbers the tags of a text anew, in the order in which they stand.
    fn in_order(&mut self, text: &str) -> String {
        let prefix = format!("c{}.", self.client);
        let mut words = Vec::new();
        for word in text.split(' ') {
            let (head, rest) = word.split_once(';').map_or((word, None), |(a, b)| (a, Some(b)));
            let head = if head.starts_with(&prefix) { self.tag() } else { head.to_owned() };
            words.push(rest.map_or(head.clone(), |rest| format!("{head};{rest}")));
        }
        words.join(" ")
    }

    /// Parse, Bind, Describe, Execute, Sync of something unnamed, perhaps several in a row.
    fn batch(&mut self) {
        for _ in 0..self.dice.within(1, 3) {
            let text = self.text();
            self.extended(&text);
            if self.dice.one_in(8) {
                frontend::flush(&mut self.bytes);
                if self.dice.one_in(2) {
                    self.send();
                    self.acts.push_back(Act::Await);
                }
            }
            if self.dice.one_in(2) {
                frontend::sync(&mut self.bytes);
            }
        }
        frontend::sync(&mut self.bytes);
        self.end();
    }

    fn extended(&mut self, text: &str) {
        frontend::parse(&mut self.bytes, b"", text.as_bytes(), &[]);
        if self.dice.one_in(3) {
            frontend::describe(&mut self.bytes, Target::Statement, b"");
        }
        frontend::bind_text(&mut self.bytes, b"", b"", &[]);
        if self.dice.one_in(2) {
            frontend::describe(&mut self.bytes, Target::Portal, b"");
        }
        let rows_max = *self.dice.pick(&[0, 0, 0, 2]);
        frontend::execute(&mut self.bytes, b"", rows_max);
        self.unnamed = false;
    }

    /// Runs a statement with a value.
    fn execute(&mut self, name: &str) {
        let tag = self.tag();
        frontend::bind_text(&mut self.bytes, b"", name.as_bytes(), &[Some(tag.as_bytes())]);
        if self.dice.one_in(3) {
            frontend::describe(&mut self.bytes, Target::Portal, b"");
        }
        frontend::execute(&mut self.bytes, b"", 0);
    }

    fn draw_shared(&mut self) -> String {
        let text = (*self.dice.pick(&SHARED)).to_owned();
        if self.dice.one_in(3) { format!("{text} of{}", self.client) } else { text }
    }

    /// Prepares something under a name, or runs or closes what was prepared.
    fn prepared(&mut self) {
        if self.plan.statements_max == 0 && self.plan.mode != Mode::Session {
            return self.batch();
        }
        for _ in 0..self.dice.within(1, 3) {
            if self.named.is_empty() || self.dice.one_in(3) {
                let name = format!("s{}", self.dice.below(6));
                let text = self.draw_shared();
                frontend::parse(&mut self.bytes, name.as_bytes(), text.as_bytes(), &[]);
                if !self.named.contains(&name) {
                    self.named.push(name);
                }
            }
            let name = self.dice.pick(&self.named).clone();
            match self.dice.below(8) {
                0 => {
                    frontend::close(&mut self.bytes, Target::Statement, name.as_bytes());
                    self.named.retain(|known| *known != name);
                }
                1 => frontend::describe(&mut self.bytes, Target::Statement, name.as_bytes()),
                2 => {
                    let text = self.text();
                    self.extended(&text);
                }
                _ => self.execute(&name),
            }
            if self.dice.one_in(3) {
                frontend::sync(&mut self.bytes);
            }
        }
        frontend::sync(&mut self.bytes);
        self.end();
    }

    /// Prepares the unnamed statement, and runs it later.
    fn reused(&mut self) {
        if self.plan.statements_max == 0 && self.plan.mode != Mode::Session {
            return self.batch();
        }
        if !self.unnamed {
            let text = self.draw_shared();
            frontend::parse(&mut self.bytes, b"", text.as_bytes(), &[]);
            self.unnamed = true;
            if self.dice.one_in(2) {
                frontend::sync(&mut self.bytes);
                self.end();
            }
        }
        for _ in 0..self.dice.within(1, 2) {
            self.execute("");
            frontend::sync(&mut self.bytes);
            self.end();
        }
    }

    fn transaction(&mut self) {
        let begin = format!("begin {}", self.tag());
        if self.dice.one_in(3) {
            self.extended(&begin);
            frontend::sync(&mut self.bytes);
        } else {
            self.query(&begin);
        }
        self.end();
        for _ in 0..self.dice.within(0, 4) {
            match self.dice.below(8) {
                0..=2 => self.simple(),
                3 | 4 => self.batch(),
                5 => self.prepared(),
                6 => self.setting(),
                _ => self.portal(),
            }
        }
        let word = *self.dice.pick(&["commit", "commit", "rollback"]);
        let end = format!("{word} {}", self.tag());
        if self.dice.one_in(3) {
            self.extended(&end);
            frontend::sync(&mut self.bytes);
        } else {
            self.query(&end);
        }
        self.end();
    }

    /// A portal that is run in parts, over several Syncs.
    fn portal(&mut self) {
        let tag = self.tag();
        let portal = format!("p{}", self.seq);
        let text = format!("rows {tag} {}", self.dice.within(1, 9));
        frontend::parse(&mut self.bytes, b"", text.as_bytes(), &[]);
        frontend::bind_text(&mut self.bytes, portal.as_bytes(), b"", &[]);
        self.unnamed = false;
        for _ in 0..self.dice.within(1, 3) {
            frontend::execute(&mut self.bytes, portal.as_bytes(), 2);
            if self.dice.one_in(2) {
                frontend::sync(&mut self.bytes);
                self.end();
            }
        }
        frontend::close(&mut self.bytes, Target::Portal, portal.as_bytes());
        frontend::sync(&mut self.bytes);
        self.end();
    }

    /// Many requests at once.
    fn many(&mut self) {
        for _ in 0..self.dice.within(5, 60) {
            if self.dice.one_in(2) {
                let sql = format!("row {}", self.tag());
                self.query(&sql);
            } else {
                let text = self.text();
                self.extended(&text);
                frontend::sync(&mut self.bytes);
            }
        }
        self.end();
    }

    fn setting(&mut self) {
        let (name, value) = match self.dice.below(3) {
            0 => ("TimeZone", *self.dice.pick(&["GMT", "Europe/Vienna", "Asia/Tokyo"])),
            1 => ("IntervalStyle", *self.dice.pick(&["postgres", "iso_8601"])),
            _ => ("application_name", *self.dice.pick(&["app", "it''s", "b\\ack"])),
        };
        let own = if name == "application_name" { format!("-{}", self.client) } else { "".into() };
        let sql = format!("set {} {name} {value}{own}", self.tag());
        self.query(&sql);
        self.end();
    }

    fn copy(&mut self) {
        let tag = self.tag();
        let fails = if self.dice.one_in(4) { self.dice.below(6).to_string() } else { "-".into() };
        let text = format!("copyin {tag} {fails}");
        let extended = self.dice.one_in(3);
        if extended {
            self.extended(&text);
            frontend::flush(&mut self.bytes);
        } else {
            self.query(&text);
        }
        self.send();
        // Drivers wait for the word to begin; some do not.
        if !self.dice.one_in(3) {
            self.acts.push_back(Act::Await);
        }
        for row in 0..self.dice.within(0, 8) {
            let more = ".".repeat(self.dice.within(0, 500));
            frontend::copy_data(&mut self.bytes, format!("{tag} {row} {more}").as_bytes());
            if self.dice.one_in(4) {
                self.send();
            }
        }
        if self.dice.one_in(5) {
            frontend::copy_fail(&mut self.bytes, b"changed my mind");
        } else {
            frontend::copy_done(&mut self.bytes);
        }
        if extended {
            frontend::sync(&mut self.bytes);
        }
        self.send();
        self.acts.push_back(Act::Await);
    }

    fn odd(&mut self) {
        match self.dice.below(9) {
            0 => frontend::sync(&mut self.bytes),
            1 => {
                frontend::close(&mut self.bytes, Target::Statement, b"none");
                frontend::sync(&mut self.bytes);
            }
            2 => {
                frontend::describe(&mut self.bytes, Target::Statement, b"none");
                frontend::sync(&mut self.bytes);
            }
            3 => self.drop_statements("deallocate"),
            4 if self.plan.mode == Mode::Session => self.drop_statements("discard"),
            5 => {
                frontend::parse(&mut self.bytes, b"", b"syntax", &[]);
                self.extended("row c0.0");
                frontend::sync(&mut self.bytes);
            }
            6 if self.dice.one_in(4) => {
                let sql = format!("crash {}", self.tag());
                self.query(&sql);
            }
            7 => {
                let tag = self.tag();
                frontend::function_call(&mut self.bytes, 1, &[Some(tag.as_bytes())]);
                self.unnamed = false;
            }
            _ => {
                frontend::sync(&mut self.bytes);
                frontend::sync(&mut self.bytes);
            }
        }
        self.end();
    }

    /// Drops all statements. The relay hears of that by the answer only, so nothing may be under
    /// way with it.
    fn drop_statements(&mut self, verb: &str) {
        self.send();
        self.acts.push_back(Act::Await);
        let sql = format!("{verb} {}", self.tag());
        self.query(&sql);
        self.named.clear();
        self.send();
        self.acts.push_back(Act::Await);
    }

    fn leave_badly(&mut self) {
        let sql = format!("row {}", self.tag());
        match self.dice.below(5) {
            0 => {
                self.send();
                self.acts.push_back(Act::Close);
            }
            1 => {
                self.send();
                self.acts.push_back(Act::Reset);
            }
            2 => {
                self.send();
                self.acts.push_back(Act::Goodbye);
            }
            3 => {
                // A batch that no Sync will ever close.
                self.extended(&sql);
                frontend::flush(&mut self.bytes);
                self.send();
                self.acts.push_back(Act::Pause(self.dice.up_to(Duration::from_millis(50))));
                self.acts.push_back(Act::Close);
            }
            _ => {
                self.send();
                let mut half = Vec::new();
                frontend::query(&mut half, sql.as_bytes());
                let many = self.dice.within(1, half.len() - 1);
                half.truncate(many);
                self.acts.push_back(Act::Half(half));
            }
        }
    }
}
