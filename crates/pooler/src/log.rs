//! Log lines, written by a thread of their own so that a blocked terminal never stops a worker.
//!
//! Invariant: one event is one line; control characters of names and messages are escaped.
//! A full queue drops the line and counts it, and so does a syslog that does not take it.
//! Not here: deciding what is worth a line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The process stops.
    Fatal,
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
    /// What operators expect to read.
    Log,
    /// For the people who build it.
    Debug,
}

impl Level {
    /// PgBouncer's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Log => "LOG",
            Level::Debug => "DEBUG",
        }
    }
}

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `2026-01-01 00:00:00.000 UTC [pid] LEVEL text`: what pgBadger and fail2ban read.
    #[default]
    Pgbouncer,
    /// One JSON object per line.
    Json,
}

/// Where lines go.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// A file, opened for append and reopened on reload.
    pub file: Option<PathBuf>,
    /// Also the terminal (standard error).
    pub terminal: bool,
    /// Also syslog.
    pub syslog: Option<Syslog>,
}

/// How lines go to syslog.
#[derive(Debug, Clone)]
pub struct Syslog {
    /// The socket of the system's log.
    pub socket: PathBuf,
    /// What we are called there.
    pub ident: String,
    /// What kind of program we are; an unknown kind is a daemon, as with PgBouncer.
    pub facility: String,
}

impl Syslog {
    /// Where the C library sends what is for syslog.
    pub const SOCKET: &str = "/dev/log";

    /// The number that stands before a line: what we are and how important it is.
    fn priority(&self, level: Level) -> u8 {
        let facility = match self.facility.as_str() {
            "user" => 1,
            "auth" => 4,
            "authpriv" => 10,
            local => match local.strip_prefix("local").map(str::as_bytes) {
                Some([digit @ b'0'..=b'7']) => 16 + (digit - b'0'),
                _ => 3,
            },
        };
        let severity = match level {
            Level::Fatal => 2,
            Level::Error => 3,
            Level::Warning => 4,
            Level::Log => 6,
            Level::Debug => 7,
        };
        facility * 8 + severity
    }

    fn line(&self, level: Level, subject: &str, text: &str) -> String {
        let (priority, pid) = (self.priority(level), std::process::id());
        let mut line = format!("<{priority}>{}[{pid}]: ", self.ident);
        push_text(&mut line, subject, text);
        line
    }
}

enum Job {
    Line { line: String, syslog: Option<String> },
    Redirect(Destination),
    Flush(SyncSender<()>),
}

/// A handle to the log; cheap to clone.
#[derive(Clone)]
pub struct Log {
    queue: SyncSender<Job>,
    state: Arc<State>,
}

