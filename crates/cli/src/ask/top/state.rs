//! What `headpond top` knows and shows: answers and keys go in, questions and orders come out.
//!
//! Invariant: pure: no clock, no terminal, no socket. Figures stay when answers fail, and say how
//! old they are; while the screen is frozen nothing is asked and nothing changes but by keys.
//! Not here: which key does what (`keys.rs`), rows (`table.rs`), drawing (`view.rs`).

use std::time::Duration;

use serde_json::Value;

use super::paint::plain;
use super::sheet::{self, Sheet};
use super::table::Table;

/// Lines that are no rows: two above the rows that say what is looked at, one with how that is,
/// the heads of columns, and the last line.
pub const LINES_AROUND: u16 = 5;
/// What can be chosen as the time between two looks, in seconds.
const INTERVALS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Every pool.
    Pools,
    /// Who waits for a connection.
    Waits,
    /// Who has one.
    Holders,
    /// Who is connected.
    Clients,
    /// Connections to databases.
    Servers,
    /// What fires, and what to change.
    Alerts,
}

impl View {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 6] =
        [Self::Pools, Self::Waits, Self::Holders, Self::Clients, Self::Servers, Self::Alerts];

    /// Returns its name, as it stands in its path.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pools => "pools",
            Self::Waits => "waits",
            Self::Holders => "holders",
            Self::Clients => "clients",
            Self::Servers => "servers",
            Self::Alerts => "alerts",
        }
    }

    /// Returns its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pools => "Pools",
            Self::Waits => "Waits",
            Self::Holders => "Holders",
            Self::Clients => "Clients",
            Self::Servers => "Servers",
            Self::Alerts => "Alerts",
        }
    }

    /// Returns what one of its rows is, for people.
    pub fn one(self) -> &'static str {
        match self {
            Self::Pools => "Pool",
            Self::Waits => "Wait",
            Self::Holders => "Holder",
            Self::Clients => "Client",
            Self::Servers => "Server",
            Self::Alerts => "Alert",
        }
    }

    /// Whether the pooler can search its rows.
    pub fn is_searched(self) -> bool {
        !matches!(self, Self::Pools | Self::Alerts)
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|view| *view == self).expect("every view is listed")
    }

    /// Returns the view that is so many keys further.
    pub fn next(self, by: usize) -> Self {
        Self::ALL[(self.place() + by) % Self::ALL.len()]
    }
}

/// What the pooler is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which rows.
    pub view: View,
    /// What they must contain.
    pub words: String,
    /// The pool whose history is wanted too.
    pub pool: Option<String>,
}

/// What the pooler answered.
#[derive(Debug)]
pub struct Look {
    /// What was asked.
    pub question: Question,
    /// The process.
    pub status: Value,
    /// The rows.
    pub rows: Value,
    /// The history, or why there is none.
    pub history: Option<Result<Value, String>>,
}

/// What the pooler is told to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The word of the action.
    pub word: &'static str,
    /// Whom it is about, in JSON.
    pub body: Value,
    /// The same for people.
    pub about: String,
}

/// What comes back from the threads that ask.
#[derive(Debug)]
pub enum Told {
    /// A look, or why there is none.
    Look(Result<Look, String>),
    /// What came of an order.
    Done(Result<String, String>),
}

/// What is being typed on the last line.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// What rows must contain.
    Words(String),
    /// Whether an order is meant.
    Confirm(Order, String),
}

/// Why the last look failed.
#[derive(Clone, Debug)]
pub struct Silence {
    /// The reason.
    pub text: String,
    /// Since when looks fail.
    pub since: Duration,
}

/// All of it.
#[derive(Debug)]
pub struct State {
    /// A token was given.
    pub can_act: bool,
    /// The view on the screen.
    pub view: View,
    /// What the pooler said of itself.
    pub status: Value,
    /// When it was last heard.
    pub heard: Option<Duration>,
    /// Why it is not heard any more.
    pub silence: Option<Silence>,
    /// Seconds between two looks.
    pub every: f64,
    /// Nothing is asked.
    pub is_frozen: bool,
    /// What lies over the rows.
    pub sheet: Option<Sheet>,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// What the last line says: something went well, or not.
    pub note: Option<Result<String, String>>,
    /// An order is on its way.
    pub is_acting: bool,
    tables: [Table; 6],
    /// Columns and lines of the terminal.
    size: (u16, u16),
    /// What was last asked, and when.
    asked: Option<(Question, Duration)>,
    /// Its answer has not come yet.
    is_asking: bool,
}

