//! A MariaDB of the test's own.

use std::path::{Path, PathBuf};

use headpond::mysql::driver::{Conn, Opts, OptsBuilder, prelude::Queryable};
use tempfile::TempDir;

use super::process::{Account, Process, command, free_port};

pub const PASSWORD: &str = "app-secret";

/// A running server; stopped when dropped.
pub struct Server {
    // Stopped before its directory goes: fields drop in this order.
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server, and again on another port if somebody took its own meanwhile.
    pub async fn start_with(options: &[&str]) -> Self {
        let account = Account::unprivileged();
        let directory = tempfile::Builder::new().prefix("hp-my").tempdir().expect("a directory");
        Account::own(account, directory.path());
        install(account, directory.path());
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { process: None, directory, port: 0, options };
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                server.create_app().await;
                return server;
            }
        }
        panic!("no port stayed free");
    }

    fn launch(&mut self) -> bool {
        let data = self.directory.path().join("data");
        let mut arguments = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", data.display()),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--tmpdir={}", self.directory.path().display()),
            format!("--socket={}", self.socket().display()),
            format!("--pid-file={}", self.directory.path().join("pid").display()),
            "--innodb-flush-log-at-trx-commit=0".to_owned(),
            "--innodb-buffer-pool-size=16M".to_owned(),
            "--innodb-log-file-size=4M".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--performance-schema=OFF".to_owned(),
        ];
        arguments.extend(self.options.iter().cloned());
        let arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
        let account = Account::unprivileged();
        let program = program("mariadbd");
        let process = Process::start("mariadbd", account, &program, &arguments, &[], "KILL");
        let ready = process.log().wait_for(|line| line.contains("ready for connections"));
        let taken = |line: &String| line.contains("Address already in use");
        assert!(ready || process.log().lines().iter().any(taken), "MariaDB does not start");
        self.process = ready.then_some(process);
        ready
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// Ends the server without any warning.
    pub fn kill(&mut self) {
        self.process().signal("KILL");
        self.process().wait();
        self.process = None;
    }

    /// Starts a server that was killed, on the same port.
    pub fn restart(&mut self) {
        assert!(self.launch(), "the port is still ours");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub fn url(&self, more: &str) -> String {
        format!("mysql://app:{PASSWORD}@127.0.0.1:{}/app?{more}", self.port)
    }

    /// Connects as the superuser, on the socket: beside every limit but the server's own.
    pub async fn root(&self) -> Conn {
        let socket = self.socket().display().to_string();
        let opts = OptsBuilder::default().user(Some("root")).socket(Some(socket));
        Conn::new(Opts::from(opts)).await.expect("root may log in")
    }

    async fn create_app(&self) {
        let mut root = self.root().await;
        for sql in [
            "CREATE DATABASE app".to_owned(),
            "CREATE DATABASE other".to_owned(),
            format!("CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'"),
            "GRANT ALL ON app.* TO app@'%'".to_owned(),
            "GRANT ALL ON other.* TO app@'%'".to_owned(),
        ] {
            root.query_drop(sql).await.expect("root may do everything");
        }
        root.disconnect().await.expect("a goodbye");
    }
}

/// Returns how many sessions the application has.
pub async fn sessions(root: &mut Conn) -> u32 {
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'";
    root.query_first(sql).await.expect("root may count").expect("a count has a row")
}

fn install(account: Option<Account>, directory: &Path) {
    let mut install = command(account, &program("mariadb-install-db"));
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.args(["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M"]);
    install.arg(format!("--datadir={}", directory.join("data").display()));
    // Two servers with one folder for temporary files take each other's.
    install.arg(format!("--tmpdir={}", directory.display()));
    let output = install.output().expect("mariadb-install-db runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed (Debian: mariadb-server)"))
}
