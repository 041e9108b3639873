//! What callers are told.

use headpond::testing::Connect;
use headpond::{ConnectFailure, Error, Nested, OnFailing, Phase};

use super::bench::{ms, pool, pool_with, s, settle};

#[tokio::test(start_paused = true)]
async fn a_timeout_says_what_it_waited_for_and_who_has_the_connections() {
    let (pool, _) = pool_with(1, |builder| builder.name("main").acquire_timeout(Some(s(3))));
    let _held = pool.get().await.unwrap();
    let line = line!() - 1;
    let error = pool.get().await.unwrap_err();
    let Error::Timeout(timeout) = &error else { panic!("{error}") };
    assert_eq!((timeout.phase, timeout.position, timeout.waited), (Phase::Queue, 1, s(3)));
    assert_eq!((timeout.status.size, timeout.status.in_use, timeout.status.idle), (1, 1, 0));
    assert_eq!(timeout.oldest.unwrap().site.line(), line);
    let text = error.to_string();
    let said = "pool main: no connection within 3.0s (phase queue, place 1 of 1 in the queue; \
                total=1, in_use=1, idle=0, connecting=0, max=1; oldest loan ";
    assert!(text.starts_with(said), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_behind_a_connect_says_so_and_gives_the_cause() {
    let (pool, manager) = pool_with(1, |builder| {
        let builder = builder.on_failing(OnFailing::Hold);
        builder.acquire_timeout(Some(ms(400))).connect_timeout(ms(100))
    });
    manager.script(|script| script.connect = Connect::Hangs);
    let error = pool.get().await.unwrap_err();
    let Error::Timeout(timeout) = &error else { panic!("{error}") };
    assert_eq!(timeout.phase, Phase::Connect);
    let cause = timeout.cause.as_ref().expect("connects were failing").to_string();
    assert_eq!(cause, "no connection within 100ms");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_login_is_told_at_once() {
    let (pool, manager) = pool(2);
    let rejected = Connect::Fails(ConnectFailure::Rejected);
    manager.script(|script| script.connect = rejected);
    let before = tokio::time::Instant::now();
    let error = pool.get().await.unwrap_err();
    assert!(before.elapsed() < ms(100));
    assert!(matches!(error, Error::Rejected { cause: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("pretended failure: Rejected"));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_says_when_to_come_again() {
    let breaker = headpond::breaker::Settings::simple(5, s(30));
    let (pool, manager) = pool_with(2, |builder| builder.breaker(Some(breaker)));
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Refused));
    let error = pool.get().await.unwrap_err();
    let Error::CircuitOpen { retry_after, cause, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, s(30));
    assert!(cause.is_some());
    let connects = manager.connects();
    assert_eq!(connects, 5, "it waited through five failures and was told at once then");
    // The server is back, but until the wait is over nobody tries.
    manager.script(|script| script.connect = Connect::Succeeds);
    tokio::time::sleep(s(29)).await;
    assert!(matches!(pool.get().await, Err(Error::CircuitOpen { .. })));
    assert_eq!(manager.connects(), connects);
    tokio::time::sleep(s(1)).await;
    drop(pool.get().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_told_at_once_and_probed_all_the_while() {
    let (pool, manager) = pool(4);
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Refused));
    let began = tokio::time::Instant::now();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { cause: Some(_), .. }), "{error}");
    assert!(began.elapsed() < s(1));
    tokio::time::sleep(s(2) - began.elapsed()).await;
    assert!((8..=20).contains(&manager.connects()), "{} connects", manager.connects());
    manager.script(|script| script.connect = Connect::Succeeds);
    let healed = tokio::time::Instant::now();
    while pool.get().await.is_err() {
        tokio::time::sleep(ms(10)).await;
    }
    assert!(healed.elapsed() <= ms(260), "{:?}", healed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_would_wait_for_itself_is_told_at_once() {
    let (pool, _) = pool(1);
    let asked = tokio::spawn(async move {
        let _held = pool.get().await.unwrap();
        pool.get().await.map(drop).unwrap_err()
    });
    let error = asked.await.unwrap();
    assert!(matches!(error, Error::Nested { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_all_wait_for_each_other_are_not_left_waiting() {
    let (pool, _) = pool(4);
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(4));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (pool, barrier) = (pool.clone(), barrier.clone());
            tokio::spawn(async move {
                let _held = pool.get().await.unwrap();
                barrier.wait().await;
                pool.get().await.map(drop)
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(refused, 1, "one steps back, the others are served: {outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_may_have_two_connections_if_nobody_has_to_wait() {
    let (pool, _) = pool_with(2, |builder| builder.nested(Nested::Refuse));
    tokio::spawn(async move {
        let _first = pool.get().await.unwrap();
        let _second = pool.get().await.unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_says_so() {
    let (pool, _) = pool(1);
    pool.close(s(1)).await.unwrap();
    assert!(matches!(pool.get().await, Err(Error::Closed { .. })));
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let (pool, _) = {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        pool(1)
    };
    let mut get = Box::pin(pool.get());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match get.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(Err(Error::NoRuntime { .. })) => {}
        _ => panic!("expected the lack of a runtime to be named"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_leak_is_counted_once_and_long_jobs_are_learnt() {
    let (pool, _) = pool_with(2, |builder| builder.leak_after(Some(s(1))));
    let held = pool.get().await.unwrap();
    tokio::time::sleep(s(20)).await;
    settle().await;
    assert_eq!(pool.status().totals.leaks, 1);
    drop(held);
    // From here on this place is known to take two seconds.
    for _ in 0..30 {
        let job = pool.get().await.unwrap();
        tokio::time::sleep(ms(900)).await;
        drop(job);
    }
    let before = pool.status().totals.leaks;
    let site = || pool.get();
    for _ in 0..30 {
        let job = site().await.unwrap();
        tokio::time::sleep(ms(900)).await;
        drop(job);
    }
    let long = site().await.unwrap();
    tokio::time::sleep(s(5)).await;
    assert_eq!(pool.status().totals.leaks, before, "five times the usual is no leak");
    tokio::time::sleep(s(10)).await;
    assert_eq!(pool.status().totals.leaks, before + 1, "more than ten times is");
    drop(long);
}
