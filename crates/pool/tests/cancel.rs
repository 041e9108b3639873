//! Every future of a pool, dropped after every number of polls: no slot is lost, nobody waits for
//! ever, and the maximum is never exceeded.
//!
//! The pool is single-threaded and its clock stands still but for what the futures themselves wait
//! for, so the number of polls a future needs is the same in each run and every await point is met.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use headpond::testing::{Connect, FakeManager, Script};
use headpond::{Fate, Pool};

const MAX: u32 = 3;

/// A pool in a state that makes futures take their ways.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Nothing is open.
    Cold,
    /// Something is idle.
    Idle,
    /// Something is idle and must be checked.
    Rested,
    /// Everything is lent, and comes back while the future is polled.
    Busy,
    /// What is idle is dirty.
    Dirty,
    /// Connects fail at first.
    Failing,
    /// A hook looks at each loan, with awaits of its own.
    Hooked,
}

const SCENES: [Scene; 7] = [
    Scene::Cold,
    Scene::Idle,
    Scene::Rested,
    Scene::Busy,
    Scene::Dirty,
    Scene::Failing,
    Scene::Hooked,
];

/// What is polled.
#[derive(Clone, Copy, Debug)]
enum What {
    Get,
    GetOwned,
    WarmUp,
    Close,
}

#[test]
fn no_slot_is_lost_wherever_a_future_is_dropped() {
    let mut points = 0;
    for what in [What::Get, What::GetOwned, What::WarmUp, What::Close] {
        for scene in SCENES {
            let mut polls = 0;
            while drop_after(what, scene, polls) == Dropped::Pending {
                polls += 1;
                assert!(polls < 500, "{what:?} in {scene:?} does not come to an end");
            }
            points += polls;
        }
    }
    assert!(points > 60, "the futures were dropped at {points} points");
    println!("dropped at {points} points");
}

#[derive(PartialEq, Eq, Debug)]
enum Dropped {
    Pending,
    AfterItsEnd,
}

fn drop_after(what: What, scene: Scene, polls: usize) -> Dropped {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (pool, manager) = set(scene).await;
        let other = matches!(scene, Scene::Busy).then(|| pool.clone());
        let held = match &other {
            Some(pool) => vec![
                pool.get_owned().await.expect("the pool is empty"),
                pool.get_owned().await.expect("the pool is empty"),
                pool.get_owned().await.expect("the pool is empty"),
            ],
            None => Vec::new(),
        };
        let dropped = poll(what, &pool, polls, held).await;
        if !matches!(what, What::Close) {
            manager.script(|script| *script = Script::default());
            everything_is_there(&pool, &manager, (what, scene, polls)).await;
        }
        dropped
    })
}

async fn set(scene: Scene) -> (Pool<FakeManager>, FakeManager) {
    let manager = FakeManager::default();
    let mut builder = Pool::builder(manager.clone()).max(MAX).min(1).seed(3).tokio_clock();
    builder = builder.acquire_timeout(Some(Duration::from_secs(2)));
    if let Scene::Hooked = scene {
        builder = builder.on_acquire(|_| {
            Box::pin(async {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                Ok(())
            })
        });
    }
    let pool = builder.build().expect("the settings make sense");
    manager.script(|script| {
        script.connect_delay = Duration::from_millis(3);
        script.ping_delay = Duration::from_millis(3);
        script.reset_delay = Duration::from_millis(3);
    });
    match scene {
        Scene::Idle | Scene::Hooked => drop(pool.get().await.expect("it is well")),
        Scene::Rested => {
            drop(pool.get().await.expect("it is well"));
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        Scene::Dirty => pool.get().await.expect("it is well").fate = Fate::Reset,
        Scene::Failing => {
            let refused = Connect::Fails(headpond::ConnectFailure::Refused);
            manager.script(|script| script.connect = refused);
        }
        Scene::Cold | Scene::Busy => {}
    }
    (pool, manager)
}

async fn poll(
    what: What,
    pool: &Pool<FakeManager>,
    polls: usize,
    mut held: Vec<headpond::OwnedGuard<FakeManager>>,
) -> Dropped {
    let mut future: Pin<Box<dyn Future<Output = ()> + '_>> = match what {
        What::Get => Box::pin(async { drop(pool.get().await) }),
        What::GetOwned => Box::pin(async { drop(pool.get_owned().await) }),
        What::WarmUp => Box::pin(async { drop(pool.warm_up(Duration::from_secs(1)).await) }),
        What::Close => Box::pin(async { drop(pool.close(Duration::from_secs(1)).await) }),
    };
    let mut cx = Context::from_waker(Waker::noop());
    for number in 0..polls {
        if future.as_mut().poll(&mut cx) == Poll::Ready(()) {
            return Dropped::AfterItsEnd;
        }
        // Between two polls everything else gets a little further.
        if number % 3 == 2 {
            held.pop();
        }
        match number % 2 {
            0 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    Dropped::Pending
}

async fn everything_is_there(
    pool: &Pool<FakeManager>,
    manager: &FakeManager,
    place: (What, Scene, usize),
) {
    // Whoever is refused because connects were failing asks again, as callers do.
    let mut all = Vec::new();
    for _ in 0..MAX {
        let began = tokio::time::Instant::now();
        let got = loop {
            match pool.get_owned().await {
                Ok(got) => break got,
                Err(error) if began.elapsed() > Duration::from_secs(2) => {
                    panic!("a slot was lost at {place:?}: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        all.push(got);
    }
    let status = pool.status();
    assert_eq!((status.in_use, status.idle, status.waiting), (MAX, 0, 0), "at {place:?}");
    assert!(manager.live_max() <= u64::from(MAX), "at {place:?}");
    drop(all);
    pool.check_invariants();
}
