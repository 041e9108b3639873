//! One request through a pool of the library, whatever the server.
//!
//! Invariant: a request borrows one connection and gives it back.
//! Left out: when requests begin.

use std::time::Duration;

use headpond::http;
use headpond::mysql::driver::{Params, Row, Value};
use headpond::{Manager, Pool, mysql, postgres, redis};
use headpond_core::Random;
use headpond_sqlite::rusqlite::types::Value as Sql;
use headpond_sqlite::{Sqlite, rusqlite};

use super::AtomicStart;
use crate::error::{Error, ErrorKind};
use crate::lean::request::inlined;
use crate::measure::Control;
use crate::target::{Kind, Target};
use crate::workload::{Access, Statement};

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(2);

/// A pool of connections to one server.
pub enum Client {
    /// PostgreSQL, in the simple protocol: for servers that want TLS.
    Postgres(Pool<postgres::Postgres>),
    /// MySQL or MariaDB.
    MySql(Pool<mysql::Manager>),
    /// Redis, connections of one's own.
    Redis(Pool<redis::Manager>),
    /// SQLite: one writer, the rest read.
    Sqlite(Sqlite),
    /// HTTP: the client, and where its paths begin.
    Http(http::Client, String),
}

impl Client {
    /// Opens a pool of so many connections.
    ///
    /// # Errors
    /// When the URL makes no sense or the server cannot be reached.
    pub async fn open(target: &Target, size: u32, timeout: Duration) -> Result<Self, Error> {
        let url = target.url();
        let fault = |error: &dyn std::fmt::Display| Error::target(target, error);
        Ok(match target.kind() {
            Kind::Postgres => {
                let config = postgres::Config::parse(url).map_err(|e| fault(&e))?;
                let builder = postgres::builder(config).map_err(|e| fault(&e))?;
                Self::Postgres(open(target, builder, size, timeout).await?)
            }
            Kind::MySql => {
                let config = mysql::Config::from_url(url).map_err(|e| fault(&e))?;
                // The built-in statements leave nothing behind that wants cleaning.
                let config = config.cleaning(mysql::Cleaning::WhenChanged);
                Self::MySql(open(target, config.builder(), size, timeout).await?)
            }
            Kind::Redis => {
                let config = redis::Config::from_url(url).map_err(|e| fault(&e))?;
                let builder = config.builder().map_err(|e| fault(&e))?;
                Self::Redis(open(target, builder, size, timeout).await?)
            }
            Kind::Sqlite => {
                let builder = Sqlite::builder(url).map_err(|e| fault(&e))?;
                let builder = builder.readers(size).acquire_timeout(Some(timeout));
                Self::Sqlite(builder.open().await.map_err(|e| fault(&e))?)
            }
            Kind::Http => {
                let client = http::Client::builder().max_per_origin(size).max_idle(size);
                let client = client.request_timeout(timeout).build().map_err(|e| fault(&e))?;
                Self::Http(client, url.trim_end_matches('/').to_owned())
            }
        })
    }

