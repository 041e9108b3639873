//! A pool of PostgreSQL sessions, from the variable `DATABASE_URL`.
//!
//! `DATABASE_URL=postgresql://app:secret@localhost/app cargo run -p headpond --features postgres
//! --example postgres`

use std::time::Duration;

use headpond::postgres;
use headpond::transaction::{Isolation, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = postgres::pool_from_env()?;
    let connection = pool.get().await?;
    println!("server: {}", connection.parameter("server_version").unwrap_or_default());

    // Prepared once for each connection, and kept.
    let rows = connection.query("SELECT $1::int4 + $2::int4", &[&40, &2]).await?;
    println!("40 + 2 = {}", rows[0].get::<_, i32>(0));

    // What is left in a session is gone for the next: here, a setting.
    connection.batch("SET application_name = 'left behind'").await?;
    drop(connection);
    let connection = pool.get().await?;
    let rows = connection.query("SELECT current_setting('application_name')", &[]).await?;
    println!("application_name after the reset: {:?}", rows[0].get::<_, &str>(0));
    drop(connection);

    // Committed if it returns Ok; runs again if it lost against another transaction.
    let options = Options::default().isolation(Isolation::Serializable);
    let now = pool.with_transaction(options, async |tx| {
        let rows = tx.query("SELECT now()::text", &[]).await?;
        Ok::<String, postgres::tokio_postgres::Error>(rows[0].get(0))
    });
    println!("the transaction began at {}", now.await?);

    println!("{:?}", pool.status());
    if let Err(left) = pool.close(Duration::from_secs(5)).await {
        println!("still out: {left:?}");
    }
    Ok(())
}
