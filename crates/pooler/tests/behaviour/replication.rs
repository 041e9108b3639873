//! PostgreSQL's own replication programs through the pooler.

use std::path::Path;
use std::process::Output;

use crate::bench::{Setup, backends, pooler, run, server, until};
use crate::support::pooler::Headpond;
use crate::support::postgres::{APP, APP_PASSWORD, Options, program};
use crate::support::process::{Account, command};
use crate::support::{Pooler, Postgres};

struct Lines {
    // Stopped before the server it talks to: fields drop in this order.
    pooler: Headpond,
    postgres: Postgres,
    directory: tempfile::TempDir,
}

impl Lines {
    fn start() -> Self {
        let options =
            Options { settings: vec![("wal_level", "logical".into())], ..Options::default() };
        let postgres = server(&options);
        postgres.psql("postgres", &format!("ALTER ROLE {APP} REPLICATION"));
        let setup = Setup {
            databases: "replication = host=127.0.0.1 port=PORT",
            keys: "auth_type = scram-sha-256",
            ..Setup::default()
        };
        let pooler = pooler(postgres.port(), &setup);
        let directory = tempfile::Builder::new().prefix("hp-wal").tempdir().expect("a directory");
        Account::own(Account::unprivileged(), directory.path());
        Self { pooler, postgres, directory }
    }

    /// Runs a program against the pooler; it must succeed.
    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut run = command(Account::unprivileged(), &program(name));
        run.args(["-h", "127.0.0.1", "-p", &self.pooler.place().port.to_string(), "-U", APP]);
        run.args(arguments).env("PGPASSWORD", APP_PASSWORD).env("PGCONNECT_TIMEOUT", "10");
        let output = run.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {said}");
        output
    }

    fn lsn(&self) -> String {
        self.postgres.psql("postgres", "SELECT pg_current_wal_insert_lsn()").trim().to_owned()
    }

    fn files(path: &Path) -> usize {
        std::fs::read_dir(path).expect("it was made").count()
    }

    fn all_leave(&self) {
        run(async {
            let direct = self.postgres.connect("postgres").await;
            let servers = "a server for replication serves nobody after that";
            until(servers, async || backends(&direct, APP).await == 0).await;
        });
    }
}

#[test]
fn the_log_streams_through() {
    let lines = Lines::start();
    let path = lines.directory.path().display().to_string();
    lines.postgres.psql(APP, "INSERT INTO ledger SELECT n::text FROM generate_series(1, 1e5) n");
    lines.run("pg_receivewal", &["--create-slot", "--slot", "physical"]);
    let end = lines.lsn();
    lines.postgres.psql(APP, "INSERT INTO ledger VALUES ('after')");
    let arguments = ["-D", &path, "--no-loop", "--endpos", &end, "--slot", "physical"];
    lines.run("pg_receivewal", &arguments);
    assert!(Lines::files(lines.directory.path()) > 0);
    lines.all_leave();
}

#[test]
fn changes_are_decoded_through() {
    let lines = Lines::start();
    let slot = ["-d", APP, "--slot", "logical"];
    let plugin = ["--create-slot", "--plugin", "test_decoding"];
    lines.run("pg_recvlogical", &[&slot[..], &plugin].concat());
    lines.postgres.psql(APP, "INSERT INTO ledger VALUES ('decoded')");
    let end = lines.lsn();
    lines.postgres.psql(APP, "INSERT INTO ledger VALUES ('after')");
    let start = ["--start", "--no-loop", "--endpos", &end, "-f", "-"];
    let output = lines.run("pg_recvlogical", &[&slot[..], &start].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("table public.ledger: INSERT: tag[text]:'decoded'"), "{text}");
    lines.run("pg_recvlogical", &[&slot[..], &["--drop-slot"]].concat());
    lines.all_leave();
}

#[test]
fn a_base_backup_comes_through_whole() {
    let lines = Lines::start();
    let path = lines.directory.path().join("base").display().to_string();
    lines.run("pg_basebackup", &["-D", &path, "-X", "stream", "-c", "fast", "--no-sync"]);
    let mut verify = command(Account::unprivileged(), &program("pg_verifybackup"));
    let output = verify.arg(&path).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines.all_leave();
}
