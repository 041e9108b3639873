//! A pooler in front of a PostgreSQL: Headpond, or PgBouncer as positive control.
//!
//! Both read the same ini file, so a test says once what it wants. A test that fails with both is
//! wrong; one that fails with neither was never seen failing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::postgres::{APP, APP_PASSWORD, Postgres, SUPERUSER, SUPERUSER_PASSWORD};
use super::process::{Account, Log, PATIENCE, Process, free_port};

/// Which pooler the tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Headpond,
    PgBouncer,
}

impl Target {
    /// Reads `HEADPOND_TEST_TARGET`.
    pub fn from_env() -> Self {
        match std::env::var("HEADPOND_TEST_TARGET").as_deref() {
            Err(_) | Ok("" | "headpond") => Self::Headpond,
            Ok("pgbouncer") => Self::PgBouncer,
            Ok(other) => panic!("HEADPOND_TEST_TARGET is headpond or pgbouncer, not {other:?}"),
        }
    }

    /// Returns whether named statements work in transaction mode (PgBouncer: since 1.21).
    pub fn tracks_statements(self) -> bool {
        self == Self::Headpond
    }

    /// Returns whether a connection counts against the limit until its backend is gone.
    ///
    /// PgBouncer forgets a connection when it closes it, so a successor may be seen beside a
    /// backend that is still about to leave.
    pub fn counts_leaving_backends(self) -> bool {
        self == Self::Headpond
    }

    /// Starts this pooler with `settings` in front of `postgres`.
    pub fn start(self, postgres: &Postgres, settings: &Settings) -> Box<dyn Pooler> {
        let write = |place: &Place| settings.ini(postgres, place, self);
        match self {
            Self::Headpond => Box::new(Headpond::start("pgbouncer.ini", write)),
            Self::PgBouncer => Box::new(PgBouncer::start(write)),
        }
    }
}

/// A running pooler; stopped when dropped.
pub trait Pooler {
    /// Returns which one it is.
    fn target(&self) -> Target;
    /// Returns its place: ports and directory.
    fn place(&self) -> &Place;
    /// Returns what it wrote so far.
    fn log(&self) -> &Log;
    /// Sends it a signal, as in `HUP`.
    fn signal(&self, name: &str);

    /// Returns the address for clients.
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.place().port))
    }

    /// Returns how the role `app` connects through it.
    fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.place().port).dbname(APP);
        config.user(APP).password(APP_PASSWORD);
        config
    }
}

/// Where a pooler may listen and keep its files.
#[derive(Clone, Debug)]
pub struct Place {
    pub port: u16,
    pub http_port: u16,
    pub directory: PathBuf,
}

/// What a test wants of the pooler; written as `pgbouncer.ini`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub pool_mode: &'static str,
    pub pool_size: u32,
    pub auth_type: &'static str,
    /// Further keys of `[pgbouncer]`.
    pub keys: Vec<(&'static str, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        let auth_type = "scram-sha-256";
        Self { pool_mode: "transaction", pool_size: 10, auth_type, keys: Vec::new() }
    }
}

impl Settings {
    /// Writes the users of a place, and returns the text of its ini file.
    pub fn ini(&self, postgres: &Postgres, place: &Place, target: Target) -> String {
        let users = place.directory.join("userlist.txt");
        let list =
            format!("\"{APP}\" \"{APP_PASSWORD}\"\n\"{SUPERUSER}\" \"{SUPERUSER_PASSWORD}\"\n");
        fs::write(&users, list).expect("the directory is ours");
        let mut text = format!(
            "[databases]\n* = host={host} port={server_port}\n\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {directory}\n\
             auth_type = {auth_type}\nauth_file = {users}\nadmin_users = {SUPERUSER}\n\
             pool_mode = {pool_mode}\ndefault_pool_size = {pool_size}\nmax_client_conn = 2000\n\
             ignore_startup_parameters = extra_float_digits\n",
            host = "127.0.0.1",
            server_port = postgres.port(),
            port = place.port,
            directory = place.directory.display(),
            auth_type = self.auth_type,
            users = users.display(),
            pool_mode = self.pool_mode,
            pool_size = self.pool_size,
        );
        for (key, value) in &self.keys {
            text.push_str(&format!("{key} = {value}\n"));
        }
        if target == Target::Headpond {
            text.push_str(&format!("\n[http]\nlisten = 127.0.0.1:{}\n", place.http_port));
        }
        text
    }
}

/// Headpond: `headpond serve FILE`.
#[derive(Debug)]
pub struct Headpond {
    started: Started,
}

impl Headpond {
    /// Starts it with the text that `write` makes for its place, in a file called `name`
    /// (`headpond.toml` or `pgbouncer.ini`). The text must make HTTP listen on the place's port.
    pub fn start(name: &str, write: impl Fn(&Place) -> String) -> Self {
        Self::start_in(name, &[], write)
    }

