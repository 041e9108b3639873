//! When connections are opened, and what happens when that fails.

use headpond_core::{
    Acquire, CloseReason, Command, ConnectFailure, Fate, Health, Limits, OnFailing, Policy, Refusal,
};

use crate::bench::{A, Bench, ms, quiet};

fn failing_refusal(refusal: Refusal) -> std::time::Duration {
    match refusal {
        Refusal::Failing { retry_after } => retry_after,
        other => panic!("the server should be failing, got {other:?}"),
    }
}

#[test]
fn no_more_connections_are_opened_than_callers_wait_and_no_more_at_once_than_allowed() {
    let mut bench = Bench::with(10, Policy { connects_max: 3, ..quiet() });
    bench.queue(A, 0);
    assert_eq!(bench.opens().len(), 1);
    for caller in 1..9 {
        bench.queue(A, caller);
    }
    assert_eq!(bench.opens().len(), 2);
    assert_eq!(bench.pool.counts().opening, 3);
}

#[test]
fn every_state_counts_against_the_limit() {
    let mut bench = Bench::with(4, Policy { check_after: Some(ms(0)), ..quiet() });
    let held = bench.busy(4);
    bench.release(held[0], A, Fate::Discard(CloseReason::Broken));
    bench.release(held[1], A, Fate::Reset);
    bench.reuse(held[2]);
    bench.commands();
    bench.queue(A, 11);
    bench.queue(A, 12);
    bench.queue(A, 13);
    assert_eq!(bench.checks(), [held[2]], "closing, resetting, checking, in use: full");
    bench.closed(held[0]);
    bench.open();
}

#[test]
fn a_connect_is_not_tied_to_who_wanted_it() {
    let mut bench = Bench::of_size(2);
    let waiter = bench.queue(A, 11);
    let conn = bench.open();
    assert!(bench.pool.abandon(bench.now, waiter));
    bench.queue(A, 12);
    bench.nothing();
    bench.ready(conn);
    assert_eq!(bench.grants(), [(12, conn)]);
}

#[test]
fn a_connection_nobody_wants_any_more_is_kept() {
    let mut bench = Bench::of_size(2);
    let waiter = bench.queue(A, 11);
    let conn = bench.open();
    assert!(bench.pool.abandon(bench.now, waiter));
    bench.ready(conn);
    assert_eq!(bench.take(A), conn);
}

#[test]
fn the_reserve_opens_once_the_oldest_waiter_has_waited_long_enough() {
    let limits = Limits { size: 1, reserve: 1, ..Limits::default() };
    let mut bench = Bench::new(limits, Policy { reserve_after: Some(ms(5)), ..quiet() });
    bench.busy(1);
    bench.queue(A, 11);
    assert_eq!(bench.pool.poll_timeout(), bench.after(ms(5)));
    bench.pass(ms(4));
    bench.nothing();
    bench.pass(ms(1));
    let reserve = bench.open();
    bench.ready(reserve);
    assert_eq!(bench.grants(), [(11, reserve)]);
    bench.queue(A, 12);
    bench.pass(ms(50));
    bench.nothing();
}

#[test]
fn a_failed_connect_with_nothing_left_turns_everyone_away_until_a_probe_succeeds() {
    let mut bench = Bench::of_size(2);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.queue(A, 12);
    let other = bench.open();
    bench.fail(conn, ConnectFailure::Refused);
    bench.nothing();
    let retry_after = failing_refusal(bench.refused());
    assert!(!retry_after.is_zero() && retry_after <= quiet().backoff_first);
    bench.fail(other, ConnectFailure::Refused);
    let refused: Vec<u64> = bench.refusals().into_iter().map(|(caller, _)| caller).collect();
    assert_eq!(refused, [11, 12], "once the other connect has failed, too");
    assert_eq!(bench.pool.health(), Health::Failing(ConnectFailure::Refused));
    bench.pass(retry_after);
    let probe = bench.open();
    failing_refusal(bench.refused());
    bench.ready(probe);
    assert_eq!(bench.take(A), probe);
    assert_eq!(bench.pool.health(), Health::Recovering);
}

