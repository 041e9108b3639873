//! What lies over the rows: everything about one of them, or the keys.
//!
//! Invariant: it is about the same row from look to look; a row that is gone is shown as it last
//! was, and says so.
//! Not here: drawing (`view.rs`).

use serde_json::Value;

use super::keys::KEYS;
use super::paint::{Tone, plain, spark, text, width, wrap};
use super::state::{State, View};
use super::table::{Table, name};
use crate::ask::print::time;

/// Seconds of history that a pool shows.
pub const RANGE_SECONDS: u32 = 900;
/// Columns before a value.
const LABEL: usize = 13;
/// Columns behind a line of the past, for what it is now and was at most.
const FIGURES: u16 = 26;
/// Lines of a list that are shown.
const LIST_MAX: usize = 50;

/// A line: texts and what they mean.
pub type Row = Vec<(String, Tone)>;

/// What it is about.
#[derive(Clone, Debug)]
pub enum About {
    /// The keys.
    Keys,
    /// One row.
    Row {
        /// Of which view.
        view: View,
        /// What tells it from others.
        name: String,
        /// The row as it last was.
        row: Box<Value>,
        /// It is not there any more.
        is_gone: bool,
    },
}

/// What lies over the rows.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// What it is about.
    pub about: About,
    /// The first line on the screen.
    pub first: u16,
    /// What the pool did lately, or why nobody knows.
    pub history: Option<Result<Value, String>>,
}

impl Sheet {
    /// Shows the keys.
    pub fn keys() -> Self {
        Self { about: About::Keys, first: 0, history: None }
    }

    /// Shows a row.
    pub fn row(view: View, row: &Value) -> Self {
        let row = Box::new(row.clone());
        let about = About::Row { view, name: name(view, &row), row, is_gone: false };
        Self { about, first: 0, history: None }
    }

    /// Returns the pool that it is about.
    pub fn pool(&self) -> Option<String> {
        match &self.about {
            About::Row { view: View::Pools, row, .. } => row["name"].as_str().map(str::to_owned),
            _ => None,
        }
    }

    /// Takes the row as it is now.
    pub fn refresh(&mut self, of: View, table: &Table) {
        let About::Row { view, name, row, is_gone } = &mut self.about else { return };
        if *view != of {
            return;
        }
        match table.named(name) {
            Some(now) => (**row, *is_gone) = (now.clone(), false),
            None => *is_gone = true,
        }
    }
}

fn said(text: impl Into<String>) -> Row {
    vec![(text.into(), Tone::Plain)]
}

fn title(text: impl Into<String>) -> Row {
    vec![(text.into(), Tone::Title)]
}

fn fact(label: &str, value: impl Into<String>) -> Row {
    let value = value.into();
    let value = if value.is_empty() { "-".to_owned() } else { value };
    vec![(format!("{label:<LABEL$} "), Tone::Faint), (value, Tone::Plain)]
}

/// Returns all its lines, for a terminal of so many columns.
pub fn lines(state: &State, sheet: &Sheet, columns: u16) -> Vec<Row> {
    let About::Row { view, row, is_gone, .. } = &sheet.about else { return keys(state, columns) };
    let mut lines = match view {
        View::Pools => pool(row, sheet.history.as_ref(), columns),
        View::Alerts if row["advice"].is_null() => alert(&row["alert"], columns),
        View::Alerts => advice(&row["advice"], columns),
        _ => fields(*view, row, columns),
    };
    if *is_gone {
        let text = "gone: this is how it last was";
        lines.insert(0, vec![(text.to_owned(), Tone::Warn)]);
    }
    lines
}

fn keys(state: &State, columns: u16) -> Vec<Row> {
    let mut lines = vec![title("Keys"), Vec::new()];
    for (key, what) in KEYS {
        let mut key = format!("{key:<12} ");
        for part in wrap(what, columns.saturating_sub(width(&key))) {
            lines.push(vec![(std::mem::take(&mut key), Tone::Title), (part, Tone::Plain)]);
            key = " ".repeat(13);
        }
    }
    if !state.can_act {
        lines.push(Vec::new());
        lines.extend(wrap("P, R and K need --token-file FILE", columns).into_iter().map(said));
    }
    lines
}

fn list(value: &Value) -> &[Value] {
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    all.get(..LIST_MAX).unwrap_or(all)
}

