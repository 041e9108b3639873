//! Laws of alerts.

use super::super::rule::{Severity, built_in};
use super::*;

fn rule(for_seconds: f64) -> Rule {
    Rule { for_seconds, ..Rule::above("Queue", Metric::Waiting, 5.0, Severity::Critical) }
}

fn reading(subject: &str, value: f64) -> Reading {
    Reading { metric: Metric::Waiting, subject: subject.into(), value }
}

/// Feeds values, one a second, and returns the seconds at which it fired (+) and resolved (-).
fn run(evaluator: &mut Evaluator, start: u32, values: &[f64]) -> Vec<String> {
    let mut told = Vec::new();
    for (second, value) in (start..).zip(values) {
        for transition in evaluator.evaluate(f64::from(second), &[reading("p", *value)]) {
            told.push(format!("{}{second}", if transition.is_firing { '+' } else { '-' }));
        }
    }
    told
}

fn seconds(value: f64, count: usize) -> Vec<f64> {
    vec![value; count]
}

#[test]
fn a_rule_fires_once_after_its_duration_and_resolves_once() {
    let mut evaluator = Evaluator::new(vec![rule(3.0)]);
    let values = [seconds(9.0, 30), seconds(0.0, 30)].concat();
    assert_eq!(run(&mut evaluator, 0, &values), ["+3", "-40"]);
    assert_eq!(evaluator.active().count(), 0);
}

#[test]
fn what_is_bad_for_a_moment_only_is_not_told() {
    let mut evaluator = Evaluator::new(vec![rule(3.0)]);
    let values = [seconds(9.0, 3), seconds(0.0, 1), seconds(9.0, 3), seconds(0.0, 30)].concat();
    assert!(run(&mut evaluator, 0, &values).is_empty());
}

#[test]
fn what_flickers_is_one_alert() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    let flicker: Vec<f64> = (0..600).map(|n| if n % 5 == 0 { 9.0 } else { 0.0 }).collect();
    assert_eq!(run(&mut evaluator, 0, &flicker), ["+0"]);
}

#[test]
fn after_a_resolve_it_stays_quiet_for_its_cool_down() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    let once = [seconds(9.0, 1), seconds(0.0, 11)].concat();
    assert_eq!(run(&mut evaluator, 0, &once), ["+0", "-11"]);
    // It burns again at once and stays so: told when the cool-down of a minute is over.
    assert_eq!(run(&mut evaluator, 12, &seconds(9.0, 100)), ["+71"]);
}

#[test]
fn ten_thousand_changes_in_an_hour_are_no_storm() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    let mut told = 0;
    for second in 0..3600 {
        // Bad for fifteen seconds, good for fifteen.
        let value = if second / 15 % 2 == 0 { 9.0 } else { 0.0 };
        told += run(&mut evaluator, second, &[value]).len();
    }
    assert!(told <= 2 * 60, "{told}");
}

#[test]
fn a_subject_that_is_gone_resolves() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    assert_eq!(evaluator.evaluate(0.0, &[reading("p", 9.0)]).len(), 1);
    let over = evaluator.evaluate(1.0, &[]);
    assert_eq!((over.len(), over[0].is_firing), (1, false));
}

#[test]
fn subjects_are_told_apart() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    let told = evaluator.evaluate(0.0, &[reading("a", 9.0), reading("b", 9.0), reading("c", 1.0)]);
    let subjects: Vec<&str> = told.iter().map(|t| t.alert.subject.as_str()).collect();
    assert_eq!(subjects, ["a", "b"]);
}

#[test]
fn a_silence_keeps_quiet_and_what_still_burns_after_it_is_told() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    evaluator.silence(0.0, "Queue".into(), String::new(), 20.0, "me".into()).expect("a silence");
    assert_eq!(run(&mut evaluator, 1, &seconds(9.0, 30)), ["+20"]);
    let all: Vec<_> = evaluator.active().collect();
    assert_eq!((all.len(), all[0].silenced), (1, false));
}

#[test]
fn nobody_hears_of_the_end_of_what_nobody_heard_of() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    let id = evaluator.silence(0.0, String::new(), "p".into(), 500.0, String::new());
    let values = [seconds(9.0, 5), seconds(0.0, 20)].concat();
    assert!(run(&mut evaluator, 0, &values).is_empty());
    assert!(evaluator.unsilence(id.expect("a silence")));
    assert!(!evaluator.unsilence(99));
}

#[test]
fn silences_are_bounded() {
    let mut evaluator = Evaluator::default();
    let mut silence =
        |seconds: f64| evaluator.silence(0.0, String::new(), String::new(), seconds, String::new());
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        assert_eq!(silence(seconds), Err(SilenceError::Duration));
    }
    for _ in 0..100 {
        silence(60.0).expect("room");
    }
    assert_eq!(silence(60.0), Err(SilenceError::TooMany));
}

#[test]
fn alerts_are_bounded() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    let many: Vec<Reading> = (0..5_000).map(|n| reading(&format!("p{n}"), 9.0)).collect();
    assert_eq!(evaluator.evaluate(0.0, &many).len(), ACTIVE_MAX);
    assert_eq!(evaluator.overflowed(), 4_000);
}

#[test]
fn a_rule_that_is_taken_away_resolves() {
    let mut evaluator = Evaluator::new(vec![rule(0.0)]);
    evaluator.evaluate(0.0, &[reading("p", 9.0)]);
    let over = evaluator.replace(built_in());
    assert_eq!((over.len(), over[0].is_firing), (1, false));
    assert!(evaluator.evaluate(1.0, &[]).is_empty());
}

#[test]
fn every_built_in_rule_fires_and_resolves() {
    for rule in built_in() {
        let mut evaluator = Evaluator::new(vec![rule.clone()]);
        let mut at = |second: f64, value: f64| {
            let reading = Reading { metric: rule.metric, subject: "p".into(), value };
            evaluator.evaluate(second, &[reading]).len()
        };
        let bad = rule.threshold + 0.05;
        let first = at(0.0, bad);
        assert_eq!(first + at(rule.for_seconds, bad), 1, "{} fires", rule.name);
        let good = rule.for_seconds + 1.0;
        assert_eq!(at(good, rule.threshold) + at(good + 10.0, rule.threshold), 1, "{}", rule.name);
    }
}
