//! Laws of a budget that several pools share, and of the events of a pool.

use std::time::Duration;

use headpond::testing::{Connect, FakeManager};
use headpond::{Budget, Builder, CloseReason, ConnectFailure, Event, EventKind, Pool};
use proptest::prelude::*;

fn pool(budget: &Budget, max: u32) -> (Pool<FakeManager>, FakeManager) {
    pool_with(budget, max, |builder| builder)
}

fn pool_with(
    budget: &Budget,
    max: u32,
    more: impl FnOnce(Builder<FakeManager>) -> Builder<FakeManager>,
) -> (Pool<FakeManager>, FakeManager) {
    let manager = FakeManager::default();
    let builder = Pool::builder(manager.clone()).max(max).min(0).seed(7).tokio_clock();
    (more(builder.budget(budget)).build().unwrap(), manager)
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn pools_never_have_more_connections_together_than_the_budget() {
    let budget = Budget::new(3);
    let ((one, a), (two, b)) = (pool(&budget, 8), pool(&budget, 8));
    let held = [one.get().await.unwrap(), one.get().await.unwrap(), two.get().await.unwrap()];
    assert!(two.get_timeout(ms(100)).await.unwrap_err().is_timeout());
    assert!(one.get_timeout(ms(100)).await.unwrap_err().is_timeout());
    assert_eq!((a.live() + b.live(), budget.used()), (3, 3));
    drop(held);
    settle().await;
    assert_eq!((one.status().waiting, two.status().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_another_pool_is_closed_for_one_who_waits() {
    let budget = Budget::new(2);
    let ((one, a), (two, b)) = (pool(&budget, 8), pool(&budget, 8));
    drop((one.get().await.unwrap(), one.get().await.unwrap()));
    settle().await;
    assert_eq!(one.status().idle, 2);
    let _got = two.get_timeout(ms(100)).await.unwrap();
    assert_eq!((a.live(), b.live(), budget.used()), (1, 1, 2), "one went, not both");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_goes_to_the_pool_in_need() {
    let budget = Budget::new(1);
    let ((one, _), (two, _)) = (pool(&budget, 8), pool(&budget, 8));
    let held = one.get().await.unwrap();
    let waiter = tokio::spawn({
        let two = two.clone();
        async move { two.get_owned_timeout(ms(1000)).await.map(drop) }
    });
    settle().await;
    assert_eq!(two.status().waiting, 1);
    drop(held);
    waiter.await.unwrap().unwrap();
    settle().await;
    assert_eq!((one.status().size, two.status().size, budget.used()), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_of_the_own_pool_comes_first() {
    let budget = Budget::new(1);
    let ((one, _), (two, _)) = (pool(&budget, 8), pool(&budget, 8));
    let held = one.get().await.unwrap();
    let waiters: Vec<_> = [&two, &one]
        .map(|pool| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get_owned_timeout(ms(1000)).await })
        })
        .into_iter()
        .collect();
    settle().await;
    drop(held);
    let mut guards = Vec::new();
    for waiter in waiters.into_iter().rev() {
        guards.push(waiter.await.unwrap().unwrap());
        guards.clear();
        settle().await;
    }
    assert_eq!((one.status().size, two.status().size), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn keeping_a_minimum_takes_nothing_from_others() {
    let budget = Budget::new(2);
    let (one, a) = pool(&budget, 8);
    drop((one.get().await.unwrap(), one.get().await.unwrap()));
    let (two, b) = pool_with(&budget, 8, |builder| builder.min(2));
    assert!(two.warm_up(ms(500)).await.is_err());
    assert_eq!((a.live(), b.live()), (2, 0));
    assert_eq!(one.status().idle, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_connect_gives_its_place_back() {
    let budget = Budget::new(1);
    let ((one, a), (two, _)) = (pool(&budget, 8), pool(&budget, 8));
    a.script(|script| script.connect = Connect::Fails(ConnectFailure::Rejected));
    for _ in 0..5 {
        one.get_timeout(ms(100)).await.unwrap_err();
        settle().await;
        assert_eq!(budget.used(), 0);
    }
    drop(two.get_timeout(ms(100)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_gone_leaves_nothing_taken() {
    let budget = Budget::new(2);
    let (one, _) = pool(&budget, 8);
    let (two, _) = pool(&budget, 8);
    drop((one.get().await.unwrap(), one.get().await.unwrap()));
    let waiter = tokio::spawn({
        let two = two.clone();
        async move { two.get_owned_timeout(ms(5000)).await.map(drop) }
    });
    drop(one);
    waiter.await.unwrap().unwrap();
    two.close(ms(1000)).await.unwrap();
    assert_eq!(budget.used(), 0);
    drop(two);
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_raised_budget_is_noticed_at_once() {
    let budget = Budget::new(1);
    let (one, _) = pool(&budget, 8);
    let _held = one.get().await.unwrap();
    let waiter = tokio::spawn({
        let one = one.clone();
        async move { one.get_owned_timeout(ms(1000)).await.map(drop) }
    });
    settle().await;
    budget.set_max(2);
    let before = tokio::time::Instant::now();
    waiter.await.unwrap().unwrap();
    assert!(before.elapsed() < ms(10));
}

/// What a task of the storm does.
#[derive(Clone, Copy, Debug)]
struct Step {
    pool: usize,
    patience: u64,
    hold: u64,
    discard: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..3, 1_u64..400, 0_u64..30, any::<bool>());
    let step =
        step.prop_map(|(pool, patience, hold, discard)| Step { pool, patience, hold, discard });
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_budget_holds_and_nobody_is_forgotten(
        max in 1_u32..5,
        steps in steps(),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(storm(max, steps));
    }
}

async fn storm(max: u32, steps: Vec<Step>) {
    let budget = Budget::new(max);
    let pools: Vec<_> = (0..3).map(|_| pool(&budget, 4)).collect();
    for (_, manager) in &pools {
        manager.script(|script| script.connect_delay = ms(3));
    }
    let tasks: Vec<_> = steps
        .into_iter()
        .map(|step| {
            let pool = pools[step.pool].0.clone();
            tokio::spawn(async move {
                let Ok(guard) = pool.get_owned_timeout(ms(step.patience)).await else { return };
                tokio::time::sleep(ms(step.hold)).await;
                if step.discard {
                    guard.discard();
                }
            })
        })
        .collect();
    let live = || pools.iter().map(|(_, manager)| manager.live()).sum::<u64>();
    for task in tasks {
        task.await.unwrap();
        assert!(live() <= u64::from(max) && budget.used() <= max);
    }
    settle().await;
    // Whoever asks now is served: nothing is stuck.
    for (pool, _) in &pools {
        drop(pool.get_timeout(ms(1000)).await.unwrap());
        pool.check_invariants();
    }
    for (pool, _) in &pools {
        pool.close(ms(1000)).await.unwrap();
    }
    settle().await;
    assert_eq!((budget.used(), live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_happens_and_never_hold_anybody_up() {
    let manager = FakeManager::default();
    let builder = Pool::builder(manager.clone()).max(1).min(0).tokio_clock();
    let pool = builder.events(4).build().unwrap();
    let mut listener = pool.events().unwrap();
    drop(pool.get().await.unwrap());
    pool.get().await.unwrap().discard();
    settle().await;
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let Event { kind, .. } = listener.next().await.unwrap();
        kinds.push(kind);
    }
    let (remove, missed) = (EventKind::Remove(Some(CloseReason::Unclean)), EventKind::Missed(1));
    assert_eq!(kinds, [missed, EventKind::Acquire, EventKind::Release, EventKind::Acquire]);
    assert_eq!(listener.next().await.unwrap().kind, remove);
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Rejected));
    pool.get().await.unwrap_err();
    assert_eq!(listener.next().await.unwrap().kind, EventKind::Error);
    let errors = pool.errors();
    assert_eq!(errors.count, 2, "the connect, and the caller who was told");
    assert!(errors.last.unwrap().contains("pretended failure") && errors.last_at.is_some());
    drop(pool);
    while let Some(event) = listener.next().await {
        assert!(matches!(event.kind, EventKind::Remove(_)));
    }
}
