//! The circuit breaker against a model that remembers every call, and its laws one by one.

use std::time::Duration;

use headpond_core::breaker::{Breaker, Mode, Outcome, Permit, Rejection, Settings, State, Wait};
use headpond_core::{Backoff, Random, Timestamp};
use proptest::prelude::*;

const SETTINGS: Settings = Settings {
    window: Duration::from_secs(10),
    calls_min: 4,
    failed_percent: 50,
    slow_after: Some(Duration::from_secs(1)),
    slow_percent: 75,
    open_first: Duration::from_secs(1),
    open_max: Duration::from_secs(8),
    trials: 3,
    failures_in_a_row: 0,
    wait: Wait::Jittered,
};

/// A breaker and a clock.
struct Bench {
    breaker: Breaker,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self { breaker: Breaker::new(SETTINGS, 3), now: Timestamp::from_nanos(5_000_000_000) }
    }

    fn pass(&mut self, distance: Duration) {
        self.now = self.now + distance;
    }

    fn permit(&mut self) -> Permit {
        self.breaker.try_pass(self.now).expect("the call should pass")
    }

    fn rejection(&mut self) -> Rejection {
        self.breaker.try_pass(self.now).expect_err("the call should not pass")
    }

    fn call(&mut self, outcome: Outcome) {
        let permit = self.permit();
        self.breaker.record(self.now, permit, outcome);
    }

    fn slow_call(&mut self, outcome: Outcome) {
        let permit = self.permit();
        self.pass(Duration::from_millis(1500));
        self.breaker.record(self.now, permit, outcome);
    }

    fn opened() -> Self {
        let mut bench = Self::new();
        (0..4).for_each(|_| bench.call(Outcome::Failure));
        assert_eq!(bench.breaker.state(), State::Open);
        bench
    }

    fn half_open() -> (Self, Permit) {
        let mut bench = Self::opened();
        bench.pass(SETTINGS.open_first);
        let permit = bench.permit();
        assert_eq!(bench.breaker.state(), State::HalfOpen);
        (bench, permit)
    }
}

#[test]
fn too_few_calls_never_open() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.call(Outcome::Failure));
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn exactly_the_threshold_opens() {
    let mut bench = Bench::new();
    for outcome in [Outcome::Success, Outcome::Success, Outcome::Failure] {
        bench.call(outcome);
    }
    assert_eq!(bench.breaker.state(), State::Closed);
    bench.call(Outcome::Failure);
    assert_eq!(bench.breaker.state(), State::Open);
}

#[test]
fn slow_successes_open() {
    let mut bench = Bench::new();
    (0..4).for_each(|_| bench.slow_call(Outcome::Success));
    assert_eq!(bench.breaker.state(), State::Open);
}

