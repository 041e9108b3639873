//! Names that strangers invent: one line each in the log, and nothing in the numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::raw::Way;
use crate::support::message::{Messages, startup};
use crate::support::pooler::{Headpond, Place, get};
use crate::support::postgres::APP;
use crate::support::{Pooler, Postgres, Settings, Target};
use crate::usage::{MIB, Usage, assert_calm, grown};
use crate::wished;

/// What could forge a line, move a cursor, end a label, or mean something to a browser.
const HOSTILE: [&str; 9] = [
    "\n2026-01-01 00:00:00.000 UTC [1] FATAL forged",
    "\r\n",
    "\x1b[31m",
    "%s%n",
    "\u{202e}",
    "\"} 1\n",
    "\\",
    "<img src=x onerror=alert(1)>",
    "\u{85}\u{2028}",
];

const MISSING: usize = 500;

#[test]
fn names_of_strangers_make_one_line_per_event_and_no_series() {
    let count = wished("HEADPOND_TEST_NAMES", 10_000);
    let postgres = Postgres::start();
    let pooler = start(&postgres);
    let usage = Usage::of(pooler.pid());
    serve_one_client(&pooler);
    wait_for_its_series(&pooler);
    fail_as(pooler.place(), count..count + 100);
    let before = (series(&pooler), usage.memory());
    fail_as(pooler.place(), 0..count);
    let after = (series(&pooler), usage.memory());
    println!("{} series, {:.2} MiB for {count} names", after.0.len(), grown(before.1, after.1));
    assert_eq!(before.0, after.0, "the series are those of who was let in");
    assert!(after.1 <= before.1 + 4 * MIB, "{:.2} MiB grown", grown(before.1, after.1));
    let last = format!("{} ", tag(count + 100));
    fail_as(pooler.place(), count + 100..count + 101);
    let ended = |line: &str| line.contains(&last) && line.contains("closing because");
    assert!(pooler.log().wait_for(ended), "the last of them is in the log");
    check_lines(&pooler.log().lines(), count);
    assert_calm(pooler.log());
}

/// Who may log in to whatever it names makes a pool with each name.
#[test]
fn databases_that_do_not_exist_cost_little() {
    let postgres = Postgres::start();
    let settings = Settings { auth_type: "trust", ..Settings::default() };
    let pooler = start_with(&postgres, &settings);
    let usage = Usage::of(pooler.pid());
    let way = Way::unix(pooler.place());
    let fail = |number: usize| {
        let mut stream = way.connect().expect("a connection");
        let login = startup(&[("user", APP), ("database", &format!("none{number}"))]);
        stream.write_all(&login).expect("a login fits into the socket");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it is refused and closed");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("does not exist"), "{answer}");
    };
    (0..100).for_each(fail);
    let before = usage.memory();
    (100..100 + MISSING).for_each(fail);
    let after = usage.memory();
    let each = after.saturating_sub(before) / MISSING as u64;
    println!("{MISSING} databases that do not exist: {each} bytes each");
    assert!(each <= 16 << 10, "{each} bytes for each database that does not exist");
    let alerts: Vec<_> =
        pooler.log().lines().into_iter().filter(|line| line.contains(" alert ")).collect();
    assert!(alerts.is_empty(), "names that a stranger made up are no alerts: {alerts:?}");
    assert_calm(pooler.log());
}

fn start(postgres: &Postgres) -> Headpond {
    start_with(postgres, &Settings::default())
}

fn start_with(postgres: &Postgres, settings: &Settings) -> Headpond {
    Headpond::start("pgbouncer.ini", |place| settings.ini(postgres, place, Target::Headpond))
}

/// Makes the pooler count something.
fn serve_one_client(pooler: &Headpond) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = crate::support::postgres::connect(&pooler.config()).await.expect("a client");
        client.simple_query("SELECT 1").await.expect("it is served");
    });
}

/// The part of a name that says whose it is, followed by something hostile in every place.
fn tag(number: usize) -> String {
    format!("#{number}#")
}

/// Tries to log in under new names, and fails: half of them by breaking the protocol.
fn fail_as(place: &Place, numbers: std::ops::Range<usize>) {
    let next = AtomicUsize::new(numbers.start);
    let way = Way::unix(place);
    let fail = |number: usize| {
        let suffix = HOSTILE[number % HOSTILE.len()];
        let user = format!("{} {suffix}", tag(number));
        let database = format!("d{number}{suffix}");
        let application = format!("a{number}{suffix}");
        let names = [("user", &user), ("database", &database), ("application_name", &application)];
        let mut bytes = startup(&names.map(|(name, value)| (name, value.as_str())));
        if breaks_protocol(number) {
            bytes.extend_from_slice(Messages::new().query("SELECT 1").bytes());
        }
        let mut stream = way.connect().expect("a connection");
        stream.write_all(&bytes).expect("a login fits into the socket");
        stream.finish().expect("it is open");
        // A close with something unread is a reset.
        let _answer = stream.read_to_end(&mut Vec::new());
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    fail(number);
                }
            });
        }
    });
}

fn breaks_protocol(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// Returns the names and labels of all series, read strictly.
/// Who watches looks once a second: the pool of a client shows a moment after the client.
fn wait_for_its_series(pooler: &Headpond) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !series(pooler).iter().any(|name| name.starts_with("headpond_pool_breaker_open{")) {
        assert!(Instant::now() < deadline, "the pool is never watched");
        thread::sleep(Duration::from_millis(50));
    }
}

fn series(pooler: &Headpond) -> BTreeSet<String> {
    let answer = get(pooler.http(), "/metrics").expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let lines = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        assert!(value.parse::<f64>().is_ok(), "no number: {line}");
        let plain = name.split('{').next().expect("a name");
        assert!(plain.starts_with("headpond_"), "no name: {line}");
        assert_eq!(name.contains('{'), name.ends_with('}'), "labels: {line}");
        assert!(!name.contains('#'), "a name of a stranger: {line}");
        name.to_owned()
    });
    read.collect()
}

/// Each event of each stranger has one line, and every line is of one event.
fn check_lines(lines: &[String], count: usize) {
    let mut events: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for line in lines {
        let stamped = line.get(..24).is_some_and(|head| {
            head.bytes().zip(b"0000-00-00 00:00:00.000 ".iter()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == *form,
            })
        });
        assert!(stamped && line[24..].starts_with("UTC ["), "no line of its own: {line:?}");
        assert!(!line.chars().any(char::is_control), "a control character: {line:?}");
        assert!(!line.contains(['\u{202e}', '\u{2028}']), "a reordered line: {line:?}");
        let number = line.split_once('#').and_then(|(_, rest)| rest.split_once('#'));
        let Some(Ok(number)) = number.map(|(number, _)| number.parse::<usize>()) else { continue };
        for event in ["login attempt", "pooler error", "closing because"] {
            if line.contains(event) {
                *events.entry((number, event)).or_default() += 1;
            }
        }
    }
    for number in 0..count {
        let of = |event| events.get(&(number, event)).copied().unwrap_or(0);
        let told = [of("login attempt"), of("pooler error"), of("closing because")];
        let expected = [1, usize::from(breaks_protocol(number)), 1];
        assert_eq!(told, expected, "lines of stranger {number}");
    }
}
