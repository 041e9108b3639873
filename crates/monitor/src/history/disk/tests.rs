//! Laws of the history on disk, on real files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::file::{beside, bytes};
use super::level::{DAY, LEVELS, begin};
use super::*;
use crate::history::ALL;
use crate::history::point::Weighed;

/// A moment some years ago, the begin of an hour.
const THEN: i64 = 1_700_002_800;
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.db");
    (folder, path)
}

fn looks(weight: u32, used: f32, waiting: f32) -> Weighed {
    let mut looks = Weighed { weight, ..Weighed::default() };
    looks.values[0] = used;
    looks.values[4] = waiting;
    looks
}

fn minute(at: i64, pools: &[(&str, Weighed)]) -> Minute {
    Minute { at, pools: pools.iter().map(|(name, looks)| ((*name).to_owned(), *looks)).collect() }
}

fn open_then(path: &Path) -> Store {
    open_at(Settings::new(path), THEN).expect("it opens")
}

fn limits(file: &File) -> rows::Limits {
    rows::Limits { keep: 400 * DAY, pools_max: 100, pages_max: file.pages_max }
}

fn begun(path: &Path, bytes_max: u64) -> File {
    File::begin(path, bytes_max, Trust::Usual).expect("it opens").0
}

fn write(file: &mut File, minute: &Minute) -> rows::Written {
    let limits = limits(file);
    rows::write(&mut file.connection, &limits, minute).expect("it is written")
}

fn question(pool: &str, from: i64, to: i64) -> Question {
    Question { pool: pool.to_owned(), from, to }
}

fn ask(store: &Store, pool: &str, from: i64, to: i64) -> Result<Option<Told>, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(store.0.ask(question(pool, from, to)))
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // The pause only spares the processor: what is waited for is the condition.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every point of a pool in a level.
fn points(file: &File, step: i64, pool: &str) -> BTreeMap<i64, Weighed> {
    let sql = "SELECT at, weight, data FROM point JOIN series ON series = id \
               WHERE level = ?1 AND name = ?2";
    let mut statement = file.connection.prepare(sql).expect("a query");
    let rows = statement.query_map(rusqlite::params![step, pool], |row| {
        Ok((row.get(0)?, rows::weighed(row.get(1)?, row.get_ref(2)?)))
    });
    rows.expect("points").collect::<Result<_, _>>().expect("points")
}

/// What points are by definition: all looks of a step, each weighing the same.
fn by_hand(raw: &[(i64, Weighed)], step: i64) -> BTreeMap<i64, (u32, f64, f32)> {
    let mut all: BTreeMap<i64, (u32, f64, f32)> = BTreeMap::new();
    for (at, looks) in raw {
        let (weight, sum, greatest) = all.entry(begin(*at, step)).or_default();
        *weight += looks.weight;
        *sum += f64::from(looks.values[0]) * f64::from(looks.weight);
        *greatest = greatest.max(looks.values[4]);
    }
    all.values_mut().for_each(|(weight, sum, _)| *sum /= f64::from(*weight));
    all
}