#[test]
fn failures_older_than_the_window_are_forgotten() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.call(Outcome::Failure));
    bench.pass(SETTINGS.window);
    (0..3).for_each(|_| bench.call(Outcome::Failure));
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn callers_that_gave_up_never_open() {
    let mut bench = Bench::new();
    (0..100).for_each(|_| bench.call(Outcome::Ignored));
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn an_open_breaker_says_when_to_come_back_and_then_admits_one() {
    let mut bench = Bench::opened();
    let Rejection { retry_after } = bench.rejection();
    assert!(!retry_after.is_zero() && retry_after <= SETTINGS.open_first);
    bench.pass(retry_after);
    let _trial = bench.permit();
    assert!(!bench.rejection().retry_after.is_zero());
}

#[test]
fn after_one_success_the_rest_of_the_trials_may_run_at_once_and_close_it() {
    let (mut bench, first) = Bench::half_open();
    bench.breaker.record(bench.now, first, Outcome::Success);
    let (second, third) = (bench.permit(), bench.permit());
    bench.rejection();
    bench.breaker.record(bench.now, second, Outcome::Success);
    assert_eq!(bench.breaker.state(), State::HalfOpen);
    bench.breaker.record(bench.now, third, Outcome::Success);
    assert_eq!(bench.breaker.state(), State::Closed);
    assert_eq!(bench.breaker.window(bench.now).calls, 0, "a closed breaker starts anew");
}

#[test]
fn a_failed_or_slow_trial_opens_it_again() {
    let (mut bench, trial) = Bench::half_open();
    bench.breaker.record(bench.now, trial, Outcome::Failure);
    assert_eq!(bench.breaker.state(), State::Open);
    let (mut bench, trial) = Bench::half_open();
    bench.pass(Duration::from_secs(2));
    bench.breaker.record(bench.now, trial, Outcome::Success);
    assert_eq!(bench.breaker.state(), State::Open);
}

#[test]
fn a_trial_that_gave_up_gives_its_permit_back() {
    let (mut bench, trial) = Bench::half_open();
    bench.breaker.record(bench.now, trial, Outcome::Ignored);
    let _next = bench.permit();
}

#[test]
fn a_lost_permit_does_not_block_for_ever() {
    let (mut bench, lost) = Bench::half_open();
    bench.pass(SETTINGS.open_max);
    let found = bench.permit();
    bench.breaker.record(bench.now, lost, Outcome::Failure);
    assert_eq!(bench.breaker.state(), State::HalfOpen, "the lost permit is worth nothing");
    bench.breaker.record(bench.now, found, Outcome::Success);
    let _second = bench.permit();
}

#[test]
fn a_call_begun_before_it_opened_changes_nothing() {
    let mut bench = Bench::new();
    let early = bench.permit();
    (0..4).for_each(|_| bench.call(Outcome::Failure));
    bench.pass(SETTINGS.open_first);
    let _trial = bench.permit();
    bench.breaker.record(bench.now, early, Outcome::Failure);
    assert_eq!(bench.breaker.state(), State::HalfOpen);
}

#[test]
fn an_operator_overrules_it() {
    let mut bench = Bench::opened();
    bench.breaker.set_mode(Mode::MetricsOnly);
    bench.call(Outcome::Failure);
    bench.breaker.set_mode(Mode::Disabled);
    bench.call(Outcome::Failure);
    bench.breaker.reset();
    bench.breaker.set_mode(Mode::ForcedOpen);
    assert!(!bench.rejection().retry_after.is_zero());
    bench.breaker.set_mode(Mode::Automatic);
    bench.call(Outcome::Success);
}

/// The rules applied to everything that happened since the breaker was closed.
struct Model {
    settings: Settings,
    calls: Vec<(Timestamp, bool, bool)>,
    phase: Phase,
    era: u32,
    openings: u32,
    random: Random,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed,
    Open { until: Timestamp },
    HalfOpen { trials: Vec<u32>, succeeded: u32, last: Timestamp },
}

impl Model {
    fn new(settings: Settings, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { settings, calls: vec![], phase: Phase::Closed, era: 0, openings: 0, random }
    }

    /// Whether the call numbered `name` passes.
    fn passes(&mut self, now: Timestamp, name: u32) -> bool {
        if let Phase::Open { until } = self.phase {
            if now < until {
                return false;
            }
            self.era += 1;
            self.phase = Phase::HalfOpen { trials: vec![], succeeded: 0, last: now };
        }
        let Phase::HalfOpen { trials, succeeded, last } = &mut self.phase else { return true };
        let most = if *succeeded == 0 { 1 } else { self.settings.trials.max(1) - *succeeded };
        if trials.len() >= most as usize {
            if now < *last + self.settings.open_max {
                return false;
            }
            trials.clear();
        }
        trials.push(name);
        *last = now;
        true
    }

    fn record(&mut self, now: Timestamp, call: (u32, u32, Timestamp), outcome: Outcome) {
        let (name, era, began) = call;
        let slow = self.settings.slow_after.is_some_and(|after| now.since(began) > after);
        if era != self.era {
            return;
        }
        match &mut self.phase {
            Phase::Open { .. } => {}
            Phase::Closed if outcome == Outcome::Ignored => {}
            Phase::Closed => {
                self.calls.push((now, outcome == Outcome::Failure, slow));
                if self.is_bad(now) {
                    self.open(now);
                }
            }
            Phase::HalfOpen { trials, succeeded, .. } => {
                let Some(place) = trials.iter().position(|trial| *trial == name) else { return };
                trials.remove(place);
                match outcome {
                    Outcome::Ignored => {}
                    Outcome::Success if !slow => {
                        *succeeded += 1;
                        if *succeeded >= self.settings.trials.max(1) {
                            self.phase = Phase::Closed;
                            self.calls.clear();
                            self.openings = 0;
                            self.era += 1;
                        }
                    }
                    _ => self.open(now),
                }
            }
        }
    }

    fn open(&mut self, now: Timestamp) {
        self.openings += 1;
        self.era += 1;
        let wait = Backoff { first: self.settings.open_first, max: self.settings.open_max };
        let until = now + wait.draw(self.openings, &mut self.random);
        self.phase = Phase::Open { until };
    }

    fn is_bad(&self, now: Timestamp) -> bool {
        // The window moves on by a tenth of its length at a time.
        let tenth = u64::try_from(self.settings.window.as_nanos() / 10).unwrap().max(1);
        let part = |at: Timestamp| at.as_nanos() / tenth;
        let recent: Vec<_> =
            self.calls.iter().filter(|(at, ..)| part(*at) + 10 > part(now)).collect();
        let share =
            |some: usize, percent: u32| some > 0 && some * 100 >= recent.len() * percent as usize;
        let failed = recent.iter().filter(|(_, failed, _)| *failed).count();
        let slow = recent.iter().filter(|(.., slow)| *slow).count();
        recent.len() >= self.settings.calls_min.max(1) as usize
            && (share(failed, self.settings.failed_percent)
                || share(slow, self.settings.slow_percent))
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let times = (1..50u64, 0..20u64, 0..20u64, proptest::option::of(1..20u64));
    let shares = (0..6u32, 0..110u32, 0..110u32, 0..5u32);
    (times, shares).prop_map(
        |((window, first, max, slow), (calls_min, failed, slow_share, trials))| Settings {
            window: Duration::from_millis(window),
            calls_min,
            failed_percent: failed,
            slow_after: slow.map(Duration::from_millis),
            slow_percent: slow_share,
            open_first: Duration::from_millis(first),
            open_max: Duration::from_millis(max),
            trials,
            ..Settings::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_breaker_does_what_its_model_does(
        settings in settings(),
        seed in any::<u64>(),
        steps in proptest::collection::vec(any::<(u8, u8)>(), 0..200),
    ) {
        let mut breaker = Breaker::new(settings, seed);
        let mut model = Model::new(settings, seed);
        let mut now = Timestamp::from_nanos(1_000_000_000);
        let mut calls: Vec<(Permit, (u32, u32, Timestamp))> = vec![];
        for (name, (what, how)) in steps.into_iter().enumerate() {
            let name = u32::try_from(name).unwrap();
            match what % 8 {
                0..=2 => {
                    let passed = breaker.try_pass(now);
                    prop_assert_eq!(passed.is_ok(), model.passes(now, name));
                    match passed {
                        Ok(permit) => calls.push((permit, (name, model.era, now))),
                        Err(rejection) => prop_assert!(!rejection.retry_after.is_zero()),
                    }
                }
                3..=5 if !calls.is_empty() => {
                    let (permit, call) = calls.swap_remove(usize::from(how) % calls.len());
                    let outcome = match how % 5 {
                        0 | 1 => Outcome::Success,
                        2 | 3 => Outcome::Failure,
                        _ => Outcome::Ignored,
                    };
                    breaker.record(now, permit, outcome);
                    model.record(now, call, outcome);
                }
                _ => now = now + Duration::from_micros(u64::from(how) * 40),
            }
            let state = match model.phase {
                Phase::Closed => State::Closed,
                Phase::Open { .. } => State::Open,
                Phase::HalfOpen { .. } => State::HalfOpen,
            };
            prop_assert_eq!(breaker.state(), state);
        }
    }
}

#[test]
fn the_simple_form_opens_after_five_in_a_row_and_tries_once_after_exactly_its_wait() {
    let settings = Settings::simple(5, Duration::from_secs(30));
    let mut bench =
        Bench { breaker: Breaker::new(settings, 3), now: Timestamp::from_nanos(1_000_000_000) };
    (0..4).for_each(|_| bench.call(Outcome::Failure));
    bench.call(Outcome::Success);
    (0..4).for_each(|_| bench.call(Outcome::Failure));
    assert_eq!(bench.breaker.state(), State::Closed, "a success in between begins anew");
    bench.call(Outcome::Failure);
    assert_eq!(bench.rejection().retry_after, Duration::from_secs(30));
    assert_eq!(bench.breaker.rejects_for(bench.now), Some(Duration::from_secs(30)));
    bench.pass(Duration::from_secs(30));
    let trial = bench.permit();
    bench.rejection();
    bench.breaker.record(bench.now, trial, Outcome::Success);
    assert_eq!(bench.breaker.state(), State::Closed);
}
