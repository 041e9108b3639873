//! The pretended server that all pools connect to: how long connects take and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// How connects end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well = 0,
    Down = 1,
    Hung = 2,
    Panics = 3,
}

#[derive(Clone, Default)]
pub struct Server {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    delay_us: AtomicU64,
    mood: AtomicU8,
    connects: AtomicU64,
}

#[derive(Debug)]
pub struct Down;

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("down")
    }
}

impl std::error::Error for Down {}

impl Server {
    pub fn new(delay: Duration) -> Self {
        let server = Self::default();
        server.state.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(0), SeqCst);
        server
    }

    pub fn set(&self, mood: Mood) {
        self.state.mood.store(mood as u8, SeqCst);
    }

    pub fn connects(&self) -> u64 {
        self.state.connects.load(SeqCst)
    }

    pub async fn connect(&self) -> Result<(), Down> {
        self.state.connects.fetch_add(1, SeqCst);
        let delay = self.state.delay_us.load(SeqCst);
        let mood = self.state.mood.load(SeqCst);
        if mood == Mood::Hung as u8 {
            std::future::pending::<()>().await;
        }
        if delay > 0 {
            tokio::time::sleep(Duration::from_micros(delay)).await;
        }
        assert!(mood != Mood::Panics as u8, "a pretended panic");
        if mood == Mood::Down as u8 { Err(Down) } else { Ok(()) }
    }
}
