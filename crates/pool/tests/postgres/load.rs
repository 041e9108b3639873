//! The load that services have: many requests at once, for a long time, nothing lost.
//!
//! `HEADPOND_TEST_OPERATIONS` makes it longer: 1,440,000 is 50 requests a second for eight hours.
//! Times are printed, not judged: a shared machine stalls when it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use headpond::Pool;
use headpond::postgres::Postgres;

use super::support::{Server, builder, run_for};

const MAX: u32 = 20;
const AT_ONCE: usize = 1_000;

#[test]
fn a_thousand_requests_at_once_fail_never_and_reuse_their_connections() {
    let server = Server::start();
    run_for(Duration::from_secs(600), async {
        let operations = operations(20_000);
        let pool = builder(&server, MAX).build().unwrap();
        pool.warm_up(Duration::from_secs(30)).await.unwrap();
        serve(&pool, operations / 10).await;
        let warm = (resident_kib(), descriptors());
        let times = serve(&pool, operations).await;
        let status = pool.status();
        let reuse = 1.0 - status.totals.opened as f64 / status.totals.acquired as f64;
        let grown = resident_kib().saturating_sub(warm.0);
        println!(
            "{operations} requests, {AT_ONCE} at once, {MAX} connections: p50 {:?}, p95 {:?}, \
             reuse {:.2} %, memory +{grown} KiB, descriptors {} → {}",
            times[times.len() / 2],
            times[times.len() * 95 / 100],
            reuse * 100.0,
            warm.1,
            descriptors(),
        );
        assert!(reuse > 0.95, "{reuse}");
        assert_eq!((status.in_use, status.waiting), (0, 0));
        assert_eq!(status.totals.timeouts + status.totals.refusals + status.totals.leaks, 0);
        assert_eq!(status.totals.opened, u64::from(status.size), "nothing was opened twice");
        assert!(grown < 8 * 1024, "memory grew by {grown} KiB");
        assert!(descriptors() <= warm.1 + 2, "descriptors are given back");
        assert!(pool.holders().is_empty());
    });
}

#[test]
fn the_server_never_has_more_sessions_than_the_pool_may_open() {
    let server = Server::start();
    run_for(Duration::from_secs(300), async {
        let pool = builder(&server, 5).build().unwrap();
        let (stop, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                     AND pid <> pg_backend_pid()";
        let watch = tokio::spawn({
            let (stop, most) = (Arc::clone(&stop), Arc::clone(&most));
            // A pool of its own, so that counting waits for nobody.
            let counting = builder(&server, 1).build().unwrap();
            async move {
                while stop.load(SeqCst) == 0 {
                    let connection = counting.get().await.unwrap();
                    let rows = connection.query(count, &[]).await.unwrap();
                    let sessions: i64 = rows[0].get(0);
                    most.fetch_max(u64::try_from(sessions).unwrap(), SeqCst);
                }
            }
        });
        serve(&pool, operations(5_000)).await;
        stop.store(1, SeqCst);
        watch.await.unwrap();
        let most = most.load(SeqCst);
        println!("at most {most} sessions of 5");
        assert!((1..=5).contains(&most), "{most} sessions at once");
    });
}

/// Serves so many requests, a thousand at once; returns how long each took, sorted.
async fn serve(pool: &Pool<Postgres>, operations: u64) -> Vec<Duration> {
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (pool, next) = (pool.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let number = next.fetch_add(1, SeqCst);
                    if number >= operations {
                        return times;
                    }
                    let began = Instant::now();
                    let connection = pool.get().await.expect("nobody is turned away");
                    let tag = i64::try_from(number).expect("a small number");
                    let rows = connection.query("SELECT $1::int8", &[&tag]).await;
                    let rows = rows.expect("the query is right");
                    assert_eq!(rows[0].get::<_, i64>(0), tag, "everybody gets their own reply");
                    times.push(began.elapsed());
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.append(&mut task.await.expect("no request fails"));
    }
    times.sort_unstable();
    times
}

fn operations(default: u64) -> u64 {
    let said = std::env::var("HEADPOND_TEST_OPERATIONS").ok();
    said.map_or(default, |value| value.parse().expect("a number"))
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}
