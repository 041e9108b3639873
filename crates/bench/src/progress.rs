//! The line that is rewritten while a run goes on.
//!
//! Invariant: nothing is written unless stderr is a terminal that can be written over.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::duration::{digits, micros, text};
use crate::result::Second;

/// What a run is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Requests are sent and do not count yet.
    WarmUp,
    /// Requests count.
    Measuring,
}

/// What is told once a second.
#[derive(Debug)]
pub struct Tick<'a> {
    /// What the run is doing.
    pub phase: Phase,
    /// Since its begin.
    pub elapsed: Duration,
    /// From its begin to its end.
    pub total: Duration,
    /// The last second.
    pub second: &'a Second,
}

/// Is told how a run goes.
pub trait Observer: Send {
    /// A second has passed.
    fn tick(&mut self, tick: &Tick<'_>);
    /// The run is over.
    fn end(&mut self);
}

/// Does not care.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn tick(&mut self, _tick: &Tick<'_>) {}
    fn end(&mut self) {}
}

/// Writes one line on a terminal, again and again.
#[derive(Debug)]
pub struct Line {
    label: String,
    live: bool,
    written: bool,
}

impl Line {
    /// Makes a line that begins with `label`; silent unless stderr is a terminal.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = std::io::stderr().is_terminal() && !dumb;
        Self { label: label.into(), live, written: false }
    }
}

impl Observer for Line {
    fn tick(&mut self, tick: &Tick<'_>) {
        if self.live {
            self.written = true;
            // Back to the first column, the line, and the rest of what stood there erased.
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(&self.label, tick));
        }
    }

    fn end(&mut self) {
        if self.written {
            self.written = false;
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(label: &str, tick: &Tick<'_>) -> String {
    let Second { completed, errors, p50_us, p99_us, in_use, waiting, .. } = tick.second;
    let left = text(Duration::from_secs(tick.total.saturating_sub(tick.elapsed).as_secs()));
    let done = text(Duration::from_secs(tick.elapsed.as_secs()));
    let phase = if tick.phase == Phase::WarmUp { "warm-up, " } else { "" };
    let mut line = format!(
        "{label}: {phase}{done}, {left} left  {}/s  p50 {}  p99 {}  in use {in_use}",
        digits(*completed as f64),
        micros(*p50_us),
        micros(*p99_us),
    );
    if *waiting > 0 {
        line.push_str(&format!(", {waiting} wait"));
    }
    if *errors > 0 {
        line.push_str(&format!("  {errors} ERRORS"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_done_what_is_left_and_how_it_goes() {
        let second =
            Second { completed: 12_345, p50_us: 850.0, p99_us: 4200.0, ..Second::default() };
        let tick = Tick {
            phase: Phase::Measuring,
            elapsed: Duration::from_secs(30),
            total: Duration::from_secs(120),
            second: &second,
        };
        let line = line("bench", &tick);
        assert_eq!(line, "bench: 30s, 90s left  12,345/s  p50 850us  p99 4.2ms  in use 0");
    }

    #[test]
    fn nothing_is_written_into_a_pipe() {
        // Tests run with a captured stderr, which is no terminal.
        let mut observer = Line { live: false, ..Line::new("x") };
        let second = Second::default();
        let (elapsed, total) = (Duration::ZERO, Duration::ZERO);
        observer.tick(&Tick { phase: Phase::WarmUp, elapsed, total, second: &second });
        assert!(!observer.written);
    }
}
