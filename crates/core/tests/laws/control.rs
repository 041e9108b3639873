//! Pausing, resizing, renewing and closing a pool.

use headpond_core::{CloseReason, ConnectFailure, Fate, Limits, Refusal};

use crate::bench::{A, Bench, ms, quiet};

#[test]
fn a_paused_pool_grants_and_opens_nothing_and_resumes_in_order() {
    let mut bench = Bench::of_size(3);
    let held = bench.busy(2);
    bench.pool.pause(bench.now);
    assert!(bench.pool.is_paused());
    bench.reuse(held[1]);
    bench.reuse(held[0]);
    for caller in [11, 12, 13] {
        bench.queue(A, caller);
    }
    bench.nothing();
    bench.pool.resume(bench.now);
    let commands = bench.commands();
    assert_eq!(commands.len(), 3, "two are granted, one is opened: {commands:?}");
    let counts = bench.pool.counts();
    assert_eq!((counts.in_use, counts.opening, counts.waiting), (2, 1, 1));
}

#[test]
fn deadlines_go_on_during_a_pause_and_nobody_is_turned_away_for_a_failing_server() {
    let mut bench = Bench::of_size(1);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.pool.pause(bench.now);
    bench.fail(conn, ConnectFailure::Refused);
    bench.nothing();
    bench.queue_for(12, ms(10));
    bench.pass(ms(10));
    let refusal = Refusal::Timeout { waited: ms(10), position: 2 };
    assert_eq!(bench.refusals(), [(12, refusal)]);
    bench.pool.resume(bench.now);
    bench.open();
}

#[test]
fn a_connection_older_than_a_renewal_is_outdated_until_it_is_gone() {
    let mut bench = Bench::of_size(2);
    let idle = bench.rested(1);
    let held = bench.take(A);
    assert_eq!(held, idle[0]);
    assert_eq!((bench.pool.outdated(), bench.pool.is_outdated(held)), (0, false));
    bench.pool.renew(bench.now);
    assert_eq!((bench.pool.outdated(), bench.pool.is_outdated(held)), (1, true));
    bench.reuse(held);
    assert_eq!(bench.closes(), [(held, CloseReason::Renewed)]);
    assert_eq!(bench.pool.outdated(), 1, "it is closing, but not gone");
    bench.closed(held);
    assert_eq!((bench.pool.outdated(), bench.pool.is_outdated(held)), (0, false));
}

#[test]
fn a_drained_pool_closes_what_comes_back_and_still_serves() {
    let mut bench = Bench::of_size(2);
    let conns = bench.rested(2);
    let held = bench.take(A);
    bench.pool.drain(bench.now);
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Drained)]);
    bench.closed(conns[0]);
    bench.queue(A, 11);
    let fresh = bench.open();
    bench.reuse(held);
    assert_eq!(bench.closes(), [(held, CloseReason::Drained)]);
    bench.ready(fresh);
    assert_eq!(bench.grants(), [(11, fresh)]);
    bench.reuse(fresh);
    assert_eq!(bench.closes(), [(fresh, CloseReason::Drained)], "nobody waits: it is not kept");
}

#[test]
fn a_pool_drained_for_a_pause_keeps_connections_again_when_it_resumes() {
    let mut bench = Bench::of_size(2);
    let conns = bench.rested(1);
    bench.pool.pause(bench.now);
    bench.pool.drain(bench.now);
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Paused)]);
    bench.closed(conns[0]);
    bench.pool.resume(bench.now);
    bench.rested(1);
    assert_eq!(bench.pool.counts().idle, 1);
}

#[test]
fn renewing_replaces_what_exists_and_only_that() {
    let mut bench = Bench::of_size(3);
    let conns = bench.rested(2);
    let held = bench.take(A);
    bench.pool.renew(bench.now);
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Renewed)], "nobody loses a connection");
    bench.reuse(held);
    assert_eq!(bench.closes(), [(held, CloseReason::Renewed)]);
    let fresh = bench.rested(1);
    assert_eq!(bench.take(A), fresh[0], "what is opened later is kept");
}

