//! Who gets a connection, and who waits, leaves, or is turned away.

use headpond_core::{Acquire, Command, Fate, IdleOrder, Limits, Policy, Refusal};

use crate::bench::{A, B, Bench, ms, quiet};

#[test]
fn a_released_connection_goes_to_the_oldest_waiter_in_the_same_call() {
    let mut bench = Bench::of_size(1);
    let held = bench.busy(1);
    bench.queue(A, 11);
    bench.queue(A, 12);
    bench.reuse(held[0]);
    assert_eq!(bench.grants(), [(11, held[0])]);
}

#[test]
fn a_connection_handed_over_goes_to_the_oldest_waiter_and_leaves_nothing_to_do() {
    let mut bench = Bench::of_size(1);
    let held = bench.busy(1);
    bench.queue(A, 11);
    bench.queue(A, 12);
    let handover = bench.pool.hand_over(bench.now, held[0], A, 3).expect("somebody waits");
    assert_eq!((handover.caller, handover.home), (11, A));
    assert_eq!(bench.pool.poll_command(), None);
    assert_eq!(bench.pool.uses(held[0]), Some(3));
    assert_eq!(bench.pool.counts().in_use, 1);
}

#[test]
fn what_may_not_be_used_again_is_not_handed_over() {
    let policy = Policy { uses_max: Some(2), ..quiet() };
    let mut bench = Bench::with(1, policy);
    let held = bench.busy(1);
    assert_eq!(bench.pool.hand_over(bench.now, held[0], A, 1), None, "nobody waits");
    bench.queue(A, 11);
    assert_eq!(bench.pool.hand_over(bench.now, held[0], A, 2), None, "it is worn out");
    bench.pool.renew(bench.now);
    assert_eq!(bench.pool.hand_over(bench.now, held[0], A, 1), None, "it is of an earlier epoch");
    assert_eq!(bench.pool.counts().in_use, 1, "nothing was done");
}

#[test]
fn a_waiter_who_left_is_never_granted() {
    let mut bench = Bench::of_size(1);
    let held = bench.busy(1);
    let first = bench.queue(A, 11);
    bench.queue(A, 12);
    assert!(bench.pool.abandon(bench.now, first));
    assert!(!bench.pool.abandon(bench.now, first), "nobody leaves twice");
    bench.reuse(held[0]);
    assert_eq!(bench.grants(), [(12, held[0])]);
}

#[test]
fn who_was_granted_can_no_longer_leave() {
    let mut bench = Bench::of_size(1);
    let held = bench.busy(1);
    let waiter = bench.queue(A, 11);
    bench.reuse(held[0]);
    assert!(!bench.pool.abandon(bench.now, waiter));
    assert_eq!(bench.grants(), [(11, held[0])]);
}

#[test]
fn a_grant_to_a_caller_who_is_gone_is_passed_on_and_is_no_use() {
    let policy = Policy { uses_max: Some(2), ..quiet() };
    let mut bench = Bench::with(1, policy);
    let held = bench.busy(1);
    bench.queue(A, 11);
    bench.queue(A, 12);
    bench.reuse(held[0]);
    assert_eq!(bench.grants(), [(11, held[0])]);
    bench.pool.grant_undeliverable(bench.now, held[0], A);
    assert_eq!(bench.grants(), [(12, held[0])], "the second use, not the third");
    assert_eq!(bench.pool.counters().undeliverable, 1);
}

#[test]
fn a_newcomer_waits_behind_those_who_wait() {
    let mut bench = Bench::of_size(2);
    let held = bench.busy(2);
    bench.queue(A, 11);
    bench.pool.pause(bench.now);
    bench.reuse(held[0]);
    bench.queue(A, 12);
    bench.nothing();
    bench.pool.resume(bench.now);
    assert_eq!(bench.grants(), [(11, held[0])]);
}

#[test]
fn an_idle_connection_of_the_own_lane_is_preferred() {
    let mut bench = Bench::of_size(2);
    let held = bench.busy(2);
    bench.release(held[0], A, Fate::Reuse);
    bench.release(held[1], B, Fate::Reuse);
    let answer = bench.acquire(A, 1, None);
    assert_eq!(answer, Acquire::Granted { conn: held[0], home: A });
    let answer = bench.acquire(A, 2, None);
    assert_eq!(answer, Acquire::Granted { conn: held[1], home: B }, "any other will do");
}