#[test]
fn one_failed_connect_of_several_turns_nobody_away() {
    let mut bench = Bench::of_size(2);
    bench.queue(A, 11);
    bench.queue(A, 12);
    let opens = bench.opens();
    bench.fail(opens[0], ConnectFailure::Refused);
    bench.ready(opens[1]);
    let [Command::Grant { caller: 11, .. }, Command::Open { .. }] = bench.commands()[..] else {
        panic!("the first is served, and the second has a new connect")
    };
}

#[test]
fn while_a_connection_is_left_nobody_is_turned_away() {
    let mut bench = Bench::of_size(2);
    let held = bench.busy(1);
    for failure in [ConnectFailure::Refused, ConnectFailure::Rejected] {
        bench.queue(A, 11);
        let mut opens = bench.opens();
        while opens.is_empty() {
            bench.pass(ms(10));
            opens = bench.opens();
        }
        bench.fail(opens[0], failure);
        bench.nothing();
        bench.reuse(held[0]);
        assert_eq!(bench.grants(), [(11, held[0])]);
    }
}

#[test]
fn a_failing_server_is_probed_by_one_connect_at_a_time() {
    let mut bench = Bench::with(9, Policy { on_failing: OnFailing::Hold, ..quiet() });
    for caller in 0..9 {
        bench.queue(A, caller);
    }
    for conn in bench.opens() {
        bench.fail(conn, ConnectFailure::Refused);
    }
    let mut probes = 0;
    for _ in 0..200 {
        bench.pass(ms(100));
        let opens = bench.opens();
        assert!(opens.len() <= 1);
        probes += opens.len();
        opens.into_iter().for_each(|conn| bench.fail(conn, ConnectFailure::Refused));
    }
    // The pauses grow to 10 s: about ten probes in twenty seconds, not two hundred.
    assert!((4..40).contains(&probes), "{probes} probes");
    assert_eq!(bench.pool.counts().waiting, 9, "everybody is held");
}

#[test]
fn after_a_recovery_the_number_of_connects_doubles_by_and_by() {
    let policy = Policy { on_failing: OnFailing::Hold, connects_max: 8, ..quiet() };
    let mut bench = Bench::with(40, policy);
    bench.queue(A, 0);
    let conn = bench.open();
    bench.fail(conn, ConnectFailure::Refused);
    for caller in 1..40 {
        bench.queue(A, caller);
    }
    bench.pass(policy.backoff_first);
    let mut opening = bench.opens();
    let mut rounds = vec![];
    while !opening.is_empty() {
        rounds.push(opening.len());
        for conn in std::mem::take(&mut opening) {
            bench.ready(conn);
        }
        for command in bench.commands() {
            if let Command::Open { conn } = command {
                opening.push(conn);
            }
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8, 8, 8, 8, 1]);
    assert_eq!(bench.pool.health(), Health::Healthy);
}

#[test]
fn a_server_that_is_starting_up_keeps_its_callers() {
    let mut bench = Bench::of_size(2);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.fail(conn, ConnectFailure::StartingUp);
    bench.queue(A, 12);
    bench.pass(quiet().backoff_first);
    let probe = bench.open();
    bench.ready(probe);
    let [Command::Grant { caller: 11, .. }, Command::Open { .. }] = bench.commands()[..] else {
        panic!("the first is served, and one more is opened")
    };
}

#[test]
fn a_rejected_login_turns_callers_away_at_once() {
    for on_failing in [OnFailing::FailFast, OnFailing::Hold] {
        let mut bench = Bench::with(2, Policy { on_failing, ..quiet() });
        bench.queue(A, 11);
        let conn = bench.open();
        bench.fail(conn, ConnectFailure::Rejected);
        assert_eq!(bench.refusals(), [(11, Refusal::Rejected)]);
        match bench.acquire(A, 12, None) {
            Acquire::Refused(refusal) => {
                assert_eq!((refusal, on_failing), (Refusal::Rejected, OnFailing::FailFast));
            }
            Acquire::Queued(_) => assert_eq!(on_failing, OnFailing::Hold),
            Acquire::Granted { .. } => panic!("there is no connection"),
        }
    }
}

