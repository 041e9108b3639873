//! A circuit breaker: stops calling what keeps failing, and finds out when it works again.
//!
//! ```text
//!           too many failed or slow            wait over, next call
//!  Closed ─────────────────────────► Open ─────────────────────────► HalfOpen
//!    ▲                                ▲                               │    │
//!    │                                └── a trial failed (wait × 2) ──┘    │
//!    └───────────────── enough trials succeeded ──────────────────────────┘
//! ```
//!
//! Only what says something about the server is recorded: connects, logins, checks, and errors
//! of the whole server. Query errors and callers that gave up are [`Outcome::Ignored`].
//!
//! Invariant: half-open, at most as many trials are under way as are allowed: one until one has
//! succeeded, then up to `trials`. Calls begun in an earlier state change nothing.
//! Left out: what a rejected caller is told, and giving permits back when a future is dropped;
//! whoever holds a [`Permit`] must record it.

use core::time::Duration;

use crate::backoff::Backoff;
use crate::random::Random;
use crate::time::{Timestamp, nanos};

/// The window is kept in so many parts; it moves on by one part at a time.
const PARTS: usize = 10;

/// When a breaker opens, and how it closes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How far back calls count.
    /// Default: 10 s, because pools make few connects and a minute would remember too long.
    pub window: Duration,
    /// Calls needed in the window before anything opens; 0 counts as 1.
    /// Default: 5, because one failure is no pattern.
    pub calls_min: u32,
    /// Opens when at least this share of the calls failed.
    /// Default: 50 %, because resilience4j's is.
    pub failed_percent: u32,
    /// A call that took longer is slow. `None`: no call is.
    /// Default: 1 s, because a healthy login takes milliseconds.
    pub slow_after: Option<Duration>,
    /// Opens when at least this share of the calls was slow.
    /// Default: 80 %, because a slow server still serves.
    pub slow_percent: u32,
    /// Opens after so many failures in a row, whatever the window says; 0: never.
    /// Default: 0, because a share of many calls tells more than a few in a row.
    pub failures_in_a_row: u32,
    /// How waits are drawn.
    /// Default: with jitter, because many clients must not come back together.
    pub wait: Wait,
    /// The wait before the first trial: between a millisecond and this, doubled each time.
    /// Default: 1 s, because short outages are the most frequent.
    pub open_first: Duration,
    /// The longest wait.
    /// Default: 30 s, because nobody wants to wait longer after a recovery.
    pub open_max: Duration,
    /// Successful trials in a row that close it, and trials at once after the first success.
    /// 0 counts as 1. Default: 3, because one success may be luck.
    pub trials: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            calls_min: 5,
            failed_percent: 50,
            slow_after: Some(Duration::from_secs(1)),
            slow_percent: 80,
            failures_in_a_row: 0,
            wait: Wait::Jittered,
            open_first: Duration::from_secs(1),
            open_max: Duration::from_secs(30),
            trials: 3,
        }
    }
}

impl Settings {
    /// Returns the simple form: opens after `failures` in a row, lets one trial through after
    /// exactly `wait`, and closes if that succeeds.
    #[must_use]
    pub const fn simple(failures: u32, wait: Duration) -> Self {
        Self {
            window: Duration::from_secs(10),
            calls_min: u32::MAX,
            failed_percent: 100,
            slow_after: None,
            slow_percent: 100,
            failures_in_a_row: failures,
            wait: Wait::Exact,
            open_first: wait,
            open_max: wait,
            trials: 1,
        }
    }
}

/// How waits are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wait {
    /// Anything from a millisecond to the full wait.
    #[default]
    Jittered,
    /// The full wait.
    Exact,
}

/// Whether calls pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// They do.
    Closed,
    /// They do not, until the wait is over.
    Open,
    /// Some do, as trials.
    HalfOpen,
}

