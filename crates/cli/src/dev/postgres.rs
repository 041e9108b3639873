//! A private PostgreSQL: its own data folder, a free port, one user with a password of its own.
//!
//! Invariant: the server never runs as root, listens on 127.0.0.1 and in a folder of its own, and
//! is stopped by the process id it was started with.
//! Not here: the pooler in front of it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::Failure;
use crate::account::Account;

/// The user and the database that a new data folder gets.
pub const NAME: &str = "headpond";

/// How long PostgreSQL may take to come up: a crash recovery can be long.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is told more firmly.
const STOP: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Where everything of one private PostgreSQL lies.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// Names the folder; nothing is touched yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    fn secret(&self) -> PathBuf {
        self.folder.join("password")
    }
}

/// A running private PostgreSQL.
pub struct Postgres {
    child: tokio::process::Child,
    pid: Pid,
    /// The port it listens on, and the name of its socket in [`Postgres::sockets`].
    pub port: u16,
    /// The folder of its Unix socket.
    pub sockets: PathBuf,
    /// The password of [`NAME`].
    pub password: String,
}

/// Makes the data folder if there is none, and starts the server in it.
///
/// # Errors
/// A program that is missing, a folder that cannot be used, a server that does not come up; each
/// with what to do about it.
pub fn start(home: &Home, sockets: &Path, fresh: bool) -> Result<Postgres, Failure> {
    let account = Account::unprivileged()?;
    let programs = programs()?;
    stop_left_over(home)?;
    if fresh && home.folder.exists() {
        fs::remove_dir_all(&home.folder).map_err(|e| Failure::path(&home.folder, e))?;
    }
    make_folder(&home.folder, &account)?;
    make_folder(sockets, &account)?;
    let password = match home.data().join("PG_VERSION").exists() {
        true => fs::read_to_string(home.secret()).map_err(|e| Failure::path(&home.secret(), e))?,
        false => initialise(home, &programs, &account)?,
    };
    let port = free_port().map_err(|e| Failure::new(format!("no free port: {e}")))?;
    let log = fs::File::create(home.log()).map_err(|e| Failure::path(&home.log(), e))?;
    let mut command = account.command(&programs.join("postgres"));
    command.current_dir("/");
    command.arg("-D").arg(home.data()).arg("-k").arg(sockets).args(["-p", &port.to_string()]);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // Ctrl-C in the terminal is ours to answer: PostgreSQL goes last.
    command.process_group(0);
    let child = tokio::process::Command::from(command)
        .spawn()
        .map_err(|e| Failure::path(&programs.join("postgres"), e))?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let pid = pid.expect("a child that was not waited for has a process id");
    let mut postgres = Postgres { child, pid, port, sockets: sockets.to_path_buf(), password };
    postgres.until_ready(home)?;
    Ok(postgres)
}

