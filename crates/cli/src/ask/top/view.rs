//! The screen: state → cells.
//!
//! Invariant: pure, and at home in any size, none included; every text has gone through `plain`.
//! Two lines of heads, one that says how much of what is shown and how old it is, the rows, and
//! one line for what is typed, what came of it, or the keys.
//! Not here: what a cell says (`columns.rs`), what lies over the rows (`sheet.rs`).

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::columns::{self, Cell, Column, Side};
use super::keys::MEANT;
use super::paint::{Paint, Part, Tone, cut, fit, line, plain, seconds, text, width};
use super::sheet;
use super::state::{LINES_AROUND, Prompt, State, View};
use crate::ask::print::time;

/// The mark of the chosen row, and the space where there is none.
const MARK: [&str; 2] = ["> ", "  "];
/// A pooler that is asked for longer than this is said to be.
const SLOW: Duration = Duration::from_secs(2);

/// Draws everything; returns where the cursor stands, if somebody types.
pub fn draw(buffer: &mut Buffer, state: &State, now: Duration, paint: Paint) -> Option<(u16, u16)> {
    let area = buffer.area;
    line(buffer, area, 0, &head(state, area.width, paint));
    line(buffer, area, 1, &tabs(state, area.width, paint));
    line(buffer, area, 2, &notice(state, now, area.width, paint));
    let below = Rect {
        y: area.y.saturating_add(3),
        height: area.height.saturating_sub(LINES_AROUND - 1),
        ..area
    };
    match &state.sheet {
        Some(over) => {
            let lines = sheet::lines(state, over, area.width);
            let shown = lines.into_iter().skip(usize::from(over.first));
            for (row, parts) in (0..below.height).zip(shown) {
                let span = |(text, tone)| Span::styled(text, paint.style(tone));
                line(buffer, below, row, &parts.into_iter().map(span).collect());
            }
        }
        None => rows(buffer, below, state, paint),
    }
    if state.silence.is_some() {
        buffer.set_style(below, paint.style(Tone::Faint));
    }
    let last = area.height.checked_sub(1)?;
    // Where there is hardly a line, only what is typed or was answered is worth one.
    let is_urgent = state.prompt.is_some() || state.note.is_some() || state.is_acting;
    if last < 3 && !is_urgent {
        return None;
    }
    let last = Rect { y: area.y + last, height: 1, ..area };
    for x in last.left()..last.right() {
        buffer[(x, last.y)].reset();
    }
    bottom(buffer, last, state, paint)
}

/// The process: how it is in one word, and its numbers.
fn head(state: &State, room: u16, paint: Paint) -> Line<'static> {
    let (status, process) = (&state.status, &state.status["process"]);
    let word = text(&status["status"]);
    let tone = Tone::of(&word);
    let firing = status["alerts_firing"].as_u64().unwrap_or(0);
    let mut parts = Vec::new();
    if state.silence.is_some() {
        parts.push(Part(0, "NO ANSWER".to_owned(), Tone::Bad));
        parts.push(Part(3, format!("was {}", if word.is_empty() { "?" } else { &word }), tone));
    } else if status.is_null() {
        parts.push(Part(0, "asking…".to_owned(), Tone::Faint));
        return fit(parts, " · ", room, paint);
    } else {
        parts.push(Part(0, word.to_uppercase(), tone));
    }
    let limit = match process["clients_max"].as_u64() {
        None | Some(0) => String::new(),
        Some(max) => format!("/{max}"),
    };
    let alerts = match firing {
        0 => Part(2, "alerts 0".to_owned(), Tone::Plain),
        _ => Part(1, format!("alerts {firing} FIRING"), Tone::Bad),
    };
    parts.push(Part(7, text(&process["service"]), Tone::Title));
    parts.push(Part(8, text(&process["version"]), Tone::Plain));
    parts.push(Part(6, format!("up {}", time(&process["uptime_seconds"])), Tone::Plain));
    parts.push(Part(3, format!("clients {}{limit}", text(&process["clients"])), Tone::Plain));
    parts.push(alerts);
    parts.push(Part(4, clock(&text(&status["at"])), Tone::Plain));
    parts.push(Part(9, format!("every {}", every(state.every)), Tone::Plain));
    if process["paused"] == true {
        parts.push(Part(1, "PAUSED".to_owned(), Tone::Warn));
    }
    if process["phase"] == "draining" {
        parts.push(Part(1, "DRAINING".to_owned(), Tone::Warn));
    }
    parts.retain(|part| !part.1.is_empty());
    fit(parts, " · ", room, paint)
}

fn every(seconds: f64) -> String {
    time(&serde_json::Value::from(seconds))
}

