//! Which key does what.
//!
//! Invariant: Ctrl-C always leaves; while something is typed every other key belongs to that. What
//! acts asks first, about the row that was chosen when it was asked.
//! Not here: reading keys from a terminal (`screen.rs`).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::{Value, json};

use super::paint::text;
use super::sheet::{About, Sheet};
use super::state::{Order, Prompt, State, View};

/// Characters that can be typed on the last line.
const TYPED_MAX: usize = 100;
/// What has to be typed before something is done.
pub const MEANT: &str = "yes";

/// The keys as the help shows them.
pub const KEYS: [(&str, &str); 14] = [
    ("1 … 6, Tab", "pools, waits, holders, clients, servers, alerts and advice"),
    ("Up Down j k", "the row above or below"),
    ("PgUp PgDn", "a screen further"),
    ("Home End g G", "the first and the last row"),
    ("Enter", "everything about the row; of a pool its last minutes too"),
    ("Esc", "back: from that, from a filter, and out"),
    ("/", "show only rows that contain what is typed"),
    ("s", "sort by the next column"),
    ("p", "freeze the screen, and let it go on"),
    ("+ -", "longer or shorter between two looks"),
    ("P R", "pause or resume the database of the chosen pool"),
    ("K", "close the chosen client"),
    ("Ctrl-L", "draw everything anew"),
    ("q, Ctrl-C", "leave"),
];

/// What a key asks of whoever has the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To show what has changed.
    Show,
    /// To draw everything anew.
    Repaint,
    /// To tell the pooler something.
    Act(Order),
    /// To leave.
    Leave,
}

