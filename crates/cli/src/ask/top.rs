//! `headpond top`: pools as they are, the busiest first, again and again.
//!
//! Invariant: the screen is written whole and at once; a pooler that is gone for a while is said
//! so in place of its numbers. Ctrl-C ends it and leaves the terminal as it was.
//! Not here: keys; the page has what needs choosing.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;

use super::http::Endpoint;
use super::print::{columns, plain, pool, pool_head, time};
use crate::Failure;

/// Lines of a screen whose height is unknown.
const LINES: usize = 24;

/// Shows screens until it is interrupted, or one.
///
/// # Errors
/// There is no answer at the start, or the terminal is gone.
pub fn run(endpoint: &Endpoint, every: f64, once: bool) -> Result<(), Failure> {
    if !(every > 0.0 && every <= 3600.0) {
        return Err(Failure::new("--every: expected seconds, more than 0 and at most 3600"));
    }
    let live = io::stdout().is_terminal() && !once;
    let mut first = Some(screen(endpoint)?);
    loop {
        let text = match first.take() {
            Some(text) => text,
            None => screen(endpoint).unwrap_or_else(|failure| format!("{}\n", failure.text())),
        };
        let text = if live { fit(&text) } else { text };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::new(format!("the terminal: {error}")))?;
        if !live {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs_f64(every));
    }
}

fn screen(endpoint: &Endpoint) -> Result<String, Failure> {
    let status = endpoint.get("/api/v1/status")?;
    let pools = endpoint.get("/api/v1/pools")?;
    let waits = endpoint.get("/api/v1/waits")?;
    let holders = endpoint.get("/api/v1/holders")?;
    let empty = Vec::new();
    let mut rows: Vec<&Value> = pools["pools"].as_array().unwrap_or(&empty).iter().collect();
    let busy = |pool: &Value| {
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        (count(&pool["waiting"]), count(&pool["connections"]["used"]))
    };
    rows.sort_by_key(|pool| std::cmp::Reverse(busy(pool)));
    let process = &status["process"];
    let mut text = format!(
        "{}   up {}   clients {}/{}   alerts {}   {}\n\n",
        plain(&status["status"]),
        time(&process["uptime_seconds"]),
        plain(&process["clients"]),
        plain(&process["clients_max"]),
        plain(&status["alerts_firing"]),
        plain(&status["at"]),
    );
    let mut lines = vec![pool_head()];
    lines.extend(rows.into_iter().map(pool));
    text.push_str(&columns(&lines));
    let people = |name: &str, value: &Value, why: &str| {
        let rows = value[name].as_array().unwrap_or(&empty).iter().take(5);
        rows.map(|row| {
            vec![time(&row["seconds"]), plain(&row["pool"]), plain(&row[why]), plain(&row["place"])]
        })
        .collect::<Vec<_>>()
    };
    for (title, name, value, why) in
        [("WAITS", "waits", &waits, "reason"), ("HOLDS", "holders", &holders, "state")]
    {
        let rows = people(name, value, why);
        if !rows.is_empty() {
            let found = plain(&value["found"]);
            text.push_str(&format!("\n{title} ({found}, the longest first)\n{}", columns(&rows)));
        }
    }
    Ok(text)
}

/// Clears the screen as it is overwritten, and cuts what does not fit.
fn fit(text: &str) -> String {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let (height, width) = match size {
        Some(size) if size.ws_row > 1 && size.ws_col > 1 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        _ => (LINES, usize::MAX),
    };
    let mut out = String::from("\x1b[H");
    for line in text.lines().take(height - 1) {
        out.extend(line.chars().take(width));
        out.push_str("\x1b[K\r\n");
    }
    out.push_str("\x1b[J");
    out
}
