//! How large the pool should be: what it advises, and what it does by itself if asked to.

use headpond::{Pool, Reason, Sizing, testing::FakeManager};

use super::bench::{ms, pool_with, s};

/// Lets so many tasks lend connections for `hold` each, with a pause between.
async fn load(pool: &Pool<FakeManager>, tasks: u32, hold: u64, pause: u64, seconds: u64) {
    let until = tokio::time::Instant::now() + s(seconds);
    let tasks: Vec<_> = (0..tasks)
        .map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ms(u64::from(number))).await;
                while tokio::time::Instant::now() < until {
                    let connection = pool.get().await.unwrap();
                    tokio::time::sleep(ms(hold)).await;
                    drop(connection);
                    tokio::time::sleep(ms(pause)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn advice_follows_from_what_was_seen() {
    let (pool, _) = pool_with(20, |builder| builder.connects_max(20));
    assert!(pool.advice().is_none(), "nothing was seen yet");
    load(&pool, 10, 10, 40, 30).await;
    let advice = pool.advice().expect("thirty seconds were seen");
    assert!((advice.arrivals_per_s - 200.0).abs() < 20.0, "{advice}");
    assert!((advice.busy - 2.0).abs() < 0.3, "{advice}");
    assert!((4..=6).contains(&advice.recommended), "{advice}");
    assert!(advice.to_string().starts_with("20 connections at most, "), "{advice}");
    assert_eq!(pool.status().max, 20, "advice changes nothing");
    assert!(pool.size_changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_may_grows_while_callers_wait_and_shrinks_when_it_is_quiet() {
    let bounds = Sizing::Auto { min: 2, max: 12 };
    let (pool, manager) = pool_with(4, |builder| builder.sizing(bounds));
    load(&pool, 24, 10, 0, 200).await;
    assert_eq!(pool.status().max, 12, "{:?}", pool.size_changes());
    assert!(manager.live_max() <= 12);
    let grown = pool.size_changes();
    assert!(grown.iter().all(|change| change.to == change.from + 1), "one step at a time");
    assert!(matches!(grown[0].because, Reason::Exhausted { .. }));
    load(&pool, 1, 10, 20, 200).await;
    assert_eq!(pool.status().max, 2, "{:?}", pool.size_changes());
    let last = pool.size_changes().pop().expect("it shrank");
    assert!(last.because.to_string().ends_with("were busy"), "{}", last.because);
}