impl State {
    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent) -> Effect {
        if key.kind == KeyEventKind::Release {
            return Effect::Show;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let effect = match (key.code, is_control) {
            (KeyCode::Char('c'), true) => Effect::Leave,
            (KeyCode::Char('l'), true) => Effect::Repaint,
            (code, _) if self.prompt.is_some() => self.type_in(code, is_control),
            (_, true) => Effect::Show,
            (code, false) => {
                self.note = None;
                self.command(code)
            }
        };
        self.settle();
        effect
    }

    fn command(&mut self, code: KeyCode) -> Effect {
        match code {
            KeyCode::Char('q') => return Effect::Leave,
            KeyCode::Esc => return self.back(),
            KeyCode::Char('?') => self.sheet = Some(Sheet::keys()),
            KeyCode::Tab => self.look_at(self.view.next(1)),
            KeyCode::BackTab => self.look_at(self.view.next(View::ALL.len() - 1)),
            KeyCode::Char('p') => {
                self.is_frozen = !self.is_frozen;
                if !self.is_frozen {
                    self.hurry();
                }
            }
            KeyCode::Char('+' | '=') => self.change_interval(true),
            KeyCode::Char('-') => self.change_interval(false),
            KeyCode::Char(digit @ '1'..='6') => {
                let views = ('1'..='6').zip(View::ALL);
                let chosen = views.into_iter().find(|(key, _)| *key == digit);
                self.look_at(chosen.map_or(self.view, |(_, view)| view));
            }
            KeyCode::Char(letter @ ('P' | 'R' | 'K')) => self.ask_whether(letter),
            code if self.sheet.is_some() => self.turn_sheet(code),
            code => self.turn_rows(code),
        }
        Effect::Show
    }

    fn look_at(&mut self, view: View) {
        self.sheet = None;
        self.view = view;
    }

    fn back(&mut self) -> Effect {
        if self.sheet.take().is_some() {
            return Effect::Show;
        }
        if self.table().words.is_empty() {
            return Effect::Leave;
        }
        self.confirm_words(String::new());
        Effect::Show
    }

    fn turn_rows(&mut self, code: KeyCode) {
        let view = self.view;
        let table = self.table_mut();
        let page = table.page();
        match code {
            KeyCode::Down | KeyCode::Char('j') => table.go(1),
            KeyCode::Up | KeyCode::Char('k') => table.go(-1),
            KeyCode::PageDown => table.go(page),
            KeyCode::PageUp => table.go(-page),
            KeyCode::Home | KeyCode::Char('g') => table.choose(0),
            KeyCode::End | KeyCode::Char('G') => table.choose(usize::MAX),
            KeyCode::Char('s') => table.sort_next(),
            KeyCode::Char('/') => self.prompt = Some(Prompt::Words(table.words.clone())),
            KeyCode::Enter => {
                let sheet = table.chosen().map(|(_, row)| Sheet::row(view, row));
                self.sheet = sheet;
            }
            _ => {}
        }
    }

    fn turn_sheet(&mut self, code: KeyCode) {
        let page = self.size().1.saturating_sub(super::state::LINES_AROUND);
        let Some(sheet) = &mut self.sheet else { return };
        let first = sheet.first;
        sheet.first = match code {
            KeyCode::Down | KeyCode::Char('j') => first.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => first.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => first.saturating_add(page),
            KeyCode::PageUp => first.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            // The end is found where the lines are known.
            KeyCode::End | KeyCode::Char('G') => u16::MAX,
            KeyCode::Enter | KeyCode::Backspace | KeyCode::Left => {
                self.sheet = None;
                return;
            }
            _ => first,
        };
    }

    /// Prepares an order about the chosen row and asks whether it is meant.
    fn ask_whether(&mut self, letter: char) {
        match self.order(letter) {
            Ok(order) => self.prompt = Some(Prompt::Confirm(order, String::new())),
            Err(why) => self.note = Some(Err(why.to_owned())),
        }
    }

    fn order(&self, letter: char) -> Result<Order, &'static str> {
        if !self.can_act {
            return Err("actions need a token: --token-file FILE");
        }
        if self.is_acting {
            return Err("one at a time: the last one has not been answered");
        }
        // What is on the screen is what is meant: a row that is shown whole goes before the list.
        let row = match self.sheet.as_ref().map(|sheet| &sheet.about) {
            Some(About::Row { is_gone: true, .. }) => return Err("it is gone"),
            Some(About::Row { row, .. }) => row,
            _ => self.table().chosen().ok_or("no row is chosen")?.1,
        };
        if letter == 'K' {
            let id = match self.view {
                View::Clients => &row["id"],
                View::Waits | View::Holders => &row["client"],
                _ => return Err("K closes a client: choose one in view 2, 3 or 4"),
            };
            let Some(id) = id.as_u64() else { return Err("this row has no client") };
            let who = [text(&row["user"]), text(&row["place"])].join(" ");
            let about = format!("close client {id} {}", who.trim_start());
            return Ok(Order { word: "kill", body: json!({ "client": id }), about });
        }
        let name = match (self.view, &row["database"]) {
            (View::Pools, Value::String(name)) if !name.is_empty() => name,
            (View::Pools, _) => return Err("this pool has no database"),
            _ => return Err("P and R are about a pool: choose one in view 1"),
        };
        let word = if letter == 'P' { "pause" } else { "resume" };
        let about = format!("{word} database {}", text(&row["database"]));
        Ok(Order { word, body: json!({ "database": name }), about })
    }

    fn type_in(&mut self, code: KeyCode, is_control: bool) -> Effect {
        let Some(prompt) = &mut self.prompt else { return Effect::Show };
        let (Prompt::Words(typed) | Prompt::Confirm(_, typed)) = prompt;
        match code {
            KeyCode::Char('u') if is_control => typed.clear(),
            KeyCode::Char(_) if is_control => {}
            KeyCode::Char(letter) if typed.chars().count() < TYPED_MAX && !letter.is_control() => {
                typed.push(letter);
            }
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Enter => return self.enter(),
            KeyCode::Esc => {
                self.prompt = None;
                let words = self.table().words.clone();
                self.table_mut().draft(&words);
                return Effect::Show;
            }
            _ => {}
        }
        if let Some(Prompt::Words(typed)) = &self.prompt {
            let typed = typed.clone();
            self.table_mut().draft(&typed);
        }
        Effect::Show
    }

    fn enter(&mut self) -> Effect {
        match self.prompt.take() {
            Some(Prompt::Confirm(order, typed)) if typed.trim() == MEANT => {
                self.is_acting = true;
                Effect::Act(order)
            }
            Some(Prompt::Confirm(order, _)) => {
                self.note = Some(Err(format!("not done: {}", order.about)));
                Effect::Show
            }
            Some(Prompt::Words(words)) => {
                self.confirm_words(words);
                Effect::Show
            }
            None => Effect::Show,
        }
    }

    fn confirm_words(&mut self, words: String) {
        let table = self.table_mut();
        table.draft(&words);
        table.words = words;
    }
}
