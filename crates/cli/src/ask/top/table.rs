//! The rows of one view: as they came, which of them are shown in which order, and the chosen one.
//!
//! Invariant: the chosen row stays the same one while rows come and go around it, the first place
//! stays the first, and the chosen row is always on the screen; there are never more than
//! [`ROWS_MAX`] rows, whoever answers.
//! Not here: what a row shows (`columns.rs`).

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::columns;
use super::state::View;

/// Rows that are kept of one answer: ten times what the pooler gives.
pub const ROWS_MAX: usize = 10_000;

/// The rows of one view.
#[derive(Debug)]
pub struct Table {
    view: View,
    rows: Vec<Value>,
    /// Places in `rows`, in the order in which they are shown.
    shown: Vec<usize>,
    /// How many the pooler found, whatever it gave.
    pub found: u64,
    /// When the pooler looked, in its words.
    pub at: String,
    /// An answer came at all.
    pub is_known: bool,
    /// What rows must contain, as it was last confirmed.
    pub words: String,
    /// What rows must contain, as it is being typed.
    draft: String,
    /// The column by which rows are sorted; none for the order that matters most.
    pub sort: Option<usize>,
    /// The chosen row, as a place in `shown`.
    chosen: usize,
    /// What tells it from others; none for whichever row comes first, which is what nobody who has
    /// chosen nothing wants to lose.
    name: Option<String>,
    /// The first row on the screen, as a place in `shown`.
    first: usize,
    /// How many rows are on the screen.
    page: usize,
}

impl Table {
    /// Makes a table without rows.
    pub fn new(view: View) -> Self {
        Self {
            view,
            rows: Vec::new(),
            shown: Vec::new(),
            found: 0,
            at: String::new(),
            is_known: false,
            words: String::new(),
            draft: String::new(),
            sort: None,
            chosen: 0,
            name: None,
            first: 0,
            page: 1,
        }
    }

    /// Takes the rows of an answer.
    pub fn put(&mut self, answer: &mut Value, at: String) {
        let (rows, found) = rows(self.view, answer);
        self.rows = rows;
        self.found = found;
        self.at = at;
        self.is_known = true;
        self.arrange();
    }

    /// Returns how many rows there are, shown or not.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns how many rows are shown.
    pub fn shown(&self) -> usize {
        self.shown.len()
    }

    /// Returns the rows on the screen, from the first: place and row.
    pub fn on_screen(&self) -> impl Iterator<Item = (usize, &Value)> {
        let places = self.shown.iter().enumerate().skip(self.first).take(self.page);
        places.filter_map(|(place, row)| Some((place, self.rows.get(*row)?)))
    }

    /// Returns the chosen row.
    pub fn chosen(&self) -> Option<(usize, &Value)> {
        let row = self.rows.get(*self.shown.get(self.chosen)?)?;
        Some((self.chosen, row))
    }

    /// Returns the row of a name.
    pub fn named(&self, wanted: &str) -> Option<&Value> {
        self.rows.iter().find(|row| name(self.view, row) == wanted)
    }

    /// Shows only rows that contain every one of these words, while they are being typed.
    pub fn draft(&mut self, words: &str) {
        self.draft = words.to_owned();
        self.arrange();
    }

    /// Says how many rows are on the screen.
    pub fn resize(&mut self, page: usize) {
        self.page = page.max(1);
        self.scroll();
    }

    /// Chooses the row that is so many rows further down; as far as there are rows.
    pub fn go(&mut self, rows: isize) {
        self.choose(self.chosen.saturating_add_signed(rows));
    }

    /// Chooses a row by its place; the last one if there are not as many.
    pub fn choose(&mut self, place: usize) {
        self.chosen = place.min(self.shown.len().saturating_sub(1));
        let row = self.chosen().filter(|(place, _)| *place > 0);
        self.name = row.map(|(_, row)| name(self.view, row));
        self.scroll();
    }

    /// Returns how many rows a page has.
    pub fn page(&self) -> isize {
        isize::try_from(self.page).unwrap_or(isize::MAX)
    }

    /// Sorts by the next column; behind the last one comes the order that matters most.
    pub fn sort_next(&mut self) {
        let next = self.sort.map_or(0, |column| column + 1);
        self.sort = (next < columns::of(self.view).len()).then_some(next);
        self.arrange();
    }

