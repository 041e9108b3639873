//! Futures dropped at any point, ten thousand times: nobody ever gets another's reply or session.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use headpond::postgres::{Config, Connection, Error, Postgres};
use headpond::transaction;
use headpond::{ConnectFailure, Fate, Manager, Pool};

use super::chance::{Random, seed};
use super::support::server::Options;
use super::support::{Server, run, run_for, url};

const MAX: u32 = 8;

/// What the oracle found.
#[derive(Default, Debug)]
struct Findings {
    cancelled: AtomicU64,
    foreign: AtomicU64,
    dirty: AtomicU64,
    broken: AtomicU64,
}

/// Gives a future up after so many polls.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: u64,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let polled = self.future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && self.left == 0 { Poll::Ready(None) } else { polled }
    }
}

/// Everything the session must not have kept, and a tag that must come back. It has no word in it
/// that would have the session cleaned because of the question.
async fn oracle(connection: &Connection, tag: u64, findings: &Findings) {
    let query = format!(
        "SELECT {tag}, transaction_timestamp() <> statement_timestamp(), \
         current_setting('application_name') = 'left', \
         (SELECT count(*) > 0 FROM pg_listening_channels()), \
         (SELECT count(*) > 0 FROM pg_class WHERE relname = 'left_table' \
          AND relnamespace = pg_my_temp_schema()), \
         (SELECT count(*) > 0 FROM pg_locks \
          WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
    );
    let Ok(rows) = connection.simple_query(&query).await else {
        findings.broken.fetch_add(1, SeqCst);
        return;
    };
    let row = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    if row.and_then(|row| row.get(0)) != Some(tag.to_string().as_str()) {
        findings.foreign.fetch_add(1, SeqCst);
    }
    let dirty = row.is_some_and(|row| (1..row.len()).any(|i| row.get(i) == Some("t")));
    if dirty {
        findings.dirty.fetch_add(1, SeqCst);
    }
}

/// Something that leaves the session in a bad state if it is not finished, or if it is.
async fn work(connection: &mut Connection, kind: u64, tag: u64) {
    let none: [&str; 0] = [];
    match kind {
        0 => drop(connection.query("SELECT $1::int8, pg_backend_pid()", &[&(tag as i64)]).await),
        1 => drop(connection.batch("BEGIN; INSERT INTO item VALUES (1)").await),
        2 => drop(connection.batch("SET application_name = 'left'").await),
        3 => drop(connection.batch("CREATE TEMP TABLE left_table ()").await),
        4 => drop(connection.batch("LISTEN left_channel").await),
        5 => {
            let lock = "SELECT pg_advisory_lock_shared($1)";
            drop(connection.query(lock, &[&1_i64]).await);
        }
        6 => drop(connection.batch("SELECT pg_sleep(0.003)").await),
        7 => {
            let query = "SELECT repeat('x', 500) FROM generate_series(1, 2000)";
            if let Ok(rows) = connection.query_raw(query, none).await {
                tokio::pin!(rows);
                for _ in 0..tag % 50 {
                    let _ = rows.next().await;
                }
            }
        }
        8 => {
            let rows = (0..200).map(|i| Bytes::from(format!("{i}\n").repeat(500)));
            drop(connection.copy_from("COPY item FROM STDIN", rows).await);
        }
        9 => {
            let options = transaction::Options::default();
            let work = connection.with_transaction(options, async |tx| {
                tx.execute("INSERT INTO item VALUES ($1)", &[&1_i32]).await?;
                tx.batch_execute("SET LOCAL application_name = 'left'").await
            });
            drop(work.await);
        }
        10 => {
            drop(connection.copy_to("COPY (SELECT * FROM item LIMIT 5000) TO STDOUT", |_| {}).await)
        }
        _ => drop(connection.batch("SELECT pg_sleep(1)").await),
    }
}

