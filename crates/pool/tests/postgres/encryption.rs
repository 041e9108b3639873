//! TLS in all six modes, with certificates made here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::support::server::{Options, SUPERUSER};
use super::support::{Server, builder_at, process::Account, run, text, url};

/// Files of an authority, of a server called `localhost` at 127.0.0.1, and of the client `app`.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let files = Self { folder };
        for ca in ["ca", "stranger"] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, ca);
            let key = KeyPair::generate().unwrap();
            let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
            files.write(&format!("{ca}.crt"), &issuer.pem());
            if ca == "ca" {
                for (file, name) in [("server", "db.test"), ("client", "app")] {
                    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
                    params.distinguished_name = rcgen::DistinguishedName::new();
                    params.distinguished_name.push(rcgen::DnType::CommonName, name);
                    let key = KeyPair::generate().unwrap();
                    let certificate = params.signed_by(&key, &issuer).unwrap();
                    files.write(&format!("{file}.crt"), &certificate.pem());
                    files.write(&format!("{file}.key"), &key.serialize_pem());
                }
            }
        }
        files
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Account::own(Account::unprivileged(), Path::new(&path));
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn server(&self) -> Server {
        let settings = vec![
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", self.path("server.crt")),
            ("ssl_key_file", self.path("server.key")),
            ("ssl_ca_file", self.path("ca.crt")),
        ];
        Server::start_with(&Options { settings, ..Options::default() })
    }
}

/// Connects and returns whether the session is encrypted, or why there is none.
async fn attempt(url: &str) -> Result<String, String> {
    let pool = builder_at(url, 1).build().unwrap();
    match pool.get_timeout(Duration::from_secs(2)).await {
        Ok(connection) => {
            let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Ok(text(&connection, query).await)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn expect(got: &Result<String, String>, expected: Result<&str, &str>, what: &str) {
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{what}"),
        (Err(got), Err(expected)) => assert!(got.contains(expected), "{what}: {got}"),
        (got, expected) => panic!("{what}: {got:?} instead of {expected:?}"),
    }
}

#[test]
fn each_mode_gives_what_it_promises_and_no_less() {
    let files = Files::make();
    let server = files.server();
    let plain = Server::start();
    let (ca, stranger) = (files.path("ca.crt"), files.path("stranger.crt"));
    let named = |server: &Server, rest: &str| {
        let at = format!("127.0.0.1:{}/app?sslmode=disable", server.port());
        let new = format!("db.test:{}/app?hostaddr=127.0.0.1&{rest}", server.port());
        url(server).replace(&at, &new)
    };
    run(async {
        for (rest, expected) in [
            ("sslmode=disable".to_owned(), Ok("f")),
            ("sslmode=allow".to_owned(), Ok("f")),
            ("sslmode=prefer".to_owned(), Ok("t")),
            ("sslmode=require".to_owned(), Ok("t")),
            ("ssl=true".to_owned(), Ok("t")),
            (format!("sslmode=require&sslrootcert={stranger}"), Err("UnknownIssuer")),
            (format!("sslmode=verify-ca&sslrootcert={ca}"), Ok("t")),
            (format!("sslmode=verify-ca&sslrootcert={stranger}"), Err("UnknownIssuer")),
            (format!("sslmode=verify-full&sslrootcert={ca}"), Ok("t")),
            (format!("sslmode=verify-full&sslrootcert={stranger}"), Err("UnknownIssuer")),
            ("sslrootcert=system".to_owned(), Err("UnknownIssuer")),
            ("sslmode=require&channel_binding=require".to_owned(), Ok("t")),
            ("sslmode=disable&channel_binding=require".to_owned(), Err("channel binding")),
            ("sslmode=require&ssl_min_protocol_version=TLSv1.3".to_owned(), Ok("t")),
            ("sslmode=require&ssl_max_protocol_version=TLSv1.2".to_owned(), Ok("t")),
        ] {
            expect(&attempt(&named(&server, &rest)).await, expected, &rest);
        }
        let at_address = |rest: &str| url(&server).replace("sslmode=disable", rest);
        let rest = format!("sslmode=verify-full&sslrootcert={ca}");
        expect(&attempt(&at_address(&rest)).await, Err("not valid for name"), "by address");
        let rest = format!("sslmode=verify-ca&sslrootcert={ca}");
        expect(&attempt(&at_address(&rest)).await, Ok("t"), "by address");
        for (mode, expected) in [
            ("disable", Ok("f")),
            ("allow", Ok("f")),
            ("prefer", Ok("f")),
            ("require", Err("does not support TLS")),
        ] {
            let got = attempt(&named(&plain, &format!("sslmode={mode}"))).await;
            expect(&got, expected, &format!("{mode} without TLS"));
        }
    });
}

#[test]
fn a_server_that_insists_on_certificates_gets_ours() {
    let files = Files::make();
    let server = files.server();
    let hba = "local all all trust\nhostssl all all 127.0.0.1/32 cert\n";
    let path = server.psql("postgres", "SHOW hba_file");
    fs::write(path.trim(), hba).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let (ca, cert, key) =
        (files.path("ca.crt"), files.path("client.crt"), files.path("client.key"));
    run(async {
        let with = |rest: &str| url(&server).replace("sslmode=disable", rest);
        let ours = format!("&sslrootcert={ca}&sslcert={cert}&sslkey={key}");
        for mode in ["allow", "prefer", "require", "verify-ca"] {
            let got = attempt(&with(&format!("sslmode={mode}{ours}"))).await;
            expect(&got, Ok("t"), mode);
        }
        let got = attempt(&with("sslmode=require")).await;
        assert!(got.is_err(), "without a certificate: {got:?}");
        let got = attempt(&with(&format!("sslmode=disable{ours}"))).await;
        expect(&got, Err("no pg_hba.conf entry"), "disable");
        let missing = with("sslmode=require&sslcert=/nowhere.crt&sslkey=/nowhere.key");
        let config = headpond::postgres::Config::parse(&missing).unwrap();
        let error = headpond::postgres::builder(config).err().unwrap().to_string();
        assert!(error.contains("/nowhere.crt"), "{error}");
        let _ = SUPERUSER;
    });
}

#[test]
fn a_query_is_cancelled_over_tls_too() {
    let files = Files::make();
    let server = files.server();
    run(async {
        let url = url(&server).replace("sslmode=disable", "sslmode=require");
        let pool = builder_at(&url, 1).build().unwrap();
        let connection = pool.get().await.unwrap();
        let canceller = connection.canceller().unwrap();
        let (error, ()) = tokio::join!(
            async { connection.batch("SELECT pg_sleep(30)").await.unwrap_err() },
            async {
                let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(30)%' \
                              AND state = 'active' AND usename = 'app'";
                let runs = async || server.psql("postgres", active).trim() == "1";
                super::support::until("it runs", runs).await;
                canceller.cancel().await.unwrap();
            }
        );
        assert_eq!(error.code().map(|code| code.code()), Some("57014"));
        assert_eq!(text(&connection, "SELECT 'still here'").await, "still here");
    });
}