    /// The same, with these variables in its environment.
    pub fn start_in(
        name: &str,
        environment: &[(&str, &str)],
        write: impl Fn(&Place) -> String,
    ) -> Self {
        let started = Started::new("headpond", name, write, |account, place, file| {
            let binary = reachable(&binary(), &place.directory);
            let arguments = [Path::new("serve"), file];
            let process =
                Process::start("headpond", account, &binary, &arguments, environment, "TERM");
            let http = SocketAddr::from(([127, 0, 0, 1], place.http_port));
            let ready = wait_until(&process, || is_ready(http));
            (process, ready)
        });
        Self { started }
    }

    pub fn pid(&self) -> u32 {
        self.started.process.pid()
    }

    /// Returns the address of its health and metrics endpoint.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.started.place.http_port))
    }

    /// Returns the exit code once it ends by itself; nothing if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        self.started.process.wait()
    }
}

impl Pooler for Headpond {
    fn target(&self) -> Target {
        Target::Headpond
    }

    fn place(&self) -> &Place {
        &self.started.place
    }

    fn log(&self) -> &Log {
        self.started.process.log()
    }

    fn signal(&self, name: &str) {
        self.started.process.signal(name);
    }
}

/// PgBouncer, as the distribution ships it.
#[derive(Debug)]
pub struct PgBouncer {
    started: Started,
}

impl PgBouncer {
    /// Starts it with the text that `write` makes for its place.
    pub fn start(write: impl Fn(&Place) -> String) -> Self {
        let started = Started::new("pgbouncer", "pgbouncer.ini", write, |account, place, file| {
            let binary = Path::new("/usr/sbin/pgbouncer");
            let process = Process::start("pgbouncer", account, binary, &[file], &[], "TERM");
            let address = SocketAddr::from(([127, 0, 0, 1], place.port));
            let ready = process.log().wait_for(|line| line.contains("process up"))
                && TcpStream::connect(address).is_ok();
            (process, ready)
        });
        Self { started }
    }
}

impl Pooler for PgBouncer {
    fn target(&self) -> Target {
        Target::PgBouncer
    }

    fn place(&self) -> &Place {
        &self.started.place
    }

    fn log(&self) -> &Log {
        self.started.process.log()
    }

    fn signal(&self, name: &str) {
        self.started.process.signal(name);
    }
}

/// What both have in common once they run.
#[derive(Debug)]
struct Started {
    // Stopped before its directory goes: fields drop in this order.
    process: Process,
    place: Place,
    _directory: TempDir,
}

impl Started {
    /// Starts on free ports, and on others if somebody took them meanwhile.
    fn new(
        name: &str,
        file: &str,
        write: impl Fn(&Place) -> String,
        start: impl Fn(Option<Account>, &Place, &Path) -> (Process, bool),
    ) -> Self {
        let account = Account::unprivileged();
        for _ in 0..5 {
            let directory = tempfile::Builder::new().prefix("hp-pool").tempdir();
            let directory = directory.expect("a directory");
            let place = Place {
                port: free_port(),
                http_port: free_port(),
                directory: directory.path().to_owned(),
            };
            let file = directory.path().join(file);
            fs::write(&file, write(&place)).expect("the directory is ours");
            Account::own(account, directory.path());
            for entry in fs::read_dir(directory.path()).expect("the directory is ours") {
                Account::own(account, &entry.expect("the directory is ours").path());
            }
            let (process, ready) = start(account, &place, &file);
            if ready {
                return Self { process, place, _directory: directory };
            }
            let lines = process.log().lines();
            let taken = lines.iter().any(|line| line.contains("Address already in use"));
            assert!(taken, "{name} does not start:\n{}", lines.join("\n"));
        }
        panic!("no port stayed free");
    }
}

/// Returns whether `condition` came true while the process lived.
fn wait_until(process: &Process, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        // The pause only spares the processor: what is waited for is the condition.
        if !process.log().wait_change(Duration::from_millis(20)) {
            return false;
        }
    }
    false
}

fn is_ready(http: SocketAddr) -> bool {
    get(http, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Returns the whole answer to a GET, if there is one.
pub fn get(http: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(http).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Finds the binary under test.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("HEADPOND_TEST_BINARY").map(PathBuf::from);
    let named = named.or_else(|| std::env::var_os("CARGO_BIN_EXE_headpond").map(PathBuf::from));
    let beside = || {
        // A test binary lies in target/<profile>/deps, a program one folder up.
        let test = std::env::current_exe().expect("a test has a path");
        test.ancestors().nth(2).expect("a test lies in a profile's folder").join("headpond")
    };
    let path = named.unwrap_or_else(beside);
    assert!(path.exists(), "{} is missing: cargo build -p headpond-cli", path.display());
    path
}

/// Returns a path under which another account can run the binary: its own, or that of a copy.
fn reachable(binary: &Path, directory: &Path) -> PathBuf {
    let open = |path: &Path| fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o1 != 0);
    if Account::unprivileged().is_none() || binary.ancestors().all(open) {
        return binary.to_owned();
    }
    let copy = directory.join("headpond");
    fs::copy(binary, &copy).expect("the directory is ours");
    copy
}