fn assert_same(told: &BTreeMap<i64, Weighed>, expected: &BTreeMap<i64, (u32, f64, f32)>) {
    let (told_at, expected_at): (Vec<_>, Vec<_>) =
        (told.keys().collect(), expected.keys().collect());
    assert_eq!(told_at, expected_at);
    for ((at, told), (weight, used, waiting)) in told.iter().zip(expected.values()) {
        assert_eq!((told.weight, told.values[4]), (*weight, *waiting), "{at}");
        assert!((f64::from(told.values[0]) - used).abs() < 1e-3, "{at}: {told:?} {used}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// In whatever order and however often minutes come.
    #[test]
    fn what_is_thinned_out_is_what_the_raw_looks_give(
        raw in prop::collection::vec((0i64..3_000, 1u32..60, 0f32..100.0, 0f32..50.0), 1..60),
        from in -100i64..4_000,
        width in 1i64..4_000,
    ) {
        let (_folder, path) = folder();
        let mut file = begun(&path, SIZE_MIN);
        let raw: Vec<(i64, Weighed)> = raw
            .into_iter()
            .map(|(at, weight, used, waiting)| (THEN + at * 60, looks(weight, used, waiting)))
            .collect();
        for (at, looks) in &raw {
            write(&mut file, &minute(*at, &[("p", *looks), ("q", *looks)]));
        }
        for level in LEVELS {
            assert_same(&points(&file, level.step, "p"), &by_hand(&raw, level.step));
        }
        let (from, to) = (THEN + from * 60, THEN + (from + width) * 60);
        let told = read::answer(&file.connection, &question("q", from, to));
        let told = told.expect("an answer").expect("it is known");
        let step = i64::from(told.step);
        let touched = raw.iter().filter(|(at, _)| {
            let level = LEVELS.iter().rev().find(|level| level.step <= step).expect("a level");
            begin(*at, level.step) > from - level.step && begin(*at, level.step) <= to
        });
        let touched: Vec<(i64, Weighed)> = touched.copied().collect();
        prop_assert!(told.points.len() <= 403, "{}", told.points.len());
        assert_same(&told.points.into_iter().collect(), &by_hand(&touched, step));
    }
}

#[test]
fn a_restart_keeps_what_was_and_its_owner_alone_reads_it() {
    let (_folder, path) = folder();
    let store = open_then(&path);
    for n in 0..30u8 {
        store.0.put(minute(
            THEN - 1_800 + i64::from(n) * 60,
            &[("a/b", looks(60, f32::from(n), 0.0)), (ALL, looks(60, 2.0 * f32::from(n), 0.0))],
        ));
        // As slowly as in life: the line is shorter than this.
        until("it to be written", || (store.0.names().len() == 2).then_some(()));
        let last = question("a/b", THEN - 1_800 + i64::from(n) * 60, THEN);
        until("it to be told", || {
            let told = ask(&store, &last.pool, last.from, last.to).expect("an answer")?;
            told.points.last().filter(|(_, looks)| looks.values[0] == f32::from(n)).map(drop)
        });
    }
    assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(beside(&path, "-wal")).expect("a log").mode() & 0o777, 0o600);
    store.0.close();
    assert!(matches!(ask(&store, ALL, 0, THEN), Err(AskError::Unreadable(_))));
    drop(store);

    let store = open_then(&path);
    let recalled = store.0.recall();
    assert_eq!(store.0.recall(), [], "once is enough");
    let names: Vec<&str> = recalled.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, [ALL, "a/b"]);
    let used: Vec<f32> = recalled[1].minutes.iter().map(|(_, values)| values[0]).collect();
    assert_eq!(used, (0..30u8).map(f32::from).collect::<Vec<_>>());
    assert_eq!(recalled[1].minutes[0].0, THEN - 1_800);
    assert_eq!(store.0.names(), [ALL, "a/b"]);
    assert!(store.0.condition().bytes > 0);
    assert_eq!(ask(&store, "none", 0, THEN), Ok(None));
}

#[test]
fn a_day_is_recalled_and_no_more() {
    let (_folder, path) = folder();
    let mut file = begun(&path, SIZE_MIN);
    for at in [THEN - 2 * DAY, THEN - DAY + 120, THEN - 60, THEN + 3_600] {
        write(&mut file, &minute(at, &[("p", looks(60, 1.0, 0.0))]));
    }
    let recalled = read::recall(&file.connection, THEN).expect("read");
    let at: Vec<i64> = recalled[0].minutes.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [THEN - DAY + 120, THEN - 60]);
}