/// Who decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The breaker.
    #[default]
    Automatic,
    /// An operator: nothing passes.
    ForcedOpen,
    /// An operator: everything passes and nothing is recorded.
    Disabled,
    /// The breaker decides, but everything passes: a dry run.
    MetricsOnly,
}

/// How a call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server did what it should.
    Success,
    /// The server did not.
    Failure,
    /// It says nothing about the server: the caller gave up, or the query was wrong.
    Ignored,
}

/// The leave to make one call; goes back by [`Breaker::record`], whatever happened.
#[derive(Debug)]
#[must_use = "a permit that is not recorded blocks a trial until `open_max` has passed"]
pub struct Permit {
    began: Timestamp,
    era: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counted,
    Trial,
    /// It passed although the breaker, left alone, would have rejected it.
    Free,
}

/// A call that does not pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// When another attempt makes sense; never zero.
    pub retry_after: Duration,
}

/// The calls in the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// All that succeeded or failed.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow, failed or not.
    pub slow: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Which part of all time this is; the array is used in turn.
    number: u64,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Timestamp },
    HalfOpen { under_way: u32, succeeded: u32, last_begun: Timestamp },
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: Settings,
    mode: Mode,
    phase: Phase,
    /// Failures since the last success, while closed.
    in_a_row: u32,
    /// Times opened without having been closed: what the wait grows with.
    openings: u32,
    /// Changes with every change of phase: permits of another era are worth nothing.
    era: u64,
    parts: [Part; PARTS],
    random: Random,
}

