//! A process that is killed while it writes: what was committed is there, what was not is not.
//!
//! The test starts itself as a child, which writes without end and says what it has committed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use headpond_sqlite::Sqlite;

use super::bench::Bench;

const URL: &str = "HEADPOND_CRASH_URL";

#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let db = Sqlite::open(&url).await.unwrap();
    for n in 0_i64.. {
        db.write(move |tx| {
            for _ in 0..50 {
                tx.execute("INSERT INTO numbers VALUES (?1)", [n])?;
            }
            Ok(())
        })
        .await
        .unwrap();
        println!("\ncommitted {n}");
    }
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_what_was_not_does_not() {
    let bench = Bench::new();
    drop(bench.numbers(|builder| builder).await);
    let mut last = -1;
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(URL, bench.url(""))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let committed = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("committed ")?.parse::<i64>().ok());
        let seen = committed.take(30).last();
        child.kill().unwrap();
        child.wait().unwrap();
        last = last.max(seen.expect("the child commits"));
        let db = Sqlite::open(&bench.url("")).await.unwrap();
        let found = db
            .read(|c| {
                let whole: String = c.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
                let torn: i64 = c.query_row(
                    "SELECT count(*) FROM \
                     (SELECT 1 FROM numbers GROUP BY n HAVING count(*) % 50 <> 0)",
                    [],
                    |row| row.get(0),
                )?;
                let newest: i64 =
                    c.query_row("SELECT max(n) FROM numbers", [], |row| row.get(0))?;
                Ok((whole, torn, newest))
            })
            .await
            .unwrap();
        assert_eq!((found.0.as_str(), found.1), ("ok", 0));
        assert!(found.2 >= last, "{last} was committed, {} is there", found.2);
    }
}