#[test]
fn a_clock_that_goes_backwards_adds_to_what_is_there() {
    let (_folder, path) = folder();
    let mut file = begun(&path, SIZE_MIN);
    for (at, used) in [(THEN, 1.0), (THEN + 60, 3.0), (THEN - 3_600, 5.0), (THEN, 2.0)] {
        write(&mut file, &minute(at, &[("p", looks(30, used, used))]));
    }
    let minutes = points(&file, 60, "p");
    let told: Vec<_> = minutes.iter().map(|(at, l)| (at - THEN, l.weight, l.values[0])).collect();
    assert_eq!(told, [(-3_600, 30, 5.0), (0, 60, 1.5), (60, 30, 3.0)]);
}

#[test]
fn a_clock_that_is_years_ahead_for_a_while_costs_little() {
    let (_folder, path) = folder();
    let mut file = begun(&path, SIZE_MIN);
    for n in 0..100 {
        write(&mut file, &minute(THEN + n * 60, &[("p", looks(60, 1.0, 0.0))]));
    }
    write(&mut file, &minute(THEN + 4_000 * DAY, &[("p", looks(60, 1.0, 0.0))]));
    assert_eq!(points(&file, 60, "p").len(), 100 - 16 + 1);
    assert_eq!(points(&file, 3600, "p").len(), 1, "a few hours were all there was");
}

#[test]
fn what_is_too_old_goes_and_with_its_last_point_the_pool() {
    let (_folder, path) = folder();
    let mut file = begun(&path, SIZE_MIN);
    write(&mut file, &minute(THEN, &[("old", looks(60, 1.0, 0.0)), (ALL, looks(60, 1.0, 0.0))]));
    for (days, left) in [(6, 3), (8, 2), (91, 1), (399, 1), (401, 0)] {
        write(&mut file, &minute(THEN + days * DAY, &[(ALL, looks(60, 1.0, 0.0))]));
        let levels = LEVELS.iter().map(|level| points(&file, level.step, "old").len());
        assert_eq!(levels.sum::<usize>(), left, "after {days} days");
    }
    assert_eq!(read::names(&file.connection).expect("names"), [ALL]);
}

#[test]
fn a_pool_that_is_one_too_many_pushes_out_who_was_gone_longest() {
    let (_folder, path) = folder();
    let mut file = begun(&path, SIZE_MIN);
    let limits = rows::Limits { pools_max: 3, ..limits(&file) };
    let mut write = |at: i64, names: &[&str]| {
        let pools: Vec<(&str, Weighed)> =
            names.iter().map(|name| (*name, looks(1, 1.0, 1.0))).collect();
        rows::write(&mut file.connection, &limits, &minute(at, &pools)).expect("written");
        read::names(&file.connection).expect("names")
    };
    write(THEN, &[ALL, "a", "b", "c"]);
    write(THEN + 60, &[ALL, "c", "a"]);
    assert_eq!(write(THEN + 120, &["a", "d"]), [ALL, "a", "c", "d"], "b was gone longest");
    assert_eq!(write(THEN + 120, &["e", "f", "d", "a"]), [ALL, "a", "d", "e"], "all are here");
    assert_eq!(points(&file, 60, "a").len(), 3);
    let orphans = "SELECT count(*) FROM point WHERE series NOT IN (SELECT id FROM series)";
    let orphans = file.connection.query_row(orphans, [], |row| row.get::<_, i64>(0));
    assert_eq!(orphans.expect("a count"), 0);
}

