//! The PostgreSQL that everything runs against: new, private, with pgbench's tables in it.
//!
//! Invariant: it is stopped and its folder removed when the owner is dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::account;
use super::process::{self, Cpu, Running};

/// Rows of pgbench's tables, in units of 100,000 accounts.
const SCALE: u32 = 10;
/// The user and the database.
pub const NAME: &str = "bench";
const START: Duration = Duration::from_secs(60);

/// A running PostgreSQL.
pub struct Server {
    /// Stopped before the folder goes.
    running: Running,
    folder: Folder,
    programs: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    buffers_mb: u64,
}

impl Server {
    /// Makes and starts a server.
    pub fn start() -> Result<Self, String> {
        let programs = programs()?;
        let folder = Folder::new()?;
        let data = folder.0.join("data");
        let mut initdb = account::unprivileged(&programs.join("initdb"))?;
        initdb.arg("-D").arg(&data).args(["-U", NAME, "--auth=trust", "--no-sync"]);
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]);
        quietly(initdb)?;
        let port = free_port()?;
        let buffers_mb = (memory_mb() / 8).clamp(64, 1024);
        let mut postgres = account::unprivileged(&programs.join("postgres"))?;
        postgres.arg("-D").arg(&data).arg("-k").arg(&folder.0);
        postgres.args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "fsync=off",
            "full_page_writes=off",
            "max_wal_size=4GB",
            "checkpoint_timeout=1h",
            &format!("shared_buffers={buffers_mb}MB"),
        ] {
            postgres.args(["-c", setting]);
        }
        let log = folder.log("postgres")?;
        postgres.stdout(Stdio::null()).stderr(log);
        let running = Running::start(postgres, "-INT")?;
        let mut server = Self { running, folder, programs, port, buffers_mb };
        server.until_ready(&data)?;
        server.sql("postgres", &format!("CREATE DATABASE {NAME}"))?;
        let scale = SCALE.to_string();
        let mut fill = Command::new(server.program("pgbench"));
        fill.args(["-i", "-q", "-s", &scale, "-h", "127.0.0.1", "-U", NAME]);
        fill.args(["-p", &server.port.to_string(), NAME]);
        quietly(fill)?;
        server.sql(NAME, "VACUUM ANALYZE")?;
        server.sql(NAME, "CHECKPOINT")?;
        Ok(server)
    }

    fn until_ready(&mut self, data: &Path) -> Result<(), String> {
        let deadline = Instant::now() + START;
        loop {
            let pid_file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
                return Ok(());
            }
            if let Some(status) = self.running.ended() {
                let log = std::fs::read_to_string(self.folder.0.join("postgres.log"));
                return Err(format!("postgres: {status}\n{}", log.unwrap_or_default()));
            }
            if Instant::now() > deadline {
                return Err("postgres does not start".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs one statement.
    fn sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let mut psql = Command::new(self.program("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", NAME, "-XAtqc"]);
        psql.args([statement, database]);
        quietly(psql)
    }

    /// The path of one of PostgreSQL's programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A folder that is removed in the end.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Opens a log file in that folder.
    pub fn log(&self, name: &str) -> Result<std::fs::File, String> {
        self.folder.log(name)
    }

    /// What all its processes used so far.
    pub fn cpu(&self) -> Cpu {
        process::cpu_of_family(self.running.id())
    }

    /// Version and settings, for the table's heading.
    pub fn describe(&self) -> String {
        let version = self.sql(NAME, "SHOW server_version").unwrap_or_default();
        let version = version.split_whitespace().next().unwrap_or("?").to_owned();
        format!(
            "PostgreSQL {version}, shared_buffers {} MB, fsync off, pgbench scale {SCALE}",
            self.buffers_mb
        )
    }
}

/// A temporary folder of our own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let name = format!("headpond-bench-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = Self(path);
        account::own(&folder.0)?;
        Ok(folder)
    }

    fn log(&self, name: &str) -> Result<std::fs::File, String> {
        let path = self.0.join(format!("{name}.log"));
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        open.map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Runs a program to its end and returns what it wrote; what it complains of becomes the error.
pub fn quietly(mut command: Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// Asks the kernel for a port that nobody has.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.map_err(|error| format!("no free port: {error}"))?.port())
}

/// Returns the folder of the newest PostgreSQL that Debian installed.
fn programs() -> Result<PathBuf, String> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = entries.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("initdb").exists().then_some((version, programs))
    });
    let newest = versions.max().map(|(_, programs)| programs);
    newest.ok_or_else(|| "PostgreSQL is not installed: apt-get install postgresql".to_owned())
}

fn memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kb = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}
