//! What `--against` names: another URL, or a pooler that is started for the comparison.
//!
//! Invariant: every pooler has the same settings, a port of its own, and is gone with this value.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headpond_bench::target::{Kind, Target};
use rustix::process::{Pid, Signal};

use crate::Failure;
use crate::account::Account;

/// Connections of each pooler to the server, as in `make bench`.
const POOL: u32 = 20;
/// How long a pooler may take to listen.
const START: Duration = Duration::from_secs(10);

/// What is compared with.
pub struct Rival {
    /// Label and URL of what was given, and of what it is compared with.
    ours: Option<(String, String)>,
    theirs: (String, String),
    running: Vec<Running>,
    // Last: the settings that the poolers read.
    _folder: tempfile::TempDir,
}

/// A pooler; ended when dropped.
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

impl Rival {
    /// Starts what is named, in front of the server of `target`.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(name: &str, target: &Target) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("headpond-against-").tempdir();
        let folder = folder.map_err(|e| Failure::new(format!("no temporary folder: {e}")))?;
        let mut rival = Self {
            ours: None,
            theirs: ("rival".to_owned(), name.to_owned()),
            running: Vec::new(),
            _folder: folder,
        };
        if !["pgbouncer", "direct"].contains(&name) {
            return Ok(rival);
        }
        if target.kind() != Kind::Postgres {
            return Err(Failure::usage(format!("--against {name} is for PostgreSQL")));
        }
        let server = Server::of(target)?;
        let url = rival.pooler(&server, "headpond")?;
        rival.ours = Some(("headpond".to_owned(), url));
        rival.theirs = match name {
            "pgbouncer" => (name.to_owned(), rival.pooler(&server, name)?),
            _ => (name.to_owned(), target.url().to_owned()),
        };
        Ok(rival)
    }

    /// Returns labels and URLs: ours first.
    pub fn targets(&self, url: &str) -> [(String, String); 2] {
        let ours = self.ours.clone().unwrap_or_else(|| ("bench".to_owned(), url.to_owned()));
        [ours, self.theirs.clone()]
    }

    fn pooler(&mut self, server: &Server, name: &str) -> Result<String, Failure> {
        let folder = self._folder.path();
        let port = free_port()?;
        let file = folder.join(format!("{name}.ini"));
        let users = folder.join("userlist.txt");
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).map_err(|error| Failure::path(path, error))
        };
        write(&users, &format!("\"{}\" \"{}\"\n", server.user, server.password))?;
        write(&file, &server.settings(port, &users))?;
        let account = Account::unprivileged()?;
        if let Some((uid, gid)) = account.ids() {
            for path in [folder, &file, &users] {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))
                    .map_err(|error| Failure::path(path, error))?;
            }
        }
        let mut command = match name {
            "headpond" => {
                let program = std::env::current_exe();
                let program = program.map_err(|e| Failure::new(format!("own program: {e}")))?;
                let mut command = Command::new(program);
                command.args(["serve", "--quiet"]).env("HEADPOND_HTTP__LISTEN", "");
                command
            }
            _ => {
                let mut command = account.command(Path::new(name));
                command.arg("-q");
                command
            }
        };
        command.arg(&file).current_dir("/").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| Failure::path(Path::new(name), error))?;
        self.running.push(Running(child));
        let running = self.running.last_mut().map(|running| &mut running.0);
        until_listening(name, port, running)?;
        Ok(server.url(port))
    }
}

/// Whether the PgBouncer of this machine follows prepared statements: from 1.21 on.
pub fn knows_prepared() -> bool {
    let output = Command::new("pgbouncer").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version(&text.unwrap_or_default()) >= Some((1, 21))
}

/// Takes the version out of `PgBouncer 1.18.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn until_listening(name: &str, port: u16, child: Option<&mut Child>) -> Result<(), Failure> {
    let deadline = Instant::now() + START;
    let mut child = child;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            return Err(Failure::new(format!("{name} does not start: {status}")));
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("{name} does not listen on port {port}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(|error| Failure::new(format!("no free port: {error}")))?.port())
}

/// A server as poolers are told of it.
struct Server {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
}

impl Server {
    fn of(target: &Target) -> Result<Self, Failure> {
        let config = headpond::postgres::Config::parse(target.url());
        let config = config.map_err(|error| Failure::usage(error.to_string()))?;
        let host = config.hosts.first().ok_or_else(|| Failure::usage("the url has no host"))?;
        let name = match &host.address {
            headpond::postgres::Address::Name(name) => name.clone(),
            headpond::postgres::Address::Ip { ip, .. } => ip.to_string(),
            headpond::postgres::Address::Unix(path) => path.display().to_string(),
        };
        Ok(Self {
            host: name,
            port: host.port,
            password: host.password.as_ref().map_or("", |p| p.expose()).to_owned(),
            user: config.user,
            database: config.database,
        })
    }

    fn settings(&self, port: u16, users: &Path) -> String {
        let quoted = |text: &str| text.replace('\'', "''");
        format!(
            "[databases]\n{} = host={} port={} dbname='{}' user='{}' password='{}'\n\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {POOL}\nmax_client_conn = 6000\nlog_connections = 0\n\
             log_disconnections = 0\nlog_pooler_errors = 0\nlog_stats = 0\n",
            self.database,
            self.host,
            self.port,
            quoted(&self.database),
            quoted(&self.user),
            quoted(&self.password),
            users.display()
        )
    }

    fn url(&self, port: u16) -> String {
        format!("postgres://{}@127.0.0.1:{port}/{}?sslmode=disable", self.user, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("PgBouncer 1.18.0\nlibevent 2"), Some((1, 18)));
        assert!(version("PgBouncer 1.9.0") < version("PgBouncer 1.21.0"));
        assert!(version("") < Some((1, 21)));
    }
}