#[test]
fn years_of_a_hundred_pools_stay_within_the_size() {
    let (_folder, path) = folder();
    let mut file = begun(&path, SIZE_MIN);
    let names: Vec<String> = (0..100).map(|n| format!("database-{n}/user")).collect();
    let mut was_full = false;
    let (mut at, end) = (THEN, THEN + 400 * DAY);
    while at < end {
        let looks = looks(60, 1.5, 3.0);
        let pools: Vec<(&str, Weighed)> =
            names.iter().map(String::as_str).chain([ALL]).map(|name| (name, looks)).collect();
        was_full |= write(&mut file, &minute(at, &pools)).was_full;
        let bytes = bytes(&path);
        assert!(bytes <= SIZE_MIN, "{bytes} after {} days", (at - THEN) / DAY);
        at += DAY / 4;
    }
    assert!(was_full, "or the test shows nothing");
    let first = |step| points(&file, step, &names[99]).into_keys().next().expect("a point");
    let ago = LEVELS.map(|level| (end - first(level.step)) / DAY);
    assert!(ago[0] >= 1 && ago[1] >= 7 && ago[2] >= 60, "{ago:?} days");
    assert!(ago[0] <= 7 && ago[1] < 90 && ago[1] < ago[2], "the finest goes first: {ago:?} days");
    assert!(points(&file, 60, ALL).contains_key(&(at - DAY / 4)), "the newest is there");
}

#[test]
fn a_file_that_may_be_no_longer_as_large_shrinks() {
    let (_folder, path) = folder();
    let mut file = begun(&path, 4 * SIZE_MIN);
    let names: Vec<String> = (0..100).map(|n| format!("database-{n}/user")).collect();
    let pools: Vec<(&str, Weighed)> =
        names.iter().map(|name| (name.as_str(), looks(60, 1.0, 1.0))).collect();
    let mut at = THEN;
    while bytes(&path) < SIZE_MIN + SIZE_MIN / 2 {
        at += 3_600;
        write(&mut file, &minute(at, &pools));
    }
    drop(file);
    let mut file = begun(&path, SIZE_MIN);
    for _ in 0..30 {
        at += 60;
        write(&mut file, &minute(at, &pools));
    }
    drop(file);
    assert!(bytes(&path) <= SIZE_MIN, "{}", bytes(&path));
}

#[test]
fn two_processes_write_one_file() {
    let (_folder, path) = folder();
    let writer = |offset: u32| {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut file = begun(&path, SIZE_MIN);
            for n in 0..60u32 {
                let used = looks(1, (n % 2 + offset) as f32, 0.0);
                write(&mut file, &minute(THEN + i64::from(n / 2) * 60, &[("p", used)]));
            }
        })
    };
    let (one, other) = (writer(0), writer(10));
    one.join().expect("it writes");
    other.join().expect("so does the other");
    let minutes = points(&begun(&path, SIZE_MIN), 60, "p");
    assert_eq!(minutes.len(), 30);
    assert!(
        minutes.values().all(|l| l.weight == 4 && (l.values[0] - 5.5).abs() < 1e-3),
        "{minutes:?}"
    );
}

#[test]
fn a_full_line_never_blocks_and_is_counted() {
    let (_folder, path) = folder();
    let store = open_then(&path);
    let other = Connection::open(&path).expect("it is a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    let before = Instant::now();
    for n in 0..200 {
        store.0.put(minute(THEN + n * 60, &[("p", looks(60, 1.0, 0.0))]));
    }
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    let dropped = store.0.condition().dropped;
    let room = u64::try_from(LINE_MAX).expect("a small number") + 1;
    assert!((200 - room..=200 - room + 1).contains(&dropped), "{dropped}");
    other.execute_batch("ROLLBACK").expect("it was begun");
    let written = until("what found a place to be written", || {
        let told = ask(&store, "p", THEN, THEN + 200 * 60).expect("an answer")?;
        (told.points.len() as u64 == 200 - dropped).then_some(told)
    });
    assert_eq!(written.step, 60);
}

#[test]
fn a_disk_in_trouble_is_said_once_counted_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).expect("a folder");
    let path = inside.join("history.db");
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let warn: Warn =
        Arc::new(move |text: &str| heard.lock().expect("no panic").push(text.to_owned()));
    let settings = Settings { warn: Some(warn), ..Settings::new(&path) };
    let store = open_at(settings, THEN).expect("it opens");
    fs::rename(&inside, folder.path().join("gone")).expect("renamed");
    store.0.put(minute(THEN, &[("p", looks(60, 1.0, 0.0))]));
    until("a second attempt", || (store.0.condition().errors >= 2).then_some(()));
    let answer = ask(&store, "p", THEN, THEN + 60);
    assert!(matches!(answer, Err(AskError::Unreadable(_))), "{answer:?}");
    fs::create_dir(&inside).expect("a folder");
    let mut remarks = Vec::new();
    until("it to be said that it is over", || {
        remarks.extend(store.0.remarks());
        (remarks.len() > 1).then_some(())
    });
    let told = ask(&store, "p", THEN, THEN + 60).expect("an answer");
    assert_eq!(told.expect("it is known").points.len(), 1);
    assert!(remarks[0].text.contains("does not exist") && !remarks[0].is_good, "{remarks:?}");
    assert!(remarks[1].text.contains("again") && remarks[1].is_good, "{remarks:?}");
    assert_eq!(said.lock().expect("no panic").len(), 2, "the log has heard the same");
    assert_eq!(store.0.remarks(), []);
}

