//! The shortest way from nothing to a pool: `cargo run --example quickstart`, with no server.
//!
//! A database in memory, four writers and four readers at once, and what the pools say about it.
//! Left out: files (`sqlite:app.db?mode=rwc`), settings, and errors: see `docs/adapters/sqlite.md`.

use std::time::Duration;

use headpond_sqlite::Sqlite;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "sqlite::memory:".to_owned());
    let db = Sqlite::open(&url).await?;
    db.write(|tx| {
        tx.execute_batch("CREATE TABLE IF NOT EXISTS visits (who TEXT NOT NULL, page TEXT)")
    })
    .await?;

    // Nobody gets "database is locked": writes queue for the one writer, reads go on beside it.
    let mut tasks = tokio::task::JoinSet::new();
    for who in ["ada", "grace", "edsger", "barbara"] {
        let db = db.clone();
        tasks.spawn(async move {
            for page in 0..250 {
                db.write(move |tx| {
                    tx.prepare_cached("INSERT INTO visits VALUES (?1, ?2)")?.execute((who, page))
                })
                .await?;
                db.read(|c| c.query_row("SELECT count(*) FROM visits", [], |_| Ok(()))).await?;
            }
            Ok::<_, headpond_sqlite::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }

    let visits: Vec<(String, u32)> = db
        .read(|c| {
            let mut query =
                c.prepare_cached("SELECT who, count(*) FROM visits GROUP BY who ORDER BY who")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await?;
    for (who, count) in visits {
        println!("{who:8} {count} visits");
    }

    let status = db.status();
    if let Some(writer) = status.writer {
        let totals = writer.totals;
        println!(
            "writer:  {} loans of {} connection, {} of them after a wait",
            totals.acquired, totals.opened, totals.acquired_after_wait
        );
    }
    let totals = status.readers.totals;
    println!("readers: {} loans of {} connections", totals.acquired, totals.opened);
    db.close(Duration::from_secs(5)).await.map_err(|left| format!("{left:?}"))?;
    Ok(())
}
