//! A PostgreSQL of the test's own.
//!
//! It listens on a TCP port of 127.0.0.1 and on a socket in its directory, asks everyone for a
//! SCRAM password, and writes the SQLSTATE of whatever it logs. The superuser is `postgres`; the
//! role and the database `app` are for clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::process::{Account, Log, Process, command, free_port};

pub const SUPERUSER: &str = "postgres";
pub const SUPERUSER_PASSWORD: &str = "super-secret";
/// The name of the role and of its database.
pub const APP: &str = "app";
pub const APP_PASSWORD: &str = "app-secret";

/// What a test may want differently.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_connections: u32,
    /// Offers TLS with a certificate for `localhost` signed by itself.
    pub tls: bool,
    /// Further lines of `postgresql.conf`.
    pub settings: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_connections: 100, tls: false, settings: Vec::new() }
    }
}

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    // Stopped before its directory goes: fields drop in this order.
    process: Process,
    directory: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts a server with the default options.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts a server, and again on another port if somebody took its own meanwhile.
    pub fn start_with(options: &Options) -> Self {
        let account = Account::unprivileged();
        let directory = tempfile::Builder::new().prefix("hp-pg").tempdir().expect("a directory");
        Account::own(account, directory.path());
        initialise(account, directory.path());
        let server = Self::serve(account, directory, options);
        server.create_app();
        server
    }

    /// Starts a standby that streams from this server; it needs the default options.
    pub fn standby(&self) -> Self {
        let account = Account::unprivileged();
        let directory = tempfile::Builder::new().prefix("hp-pg").tempdir().expect("a directory");
        Account::own(account, directory.path());
        let data = directory.path().join("data");
        let mut copy = command(account, &program("pg_basebackup"));
        copy.args(["--no-sync", "--checkpoint=fast", "-h"]).arg(self.socket_directory());
        copy.args(["-p", &self.port.to_string(), "-U", SUPERUSER, "-D"]).arg(&data);
        let output = copy.env("PGPASSWORD", SUPERUSER_PASSWORD).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let signal = data.join("standby.signal");
        fs::write(&signal, "").expect("the directory is ours");
        Account::own(account, &signal);
        let primary = format!(
            "host={} port={} user={SUPERUSER} password={SUPERUSER_PASSWORD}",
            self.socket_directory().display(),
            self.port
        );
        // The primary hears of it every second, not every ten.
        let often = ("wal_receiver_status_interval", "1".to_owned());
        let settings = vec![("primary_conninfo", primary), often];
        Self::serve(account, directory, &Options { settings, ..Options::default() })
    }

    fn serve(account: Option<Account>, directory: TempDir, options: &Options) -> Self {
        for _ in 0..5 {
            let port = free_port();
            configure(account, directory.path(), port, options);
            let process = launch(account, directory.path());
            let ready = |line: &str| {
                // Before version 14 it was `read only`.
                let line = line.replace("read only", "read-only").replace("read-only ", "");
                line.contains("ready to accept connections")
            };
            if process.log().wait_for(ready) {
                return Self { process, directory, port };
            }
            let taken = |line: &String| line.contains("Address already in use");
            assert!(process.log().lines().iter().any(taken), "PostgreSQL does not start");
        }
        panic!("no port stayed free");
    }

    /// Stops the server, whatever it does, and starts it again on the same port.
    pub fn restart(&mut self) {
        self.process.signal("INT");
        assert_eq!(self.process.wait(), Some(0), "PostgreSQL ends in order");
        self.process = launch(Account::unprivileged(), self.directory.path());
        let ready = |line: &str| line.contains("ready to accept connections");
        assert!(self.process.log().wait_for(ready), "PostgreSQL does not start again");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory of the unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the certificate that a client must trust, if TLS is on.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("server.crt")
    }

    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// Sends a signal to the postmaster, as in `INT` or `STOP`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Returns how the superuser connects without a pooler.
    pub fn direct(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket_directory()).port(self.port).dbname(database);
        config.user(SUPERUSER).password(SUPERUSER_PASSWORD).application_name("direct");
        config
    }

    /// Connects the superuser without a pooler.
    pub async fn connect(&self, database: &str) -> tokio_postgres::Client {
        connect(&self.direct(database)).await.expect("a direct connection")
    }

    /// Runs SQL as superuser and returns the plain output.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.socket_directory());
        psql.args(["-p", &self.port.to_string(), "-U", SUPERUSER, "-d", database, "-c", sql]);
        psql.env("PGPASSWORD", SUPERUSER_PASSWORD);
        let output = psql.output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the database is UTF-8")
    }

    fn create_app(&self) {
        self.psql("postgres", &format!("CREATE ROLE {APP} LOGIN PASSWORD '{APP_PASSWORD}'"));
        self.psql("postgres", &format!("CREATE DATABASE {APP} OWNER {APP}"));
    }
}