#[test]
fn lifo_takes_the_one_used_last_and_fifo_the_one_unused_longest() {
    for (order, place) in [(IdleOrder::Lifo, 2), (IdleOrder::Fifo, 0)] {
        let mut bench = Bench::with(3, Policy { order, ..quiet() });
        let conns = bench.rested(3);
        assert_eq!(bench.take(A), conns[place], "{order:?}");
    }
}

#[test]
fn a_connection_that_was_idle_for_long_is_checked_before_it_is_granted() {
    let mut bench = Bench::with(2, Policy { check_after: Some(ms(30)), ..quiet() });
    let conns = bench.rested(1);
    bench.pass(ms(30));
    bench.queue(A, 11);
    assert_eq!(bench.checks(), conns);
    bench.ready(conns[0]);
    assert_eq!(bench.grants(), [(11, conns[0])]);
}

#[test]
fn a_connection_that_needs_no_check_is_preferred_over_one_that_does() {
    let mut bench = Bench::with(2, Policy { check_after: Some(ms(30)), ..quiet() });
    let conns = bench.rested(2);
    bench.pass(ms(20));
    let young = bench.take(A);
    bench.pass(ms(10));
    bench.release(young, B, Fate::Reuse);
    assert_eq!(bench.take(A), young, "though it is on another lane");
    assert_ne!(conns[0], young);
}

#[test]
fn fifo_does_not_wait_for_a_check_while_a_younger_connection_needs_none() {
    let policy = Policy { check_after: Some(ms(30)), order: IdleOrder::Fifo, ..quiet() };
    let mut bench = Bench::with(2, policy);
    let conns = bench.rested(2);
    bench.pass(ms(20));
    let used = bench.take(A);
    assert_eq!(used, conns[0]);
    bench.reuse(used);
    bench.pass(ms(15));
    assert_eq!(bench.take(A), used);
}

#[test]
fn a_failed_check_costs_the_caller_nothing_but_time() {
    let mut bench = Bench::with(2, Policy { check_after: Some(ms(30)), ..quiet() });
    let conns = bench.rested(2);
    bench.pass(ms(30));
    bench.queue(A, 11);
    assert_eq!(bench.checks(), [conns[1]]);
    bench.lose(conns[1]);
    assert_eq!(bench.checks(), [conns[0]]);
    bench.lose(conns[0]);
    let fresh = bench.open();
    bench.ready(fresh);
    assert_eq!(bench.grants(), [(11, fresh)]);
}

#[test]
fn as_many_connections_are_checked_as_callers_wait() {
    let mut bench = Bench::with(4, Policy { check_after: Some(ms(30)), ..quiet() });
    let conns = bench.rested(4);
    bench.pass(ms(30));
    bench.queue(A, 11);
    bench.queue(A, 12);
    assert_eq!(bench.checks(), [conns[3], conns[2]]);
}

#[test]
fn a_connection_being_cleaned_is_granted_only_when_it_is_clean() {
    let mut bench = Bench::of_size(1);
    let held = bench.busy(1);
    bench.queue(A, 11);
    bench.release(held[0], A, Fate::Reset);
    assert_eq!(bench.resets(), held);
    bench.ready(held[0]);
    assert_eq!(bench.grants(), [(11, held[0])]);
}

#[test]
fn waiters_of_the_lane_go_first_until_the_oldest_has_waited_long_enough() {
    let mut bench = Bench::with(1, Policy { local_first: ms(5), ..quiet() });
    let held = bench.busy(1);
    bench.queue(B, 21);
    for caller in 11..20 {
        bench.queue(A, caller);
    }
    let mut served = vec![];
    for _ in 0..5 {
        bench.pass(ms(2));
        bench.reuse(held[0]);
        served.extend(bench.grants().into_iter().map(|(caller, _)| caller));
    }
    // After 2 and 4 ms neighbours overtake, from 5 ms on the oldest does not wait any longer.
    assert_eq!(served, [11, 12, 21, 13, 14]);
}

#[test]
fn within_a_lane_nobody_is_overtaken() {
    let mut bench = Bench::with(1, Policy { local_first: ms(1000), ..quiet() });
    let held = bench.busy(1);
    for caller in 0..30 {
        bench.queue(if caller % 3 == 0 { B } else { A }, caller);
    }
    let (mut of_a, mut of_b) = (vec![], vec![]);
    for round in 0..30 {
        let lane = if round % 2 == 0 { A } else { B };
        bench.release(held[0], lane, Fate::Reuse);
        for (caller, _) in bench.grants() {
            if caller % 3 == 0 { of_b.push(caller) } else { of_a.push(caller) }
        }
    }
    assert!(of_a.is_sorted() && of_b.is_sorted(), "{of_a:?} {of_b:?}");
    assert_eq!(of_a.len() + of_b.len(), 30);
}

