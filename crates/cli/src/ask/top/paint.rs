//! How things look: tones, bars, lines of little columns, and texts that fit.
//!
//! Invariant: a tone is never the only sign of anything, since there may be no colours; what is
//! cut says so. Every width is in columns of the terminal.
//! Not here: where things stand (`view.rs`).

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use serde_json::{Value, json};

use crate::ask::print;

/// Characters of one text that are kept: no screen is wider.
const TEXT_MAX: usize = 512;
/// From empty to full.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What something means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Somebody should look.
    Warn,
    /// Somebody should look now.
    Bad,
    /// Old, or of no weight.
    Faint,
    /// What stands above others.
    Title,
}

impl Tone {
    /// Returns what the words for health and severity mean.
    pub fn of(word: &str) -> Self {
        match word {
            "healthy" | "pass" | "closed" => Self::Good,
            "warning" | "warn" | "half_open" | "pending" => Self::Warn,
            "unhealthy" | "fail" | "critical" | "open" | "firing" => Self::Bad,
            _ => Self::Plain,
        }
    }
}

/// Whether the terminal gets colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// It does.
    Colours,
    /// It does not: bold, faint and reversed have to do.
    Plain,
}

impl Paint {
    /// Reads the environment: `NO_COLOR` with any text in it means no colours.
    pub fn from_environment() -> Self {
        match std::env::var_os("NO_COLOR") {
            Some(text) if !text.is_empty() => Self::Plain,
            _ => Self::Colours,
        }
    }

    /// Returns the style of a tone.
    pub fn style(self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Plain | Tone::Good => Style::new(),
            Tone::Warn | Tone::Title => Style::new().add_modifier(Modifier::BOLD),
            Tone::Bad => Style::new().add_modifier(Modifier::BOLD),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        };
        match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain | Tone::Title) => style,
            (_, Tone::Good) => style.fg(Color::Green),
            (_, Tone::Warn) => style.fg(Color::Yellow),
            (_, Tone::Bad) => style.fg(Color::Red),
            (_, Tone::Faint) => style.fg(Color::DarkGray),
        }
    }
}

/// Returns a value as a text that cannot harm a terminal, and not longer than one can be.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Array(_) | Value::Object(_) => "…".to_owned(),
        other => print::plain(other),
    }
}

/// The same of a text.
pub fn plain(text: &str) -> String {
    let text: String = text.chars().take(TEXT_MAX).collect();
    print::plain(&Value::String(text))
}

/// Returns a time as people say it.
pub fn seconds(of: Duration) -> String {
    print::time(&json!(of.as_secs_f64()))
}

/// Returns how many columns a text takes.
pub fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// Splits a text where its beginning has taken `widest` columns.
fn split(text: &str, widest: u16) -> (&str, &str) {
    let mut room = widest;
    for (place, letter) in text.char_indices() {
        match room.checked_sub(width(letter.encode_utf8(&mut [0; 4]))) {
            Some(rest) => room = rest,
            None => return text.split_at(place),
        }
    }
    (text, "")
}

/// Returns a text that is not wider than `widest`; one that was cut ends in an ellipsis.
pub fn cut(text: &str, widest: u16) -> String {
    match widest.checked_sub(1) {
        None => String::new(),
        _ if width(text) <= widest => text.to_owned(),
        Some(room) => format!("{}…", split(text, room).0),
    }
}

/// Breaks a text into lines that are not wider than `widest`, between words where there are any.
pub fn wrap(text: &str, widest: u16) -> Vec<String> {
    // Room for a character of double width, so that each line takes one at least.
    let widest = widest.max(2);
    let mut lines = vec![String::new()];
    for mut word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let gap = u16::from(!line.is_empty());
        if width(line).saturating_add(gap).saturating_add(width(word)) <= widest {
            line.push_str(if gap > 0 { " " } else { "" });
            line.push_str(word);
            continue;
        }
        if line.is_empty() {
            lines.pop();
        }
        while !word.is_empty() {
            let one = word.chars().next().map_or(0, char::len_utf8);
            let (head, tail) = match split(word, widest) {
                ("", _) => word.split_at(one),
                parts => parts,
            };
            lines.push(head.to_owned());
            word = tail;
        }
    }
    lines
}

/// Returns a bar of `steps` columns, as full as `ratio` says.
pub fn bar(ratio: f64, steps: u16) -> String {
    let full = |step: &u16| ratio > f64::from(*step) / f64::from(steps.max(1));
    (0..steps).map(|step| if full(&step) { '█' } else { '░' }).collect()
}

/// Returns values as a line of little columns, from old to new; what is too long is thinned out,
/// and peaks stay.
pub fn spark(values: &[f64], widest: u16) -> String {
    let widest = usize::from(widest);
    let greatest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let max = greatest(values);
    let step = |value: f64| {
        let fits = |(n, _): &(u8, char)| value <= max * f64::from(*n) / 8.0;
        (1..).zip(STEPS).find(fits).map_or('█', |(_, step)| step)
    };
    if values.len() <= widest {
        return values.iter().map(|value| step(*value)).collect();
    }
    let edge = |column: usize| column * values.len() / widest.max(1);
    let parts = (0..widest).map(|column| values.get(edge(column)..edge(column + 1)));
    parts.map(|part| step(greatest(part.unwrap_or_default()))).collect()
}

/// A part of a line: how dispensable it is, what it says, what that means.
pub struct Part(pub u8, pub String, pub Tone);

/// Puts parts side by side; those that are most dispensable are left out until the rest fits.
pub fn fit(mut parts: Vec<Part>, gap: &'static str, widest: u16, paint: Paint) -> Line<'static> {
    let room = |parts: &[Part]| {
        let gaps = usize::from(width(gap)) * parts.len().saturating_sub(1);
        parts.iter().map(|part| usize::from(width(&part.1))).sum::<usize>() + gaps
    };
    while parts.len() > 1 && room(&parts) > usize::from(widest) {
        let last = parts.iter().map(|part| part.0).max();
        let place = parts.iter().rposition(|part| Some(part.0) == last);
        parts.remove(place.expect("one of them is the greatest"));
    }
    let mut spans = Vec::new();
    for Part(_, text, tone) in parts {
        if !spans.is_empty() {
            spans.push(Span::raw(gap));
        }
        spans.push(Span::styled(cut(&text, widest), paint.style(tone)));
    }
    Line::from(spans)
}

/// Writes a line, if it is on the screen at all.
pub fn line(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    if row < area.height && area.width > 0 {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}
