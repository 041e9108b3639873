//! What was: `/api/v1/history`, from memory where that reaches back far enough, else from a store.
//!
//! Invariant: memory answers at once; whoever asks for more waits for bounded time, and is told
//! what memory has, and why that is all, if the store does not answer.
//! Not here: the rings (`history`), the file (`history/disk/`), what is (`view.rs`).

use serde_json::{Value, json};

use super::query;
use crate::history::store::{AskError, Question, Told, Weighed};
use crate::history::trend::Trend;
use crate::history::{self, Range};
use crate::time::{parse_rfc3339, rfc3339};
use crate::watch::Monitor;

/// What a history shows unless something is asked for.
const RANGE_SECONDS: f64 = 900.0;
/// The longest time that can be asked for, and the latest moment: some thirty years.
const SECONDS_MAX: f64 = 1e9;
const MOMENT_MAX: f64 = 1e11;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pool: String,
    /// When it is asked, and from when to when, in seconds since 1970.
    now: f64,
    from: f64,
    to: f64,
}

impl Asked {
    /// Reads `pool`, and `range` or `from` and `to`.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn read(query: Option<&str>, now: f64) -> Result<Self, &'static str> {
        let value = |key| query::value(query, key);
        let pool = value("pool").unwrap_or_else(|| history::ALL.to_owned());
        let asked = |from, to| Ok(Self { pool, now, from, to });
        match (value("range"), value("from"), value("to")) {
            (None, None, None) => asked(now - RANGE_SECONDS, now),
            (Some(range), None, None) => match range.parse::<f64>() {
                Ok(range) if range > 0.0 && range <= SECONDS_MAX => asked(now - range, now),
                _ => Err("range must be a number of seconds"),
            },
            (None, Some(from), to) => {
                let to = to.map_or(Some(now), |to| moment(&to));
                match (moment(&from), to) {
                    (Some(from), Some(to)) if from < to => asked(from, to),
                    (Some(_), Some(_)) => Err("from must be before to, and before now without it"),
                    _ => Err("from and to must be seconds since 1970, or as in RFC 3339"),
                }
            }
            (None, None, Some(_)) => Err("to needs a from"),
            (Some(_), ..) => Err("either range or from and to"),
        }
    }
}

/// Reads seconds since 1970, or a moment as in RFC 3339.
fn moment(text: &str) -> Option<f64> {
    let seconds = text.parse::<f64>().ok().or_else(|| parse_rfc3339(text));
    seconds.filter(|seconds| (0.0..=MOMENT_MAX).contains(seconds))
}

/// Answers; `None` if there is no such pool.
///
/// # Errors
/// Only the store may know the pool, and it does not answer.
pub(super) async fn history(monitor: &Monitor, asked: &Asked) -> Result<Option<Value>, AskError> {
    let look = monitor.look();
    // Memory counts monotonic seconds, everybody else those of the clock.
    let monotonic = |moment: f64| look.at - (asked.now - moment);
    let (from, to) = (monotonic(asked.from), monotonic(asked.to).min(look.at));
    let (mut range, reaches, mut names) = {
        let state = monitor.state();
        let history = &state.history;
        let names = history.names().filter(|name| *name != history::ALL).map(str::to_owned);
        (
            history.between(&asked.pool, look.at, from, to),
            history.reaches(&asked.pool, look.at, from),
            names.collect::<Vec<String>>(),
        )
    };
    let mut trouble = None;
    if let Some(store) = monitor.store() {
        names.extend(store.names().into_iter().filter(|name| name != history::ALL));
        names.sort_unstable();
        names.dedup();
        if !reaches {
            let question =
                Question { pool: asked.pool.clone(), from: asked.from as i64, to: asked.to as i64 };
            match store.ask(question).await {
                Ok(told) => range = further(range, told.map(|told| of_store(told, asked.now))),
                Err(error) if range.is_none() => return Err(error),
                Err(error) => trouble = Some(error.to_string()),
            }
        }
    }
    let Some(range) = range else { return Ok(None) };
    let size = look.pools.iter().find(|(pool, _)| pool.name == asked.pool);
    let size = size.map(|(pool, _)| f64::from(pool.size_max)).filter(|size| *size > 0.0);
    let trend = Trend::of(&range.values("used"));
    // What will be follows from what is, not from what was last week.
    let is_now = asked.to >= asked.now - range.step_seconds;
    let full_in = trend.zip(size).and_then(|(trend, size)| trend.seconds_until(size));
    Ok(Some(json!({
        "at": rfc3339(monitor.wall(look.at)),
        "pool": asked.pool,
        "pools": names,
        "from": rfc3339(asked.from),
        "to": rfc3339(asked.to),
        "step_seconds": range.step_seconds,
        "fields": range.fields,
        "points": range.points,
        "trend": trend,
        "full_in_seconds": full_in.filter(|_| is_now),
        "on_disk": monitor.store().is_some(),
        "trouble": trouble,
    })))
}