/// The time of day of a timestamp, or the timestamp if it is none.
fn clock(at: &str) -> String {
    match (at.get(10..11), at.get(11..19)) {
        (Some("T"), Some(time)) => format!("{time}Z"),
        _ => cut(at, 24),
    }
}

/// The views and their keys; the chosen one is in brackets, and the only one named where the
/// terminal is narrow.
fn tabs(state: &State, room: u16, paint: Paint) -> Line<'static> {
    let tabs = |name: &dyn Fn(View) -> String| {
        let tab = |(number, view): (u8, View)| {
            let name = name(view);
            if view == state.view {
                let style = Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED);
                return Span::styled(format!("[{number} {}]", view.title()), style);
            }
            Span::styled(format!(" {number} {name} "), paint.style(Tone::Plain))
        };
        (1..).zip(View::ALL).map(tab).collect::<Line<'static>>()
    };
    let long = tabs(&|view| view.title().to_owned());
    if long.width() <= usize::from(room) { long } else { tabs(&|_| String::new()) }
}

/// How much of what is shown, and how old it is.
fn notice(state: &State, now: Duration, room: u16, paint: Paint) -> Line<'static> {
    let mut parts = Vec::new();
    if let Some(silence) = &state.silence {
        let old = match state.heard {
            Some(heard) => format!("figures {} old", seconds(now.saturating_sub(heard))),
            None => format!("no figures for {}", seconds(now.saturating_sub(silence.since))),
        };
        parts.push(Part(0, old, Tone::Bad));
        // Not `fit`: an error that does not fit is cut, not left out.
        let left = room.saturating_sub(width(&parts[0].1)).saturating_sub(3);
        parts.push(Part(1, cut(&silence.text, left), Tone::Warn));
        parts.retain(|part| !part.1.is_empty());
        return fit(parts, " · ", room, paint);
    }
    if state.is_frozen {
        let at = clock(&text(&state.status["at"]));
        parts.push(Part(0, format!("FROZEN at {at}, p goes on"), Tone::Warn));
    }
    if let Some(pending) = state.pending(now).filter(|pending| *pending >= SLOW) {
        parts.push(Part(0, format!("asked {} ago, no answer yet", seconds(pending)), Tone::Warn));
    }
    let table = state.table();
    if state.sheet.is_some() {
        parts.push(Part(1, "Esc goes back, arrows move".to_owned(), Tone::Faint));
        return fit(parts, " · ", room, paint);
    }
    if !table.is_known {
        let word = if state.is_frozen { "not looked at before" } else { "asking…" };
        parts.push(Part(1, word.to_owned(), Tone::Faint));
        return fit(parts, " · ", room, paint);
    }
    let (shown, found) = (table.shown(), table.found);
    let all = u64::try_from(table.len()).unwrap_or(u64::MAX) >= found && shown == table.len();
    let name = match (state.view, found) {
        (View::Alerts, _) => "alerts and advice".to_owned(),
        (view, 1) => view.one().to_lowercase(),
        (view, _) => view.word().to_owned(),
    };
    parts.push(Part(
        1,
        if all { format!("{shown} {name}") } else { format!("{shown} of {found} {name}") },
        Tone::Plain,
    ));
    if !table.words.is_empty() {
        parts.push(Part(2, format!("with \"{}\"", plain(&table.words)), Tone::Warn));
    }
    if let Some(column) = table.sort.and_then(|column| columns::of(state.view).get(column)) {
        parts.push(Part(3, format!("sorted by {}", column.title), Tone::Plain));
    }
    if let Some((place, row)) = table.chosen() {
        parts.push(Part(6, format!("row {}", place + 1), Tone::Faint));
        // Where there is no room for a column of reasons, the chosen pool has one all the same.
        let why = (columns::remark(row).text, Tone::of(&text(&row["health"]["status"])));
        if state.view == View::Pools && !why.0.is_empty() {
            parts.push(Part(5, format!("{}: {}", text(&row["name"]), why.0), why.1));
        }
    }
    if u64::try_from(table.len()).unwrap_or(u64::MAX) < found {
        let text = "the pooler gives no more: search with /";
        parts.push(Part(4, text.to_owned(), Tone::Warn));
    }
    fit(parts, " · ", room, paint)
}

