//! TLS against OpenSSL, with real programs: psql as client, PostgreSQL as server.
//!
//! Which sides let whom in, by mode and by certificate. PgBouncer is the positive control.
//! Not here: chunks, damage, and odd certificates (`src/tls`), drivers (`drivers.rs`).

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use support::postgres::{APP, APP_PASSWORD, Options, program};
use support::process::Account;
use support::{Pooler, Postgres, Settings, Target};
use tempfile::TempDir;

/// A certificate authority in a folder that everyone may read.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("hp-tls").tempdir().expect("a directory");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let authority = Self { folder, issuer: Issuer::new(params, key) };
        authority.write("ca.crt", &pem, 0o644);
        authority
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the file is ours");
        path
    }

    /// Signs a certificate: of a server at 127.0.0.1, or of the client of this name.
    fn sign(&self, name: &str, last_year: i32) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a legal name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        self.write(&format!("{name}.crt"), &pem, 0o644);
        self.write(&format!("{name}.key"), &key.serialize_pem(), 0o600);
    }

    /// Settings of a pooler that shows this authority's certificate to its clients.
    fn settings(&self, mode: &str, auth_type: &'static str) -> Settings {
        self.sign("pooler", 2090);
        Account::own(Account::unprivileged(), &self.folder.path().join("pooler.key"));
        let keys = vec![
            ("client_tls_sslmode", mode.to_owned()),
            ("client_tls_cert_file", self.path("pooler.crt")),
            ("client_tls_key_file", self.path("pooler.key")),
            ("client_tls_ca_file", self.path("ca.crt")),
        ];
        Settings { auth_type, keys, ..Settings::default() }
    }
}

/// Asks through the pooler; returns the answer, or what psql complained about.
fn ask(pooler: &dyn Pooler, options: &str, sql: &str) -> Result<String, String> {
    let port = pooler.address().port();
    let place = format!("host=127.0.0.1 port={port} user={APP} dbname={APP} {options}");
    let mut psql = Command::new(program("psql"));
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, &place]);
    // Nothing of the home folder of whoever runs this.
    psql.env("PGPASSWORD", APP_PASSWORD).env("HOME", "/nonexistent");
    let output = psql.output().expect("psql runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// One row of the matrix: what psql asks for, and what it gets.
fn check(pooler: &dyn Pooler, options: &str, expected: Result<(), &str>) {
    let answer = ask(pooler, options, "select 1");
    match expected {
        Ok(()) => assert_eq!(answer.as_deref(), Ok("1"), "{options}"),
        Err(reason) => {
            let error = answer.expect_err(options);
            assert!(error.contains(reason), "{options}: {error}");
        }
    }
}

#[test]
fn clients_and_pooler_agree_on_tls_or_say_why_not() {
    let (ca, stranger) = (Authority::new("pool ca"), Authority::new("another ca"));
    let postgres = Postgres::start();
    let trusting = format!("sslmode=verify-full sslrootcert={}", ca.path("ca.crt"));
    let doubting = format!("sslmode=verify-ca sslrootcert={}", stranger.path("ca.crt"));
    for mode in ["disable", "allow", "prefer", "require"] {
        let pooler = Target::from_env().start(&postgres, &ca.settings(mode, "scram-sha-256"));
        let plain = if mode == "require" { Err("SSL required") } else { Ok(()) };
        let required = if mode == "disable" { Err("does not support SSL") } else { Ok(()) };
        check(&*pooler, "sslmode=disable", plain);
        check(&*pooler, "sslmode=prefer", Ok(()));
        check(&*pooler, "sslmode=require", required);
        check(&*pooler, &trusting, required);
        let unknown = if mode == "disable" { "does not support SSL" } else { "verify failed" };
        check(&*pooler, &doubting, Err(unknown));
        if mode != "disable" {
            for version in ["TLSv1.2", "TLSv1.3"] {
                let only = format!(
                    "sslmode=require ssl_min_protocol_version={version} \
                     ssl_max_protocol_version={version}"
                );
                check(&*pooler, &only, Ok(()));
            }
            let old = "sslmode=require ssl_min_protocol_version=TLSv1 \
                       ssl_max_protocol_version=TLSv1.1";
            assert!(ask(&*pooler, old, "select 1").is_err(), "TLS 1.1 is not spoken");
        }
    }
}

#[test]
fn a_client_certificate_lets_its_owner_in_and_nobody_else() {
    let (ca, stranger) = (Authority::new("pool ca"), Authority::new("pool ca"));
    let postgres = Postgres::start();
    let pooler = Target::from_env().start(&postgres, &ca.settings("verify-full", "cert"));
    let present = |authority: &Authority, name: &str, last_year| {
        authority.sign(name, last_year);
        let (cert, key) =
            (authority.path(&format!("{name}.crt")), authority.path(&format!("{name}.key")));
        format!("sslmode=require sslcert={cert} sslkey={key}")
    };
    check(&*pooler, &present(&ca, APP, 2090), Ok(()));
    for (options, why) in [
        (present(&ca, "somebody", 2090), "another name"),
        (present(&stranger, APP, 2090), "another authority"),
        (present(&ca, APP, 2001), "expired"),
        ("sslmode=require".to_owned(), "no certificate"),
        ("sslmode=disable".to_owned(), "no TLS"),
    ] {
        assert!(ask(&*pooler, &options, "select 1").is_err(), "{why}");
    }
    check(&*pooler, &present(&ca, APP, 2090), Ok(()));
}

#[test]
fn the_pooler_trusts_a_server_as_its_mode_says() {
    let stranger = Authority::new("another ca");
    let (with_tls, without) =
        (Postgres::start_with(&Options { tls: true, ..Options::default() }), Postgres::start());
    let right = with_tls.certificate().display().to_string();
    let wrong = stranger.path("ca.crt");
    let tls = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    for (server, mode, ca, expected) in [
        (&with_tls, "disable", None, Some("f")),
        (&with_tls, "prefer", None, Some("t")),
        (&with_tls, "require", None, Some("t")),
        (&with_tls, "verify-ca", Some(&right), Some("t")),
        (&with_tls, "verify-full", Some(&right), Some("t")),
        (&with_tls, "verify-ca", Some(&wrong), None),
        (&with_tls, "verify-full", Some(&wrong), None),
        (&without, "prefer", None, Some("f")),
        (&without, "require", None, None),
        (&without, "verify-full", Some(&right), None),
    ] {
        let mut keys = vec![("server_tls_sslmode", mode.to_owned())];
        keys.extend(ca.map(|path| ("server_tls_ca_file", path.clone())));
        // A refused server is found out once, not tried for two minutes.
        keys.push(("query_wait_timeout", "10".to_owned()));
        keys.push(("server_login_retry", "1".to_owned()));
        let pooler = Target::from_env().start(server, &Settings { keys, ..Settings::default() });
        let answer = ask(&*pooler, "sslmode=disable", tls);
        match expected {
            Some(ssl) => assert_eq!(answer.as_deref(), Ok(ssl), "{mode}"),
            None => assert!(answer.is_err(), "{mode}: {answer:?}"),
        }
    }
}
