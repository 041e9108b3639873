//! The console: commands carried out.
use super::control::State;
use crate::catalog::Pool;
use crate::control::Mail;
use crate::engine::{Engine, clock};
use crate::worker::Shared;
use headpond_core::Lane;
use std::sync::Arc;

pub(super) struct Waiting;

pub(super) fn pause_pool<E: Engine>(shared: &Arc<Shared<E>>, pool: &Arc<Pool>, pause: bool) {
    let now = clock::monotonic();
    {
        let mut core = pool.core.lock();
        if pause { core.pause(now) } else { core.resume(now) }
    }
    shared.post(Lane(0), Mail::Poke { pool: Arc::clone(pool) });
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> State<'_, E> {
    pub(super) async fn on_command(
        &mut self,
        _lane: Lane,
        _caller: u64,
        _admin: bool,
        _text: &str,
    ) -> bool {
        false
    }
    pub(super) fn answer_waiting(&mut self) {}
}
