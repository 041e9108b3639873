//! Poolers that a measurement starts for itself in front of a PostgreSQL.
//!
//! Invariant: each has a port of its own on 127.0.0.1, is told nothing but its settings, and is
//! gone with its value; this program as a pooler also ends when this process is killed.
//! Not here: what is measured.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headpond::postgres::{Address, Config, RootCert, Tls};
use headpond_bench::target::Target;
use rustix::process::{Pid, Signal};

use crate::Failure;
use crate::account::Account;

/// How long a pooler may take to listen.
const START: Duration = Duration::from_secs(10);
/// How often a pooler is started on another port when somebody took its own meanwhile.
const TRIES: u32 = 3;

/// How a pooler is to pool.
#[derive(Clone, Copy, Debug)]
pub struct Pooling {
    /// `pool_mode`.
    pub mode: &'static str,
    /// Connections to the server.
    pub size: u32,
    /// Clients that it lets in.
    pub clients: u32,
}

/// A running pooler; ended when dropped.
pub struct Private {
    target: Target,
    // Before its settings, which it reads.
    _running: Running,
    _folder: tempfile::TempDir,
}

impl AsRef<Target> for Private {
    fn as_ref(&self) -> &Target {
        &self.target
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::INT);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if self.0.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Private {
    /// Starts a pooler: this program as `headpond`, or another one by its name.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(name: &str, server: &Server, pooling: Pooling) -> Result<Self, Failure> {
        let mut outcome = Self::start_once(name, server, pooling);
        for _ in 1..TRIES {
            match outcome {
                Err(Ended::Early(_)) => outcome = Self::start_once(name, server, pooling),
                _ => break,
            }
        }
        outcome.map_err(Ended::failure)
    }

    fn start_once(name: &str, server: &Server, pooling: Pooling) -> Result<Self, Ended> {
        let folder = tempfile::Builder::new().prefix("headpond-private-").tempdir();
        let folder = folder.map_err(|e| Failure::new(format!("no temporary folder: {e}")))?;
        let port = free_port()?;
        let (file, users) = (folder.path().join("pooler.ini"), folder.path().join("userlist.txt"));
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).map_err(|error| Failure::path(path, error))
        };
        write(&users, &format!("\"{}\" \"{}\"\n", server.user, server.password))?;
        write(&file, &server.settings(port, &users, pooling))?;
        let account = Account::unprivileged()?;
        if let Some((uid, gid)) = account.ids() {
            for path in [folder.path(), &file, &users] {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))
                    .map_err(|error| Failure::path(path, error))?;
            }
        }
        let mut command = command(name, account)?;
        command.arg(&file).current_dir("/").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut running = Running(child.map_err(|error| Failure::path(Path::new(name), error))?);
        until_listening(name, port, &mut running.0)?;
        let target = Target::parse(&server.url(port)).map_err(Failure::from)?;
        Ok(Self { target, _running: running, _folder: folder })
    }
}

/// How a start failed.
enum Ended {
    /// The program ended by itself: perhaps somebody took its port.
    Early(Failure),
    /// Another way.
    Other(Failure),
}

impl Ended {
    fn failure(self) -> Failure {
        match self {
            Self::Early(failure) | Self::Other(failure) => failure,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Returns what starts a program, without its settings.
fn command(name: &str, account: Account) -> Result<Command, Failure> {
    if name != "headpond" {
        let mut command = account.command(Path::new(name));
        command.arg("-q").process_group(0);
        return Ok(command);
    }
    let program = std::env::current_exe();
    let mut command = Command::new(program.map_err(|e| Failure::new(format!("own program: {e}")))?);
    command.args(["serve", "--quiet", "--with-parent"]);
    // What is in the environment for another pooler would win over the settings.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HEADPOND_")) {
            command.env_remove(name);
        }
    }
    // Ctrl-C is for the measurement, which ends in good order and stops the pooler then.
    command.env("HEADPOND_HTTP__LISTEN", "").process_group(0);
    Ok(command)
}

fn until_listening(name: &str, port: u16, child: &mut Child) -> Result<(), Ended> {
    let deadline = Instant::now() + START;
    loop {
        let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
        // In this order: whoever listens is it, if it still runs.
        if let Some(status) = child.try_wait().ok().flatten() {
            return Err(Ended::Early(Failure::new(format!("{name} does not start: {status}"))));
        }
        if listens {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!("{name} does not listen on port {port}");
            return Err(Ended::Other(Failure::new(text)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(|error| Failure::new(format!("no free port: {error}")))?.port())
}

/// A server as poolers are told of it.
pub struct Server {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
    tls: Tls,
}

impl Server {
    /// Reads the URL of a PostgreSQL.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn of(target: &Target) -> Result<Self, Failure> {
        let config = Config::parse(target.url());
        let config = config.map_err(|error| Failure::usage(error.to_string()))?;
        let host = config.hosts.first().ok_or_else(|| Failure::usage("the url has no host"))?;
        let name = match &host.address {
            Address::Name(name) => name.clone(),
            Address::Ip { ip, .. } => ip.to_string(),
            Address::Unix(path) => path.display().to_string(),
        };
        Ok(Self {
            host: name,
            port: host.port,
            password: host.password.as_ref().map_or("", |p| p.expose()).to_owned(),
            user: config.user,
            database: config.database,
            tls: config.tls,
        })
    }

    fn settings(&self, port: u16, users: &Path, pooling: Pooling) -> String {
        let quoted = |text: &str| text.replace('\'', "''");
        let mut text = format!(
            "[databases]\n{} = host={} port={} dbname='{}' user='{}' password='{}'\n\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = {}\n\
             default_pool_size = {}\nmax_client_conn = {}\nlog_connections = 0\n\
             log_disconnections = 0\nlog_pooler_errors = 0\nlog_stats = 0\n\
             server_tls_sslmode = {}\n",
            self.database,
            self.host,
            self.port,
            quoted(&self.database),
            quoted(&self.user),
            quoted(&self.password),
            users.display(),
            pooling.mode,
            pooling.size,
            pooling.clients,
            self.tls.mode.as_str(),
        );
        let root = match &self.tls.root {
            Some(RootCert::File(path)) => Some(path),
            _ => None,
        };
        for (key, path) in [("ca", root), ("cert", self.tls.cert.as_ref())] {
            if let Some(path) = path {
                let _ = writeln!(text, "server_tls_{key}_file = {}", path.display());
            }
        }
        if let Some(path) = self.tls.key.as_ref().filter(|_| self.tls.cert.is_some()) {
            let _ = writeln!(text, "server_tls_key_file = {}", path.display());
        }
        text
    }

    fn url(&self, port: u16) -> String {
        let (user, database) = (escaped(&self.user), escaped(&self.database));
        format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable")
    }
}

/// Writes a name as a URL has it.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_is_told_of_its_server_what_the_url_says() {
        let target = "postgres://a%40b:it's@db:5433/shop?sslmode=require";
        let target = Target::parse(target).expect("a url");
        let server = Server::of(&target).unwrap_or_else(|failure| panic!("{}", failure.text()));
        let pooling = Pooling { mode: "statement", size: 7, clients: 90 };
        let text = server.settings(6000, Path::new("/users"), pooling);
        for part in [
            "host=db port=5433 dbname='shop' user='a@b' password='it''s'",
            "pool_mode = statement\ndefault_pool_size = 7\nmax_client_conn = 90\n",
            "server_tls_sslmode = require\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(server.url(6000), "postgres://a%40b@127.0.0.1:6000/shop?sslmode=disable");
    }
}
