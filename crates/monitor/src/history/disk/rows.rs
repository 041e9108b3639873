//! Minutes on their way into the file, and what gives way to them.
//!
//! Invariant: a minute is written whole or not at all, into every level at once, so each point is
//! what the raw ones would give; written twice it only weighs more. What is deleted is the
//! oldest, in small steps: a clock that is wrong for a while costs little.
//! Not here: where the file is (`file.rs`), when to try again (`thread.rs`).

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::level::{LEVELS, Level};
use crate::history::ALL;
use crate::history::minute::Minute;
use crate::history::point::{Values, Weighed};

/// Pools that one minute may push out of a full file: each takes its points with it.
const FORGET_MAX: u32 = 4;
/// Points of a pool and a level that grow too old in one minute; one does by itself.
const EXPIRE_MAX: i64 = 16;
/// Slices that are deleted for one minute at most when the file is full.
const ROUNDS_MAX: u32 = 32;
/// Free pages that one minute gives back when the file shall be smaller: a megabyte.
const SHRINK_PAGES: i64 = 256;

/// What bounds the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Seconds that the coarsest level goes back.
    pub keep: i64,
    /// Pools; the sum has a place of its own.
    pub pools_max: i64,
    /// Pages of the file, without its log.
    pub pages_max: i64,
}

/// What became of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Whether older points gave way because the file is full.
    pub was_full: bool,
}

/// Writes a minute.
pub(super) fn write(
    connection: &mut Connection,
    limits: &Limits,
    minute: &Minute,
) -> rusqlite::Result<Written> {
    let was_full = make_room(connection, limits, minute)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut strangers = Vec::new();
    // Whoever is known is seen first, so that a stranger pushes out nobody of this minute.
    for (name, looks) in &minute.pools {
        match seen(&transaction, name, minute.at)? {
            Some(series) => put_all(&transaction, series, minute.at, looks)?,
            None => strangers.push((name, looks)),
        }
    }
    let mut forgotten = 0;
    for (name, looks) in strangers {
        if name != ALL && !has_place(&transaction, limits, minute.at, &mut forgotten)? {
            continue;
        }
        let series = enter(&transaction, name, minute.at)?;
        put_all(&transaction, series, minute.at, looks)?;
    }
    expire(&transaction, limits, minute.at)?;
    transaction.commit()?;
    Ok(Written { was_full })
}

/// Notes that a pool was seen; returns its number if it is known.
fn seen(transaction: &Transaction<'_>, name: &str, at: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "UPDATE series SET seen = max(seen, ?2) WHERE name = ?1 RETURNING id";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.query_row(params![name, at], |row| row.get(0)).optional()
}

fn enter(transaction: &Transaction<'_>, name: &str, at: i64) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO series (name, seen) VALUES (?1, ?2) RETURNING id";
    transaction.prepare_cached(sql)?.query_row(params![name, at], |row| row.get(0))
}

/// Returns whether there is place for another pool, made at the cost of who was gone longest.
fn has_place(
    transaction: &Transaction<'_>,
    limits: &Limits,
    at: i64,
    forgotten: &mut u32,
) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM series WHERE name <> ?1";
    let count: i64 = transaction.prepare_cached(sql)?.query_row([ALL], |row| row.get(0))?;
    if count < limits.pools_max {
        return Ok(true);
    }
    let sql = "SELECT id FROM series WHERE name <> ?1 AND seen < ?2 ORDER BY seen LIMIT 1";
    let mut oldest = transaction.prepare_cached(sql)?;
    let oldest: Option<i64> = oldest.query_row(params![ALL, at], |row| row.get(0)).optional()?;
    let Some(series) = oldest.filter(|_| *forgotten < FORGET_MAX) else { return Ok(false) };
    *forgotten += 1;
    let sql = "DELETE FROM point WHERE level = ?1 AND series = ?2";
    let mut points = transaction.prepare_cached(sql)?;
    for level in LEVELS {
        points.execute([level.step, series])?;
    }
    transaction.prepare_cached("DELETE FROM series WHERE id = ?1")?.execute([series])?;
    // More than one has to go if fewer may stay than before; the next stranger goes on.
    Ok(count == limits.pools_max)
}

/// Joins looks to the points of every level that they belong to.
fn put_all(
    transaction: &Transaction<'_>,
    series: i64,
    at: i64,
    looks: &Weighed,
) -> rusqlite::Result<()> {
    LEVELS.iter().try_for_each(|level| put(transaction, *level, series, at, looks))
}

fn put(
    transaction: &Transaction<'_>,
    level: Level,
    series: i64,
    at: i64,
    looks: &Weighed,
) -> rusqlite::Result<()> {
    let at = level.begin(at);
    let sql = "SELECT weight, data FROM point WHERE level = ?1 AND series = ?2 AND at = ?3";
    let mut before = transaction.prepare_cached(sql)?;
    let before = before
        .query_row(params![level.step, series, at], |row| Ok(weighed(row.get(0)?, row.get_ref(1)?)))
        .optional()?;
    let mut point = before.unwrap_or_default();
    point.join(looks);
    let sql = "INSERT INTO point (level, series, at, weight, data) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (level, series, at) \
               DO UPDATE SET weight = excluded.weight, data = excluded.data";
    let data = encode(&point.values);
    transaction.prepare_cached(sql)?.execute(params![
        level.step,
        series,
        at,
        point.weight,
        data.as_slice()
    ])?;
    Ok(())
}

