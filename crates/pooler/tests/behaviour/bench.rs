//! A PostgreSQL, poolers in front of it, and ways to ask both.
//!
//! Every wait is bounded; what is waited for is a condition, never a time.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};

use crate::support::client::{Client as Raw, Notice, Reply};
use crate::support::message::Messages;
use crate::support::pooler::Headpond;
use crate::support::postgres::{
    APP, APP_PASSWORD, Options, SUPERUSER, SUPERUSER_PASSWORD, connect,
};
use crate::support::{Pooler, Postgres};

/// The longest that anything awaited may take.
pub const LIMIT: Duration = Duration::from_secs(20);
/// A second role, with the rights of the first.
pub const OTHER: &str = "other";
/// A second database.
pub const SECOND: &str = "second";

/// What a test wants of a pooler.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Keys of the entries `app` and `second`, behind host and port.
    pub entry: &'static str,
    /// Further lines of `[databases]`; `PORT` stands for the server's port.
    pub databases: &'static str,
    /// Lines of `[users]`.
    pub users: &'static str,
    /// Lines of `[headpond]`.
    pub native: &'static str,
    /// Further lines of `[pgbouncer]`; `DIRECTORY` stands for the pooler's directory.
    pub keys: &'static str,
    /// The auth_file, if not that of all roles with their passwords.
    pub auth_file: Option<String>,
    /// What is in `hba.conf`.
    pub hba: &'static str,
    /// What is in `ident.conf`.
    pub ident: String,
}

/// A PostgreSQL with a pooler in front of it.
pub struct Bench {
    // Stopped before the server it talks to: fields drop in this order.
    pub pooler: Headpond,
    pub postgres: Postgres,
}

impl Bench {
    pub fn start(setup: &Setup) -> Self {
        let postgres = server(&Options::default());
        Self { pooler: pooler(postgres.port(), setup), postgres }
    }
}

/// Starts a PostgreSQL with both roles, both databases and the table `ledger`.
pub fn server(options: &Options) -> Postgres {
    let postgres = Postgres::start_with(options);
    let sql = format!("CREATE ROLE {OTHER} LOGIN PASSWORD '{}'", password_of(OTHER));
    postgres.psql("postgres", &sql);
    postgres.psql("postgres", &format!("CREATE DATABASE {SECOND} OWNER {APP}"));
    let sql = "CREATE TABLE ledger (tag text); GRANT ALL ON ledger TO PUBLIC";
    postgres.psql(APP, sql);
    postgres
}

/// Starts a pooler; unless the keys say otherwise it trusts and pools transactions.
pub fn pooler(server_port: u16, setup: &Setup) -> Headpond {
    Headpond::start("pgbouncer.ini", |place| {
        let directory = place.directory.display().to_string();
        let write = |name: &str, text: &str| {
            std::fs::write(place.directory.join(name), text).expect("the directory is ours");
        };
        let line = |user: &&str| format!("\"{user}\" \"{}\"\n", password_of(user));
        let all = || [APP, OTHER, SUPERUSER].iter().map(line).collect();
        write("userlist.txt", &setup.auth_file.clone().unwrap_or_else(all));
        write("hba.conf", setup.hba);
        write("ident.conf", &setup.ident);
        let mut keys = setup.keys.replace("DIRECTORY", &directory);
        for (key, value) in [("auth_type", "trust"), ("pool_mode", "transaction")] {
            if !keys.contains(key) {
                keys.push_str(&format!("\n{key} = {value}"));
            }
        }
        let server_port = server_port.to_string();
        format!(
            "[databases]\n{APP} = host=127.0.0.1 port={server_port} {entry}\n\
             {SECOND} = host=127.0.0.1 port={server_port} {entry}\n{databases}\n\n\
             [users]\n{users}\n\n[http]\nlisten = 127.0.0.1:{http_port}\n\n\
             [headpond]\n{native}\n\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {directory}\nadmin_users = {SUPERUSER}\n\
             auth_file = {directory}/userlist.txt\n{keys}\n",
            entry = setup.entry,
            databases = setup.databases.replace("PORT", &server_port),
            users = setup.users,
            native = setup.native,
            http_port = place.http_port,
            port = place.port,
        )
    })
}

pub fn password_of(user: &str) -> String {
    match user {
        APP => APP_PASSWORD.to_owned(),
        SUPERUSER => SUPERUSER_PASSWORD.to_owned(),
        other => format!("{other}-secret"),
    }
}

/// Returns how a user connects to a database of a pooler.
pub fn config(pooler: &impl Pooler, user: &str, database: &str) -> Config {
    let mut config = pooler.config();
    config.user(user).password(password_of(user)).dbname(database);
    config
}

