//! What a PostgreSQL server says of itself.
//!
//! Invariant: the questions are those of the pooler, and anybody who may log in may ask them.
//! Left out: the questions (`headpond_wire::facts`).

use headpond_wire::facts::{Facts as Answer, QUESTION, Replication};
use tokio_postgres::{Error, SimpleQueryMessage, SimpleQueryRow};

use super::connection::Connection;
use crate::facts::Facts;

/// Asks the server; nothing if it answers without a row.
pub(super) async fn ask(connection: &Connection) -> Result<Option<Facts>, Error> {
    let Some(row) = row(connection, QUESTION).await? else { return Ok(None) };
    let answer = Answer::read(|place| row.try_get(place).ok().flatten());
    let replication = replication(connection, answer.next_question()).await?;
    Ok(Some(Facts {
        version: answer.setting("server_version").unwrap_or_default().to_owned(),
        connections_max: answer.count("max_connections"),
        connections_reserved: answer.count("superuser_reserved_connections"),
        total: answer.total,
        active: answer.active,
        idle: answer.idle,
        idle_in_transaction: answer.idle_in_transaction,
        read_only: answer.read_only,
        in_recovery: answer.in_recovery,
        replication_lag_seconds: replication.lag_seconds,
        standbys: replication.standbys,
        standby_lag_seconds: replication.standby_lag_seconds,
        settings: answer.settings,
    }))
}

/// Asks who follows whom. Some that call themselves standbys cannot say.
async fn replication(connection: &Connection, question: &str) -> Result<Replication, Error> {
    match row(connection, question).await {
        Ok(Some(row)) => Ok(Replication::read(|place| row.try_get(place).ok().flatten())),
        Ok(None) => Ok(Replication::default()),
        Err(error) if error.as_db_error().is_some() => Ok(Replication::default()),
        Err(error) => Err(error),
    }
}

async fn row(connection: &Connection, sql: &str) -> Result<Option<SimpleQueryRow>, Error> {
    let messages = connection.simple_query(sql).await?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }))
}