async fn storm<M>(pool: Pool<M>, cancels: u64, seed: u64) -> Arc<Findings>
where
    M: Manager<Connection = Connection, Error = Error>,
{
    println!("SEED={seed}");
    let began = std::time::Instant::now();
    let findings = Arc::new(Findings::default());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let (pool, findings) = (pool.clone(), Arc::clone(&findings));
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (task + 1));
        tasks.spawn(async move {
            while findings.cancelled.load(SeqCst) < cancels {
                let Ok(mut connection) = pool.get().await else { continue };
                let tag = random.below(1 << 40);
                oracle(&connection, tag, &findings).await;
                let kind = match random.below(64) {
                    63 => 11,
                    other => other % 11,
                };
                let work = work(&mut connection, kind, tag);
                let done = if random.below(2) == 0 {
                    Polls { future: Box::pin(work), left: random.below(6) }.await.is_some()
                } else {
                    let limit = Duration::from_micros(random.below(4000));
                    tokio::time::timeout(limit, work).await.is_ok()
                };
                if !done && findings.cancelled.fetch_add(1, SeqCst) % 1000 == 999 {
                    println!("{:.1?} {findings:?} {:?}", began.elapsed(), pool.status());
                }
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.expect("no task panics");
    }
    pool.check_invariants();
    findings
}

/// Returns how many sessions of `app` the server had at once at most, by its own log.
///
/// The view `pg_stat_activity` is read place by place: a session that ends and another that begins
/// while it is being read both count. The log has an order.
fn most_sessions(server: &Server) -> (usize, usize) {
    let (mut now, mut most, mut all) = (0_usize, 0, 0);
    for line in server.log().lines() {
        if line.contains("connection authorized: user=app") {
            now += 1;
            all += 1;
            most = most.max(now);
        } else if line.contains("disconnection: ") && line.contains("user=app") {
            now -= 1;
        }
    }
    (most, all)
}

#[test]
fn ten_thousand_cancelled_requests_leave_no_foreign_reply_and_no_dirty_session() {
    let settings =
        vec![("log_connections", "on".to_owned()), ("log_disconnections", "on".to_owned())];
    let server = Server::start_with(&Options { settings, ..Options::default() });
    server.psql("app", "CREATE TABLE item (id int); ALTER TABLE item OWNER TO app");
    // On a machine with nothing else to do it takes a minute.
    run_for(Duration::from_secs(1500), async {
        let observer = server.connect("postgres").await;
        let over = Arc::new(AtomicBool::new(false));
        let watching = Arc::clone(&over);
        let watch = tokio::spawn(async move {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
            let (mut most, mut samples) = (0, 0_u64);
            while !watching.load(SeqCst) {
                most = most.max(observer.query_one(query, &[]).await.unwrap().get::<_, i64>(0));
                samples += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (most, samples)
        });
        let manager = Postgres::new(Config::parse(&url(&server)).unwrap()).unwrap();
        // A busy machine takes its time to say goodbye; who is not waited for still counts there.
        let mut settings = headpond::Settings::default();
        (settings.max, settings.min, settings.connects_max) = (MAX, 0, MAX);
        settings.close_timeout = Duration::from_secs(60);
        let pool = Pool::builder(manager).settings(settings).build().unwrap();
        let findings = storm(pool.clone(), 10_000, seed()).await;
        over.store(true, SeqCst);
        let (seen, samples) = watch.await.unwrap();
        let totals = pool.status().totals;
        pool.close(Duration::from_secs(60)).await.expect("everything came back");
        let (most, all) = most_sessions(&server);
        println!("{findings:?}; {all} sessions, {most} at once at most; {totals:?}");
        println!("pg_stat_activity showed {seen} at most in {samples} samples");
        assert!(totals.resets < totals.acquired, "nothing was lent again without a reset");
        assert_eq!(findings.foreign.load(SeqCst), 0, "foreign replies");
        assert_eq!(findings.dirty.load(SeqCst), 0, "dirty sessions handed out");
        assert_eq!(findings.broken.load(SeqCst), 0, "broken sessions handed out");
        assert!(all > 0 && most <= MAX as usize, "{most} sessions at once, more than max");
    });
}

/// A manager as careless as they come: whatever is given back is as good as new.
struct Careless(Postgres);

impl Manager for Careless {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        self.0.connect().await
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), Error> {
        self.0.ping(connection).await
    }

    async fn reset(&self, _: &mut Connection) -> Result<(), Error> {
        Ok(())
    }

    fn fate(&self, _: &mut Connection) -> Fate {
        Fate::Reuse
    }

    fn failure(&self, error: &Error) -> ConnectFailure {
        self.0.failure(error)
    }
}

#[test]
fn the_oracle_finds_what_a_careless_manager_hands_out() {
    let server = Server::start();
    server.psql("app", "CREATE TABLE item (id int); ALTER TABLE item OWNER TO app");
    run(async {
        let manager = Careless(Postgres::new(Config::parse(&url(&server)).unwrap()).unwrap());
        let pool = Pool::builder(manager).max(MAX).min(0).build().unwrap();
        let findings = storm(pool, 300, seed()).await;
        println!("{findings:?}");
        let found = findings.dirty.load(SeqCst) + findings.broken.load(SeqCst);
        assert!(found > 10, "the oracle is blind: {findings:?}");
    });
}