#[test]
fn an_end_does_not_wait_for_a_disk_in_trouble() {
    let (_folder, path) = folder();
    let store = open_then(&path);
    let other = Connection::open(&path).expect("it is a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    store.0.put(minute(THEN, &[("p", looks(60, 1.0, 0.0))]));
    let before = Instant::now();
    drop(store);
    assert!(before.elapsed() < 2 * CLOSE_MAX, "{:?}", before.elapsed());
}

/// A file with something on many pages, all of it in the file itself.
fn filled(path: &Path) {
    let mut file = begun(path, SIZE_MIN);
    let names: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
    let pools: Vec<(&str, Weighed)> =
        names.iter().map(|name| (name.as_str(), looks(60, 1.0, 1.0))).collect();
    for n in 0..100 {
        write(&mut file, &minute(THEN - 6_000 + n * 60, &pools));
    }
}

fn asides(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(file::folder(path)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.to_string_lossy().contains(".corrupt-"))
        .filter(|path| !path.to_string_lossy().ends_with("-wal"))
        .collect()
}

#[test]
fn a_damaged_file_is_set_aside_whole_and_a_new_one_begun() {
    // Its head, a table's page, its middle, its end.
    for (place, from, to) in [("head", 0, 100), ("pages", 8_192, 40_960), ("all", 0, 200_000)] {
        let (_folder, path) = folder();
        filled(&path);
        let mut damaged = fs::read(&path).expect("a file");
        damaged[from..to].fill(0xAA);
        fs::write(&path, &damaged).expect("it is ours");
        let store = open_then(&path);
        let remarks = store.0.remarks();
        assert!(remarks.len() == 1 && remarks[0].text.contains("damaged"), "{place}: {remarks:?}");
        assert_eq!(store.0.condition().errors, 1, "{place}");
        let asides = asides(&path);
        assert_eq!(asides.len(), 1, "{place}: {asides:?}");
        assert_eq!(fs::read(&asides[0]).expect("it was kept"), damaged, "{place}");
        store.0.put(minute(THEN, &[("p", looks(60, 1.0, 0.0))]));
        until("the new one to be written", || {
            ask(&store, "p", THEN, THEN + 60).expect("an answer")
        });
    }
}

#[test]
fn a_file_that_is_damaged_while_it_is_written_is_set_aside_too() {
    let (_folder, path) = folder();
    filled(&path);
    let shared = Arc::new(Shared::new(path.clone(), None));
    let file = begun(&path, SIZE_MIN);
    let mut bytes = fs::read(&path).expect("a file");
    bytes[8_192..].fill(0xAA);
    fs::write(&path, &bytes).expect("it is ours");
    let limits = limits(&file);
    let (trust, trouble) = (Trust::Usual, Trouble::default());
    let mut writer =
        Writer { shared, bytes_max: SIZE_MIN, limits, file: Some(file), trust, trouble };
    let minute = minute(THEN, &[("p", looks(60, 1.0, 0.0))]);
    let error = writer.attempt(&minute).expect_err("what it reads is damaged");
    assert!(error.is_damage(), "{error}");
    writer.attempt(&minute).expect("a new file");
    assert_eq!(asides(&path).len(), 1);
    assert_eq!(points(&begun(&path, SIZE_MIN), 60, "p").len(), 1);
}

#[test]
fn what_is_damaged_again_and_again_is_an_error_at_last() {
    let (_folder, path) = folder();
    for n in 0..4 {
        fs::write(&path, [0u8, 1, 2, 3]).expect("it is ours");
        drop(open_then(&path));
        assert_eq!(asides(&path).len(), n + 1);
    }
    fs::write(&path, [0u8, 1, 2, 3]).expect("it is ours");
    let error = File::begin(&path, SIZE_MIN, Trust::Usual).expect_err("it is enough");
    assert!(matches!(error, OpenError::Damaged { before: 4, .. }), "{error}");
    // It starts all the same, and goes on when somebody has looked.
    let store = open_then(&path);
    assert!(store.0.remarks()[0].text.contains("look at the disk"));
    assert_eq!(fs::read(&path).expect("it was left"), [0, 1, 2, 3]);
    store.0.put(minute(THEN, &[("p", looks(60, 1.0, 0.0))]));
    fs::remove_file(&path).expect("it is ours");
    until("a new one to be written", || ask(&store, "p", THEN, THEN + 60).ok().flatten());
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let (folder, path) = folder();
    let foreign = |make: &dyn Fn()| {
        let _ = fs::remove_file(&path);
        make();
        let before = fs::read(&path).ok();
        let error = open_at(Settings::new(&path), THEN).expect_err("it is not ours");
        assert_eq!(fs::read(&path).ok(), before, "{error}");
        assert_eq!(asides(&path), Vec::<PathBuf>::new(), "{error}");
        error
    };
    let text = || fs::write(&path, "[pgbouncer]\nlisten_port = 6432\n").expect("written");
    assert!(matches!(foreign(&text), OpenError::NotOurs { .. }));
    let other = || {
        let other = Connection::open(&path).expect("a database");
        other
            .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
            .expect("made");
    };
    assert!(matches!(foreign(&other), OpenError::NotOurs { .. }));
    let newer = || {
        drop(begun(&path, SIZE_MIN));
        let other = Connection::open(&path).expect("a database");
        other.pragma_update(None, "user_version", 2).expect("set");
        drop(other);
    };
    let error = foreign(&newer);
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");

    let opened = |path: &Path| open_at(Settings::new(path), THEN).expect_err("refused");
    let missing = opened(&folder.path().join("none/history.db"));
    assert!(matches!(missing, OpenError::NoFolder { .. }), "{missing}");
    assert!(matches!(opened(folder.path()), OpenError::NotAFile { .. }));
    let _ = fs::remove_file(&path);
    let small = Settings { size_max: SIZE_MIN - 1, ..Settings::new(&path) };
    let small = open_at(small, THEN).expect_err("refused");
    assert!(matches!(small, OpenError::TooSmall { .. }), "{small}");
    assert!(!path.exists(), "nothing is made of what is refused");
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let (_folder, path) = folder();
    filled(&path);
    let mut file = File::read(&path).expect("it opens");
    read::limit(&mut file.connection, Instant::now()).expect("a limit");
    let slow =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
    let ended = file.connection.query_row(slow, [], |row| row.get::<_, i64>(0));
    assert!(read::is_interrupted(&ended.expect_err("it would run for ever")));
    read::limit(&mut file.connection, Instant::now() + PATIENCE).expect("a limit");
    let told = read::answer(&file.connection, &question("p7", THEN - DAY, THEN));
    assert_eq!(told.expect("an answer").expect("a pool").points.len(), 100);
}
