//! How large the pool should be: advice with its evidence, and, only if asked for, small steps.
//!
//! Once in a second the pool takes a window of what it sees anyway: loans per second, how long they
//! last, how many are busy, how many callers had to wait. Advice is worked out from the last
//! minute. Automatic sizing takes one step at a time, within its bounds, with a pause after each,
//! and not while connects fail.
//!
//! Invariant: no size changes without a [`SizeChange`] that says why; advice changes nothing.
//! Left out: what one pool cannot know (the server's own limits, other processes).

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use headpond_core::sizing::{self, Gradient, Usl};
use headpond_core::{Health, Timestamp};
use headpond_stats::Distribution;

use crate::manager::Manager;
use crate::shared::{Kept, Shared};

/// How long a window lasts at least.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows that advice is worked out from.
const WINDOWS: usize = 60;
/// Loans in a window below which it says nothing.
const LOANS_MIN: u64 = 20;
/// Windows in a row that must agree before a step down.
const QUIET_WINDOWS: u32 = 5;
/// The pause after a step.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// Steps that are remembered.
const CHANGES: usize = 64;
/// Above this share of busy connections a pool may grow, below the other it may shrink.
const BUSY: [f64; 2] = [0.8, 0.4];
/// How long a caller may wait on average, as a share of how long loans last.
const WAIT_SHARE: f64 = 0.1;
/// The coefficient of determination from which a fitted law is believed.
const R_SQUARED_MIN: f64 = 0.9;

/// What a pool does about its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Sizing {
    /// It says what it would do.
    #[default]
    Advise,
    /// It moves [`Settings::max`](crate::Settings::max) from `min` to `max` by itself.
    Auto {
        /// The smallest maximum.
        min: u32,
        /// The largest maximum.
        max: u32,
    },
}

/// The size that would do, and why.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Advice {
    /// Connections that would do.
    pub recommended: u32,
    /// Connections at most, now.
    pub current: u32,
    /// Loans per second, in the busiest twentieth of the windows.
    pub arrivals_per_s: f64,
    /// How long a loan lasts on average.
    pub hold: Duration,
    /// Connections that are busy on average at that rate: `arrivals × hold` (Little's law).
    pub busy: f64,
    /// The share of callers who had to wait, measured.
    pub waited_share: f64,
    /// How long a caller waits on average with `current` connections, by Erlang C for random
    /// arrivals and loans; none if the queue would grow without bound.
    pub wait_now: Option<Duration>,
    /// The same with `recommended` connections.
    pub wait_then: Option<Duration>,
    /// The law of throughput by concurrency (USL), if the windows differ enough to fit one.
    pub law: Option<Law>,
}

/// A fitted law of throughput by concurrency.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Law {
    /// The coefficients.
    pub usl: Usl,
    /// How much of the throughput's variance it explains, at most 1.
    pub r_squared: f64,
    /// The concurrency of the highest throughput; none if more is always better.
    pub best: Option<f64>,
}

/// A step that automatic sizing took.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct SizeChange {
    /// How long ago.
    pub age: Duration,
    /// Connections at most before.
    pub from: u32,
    /// Connections at most since.
    pub to: u32,
    /// Why.
    pub because: Reason,
}

/// Why a pool changed its size.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Nearly everything was busy and callers waited.
    Exhausted {
        /// The share of connections that was busy.
        utilisation: f64,
        /// The share of callers who waited.
        waited_share: f64,
    },
    /// Few were busy for several windows.
    Quiet {
        /// The share of connections that was busy.
        utilisation: f64,
    },
    /// Loans lasted much longer than they used to: the server is past what it does well.
    Slower {
        /// How long loans last, as the median of the window.
        hold: Duration,
    },
}

#[derive(Clone, Copy)]
struct Window {
    seconds: f64,
    loans: u64,
    waited: u64,
    hold_s: f64,
    median_s: f64,
}

/// What the pool remembers for this.
pub(crate) struct Sizer {
    windows: VecDeque<Window>,
    since: Timestamp,
    acquired: u64,
    waited: u64,
    loans: Distribution,
    gradient: Option<Gradient>,
    quiet: u32,
    slow: u32,
    changed: Timestamp,
    changes: VecDeque<(Timestamp, u32, u32, Reason)>,
}