impl Postgres {
    /// Waits until the server says in its pid file that it takes connections.
    fn until_ready(&mut self, home: &Home) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        while !is_ready(home) {
            let over = self.child.try_wait().map_err(|e| Failure::path(&home.data(), e))?;
            if over.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(home.log()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                return Err(Failure::new(format!(
                    "PostgreSQL does not start in {}:\n{}\nits log is {}; --fresh starts empty",
                    home.data().display(),
                    tail.join("\n"),
                    home.log().display(),
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Says whether the server has ended, which nobody asked for.
    pub fn is_gone(&self) -> bool {
        // Not waited for yet, an ended child is a zombie: it still takes signals.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        let state =
            stat.ok().and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()));
        state.is_none_or(|state| state.trim_start().starts_with(['Z', 'X']))
    }

    /// Stops the server: open transactions are rolled back, everything committed is kept.
    pub async fn stop(mut self) {
        for (signal, patience) in [(Signal::INT, STOP), (Signal::QUIT, STOP)] {
            // The only error is that it is gone already, and waiting says so too.
            let _ = kill_process(self.pid, signal);
            if tokio::time::timeout(patience, self.child.wait()).await.is_ok() {
                return;
            }
        }
    }
}

/// The postmaster writes its state into the eighth line of its pid file.
fn is_ready(home: &Home) -> bool {
    let text = fs::read_to_string(home.data().join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

/// A `dev` that was killed leaves its server behind: it would hold the data folder.
fn stop_left_over(home: &Home) -> Result<(), Failure> {
    let path = home.data().join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    let Some(pid) = pid.and_then(Pid::from_raw) else { return Ok(()) };
    let command_line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    let data = home.data();
    let ours = command_line.is_ok_and(|line| {
        line.windows(data.as_os_str().len()).any(|part| part == data.as_os_str().as_encoded_bytes())
    });
    if !ours {
        return Ok(());
    }
    let deadline = Instant::now() + STOP;
    // Gone between the look and the signal is as good as stopped.
    let _ = kill_process(pid, Signal::INT);
    while test_kill_process(pid).is_ok() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "another PostgreSQL (process {}) holds {}; is another `headpond dev` running?",
                pid.as_raw_nonzero(),
                data.display(),
            )));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn make_folder(folder: &Path, account: &Account) -> Result<(), Failure> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|e| Failure::path(parent, e))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Failure::path(folder, error));
        }
        Ok(()) | Err(_) => {}
    }
    account.own(folder).map_err(|e| Failure::path(folder, e))
}

/// Runs initdb with a random password and makes the database.
fn initialise(home: &Home, programs: &Path, account: &Account) -> Result<String, Failure> {
    if home.data().exists() {
        // An initdb that was interrupted leaves a folder that no server starts in.
        fs::remove_dir_all(home.data()).map_err(|e| Failure::path(&home.data(), e))?;
    }
    let password = random_word().map_err(|e| Failure::new(format!("/dev/urandom: {e}")))?;
    fs::write(home.secret(), &password).map_err(|e| Failure::path(&home.secret(), e))?;
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(home.secret(), mode).map_err(|e| Failure::path(&home.secret(), e))?;
    account.own(&home.secret()).map_err(|e| Failure::path(&home.secret(), e))?;
    let mut initdb = account.command(&programs.join("initdb"));
    initdb.arg("-D").arg(home.data()).args(["-U", NAME, "--auth=scram-sha-256"]);
    initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]);
    initdb.arg("--pwfile").arg(home.secret());
    run(initdb, "initdb", None)?;
    let mut single = account.command(&programs.join("postgres"));
    single.arg("--single").arg("-D").arg(home.data()).args(["-c", "log_min_messages=error"]);
    single.arg("postgres");
    run(single, "creating the database", Some(&format!("CREATE DATABASE {NAME};\n")))?;
    Ok(password)
}

/// Runs a program to its end; what it says is shown only if it fails.
fn run(mut command: Command, what: &str, input: Option<&str>) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::new(format!("{what}: {e}"));
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        io::Write::write_all(&mut pipe, text.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
}

/// Returns the folder of PostgreSQL's programs: the newest of Debian's, else that in the path.
pub(super) fn programs() -> Result<PathBuf, Failure> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let version = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let folder = entry.path().join("bin");
        if let Some(version) = version.filter(|_| folder.join("initdb").exists()) {
            found.push((version, folder));
        }
    }
    if let Some((_, folder)) = found.into_iter().max() {
        return Ok(folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    folder.ok_or_else(|| {
        Failure::new(
            "PostgreSQL is not installed: `apt-get install postgresql`, or set DATABASE_URL to a \
             server that runs already"
                .to_owned(),
        )
    })
}

/// Asks the kernel for a port that nobody has.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

pub(super) fn random_word() -> io::Result<String> {
    let mut bytes = [0; 12];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Account {
    /// Gives a path to the account, if it is another one than ours.
    fn own(&self, path: &Path) -> io::Result<()> {
        match self.ids() {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}
