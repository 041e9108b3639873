//! How long connections are kept, and how many of them.

use headpond_core::{CloseReason, ConnectFailure, Failure, Fate, IdleOrder, Limits, Policy};

use crate::bench::{A, Bench, ms, quiet};

#[test]
fn an_old_connection_is_closed_when_it_is_given_back() {
    let policy = Policy { lifetime: Some(ms(100)), lifetime_jitter: 0, ..quiet() };
    let mut bench = Bench::with(1, policy);
    let held = bench.busy(1);
    bench.pass(ms(100));
    bench.nothing();
    bench.queue(A, 11);
    bench.reuse(held[0]);
    assert_eq!(bench.closes(), [(held[0], CloseReason::Lifetime)]);
    bench.closed(held[0]);
    bench.open();
}

#[test]
fn an_old_idle_connection_is_closed_when_its_time_is_over_and_not_before() {
    let policy = Policy { lifetime: Some(ms(100)), lifetime_jitter: 0, ..quiet() };
    let mut bench = Bench::with(1, policy);
    let conns = bench.rested(1);
    assert_eq!(bench.pool.poll_timeout(), bench.after(ms(100)));
    bench.pass(ms(99));
    bench.nothing();
    bench.pass(ms(1));
    assert_eq!(bench.closes(), [(conns[0], CloseReason::Lifetime)]);
}

#[test]
fn an_old_connection_is_not_granted_even_if_nobody_looked_at_the_time() {
    let policy = Policy { lifetime: Some(ms(100)), lifetime_jitter: 0, ..quiet() };
    let mut bench = Bench::with(2, policy);
    bench.rested(1);
    bench.now = bench.now + ms(100);
    bench.queue(A, 11);
    assert_eq!(bench.commands().len(), 2, "one is closed, one is opened");
}

#[test]
fn connections_opened_together_do_not_expire_together() {
    let lifetime = ms(1_800_000);
    let policy = Policy { lifetime: Some(lifetime), connects_max: 100, ..quiet() };
    let mut bench = Bench::with(100, policy);
    bench.rested(100);
    let (mut closed, mut most, mut seconds) = (0, 0, 0);
    while closed < 100 {
        bench.pass(ms(1000));
        seconds += 1;
        let now = bench.closes();
        most = most.max(now.len());
        closed += now.len();
        assert!(closed == 0 || seconds >= 1620, "none is closed a tenth too early");
    }
    assert!(seconds <= 1800, "none is kept too long");
    assert!(most <= 6, "{most} expire in the same second");
}

#[test]
fn a_connection_is_closed_after_so_many_uses() {
    let mut bench = Bench::with(1, Policy { uses_max: Some(2), ..quiet() });
    let conn = bench.rested(1)[0];
    let again = bench.take(A);
    bench.release(again, A, Fate::Reset);
    assert_eq!(bench.closes(), [(conn, CloseReason::Uses)], "it is not cleaned first");
}

#[test]
fn idle_connections_above_the_minimum_time_out_and_the_oldest_goes_first() {
    let limits = Limits { size: 3, min: 1, ..Limits::default() };
    let mut bench = Bench::new(limits, Policy { idle_timeout: Some(ms(50)), ..quiet() });
    let conns = bench.rested(3);
    bench.pass(ms(49));
    bench.nothing();
    bench.pass(ms(1));
    let closed = [(conns[0], CloseReason::IdleTimeout), (conns[1], CloseReason::IdleTimeout)];
    assert_eq!(bench.closes(), closed);
    assert_eq!(bench.pool.poll_timeout(), None, "the last one is kept without a timer");
}

#[test]
fn lifo_lets_a_pool_that_is_too_large_shrink() {
    let mut bench = Bench::with(8, Policy { idle_timeout: Some(ms(300)), ..quiet() });
    bench.rested(8);
    for _ in 0..30 {
        bench.pass(ms(20));
        bench.commands();
        let conn = bench.take(A);
        bench.reuse(conn);
    }
    assert_eq!(bench.pool.counts().idle, 1);
}

#[test]
fn fifo_uses_all_connections_in_turn() {
    let mut bench = Bench::with(3, Policy { order: IdleOrder::Fifo, ..quiet() });
    let conns = bench.rested(3);
    for round in 0..9 {
        let conn = bench.take(A);
        assert_eq!(conn, conns[round % 3]);
        bench.reuse(conn);
    }
}

#[test]
fn the_minimum_is_opened_one_by_one_once_somebody_has_asked() {
    let limits = Limits { size: 5, min: 3, ..Limits::default() };
    let mut bench = Bench::new(limits, quiet());
    bench.pass(ms(1000));
    assert_eq!(bench.pool.poll_timeout(), None, "nobody has asked");
    bench.rested(1);
    let mut opened = vec![];
    for step in 0..2000 {
        bench.pass(ms(1));
        for conn in bench.opens() {
            opened.push(step);
            bench.ready(conn);
        }
    }
    assert_eq!(opened, [0, 333]);
    assert_eq!(bench.pool.counts().idle, 3);
}

#[test]
fn the_minimum_is_kept_from_the_start_when_told_so() {
    let limits = Limits { size: 5, min: 1, ..Limits::default() };
    let mut bench = Bench::new(limits, quiet());
    bench.pool.keep_min(bench.now, true);
    bench.pass(ms(0));
    let conn = bench.open();
    bench.ready(conn);
    bench.pass(ms(1000));
    bench.lose(conn);
    bench.pass(ms(0));
    bench.open();
}

#[test]
fn a_pool_that_is_warmed_up_does_not_pause_between_connects() {
    let limits = Limits { size: 30, min: 20, ..Limits::default() };
    let mut bench = Bench::new(limits, Policy { connects_max: 8, ..quiet() });
    bench.pool.warm_up(bench.now);
    let mut rounds = vec![];
    for _ in 0..3 {
        bench.pass(ms(0));
        let opens = bench.opens();
        rounds.push(opens.len());
        opens.into_iter().for_each(|conn| bench.ready(conn));
    }
    assert_eq!(rounds, [8, 8, 4]);
    assert_eq!(bench.pool.counts().idle, 20);
}

#[test]
fn a_connect_that_fails_ends_the_hurry_of_a_warm_up() {
    let limits = Limits { size: 30, min: 20, ..Limits::default() };
    let mut bench = Bench::new(limits, Policy { connects_max: 2, ..quiet() });
    bench.pool.warm_up(bench.now);
    bench.pass(ms(0));
    let opens = bench.opens();
    bench.ready(opens[0]);
    bench.pool.failed(bench.now, opens[1], Failure::Connect(ConnectFailure::Refused));
    bench.pass(ms(0));
    assert_eq!(bench.opens(), []);
}

#[test]
fn a_minimum_above_the_limit_is_the_limit() {
    let limits = Limits { size: 2, min: 9, ..Limits::default() };
    let mut bench = Bench::new(limits, quiet());
    bench.pool.keep_min(bench.now, true);
    for _ in 0..10 {
        bench.pass(ms(333));
        bench.opens().into_iter().for_each(|conn| bench.ready(conn));
    }
    assert_eq!(bench.pool.counts().total(), 2);
    assert_eq!(bench.pool.poll_timeout(), None);
}

#[test]
fn a_pool_that_rests_has_no_timer() {
    let mut bench = Bench::of_size(3);
    assert_eq!(bench.pool.poll_timeout(), None);
    bench.rested(3);
    assert_eq!(bench.pool.poll_timeout(), None);
}