struct State {
    format: Format,
    verbosity: AtomicU8,
    dropped: AtomicU64,
    lines: [AtomicU64; 5],
    syslog: Mutex<Option<Syslog>>,
    is_in_syslog: AtomicBool,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

const QUEUE_LINES: usize = 16_384;

impl Log {
    /// Starts the writing thread.
    #[must_use]
    pub fn start(format: Format, destination: Destination) -> Self {
        let (queue, jobs) = sync_channel(QUEUE_LINES);
        let syslog = destination.syslog.clone();
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&jobs, destination))
            .ok();
        let state = State {
            format,
            verbosity: AtomicU8::new(0),
            dropped: AtomicU64::new(0),
            lines: Default::default(),
            is_in_syslog: AtomicBool::new(syslog.is_some()),
            syslog: Mutex::new(syslog),
            thread: Mutex::new(thread),
        };
        Self { queue, state: Arc::new(state) }
    }

    /// Changes where lines go; the file is opened anew.
    pub fn redirect(&self, destination: Destination) {
        self.state.is_in_syslog.store(destination.syslog.is_some(), Ordering::Relaxed);
        self.state.syslog().clone_from(&destination.syslog);
        let _ = self.queue.send(Job::Redirect(destination));
    }

    /// Changes how many debug lines appear: 0 for none.
    pub fn set_verbosity(&self, verbosity: u8) {
        self.state.verbosity.store(verbosity, Ordering::Relaxed);
    }

    /// Returns true if debug lines are wanted.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.state.verbosity.load(Ordering::Relaxed) > 0
    }

    /// Lines dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Lines written so far by level, in the order of [`Level`].
    #[must_use]
    pub fn written(&self, level: Level) -> u64 {
        self.state.lines.get(level as usize).map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// Writes a line about nobody in particular.
    pub fn line(&self, level: Level, text: &str) {
        self.about(level, "", text);
    }

    /// Writes a line about a client or a server (`subject`, in PgBouncer's form).
    pub fn about(&self, level: Level, subject: &str, text: &str) {
        if level == Level::Debug && !self.is_verbose() {
            return;
        }
        if let Some(count) = self.state.lines.get(level as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let line = match self.state.format {
            Format::Pgbouncer => pgbouncer_line(level, subject, text),
            Format::Json => json_line(level, subject, text),
        };
        let is_for_syslog =
            level != Level::Debug && self.state.is_in_syslog.load(Ordering::Relaxed);
        let syslog = if is_for_syslog {
            self.state.syslog().as_ref().map(|syslog| syslog.line(level, subject, text))
        } else {
            None
        };
        if self.queue.try_send(Job::Line { line, syslog }).is_err() {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything queued so far is written (at the end of the process).
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Job::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(std::time::Duration::from_secs(2));
        }
        // The thread ends when the last handle is gone; its handle is kept so that it is named.
        drop(self.state.thread.lock());
    }
}

impl State {
    fn syslog(&self) -> MutexGuard<'_, Option<Syslog>> {
        self.syslog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that came together are written together, up to about this many bytes.
const WRITE_MAX: usize = 64 << 10;

fn write_all(jobs: &Receiver<Job>, mut destination: Destination) {
    let mut file = open(&destination);
    let mut syslog = SyslogSocket::default();
    let mut lines = String::new();
    let mut next = None;
    while let Some(job) = next.take().or_else(|| jobs.recv().ok()) {
        match job {
            Job::Line { line, syslog: entry } => {
                lines.clear();
                lines.push_str(&line);
                syslog.send(&destination, entry);
                // A storm of lines costs a write for many of them, not one for each.
                while lines.len() < WRITE_MAX {
                    match jobs.try_recv() {
                        Ok(Job::Line { line, syslog: entry }) => {
                            lines.push_str(&line);
                            syslog.send(&destination, entry);
                        }
                        other => {
                            next = other.ok();
                            break;
                        }
                    }
                }
                // Nowhere is left to report a log that cannot be written: traffic goes on.
                if let Some(file) = &mut file {
                    let _ = file.write_all(lines.as_bytes());
                }
                if destination.terminal {
                    let _ = std::io::stderr().write_all(lines.as_bytes());
                }
            }
            Job::Redirect(next) => {
                destination = next;
                file = open(&destination);
                syslog = SyslogSocket::default();
            }
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// The connection to syslog, which may come and go.
#[derive(Default)]
struct SyslogSocket(Option<UnixDatagram>);

impl SyslogSocket {
    /// Sends a line; one that cannot be sent is lost, because nobody may wait for syslog.
    fn send(&mut self, destination: &Destination, entry: Option<String>) {
        let (Some(to), Some(entry)) = (&destination.syslog, entry) else { return };
        let sent = |socket: &UnixDatagram| match socket.send(entry.as_bytes()) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        if self.0.as_ref().is_some_and(sent) {
            return;
        }
        // It was started anew, or was not there before.
        self.0 = connect(to).ok();
        if !self.0.as_ref().is_some_and(sent) {
            self.0 = None;
        }
    }
}

fn connect(to: &Syslog) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(&to.socket)?;
    Ok(socket)
}

fn open(destination: &Destination) -> Option<std::fs::File> {
    let path = destination.file.as_ref()?;
    match std::fs::OpenOptions::new().create(true).append(true).open(path) {
        Ok(file) => Some(file),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cannot open log {}: {error}", path.display());
            None
        }
    }
}

fn pgbouncer_line(level: Level, subject: &str, text: &str) -> String {
    let mut line = String::with_capacity(64 + subject.len() + text.len());
    push_time(&mut line, ' ', " UTC");
    let _ = write!(line, " [{}] {} ", std::process::id(), level.word());
    push_text(&mut line, subject, text);
    line.push('\n');
    line
}

fn push_text(line: &mut String, subject: &str, text: &str) {
    if !subject.is_empty() {
        push_escaped(line, subject);
        line.push(' ');
    }
    push_escaped(line, text);
}

fn json_line(level: Level, subject: &str, text: &str) -> String {
    let mut line = String::from("{\"timestamp\":\"");
    push_time(&mut line, 'T', "Z");
    let name = match level {
        Level::Fatal => "fatal",
        Level::Error => "error",
        Level::Warning => "warn",
        Level::Log => "info",
        Level::Debug => "debug",
    };
    let _ = write!(line, "\",\"level\":\"{name}\",\"target\":\"headpond\",\"message\":");
    line.push_str(&serde_json::Value::from(text).to_string());
    if !subject.is_empty() {
        line.push_str(",\"subject\":");
        line.push_str(&serde_json::Value::from(subject).to_string());
    }
    let _ = write!(line, ",\"pid\":{}}}", std::process::id());
    line.push('\n');
    line
}

/// Escapes everything that could start a new line, move a cursor or reverse the reading order.
pub fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        let bidi = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
        if c.is_control() || bidi {
            let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
        } else {
            line.push(c);
        }
    }
}

/// Appends the wall-clock time in UTC with milliseconds (text) or microseconds (JSON).
fn push_time(line: &mut String, separator: char, zone: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day, second_of_day) = civil(now.as_secs());
    let (h, m, s) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let _ = write!(line, "{year:04}-{month:02}-{day:02}{separator}{h:02}:{m:02}:{s:02}.");
    let _ = if separator == 'T' {
        write!(line, "{:06}{zone}", now.subsec_micros())
    } else {
        write!(line, "{:03}{zone}", now.subsec_millis())
    };
}