impl Breaker {
    /// Returns a closed breaker. The seed decides all jitter.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            mode: Mode::Automatic,
            phase: Phase::Closed,
            in_a_row: 0,
            openings: 0,
            era: 0,
            parts: [Part::default(); PARTS],
            random: Random::new(seed),
        }
    }

    /// Asks for the leave to make a call.
    ///
    /// # Errors
    /// When the call must not be made; it says when to try again.
    pub fn try_pass(&mut self, now: Timestamp) -> Result<Permit, Rejection> {
        let kind = match self.mode {
            Mode::Disabled => Kind::Free,
            Mode::ForcedOpen => {
                let retry_after = self.settings.open_max.max(Duration::from_millis(1));
                return Err(Rejection { retry_after });
            }
            Mode::Automatic => self.admit(now)?,
            Mode::MetricsOnly => self.admit(now).unwrap_or(Kind::Free),
        };
        Ok(Permit { began: now, era: self.era, kind })
    }

    /// Gives a permit back and takes note of how the call went.
    pub fn record(&mut self, now: Timestamp, permit: Permit, outcome: Outcome) {
        if permit.era != self.era || permit.kind == Kind::Free {
            return;
        }
        let slow = self.settings.slow_after.is_some_and(|after| now.since(permit.began) > after);
        match (&mut self.phase, outcome) {
            (Phase::Closed, Outcome::Ignored) | (Phase::Open { .. }, _) => {}
            (Phase::Closed, _) => {
                let failed = outcome == Outcome::Failure;
                self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
                self.note(now, failed, slow);
                if self.is_too_bad(now) {
                    self.open(now);
                }
            }
            (Phase::HalfOpen { under_way, .. }, Outcome::Ignored) => *under_way -= 1,
            (Phase::HalfOpen { under_way, succeeded, .. }, Outcome::Success) if !slow => {
                *under_way -= 1;
                *succeeded += 1;
                if *succeeded >= self.settings.trials.max(1) {
                    self.close();
                }
            }
            (Phase::HalfOpen { .. }, _) => self.open(now),
        }
    }

    /// Returns the state. An open breaker whose wait is over stays open until somebody calls.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Returns for how long calls are still rejected, as far as that is known; `None` while they
    /// pass or a trial may.
    #[must_use]
    pub fn rejects_for(&self, now: Timestamp) -> Option<Duration> {
        let floor = Duration::from_millis(1);
        match (self.mode, self.phase) {
            (Mode::ForcedOpen, _) => Some(self.settings.open_max.max(floor)),
            (Mode::Automatic, Phase::Open { until }) if now < until => Some(until.since(now)),
            (Mode::Automatic, Phase::HalfOpen { succeeded: 0, under_way: 1.., .. }) => {
                Some(self.settings.open_first.max(floor))
            }
            _ => None,
        }
    }

    /// Returns who decides.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Lets an operator decide, or the breaker again.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Returns the calls in the window.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Window {
        let last = self.number(now);
        let mut sum = Window::default();
        let current = |part: &&Part| part.number + (PARTS as u64) > last;
        for part in self.parts.iter().filter(current) {
            sum.calls += part.window.calls;
            sum.failed += part.window.failed;
            sum.slow += part.window.slow;
        }
        sum
    }

    /// Forgets everything and closes, in whatever state it is.
    pub fn reset(&mut self) {
        self.close();
    }

    fn admit(&mut self, now: Timestamp) -> Result<Kind, Rejection> {
        if let Phase::Open { until } = self.phase {
            if now < until {
                return Err(Rejection { retry_after: until.since(now) });
            }
            self.turn(Phase::HalfOpen { under_way: 0, succeeded: 0, last_begun: now });
        }
        let Phase::HalfOpen { under_way, succeeded, last_begun } = &mut self.phase else {
            return Ok(Kind::Counted);
        };
        let trials = self.settings.trials.max(1);
        let allowed = if *succeeded == 0 { 1 } else { trials - *succeeded };
        if *under_way >= allowed {
            let lost_at = *last_begun + self.settings.open_max;
            if now < lost_at {
                // The outcome of the trial is not known: it will be when somebody comes back.
                let retry_after = self.settings.open_first.max(Duration::from_millis(1));
                return Err(Rejection { retry_after });
            }
            // Whoever had the permits has lost them; their late outcomes would say nothing.
            self.era += 1;
            *under_way = 0;
        }
        *under_way += 1;
        *last_begun = now;
        Ok(Kind::Trial)
    }

    fn note(&mut self, now: Timestamp, failed: bool, slow: bool) {
        let number = self.number(now);
        let place = usize::try_from(number % PARTS as u64).expect("less than ten");
        let part = &mut self.parts[place];
        if part.number != number {
            *part = Part { number, window: Window::default() };
        }
        part.window.calls += 1;
        part.window.failed += u32::from(failed);
        part.window.slow += u32::from(slow);
    }

    fn is_too_bad(&self, now: Timestamp) -> bool {
        let Window { calls, failed, slow } = self.window(now);
        let share = |some: u32, percent: u32| {
            u64::from(some) * 100 >= u64::from(calls) * u64::from(percent) && some > 0
        };
        let in_a_row = self.settings.failures_in_a_row;
        if in_a_row > 0 && self.in_a_row >= in_a_row {
            return true;
        }
        calls >= self.settings.calls_min.max(1)
            && (share(failed, self.settings.failed_percent)
                || share(slow, self.settings.slow_percent))
    }

    fn open(&mut self, now: Timestamp) {
        self.openings = self.openings.saturating_add(1);
        let wait = Backoff { first: self.settings.open_first, max: self.settings.open_max };
        let until = now
            + match self.settings.wait {
                Wait::Jittered => wait.draw(self.openings, &mut self.random),
                Wait::Exact => wait.ceiling(self.openings),
            };
        self.turn(Phase::Open { until });
    }

    fn close(&mut self) {
        self.openings = 0;
        self.in_a_row = 0;
        self.parts = [Part::default(); PARTS];
        self.turn(Phase::Closed);
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }

    /// Returns which part of all time `now` lies in; the first is `PARTS`, so that an unused part
    /// (number 0) is never current.
    fn number(&self, now: Timestamp) -> u64 {
        let length = (nanos(self.settings.window) / PARTS as u64).max(1);
        now.as_nanos() / length + PARTS as u64
    }
}
