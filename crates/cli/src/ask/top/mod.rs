//! `headpond top`: a running pooler on a whole terminal, live; or once, as text.
//!
//! Invariant: a key is answered at once, whatever the pooler does: whoever asks it has a thread of
//! its own. One thread owns the state and the terminal; everything else sends it messages.
//! Not here: deciding how the pooler is (it does that itself), its page (`dashboard/` of monitor).

mod asker;
mod columns;
mod keys;
mod paint;
mod screen;
mod sheet;
mod state;
mod table;
mod text;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::http::Endpoint;
use crate::Failure;
use asker::Asker;
use keys::Effect;
use paint::Paint;
use screen::{Message, Screen};
use state::{Question, State, Told, View};

/// Messages that wait for the thread that owns the state.
const INBOX: usize = 64;
/// The longest time between two frames: ages are shown in seconds.
const TICK: Duration = Duration::from_secs(1);

/// Shows screens until somebody leaves; or one text, if that is asked for or stdout is no
/// terminal that can do more.
///
/// # Errors
/// There is no answer at the start, or the terminal is gone.
pub fn run(endpoint: Endpoint, every: f64, once: bool) -> Result<ExitCode, Failure> {
    if !(0.1..=3600.0).contains(&every) {
        return Err(Failure::usage("--every: expected seconds, at least 0.1 and at most 3600"));
    }
    if once || !io::stdout().is_terminal() || !can_move_a_cursor() {
        let text = text::page(&endpoint)?;
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        return written.map(|()| ExitCode::SUCCESS).map_err(gone);
    }
    live(endpoint, every)
}

fn can_move_a_cursor() -> bool {
    std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb")
}

fn gone(error: io::Error) -> Failure {
    Failure::new(format!("the terminal: {error}"))
}

fn live(endpoint: Endpoint, every: f64) -> Result<ExitCode, Failure> {
    let mut state = State::new(every, endpoint.has_token());
    // Who asks the wrong address hears of it at once, and on the screen they know.
    let first = Question { view: View::Pools, words: String::new(), pool: None };
    let first = asker::look(&endpoint, first)?;
    let (sender, inbox) = sync_channel(INBOX);
    screen::watch_signals(sender.clone()).map_err(|e| Failure::new(format!("signals: {e}")))?;
    let tell = sender.clone();
    let asker = Asker::start(Arc::new(endpoint), move |told| {
        // The receiver is gone when the program ends, and then nobody wants to know.
        let _ = tell.send(Message::Told(told));
    })?;
    let mut screen = Screen::open(Paint::from_environment()).map_err(gone)?;
    screen::listen(sender).map_err(gone)?;
    state.take(Told::Look(Ok(first)), Duration::ZERO);
    turn(&mut state, &mut screen, &asker, &inbox)
}

/// Takes messages, asks, and draws, until somebody leaves.
fn turn(
    state: &mut State,
    screen: &mut Screen,
    asker: &Asker,
    inbox: &Receiver<Message>,
) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    loop {
        if let Some(question) = state.question(start.elapsed()) {
            asker.ask(question);
        }
        screen.draw(state, start.elapsed()).map_err(gone)?;
        let pause = state.due(start.elapsed()).unwrap_or(TICK).min(TICK);
        let first = match inbox.recv_timeout(pause) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("nobody is left")),
        };
        // Whatever has come meanwhile goes into one frame; a flood of keys does not stop frames.
        for message in first.into_iter().chain(inbox.try_iter().take(INBOX)) {
            if let Some(code) = take(message, state, screen, asker, start.elapsed())? {
                return Ok(ExitCode::from(code));
            }
        }
    }
}

/// Takes one message; returns the exit code if it is the last.
fn take(
    message: Message,
    state: &mut State,
    screen: &mut Screen,
    asker: &Asker,
    now: Duration,
) -> Result<Option<u8>, Failure> {
    match message {
        Message::Told(told) => state.take(told, now),
        Message::Resized => screen.repaint().map_err(gone)?,
        Message::Deaf(error) => return Err(gone(error)),
        Message::End(code) => return Ok(Some(code)),
        Message::Key(key) => match state.press(key) {
            Effect::Show => {}
            Effect::Repaint => screen.repaint().map_err(gone)?,
            Effect::Act(order) => asker.order(order),
            Effect::Leave => return Ok(Some(0)),
        },
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