impl State {
    /// Begins with the pools; nothing is known yet.
    pub fn new(every: f64, can_act: bool) -> Self {
        Self {
            can_act,
            view: View::Pools,
            status: Value::Null,
            heard: None,
            silence: None,
            every,
            is_frozen: false,
            sheet: None,
            prompt: None,
            note: None,
            is_acting: false,
            tables: View::ALL.map(Table::new),
            size: (80, 24),
            asked: None,
            is_asking: false,
        }
    }

    /// Returns the rows of the view on the screen.
    pub fn table(&self) -> &Table {
        &self.tables[self.view.place()]
    }

    /// The same, to change them.
    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.tables[self.view.place()]
    }

    /// Returns the columns and lines of the terminal.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Takes the size of the terminal.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        let page = usize::from(height.saturating_sub(LINES_AROUND));
        self.tables.iter_mut().for_each(|table| table.resize(page));
        self.settle();
    }

    /// Keeps what lies over the rows on the screen.
    pub fn settle(&mut self) {
        let (width, height) = self.size;
        let Some(mut sheet) = self.sheet.take() else { return };
        let lines = u16::try_from(sheet::lines(self, &sheet, width).len()).unwrap_or(u16::MAX);
        let page = height.saturating_sub(LINES_AROUND - 1);
        sheet.first = sheet.first.min(lines.saturating_sub(page));
        self.sheet = Some(sheet);
    }

    /// Returns how long the pooler has been asked without an answer.
    pub fn pending(&self, now: Duration) -> Option<Duration> {
        let (_, at) = self.asked.as_ref().filter(|_| self.is_asking)?;
        Some(now.saturating_sub(*at))
    }

    /// Returns what to ask now, if anything; it counts as asked.
    pub fn question(&mut self, now: Duration) -> Option<Question> {
        if self.due(now)? > Duration::ZERO {
            return None;
        }
        let question = self.wanted();
        self.asked = Some((question.clone(), now));
        self.is_asking = true;
        Some(question)
    }

    /// Returns how long to wait before the next question; none while there will be none.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        if self.is_frozen || self.is_asking {
            return None;
        }
        match &self.asked {
            Some((question, at)) if *question == self.wanted() => {
                let next = *at + Duration::try_from_secs_f64(self.every).unwrap_or_default();
                Some(next.saturating_sub(now))
            }
            _ => Some(Duration::ZERO),
        }
    }

    fn wanted(&self) -> Question {
        let words =
            if self.view.is_searched() { self.table().words.clone() } else { String::new() };
        let pool = self.sheet.as_ref().and_then(Sheet::pool);
        Question { view: self.view, words, pool }
    }

    /// Asks again at once, whatever the interval is.
    pub fn hurry(&mut self) {
        if !self.is_asking {
            self.asked = None;
        }
    }

    /// Takes an answer.
    pub fn take(&mut self, told: Told, now: Duration) {
        match told {
            Told::Done(outcome) => {
                self.is_acting = false;
                self.note = Some(match outcome {
                    Ok(text) => Ok(plain(&text)),
                    Err(text) => Err(plain(&text)),
                });
                self.hurry();
            }
            Told::Look(outcome) => {
                self.is_asking = false;
                match outcome {
                    // What is frozen stays as it was; what was asked before comes too late.
                    _ if self.is_frozen => {}
                    Ok(look) => self.look(look, now),
                    Err(text) => {
                        let since = self.silence.as_ref().map_or(now, |silence| silence.since);
                        self.silence = Some(Silence { text: plain(&text), since });
                    }
                }
            }
        }
        self.settle();
    }

    fn look(&mut self, mut look: Look, now: Duration) {
        self.heard = Some(now);
        self.silence = None;
        self.status = look.status;
        let at = plain(self.status["at"].as_str().unwrap_or_default());
        let view = look.question.view;
        let table = &mut self.tables[view.place()];
        // Somebody asks for other words by now: these rows are not the ones.
        if !view.is_searched() || table.words == look.question.words {
            table.put(&mut look.rows, at);
        }
        if let Some(sheet) = &mut self.sheet {
            sheet.refresh(view, table);
            if sheet.pool() == look.question.pool && sheet.pool().is_some() {
                sheet.history = look.history;
            }
        }
    }

    /// Chooses the next longer or shorter interval.
    pub fn change_interval(&mut self, longer: bool) {
        let every = self.every;
        let next = if longer {
            INTERVALS.into_iter().find(|seconds| *seconds > every)
        } else {
            INTERVALS.into_iter().rev().find(|seconds| *seconds < every)
        };
        self.every = next.unwrap_or(every);
    }
}