#[test]
fn who_got_a_dead_connection_is_next_and_is_not_overtaken() {
    let mut bench = Bench::with(2, Policy { local_first: ms(1000), ..quiet() });
    let held = bench.busy(2);
    bench.queue(A, 11);
    bench.queue(A, 12);
    bench.reuse(held[0]);
    assert_eq!(bench.grants(), [(11, held[0])]);
    bench.lose(held[0]);
    let spare = bench.open();
    let again = bench.pool.regrant(bench.now, B, 11, None);
    assert!(matches!(again, Acquire::Queued(_)));
    bench.reuse(held[1]);
    assert_eq!(bench.grants(), [(11, held[1])], "though it is a waiter of another lane");
    bench.ready(spare);
    assert_eq!(bench.grants(), [(12, spare)]);
}

#[test]
fn a_deadline_is_kept_to_the_nanosecond_and_tells_the_place_in_the_queue() {
    let mut bench = Bench::of_size(1);
    bench.busy(1);
    bench.queue_for(11, ms(30));
    bench.queue_for(12, ms(10));
    bench.queue_for(13, ms(10));
    assert_eq!(bench.pool.poll_timeout(), bench.after(ms(10)));
    bench.pass(ms(10) - std::time::Duration::from_nanos(1));
    bench.nothing();
    bench.pass(std::time::Duration::from_nanos(1));
    let refusal = |position| Refusal::Timeout { waited: ms(10), position };
    assert_eq!(bench.refusals(), [(12, refusal(2)), (13, refusal(3))]);
    assert_eq!(bench.pool.poll_timeout(), bench.after(ms(20)));
}

#[test]
fn a_deadline_that_has_passed_means_now_or_never() {
    let mut bench = Bench::of_size(1);
    let answer = bench.acquire(A, 1, Some(bench.now));
    let refusal = Refusal::Timeout { waited: ms(0), position: 1 };
    assert_eq!(answer, Acquire::Refused(refusal));
    bench.nothing();
    bench.rested(1);
    assert!(matches!(bench.acquire(A, 2, Some(bench.now)), Acquire::Granted { .. }));
}

#[test]
fn a_full_queue_turns_callers_away_but_those_with_a_connection_coming_do_not_fill_it() {
    let limits = Limits { size: 2, waiters_max: Some(1), ..Limits::default() };
    let mut bench = Bench::new(limits, quiet());
    bench.queue(A, 11);
    bench.queue(A, 12);
    bench.queue(A, 13);
    assert_eq!(bench.refused(), Refusal::QueueFull);
    assert_eq!(bench.opens().len(), 2);
}

#[test]
fn the_longest_wait_is_that_of_the_longest_waiter() {
    let mut bench = Bench::of_size(1);
    let held = bench.busy(1);
    assert_eq!(bench.pool.oldest_wait(bench.now), None);
    bench.queue(A, 11);
    bench.pass(ms(7));
    let again = bench.pool.regrant(bench.now, A, 12, None);
    assert!(matches!(again, Acquire::Queued(_)));
    bench.pass(ms(3));
    assert_eq!(bench.pool.oldest_wait(bench.now), Some(ms(10)));
    bench.reuse(held[0]);
    let [Command::Grant { caller, waited, .. }] = bench.commands()[..] else { panic!("a grant") };
    assert_eq!((caller, waited), (12, ms(3)));
}

#[test]
fn every_call_with_an_outlived_name_is_counted_and_changes_nothing() {
    let mut bench = Bench::of_size(1);
    let old = bench.busy(1)[0];
    bench.lose(old);
    let new = bench.rested(1)[0];
    assert_eq!(old.index(), new.index(), "the slot is the same");
    let before = bench.pool.counts();
    let (now, pool) = (bench.now, &mut bench.pool);
    pool.release(now, old, A, Fate::Reuse);
    pool.ready(now, old, A);
    pool.closed(now, old);
    pool.postpone(now, old);
    pool.renew_conn(now, old);
    pool.grant_undeliverable(now, old, A);
    assert_eq!(pool.counts(), before);
    assert_eq!(pool.counters().stale, 6);
    bench.nothing();
}