fn pool(pool: &Value, history: Option<&Result<Value, String>>, columns: u16) -> Vec<Row> {
    let status = text(&pool["health"]["status"]);
    let mut lines = vec![vec![
        (text(&pool["name"]), Tone::Title),
        ("  ".to_owned(), Tone::Plain),
        (status.clone(), Tone::of(&status)),
    ]];
    for why in [&pool["health"]["text"], &pool["error"]] {
        let why = text(why);
        lines.extend(wrap(&why, columns).into_iter().filter(|l| !l.is_empty()).map(said));
    }
    if pool["paused"] == true {
        lines.push(vec![("paused: it hands nothing out".to_owned(), Tone::Warn)]);
    }
    lines.push(Vec::new());
    lines.extend(past(history, columns));
    lines.push(Vec::new());
    lines.extend(reasons(pool));
    lines.push(Vec::new());
    lines.extend(facts(pool));
    lines
}

/// Which values of a history are shown: their name there, a name for people, and whether they are
/// times.
const LINES: [(&str, &str, bool); 5] = [
    ("used", "used", false),
    ("waiting", "waiting", false),
    ("queries_rate", "queries/s", false),
    ("query_p99_seconds", "query p99", true),
    ("wait_p99_seconds", "wait p99", true),
];

fn past(history: Option<&Result<Value, String>>, columns: u16) -> Vec<Row> {
    let history = match history {
        None => return vec![vec![("the last minutes: asking…".to_owned(), Tone::Faint)]],
        Some(Err(why)) => {
            return vec![vec![(format!("the last minutes: {}", plain(why)), Tone::Warn)]];
        }
        Some(Ok(history)) => history,
    };
    let points = history["points"].as_array().map_or(&[][..], Vec::as_slice);
    let oldest = points.first().and_then(|point| point[0].as_f64()).unwrap_or(0.0);
    let mut lines = vec![title(format!("The last {}", time(&Value::from(oldest))))];
    let names = history["fields"].as_array().map_or(&[][..], Vec::as_slice);
    for (field, label, is_time) in LINES {
        let Some(place) = names.iter().position(|name| name == field) else { continue };
        let value = |point: &Value| point[place + 1].as_f64().unwrap_or(0.0);
        let values: Vec<f64> = points.iter().map(value).collect();
        let word = |value: f64| match is_time {
            true => time(&Value::from(value)),
            false => format!("{value:.0}"),
        };
        let max = values.iter().copied().fold(0.0, f64::max);
        let now = values.last().copied().unwrap_or(0.0);
        let label = format!("{label:<LABEL$} ");
        let room = columns.saturating_sub(width(&label));
        let (room, figures) = match room.checked_sub(FIGURES) {
            Some(room) if room >= 10 => {
                (room, format!("  now {}, at most {}", word(now), word(max)))
            }
            _ => (room.saturating_sub(8), format!(" {}", word(now))),
        };
        let line = (spark(&values, room), Tone::Plain);
        lines.push(vec![(label, Tone::Faint), line, (figures, Tone::Plain)]);
    }
    if let Some(seconds) = history["full_in_seconds"].as_f64() {
        let text = format!("full in {} if it goes on like this", time(&Value::from(seconds)));
        lines.push(vec![(text, Tone::Warn)]);
    }
    lines
}

/// What callers waited for, since the start.
fn reasons(pool: &Value) -> Vec<Row> {
    let waits = list(&pool["waits"]);
    if waits.is_empty() {
        return vec![said("nobody has waited since it was started")];
    }
    let head = format!(
        "{:<24} {:>9} {:>7} {:>7} {:>7}",
        "Waits by reason", "times", "p50", "p99", "longest"
    );
    let row = |wait: &Value| {
        let reason = super::paint::cut(&text(&wait["reason"]), 24);
        let gap = " ".repeat(usize::from(24_u16.saturating_sub(width(&reason))));
        let [p50, p99, max] = ["p50", "p99", "max"].map(|key| time(&wait[key]));
        said(format!("{reason}{gap} {:>9} {p50:>7} {p99:>7} {max:>7}", text(&wait["count"])))
    };
    let mut lines = vec![title(head)];
    lines.extend(waits.iter().map(row));
    lines
}

