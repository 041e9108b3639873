//! Drivers of five languages through the pooler: transaction mode, three servers, eight clients
//! each, server-side prepared statements, TLS and SCRAM on both sides.
//!
//! Each driver is a program in `drivers/` that prints `ok <step>` and at last `PASS <n> steps`.
//! What it needs is installed by `drivers/install.sh` below the target folder, once. Where a tool
//! (python3, npm, a JDK, psql) is missing, its test says so and passes, unless
//! `HEADPOND_TEST_DRIVERS=require`. `DRIVER_DIRECT=1` leaves the pooler out: it tells a mistake of
//! a driver's program from one of the pooler.
//!
//! PgBouncer 1.18, the positive control, has no prepared statements in transaction mode: it gets
//! session mode and a server for everyone.

mod support;

#[path = "drivers/tls_stream.rs"]
mod tls_stream;
#[path = "drivers/tokio_postgres_driver.rs"]
mod tokio_postgres_driver;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::install::{install, installed, skip, sources};
use support::postgres::{APP, APP_PASSWORD, Options};
use support::process::Account;
use support::{Pooler, Postgres, Settings, Target};
use tempfile::TempDir;
use tokio_postgres_driver::{Behind, Checklist};

/// Few enough that eight clients must share them.
const SERVERS: u32 = 3;

/// A pooler in front of a PostgreSQL, and whom to trust.
struct Stage {
    // Stopped before its server: fields drop in this order.
    pooler: Option<Box<dyn Pooler>>,
    postgres: Postgres,
    certificates: TempDir,
}

impl Stage {
    fn start() -> Self {
        let certificates = certificates();
        let file = |name: &str| certificates.path().join(name).display().to_string();
        let postgres = Postgres::start_with(&Options { tls: true, ..Options::default() });
        if env::var_os("DRIVER_DIRECT").is_some() {
            return Self { pooler: None, postgres, certificates };
        }
        let target = Target::from_env();
        let (pool_mode, pool_size) = match target {
            Target::Headpond => ("transaction", SERVERS),
            Target::PgBouncer => ("session", 40),
        };
        let keys = vec![
            ("client_tls_sslmode", "require".to_owned()),
            ("client_tls_cert_file", file("server.crt")),
            ("client_tls_key_file", file("server.key")),
            ("server_tls_sslmode", "verify-full".to_owned()),
            ("server_tls_ca_file", postgres.certificate().display().to_string()),
        ];
        let settings = Settings { pool_mode, pool_size, keys, ..Settings::default() };
        let pooler = target.start(&postgres, &settings);
        Self { pooler: Some(pooler), postgres, certificates }
    }

    fn port(&self) -> u16 {
        self.pooler.as_ref().map_or(self.postgres.port(), |pooler| pooler.address().port())
    }

    fn ca(&self) -> PathBuf {
        match self.pooler {
            Some(_) => self.certificates.path().join("ca.crt"),
            None => self.postgres.certificate(),
        }
    }

    fn behind(&self) -> Behind {
        match self.pooler.as_ref().map(|pooler| pooler.target()) {
            Some(Target::Headpond) => Behind::Headpond { servers: SERVERS as usize },
            Some(Target::PgBouncer) => Behind::PgBouncer,
            None => Behind::Nothing,
        }
    }

    /// Runs a driver's program to its end.
    fn run(&self, command: &mut Command) {
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port().to_string());
        command.env("PGUSER", APP).env("PGPASSWORD", APP_PASSWORD).env("PGDATABASE", APP);
        command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", self.ca());
        if let Behind::Headpond { servers } = self.behind() {
            command.env("DRIVER_SERVERS", servers.to_string());
        }
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let told = String::from_utf8_lossy(&output.stdout);
        println!("{told}");
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        let passed = told.lines().last().is_some_and(|line| line.starts_with("PASS "));
        assert!(output.status.success() && passed, "the driver failed: {}", output.status);
    }
}

/// Writes an authority, and a server's certificate that it signed.
fn certificates() -> TempDir {
    let account = Account::unprivileged();
    let folder = tempfile::Builder::new().prefix("hp-tls").tempdir().expect("a directory");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "drivers");
    let key = KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().expect("a key");
    let mut names = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("two legal names");
    names.use_authority_key_identifier_extension = true;
    let server = names.signed_by(&key, &issuer).expect("a certificate").pem();
    for (name, text, mode) in [
        ("ca.crt", ca, 0o644),
        ("server.crt", server, 0o644),
        ("server.key", key.serialize_pem(), 0o600),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the file is ours");
        Account::own(account, &path);
    }
    folder
}

fn python(program: &str) {
    if install("python") {
        let mut command = Command::new(installed().join("venv/bin/python"));
        Stage::start().run(command.arg("-B").arg(sources().join(program)));
    }
}

#[test]
fn psycopg_gets_the_same_answers_through_the_pooler() {
    python("psycopg3.py");
}

#[test]
fn asyncpg_gets_the_same_answers_through_the_pooler() {
    python("asyncpg_driver.py");
}

#[test]
fn node_postgres_gets_the_same_answers_through_the_pooler() {
    if install("node") {
        let mut command = Command::new("node");
        command.env("DRIVER_NODE_MODULES", installed().join("node_modules"));
        Stage::start().run(command.arg(sources().join("node_pg/driver.js")));
    }
}

#[test]
fn jdbc_gets_the_same_answers_through_the_pooler() {
    if install("jdbc") {
        let mut command = Command::new("java");
        command.arg("-cp").arg(installed().join("postgresql.jar"));
        Stage::start().run(command.arg(sources().join("jdbc/Driver.java")));
    }
}

#[test]
fn psql_gets_the_same_answers_through_the_pooler() {
    match Command::new("psql").arg("--version").output() {
        Ok(_) => Stage::start().run(&mut Command::new(sources().join("psql.sh"))),
        Err(_) => skip("psql is missing; install a PostgreSQL client"),
    }
}

/// A workspace of its own, built on demand: sqlx is large and nothing else here wants it.
#[test]
fn sqlx_gets_the_same_answers_through_the_pooler() {
    let target = installed().join("sqlx");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--locked", "--quiet"]).current_dir(sources().join("sqlx_driver"));
    cargo.env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
    let built = cargo.output().expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Stage::start().run(&mut Command::new(target.join("debug/sqlx-driver")));
}

#[test]
fn tokio_postgres_gets_the_same_answers_through_the_pooler() {
    let stage = Stage::start();
    // Gone before the stage, and every connection with it: the pooler waits for its clients.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(stage.port()).dbname(APP).user(APP).password(APP_PASSWORD);
    let mut checklist = Checklist::new(&config, &stage.ca(), stage.behind());
    runtime.block_on(checklist.run());
}
