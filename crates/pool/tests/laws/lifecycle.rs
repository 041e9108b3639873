//! A pool as a whole: other sizes, a pause, new connections, an end.

use headpond::Error;

use super::bench::{ms, pool, pool_with, s, settle};

#[tokio::test(start_paused = true)]
async fn a_warm_pool_has_its_minimum_open() {
    let (pool, manager) = pool_with(8, |builder| builder.min(3));
    pool.warm_up(s(5)).await.unwrap();
    assert!(manager.live() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_large_pool_is_warm_as_soon_as_its_connects_are_over() {
    let (pool, manager) = pool_with(64, |builder| builder.min(64).connects_max(8));
    // The clock moves only when everybody waits for it: connects that take no time pass none.
    pool.warm_up(ms(100)).await.unwrap();
    assert_eq!(manager.live(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_that_takes_too_long_is_no_place_in_a_queue() {
    let (pool, manager) = pool_with(8, |builder| builder.min(3));
    manager.script(|script| script.connect = headpond::testing::Connect::Hangs);
    let error = pool.warm_up(ms(100)).await.unwrap_err();
    assert!(error.is_timeout() && !error.to_string().contains("queue"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_that_cannot_succeed_gives_the_cause() {
    let (pool, manager) = pool_with(8, |builder| builder.min(3));
    let rejected = headpond::ConnectFailure::Rejected;
    manager.script(|script| script.connect = headpond::testing::Connect::Fails(rejected));
    let error = pool.warm_up(s(5)).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_smaller_pool_closes_what_is_too_many() {
    let (pool, manager) = pool_with(8, |builder| builder.connects_max(8));
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(pool.get().await.unwrap());
    }
    pool.resize(0, 3).unwrap();
    drop(held);
    settle().await;
    assert_eq!(manager.live(), 3);
    assert_eq!(pool.status().max, 3);
    pool.resize(0, 5).unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.get().await.unwrap());
    }
    assert!(pool.get_timeout(ms(10)).await.unwrap_err().is_timeout());
}

#[tokio::test(start_paused = true)]
async fn settings_without_sense_change_nothing() {
    let (pool, _) = pool(4);
    assert_eq!(pool.resize(5, 4).unwrap_err().to_string(), "min is 5, more than max, which is 4");
    assert!(pool.resize(0, 0).is_err());
    assert_eq!(pool.settings().max, 4);
}

#[tokio::test(start_paused = true)]
async fn a_paused_pool_lends_nothing_and_goes_on_where_it_stopped() {
    let (pool, _) = pool(2);
    drop(pool.get().await.unwrap());
    pool.pause();
    assert!(pool.try_get().is_err());
    let error = pool.get_timeout(ms(50)).await.unwrap_err();
    assert!(error.to_string().contains("phase pause"), "{error}");
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.map(drop) }
    });
    settle().await;
    assert_eq!(pool.status().waiting, 1);
    pool.resume();
    waiter.await.unwrap().unwrap();
    drop(pool.get().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn evicted_connections_are_not_lent_again() {
    let (pool, _) = pool(2);
    let held = pool.get().await.unwrap();
    drop(pool.get().await.unwrap());
    pool.evict();
    drop(held);
    settle().await;
    assert!(pool.get().await.unwrap().number > 2);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_loans_and_names_those_that_stay() {
    let (pool, manager) = pool(2);
    let held = pool.get_owned().await.unwrap();
    let line = line!() - 1;
    let left = pool.close(s(1)).await.unwrap_err();
    assert_eq!(left.holders.len(), 1);
    assert_eq!(left.holders[0].site.line(), line);
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close(s(10)).await }
    });
    settle().await;
    drop(held);
    closing.await.unwrap().unwrap();
    assert_eq!(manager.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_detached_connection_leaves_its_place_free() {
    let (pool, manager) = pool(1);
    let own = pool.get().await.unwrap().detach();
    let next = pool.get().await.unwrap();
    assert_eq!((own.number, next.number), (1, 2));
    assert_eq!(manager.live(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_with_a_connection_closes_it() {
    let (pool, manager) = pool(1);
    let panicked = tokio::spawn({
        let pool = pool.clone();
        async move {
            let _held = pool.get().await.unwrap();
            panic!("a pretended panic of a handler");
        }
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(pool.get().await.unwrap().number, 2);
    assert_eq!(manager.live(), 1);
}

#[test]
fn a_guard_may_outlive_its_runtime_and_the_pool_serves_another() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (pool, _) = pool(2);
    let held = first.block_on(async { pool.get_owned().await.unwrap() });
    drop(first);
    drop(held);
    runtime().block_on(async {
        let connection = pool.get().await.unwrap();
        drop(connection);
    });
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_is_closed_with_the_last_handle() {
    let (pool, manager) = pool(2);
    drop(pool.get().await.unwrap());
    assert_eq!(manager.live(), 1);
    drop(pool);
    settle().await;
    assert_eq!(manager.live(), 0);
}
