//! Advice from the history that a running system keeps of itself: the peak of the day, not of the
//! moment.
//!
//! What is read are answers of `/api/v1/history` over ranges of different length: fine for the last
//! minutes, coarser for the hours before. In each window the connections in use are the load
//! (Little), and with the rate of transactions comes how long each held one; Erlang's formula says
//! how many keep waits short in the busiest window.
//!
//! Invariant: the time that was looked at stands beside the advice; no time is counted twice.
//! Left out: fetching the answers.

use headpond_core::sizing::square_root_staffing;
use serde::Serialize;
use serde_json::Value;

use super::VARIATION;
use crate::date;
use crate::duration::{digits, micros, text as time};
use crate::model::theory::Queue;

/// The version of what `headpond tune --from-metrics --json` writes of a history.
pub const SCHEMA: &str = "headpond-tune-history/1";
/// Windows are at least this long: a single look at a pool is no load.
const WINDOW_S: f64 = 10.0;
/// A pool that is used to this share in a window was full for part of it.
const FULL: f64 = 0.95;

/// Advice for all pools.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct History {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Pools that did something.
    pub pools: Vec<Past>,
}

/// What one pool did, and what follows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Past {
    /// The pool.
    pub pool: String,
    /// When the first window began, by this machine's clock; RFC 3339.
    pub from: String,
    /// When the last one ended.
    pub until: String,
    /// How many seconds were looked at, gaps not counted.
    pub seen_s: f64,
    /// Its limit now; 0 if unknown.
    pub size: u32,
    /// Connections in use on average in 95 % of the time at most.
    pub used_p95: f64,
    /// The same in the busiest window.
    pub used_max: f64,
    /// The most that waited at once.
    pub waiting_max: f64,
    /// What all but a hundredth waited at most, in the worst window.
    pub wait_p99_us: f64,
    /// Transactions per second in the busiest window.
    pub rate: f64,
    /// Whether the pool was full then: what was wanted is more than what was used.
    pub was_full: bool,
    /// The fewest connections that keep p99 of the wait within the promise in the busiest window.
    pub recommended: Option<u32>,
}

/// Some seconds of a pool.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// When it ended, in seconds before now.
    age_s: f64,
    length_s: f64,
    used: f64,
    size: f64,
    waiting: f64,
    wait_p99_s: f64,
    rate: f64,
}

/// Returns what follows from the answers for one pool, `wait_s` being how long all but a hundredth
/// may wait; none if they are no history or nothing was ever in use.
#[must_use]
pub fn advise(pool: &str, answers: &[Value], wait_s: f64) -> Option<Past> {
    let windows = windows(answers);
    let busiest = windows.iter().max_by(|a, b| a.used.total_cmp(&b.used))?;
    if busiest.used <= 0.0 {
        return None;
    }
    let greatest = |of: fn(&Window) -> f64| windows.iter().map(of).fold(0.0, f64::max);
    let last = windows.iter().min_by(|a, b| a.age_s.total_cmp(&b.age_s))?;
    let oldest = greatest(|window| window.age_s + window.length_s);
    let size = last.size.clamp(0.0, f64::from(u32::MAX)) as u32;
    let now = date::now();
    let ago = |seconds: f64| date::rfc3339(now.saturating_sub(seconds as u64));
    Some(Past {
        pool: pool.to_owned(),
        from: ago(oldest),
        until: ago(last.age_s),
        seen_s: windows.iter().map(|window| window.length_s).sum(),
        size,
        used_p95: quantile(&windows, 0.95),
        used_max: busiest.used,
        waiting_max: greatest(|window| window.waiting),
        wait_p99_us: greatest(|window| window.wait_p99_s) * 1e6,
        rate: busiest.rate,
        was_full: busiest.size > 0.0 && busiest.used >= FULL * busiest.size,
        recommended: recommended(busiest, wait_s),
    })
}

