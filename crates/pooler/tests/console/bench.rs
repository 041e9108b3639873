//! One pooler with two databases, four users and a console.

use std::future::Future;
use std::path::PathBuf;

use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};

use crate::support::pooler::{Headpond, Place};
use crate::support::postgres::{
    APP, APP_PASSWORD, Options, SUPERUSER, SUPERUSER_PASSWORD, connect,
};
use crate::support::{Pooler, Postgres};

/// The user who may only look.
pub const LOOKER: &str = "looker";
/// A user who has no business on the console.
pub const STRANGER: &str = "stranger";
/// The second database; the first is called like its user.
pub const SECOND: &str = "second";

/// What SHOW answered.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Shown {
    /// Returns the value of a column in the first row whose first column is `name`.
    pub fn of(&self, name: &str, column: &str) -> Option<String> {
        let place = self.columns.iter().position(|c| c == column).expect("a column");
        let row = self.rows.iter().find(|row| row[0].as_deref() == Some(name))?;
        row[place].clone()
    }

    /// Returns all values of a column.
    pub fn column(&self, column: &str) -> Vec<String> {
        let place = self.columns.iter().position(|c| c == column).expect("a column");
        self.rows.iter().map(|row| row[place].clone().unwrap_or_default()).collect()
    }

    /// Returns the rows in which a column has a value.
    pub fn with(&self, column: &str, value: &str) -> Self {
        let place = self.columns.iter().position(|c| c == column).expect("a column");
        let mut found = self.clone();
        found.rows.retain(|row| row[place].as_deref() == Some(value));
        found
    }
}

/// A PostgreSQL and a pooler in front of it.
pub struct Bench {
    // Stopped before the server it talks to: fields drop in this order.
    pub pooler: Headpond,
    pub postgres: Postgres,
}

impl Bench {
    /// Starts both; `keys` are further lines of `[pgbouncer]`.
    pub fn start(keys: &str) -> Self {
        let postgres =
            Postgres::start_with(&Options { max_connections: 100, ..Options::default() });
        postgres.psql("postgres", &format!("CREATE DATABASE {SECOND} OWNER {APP}"));
        let pooler = Headpond::start("pgbouncer.ini", |place| {
            write_users(place);
            ini(place, postgres.port(), "", keys)
        });
        Self { pooler, postgres }
    }

    /// The configuration as it was at the start, with further databases and keys.
    pub fn ini(&self, databases: &str, keys: &str) -> String {
        ini(self.pooler.place(), self.postgres.port(), databases, keys)
    }

    /// Replaces the configuration file.
    pub fn write(&self, text: &str) {
        std::fs::write(self.file(), text).expect("the directory is ours");
    }

    pub fn file(&self) -> PathBuf {
        self.pooler.place().directory.join("pgbouncer.ini")
    }

    /// Returns how a user connects to a database of the pooler.
    pub fn config(&self, user: &str, database: &str) -> Config {
        let mut config = self.pooler.config();
        config.user(user).password(password_of(user)).dbname(database);
        config
    }

    /// Connects a user to a database of the pooler.
    pub async fn client(&self, user: &str, database: &str) -> Client {
        connect(&self.config(user, database)).await.expect("a client gets in")
    }

    /// Connects a user to the console.
    pub async fn console(&self, user: &str) -> Client {
        self.client(user, "pgbouncer").await
    }

    /// Connects to the console over the unix socket.
    pub async fn console_over_unix(&self) -> Client {
        let mut config = Config::new();
        config.host_path(&self.pooler.place().directory).port(self.pooler.place().port);
        config.user(SUPERUSER).password(SUPERUSER_PASSWORD).dbname("pgbouncer");
        connect(&config).await.expect("the console over the unix socket")
    }

    /// Counts the backends of the role `app`, without the pooler.
    pub async fn backends(&self) -> usize {
        let direct = self.postgres.connect("postgres").await;
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{APP}'");
        let count: i64 = direct.query_one(&sql, &[]).await.expect("a count").get(0);
        usize::try_from(count).expect("a count is not negative")
    }
}

fn password_of(user: &str) -> String {
    match user {
        APP => APP_PASSWORD.to_owned(),
        SUPERUSER => SUPERUSER_PASSWORD.to_owned(),
        other => format!("{other}-secret"),
    }
}

fn write_users(place: &Place) {
    let line = |user: &&str| format!("\"{user}\" \"{}\"\n", password_of(user));
    let list: String = [APP, SUPERUSER, LOOKER, STRANGER].iter().map(line).collect();
    std::fs::write(place.directory.join("userlist.txt"), list).expect("the directory is ours");
}

fn ini(place: &Place, server_port: u16, databases: &str, keys: &str) -> String {
    format!(
        "[databases]\n{APP} = host=127.0.0.1 port={server_port}\n\
         {SECOND} = host=127.0.0.1 port={server_port} pool_size=3\n{databases}\n\
         [users]\n{LOOKER} = pool_mode=session max_user_connections=7\n\n\
         [http]\nlisten = 127.0.0.1:{http_port}\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir = {directory}\nauth_type = scram-sha-256\n\
         auth_file = {directory}/userlist.txt\nadmin_users = {SUPERUSER}\n\
         stats_users = {LOOKER}\npool_mode = transaction\ndefault_pool_size = 5\n{keys}\n",
        http_port = place.http_port,
        port = place.port,
        directory = place.directory.display(),
    )
}

/// Runs a test's future.
pub fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Gives a command to the console and returns what it shows.
pub async fn ask(console: &Client, command: &str) -> Result<Shown, Error> {
    let mut shown = Shown::default();
    for message in console.simple_query(command).await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                shown.columns = columns.iter().map(|c| c.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|n| row.get(n).map(str::to_owned));
                shown.rows.push(values.collect());
            }
            _ => {}
        }
    }
    Ok(shown)
}

/// Gives a command that must succeed.
pub async fn tell(console: &Client, command: &str) -> Shown {
    let shown = ask(console, command).await;
    shown.unwrap_or_else(|error| panic!("{command}: {}", describe(&error)))
}

/// Gives a command that must fail; returns `SQLSTATE message`.
pub async fn refused(console: &Client, command: &str) -> String {
    match ask(console, command).await {
        Ok(shown) => panic!("{command} succeeded: {shown:?}"),
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

/// Repeats a question until its answer is as wanted.
pub async fn until(console: &Client, command: &str, wanted: impl Fn(&Shown) -> bool) -> Shown {
    for _ in 0..20_000 {
        let shown = tell(console, command).await;
        if wanted(&shown) {
            return shown;
        }
        tokio::task::yield_now().await;
    }
    panic!("{command} never showed what was waited for");
}
