//! Laws of trying again, on a clock that the tests turn.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use headpond::retry::{
    Backoff, Budget, Fault, Jitter, Policy, Repeats, Retryable, execute_with_retry,
};
use headpond::testing::{Connect, FakeManager};
use headpond::{ConnectFailure, Error, OnFailing, Pool, breaker};
use tokio::time::Instant;

const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;
const RESET: io::ErrorKind = io::ErrorKind::ConnectionReset;

fn plain() -> Policy {
    Policy::default().backoff(Backoff { jitter: Jitter::None, ..Backoff::default() })
}

/// Runs an operation that fails in the same way for ever; returns attempts and milliseconds.
async fn course(policy: &Policy, kind: io::ErrorKind) -> (u32, u128) {
    let attempts = AtomicU32::new(0);
    let began = Instant::now();
    let outcome = policy
        .run(async || {
            attempts.fetch_add(1, SeqCst);
            Err::<(), _>(io::Error::from(kind))
        })
        .await;
    assert_eq!(outcome.unwrap_err().kind(), kind, "the last error comes out");
    (attempts.load(SeqCst), began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn five_retries_follow_the_first_attempt_with_growing_pauses() {
    let (attempts, ms) = course(&plain(), REFUSED).await;
    // 100 + 150 + 225 + 337.5 + 506.25, each rounded up by the timer.
    assert_eq!(attempts, 6);
    assert!((1318..=1325).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_is_told_at_once() {
    assert_eq!(course(&plain(), io::ErrorKind::PermissionDenied).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_run_is_repeated_only_if_it_is_idempotent() {
    assert_eq!(course(&plain(), RESET).await, (1, 0));
    assert_eq!(course(&plain().repeats(Repeats::Idempotent), RESET).await.0, 6);
}

#[tokio::test(start_paused = true)]
async fn no_retry_begins_after_the_time_is_over() {
    let policy = plain().max_elapsed(Duration::from_millis(300));
    let (attempts, ms) = course(&policy, REFUSED).await;
    assert_eq!(attempts, 3, "the third pause would have ended too late");
    assert!(ms <= 300, "{ms}");
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_be_left_alone_is_honoured() {
    let began = Instant::now();
    let attempts = AtomicU32::new(0);
    let wish = |_: &()| (Retryable::Connection(Fault::Refused), Some(Duration::from_secs(7)));
    let operation = async || match attempts.fetch_add(1, SeqCst) {
        0 => Err(()),
        _ => Ok(()),
    };
    execute_with_retry(&plain(), wish, operation).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 7);

    let wish = |_: &()| (Retryable::Connection(Fault::Refused), Some(Duration::from_secs(31)));
    let began = Instant::now();
    let outcome: Result<(), ()> = execute_with_retry(&plain(), wish, async || Err(())).await;
    assert!(outcome.is_err() && began.elapsed().is_zero(), "it would be too late anyway");
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_bounded_by_the_budget() {
    let policy = plain();
    let retrying = |policy: Policy| {
        tokio::spawn(async move {
            policy.run(async || Err::<(), _>(io::Error::from(REFUSED))).await.unwrap_err()
        })
    };
    let storm: Vec<_> = (0..100).map(|_| retrying(policy.clone())).collect();
    for task in storm {
        task.await.unwrap();
    }
    let totals = policy.totals();
    // Each failed at once and was gone: no more than the least number were ever retrying.
    assert_eq!((totals.failed_with_retry, totals.over_budget), (3, 97));
    assert_eq!(course(&policy, REFUSED).await.0, 6, "afterwards there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_fifth_of_what_is_under_way_may_retry() {
    let policy = plain().budget(Budget { percent: 20, least: 1 });
    let busy: Vec<_> = (0..50)
        .map(|_| {
            let policy = policy.clone();
            tokio::spawn(async move {
                policy.run(async || std::future::pending::<io::Result<()>>().await).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let storm: Vec<_> = (0..50)
        .map(|_| {
            let policy = policy.clone();
            tokio::spawn(async move {
                let _ = policy.run(async || Err::<(), _>(io::Error::from(REFUSED))).await;
            })
        })
        .collect();
    for task in storm {
        task.await.unwrap();
    }
    let retried = policy.totals().failed_with_retry;
    assert!((10..=20).contains(&retried), "{retried} of 100 under way");
    for task in busy {
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_operation_gives_its_place_in_the_budget_back() {
    let policy = plain().budget(Budget { percent: 0, least: 1 });
    for _ in 0..3 {
        let attempt = policy.run(async || Err::<(), _>(io::Error::from(REFUSED)));
        let cut = tokio::time::timeout(Duration::from_millis(50), attempt).await;
        assert!(cut.is_err(), "it was in its first pause");
    }
    assert_eq!(course(&policy, REFUSED).await.0, 6);
}

#[tokio::test(start_paused = true)]
async fn a_pool_timeout_is_not_retried_and_an_unreachable_server_is() {
    let manager = FakeManager::default();
    let mut settings = headpond::Settings::default();
    (settings.max, settings.min) = (1, 0);
    (settings.on_failing, settings.breaker) = (OnFailing::FailFast, None);
    let pool = Pool::builder(manager.clone()).settings(settings).tokio_clock().build().unwrap();
    let held = pool.get().await.unwrap();
    let attempts = AtomicU32::new(0);
    let busy = plain()
        .run(async || {
            attempts.fetch_add(1, SeqCst);
            pool.get_timeout(Duration::from_millis(10)).await
        })
        .await;
    assert!(busy.unwrap_err().is_timeout());
    assert_eq!(attempts.load(SeqCst), 1);

    held.discard();
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Refused));
    let healed = plain()
        .run(async || {
            let got = pool.get().await;
            manager.script(|script| script.connect = Connect::Succeeds);
            got
        })
        .await;
    assert!(healed.is_ok(), "{healed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_waited_for() {
    let manager = FakeManager::default();
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Refused));
    let pause = Duration::from_secs(5);
    let mut breaker = breaker::Settings::default();
    (breaker.calls_min, breaker.open_first, breaker.open_max) = (1, pause, pause);
    let pool = Pool::builder(manager.clone())
        .max(1)
        .min(0)
        .breaker(Some(breaker))
        .seed(1)
        .tokio_clock()
        .build()
        .unwrap();
    // The failed connect opens the breaker.
    let _ = pool.get_timeout(Duration::from_millis(10)).await;
    let error = pool.get().await.unwrap_err();
    let Error::CircuitOpen { retry_after, .. } = &error else { panic!("{error}") };
    let wait = *retry_after;
    manager.script(|script| script.connect = Connect::Succeeds);
    let began = Instant::now();
    let got = plain().run(async || pool.get().await).await;
    assert!(got.is_ok(), "{got:?}");
    assert!(began.elapsed() >= wait - Duration::from_millis(20), "{:?} {wait:?}", began.elapsed());
}