fn recommended(busiest: &Window, wait_s: f64) -> Option<u32> {
    if busiest.rate <= 0.0 {
        // Nobody knows how long each was held; the rule needs the load alone.
        return Some(square_root_staffing(busiest.used, 2.0).ceil().max(1.0) as u32);
    }
    let service_s = busiest.used / busiest.rate;
    Queue { rate: busiest.rate, service_s, servers: 0 }.fewest(0.99, wait_s, VARIATION)
}

/// Puts answers together, the finest first; of a coarser one only what is older.
fn windows(answers: &[Value]) -> Vec<Window> {
    let mut all: Vec<(f64, Vec<Window>)> = answers.iter().filter_map(read).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut together: Vec<Window> = Vec::new();
    for (_, windows) in all {
        let edge = |window: &Window| window.age_s + window.length_s;
        let covered = together.iter().map(edge).fold(0.0, f64::max);
        together.extend(windows.into_iter().filter(|window| window.age_s >= covered));
    }
    together
}

/// Reads an answer: the seconds of its points, and windows made of them, newest first.
fn read(answer: &Value) -> Option<(f64, Vec<Window>)> {
    let step = answer.get("step_seconds")?.as_f64().filter(|step| *step > 0.0)?;
    let fields = answer.get("fields")?.as_array()?;
    let place = |name: &str| fields.iter().position(|field| field == name);
    let (used, size) = (place("used")?, place("size")?);
    let (waiting, wait_p99) = (place("waiting"), place("wait_p99_seconds"));
    let rate = place("transactions_rate");
    let point = |point: &Value| {
        // The age comes first, then the fields.
        let at = |place: usize| point.get(place)?.as_f64().filter(|value| value.is_finite());
        let field = |place: Option<usize>| place.and_then(|place| at(place + 1)).unwrap_or(0.0);
        Some(Window {
            age_s: at(0)?.max(0.0),
            length_s: step,
            used: at(used + 1)?.max(0.0),
            size: at(size + 1)?,
            waiting: field(waiting),
            wait_p99_s: field(wait_p99),
            rate: field(rate),
        })
    };
    let mut points: Vec<Window> =
        answer.get("points")?.as_array()?.iter().filter_map(point).collect();
    points.sort_by(|a, b| a.age_s.total_cmp(&b.age_s));
    let each = (WINDOW_S / step).ceil().clamp(1.0, 1000.0) as usize;
    Some((step, points.chunks(each).filter_map(one).collect()))
}

/// Makes one window of neighbours, newest first: levels are averaged, peaks kept.
fn one(points: &[Window]) -> Option<Window> {
    let (newest, count) = (points.first()?, points.len() as f64);
    let mean = |of: fn(&Window) -> f64| points.iter().map(of).sum::<f64>() / count;
    let greatest = |of: fn(&Window) -> f64| points.iter().map(of).fold(0.0, f64::max);
    Some(Window {
        age_s: newest.age_s,
        length_s: newest.length_s * count,
        used: mean(|point| point.used),
        size: mean(|point| point.size),
        waiting: greatest(|point| point.waiting),
        wait_p99_s: greatest(|point| point.wait_p99_s),
        rate: mean(|point| point.rate),
    })
}

