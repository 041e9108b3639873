//! Random operations from many tasks on several threads, on the system's clock: slots are counted
//! at the end, the maximum all the while.
//!
//! `HEADPOND_TEST_SEED` repeats a run's choices (not its schedule), `HEADPOND_TEST_OPERATIONS`
//! makes it longer: 10,000,000 takes minutes in an optimised build.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use headpond::testing::{Connect, FakeManager};
use headpond::{Error, Fate, OwnedGuard, Pool, Priority};

const MAX: u32 = 6;
const TASKS: u64 = 32;
/// Operations on one pool: most of the time is spent waiting, so that many pools fit beside each
/// other.
const OPERATIONS_MAX: u64 = 50_000;

#[test]
fn random_operations_lose_no_slot_and_exceed_no_limit() {
    let seed = setting("HEADPOND_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let operations = setting("HEADPOND_TEST_OPERATIONS").unwrap_or(40_000);
    println!("HEADPOND_TEST_SEED={seed} HEADPOND_TEST_OPERATIONS={operations}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let pools = operations.div_ceil(OPERATIONS_MAX).max(1);
        let storms: Vec<_> = (0..pools)
            .map(|number| tokio::spawn(storm(seed ^ (number << 16), operations / pools)))
            .collect();
        let mut got = 0;
        for storm in storms {
            got += storm.await.expect("no storm panics");
        }
        println!("{operations} operations on {pools} pools: {got} connections were had");
    });
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Returns how many connections were had.
async fn storm(seed: u64, operations: u64) -> u64 {
    let manager = FakeManager::default();
    let builder = Pool::builder(manager.clone()).max(MAX).min(2).seed(seed);
    let pool = builder
        .connect_timeout(Duration::from_millis(20))
        .reset_timeout(Duration::from_millis(20))
        .acquire_timeout(Some(Duration::from_millis(50)))
        .uses_max(Some(200))
        .lifetime(Some(Duration::from_millis(700)))
        .idle_timeout(Some(Duration::from_millis(300)))
        .check_after(Some(Duration::from_millis(5)))
        .build()
        .expect("the settings make sense");
    let done = Arc::new(AtomicU64::new(0));
    let got = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (pool, manager) = (pool.clone(), manager.clone());
            let (done, got) = (Arc::clone(&done), Arc::clone(&got));
            let mut random = headpond_core::Random::new(seed ^ (task << 32));
            tokio::spawn(async move {
                while done.fetch_add(1, SeqCst) < operations {
                    got.fetch_add(operate(&pool, &manager, &mut random).await, SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no operation panics");
    }
    manager.script(|script| *script = Default::default());
    pool.resize(2, MAX).expect("it makes sense");
    pool.resume();
    let mut all = Vec::new();
    for _ in 0..MAX {
        // In a task of its own: one that has connections and waits for another is told so.
        let patient = tokio::spawn(patient(pool.clone()));
        all.push(patient.await.expect("a slot was lost"));
    }
    assert!(pool.try_get().is_err(), "there are no more than there may be");
    let status = pool.status();
    assert_eq!((status.in_use, status.idle, status.waiting), (MAX, 0, 0), "{status:?}");
    assert!(manager.live_max() <= u64::from(MAX), "{} lived at once", manager.live_max());
    pool.check_invariants();
    let got = got.load(SeqCst);
    assert!(got > operations / 20, "{got} connections were had in {operations} operations");
    drop(all);
    pool.close(Duration::from_secs(10)).await.expect("nobody has a connection");
    assert_eq!(manager.live(), 0);
    got
}

/// Gets a connection, although the last that were to be opened may have failed just now.
async fn patient(pool: Pool<FakeManager>) -> OwnedGuard<FakeManager> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match pool.get_owned_timeout(Duration::from_secs(20)).await {
            Ok(connection) => return connection,
            Err(Error::Unreachable { retry_after, .. }) if Instant::now() < deadline => {
                tokio::time::sleep(retry_after).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Does one thing; returns how many connections were had.
async fn operate(
    pool: &Pool<FakeManager>,
    manager: &FakeManager,
    random: &mut headpond_core::Random,
) -> u64 {
    let draw = random.next_u64();
    let detail = draw >> 32;
    match draw % 1000 {
        0..600 => {
            let Ok(mut connection) = pool.get().await else { return 0 };
            match detail % 50 {
                0 => connection.fate = Fate::Reset,
                1 => connection.kill(),
                2 => connection.discard(),
                3 => {
                    connection.let_go();
                    drop(connection.detach());
                }
                4..10 => tokio::task::yield_now().await,
                10 => tokio::time::sleep(Duration::from_micros(detail % 900)).await,
                _ => {}
            }
            1
        }
        600..850 => {
            // Dropped at a random point.
            let get = pool.get_owned().priority(Priority::High);
            let patience = Duration::from_micros(detail % 300);
            u64::from(matches!(tokio::time::timeout(patience, get).await, Ok(Ok(_))))
        }
        850..950 => u64::from(pool.try_get().is_ok()),
        950..960 => {
            let max = 1 + u32::try_from(detail % u64::from(MAX)).expect("a small number");
            pool.resize(0, max).expect("it makes sense");
            0
        }
        960..962 => {
            pool.pause();
            tokio::task::yield_now().await;
            pool.resume();
            0
        }
        962..964 => {
            pool.evict();
            0
        }
        964..970 => {
            let connect = match detail % 6 {
                0 => Connect::Fails(headpond::ConnectFailure::Refused),
                1 => Connect::Fails(headpond::ConnectFailure::TooMany),
                2 => Connect::Hangs,
                _ => Connect::Succeeds,
            };
            manager.script(|script| {
                script.connect = connect;
                script.ping_fails = detail & 64 != 0;
                script.reset_fails = detail & 128 != 0;
            });
            0
        }
        970..980 => {
            manager.script(|script| *script = Default::default());
            0
        }
        _ => {
            let status = pool.status();
            assert!(status.size <= MAX, "{status:?}");
            0
        }
    }
}
