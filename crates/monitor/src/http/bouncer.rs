//! PgBouncers, as JSON.
//!
//! Invariant: as in `view.rs`. A neighbour is at worst a warning wherever a status is told for all
//! together; its own row says how it is.
//! Not here: what is found wrong with one (`health/bouncer.rs`).

use serde_json::{Value, json};

use super::view;
use crate::health::{Sort, Status};
use crate::model::{Bouncer, BouncerOutcome};
use crate::time::rfc3339;
use crate::watch::{Monitor, State};

/// How the worst of them is.
pub(super) fn worst(state: &State) -> Status {
    state.board.worst_of(Sort::Bouncer).max(state.board.worst_of(Sort::Neighbour))
}

/// What `/health` observes of one: how long it took to answer.
pub(super) fn observed(bouncer: &Bouncer) -> Value {
    json!({
        "componentId": bouncer.name,
        "componentType": "component",
        "observedValue": bouncer.figures().and(bouncer.check.as_ref()).map(|c| c.took_seconds),
        "observedUnit": "s",
    })
}

/// Every PgBouncer with its health, each with so many of its pools.
pub(super) fn shown(monitor: &Monitor, pools_max: usize) -> Value {
    let look = monitor.look();
    let state = monitor.state();
    let row = |bouncer: &Bouncer| {
        let mut bouncer = bouncer.clone();
        if let Some(check) = &mut bouncer.check
            && let BouncerOutcome::Figures(figures) = &mut check.outcome
        {
            figures.pools.truncate(pools_max);
            figures.databases.truncate(pools_max);
        }
        let mut value = json!(bouncer);
        value["used_ratio"] = json!(bouncer.figures().map(|figures| figures.used_ratio()));
        let machine = state.board.of(Sort::of_bouncer(&bouncer), &bouncer.name);
        value["health"] = view::machine(monitor, &machine);
        value
    };
    look.bouncers.iter().map(row).collect()
}

/// `/api/v1/bouncers`.
pub(super) fn rows(monitor: &Monitor) -> Value {
    let at = rfc3339(monitor.wall(monitor.look().at));
    json!({ "at": at, "bouncers": shown(monitor, view::ROWS_MAX) })
}