#[test]
fn a_connection_that_was_opening_when_all_were_renewed_is_renewed_too() {
    let mut bench = Bench::of_size(1);
    bench.queue(A, 11);
    let conn = bench.open();
    bench.pool.renew(bench.now);
    bench.ready(conn);
    assert_eq!(bench.closes(), [(conn, CloseReason::Renewed)]);
    bench.closed(conn);
    let fresh = bench.open();
    bench.ready(fresh);
    assert_eq!(bench.grants(), [(11, fresh)]);
}

#[test]
fn one_connection_can_be_renewed_alone() {
    let mut bench = Bench::of_size(2);
    let conns = bench.rested(2);
    let held = bench.take(A);
    bench.pool.renew_conn(bench.now, held);
    bench.nothing();
    bench.reuse(held);
    assert_eq!(bench.closes(), [(held, CloseReason::Renewed)]);
    bench.pool.renew_conn(bench.now, conns[0]);
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Renewed)]);
}

#[test]
fn a_lowered_limit_closes_idle_connections_now_and_others_when_they_come_back() {
    let mut bench = Bench::of_size(4);
    let held = bench.busy(4);
    bench.reuse(held[0]);
    bench.reuse(held[1]);
    let limits = Limits { size: 1, ..Limits::default() };
    bench.pool.configure(bench.now, limits, quiet());
    let closed = [(held[0], CloseReason::TooMany), (held[1], CloseReason::TooMany)];
    assert_eq!(bench.closes(), closed);
    bench.queue(A, 11);
    bench.reuse(held[2]);
    assert_eq!(bench.closes(), [(held[2], CloseReason::TooMany)]);
    bench.reuse(held[3]);
    assert_eq!(bench.grants(), [(11, held[3])]);
}

#[test]
fn a_raised_limit_serves_those_who_wait() {
    let mut bench = Bench::of_size(1);
    bench.busy(1);
    bench.queue(A, 11);
    let limits = Limits { size: 2, ..Limits::default() };
    bench.pool.configure(bench.now, limits, quiet());
    bench.open();
}

#[test]
fn a_shorter_lifetime_applies_to_connections_that_exist() {
    let mut bench = Bench::of_size(1);
    let conns = bench.rested(1);
    bench.pass(ms(500));
    let mut policy = quiet();
    policy.lifetime = Some(ms(400));
    bench.pool.configure(bench.now, *bench.pool.limits(), policy);
    bench.pass(ms(0));
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Lifetime)]);
}

#[test]
fn the_connection_that_was_idle_longest_makes_room_for_another_pool() {
    let mut bench = Bench::of_size(2);
    let conns = bench.rested(1);
    let since = bench.now;
    bench.pass(ms(5));
    assert_eq!(bench.pool.oldest_idle_since(), Some(since));
    assert_eq!(bench.pool.evict_oldest_idle(bench.now), Some(conns[0]));
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Evicted)]);
    assert_eq!(bench.pool.evict_oldest_idle(bench.now), None);
}

#[test]
fn a_closed_pool_refuses_everyone_and_lets_users_finish() {
    let mut bench = Bench::of_size(2);
    let held = bench.busy(2);
    bench.reuse(held[0]);
    bench.pool.pause(bench.now);
    bench.queue(A, 11);
    bench.pool.close(bench.now);
    bench.pool.close(bench.now);
    let commands = bench.commands();
    assert_eq!(commands.len(), 2, "one is refused, one is closed: {commands:?}");
    assert_eq!(bench.refused(), Refusal::Closed);
    bench.pool.resume(bench.now);
    assert_eq!(bench.refused(), Refusal::Closed, "there is no way back");
    bench.release(held[1], A, Fate::Reset);
    assert_eq!(bench.closes(), [(held[1], CloseReason::Drained)]);
    bench.closed(held[0]);
    bench.closed(held[1]);
    assert_eq!(bench.pool.counts().total(), 0);
    assert!(bench.pool.is_closed());
}
