//! The poolers under test: the same settings for each, each on a port of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::account;
use super::cells::{Cell, Work};
use super::options::Options;
use super::process::Running;
use super::server::{self, NAME, Server};
use crate::tree;

/// Debian's PgBouncer: what everything is compared with.
pub const RIVAL: &str = "pgbouncer";
/// The same with 64 KB buffers, for bulk.
pub const RIVAL_LARGE: &str = "pgbouncer-64k";
/// The newer one of `HEADPOND_BENCH_PGBOUNCER`.
pub const RIVAL_NEW: &str = "pgbouncer-new";
/// Headpond with somebody who scrapes its metrics and has its page open.
pub const WATCHED: &str = "headpond-watched";
/// No pooler at all: what the machine gives.
pub const DIRECT: &str = "direct";

/// How a pooler is started.
#[derive(Clone)]
enum Kind {
    Direct,
    PgBouncer { program: PathBuf, extra: &'static str },
    Headpond { program: PathBuf, engine: String, workers: Option<u32> },
}

/// A pooler that can be started.
#[derive(Clone)]
pub struct Subject {
    /// Short name.
    pub key: &'static str,
    /// Name in the table.
    pub title: String,
    kind: Kind,
}

/// A pooler that runs.
pub struct Pooler {
    /// Short name.
    pub key: &'static str,
    /// Its port on 127.0.0.1.
    pub port: u16,
    running: Option<Running>,
}

impl Pooler {
    /// Its process id; a direct connection has none.
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }
}

/// Returns every subject that this machine has.
pub fn all(options: &Options) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    if !options.without.iter().any(|name| name == "pgbouncer") {
        let plain = Kind::PgBouncer { program: debian.clone(), extra: "" };
        let large = Kind::PgBouncer { program: debian.clone(), extra: "pkt_buf = 65536\n" };
        let version = version(&debian);
        subjects.push(Subject { key: RIVAL, title: version.clone(), kind: plain });
        let title = format!("{version}, pkt_buf 64 KB");
        subjects.push(Subject { key: RIVAL_LARGE, title, kind: large });
    }
    if let Some(program) = std::env::var_os("HEADPOND_BENCH_PGBOUNCER") {
        let program = PathBuf::from(program);
        let title = version(&program);
        let kind = Kind::PgBouncer { program, extra: "max_prepared_statements = 200\n" };
        subjects.push(Subject { key: RIVAL_NEW, title, kind });
    }
    if !options.without.iter().any(|name| name == "headpond") {
        let program = std::env::var_os("HEADPOND_BENCH_PROGRAM").map(PathBuf::from);
        let program = program.unwrap_or_else(release);
        for engine in &options.engines {
            // Two engines are two columns; the key must outlive the options.
            let key = if engine == "io_uring" { "headpond-io_uring" } else { "headpond-epoll" };
            let kind = Kind::Headpond {
                program: program.clone(),
                engine: engine.clone(),
                workers: options.workers,
            };
            let title = format!("{}, {engine}", version(&program));
            subjects.push(Subject { key, title, kind });
        }
    }
    let title = "direct".to_owned();
    subjects.push(Subject { key: DIRECT, title, kind: Kind::Direct });
    subjects
}

/// Returns the subjects of one cell, what everything is compared with first.
pub fn lineup(options: &Options, cell: &Cell) -> Vec<Subject> {
    let takes_part = |subject: &Subject| match subject.key {
        // What watching costs is measured of Headpond alone.
        RIVAL | RIVAL_NEW if cell.work == Work::Watched => false,
        // PgBouncer tracks prepared statements from 1.21 on.
        RIVAL => !cell.is_prepared() || has_prepared(&subject.title),
        RIVAL_LARGE => cell.is_bulk(),
        DIRECT => cell.work == Work::Paced,
        _ => true,
    };
    all(options).into_iter().filter(takes_part).collect()
}

fn has_prepared(title: &str) -> bool {
    let version = title.rsplit(' ').next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (1, 21)
}

fn release() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| tree::root().join("target")).join("release/headpond")
}

/// Returns the first line of `--version`.
fn version(program: &Path) -> String {
    let mut command = Command::new(program);
    command.arg("--version");
    let text = server::quietly(command).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}

impl Subject {
    /// Starts the pooler in front of a server and waits until it answers.
    pub fn start(&self, server: &Server) -> Result<Pooler, String> {
        self.start_at(server, None)
    }

    /// The same, with Headpond's endpoint for those who watch on a port.
    pub fn start_at(&self, server: &Server, http: Option<u16>) -> Result<Pooler, String> {
        let port = match self.kind {
            Kind::Direct => return Ok(Pooler { key: self.key, port: server.port, running: None }),
            _ => server::free_port()?,
        };
        let file = server.folder().join(format!("{}.ini", self.key));
        let users = server.folder().join("userlist.txt");
        let extra = if let Kind::PgBouncer { extra, .. } = &self.kind { extra } else { "" };
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write(&users, format!("\"{NAME}\" \"\"\n"))?;
        write(&file, settings(server.port, port, &users, extra))?;
        let mut command = match &self.kind {
            Kind::Direct => unreachable!("returned above"),
            Kind::PgBouncer { program, .. } => {
                let mut command = account::unprivileged(program)?;
                command.arg("-q").arg(&file);
                command
            }
            Kind::Headpond { program, engine, workers } => {
                let mut command = Command::new(program);
                command.args(["serve", "--quiet", "--engine", engine]);
                if let Some(workers) = workers {
                    command.args(["--workers", &workers.to_string()]);
                }
                let listen = http.map_or_else(String::new, |port| format!("127.0.0.1:{port}"));
                command.arg(&file).env("HEADPOND_HTTP__LISTEN", listen);
                // The pooler takes every variable of that prefix for a setting.
                command.env_remove("HEADPOND_BENCH_PGBOUNCER");
                command.env_remove("HEADPOND_BENCH_PROGRAM");
                command
            }
        };
        command.stdout(Stdio::null()).stderr(server.log(self.key)?);
        let running = Running::start(command, "-QUIT")?;
        let mut pooler = Pooler { key: self.key, port, running: Some(running) };
        self.until_listening(server, &mut pooler)?;
        Ok(pooler)
    }

    fn until_listening(&self, server: &Server, pooler: &mut Pooler) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if std::net::TcpStream::connect(("127.0.0.1", pooler.port)).is_ok() {
                return Ok(());
            }
            let ended = pooler.running.as_mut().and_then(Running::ended);
            if ended.is_some() || Instant::now() > deadline {
                let log = server.folder().join(format!("{}.log", self.key));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let ended = ended.unwrap_or_else(|| "does not listen".to_owned());
                return Err(format!("{}: {ended}\n{log}", self.title));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The settings of every pooler.
fn settings(server: u16, port: u16, users: &Path, extra: &str) -> String {
    format!(
        "[databases]\n\
         {NAME} = host=127.0.0.1 port={server} user={NAME}\n\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = trust\n\
         auth_file = {}\n\
         pool_mode = transaction\n\
         default_pool_size = 20\n\
         max_client_conn = 6000\n\
         log_connections = 0\n\
         log_disconnections = 0\n\
         log_pooler_errors = 0\n\
         log_stats = 0\n\
         {extra}",
        users.display()
    )
}