fn facts(pool: &Value) -> Vec<Row> {
    let connections = &pool["connections"];
    let state = |name: &&str| format!("{} {name}", text(&connections[*name]));
    let states = ["used", "idle", "opening", "checking", "resetting", "closing"];
    let states: Vec<String> = states.iter().map(state).collect();
    let totals = &pool["totals"];
    let total = |name: &str| text(&totals[name]);
    let [backend, mode] = ["backend", "mode"].map(|key| text(&pool[key]));
    let [database, user] = ["database", "user"].map(|key| text(&pool[key]));
    let [max, min, reserve] = ["size_max", "size_min", "reserve"].map(|key| text(&pool[key]));
    let error = &pool["last_error"];
    let mut lines = vec![
        title("Facts"),
        fact("connections", states.join(", ")),
        fact("limits", format!("at most {max} (0: none), at least {min}, reserve {reserve}")),
        fact("database", format!("{database} as {user}, {backend}, mode {mode}")),
        fact("clients", text(&pool["clients"])),
        fact("breaker", text(&pool["breaker"])),
        fact("queries", format!("{}, {} transactions", total("queries"), total("transactions"))),
        fact("connects", format!("{}, {} failed", total("created"), total("connect_failures"))),
        fact(
            "trouble",
            format!(
                "{} errors, {} timeouts, {} leaks",
                total("errors"),
                total("timeouts"),
                total("leaks")
            ),
        ),
    ];
    if !error.is_null() {
        lines
            .push(fact("last error", format!("{} ({})", text(&error["text"]), text(&error["at"]))));
    }
    lines
}

fn alert(alert: &Value, columns: u16) -> Vec<Row> {
    let rule = &alert["rule"];
    let (phase, severity) = (text(&alert["phase"]), text(&rule["severity"]));
    let mut lines = vec![vec![
        (text(&rule["name"]), Tone::Title),
        ("  ".to_owned(), Tone::Plain),
        (phase.clone(), Tone::of(&phase)),
    ]];
    lines.extend(wrap(&text(&rule["summary"]), columns).into_iter().map(said));
    lines.push(Vec::new());
    let [comparison, threshold] = ["comparison", "threshold"].map(|key| text(&rule[key]));
    lines.extend([
        fact("about", text(&alert["subject"])),
        fact("severity", severity),
        fact("rule", format!("{} {comparison} {threshold}", text(&rule["metric"]))),
        fact("value", text(&alert["value"])),
        fact("since", text(&alert["since"])),
        fact("fires since", text(&alert["fired_at"])),
        fact("silenced", if alert["silenced"] == true { "yes" } else { "no" }),
    ]);
    lines
}

fn advice(advice: &Value, columns: u16) -> Vec<Row> {
    let mut lines: Vec<Row> =
        wrap(&text(&advice["title"]), columns).into_iter().map(title).collect();
    lines.push(Vec::new());
    for evidence in list(&advice["evidence"]) {
        let evidence = wrap(&text(evidence), columns.saturating_sub(4));
        let marks = std::iter::once("  - ").chain(std::iter::repeat("    "));
        lines.extend(
            evidence.into_iter().zip(marks).map(|(line, mark)| said(mark.to_owned() + &line)),
        );
    }
    lines.push(Vec::new());
    let setting = advice["setting"].as_str().unwrap_or_default().lines().take(LIST_MAX);
    lines.extend(setting.map(|line| said(format!("    {}", plain(line)))));
    lines.push(Vec::new());
    let effect = format!("expect: {}", text(&advice["effect"]));
    lines.extend(wrap(&effect, columns).into_iter().map(said));
    lines
}

/// Everything that is known of a row without a page of its own.
fn fields(view: View, row: &Value, columns: u16) -> Vec<Row> {
    let mut lines = vec![title(view.one()), Vec::new()];
    for (key, value) in row.as_object().into_iter().flatten().take(LIST_MAX) {
        let (label, value) = match key.strip_suffix("_seconds") {
            Some(label) => (label, time(value)),
            None if key == "seconds" => ("for", time(value)),
            None => (key.as_str(), text(value)),
        };
        let mut label = super::paint::cut(&plain(label), 13);
        label.push_str(&" ".repeat(usize::from(14_u16.saturating_sub(width(&label)))));
        for part in wrap(&value, columns.saturating_sub(14)) {
            lines.push(vec![
                (std::mem::replace(&mut label, " ".repeat(14)), Tone::Faint),
                (part, Tone::Plain),
            ]);
        }
    }
    lines
}