/// Connects and lets the connection run on the present runtime.
pub async fn connect(
    config: &tokio_postgres::Config,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // How the connection ends shows in the result of whatever is asked next.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Returns a program of PostgreSQL: from the newest installation that has a server.
pub fn program(name: &str) -> PathBuf {
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.and_then(|o| String::from_utf8(o.stdout).ok());
    let mut folders: Vec<PathBuf> = configured.map(|f| f.trim().into()).into_iter().collect();
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin"))))
        .collect();
    debian.sort();
    folders.extend(debian.into_iter().rev().map(|(_, folder)| folder));
    folders.push("/usr/bin".into());
    let with_server = folders.iter().find(|f| f.join("initdb").exists() && f.join(name).exists());
    let any = folders.iter().find(|f| f.join(name).exists());
    with_server.or(any).unwrap_or_else(|| panic!("{name} is not installed")).join(name)
}

fn launch(account: Option<Account>, directory: &Path) -> Process {
    let data = directory.join("data");
    let arguments = [Path::new("-D"), &data];
    Process::start("postgres", account, &program("postgres"), &arguments, &[], "INT")
}

fn initialise(account: Option<Account>, directory: &Path) {
    let password = directory.join("password");
    fs::write(&password, SUPERUSER_PASSWORD).expect("the directory is ours");
    Account::own(account, &password);
    let mut initdb = command(account, &program("initdb"));
    initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256"]);
    initdb.args(["--username", SUPERUSER, "--pwfile"]).arg(&password);
    initdb.arg("-D").arg(directory.join("data"));
    let output = initdb.output().expect("initdb runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn configure(account: Option<Account>, directory: &Path, port: u16, options: &Options) {
    let mut lines: Vec<(&str, String)> = vec![
        ("listen_addresses", "127.0.0.1".into()),
        ("port", port.to_string()),
        ("unix_socket_directories", directory.display().to_string()),
        ("max_connections", options.max_connections.to_string()),
        ("password_encryption", "scram-sha-256".into()),
        ("fsync", "off".into()),
        ("synchronous_commit", "off".into()),
        ("full_page_writes", "off".into()),
        ("autovacuum", "off".into()),
        ("shared_buffers", "32MB".into()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".into()),
        ("log_error_verbosity", "verbose".into()),
    ];
    if options.tls {
        write_certificate(account, directory);
        lines.push(("ssl", "on".into()));
        lines.push(("ssl_cert_file", directory.join("server.crt").display().to_string()));
        lines.push(("ssl_key_file", directory.join("server.key").display().to_string()));
    }
    lines.extend(options.settings.iter().cloned());
    let text: String = lines
        .iter()
        .map(|(key, value)| format!("{key} = '{}'\n", value.replace('\'', "''")))
        .collect();
    let file = directory.join("data/postgresql.auto.conf");
    fs::write(&file, text).expect("the directory is ours");
    Account::own(account, &file);
}

fn write_certificate(account: Option<Account>, directory: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]);
    let made = made.expect("a certificate for legal names");
    let key = made.signing_key.serialize_pem();
    for (name, text, mode) in [("server.crt", made.cert.pem(), 0o644), ("server.key", key, 0o600)] {
        let file = directory.join(name);
        fs::write(&file, text).expect("the directory is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("the file is ours");
        Account::own(account, &file);
    }
}
