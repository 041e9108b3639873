//! Debian's Prometheus, and promtool.
//!
//! Not here: what is to be found in it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::http::until;
use super::process::{Process, free_port};

/// A Prometheus that scrapes every second.
pub struct Prometheus {
    process: Process,
    /// Where it is asked.
    pub http: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes a target and evaluates rules, if there are some, every second.
    pub async fn start(target: SocketAddr, rules: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let rules = rules.map_or_else(String::new, |rules| format!("'{}'", rules.display()));
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [{rules}]\n\
             scrape_configs:\n  - job_name: headpond\n    static_configs:\n      \
             - targets: ['{target}']\n",
        );
        std::fs::write(&config, text).expect("ours");
        let port = free_port();
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
        let program = Path::new("/usr/bin/prometheus");
        let process = Process::start("prometheus", None, program, &arguments, &[], "TERM");
        let http = SocketAddr::from(([127, 0, 0, 1], port));
        until("Prometheus", || TcpStream::connect(http).ok()).await;
        Self { process, http, _folder: folder }
    }

    /// Returns what it says of scrapes and rules that are not as it would have them.
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |line: &String| {
            let is_ours = line.contains("scrape manager") || line.contains("rule manager");
            is_ours && (line.contains("level=warn") || line.contains("level=error"))
        };
        self.process.log().lines().into_iter().filter(is_complaint).collect()
    }
}

/// Runs promtool; returns whether it is content, and what it says.
pub fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is installed (package prometheus)");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