    /// Runs a statement for its effect.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn execute(&self, target: &Target, text: &str) -> Result<(), Error> {
        let fault = |error: &dyn std::fmt::Display| Error::target(target, error);
        match self {
            Self::Postgres(pool) => {
                let connection = pool.get().await.map_err(|e| fault(&e))?;
                connection.batch(text).await.map_err(|e| fault(&e))
            }
            Self::MySql(pool) => {
                let mut connection = pool.get().await.map_err(|e| fault(&e))?;
                connection.query_drop(text).await.map(drop).map_err(|e| fault(&e))
            }
            Self::Redis(pool) => {
                let mut connection = pool.get().await.map_err(|e| fault(&e))?;
                let value = connection.query::<redis::driver::Value>(&command(text)).await;
                value.map(drop).map_err(|e| fault(&e))
            }
            Self::Sqlite(db) => {
                let text = text.to_owned();
                db.write(move |tx| tx.execute_batch(&text)).await.map_err(|e| fault(&e))
            }
            Self::Http(client, base) => {
                let text = text.split_once(' ').map_or(text, |(_, path)| path);
                let response = client.get(&format!("{base}{text}")).await.map_err(|e| fault(&e))?;
                response.bytes().await.map(drop).map_err(|e| fault(&e))
            }
        }
    }

    /// Asks for one value as text, for figures that a server knows about itself.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ask(&self, target: &Target, text: &str) -> Result<String, Error> {
        let fault = |error: &dyn std::fmt::Display| Error::target(target, error);
        match self {
            Self::Postgres(pool) => {
                let connection = pool.get().await.map_err(|e| fault(&e))?;
                let row = connection.query_opt(text, &[]).await.map_err(|e| fault(&e))?;
                Ok(row.and_then(|row| row.get::<_, Option<String>>(0)).unwrap_or_default())
            }
            Self::MySql(pool) => {
                let mut connection = pool.get().await.map_err(|e| fault(&e))?;
                let row: Option<Row> = connection.query_first(text).await.map_err(|e| fault(&e))?;
                let last = row.and_then(|row| row.unwrap().pop());
                Ok(match last {
                    Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    Some(Value::Int(number)) => number.to_string(),
                    Some(Value::UInt(number)) => number.to_string(),
                    _ => String::new(),
                })
            }
            Self::Redis(pool) => {
                let mut connection = pool.get().await.map_err(|e| fault(&e))?;
                connection.query::<String>(&command(text)).await.map_err(|e| fault(&e))
            }
            Self::Sqlite(_) | Self::Http(..) => Ok(String::new()),
        }
    }

    /// Sends one request, and says in `started` when it had its connection.
    ///
    /// # Errors
    /// With the kind of what went wrong.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn request(
        &self,
        control: &Control,
        started: &AtomicStart,
        statement: &Statement,
        random: &mut Random,
    ) -> Result<(), ErrorKind> {
        match self {
            Self::Postgres(pool) => {
                let text = inlined(statement, random);
                let connection = pool.get().await.map_err(|e| of_pool(&e))?;
                started.set(control.now());
                connection.batch(&text).await.map_err(|error| match error.code() {
                    Some(state) => server(state.code()),
                    None => ErrorKind::Lost,
                })
            }
            Self::MySql(pool) => {
                let values =
                    values(statement, random, Value::Int, |t| Value::Bytes(t.into_bytes()));
                let mut connection = pool.get().await.map_err(|e| of_pool(&e))?;
                started.set(control.now());
                let rows = connection.exec::<Row>(&statement.text, Params::from(values)).await;
                rows.map(drop).map_err(|error| match error.code() {
                    Some(code) => server(&code.to_string()),
                    None => ErrorKind::Lost,
                })
            }
            Self::Redis(pool) => {
                let command = command(&statement.filled(&statement.text, random));
                let mut connection = pool.get().await.map_err(|e| of_pool(&e))?;
                started.set(control.now());
                let value = connection.query::<redis::driver::Value>(&command).await;
                value.map(drop).map_err(|error| match error {
                    redis::Error::Driver(error) => error.code().map_or(ErrorKind::Lost, server),
                    _ => ErrorKind::Lost,
                })
            }
            Self::Sqlite(db) => sqlite(db, control, started, statement, random).await,
            Self::Http(client, base) => {
                let text = statement.filled(&statement.text, random);
                let body = statement.body.as_deref().map(|body| statement.filled(body, random));
                // Its pool does not say when a request had its connection.
                let (method, path) = text.split_once(' ').unwrap_or(("GET", &text));
                let request = http::Request::builder().method(method).uri(format!("{base}{path}"));
                let request = request.body(body.unwrap_or_default());
                let request = request.map_err(|_| ErrorKind::Protocol)?;
                let response = client.request(request).await.map_err(|e| of_http(&e))?;
                let status = response.status();
                response.bytes().await.map_err(|error| of_http(&error))?;
                match status.is_client_error() || status.is_server_error() {
                    true => Err(server(status.as_str())),
                    false => Ok(()),
                }
            }
        }
    }

    /// Returns how many connections are in use and how many callers wait.
    pub fn under_way(&self) -> (u32, u32) {
        let of = |status: headpond::Status| (status.in_use, status.waiting);
        match self {
            Self::Postgres(pool) => of(pool.status()),
            Self::MySql(pool) => of(pool.status()),
            Self::Redis(pool) => of(pool.status()),
            Self::Sqlite(db) => {
                let status = db.status();
                let writer = status.writer.map_or((0, 0), of);
                let readers = of(status.readers);
                (writer.0 + readers.0, writer.1 + readers.1)
            }
            Self::Http(client, _) => {
                let origins = client.origin_status();
                let sum = origins.into_iter().map(|origin| of(origin.pool));
                sum.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
            }
        }
    }

    /// Whether the server is in this process.
    pub const fn is_embedded(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Closes every connection; one that is still in use closes when it comes back.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => drop(pool.close(CLOSE).await),
            Self::MySql(pool) => drop(pool.close(CLOSE).await),
            Self::Redis(pool) => drop(pool.close(CLOSE).await),
            Self::Sqlite(db) => drop(db.close(CLOSE).await),
            Self::Http(client, _) => drop(client.close(CLOSE).await),
        }
    }
}

