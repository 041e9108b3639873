//! A pooler that looks often, in front of a PostgreSQL; and how to ask it.

use std::net::SocketAddr;

use tokio_postgres::Client;

pub use crate::support::http::{ask, read, until};
use crate::support::pooler::Headpond;
use crate::support::postgres::{APP, APP_PASSWORD, connect};
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

/// Acts with the token.
pub fn act(http: SocketAddr, word: &str, body: &str) -> (u16, String) {
    let headers = format!("Authorization: Bearer {TOKEN}\r\nX-Headpond-Action: 1\r\n");
    ask(http, "POST", &format!("/api/v1/actions/{word}"), &headers, body)
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
