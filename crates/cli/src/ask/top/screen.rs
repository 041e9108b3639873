//! The terminal: taken whole, and given back as it was.
//!
//! Invariant: however the program ends, by a key, an error, a panic or a signal, the terminal is
//! left raw by nobody: its settings, its own screen and its cursor come back. A frame is written
//! at once.
//! Not here: what stands on it (`view.rs`).

use std::io::{self, Write};
use std::sync::Once;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{Event, KeyEvent, read};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::Rect;
use tokio::signal::unix::{SignalKind, signal};

use super::paint::Paint;
use super::state::State;
use super::view;

/// How long the program has to leave by itself after a signal.
const GRACE: Duration = Duration::from_secs(1);
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: u8 = 128;
/// What a program ends with that panicked.
const PANICKED: i32 = 101;

/// What the terminal and the system say.
pub enum Message {
    /// A key.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// Keys cannot be read any more.
    Deaf(io::Error),
    /// A signal asks to end; with this exit code.
    End(u8),
    /// An answer.
    Told(super::state::Told),
}

/// Bytes of a frame until it is whole.
struct Frame(Vec<u8>);

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(&self.0).and_then(|()| out.flush());
        // What could not be written is no part of the next frame.
        self.0.clear();
        written
    }
}

/// The terminal, while it is ours.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Frame>>,
    paint: Paint,
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// It is none, or it is gone.
    pub fn open(paint: Paint) -> io::Result<Self> {
        restore_on_panic();
        let opened = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide))
            .and_then(|()| Terminal::new(CrosstermBackend::new(Frame(Vec::new()))));
        match opened {
            Ok(terminal) => Ok(Self { terminal, paint }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, state: &mut State, now: Duration) -> io::Result<()> {
        let paint = self.paint;
        let draw = |frame: &mut ratatui::Frame<'_>| {
            let area = frame.area();
            state.resize(area.width, area.height);
            if let Some(cursor) = view::draw(frame.buffer_mut(), state, now, paint) {
                frame.set_cursor_position(cursor);
            }
        };
        self.terminal.draw(draw).map(drop)
    }

    /// Forgets what stands there, because something else may have written on it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn repaint(&mut self) -> io::Result<()> {
        // Not `clear`: that asks the terminal where its cursor is, and the answer would come as a
        // key.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back; each step whether or not the others work: a terminal that is gone
/// needs none of them.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// A panic is told on the terminal's own screen, and ends the program whoever panics: a thread
/// that asks no more would leave a screen that never changes.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            tell(panic);
            std::process::exit(PANICKED);
        }));
    });
}

/// Reads keys for ever, on a thread of its own.
///
/// # Errors
/// The system has no room for a thread.
pub fn listen(tell: SyncSender<Message>) -> io::Result<()> {
    let work = move || {
        loop {
            let message = match read() {
                Ok(Event::Key(key)) => Message::Key(key),
                Ok(Event::Resize(..)) => Message::Resized,
                Ok(_) => continue,
                Err(error) => Message::Deaf(error),
            };
            let is_last = matches!(message, Message::Deaf(_));
            if tell.send(message).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(work).map(drop)
}

/// Waits for signals that ask to end, on a thread of its own; a program that does not follow in
/// time (its terminal is stopped, say) is ended with the terminal given back as far as that goes.
///
/// # Errors
/// The system has no room for that.
pub fn watch_signals(tell: SyncSender<Message>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    drop(inside);
    let work = move || {
        runtime.block_on(async {
            let kind = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
                _ = quit.recv() => SignalKind::quit(),
            };
            let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
            // A full inbox belongs to a program that does not follow: the grace is for that.
            let _ = tell.try_send(Message::End(SIGNALLED + number));
            tokio::time::sleep(GRACE).await;
            let _ = disable_raw_mode();
            std::process::exit(i32::from(SIGNALLED + number));
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(work).map(drop)
}