/// Year, month, day and second of the day of a Unix time.
///
/// The algorithm is Howard Hinnant's `civil_from_days` (public domain), for dates after 1970.
#[must_use]
pub fn civil(unix: u64) -> (u64, u64, u64, u64) {
    let days = unix / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, unix % 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_gregorian_calendar() {
        assert_eq!(civil(0), (1970, 1, 1, 0));
        assert_eq!(civil(951_782_400), (2000, 2, 29, 0));
        assert_eq!(civil(1_795_219_199), (2026, 11, 20, 86_399));
    }

    #[test]
    fn one_event_is_one_line_whatever_its_names() {
        let line = pgbouncer_line(Level::Log, "C: a\nb/\u{1b}[31m@x", "x\r\n\u{202e}y");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}') && !line.contains('\u{202e}') && !line.contains('\r'));
        let line = json_line(Level::Log, "a\nb", "x\"\n");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }

    #[test]
    fn syslog_hears_each_line_with_its_priority_and_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let heard = UnixDatagram::bind(&path).expect("a socket");
        let to = |ident: &str, facility: &str| Destination {
            syslog: Some(Syslog {
                socket: path.clone(),
                ident: ident.into(),
                facility: facility.into(),
            }),
            ..Destination::default()
        };
        let next = |from: &UnixDatagram| {
            let mut bytes = [0; 512];
            let length = from.recv(&mut bytes).expect("a line");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        let pid = std::process::id();
        let log = Log::start(Format::Pgbouncer, to("pgbouncer", "daemon"));
        log.about(Level::Log, "C-1: a/b", "hello\n");
        assert_eq!(next(&heard), format!("<30>pgbouncer[{pid}]: C-1: a/b hello\\u{{a}}"));
        log.redirect(to("pool", "local7"));
        log.line(Level::Fatal, "bye");
        assert_eq!(next(&heard), format!("<186>pool[{pid}]: bye"));
        // It comes back under the same name.
        drop(heard);
        std::fs::remove_file(&path).expect("it was there");
        let heard = UnixDatagram::bind(&path).expect("a socket");
        log.line(Level::Warning, "again");
        assert_eq!(next(&heard), format!("<188>pool[{pid}]: again"));
        log.redirect(Destination::default());
        log.line(Level::Warning, "not there");
        log.flush();
        heard.set_nonblocking(true).expect("it is a socket");
        assert!(heard.recv(&mut [0; 16]).is_err(), "syslog is off");
    }

    #[test]
    fn an_unknown_facility_is_a_daemon() {
        let of = |facility: &str| {
            let socket = PathBuf::from(Syslog::SOCKET);
            Syslog { socket, ident: String::new(), facility: facility.into() }.priority(Level::Log)
        };
        assert_eq!(
            ["auth", "authpriv", "user", "local0", "local8", "x"].map(of),
            [38, 86, 14, 134, 30, 30]
        );
    }
}
