//! What a backend's session is told by its server: when a statement runs, and which laws hold.
//!
//! Invariant: a statement that takes time is asked for again, and may be cancelled meanwhile.

use std::time::Duration;

use headpond_wire::Status;

use super::{Alarm, Thought};
use crate::ledger::Ledger;
use crate::plan::Times;
use crate::random::Dice;
use crate::session::{Fate, Host, Run};
use crate::tag::Tag;

/// A session's host.
pub(super) struct Inside<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) alarms: &'a mut Vec<(Duration, Alarm)>,
    pub(super) dice: &'a mut Dice,
    pub(super) times: &'a Times,
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) thought: &'a mut Thought,
    pub(super) serial: &'a mut u32,
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