#[test]
fn a_server_without_room_is_asked_for_one_more_at_a_time() {
    let mut bench = Bench::with(10, quiet());
    let held = bench.busy(3);
    for caller in 10..20 {
        bench.queue(A, caller);
    }
    for conn in bench.opens() {
        bench.fail(conn, ConnectFailure::TooMany);
    }
    bench.nothing();
    bench.pass(quiet().backoff_first);
    let fourth = bench.open();
    bench.ready(fourth);
    assert_eq!(bench.grants(), [(10, fourth)], "and no other connect right after it");
    bench.pass(quiet().backoff_first);
    let fifth = bench.open();
    bench.fail(fifth, ConnectFailure::TooMany);
    bench.reuse(held[0]);
    assert_eq!(bench.grants(), [(11, held[0])], "those that are left serve everyone");
}

#[test]
fn a_server_without_room_is_trusted_again_after_a_while() {
    let policy = Policy { backoff_max: ms(400), connects_max: 2, ..quiet() };
    let mut bench = Bench::with(10, policy);
    bench.busy(1);
    bench.queue(A, 10);
    let conn = bench.open();
    bench.fail(conn, ConnectFailure::TooMany);
    for caller in 11..20 {
        bench.queue(A, caller);
    }
    bench.pass(ms(400));
    let conn = bench.open();
    bench.ready(conn);
    let commands = bench.commands();
    let opens = commands.iter().filter(|command| matches!(command, Command::Open { .. })).count();
    assert_eq!(opens, 2, "{commands:?}");
}

#[test]
fn without_anybody_asking_a_failing_server_is_left_alone_after_a_minute() {
    let mut bench = Bench::of_size(2);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.fail(conn, ConnectFailure::Refused);
    bench.refusals();
    let mut last = bench.now;
    let end = bench.now + ms(300_000);
    while let Some(at) = bench.pool.poll_timeout().filter(|at| *at <= end) {
        bench.pass(at.since(bench.now));
        for probe in bench.opens() {
            last = bench.now;
            bench.fail(probe, ConnectFailure::Refused);
        }
    }
    assert!(last.as_nanos() > 0 && end.since(last) >= ms(240_000), "{last:?}");
    bench.now = end;
    bench.queue(A, 12);
    bench.open();
}

#[test]
fn a_caller_turned_away_late_in_a_long_pause_is_still_probed_for() {
    let long = ms(600_000);
    let mut bench = Bench::with(2, Policy { backoff_first: long, backoff_max: long, ..quiet() });
    bench.queue(A, 11);
    let conn = bench.open();
    bench.fail(conn, ConnectFailure::Refused);
    bench.refusals();
    let retry_after = failing_refusal(bench.refused());
    assert!(retry_after > ms(61_000), "the seed draws a long pause: {retry_after:?}");
    bench.pass(retry_after - ms(1000));
    assert_eq!(bench.pool.poll_timeout(), None, "nobody has asked for a minute");
    bench.refused();
    assert_eq!(bench.pool.poll_timeout(), bench.after(ms(1000)));
    bench.pass(ms(1000));
    bench.open();
}

#[test]
fn a_caller_after_a_long_silence_is_the_probe_and_not_turned_away() {
    let mut bench = Bench::of_size(2);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.fail(conn, ConnectFailure::Refused);
    bench.refusals();
    bench.now = bench.now + ms(200_000);
    bench.queue(A, 12);
    let probe = bench.open();
    bench.ready(probe);
    assert_eq!(bench.grants(), [(12, probe)]);
}

#[test]
fn a_connection_that_breaks_while_it_is_opened_is_a_failed_connect() {
    let mut bench = Bench::of_size(2);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.lose(conn);
    assert_eq!(bench.pool.health(), Health::Failing(ConnectFailure::Refused));
}

#[test]
fn nothing_is_opened_while_a_shared_budget_is_exhausted() {
    let mut bench = Bench::of_size(3);
    let held = bench.busy(1);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.pool.postpone(bench.now, conn);
    bench.queue(A, 12);
    bench.nothing();
    bench.reuse(held[0]);
    assert_eq!(bench.grants(), [(11, held[0])]);
    bench.pool.budget_available(bench.now);
    bench.open();
    assert_eq!(bench.pool.health(), Health::Healthy);
}