impl Sizer {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            windows: VecDeque::new(),
            since: now,
            acquired: 0,
            waited: 0,
            loans: Distribution::new(),
            gradient: None,
            quiet: 0,
            slow: 0,
            changed: now,
            changes: VecDeque::new(),
        }
    }

    pub(crate) fn changes(&self, now: Timestamp) -> Vec<SizeChange> {
        let age = |at: Timestamp| now.since(at);
        let changes = self.changes.iter();
        changes
            .map(|(at, from, to, because)| SizeChange {
                age: age(*at),
                from: *from,
                to: *to,
                because: *because,
            })
            .collect()
    }
}

impl Window {
    fn busy(&self) -> f64 {
        sizing::busy(self.per_s(), self.hold_s)
    }

    fn per_s(&self) -> f64 {
        self.loans as f64 / self.seconds
    }
}

impl<M: Manager> Kept<M> {
    /// Takes a window if one is over, and a step if one is due.
    pub(crate) fn size_up(&mut self, shared: &Shared<M>, now: Timestamp) {
        let seconds = now.since(self.sizer.since).as_secs_f64();
        if seconds < WINDOW.as_secs_f64() {
            return;
        }
        let counters = self.core.counters();
        let acquired = counters.granted + shared.spots.quick();
        let waited = counters.granted_after_wait;
        let loans = shared.usage.lock().loans.clone();
        let recent = loans.since(&self.sizer.loans);
        let measured = recent.count();
        let window = Window {
            seconds,
            loans: acquired - self.sizer.acquired,
            waited: waited - self.sizer.waited,
            hold_s: recent.sum_seconds() / measured.max(1) as f64,
            median_s: recent.quantile(0.5).unwrap_or(0) as f64 / 1e9,
        };
        let sizer = &mut self.sizer;
        (sizer.since, sizer.acquired, sizer.waited, sizer.loans) = (now, acquired, waited, loans);
        if window.loans < LOANS_MIN || measured == 0 {
            return;
        }
        if sizer.windows.len() == WINDOWS {
            sizer.windows.pop_front();
        }
        sizer.windows.push_back(window);
        if let Sizing::Auto { min, max } = self.settings.sizing {
            let before = self.settings.max;
            self.step(now, &window, (min, max));
            if self.settings.max != before {
                // What lies in the free list must be shown to the core, which may close it.
                shared.refresh(&self.settings);
            }
        }
    }

    fn step(&mut self, now: Timestamp, window: &Window, (min, max): (u32, u32)) {
        let current = self.settings.max;
        let utilisation = window.busy() / f64::from(current);
        let waited_share = window.waited as f64 / window.loans as f64;
        let sizer = &mut self.sizer;
        let gradient = sizer.gradient.get_or_insert_with(|| Gradient::new(current, min, max));
        let limit = gradient.sample(window.median_s, window.busy());
        sizer.slow = if limit < current && utilisation > BUSY[1] { sizer.slow + 1 } else { 0 };
        sizer.quiet = if utilisation < BUSY[1] { sizer.quiet + 1 } else { 0 };
        let failing = matches!(self.core.health(), Health::Failing(_));
        if failing || now.since(self.sizer.changed) < COOL_DOWN {
            return;
        }
        let tenth = (current / 10).max(1);
        let hold = Duration::from_secs_f64(window.median_s.max(0.0));
        let (to, because) = if self.sizer.slow >= QUIET_WINDOWS {
            (current.saturating_sub(tenth), Reason::Slower { hold })
        } else if utilisation > BUSY[0] && waited_share > 0.01 {
            (current + tenth, Reason::Exhausted { utilisation, waited_share })
        } else if self.sizer.quiet >= QUIET_WINDOWS {
            (current.saturating_sub(tenth), Reason::Quiet { utilisation })
        } else {
            return;
        };
        let to = to.clamp(min.max(self.settings.min).max(1), max.max(1));
        if to != current {
            self.resize_because(now, to, because);
        }
    }

