//! What was, read from the file.
//!
//! Invariant: an answer has at most a few hundred points whatever is asked, and takes bounded time
//! whatever is in the file.
//! Not here: who may ask, and on which thread (`thread.rs`).

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use super::level::{DAY, LEVELS, Level, begin};
use super::rows::weighed;
use crate::history::point::Weighed;
use crate::history::store::{Question, Recalled, Told};

/// Points that an answer has at most, but for those at its two ends.
pub(super) const POINTS_MAX: i64 = 400;
/// Steps that people count in; beyond them whole days.
const STEPS: [i64; 12] = [60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY];
/// Steps of SQLite's between two looks at the clock: a millisecond at most.
const LOOK: i32 = 1_000;

/// Interrupts whatever a connection does when a moment has come.
pub(super) fn limit(connection: &mut Connection, until: Instant) -> rusqlite::Result<()> {
    connection.progress_handler(LOOK, Some(move || Instant::now() >= until))
}

/// Takes the limit away.
pub(super) fn unlimit(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.progress_handler(0, None::<fn() -> bool>)
}

/// Returns the names of all pools.
pub(super) fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM series ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// Returns the minutes of the day before a moment, those that were seen last first; fewer pools if
/// there is not time for all.
pub(super) fn recall(connection: &Connection, now: i64) -> rusqlite::Result<Vec<Recalled>> {
    let mut statement = connection
        .prepare_cached("SELECT id, name FROM series WHERE seen > ?1 ORDER BY seen DESC, name")?;
    let from = now.saturating_sub(DAY);
    let pools = statement.query_map([from], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let pools: Vec<(i64, String)> = pools.collect::<Result<_, _>>()?;
    let minutes = LEVELS[0];
    let mut all = Vec::new();
    for (series, name) in pools {
        match points(connection, minutes, series, (from, now)) {
            Ok(points) => {
                let minutes = points.into_iter().map(|(at, looks)| (at, looks.values));
                all.push(Recalled { name, minutes: minutes.collect() });
            }
            Err(error) if is_interrupted(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Returns whether a limit ended it.
pub(super) fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

/// Answers a question; `None` if there is no such pool.
pub(super) fn answer(
    connection: &Connection,
    question: &Question,
) -> rusqlite::Result<Option<Told>> {
    let mut series = connection.prepare_cached("SELECT id FROM series WHERE name = ?1")?;
    let series: Option<i64> = series.query_row([&question.pool], |row| row.get(0)).optional()?;
    let Some(series) = series else { return Ok(None) };
    let mut firsts = [None; LEVELS.len()];
    for (first, level) in firsts.iter_mut().zip(LEVELS) {
        *first = oldest(connection, level, series)?;
    }
    let Some(oldest) = firsts.iter().flatten().min() else {
        return Ok(Some(Told { step: 60, points: Vec::new() }));
    };
    // What was before there was anything is not worth a coarser step.
    let window = (question.from.max(*oldest), question.to);
    let step = step(window.1.saturating_sub(window.0));
    let level = choose(step, window.0, &firsts);
    let step = step.max(level.step);
    let mut told: Vec<(i64, Weighed)> = Vec::new();
    for (at, looks) in points(connection, level, series, window)? {
        let at = begin(at, step);
        match told.last_mut() {
            Some((last, sum)) if *last == at => sum.join(&looks),
            _ => told.push((at, looks)),
        }
    }
    Ok(Some(Told { step: u32::try_from(step).unwrap_or(u32::MAX), points: told }))
}

/// Returns the finest step in which a time has few enough points.
fn step(seconds: i64) -> i64 {
    let fits = |step: &i64| seconds / step <= POINTS_MAX;
    STEPS.into_iter().find(fits).unwrap_or_else(|| (seconds / POINTS_MAX / DAY + 1) * DAY)
}

/// Chooses a level for a step: the coarsest that makes it up, unless only a still coarser one goes
/// back far enough.
fn choose(step: i64, from: i64, firsts: &[Option<i64>; LEVELS.len()]) -> Level {
    let fine = LEVELS.iter().rposition(|level| level.step <= step).unwrap_or(0);
    let known = LEVELS.into_iter().zip(firsts).skip(fine);
    let known: Vec<(Level, i64)> =
        known.filter_map(|(level, first)| first.map(|first| (level, first))).collect();
    let is_enough = |(place, (level, first)): &(usize, &(Level, i64))| {
        let reaches = *first <= from.saturating_add(level.step);
        // A coarser point begins before what is in it: that alone makes it go back no further.
        let goes_no_further = |coarse: &(Level, i64)| coarse.0.begin(*first) <= coarse.1;
        reaches || known.iter().skip(place + 1).all(goes_no_further)
    };
    let chosen = known.iter().enumerate().find(is_enough);
    chosen.map_or(LEVELS[fine], |(_, (level, _))| *level)
}

/// When the oldest point of a pool is in a level.
fn oldest(connection: &Connection, level: Level, series: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT min(at) FROM point WHERE level = ?1 AND series = ?2";
    connection.prepare_cached(sql)?.query_row([level.step, series], |row| row.get(0))
}

/// Reads the points of a pool that touch a time.
fn points(
    connection: &Connection,
    level: Level,
    series: i64,
    (from, to): (i64, i64),
) -> rusqlite::Result<Vec<(i64, Weighed)>> {
    let sql = "SELECT at, weight, data FROM point \
               WHERE level = ?1 AND series = ?2 AND at > ?3 AND at <= ?4 ORDER BY at";
    let mut statement = connection.prepare_cached(sql)?;
    let from = from.saturating_sub(level.step);
    let rows = statement.query_map(params![level.step, series, from, to], |row| {
        Ok((row.get(0)?, weighed(row.get(1)?, row.get_ref(2)?)))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_at_most_a_few_hundred_points_in_a_step_that_levels_make_up() {
        for seconds in (0..40_000_000i64).step_by(7_919).chain([i64::MAX / 2, 4_000_000_000]) {
            let step = step(seconds);
            assert!(seconds / step <= POINTS_MAX, "{seconds}: {step}");
            let fine = LEVELS.iter().rev().find(|level| level.step <= step).expect("a level");
            assert_eq!(step % fine.step, 0, "{seconds}: {step}");
        }
        let days = |days: i64| step(days * DAY);
        assert_eq!([days(0), days(1), days(7), days(30), days(365)], [60, 300, 1800, 7200, DAY]);
    }

    #[test]
    fn a_level_that_goes_back_far_enough_is_better_than_a_finer_one() {
        let firsts = [Some(90 * DAY), Some(10 * DAY), Some(0)];
        let step = |step, from| choose(step, from, &firsts).step;
        assert_eq!((step(60, 95 * DAY), step(60, 50 * DAY), step(60, DAY)), (60, 600, 3600));
        assert_eq!((step(1800, 50 * DAY), step(7200, 50 * DAY)), (600, 3600));
        assert_eq!(choose(60, 0, &[Some(7200), Some(7200), Some(0)]).step, 3600);
        let young = [Some(9 * 3600 + 2220), Some(9 * 3600 + 1800), Some(9 * 3600)];
        assert_eq!(choose(60, 0, &young).step, 60, "an hour begins before its first minute");
        assert_eq!(choose(60, 0, &[Some(7200), Some(7200), Some(7200)]).step, 60);
        assert_eq!(choose(60, 0, &[None, None, Some(5)]).step, 3600);
        assert_eq!(choose(3600, 0, &[Some(5), None, None]).step, 3600, "nothing is to be had");
    }
}
