//! The laws of the Redis adapter, with servers that each test starts.

mod cancelling;
#[path = "../support/chance.rs"]
mod chance;
mod cleaning;
mod faults;
mod groups;
mod load;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../../pooler/tests/support/process.rs"]
mod process;
mod server;
#[path = "../support/slicer.rs"]
mod slicer;
#[path = "../support/load.rs"]
mod steady;
mod using;

use std::time::Duration;

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < Duration::from_secs(30), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
