//! How connections are kept, checked, cleaned, replaced and closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use headpond::testing::Connect;
use headpond::{Check, Error, Fate};

use super::bench::{ms, pool, pool_with, s, settle};

#[tokio::test(start_paused = true)]
async fn a_connection_that_rested_is_checked_before_it_is_lent() {
    let (pool, manager) = pool_with(1, |builder| builder.check_after(Some(s(1))).keep_alive(None));
    drop(pool.get().await.unwrap());
    drop(pool.get().await.unwrap());
    assert_eq!(manager.pings(), 0, "it did not rest");
    tokio::time::sleep(s(2)).await;
    drop(pool.get().await.unwrap());
    assert_eq!(manager.pings(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_fails_its_check_is_replaced_before_the_caller_hears_of_it() {
    let (pool, manager) = pool_with(1, |builder| builder.check_after(Some(s(1))));
    drop(pool.get().await.unwrap());
    manager.script(|script| script.ping_fails = true);
    tokio::time::sleep(s(2)).await;
    assert_eq!(pool.get().await.unwrap().number, 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_looks_dead_is_not_lent() {
    let (pool, _) = pool(2);
    let switch = {
        let connection = pool.get().await.unwrap();
        connection.switch()
    };
    switch.store(true, SeqCst);
    assert_eq!(pool.get().await.unwrap().number, 2);
}

#[tokio::test(start_paused = true)]
async fn a_dirty_connection_is_cleaned_before_anybody_gets_it() {
    let (pool, manager) = pool(1);
    pool.get().await.unwrap().fate = Fate::Reset;
    let connection = pool.get().await.unwrap();
    assert_eq!((connection.number, connection.fate), (1, Fate::Reuse));
    assert_eq!(manager.resets(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_reset_costs_a_connection_and_no_capacity() {
    let (pool, manager) = pool_with(1, |builder| builder.reset_timeout(ms(200)));
    manager.script(|script| script.reset_delay = s(3600));
    pool.get().await.unwrap().fate = Fate::Reset;
    assert_eq!(pool.get().await.unwrap().number, 2);
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn every_return_can_be_checked() {
    let (pool, manager) = pool_with(1, |builder| builder.check_on_return(Check::Ping));
    drop(pool.get().await.unwrap());
    drop(pool.get().await.unwrap());
    settle().await;
    assert_eq!(manager.pings(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worn_out_connection_is_replaced() {
    let (pool, _) = pool_with(1, |builder| builder.uses_max(Some(10)));
    for use_number in 0..30 {
        let connection = pool.get().await.unwrap();
        assert_eq!(connection.number, 1 + use_number / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_replaced() {
    let (pool, _) = pool_with(1, |builder| builder.lifetime(Some(s(60))));
    for _ in 0..120 {
        drop(pool.get().await.unwrap());
        tokio::time::sleep(ms(500)).await;
    }
    assert_eq!(pool.get().await.unwrap().number, 2);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_is_open_before_the_old_connection_closes() {
    let (pool, manager) = pool_with(4, |builder| {
        builder.min(2).lifetime(Some(s(60))).keep_alive(None).check_after(None)
    });
    manager.script(|script| script.connect_delay = ms(300));
    pool.warm_up(s(5)).await.unwrap();
    for _ in 0..3000 {
        tokio::time::sleep(ms(100)).await;
        assert!(manager.live() >= 2, "there are always as many as are kept");
    }
    assert!(manager.connects() >= 8, "they were replaced: {}", manager.connects());
    assert!(manager.live_max() <= 4);
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_down_to_the_minimum_and_kept_alive() {
    let (pool, manager) = pool_with(8, |builder| {
        builder.min(2).idle_timeout(Some(s(30))).keep_alive(Some(s(10))).connects_max(8)
    });
    let held: Vec<_> = futures(&pool, 8).await;
    assert_eq!(manager.live(), 8);
    drop(held);
    tokio::time::sleep(s(60)).await;
    assert_eq!(manager.live(), 2, "{:?}", pool.status());
    let pings = manager.pings();
    tokio::time::sleep(s(25)).await;
    assert!(manager.pings() >= pings + 4, "both are asked every ten seconds");
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_load_shrinks_a_pool_that_was_large() {
    let (pool, manager) =
        pool_with(8, |builder| builder.idle_timeout(Some(s(3))).keep_alive(None).connects_max(8));
    drop(futures(&pool, 8).await);
    for _ in 0..500 {
        drop(pool.get().await.unwrap());
        tokio::time::sleep(ms(20)).await;
    }
    assert_eq!(manager.live(), 1);
}

#[tokio::test(start_paused = true)]
async fn hung_and_panicking_connects_cost_no_capacity() {
    let (pool, manager) = pool_with(4, |builder| {
        builder.connect_timeout(ms(250)).acquire_timeout(Some(ms(300))).breaker(None)
    });
    for trouble in [Connect::Panics, Connect::Hangs] {
        manager.script(|script| script.connect = trouble);
        for _ in 0..8 {
            assert!(pool.get().await.is_err());
        }
    }
    manager.script(|script| script.connect = Connect::Succeeds);
    tokio::time::sleep(s(2)).await;
    assert_eq!(futures(&pool, 4).await.len(), 4);
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn hooks_see_a_connection_at_each_step() {
    let seen: Arc<[AtomicU32; 5]> = Arc::default();
    let count = |index: usize| {
        let seen = Arc::clone(&seen);
        move || seen[index].fetch_add(1, SeqCst)
    };
    let (before, after, acquire) = (count(0), count(1), count(2));
    let (release, disconnect) = (count(3), count(4));
    let (pool, _) = pool_with(1, |builder| {
        builder
            .before_connect(move || {
                before();
                async { Ok(()) }
            })
            .after_connect(move |_| {
                after();
                Box::pin(async { Ok(()) })
            })
            .on_acquire(move |connection| {
                acquire();
                let refuse = connection.number == 1 && connection.uses == 1;
                connection.uses += 1;
                Box::pin(async move { if refuse { Err("used once".into()) } else { Ok(()) } })
            })
            .on_release(move |_| {
                release();
                Box::pin(async { Ok(()) })
            })
            .before_disconnect(move |_| {
                disconnect();
                Box::pin(async {})
            })
    });
    drop(pool.get().await.unwrap());
    let second = pool.get().await.unwrap();
    assert_eq!(second.number, 2, "the hook refused the first one the second time");
    drop(second);
    settle().await;
    pool.close(s(1)).await.unwrap();
    let seen: Vec<u32> = seen.iter().map(|count| count.load(SeqCst)).collect();
    assert_eq!(seen, [2, 2, 3, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_refuses_everything_is_named() {
    let (pool, _) =
        pool_with(2, |builder| builder.on_acquire(|_| Box::pin(async { Err("not today".into()) })));
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }));
    assert!(error.to_string().ends_with("not today"), "{error}");
    settle().await;
    assert_eq!(pool.status().in_use, 0);
}

/// Takes so many connections at once.
async fn futures(
    pool: &headpond::Pool<headpond::testing::FakeManager>,
    count: usize,
) -> Vec<headpond::OwnedGuard<headpond::testing::FakeManager>> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(pool.get_owned().await.unwrap());
    }
    held
}