/// Deletes what is too old, a little at a time, and pools of which nothing is left.
fn expire(transaction: &Transaction<'_>, limits: &Limits, now: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM point WHERE level = ?1 AND series = ?2 AND at IN \
               (SELECT at FROM point WHERE level = ?1 AND series = ?2 AND at < ?3 \
                ORDER BY at LIMIT ?4)";
    let mut points = transaction.prepare_cached(sql)?;
    for series in all(transaction)? {
        for level in LEVELS {
            let before = level.begin(now.saturating_sub(level.keep.min(limits.keep)));
            points.execute([level.step, series, before, EXPIRE_MAX])?;
        }
    }
    let sql = "DELETE FROM series WHERE seen < ?1 AND NOT EXISTS \
               (SELECT 1 FROM point WHERE level IN (?2, ?3, ?4) AND series = series.id)";
    let [fine, middle, coarse] = LEVELS.map(|level| level.step);
    let before = now.saturating_sub(limits.keep);
    transaction.prepare_cached(sql)?.execute([before, fine, middle, coarse])?;
    Ok(())
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM series")?;
    let numbers = statement.query_map([], |row| row.get(0))?;
    numbers.collect()
}

/// Deletes the oldest points while the file is almost full; returns whether it was. A file that was
/// allowed more before gives back some of what it does not need.
fn make_room(
    connection: &mut Connection,
    limits: &Limits,
    minute: &Minute,
) -> rusqlite::Result<bool> {
    let most = limits.pages_max;
    // Each pool may begin a page in each level.
    let begun = i64::try_from(minute.pools.len() * LEVELS.len()).unwrap_or(i64::MAX);
    let spare = (most / 16).max(begun).min(most / 2);
    let mut rounds = 0;
    while used(connection)? > most - spare && rounds < ROUNDS_MAX {
        rounds += 1;
        if !give_way(connection, minute.at)? {
            break;
        }
    }
    if number(connection, "page_count")? > most {
        connection.pragma(None, "incremental_vacuum", SHRINK_PAGES, |_| Ok(()))?;
        connection.pragma_update(None, "max_page_count", most)?;
    }
    Ok(rounds > 0)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Pages with something in them.
fn used(connection: &Connection) -> rusqlite::Result<i64> {
    Ok(number(connection, "page_count")? - number(connection, "freelist_count")?)
}

/// Deletes a slice of the oldest points: of the finest level that has more than it needs, else of
/// the finest that has any; false if nothing is left to delete.
fn give_way(connection: &mut Connection, now: i64) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let all = all(&transaction)?;
    for is_spared in [true, false] {
        for level in LEVELS {
            let Some(first) = first(&transaction, level)? else { continue };
            let spared = if is_spared { now.saturating_sub(level.floor) } else { i64::MAX };
            if first >= spared {
                continue;
            }
            let before = first.saturating_add(level.slice).min(spared);
            let sql = "DELETE FROM point WHERE level = ?1 AND series = ?2 AND at < ?3";
            let mut points = transaction.prepare_cached(sql)?;
            for series in &all {
                points.execute([level.step, *series, before])?;
            }
            drop(points);
            transaction.commit()?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// When the oldest point of a level is.
fn first(connection: &Connection, level: Level) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT min((SELECT min(at) FROM point WHERE level = ?1 AND series = series.id)) \
               FROM series";
    connection.prepare_cached(sql)?.query_row([level.step], |row| row.get(0))
}

fn encode(values: &Values) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Reads what may have been damaged: what is missing or no number is zero.
pub(super) fn weighed(weight: i64, data: rusqlite::types::ValueRef<'_>) -> Weighed {
    let data = data.as_blob().unwrap_or_default();
    let mut values = Values::default();
    let (singles, _) = data.as_chunks();
    for (value, bytes) in values.iter_mut().zip(singles) {
        let single = f32::from_le_bytes(*bytes);
        *value = if single.is_finite() { single } else { 0.0 };
    }
    Weighed { weight: u32::try_from(weight).unwrap_or(0), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written_and_damage_is_zero() {
        let mut values = Values::default();
        values[0] = 0.1;
        values[11] = f32::MAX;
        let data = encode(&values);
        let read = |weight, data: &[u8]| weighed(weight, rusqlite::types::ValueRef::Blob(data));
        assert_eq!(read(60, &data), Weighed { weight: 60, values });
        assert_eq!(read(-1, &data[..7]).weight, 0);
        assert_eq!(read(1, &data[..7]).values[..2], [0.1, 0.0]);
        assert_eq!(read(1, &[0xff; 48]).values, Values::default());
        assert_eq!(read(1, &[0; 400]).values, Values::default());
    }
}
