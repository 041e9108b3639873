//! A pooler that looks often, in front of a PostgreSQL; and how to ask it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::Client;

use crate::support::pooler::Headpond;
use crate::support::postgres::{APP, APP_PASSWORD, connect};
use crate::support::process::PATIENCE;
use crate::support::{Pooler, Postgres, Settings, Target};

/// The token of every pooler here.
pub const TOKEN: &str = "token-of-a-test";

/// What every test wants: checks that come soon, and somebody who may act.
const HASTY: [(&str, &str); 4] = [
    ("HEADPOND_HTTP__CHECK_PERIOD", "0.5"),
    ("HEADPOND_HTTP__CHECK_TIMEOUT", "4"),
    ("HEADPOND_HTTP__CHECK_SLOW", "0.8"),
    ("HEADPOND_HTTP__TOKEN", TOKEN),
];

/// Starts a pooler with `pool_size` servers per pool; `more` is appended to its ini file.
pub fn start(postgres: &Postgres, pool_size: u32, more: &str) -> Headpond {
    start_with(postgres, pool_size, more, &[])
}

/// The same, with further variables in its environment.
pub fn start_with(
    postgres: &Postgres,
    pool_size: u32,
    more: &str,
    variables: &[(&str, &str)],
) -> Headpond {
    let settings = Settings { pool_size, ..Settings::default() };
    let variables = [&HASTY, variables].concat();
    Headpond::start_in("pgbouncer.ini", &variables, |place| {
        format!("{}{more}", settings.ini(postgres, place, Target::Headpond))
    })
}

/// Asks for a path, in the version of HTTP that has no chunks; returns the status and the body.
pub fn ask(http: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {http}\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Reads JSON.
pub fn read(http: SocketAddr, path: &str) -> (u16, Value) {
    let (status, body) = ask(http, "GET", path, "", "");
    let value = serde_json::from_str(&body);
    (status, value.unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

/// Acts with the token.
pub fn act(http: SocketAddr, word: &str, body: &str) -> (u16, String) {
    let headers = format!("Authorization: Bearer {TOKEN}\r\nX-Headpond-Action: 1\r\n");
    ask(http, "POST", &format!("/api/v1/actions/{word}"), &headers, body)
}

/// Looks again and again until something is found.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // The pause only spares the processor: what is waited for is the condition.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Connects as the application, with a name of one's choice.
pub async fn client(pooler: &Headpond, name: &str) -> Client {
    let mut config = pooler.config();
    config.application_name(name);
    connect(&config).await.expect("a client")
}

/// Connects as the application past the pooler.
pub async fn past(postgres: &Postgres) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(postgres.port()).dbname(APP).user(APP).password(APP_PASSWORD);
    connect(&config).await
}
