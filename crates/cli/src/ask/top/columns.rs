//! What each view shows of a row: its columns, and which of them fit.
//!
//! Invariant: a cell is made of one row alone and holds no control character; the column of the
//! greatest rank is the first to go where the terminal is narrow.
//! Not here: which rows there are (`table.rs`), drawing (`view.rs`).

use std::cmp::Ordering;

use serde_json::Value;

use super::paint::{self, Tone, text};
use super::state::View;
use crate::ask::print::time;

/// Columns of a bar.
const BAR: u16 = 8;

/// Where the text of a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On the left, as words do.
    Left,
    /// On the right, as numbers do.
    Right,
}

/// What a cell is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Greatest first.
    Number(f64),
    /// By the alphabet.
    Text(String),
}

impl Order {
    /// Compares in the direction in which a reader looks for something.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => b.total_cmp(a),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// One value of one row.
pub struct Cell {
    /// What is shown.
    pub text: String,
    /// What it means.
    pub tone: Tone,
    /// What it is sorted by.
    pub order: Order,
}

/// One column of a view.
pub struct Column {
    /// What stands above it.
    pub title: &'static str,
    /// How dispensable it is; 0 is never left out.
    pub rank: u8,
    /// Where its texts stand.
    pub side: Side,
    /// Columns of the terminal that it takes at least, so that it does not jump as values change.
    pub usual: u16,
    /// How many it takes at most; [`REST`] for whatever is left.
    pub widest: u16,
    /// Makes its cell of a row.
    pub cell: fn(&Value) -> Cell,
}

/// Below so many columns, texts get what is usual for them and not what they need.
const NARROW: u16 = 68;
/// From so many columns on there is room enough: two spaces between values, and whole names.
pub const ROOMY: u16 = 100;
/// What a text gets at most between those two.
const NAME: u16 = 18;
/// The width of a column that takes what the others leave.
pub const REST: u16 = u16::MAX;

const fn left(
    title: &'static str,
    rank: u8,
    usual: u16,
    widest: u16,
    cell: fn(&Value) -> Cell,
) -> Column {
    Column { title, rank, side: Side::Left, usual, widest, cell }
}

const fn right(title: &'static str, rank: u8, usual: u16, cell: fn(&Value) -> Cell) -> Column {
    Column { title, rank, side: Side::Right, usual, widest: 14, cell }
}

fn words(value: &Value) -> Cell {
    let text = text(value);
    Cell { order: Order::Text(text.clone()), text, tone: Tone::Plain }
}

/// A word that says how something is.
fn judged(value: &Value) -> Cell {
    let cell = words(value);
    Cell { tone: Tone::of(&cell.text), ..cell }
}

fn number(value: &Value) -> Cell {
    let order = Order::Number(value.as_f64().unwrap_or(-1.0));
    Cell {
        text: if value.is_null() { "-".to_owned() } else { text(value) },
        tone: Tone::Plain,
        order,
    }
}

fn lasting(value: &Value) -> Cell {
    let order = Order::Number(value.as_f64().unwrap_or(0.0));
    Cell { text: time(value), tone: Tone::Plain, order }
}

fn rate(value: &Value) -> Cell {
    let rate = value.as_f64().unwrap_or(0.0);
    Cell { text: format!("{rate:.0}"), tone: Tone::Plain, order: Order::Number(rate) }
}

fn count(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn used(pool: &Value) -> Cell {
    let (used, max) = (&pool["connections"]["used"], &pool["size_max"]);
    let limit = if count(max) > 0.0 { text(max) } else { "-".to_owned() };
    let tone = if count(max) > 0.0 && count(used) >= count(max) { Tone::Warn } else { Tone::Plain };
    let shown = if used.is_null() { "0".to_owned() } else { text(used) };
    Cell { text: format!("{shown}/{limit}"), tone, order: Order::Number(count(used)) }
}

fn full(pool: &Value) -> Cell {
    let (used, max) = (count(&pool["connections"]["used"]), count(&pool["size_max"]));
    let ratio = if max > 0.0 { used / max } else { 0.0 };
    let tone = if ratio >= 1.0 { Tone::Warn } else { Tone::Plain };
    let text = if max > 0.0 { paint::bar(ratio, BAR) } else { "no limit".to_owned() };
    Cell { text, tone, order: Order::Number(ratio) }
}

fn waiting(pool: &Value) -> Cell {
    let waiting = count(&pool["waiting"]);
    let order = Order::Number(waiting);
    if waiting <= 0.0 {
        return Cell { text: "0".to_owned(), tone: Tone::Plain, order };
    }
    let oldest = time(&pool["oldest_wait_seconds"]);
    Cell { text: format!("{waiting:.0} ({oldest})"), tone: Tone::Warn, order }
}

/// Returns why a pool is as it is; a pause is said too.
pub fn remark(pool: &Value) -> Cell {
    let cell = words(&pool["health"]["text"]);
    if pool["paused"] == true && !cell.text.contains("paused") {
        let text = format!("paused {}", cell.text).trim_end().to_owned();
        return Cell { text, ..cell };
    }
    cell
}

const POOLS: [Column; 11] = [
    left("POOL", 0, 10, 28, |row| words(&row["name"])),
    left("HEALTH", 1, 9, 9, |row| judged(&row["health"]["status"])),
    right("USED", 2, 5, used),
    left("FULL", 7, BAR, BAR, full),
    right("IDLE", 8, 4, |row| number(&row["connections"]["idle"])),
    right("WAITING", 3, 9, waiting),
    right("QUERIES/S", 5, 9, |row| rate(&row["figures"]["queries_rate"])),
    right("P50", 9, 5, |row| lasting(&row["figures"]["query_p50_seconds"])),
    right("P99", 4, 5, |row| lasting(&row["figures"]["query_p99_seconds"])),
    right("WAIT P99", 6, 8, |row| lasting(&row["figures"]["wait_p99_seconds"])),
    left("WHY", 10, 8, REST, remark),
];

const WAITS: [Column; 5] = [
    right("FOR", 0, 6, |row| lasting(&row["seconds"])),
    left("REASON", 1, 12, 22, |row| words(&row["reason"])),
    left("POOL", 2, 10, 28, |row| words(&row["pool"])),
    right("CLIENT", 3, 6, |row| number(&row["client"])),
    left("WHO", 4, 8, REST, |row| words(&row["place"])),
];

const HOLDERS: [Column; 7] = [
    right("FOR", 0, 6, |row| lasting(&row["seconds"])),
    left("STATE", 1, 12, 22, |row| words(&row["state"])),
    left("POOL", 2, 10, 28, |row| words(&row["pool"])),
    right("CLIENT", 3, 6, |row| number(&row["client"])),
    right("SERVER", 6, 6, |row| number(&row["server"])),
    right("PROCESS", 5, 7, |row| number(&row["process"])),
    left("WHO", 4, 8, REST, |row| words(&row["place"])),
];

const CLIENTS: [Column; 11] = [
    right("CLIENT", 0, 6, |row| number(&row["id"])),
    left("STATE", 1, 8, 20, |row| words(&row["state"])),
    left("USER", 2, 8, 20, |row| words(&row["user"])),
    left("DATABASE", 3, 8, 20, |row| words(&row["database"])),
    left("APPLICATION", 4, 11, 22, |row| words(&row["application"])),
    right("LAST ASKED", 6, 10, |row| lasting(&row["request_seconds"])),
    right("CONNECTED", 7, 9, |row| lasting(&row["connected_seconds"])),
    right("SERVER", 8, 6, |row| number(&row["server"])),
    right("WORKER", 10, 6, |row| number(&row["worker"])),
    left("TLS", 9, 3, 24, |row| words(&row["tls"])),
    left("PLACE", 5, 10, REST, |row| words(&row["place"])),
];

const SERVERS: [Column; 11] = [
    right("SERVER", 0, 6, |row| number(&row["id"])),
    left("STATE", 1, 8, 20, |row| words(&row["state"])),
    left("DATABASE", 2, 8, 20, |row| words(&row["database"])),
    left("USER", 4, 8, 20, |row| words(&row["user"])),
    right("PROCESS", 3, 7, |row| number(&row["process"])),
    right("CLIENT", 5, 6, |row| number(&row["client"])),
    right("LAST GIVEN", 7, 10, |row| lasting(&row["request_seconds"])),
    right("CONNECTED", 8, 9, |row| lasting(&row["connected_seconds"])),
    left("LEAVING", 10, 7, 7, |row| {
        words(&if row["leaving"] == true { Value::from("yes") } else { Value::Null })
    }),
    left("TLS", 9, 3, 24, |row| words(&row["tls"])),
    left("PLACE", 6, 10, REST, |row| words(&row["place"])),
];

/// How much advice matters, in the words of alerts.
fn weight(status: &Value) -> Cell {
    let cell = judged(status);
    let text = match cell.text.as_str() {
        "healthy" => "info".to_owned(),
        "unhealthy" => "critical".to_owned(),
        _ => cell.text,
    };
    Cell { order: Order::Text(text.clone()), text, tone: cell.tone }
}

/// A row of this view is an alert or a piece of advice.
const ALERTS: [Column; 6] = [
    left("ALERT", 0, 12, 30, |row| match &row["advice"] {
        Value::Null => words(&row["alert"]["rule"]["name"]),
        _ => words(&Value::from("advice")),
    }),
    left("HOW BAD", 1, 9, 9, |row| match &row["advice"] {
        Value::Null => judged(&row["alert"]["rule"]["severity"]),
        advice => weight(&advice["weight"]),
    }),
    left("STATE", 2, 8, 17, |row| {
        let phase = judged(&row["alert"]["phase"]);
        match row["alert"]["silenced"] == true {
            true => Cell { text: format!("{}, silenced", phase.text), ..phase },
            false => phase,
        }
    }),
    left("ABOUT", 3, 8, 28, |row| match &row["advice"] {
        Value::Null => words(&row["alert"]["subject"]),
        advice => words(&advice["subject"]),
    }),
    right("VALUE", 5, 6, |row| match row["alert"]["value"].as_f64() {
        None => number(&Value::Null),
        Some(value) => {
            Cell { text: format!("{value:.2}"), tone: Tone::Plain, order: Order::Number(value) }
        }
    }),
    left("WHAT", 4, 12, REST, |row| match &row["advice"] {
        Value::Null => words(&row["alert"]["rule"]["summary"]),
        advice => words(&advice["title"]),
    }),
];

/// Returns the columns of a view, from left to right.
pub fn of(view: View) -> &'static [Column] {
    match view {
        View::Pools => &POOLS,
        View::Waits => &WAITS,
        View::Holders => &HOLDERS,
        View::Clients => &CLIENTS,
        View::Servers => &SERVERS,
        View::Alerts => &ALERTS,
    }
}

/// Chooses the columns that fit into `room` columns of the terminal with `gap` between them, and
/// how wide each is: place and width, from left to right. `needs` is how wide each would like
/// to be.
pub fn fit(columns: &[Column], needs: &[u16], gap: u16, room: u16) -> Vec<(usize, u16)> {
    let wish = |(place, (column, need)): (usize, (&Column, &u16))| {
        let widest = match column.side {
            _ if column.widest == REST => column.usual,
            // Another column is worth more than the end of a name.
            Side::Left if room < NARROW => column.usual,
            Side::Left if room < ROOMY => column.widest.min(NAME).max(column.usual),
            _ => column.widest,
        };
        (place, (*need).clamp(column.usual, widest))
    };
    let mut kept: Vec<(usize, u16)> = columns.iter().zip(needs).enumerate().map(wish).collect();
    let total = |kept: &[(usize, u16)]| {
        let gaps = u32::from(gap) * u32::try_from(kept.len().saturating_sub(1)).unwrap_or(0);
        kept.iter().map(|(_, width)| u32::from(*width)).sum::<u32>() + gaps
    };
    let rank = |place: usize| columns.get(place).map_or(0, |column| column.rank);
    while kept.len() > 1 && total(&kept) > u32::from(room) {
        let last = kept.iter().map(|(place, _)| rank(*place)).max();
        kept.retain(|(place, _)| Some(rank(*place)) != last);
    }
    // Whatever is left goes to the column that takes it, or else to the first.
    let left = u32::from(room).saturating_sub(total(&kept));
    let left = u16::try_from(left).unwrap_or(u16::MAX);
    let rest = |(place, _): &(usize, u16)| columns.get(*place).is_some_and(|c| c.widest == REST);
    let place = kept.iter().position(rest).unwrap_or(0);
    if let Some((column, width)) = kept.get_mut(place) {
        let need = needs.get(*column).copied().unwrap_or(0);
        let is_rest = columns.get(*column).is_some_and(|column| column.widest == REST);
        *width = if is_rest { *width + left } else { need.clamp(*width, *width + left) };
        *width = (*width).min(room);
    }
    kept
}
