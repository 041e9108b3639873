//! Which limits and rules the pools of the model test have, and how they change.
//!
//! Invariant: times are small, so that everything is due now and then within a short schedule.
//! Left out: realistic values.

use std::time::Duration;

use headpond_core::{ConnectFailure, Failure, IdleOrder, Limits, OnFailing, Policy};
use proptest::prelude::*;

pub fn failure(which: u8) -> Failure {
    match which % 6 {
        0 | 1 => Failure::Connect(ConnectFailure::Refused),
        2 => Failure::Connect(ConnectFailure::StartingUp),
        3 => Failure::Connect(ConnectFailure::TooMany),
        4 => Failure::Connect(ConnectFailure::Rejected),
        _ => Failure::Lost,
    }
}

/// Changes one setting or two.
pub fn change(limits: &Limits, policy: &Policy, how: u8) -> (Limits, Policy) {
    let (mut limits, mut policy) = (*limits, *policy);
    let value = u32::from(how / 8);
    match how % 8 {
        0 | 1 => limits.size = value % 6,
        2 => limits.min = value % 5,
        3 => limits.reserve = value % 3,
        4 => limits.waiters_max = (value % 4 != 0).then_some(value % 4),
        5 => policy.lifetime = (value != 0).then_some(Duration::from_millis(value.into())),
        6 => policy.idle_timeout = (value != 0).then_some(Duration::from_millis(value.into())),
        _ => policy.check_after = (value != 0).then_some(Duration::from_millis(value.into())),
    }
    (limits, policy)
}

fn ms(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

pub fn settings() -> impl Strategy<Value = (Limits, Policy)> {
    let limits = (0..6u32, 0..5u32, 0..3u32, proptest::option::weighted(0.3, 0..4u32))
        .prop_map(|(size, min, reserve, waiters_max)| Limits { size, min, reserve, waiters_max });
    let times = (
        proptest::option::of(ms(0..8)),
        proptest::option::of(ms(1..60)),
        0..1200u32,
        proptest::option::of(ms(0..30)),
        proptest::option::of(ms(0..10)),
        ms(0..6),
        ms(0..40),
        ms(0..5),
    );
    let rest = (
        proptest::option::weighted(0.3, 1..5u64),
        0..5u32,
        prop_oneof![Just(IdleOrder::Lifo), Just(IdleOrder::Fifo)],
        prop_oneof![Just(OnFailing::FailFast), Just(OnFailing::Hold)],
    );
    (limits, times, rest).prop_map(
        |(limits, times, (uses_max, connects_max, order, on_failing))| {
            let (
                reserve_after,
                lifetime,
                lifetime_jitter,
                idle_timeout,
                check_after,
                first,
                max,
                local,
            ) = times;
            let policy = Policy {
                reserve_after,
                order,
                lifetime,
                lifetime_jitter,
                idle_timeout,
                check_after,
                uses_max,
                connects_max,
                backoff_first: first,
                backoff_max: max,
                on_failing,
                local_first: local,
                ..Policy::default()
            };
            (limits, policy)
        },
    )
}
