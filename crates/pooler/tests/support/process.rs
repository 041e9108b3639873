//! One process of a test: its log, its account, its end.
//!
//! Invariant: the process is gone when the value is dropped. Where `setpriv` exists, also when
//! the thread that started it dies without unwinding.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that a start or a stop may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// The account that servers run under: neither PostgreSQL nor PgBouncer starts as root.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Returns `postgres`, or else `nobody`; nothing if this process is not root.
    pub fn unprivileged() -> Option<Self> {
        let own = std::fs::metadata("/proc/self").expect("proc is mounted").uid();
        if own != 0 {
            return None;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").expect("accounts are listed");
        let find = |name: &str| {
            let entry = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut numbers = entry.split(':').skip(2).map(str::parse);
            match (numbers.next(), numbers.next()) {
                (Some(Ok(uid)), Some(Ok(gid))) => Some(Self { uid, gid }),
                _ => None,
            }
        };
        Some(find("postgres").or_else(|| find("nobody")).expect("postgres or nobody exists"))
    }

    /// Makes `path` belong to the account.
    pub fn own(account: Option<Self>, path: &Path) {
        if let Some(account) = account {
            chown(path, Some(account.uid), Some(account.gid)).expect("root may give files away");
        }
    }
}

/// Returns a command that runs under `account`.
pub fn command(account: Option<Account>, program: &Path) -> Command {
    let mut command = Command::new(program);
    as_account(&mut command, account);
    command
}

fn as_account(command: &mut Command, account: Option<Account>) {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command.current_dir("/").stdin(Stdio::null());
}

/// Returns a command that is also killed when the starting thread dies.
fn leashed(account: Option<Account>, program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return command(account, program);
    }
    let mut command = command(account, setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// What a process wrote on its outputs.
#[derive(Debug, Default)]
pub struct Log {
    state: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    /// How many outputs are still open.
    open: usize,
}

impl Log {
    /// Returns all lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Returns whether a line came for which `wanted` is true; false if the process ended or
    /// `PATIENCE` did.
    pub fn wait_for(&self, wanted: impl Fn(&str) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut state = self.lock();
        loop {
            if state.lines[seen..].iter().any(|line| wanted(line)) {
                return true;
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).expect("no writer panics").0;
        }
    }

    /// Waits until something is written or ends, at most for `longest`; false after the end.
    pub fn wait_change(&self, longest: Duration) -> bool {
        let state = self.lock();
        if state.open == 0 {
            return false;
        }
        self.changed.wait_timeout(state, longest).expect("no writer panics").0.open > 0
    }

    /// Returns whether all outputs were closed within `longest`.
    fn wait_end(&self, longest: Duration) -> bool {
        let ended = self.changed.wait_timeout_while(self.lock(), longest, |w| w.open > 0);
        ended.expect("no writer panics").0.open == 0
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.state.lock().expect("no writer panics")
    }

    fn follow(self: &Arc<Self>, output: impl Read + Send + 'static) {
        self.lock().open += 1;
        let log = Arc::clone(self);
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            // An unreadable pipe is a closed one.
            while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                log.lock().lines.push(text);
                log.changed.notify_all();
            }
            log.lock().open -= 1;
            log.changed.notify_all();
        });
    }
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: Arc<Log>,
    signal: &'static str,
}

impl Process {
    /// Starts `program`; `signal` is what asks it to end.
    pub fn start(
        name: &'static str,
        account: Option<Account>,
        program: &Path,
        arguments: &[&Path],
        environment: &[(&str, &str)],
        signal: &'static str,
    ) -> Self {
        let mut command = leashed(account, program);
        command.args(arguments).envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let log = Arc::new(Log::default());
        log.follow(child.stdout.take().expect("piped above"));
        log.follow(child.stderr.take().expect("piped above"));
        Self { name, child, log, signal }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let script = "kill -s \"$0\" \"$1\" 2>/dev/null";
        let sent = Command::new("sh").args(["-c", script, name, &pid]).status();
        // A process that ended already cannot be signalled: its end shows in the log.
        sent.expect("a shell exists");
    }

    /// Returns the exit code once the process ends by itself; nothing if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        assert!(self.log.wait_end(PATIENCE), "{} does not end", self.name);
        self.child.wait().expect("it is our child").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.log.wait_end(Duration::ZERO) {
            self.child.wait().expect("it is our child");
            return;
        }
        self.signal(self.signal);
        if !self.log.wait_end(Duration::from_secs(20)) {
            eprintln!("{} did not end on SIG{}: killed", self.name, self.signal);
            self.child.kill().expect("it is our child");
        }
        self.child.wait().expect("it is our child");
        if thread::panicking() {
            let lines = self.log.lines();
            let last = lines.len().saturating_sub(40);
            eprintln!("--- the last lines of {}:\n{}", self.name, lines[last..].join("\n"));
        }
    }
}