/// Returns the one that goes back further; what is in memory if both do.
fn further(memory: Option<Range>, store: Option<Range>) -> Option<Range> {
    let (Some(memory), Some(store)) = (&memory, &store) else { return memory.or(store) };
    let ago = |range: &Range| range.points.first().and_then(|point| point.first().copied());
    let is_further = match (ago(memory), ago(store)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(memory_ago), Some(store_ago)) => {
            store_ago > memory_ago + memory.step_seconds + store.step_seconds
        }
    };
    Some(if is_further { store.clone() } else { memory.clone() })
}

/// Words an answer as memory would: how long ago each point was over, and its values.
fn of_store(told: Told, now: f64) -> Range {
    let step = f64::from(told.step);
    let point = |(at, looks): (i64, Weighed)| {
        let ago = (now - (at as f64 + step)).max(0.0);
        std::iter::once(ago).chain(looks.values.map(f64::from)).collect()
    };
    Range {
        step_seconds: step,
        fields: history::fields(),
        points: told.points.into_iter().map(point).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(f64, f64), &'static str> {
        Asked::read(Some(query), 2e9).map(|asked| (asked.from, asked.to))
    }

    #[test]
    fn a_time_is_a_range_or_two_moments() {
        assert_eq!(read(""), Ok((2e9 - 900.0, 2e9)));
        assert_eq!(read("range=60"), Ok((2e9 - 60.0, 2e9)));
        assert_eq!(read("from=1000"), Ok((1000.0, 2e9)));
        assert_eq!(read("from=1000&to=2000.5"), Ok((1000.0, 2000.5)));
        let noon = "from=2026-11-24T12:00:00Z&to=2026-11-24T14:00:00%2B01:00";
        assert_eq!(read(noon), Ok((1_795_521_600.0, 1_795_525_200.0)));
        assert_eq!(read(&noon.replace("%2B", "+")), read(noon));
        for wrong in [
            "range=0",
            "range=-1",
            "range=x",
            "range=NaN",
            "range=inf",
            "range=1e10",
            "range=",
            "to=5",
            "from=5&to=5",
            "from=6&to=5",
            "from=3e9",
            "from=x",
            "from=-1",
            "from=NaN",
            "from=5&to=1e300",
            "from=5&to=",
            "range=5&from=5",
            "range=5&to=5",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_goes_back_further_answers() {
        let range = |step_seconds, ago: &[f64]| Range {
            step_seconds,
            fields: Vec::new(),
            points: ago.iter().map(|ago| vec![*ago]).collect(),
        };
        let step = |memory, store| further(memory, store).map(|range| range.step_seconds);
        let memory = || Some(range(1.0, &[100.0, 99.0]));
        assert_eq!(step(memory(), None), Some(1.0));
        assert_eq!(step(None, Some(range(60.0, &[]))), Some(60.0));
        assert_eq!(step(None, None), None);
        assert_eq!(step(memory(), Some(range(60.0, &[]))), Some(1.0));
        assert_eq!(step(memory(), Some(range(60.0, &[130.0]))), Some(1.0), "the same minute");
        assert_eq!(step(memory(), Some(range(60.0, &[3_000.0]))), Some(60.0));
        assert_eq!(step(Some(range(1.0, &[])), Some(range(60.0, &[9.0]))), Some(60.0));
    }
}
