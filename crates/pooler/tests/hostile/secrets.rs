//! No secret that the pooler holds or sees comes out of it anywhere but where it belongs.
//!
//! One random secret for each place that can hold one; then everything that prints: the log at
//! its most talkative, HTTP, the console, `headpond check`, errors that clients hear, the command
//! line. Not here: memory, and the process's environment, which are where secrets are kept.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio_postgres::Config;

use crate::canary::Canaries;
use crate::parrot::parrot;
use crate::raw::{Raw, Way};
use crate::support::message::{Messages, startup};
use crate::support::pooler::{Headpond, binary, get};
use crate::support::postgres::{SUPERUSER, SUPERUSER_PASSWORD, connect};
use crate::support::process::Account;
use crate::support::random::Random;
use crate::support::{Pooler, Postgres};
use crate::vault::{Passwords, create_roles, databases, hba, ini, key_pair, shown, userlist};

/// All that the console can show.
const SHOWN: [&str; 22] = [
    "ACTIVE_SOCKETS",
    "CLIENTS",
    "CONFIG",
    "DATABASES",
    "DNS_HOSTS",
    "DNS_ZONES",
    "FDS",
    "HELP",
    "LISTS",
    "MEM",
    "PEERS",
    "PEER_POOLS",
    "POOLS",
    "SERVERS",
    "SOCKETS",
    "STATE",
    "STATS",
    "STATS_AVERAGES",
    "STATS_TOTALS",
    "TOTALS",
    "USERS",
    "VERSION",
];

/// Everything that can be read over HTTP, but for the stream.
const WATCHED: [&str; 29] = [
    "/",
    "/livez?verbose",
    "/readyz?verbose",
    "/startupz?verbose",
    "/metrics",
    "/health",
    "/health/quick",
    "/health/connections",
    "/health/database",
    "/api/health",
    "/api/health/detailed",
    "/api/health/database",
    "/api/health/ready",
    "/api/health/live",
    "/api/v1/status",
    "/api/v1/pools",
    "/api/v1/databases",
    "/api/v1/bouncers",
    "/api/v1/clients",
    "/api/v1/servers",
    "/api/v1/holders",
    "/api/v1/waits",
    "/api/v1/history",
    "/api/v1/alerts",
    "/api/v1/events",
    "/api/v1/advice",
    "/api/v1/config",
    "/api/v1/openapi.json",
    "/x",
];

/// Files and servers with a secret in every place.
struct Vault {
    canaries: Canaries,
    // Stopped before the server it talks to: fields drop in this order.
    pooler: Headpond,
    postgres: Postgres,
    /// The token of actions.
    acting: String,
    /// What must be typed to get in.
    passwords: Passwords,
    _folder: TempDir,
}

#[test]
fn no_secret_comes_out_anywhere() {
    let mut vault = Vault::build(Random::seed());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        vault.log_in_rightly().await;
        vault.log_in_wrongly().await;
        vault.send_secrets().await;
    });
    vault.send_raw_secrets();
    runtime.block_on(async {
        vault.ask_console().await;
        vault.reload_wrongly().await;
        vault.ask_console().await;
    });
    vault.ask_http();
    vault.check_toml();
    vault.end();
}