/// The heads of the columns, and the rows that fit.
fn rows(buffer: &mut Buffer, area: Rect, state: &State, paint: Paint) {
    let table = state.table();
    let columns = columns::of(state.view);
    let mark = width(MARK[0]);
    let gap = if area.width < columns::ROOMY { 1 } else { 2 };
    let cells: Vec<(usize, Vec<Cell>)> = table
        .on_screen()
        .map(|(place, row)| (place, columns.iter().map(|column| (column.cell)(row)).collect()))
        .collect();
    let need = |column: usize| {
        let texts = cells.iter().filter_map(|(_, cells)| Some(width(&cells.get(column)?.text)));
        texts.chain([width(columns[column].title)]).max().unwrap_or(0)
    };
    let needs: Vec<u16> = (0..columns.len()).map(need).collect();
    let places = columns::fit(columns, &needs, gap, area.width.saturating_sub(mark));
    if area.height == 0 {
        return;
    }
    let title = |column: usize| {
        let order = if table.sort == Some(column) { "*" } else { "" };
        let text = format!("{}{order}", columns[column].title);
        Cell { text, tone: Tone::Title, order: columns::Order::Number(0.0) }
    };
    let heads: Vec<Cell> = (0..columns.len()).map(title).collect();
    row(buffer, area, 0, MARK[1], &heads, &places, columns, gap, paint);
    let chosen = table.chosen().map(|(place, _)| place);
    for (y, (place, cells)) in (1..area.height).zip(&cells) {
        let is_chosen = chosen == Some(*place);
        let mark = MARK[usize::from(!is_chosen)];
        row(buffer, area, y, mark, cells, &places, columns, gap, paint);
        if is_chosen {
            let line = Rect { y: area.y + y, height: 1, ..area };
            buffer.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// One line of cells.
#[expect(clippy::too_many_arguments, reason = "a line is where all of them meet")]
fn row(
    buffer: &mut Buffer,
    area: Rect,
    y: u16,
    mark: &str,
    cells: &[Cell],
    places: &[(usize, u16)],
    columns: &[Column],
    gap: u16,
    paint: Paint,
) {
    let y = area.y + y;
    if area.width == 0 {
        return;
    }
    buffer.set_stringn(area.x, y, mark, usize::from(area.width), Style::new());
    let mut x = area.x.saturating_add(width(mark));
    for (column, room) in places {
        let (Some(cell), Some(kind)) = (cells.get(*column), columns.get(*column)) else { continue };
        let text = cut(&cell.text, *room);
        let indent = match kind.side {
            Side::Left => 0,
            Side::Right => room.saturating_sub(width(&text)),
        };
        let start = x.saturating_add(indent);
        if start < area.right() {
            let room = usize::from(room - indent);
            buffer.set_stringn(start, y, text, room, paint.style(cell.tone));
        }
        x = x.saturating_add(*room).saturating_add(gap);
    }
}

/// The last line: what is typed, what came of something, or the keys.
fn bottom(buffer: &mut Buffer, area: Rect, state: &State, paint: Paint) -> Option<(u16, u16)> {
    let (ask, typed) = match &state.prompt {
        Some(Prompt::Words(typed)) => ("/".to_owned(), typed),
        Some(Prompt::Confirm(order, typed)) => {
            let end = format!("? Type {MEANT}: ");
            let room = area.width.saturating_sub(width(&end)).saturating_sub(6);
            (format!("{}{end}", cut(&order.about, room)), typed)
        }
        None => {
            line(buffer, area, 0, &said(state, area.width, paint));
            return None;
        }
    };
    // The end of what is typed is what must be seen.
    let room = area.width.saturating_sub(width(&ask)).saturating_sub(1);
    let typed = plain(typed);
    let skip =
        typed.char_indices().map(|(place, _)| place).find(|place| width(&typed[*place..]) <= room);
    let typed = skip.map_or("", |place| &typed[place..]);
    let ask = Span::styled(ask, paint.style(Tone::Title));
    let cursor = width(&ask.content).saturating_add(width(typed)).min(area.width.saturating_sub(1));
    line(buffer, area, 0, &Line::from(vec![ask, Span::raw(typed.to_owned())]));
    Some((area.x + cursor, area.y))
}

fn said(state: &State, room: u16, paint: Paint) -> Line<'static> {
    if state.is_acting {
        return fit(vec![Part(0, "asked for, no answer yet…".into(), Tone::Warn)], "", room, paint);
    }
    match &state.note {
        Some(Ok(text)) => fit(vec![Part(0, format!("done: {text}"), Tone::Good)], "", room, paint),
        Some(Err(text)) => fit(vec![Part(0, text.clone(), Tone::Bad)], "", room, paint),
        None => {
            let mut hints = vec![(0, "? help"), (1, "q quit"), (2, "/ filter"), (3, "s sort")];
            hints.extend([(4, "Enter details"), (5, "p freeze"), (6, "+ - interval")]);
            match state.view {
                _ if !state.can_act => {}
                View::Pools => hints.push((7, "P pause R resume")),
                View::Waits | View::Holders | View::Clients => hints.push((7, "K close client")),
                View::Servers | View::Alerts => {}
            }
            let part = |(rank, text): (u8, &str)| Part(rank, text.to_owned(), Tone::Faint);
            fit(hints.into_iter().map(part).collect(), "  ", room, paint)
        }
    }
}
