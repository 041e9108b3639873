//! A terminal for tests: a pair of which a program has one end, and what would be seen on it.
//!
//! Invariant: nothing waits by the clock: what is waited for is what stands on the screen.
//! Not here: colours; who wants to know looks at the bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// The longest that anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes that were written, and a bell for more.
type Written = Arc<(Mutex<Vec<u8>>, Condvar)>;

/// A terminal; it stays when the program has ended.
pub struct Terminal {
    keys: File,
    end: OwnedFd,
    written: Written,
}

impl Terminal {
    /// Makes one of so many columns and lines.
    pub fn new(columns: u16, lines: u16) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("it is ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name");
        let end = File::options().read(true).write(true).open(name.to_str().expect("a path"));
        let keys = File::from(keys);
        let mut output = keys.try_clone().expect("a descriptor");
        let terminal =
            Self { keys, end: end.expect("it is ours").into(), written: Written::default() };
        terminal.resize(columns, lines);
        let written = Arc::clone(&terminal.written);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut part) {
                written.0.lock().expect("no reader panics").extend_from_slice(&part[..count]);
                written.1.notify_all();
            }
        });
        terminal
    }

    /// Gives it another size; whoever owns it hears of that.
    pub fn resize(&self, columns: u16, lines: u16) {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.end, size).expect("it is a terminal");
    }

    /// Returns its settings, all of them, to be compared.
    pub fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.end).expect("it is a terminal"))
    }

    /// Starts a program that owns it.
    pub fn run(&self, program: &Command) -> Program {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let end = || self.end.try_clone().expect("a descriptor");
        command.stdin(end()).stdout(end()).stderr(end());
        Program(command.spawn().expect("setsid is a part of util-linux"))
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        (&self.keys).write_all(keys.as_bytes()).expect("somebody reads");
    }

    /// Returns everything that was ever written on it.
    pub fn bytes(&self) -> Vec<u8> {
        self.written.0.lock().expect("no writer panics").clone()
    }

    /// Returns what is seen now.
    pub fn seen(&self) -> Seen {
        Seen::of(&self.bytes())
    }

    /// Waits until what is seen is as wanted.
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = self.written.0.lock().expect("no writer panics");
        loop {
            let seen = Seen::of(&bytes);
            if wanted(&seen) {
                return seen;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}:\n{}", seen.text());
            bytes = self.written.1.wait_timeout(bytes, left).expect("no writer panics").0;
        }
    }

    /// Waits until a text stands somewhere.
    pub fn wait_for(&self, text: &str) -> Seen {
        self.wait_until(text, |seen| seen.text().contains(text))
    }
}

/// A program on a terminal; gone when the value is dropped.
pub struct Program(Child);

impl Program {
    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            // The pause only spares the processor: what is waited for is the end.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a terminal shows.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    cells: Vec<Vec<char>>,
    /// The program has a screen of its own.
    pub is_alternate: bool,
    /// The cursor is hidden.
    pub is_cursor_hidden: bool,
}

impl Seen {
    /// Carries out the few sequences that such programs write; whatever else comes is a failure.
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut letters = text.chars().peekable();
        let (mut seen, mut x, mut y) = (Self::default(), 0, 0);
        while let Some(letter) = letters.next() {
            match letter {
                '\r' => x = 0,
                '\n' => y += 1,
                '\u{1b}' => {
                    // The rest of a sequence may not have been written yet.
                    if letters.next_if_eq(&'[').is_none() {
                        continue;
                    }
                    let mut numbers = String::new();
                    while let Some(c) = letters.next_if(|c| matches!(c, '0'..='9' | ';' | '?')) {
                        numbers.push(c);
                    }
                    let Some(end) = letters.next() else { break };
                    seen.carry_out(&numbers, end, &mut x, &mut y);
                }
                letter => seen.put(letter, &mut x, y),
            }
        }
        seen
    }

    fn carry_out(&mut self, numbers: &str, end: char, x: &mut usize, y: &mut usize) {
        match (numbers, end) {
            ("?1049", 'h' | 'l') => (self.is_alternate, self.cells) = (end == 'h', Vec::new()),
            ("?25", 'h' | 'l') => self.is_cursor_hidden = end == 'l',
            (_, 'J') => self.cells.clear(),
            (_, 'm') => {}
            (_, 'H') => {
                let mut places = numbers.split(';').map(|n| n.parse::<usize>().unwrap_or(1) - 1);
                (*y, *x) = (places.next().unwrap_or(0), places.next().unwrap_or(0));
            }
            _ => panic!("what does {numbers}{end} mean?"),
        }
    }

    fn put(&mut self, letter: char, x: &mut usize, y: usize) {
        while self.cells.len() <= y {
            self.cells.push(Vec::new());
        }
        let line = &mut self.cells[y];
        while line.len() <= *x {
            line.push(' ');
        }
        line[*x] = letter;
        *x += 1;
    }

    /// Returns its lines.
    pub fn text(&self) -> String {
        let line = |cells: &Vec<char>| cells.iter().collect::<String>().trim_end().to_owned();
        self.cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