impl Vault {
    fn build(seed: u64) -> Self {
        let mut canaries = Canaries::new(seed);
        let postgres = Postgres::start();
        let folder = tempfile::Builder::new().prefix("hp-secrets").tempdir().expect("a directory");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let passwords = Passwords {
            plain: canaries.secret("a plain secret of the user list"),
            typed: canaries.secret("a password typed by a client"),
            looked_up: canaries.secret("a plain secret found by auth_query"),
        };
        let forced = canaries.secret("the password of a forced user");
        create_roles(&postgres, &passwords, &forced);
        let environed = canaries.secret("a password in the environment");
        let filed = canaries.secret("a password in a file that the environment names");
        let file = folder.path().join("password");
        fs::write(&file, format!("{filed}\n")).expect("the directory is ours");
        Account::own(Account::unprivileged(), &file);
        let file = file.display().to_string();
        let ambient = canaries.secret("PGPASSWORD");
        let acting = canaries.secret("the token of actions");
        let reading = canaries.secret("the token of readers");
        let signing = canaries.secret("the secret that signs alerts");
        let hook = canaries.secret("what a path is made of").replace(['/', '+'], "x");
        canaries.known("the path of a webhook", &hook);
        let hook = format!("http://127.0.0.1:9/{hook}");
        let manager = canaries.secret("the password of an Alertmanager").replace('/', "%2F");
        let manager = manager.replace('+', "%2B");
        let manager = format!("http://me:{manager}@127.0.0.1:9");
        let console = canaries.secret("the password of a PgBouncer's console").replace('/', "%2F");
        let console = console.replace('+', "%2B");
        // Somebody who asks for a proof and refuses it: there is no such role.
        let console = format!("postgres://stats:{console}@127.0.0.1:{}/app", postgres.port());
        let key = canaries.secret("a key of a receiver of metrics");
        let headers = format!("api-key={key},x-tenant=shop");
        let way = canaries.secret("the path of a receiver of metrics").replace(['/', '+'], "x");
        canaries.known("the path of a receiver of metrics, as it is", &way);
        let metrics = format!("http://{}/{way}", parrot());
        let environment = [
            ("HEADPOND_HTTP__PGBOUNCER_URL", console.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
            ("HEADPOND_OTLP__METRICS_ENDPOINT", &metrics),
            ("HEADPOND_OTLP__INTERVAL", "1"),
            ("HEADPOND_HTTP__TOKEN", acting.as_str()),
            ("HEADPOND_HTTP__READ_TOKEN", &reading),
            ("HEADPOND_ALERTS__WEBHOOK_SECRET", &signing),
            ("HEADPOND_ALERTS__WEBHOOK_URL", &hook),
            ("HEADPOND_ALERTS__ALERTMANAGER_URL", &manager),
            ("HEADPOND_DATABASES__ENVIRONED__PASSWORD", environed.as_str()),
            ("HEADPOND_DATABASES__FILED__PASSWORD_FILE", &file),
            ("PGPASSWORD", &ambient),
        ];
        let users = userlist(&mut canaries, &passwords);
        let (certificate, key) = key_pair(&mut canaries);
        let databases = databases(&mut canaries, postgres.port(), &forced);
        let pooler = Headpond::start_in("pgbouncer.ini", &environment, |place| {
            let write = |name: &str, text: &str| {
                fs::write(place.directory.join(name), text).expect("the directory is ours");
            };
            write("userlist.txt", &users);
            write("server.crt", &certificate);
            write("server.key", &key);
            write("hba.conf", &hba());
            ini(place, &databases)
        });
        let acting = acting.clone();
        Self { canaries, pooler, postgres, acting, passwords, _folder: folder }
    }

    fn config(&self, user: &str, password: &str, database: &str) -> Config {
        let mut config = self.pooler.config();
        config.user(user).password(password).dbname(database);
        config
    }

    async fn log_in_rightly(&mut self) {
        let passwords = self.passwords.clone();
        for (user, password, database) in [
            ("plain", passwords.plain.as_str(), "plain"),
            ("typed", &passwords.typed, "plain"),
            ("looked", &passwords.looked_up, "looked"),
            ("plain", &passwords.plain, "forced"),
            ("plain", &passwords.plain, "greeted"),
        ] {
            let client = connect(&self.config(user, password, database)).await;
            let client = client.unwrap_or_else(|e| panic!("{user} at {database}: {e:?}"));
            client.simple_query("SELECT 1").await.expect("it is served");
        }
    }

    /// Clients whose password is wrong, and entries whose password the server refuses.
    async fn log_in_wrongly(&mut self) {
        let plain = self.passwords.plain.clone();
        let typed = self.canaries.secret("a wrong password typed in clear");
        let proven = self.canaries.secret("a wrong password proven by SCRAM");
        for (user, password, database) in [
            ("typed", typed.as_str(), "plain"),
            ("plain", &proven, "plain"),
            ("digested", &proven, "plain"),
            ("derived", &proven, "plain"),
            ("looked", &proven, "looked"),
            ("nobody", &proven, "nowhere"),
            ("plain", &plain, "wrong"),
            ("plain", &plain, "wrong"),
            ("plain", &plain, "wrong_url"),
            ("plain", &plain, "wrong_query"),
            ("plain", &plain, "environed"),
            ("plain", &plain, "filed"),
        ] {
            let refused = connect(&self.config(user, password, database)).await;
            let error = refused.err().unwrap_or_else(|| panic!("{user} got into {database}"));
            self.canaries.search("what a refused client hears", &format!("{error:?}"));
        }
    }

    /// Everything that goes through a pooler and is nobody else's.
    async fn send_secrets(&mut self) {
        let literal = self.canaries.secret("a literal in a query");
        let failing = self.canaries.secret("a literal in a query that fails");
        let parameter = self.canaries.secret("a parameter");
        let statement = self.canaries.secret("the text of a prepared statement");
        let setting = self.canaries.secret("a value that is set");
        let config = self.config("plain", &self.passwords.plain, "plain");
        let client = connect(&config).await.expect("a client");
        let texts = [
            format!("SELECT '{literal}'"),
            format!("SET my.secret = '{setting}'"),
            format!("DO $$BEGIN RAISE NOTICE '{literal}'; END$$"),
            "SELECT 1".to_owned(),
        ];
        for text in texts {
            client.simple_query(&text).await.expect("it works");
        }
        let fails = format!("SELECT '{failing}' FROM nowhere");
        client.simple_query(&fails).await.expect_err("there is no such table");
        let prepared = client.prepare(&format!("SELECT $1::text, '{statement}'")).await;
        let prepared = prepared.expect("it is prepared");
        client.query_one(&prepared, &[&parameter]).await.expect("it works");
        // The same while the statement and the client are there to be shown.
        self.ask_console().await;
        let application = self.canaries.secret("an unknown startup parameter");
        let mut odd = config;
        odd.options(format!("-c my.secret={application}"));
        let error = connect(&odd).await.expect_err("nobody may set this");
        self.canaries.search("what a refused client hears", &format!("{error:?}"));
    }

    /// What only a client without a driver can send.
    fn send_raw_secrets(&mut self) {
        let way = Way::unix(self.pooler.place());
        let mut raw = Raw::enter(&way, "trusted");
        let key = raw.key.get(4..).expect("a secret behind the process number").to_vec();
        self.canaries.bytes("a cancel key", &key);
        if let Ok(key) = <[u8; 4]>::try_from(key.as_slice()) {
            self.canaries.form(u32::from_be_bytes(key).to_string());
        }
        raw.ask(&Messages::new().query("SELECT 1"));
        let early = self.canaries.secret("bytes where none are allowed");
        for bytes in [
            Messages::new().query(&early).bytes().to_vec(),
            [&startup(&[("user", "plain")])[..], Messages::new().query(&early).bytes()].concat(),
            startup(&[("user", "plain"), ("unheard_of", &early)]),
            startup(&[("user", "plain"), ("options", &format!("-c{early}"))]),
            startup(&[("user", "plain"), ("replication", &early)]),
        ] {
            let mut stream = way.connect().expect("a connection");
            stream.write_all(&bytes).expect("it fits into the socket");
            stream.finish().expect("it is open");
            let mut answer = Vec::new();
            // A close with something unread is a reset.
            let _answer = stream.read_to_end(&mut answer);
        }
    }

    /// Everything that the console shows to an administrator.
    async fn ask_console(&mut self) {
        let config = self.config(SUPERUSER, SUPERUSER_PASSWORD, "pgbouncer");
        let console = connect(&config).await.expect("the console");
        for what in SHOWN {
            let text = shown(&console, &format!("SHOW {what}")).await;
            self.canaries.search(&format!("SHOW {what}"), &text);
        }
    }

    /// Configurations that are wrong around a secret: read by RELOAD and by `headpond check`.
    async fn reload_wrongly(&mut self) {
        let file = self.pooler.place().directory.join("pgbouncer.ini");
        let right = fs::read_to_string(&file).expect("the file is there");
        let config = self.config(SUPERUSER, SUPERUSER_PASSWORD, "pgbouncer");
        let console = connect(&config).await.expect("the console");
        for (what, entry) in [
            ("an open quote", "x = host=h password='@"),
            ("something after a quote", "x = host=h password='@'y"),
            ("a space in it", "x = host=h password=a @"),
            ("an unknown key beside it", "x = host=h password=@ hots=x"),
            ("an unknown key with it", "x = host=h pasword=@"),
            ("a URL with a wrong port", "x = postgres://u:@@h:port/x"),
            ("a URL with wrong escapes", "x = postgres://u:%zz@@h/x"),
            ("a URL with an unknown option", "x = postgres://u:@@h/x?passwort=@"),
            ("a URL of another scheme", "x = mysql://u:@@h/x"),
            ("a line that is none", "@"),
        ] {
            let secret = self.canaries.secret(what);
            let entry =
                entry.replacen('@', &secret, if entry.contains("passwort") { 3 } else { 1 });
            let entry = entry.replace(&format!("u:{secret}{secret}h"), &format!("u:{secret}@h"));
            let wrong = right.replace("[http]", &format!("{entry}\n[http]"));
            fs::write(&file, &wrong).expect("the file is ours");
            let answer = console.simple_query("RELOAD").await;
            self.canaries.search("RELOAD", &format!("{answer:?}"));
            let code = self.check(&file, &[]);
            assert!(answer.is_err() || code == Some(0), "{what} is read differently");
        }
        fs::write(&file, &right).expect("the file is ours");
        let users = self.pooler.place().directory.join("userlist.txt");
        let list = fs::read_to_string(&users).expect("the file is there");
        let open = self.canaries.secret("an open quote in the user list");
        fs::write(&users, format!("{list}\"open\" \"{open}\n")).expect("the file is ours");
        drop(console.simple_query("RELOAD").await);
        self.check(&file, &[]);
        let changed = self.canaries.secret("a changed password");
        fs::write(&users, list).expect("the file is ours");
        let other =
            right.replace("wrong = ", &format!("late = host=h password={changed}\nwrong = "));
        fs::write(&file, other).expect("the file is ours");
        console.simple_query("RELOAD").await.expect("this one is right");
    }

    fn ask_http(&mut self) {
        let token = self.canaries.secret("a query parameter of a scraper");
        for path in WATCHED {
            let text = get(self.pooler.http(), path).expect("an answer");
            self.canaries.search(path, &text);
            let path = format!("{path}?token={token}");
            let text = get(self.pooler.http(), &path).expect("an answer");
            self.canaries.search("HTTP with a token", &text);
        }
        // Nobody answers at the addresses of the receivers: their errors are shown.
        let act = |word: &str, token: &str| {
            let http = self.pooler.http();
            let mut stream = std::net::TcpStream::connect(http).expect("it listens");
            let request = format!(
                "POST /api/v1/actions/{word} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\
                 X-Headpond-Action: 1\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        };
        let sent = act("test-alert", &self.acting);
        assert!(sent.starts_with("HTTP/1.1 202"), "{sent}");
        let refused = act("test-alert", &token);
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        self.canaries.search("an action", &sent);
        self.canaries.search("an action that is refused", &refused);
        let failed = || {
            let text = get(self.pooler.http(), "/api/v1/alerts").expect("an answer");
            text.matches("refused").count() >= 2
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !failed() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert!(failed(), "both deliveries were given up");
        let pushed = |outcome: &str| {
            let text = get(self.pooler.http(), "/metrics").expect("an answer");
            let name = format!("headpond_otlp_exports_total{{outcome=\"{outcome}\"}} ");
            let count = text.lines().find_map(|line| line.strip_prefix(&name));
            count.is_some_and(|count| count != "0")
        };
        let all_pushed = || pushed("partial") && pushed("failed");
        while !all_pushed() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert!(all_pushed(), "the receiver of metrics has repeated what it was sent");
        for path in WATCHED {
            let text = get(self.pooler.http(), path).expect("an answer");
            self.canaries.search(path, &text);
        }
    }

    /// headpond.toml and URLs, right and wrong, as `headpond check` reads them.
    fn check_toml(&mut self) {
        let file = self.pooler.place().directory.join("headpond.toml");
        for (what, text) in [
            ("the URL of the file", "database = \"postgres://u:@@h/x\""),
            ("a URL of an entry", "[databases]\nx = \"postgres://u:@@h/x\""),
            ("a password in a URL's query", "[databases]\nx = \"postgres://u@h/x?password=@\""),
            ("a password key", "[databases.x]\nhost = \"h\"\npassword = \"@\""),
            ("a password of the wrong type", "[databases.x]\npassword = [\"@\"]"),
            ("an open string", "[databases.x]\npassword = \"@"),
            ("an unknown key", "[databases.x]\npasword = \"@\""),
            ("a key twice", "[databases.x]\npassword = \"@\"\npassword = \"@\""),
            ("a URL with a wrong port", "database = \"postgres://u:@@h:port/x\""),
            ("a console with a wrong port", "[http]\npgbouncer_url = \"postgres://u:@@h:port/x\""),
            ("headers that are none", "[otlp]\nheaders = \"@\""),
            ("headers in a list that is none", "[otlp]\nheaders = [\"a=b\", \"@\"]"),
            ("an address that is none", "[otlp]\nendpoint = \"@\""),
            ("headers that are right", "[otlp]\nheaders = \"a=@\""),
        ] {
            let secret = self.canaries.secret(what);
            let in_url = secret.replace('/', "%2F").replace('+', "%2B");
            let text = text.replace("u:@@h", &format!("u:{in_url}@h"));
            let text = text.replace("\"@", &format!("\"{secret}"));
            let text = text.replace("a=@", &format!("a={secret}"));
            let text = text.replace("password=@", &format!("password={in_url}"));
            fs::write(&file, text).expect("the directory is ours");
            self.check(&file, &[]);
        }
        fs::write(&file, "").expect("the directory is ours");
        for (what, name) in [
            ("the URL of the environment", "HEADPOND_DATABASE"),
            ("an unknown variable", "HEADPOND_DATABASES__X__PASWORD"),
        ] {
            let secret = self.canaries.secret(what);
            let value = match name {
                "HEADPOND_DATABASE" => format!("postgres://u:{}@h:x/y", secret.replace('/', "%2F")),
                _ => secret,
            };
            self.check(&file, &[(name, &value)]);
        }
    }

    /// Runs `headpond check` and searches what it says; returns its exit code.
    fn check(&mut self, file: &PathBuf, environment: &[(&str, &str)]) -> Option<i32> {
        let mut check = Command::new(binary());
        check.arg("check").arg(file).envs(environment.iter().copied());
        let output = check.output().expect("the binary runs");
        for text in [&output.stdout, &output.stderr] {
            self.canaries.search("headpond check", &String::from_utf8_lossy(text));
        }
        output.status.code()
    }

    /// Ends the pooler and searches what it wrote all along.
    fn end(mut self) {
        let proc = PathBuf::from(format!("/proc/{}/cmdline", self.pooler.pid()));
        let line = fs::read_to_string(proc).expect("it runs");
        self.canaries.search("the command line", &line);
        self.pooler.signal("INT");
        assert_eq!(self.pooler.wait(), Some(0), "it ends in order");
        let lines = self.pooler.log().lines();
        assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:#?}");
        self.canaries.search("the log", &lines.join("\n"));
        drop(self.postgres);
        self.canaries.finish();
    }
}