    /// Filters, sorts, and finds the chosen row again.
    fn arrange(&mut self) {
        let words: Vec<String> = self.draft.split_whitespace().map(str::to_lowercase).collect();
        let fits = |row: &Value| words.is_empty() || contains(self.view, row, &words);
        let mut shown: Vec<usize> = (0..self.rows.len()).collect();
        shown.retain(|row| self.rows.get(*row).is_some_and(fits));
        match self.sort.and_then(|column| columns::of(self.view).get(column)) {
            Some(column) => {
                let mut keyed: Vec<_> = shown
                    .into_iter()
                    .map(|row| ((column.cell)(&self.rows[row]).order, row))
                    .collect();
                keyed.sort_by(|(a, _), (b, _)| a.compare(b));
                shown = keyed.into_iter().map(|(_, row)| row).collect();
            }
            None if self.view == View::Pools => {
                shown.sort_by_cached_key(|row| Reverse(busy(&self.rows[*row])));
            }
            // The pooler gives the longest first, and alerts before advice.
            None => {}
        }
        self.shown = shown;
        let is_it = |row: &usize| {
            let row = self.rows.get(*row);
            row.is_some_and(|row| self.name.as_deref() == Some(&name(self.view, row)))
        };
        // Names that occur twice: the one at the same place is the same one.
        let here = self.shown.get(self.chosen).is_some_and(is_it);
        let place = if here { None } else { self.shown.iter().position(is_it) };
        match place {
            Some(place) => self.chosen = place,
            None => self.choose(self.chosen),
        }
        self.scroll();
    }

    /// Keeps the chosen row on the screen, and the screen full.
    fn scroll(&mut self) {
        let last = self.shown.len().saturating_sub(self.page);
        let least = (self.chosen + 1).saturating_sub(self.page);
        self.first = self.first.clamp(least, self.chosen.max(least)).min(last);
    }
}

fn busy(pool: &Value) -> (u64, u64) {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    (count(&pool["waiting"]), count(&pool["connections"]["used"]))
}

/// Takes the rows out of an answer, and how many there would be.
fn rows(view: View, answer: &mut Value) -> (Vec<Value>, u64) {
    let mut list = |name: &str| {
        // Not by index: that panics where the answer is no object.
        let found = answer.get_mut(name).map(Value::take);
        let Some(Value::Array(mut rows)) = found else { return Vec::new() };
        rows.truncate(ROWS_MAX);
        rows
    };
    let rows = match view {
        View::Alerts => {
            let alerts = list("active").into_iter().map(|alert| json!({ "alert": alert }));
            let mut rows: Vec<Value> = alerts.collect();
            rows.extend(list("advice").into_iter().map(|advice| json!({ "advice": advice })));
            rows
        }
        _ => list(view.word()),
    };
    let told = if view == View::Pools { &answer["total"] } else { &answer["found"] };
    let found = told.as_u64().unwrap_or(0).max(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    (rows, found)
}

/// Returns what tells a row from others, from look to look.
pub fn name(view: View, row: &Value) -> String {
    let of = |row: &Value, keys: &[&str]| {
        keys.iter().map(|key| row[*key].to_string()).collect::<Vec<_>>().join(" ")
    };
    match view {
        View::Pools => of(row, &["name"]),
        View::Waits => of(row, &["pool", "client", "place"]),
        View::Holders => of(row, &["pool", "client", "server", "place"]),
        View::Clients | View::Servers => of(row, &["id"]),
        View::Alerts => match &row["advice"] {
            Value::Null => {
                let alert = &row["alert"];
                format!("{} {}", of(&alert["rule"], &["name"]), of(alert, &["subject"]))
            }
            advice => of(advice, &["subject", "title"]),
        },
    }
}

/// Every word occurs in some value of the row: what the pooler's `?q=` means too.
fn contains(view: View, row: &Value, words: &[String]) -> bool {
    let mut text = String::new();
    let mut add = |value: &Value| {
        match value {
            Value::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
        text.push('\u{1f}');
    };
    match view {
        View::Pools => {
            for key in ["name", "database", "user", "mode", "backend", "error"] {
                add(&row[key]);
            }
            add(&row["health"]["status"]);
            add(&row["health"]["text"]);
        }
        View::Alerts => add(row),
        _ => row.as_object().into_iter().flat_map(|row| row.values()).for_each(add),
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}