/// Makes a pool and opens all of its connections.
async fn open<M: Manager>(
    target: &Target,
    builder: headpond::Builder<M>,
    size: u32,
    timeout: Duration,
) -> Result<Pool<M>, Error> {
    const CONNECTS: u32 = 8;
    let builder = builder.name("bench").max(size).min(size).connects_max(CONNECTS);
    let builder = builder.acquire_timeout(Some(timeout)).idle_timeout(None).lifetime(None);
    let pool = builder.build().map_err(|error| Error::target(target, error))?;
    let limit = Duration::from_secs(10) + Duration::from_millis(50) * size;
    pool.warm_up(limit).await.map_err(|error| Error::target(target, error))?;
    Ok(pool)
}

async fn sqlite(
    db: &Sqlite,
    control: &Control,
    started: &AtomicStart,
    statement: &Statement,
    random: &mut Random,
) -> Result<(), ErrorKind> {
    let values = values(statement, random, Sql::Integer, Sql::Text);
    let text = statement.text.clone();
    // The closure runs on the connection's thread and reads the clock there.
    let (clock, start) = (control.clock(), started.clone());
    let begin = move || start.set(clock.now());
    let run = move |c: &rusqlite::Connection| {
        let mut prepared = c.prepare_cached(&text)?;
        let mut rows = prepared.query(rusqlite::params_from_iter(values))?;
        while rows.next()?.is_some() {}
        Ok(())
    };
    let outcome = match statement.access {
        Access::Read => {
            db.read(move |c| {
                begin();
                run(c)
            })
            .await
        }
        Access::Write => {
            db.write(move |tx| {
                begin();
                run(tx)
            })
            .await
        }
    };
    outcome.map_err(|error| match error {
        headpond_sqlite::Error::Query(_) => server("query"),
        headpond_sqlite::Error::Busy { .. } => server("busy"),
        headpond_sqlite::Error::Pool(error) => of_pool(&error),
        headpond_sqlite::Error::Timeout { .. } => ErrorKind::Timeout,
        _ => ErrorKind::Lost,
    })
}

/// Draws the parameters of a statement: numbers and texts.
fn values<V>(
    statement: &Statement,
    random: &mut Random,
    number: fn(i64) -> V,
    word: fn(String) -> V,
) -> Vec<V> {
    let draw = |parameter: &crate::workload::Parameter| {
        let mut text = String::new();
        parameter.write(random, &mut text);
        match text.parse() {
            Ok(value) if parameter.is_number() => number(value),
            _ => word(text),
        }
    };
    statement.parameters.iter().map(draw).collect()
}

/// Makes a command of words.
fn command(text: &str) -> redis::Cmd {
    let mut words = text.split_whitespace();
    let mut command = redis::cmd(words.next().unwrap_or("PING"));
    for word in words {
        command.arg(word);
    }
    command
}

/// Keeps the first five bytes of what a server calls its error.
fn server(code: &str) -> ErrorKind {
    let mut five = [b' '; 5];
    for (to, from) in five.iter_mut().zip(code.bytes()) {
        *to = from;
    }
    ErrorKind::Server(five)
}

fn of_pool<E>(error: &headpond::Error<E>) -> ErrorKind {
    match error {
        headpond::Error::Timeout(_) => ErrorKind::Timeout,
        headpond::Error::QueueFull { .. } => ErrorKind::Shed,
        _ => ErrorKind::Connect,
    }
}

fn of_http(error: &http::Error) -> ErrorKind {
    match error {
        http::Error::Timeout { .. } => ErrorKind::Timeout,
        http::Error::Pool { cause, .. } => of_pool(cause),
        http::Error::Exchange { .. } => ErrorKind::Lost,
        _ => ErrorKind::Protocol,
    }
}
