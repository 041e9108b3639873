//! What the laws are tried on: a small pool over a pretended server.

use std::time::Duration;

use headpond::testing::FakeManager;
use headpond::{Builder, Pool};

/// Returns a pool of `max` connections that keeps none, with the manager it uses.
pub fn pool(max: u32) -> (Pool<FakeManager>, FakeManager) {
    pool_with(max, |builder| builder)
}

/// The same, with further settings.
pub fn pool_with(
    max: u32,
    more: impl FnOnce(Builder<FakeManager>) -> Builder<FakeManager>,
) -> (Pool<FakeManager>, FakeManager) {
    let manager = FakeManager::default();
    let builder = Pool::builder(manager.clone()).max(max).min(0).seed(7).tokio_clock();
    (more(builder).build().expect("the settings make sense"), manager)
}

/// Lets everything run that can, without time passing.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn s(s: u64) -> Duration {
    Duration::from_secs(s)
}
