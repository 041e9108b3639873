//! Who gets a connection, and when.

use std::sync::Arc;

use headpond::{Error, Priority};
use parking_lot::Mutex;

use super::bench::{ms, pool, pool_with, s, settle};

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_is_lent_again() {
    let (pool, manager) = pool(2);
    for _ in 0..100 {
        let connection = pool.get().await.unwrap();
        assert_eq!(connection.number, 1);
    }
    assert_eq!(manager.connects(), 1);
    assert_eq!(pool.status().totals.acquired, 100);
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn the_maximum_is_never_exceeded() {
    let (pool, manager) = pool(3);
    manager.script(|script| script.connect_delay = ms(5));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let connection = pool.get().await.unwrap();
                    tokio::time::sleep(ms(1)).await;
                    drop(connection);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(manager.live_max(), 3);
    assert_eq!(pool.status().totals.acquired, 1000);
    assert_eq!(pool.status().in_use, 0);
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_is_served_first() {
    let (pool, _) = pool(1);
    let first = pool.get().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..20 {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let connection = pool.get().await.unwrap();
            order.lock().push(number);
            drop(connection);
        }));
        settle().await;
    }
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_who_waits() {
    let (pool, _) = pool(1);
    let first = pool.get().await.unwrap();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.map(|connection| connection.number) }
    });
    settle().await;
    drop(first);
    // The waiter has not run yet, but the connection is its own already.
    assert!(matches!(pool.try_get(), Err(Error::Busy { .. })));
    assert_eq!(waiter.await.unwrap().unwrap(), 1);
    assert!(pool.try_get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_passes_its_connection_on() {
    let (pool, manager) = pool(1);
    let first = pool.get().await.unwrap();
    let mut granted = Box::pin(pool.get());
    assert!(futures_poll(&mut granted).await.is_none());
    let mut next = Box::pin(pool.get());
    assert!(futures_poll(&mut next).await.is_none());
    drop(first);
    drop(granted);
    assert_eq!(next.await.unwrap().number, 1);
    assert_eq!(manager.connects(), 1);
    pool.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_whatever_connection_comes_first() {
    let (pool, manager) = pool(2);
    let first = pool.get().await.unwrap();
    manager.script(|script| script.connect_delay = s(5));
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.map(|connection| connection.number) }
    });
    settle().await;
    drop(first);
    assert_eq!(waiter.await.unwrap().unwrap(), 1, "it did not wait for the connect");
}

#[tokio::test(start_paused = true)]
async fn try_get_opens_nothing() {
    let (pool, manager) = pool(2);
    assert!(matches!(pool.try_get(), Err(Error::Busy { .. })));
    settle().await;
    assert_eq!(manager.connects(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses() {
    let (pool, _) = pool_with(1, |builder| builder.queue_max(Some(1)));
    let _held = pool.get().await.unwrap();
    let mut first = Box::pin(pool.get());
    assert!(futures_poll(&mut first).await.is_none());
    assert!(matches!(pool.get().await, Err(Error::QueueFull { waiting: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_burst_on_a_cold_pool_opens_as_many_as_there_may_be() {
    let (pool, manager) = pool_with(10, |builder| builder.connects_max(10));
    manager.script(|script| script.connect_delay = ms(5));
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get().await.map(drop).unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(manager.connects(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_urgent_go_first_but_nobody_is_overtaken_for_ever() {
    let (pool, _) = pool_with(1, |builder| builder.priority_step(s(1)));
    let held = pool.get().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let ask = |name: &'static str, priority| {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            let connection = pool.get().priority(priority).await.unwrap();
            order.lock().push(name);
            drop(connection);
        })
    };
    let mut tasks = Vec::new();
    for (name, priority, pause) in [
        ("patient", Priority::Low, 1500),
        ("low", Priority::Low, 0),
        ("first", Priority::Normal, 0),
        ("second", Priority::Normal, 0),
        ("urgent", Priority::High, 0),
        ("late", Priority::Normal, 0),
    ] {
        tasks.push(ask(name, priority));
        settle().await;
        tokio::time::sleep(ms(pause)).await;
    }
    pool.check_invariants();
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    // "patient" came 1.5 s before the rest: more than one step, less than the two of "urgent".
    assert_eq!(*order.lock(), ["urgent", "patient", "first", "second", "late", "low"]);
}

/// Polls once; the value if it is there.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