/// Connects a driver.
pub async fn client(pooler: &impl Pooler, user: &str, database: &str) -> Client {
    let connected = within("a login", connect(&config(pooler, user, database))).await;
    connected.unwrap_or_else(|error| panic!("{user} gets in: {}", describe(&error)))
}

/// Connects the administrator to the console.
pub async fn console(pooler: &impl Pooler) -> Client {
    client(pooler, SUPERUSER, "pgbouncer").await
}

/// Connects a raw client, or returns why not.
pub async fn try_raw(pooler: &impl Pooler, user: &str, database: &str) -> Result<Raw, Notice> {
    let parameters = [("user", user), ("database", database)];
    let password = password_of(user);
    let connected = Raw::connect(pooler.address(), &parameters, &password);
    within("a login", connected).await.expect("the pooler answers")
}

/// Connects a raw client of the role `app` to its database.
pub async fn raw(pooler: &impl Pooler) -> Raw {
    try_raw(pooler, APP, APP).await.expect("app gets in")
}

/// Runs a test's future.
pub fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Awaits something that must happen soon.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let done = tokio::time::timeout(LIMIT, future).await;
    done.unwrap_or_else(|_| panic!("{what} does not happen"))
}

/// Asks again and again until the answer is yes.
pub async fn until(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !asked().await {
        assert!(start.elapsed() < LIMIT, "never: {what}");
        // The pause only spares the processor: what is waited for is the answer.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Returns the first value of what a query returns; empty for NULL or no row.
pub async fn value(client: &Client, sql: &str) -> String {
    let answered = within(sql, try_value(client, sql)).await;
    answered.unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)))
}

/// Returns the first value of what a query returns, or its error.
pub async fn try_value(client: &Client, sql: &str) -> Result<String, Error> {
    let first = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    let messages = client.simple_query(sql).await?;
    Ok(messages.iter().find_map(first).unwrap_or_default())
}

/// Runs a query that must fail; returns `SQLSTATE message`.
pub async fn refused(client: &Client, sql: &str) -> String {
    match within(sql, client.simple_query(sql)).await {
        Ok(_) => panic!("{sql} succeeded"),
        Err(error) => describe(&error),
    }
}

/// Tries to log in, which must fail; returns `SQLSTATE message`.
pub async fn kept_out(config: &Config) -> String {
    match within("a refused login", connect(config)).await {
        Ok(_) => panic!("got in"),
        Err(error) => describe(&error),
    }
}

/// Returns `SQLSTATE message` of an error.
pub fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    }
}

/// Counts the backends of a role, or of both roles together for `%`.
pub async fn backends(direct: &Client, role: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE usename LIKE '{role}' AND usename IN ('{APP}', '{OTHER}')"
    );
    value(direct, &sql).await.parse().expect("a count")
}

/// Counts the backends in some state whose query is like a pattern.
pub async fn doing(direct: &Client, state: &str, query: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE state = '{state}' AND query LIKE '{query}' AND pid <> pg_backend_pid()"
    );
    value(direct, &sql).await.parse().expect("a count")
}

/// Counts the clients of the pool of `app` that wait for a server.
pub async fn waiting(console: &Client) -> usize {
    let messages = console.simple_query("SHOW POOLS").await.expect("the console answers");
    let of_app = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) if row.get("database") == Some(APP) => {
            row.get("cl_waiting").and_then(|n| n.parse::<usize>().ok())
        }
        _ => None,
    };
    messages.iter().filter_map(of_app).sum()
}

/// Runs a query on a raw client up to ReadyForQuery.
pub async fn ask(raw: &mut Raw, sql: &str) -> Vec<Reply> {
    send(raw, &Messages::new().query(sql)).await
}

/// Sends messages and returns everything up to ReadyForQuery.
pub async fn send(raw: &mut Raw, messages: &Messages) -> Vec<Reply> {
    raw.ask(messages).await.expect("the pooler listens");
    within("an answer", raw.until_ready()).await.expect("the pooler answers")
}

/// Returns the first value of the first row among replies.
pub fn first(replies: &[Reply]) -> Option<String> {
    replies.iter().find_map(|reply| match reply {
        Reply::Row(columns) => columns.first().cloned().flatten(),
        _ => None,
    })
}

/// Returns `SQLSTATE message` of the first error among replies.
pub fn failure(replies: &[Reply]) -> Option<String> {
    replies.iter().find_map(|reply| match reply {
        Reply::Failed(notice) => Some(format!("{} {}", notice.code, notice.message)),
        _ => None,
    })
}

/// Reads what comes unasked until the pooler closes the connection.
pub async fn until_closed(raw: &mut Raw) -> Vec<Reply> {
    let mut replies = Vec::new();
    loop {
        match within("an end", raw.reply()).await {
            Ok(reply) => replies.push(reply),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => panic!("{e}"),
            Err(_) => return replies,
        }
    }
}