    fn resize_because(&mut self, now: Timestamp, to: u32, because: Reason) {
        let from = std::mem::replace(&mut self.settings.max, to);
        let (limits, policy) = (self.settings.limits(), self.settings.policy());
        self.core.configure(now, limits, policy);
        let sizer = &mut self.sizer;
        (sizer.changed, sizer.quiet, sizer.slow) = (now, 0, 0);
        if sizer.changes.len() == CHANGES {
            sizer.changes.pop_front();
        }
        sizer.changes.push_back((now, from, to, because));
    }

    /// Returns what size would do; none before enough was seen.
    pub(crate) fn advice(&self) -> Option<Advice> {
        let windows = &self.sizer.windows;
        let mut rates: Vec<f64> = windows.iter().map(Window::per_s).collect();
        rates.sort_unstable_by(f64::total_cmp);
        let arrivals_per_s = *rates.get(rates.len().saturating_sub(1) * 19 / 20)?;
        let loans: u64 = windows.iter().map(|window| window.loans).sum();
        let held = windows.iter().map(|window| window.hold_s * window.loans as f64);
        let hold_s = held.sum::<f64>() / loans as f64;
        let waited: u64 = windows.iter().map(|window| window.waited).sum();
        let busy = sizing::busy(arrivals_per_s, hold_s);
        let points: Vec<(f64, f64)> =
            windows.iter().map(|window| (window.busy(), window.per_s())).collect();
        let law = fit(&points);
        let enough = sizing::connections_for_wait(busy, hold_s, 1.0, hold_s * WAIT_SHARE)?;
        let best = law.filter(|law| law.r_squared >= R_SQUARED_MIN).and_then(|law| law.best);
        // More than what is best would only slow everybody down. At least one is needed.
        let recommended = match best {
            Some(best) if best.round() < f64::from(enough) => (best.round() as u32).max(1),
            _ => enough.max(1),
        };
        let wait = |connections| {
            let wait = sizing::wait_mean(connections, busy, hold_s, 1.0)?;
            Duration::try_from_secs_f64(wait).ok()
        };
        Some(Advice {
            recommended,
            current: self.settings.max,
            arrivals_per_s,
            hold: Duration::try_from_secs_f64(hold_s).ok()?,
            busy,
            waited_share: waited as f64 / loans as f64,
            wait_now: wait(self.settings.max),
            wait_then: wait(recommended),
            law,
        })
    }
}

/// Fits the law, if the points differ enough to tell.
fn fit(points: &[(f64, f64)]) -> Option<Law> {
    let usl = Usl::fit(points)?;
    let points = points.iter().filter(|(busy, _)| *busy >= 1.0);
    let mean = points.clone().map(|(_, rate)| rate).sum::<f64>() / points.clone().count() as f64;
    let squares = |of: &dyn Fn(f64, f64) -> f64| {
        points.clone().map(|(busy, rate)| of(*busy, *rate).powi(2)).sum::<f64>()
    };
    let all = squares(&|_, rate| rate - mean);
    let rest = squares(&|busy, rate| rate - usl.throughput(busy));
    (all > 0.0).then(|| Law { usl, r_squared: 1.0 - rest / all, best: usl.best() })
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recommended, current, arrivals_per_s, hold, busy, waited_share, .. } = self;
        write!(f, "{current} connections at most, {recommended} would do: ")?;
        write!(f, "{arrivals_per_s:.0} loans per second of {hold:.1?} keep {busy:.1} busy; ")?;
        write!(f, "{:.1} % of the callers waited", waited_share * 100.0)?;
        for (wait, size) in [(self.wait_now, current), (self.wait_then, recommended)] {
            match wait {
                Some(wait) => write!(f, ", with {size} they wait {wait:.1?} on average")?,
                None => write!(f, ", with {size} the queue grows without bound")?,
            }
        }
        if let Some(law) = &self.law {
            write!(f, "; law of throughput fits with R² {:.2}", law.r_squared)?;
            if let Some(best) = law.best {
                write!(f, ", best at {best:.0}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { utilisation, waited_share } => {
                let [busy, waited] = [utilisation * 100.0, waited_share * 100.0];
                write!(f, "{busy:.0} % were busy and {waited:.0} % of the callers waited")
            }
            Self::Quiet { utilisation } => {
                write!(f, "only {:.0} % were busy", utilisation * 100.0)
            }
            Self::Slower { hold } => {
                write!(f, "loans of {hold:.1?} last much longer than they used to")
            }
        }
    }
}