/// Returns what `used` was at most in this share of the time.
fn quantile(windows: &[Window], share: f64) -> f64 {
    let mut sorted: Vec<(f64, f64)> =
        windows.iter().map(|window| (window.used, window.length_s)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut left = share * sorted.iter().map(|(_, length)| length).sum::<f64>();
    for (used, length) in &sorted {
        left -= length;
        if left <= 0.0 {
            return *used;
        }
    }
    sorted.last().map_or(0.0, |(used, _)| *used)
}

/// Writes advice for the terminal.
#[must_use]
pub fn text(history: &History) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for one in &history.pools {
        let seen = time(std::time::Duration::from_secs_f64(one.seen_s.clamp(0.0, 1e9)));
        let _ = writeln!(
            out,
            "{}: from {} until {} ({seen} seen): {} in use in 95 % of the time, {} in the busiest, \
             of {}",
            one.pool,
            one.from,
            one.until,
            digits(one.used_p95),
            digits(one.used_max),
            one.size,
        );
        let _ = writeln!(
            out,
            "  {} waited at once at the most; p99 of the wait was at most {}; {}/s at the peak",
            digits(one.waiting_max),
            micros(one.wait_p99_us),
            digits(one.rate),
        );
        if one.was_full {
            out.push_str(
                "  the pool was full then: more was wanted than it shows; look again with \
                          a larger one\n",
            );
        }
        let _ = match one.recommended {
            None => writeln!(out, "  no size keeps the promise: queries hold connections too long"),
            Some(size) => writeln!(out, "  recommended: {size} (now {})", one.size),
        };
    }
    if history.pools.is_empty() {
        out.push_str("no connection was in use in all this time: nothing to say\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// An answer whose points are (age, used, waiting, wait p99, transactions).
    fn answer(step: f64, points: &[(f64, f64, f64, f64, f64)]) -> Value {
        let points = points
            .iter()
            .map(|(age, used, waiting, p99, rate)| json!([age, used, 20.0, waiting, p99, rate]));
        json!({
            "step_seconds": step,
            "fields": ["used", "size", "waiting", "wait_p99_seconds", "transactions_rate"],
            "points": points.collect::<Vec<_>>(),
        })
    }

    #[test]
    fn the_peak_of_the_day_counts_and_not_the_quiet_moment() {
        let day: Vec<_> = (0..600)
            .rev()
            .map(|minute| {
                let busy = minute == 300;
                let (used, rate) = if busy { (8.0, 1000.0) } else { (1.0, 100.0) };
                (f64::from(minute) * 60.0, used, if busy { 5.0 } else { 0.0 }, 0.002, rate)
            })
            .collect();
        let past = advise("a/b", &[answer(60.0, &day)], 0.01).expect("advice");
        assert_eq!((past.used_max, past.used_p95, past.waiting_max), (8.0, 1.0, 5.0));
        assert!((past.seen_s - 36_000.0).abs() < 1.0 && past.size == 20 && !past.was_full);
        let recommended = past.recommended.expect("there is one");
        assert!((9..=14).contains(&recommended), "{recommended}");
        assert!(past.from < past.until, "{} {}", past.from, past.until);
        let text = text(&History { schema: SCHEMA, pools: vec![past] });
        assert!(text.contains("10h seen") && text.contains("recommended"), "{text}");
    }

    #[test]
    fn no_time_is_counted_twice_and_fine_points_are_put_together() {
        let fine = (0..20).rev().map(|s| (f64::from(s), f64::from(s % 10), 0.0, 0.0, 9.0));
        let coarse = [(60.0, 3.0, 0.0, 0.0, 9.0), (0.0, 900.0, 0.0, 0.0, 9.0)];
        let answers = [answer(60.0, &coarse), answer(1.0, &fine.collect::<Vec<_>>())];
        let windows = windows(&answers);
        // Twenty seconds in two windows, and a minute before them; the coarse point of the same
        // time is left out.
        let used: Vec<f64> = windows.iter().map(|window| window.used).collect();
        assert_eq!(used, [4.5, 4.5, 3.0]);
        assert!((windows.iter().map(|w| w.length_s).sum::<f64>() - 80.0).abs() < 1e-9);
    }

    #[test]
    fn a_full_pool_is_said_to_be_full() {
        let full = answer(60.0, &[(0.0, 20.0, 30.0, 0.5, 2000.0)]);
        let past = advise("a", &[full], 0.01).expect("advice");
        assert!(past.was_full && past.recommended.is_some_and(|size| size > 20), "{past:?}");
    }

    #[test]
    fn what_is_no_history_or_shows_no_use_is_no_advice() {
        let idle = answer(60.0, &[(0.0, 0.0, 0.0, 0.0, 0.0)]);
        for answers in [vec![], vec![json!({"error": "x"})], vec![json!(3)], vec![idle]] {
            assert_eq!(advise("a", &answers, 0.01), None);
        }
        let odd =
            json!({"step_seconds": 1.0, "fields": ["used", "size"], "points": [[1], ["x"], 7]});
        assert_eq!(advise("a", &[odd], 0.01), None);
    }
}
