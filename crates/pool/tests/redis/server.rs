//! A Redis of the test's own.

use std::path::{Path, PathBuf};

use headpond::redis::driver::{Client, aio::MultiplexedConnection};
use tempfile::TempDir;

use super::process::{Process, free_port};

/// A running server; stopped when dropped.
pub struct Server {
    // Stopped before its directory goes: fields drop in this order.
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server, and again on another port if somebody took its own meanwhile.
    pub fn start_with(options: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("hp-redis").tempdir().expect("a directory");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { process: None, directory, port: 0, options };
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("no port stayed free");
    }

    fn launch(&mut self) -> bool {
        let directory = self.directory.path().display().to_string();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--appendonly", "no", "--save", ""].map(Into::into).into();
        arguments.extend(["--port".into(), self.port.to_string(), "--dir".into(), directory]);
        arguments.extend(["--unixsocket".into(), self.socket().display().to_string()]);
        arguments.extend(self.options.iter().cloned());
        let (process, ready) = launch(&program("redis-server"), &arguments);
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
        format!("redis://127.0.0.1:{}{more}", self.port)
    }

    /// Connects beside everything that is tested.
    pub async fn root(&self) -> MultiplexedConnection {
        let client = Client::open(self.url("")).expect("a url");
        client.get_multiplexed_async_connection().await.expect("a connection")
    }
}

/// Starts a program; says whether it is ready, and fails if it will never be.
pub fn launch(program: &Path, arguments: &[String]) -> (Process, bool) {
    let arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
    let process = Process::start("redis", None, program, &arguments, &[], "KILL");
    let up = |line: &str| line.contains("Ready to accept connections") || line.contains("+monitor");
    let ready = process.log().wait_for(up);
    let taken = |line: &String| line.contains("Address already in use");
    assert!(ready || process.log().lines().iter().any(taken), "redis does not start");
    (process, ready)
}

/// Returns how many clients the server has, beside the one that asks.
pub async fn clients(root: &mut MultiplexedConnection) -> usize {
    let list: String = headpond::redis::cmd("CLIENT").arg("LIST").query_async(root).await.unwrap();
    list.lines().count() - 1
}

pub fn program(name: &str) -> PathBuf {
    let found = ["/usr/bin", "/usr/local/bin"].iter().map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed (Debian: redis-server)"))
}
