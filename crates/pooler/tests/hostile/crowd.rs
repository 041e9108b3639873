//! More strangers than there is room for: half-open logins, and clients above the limit.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::raw::{Raw, Stream, Way};
use crate::support::message::{Messages, startup};
use crate::support::pooler::Headpond;
use crate::support::postgres::{APP, SUPERUSER};
use crate::support::{Pooler, Postgres, Settings, Target};
use crate::usage::{MIB, Usage, assert_calm, grown, report};
use crate::wished;

/// What a half-open login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: usize = 200;

fn start(postgres: &Postgres, keys: &[(&'static str, String)]) -> Headpond {
    let mut keys = keys.to_vec();
    keys.push(("log_connections", "0".into()));
    keys.push(("log_disconnections", "0".into()));
    keys.push(("log_pooler_errors", "0".into()));
    let settings = Settings { auth_type: "trust", keys, ..Settings::default() };
    Headpond::start("pgbouncer.ini", |place| settings.ini(postgres, place, Target::Headpond))
}

/// Comes, and how far: nothing, a part of the length, a part of the packet, after asking for TLS.
fn half_open(way: &Way, number: usize) -> Stream {
    let mut stream = way.connect().expect("a connection");
    let login = startup(&[("user", APP), ("database", APP)]);
    let said: &[u8] = match number % 4 {
        0 => &[],
        1 => &login[..2],
        2 => &login[..login.len() - 1],
        _ => &[0, 0, 0, 8, 4, 210, 22, 47],
    };
    stream.write_all(said).expect("it fits into the socket");
    stream
}

#[test]
fn half_open_logins_hold_nobody_up_and_end_with_their_time() {
    let count = wished("HEADPOND_TEST_HALF_OPEN", 400);
    let postgres = Postgres::start();
    let timeout = ("client_login_timeout", LOGIN_TIMEOUT.as_secs().to_string());
    let pooler = start(&postgres, &[timeout]);
    let usage = Usage::of(pooler.pid());
    let ways = [Way::unix(pooler.place()), Way::tcp(pooler.place())];
    let login = || {
        let began = Instant::now();
        Raw::enter(&ways[1], APP).ask(&Messages::new().query("SELECT 1"));
        began.elapsed()
    };
    login();
    let alone = report("logins alone", (0..TRIES).map(|_| login()).collect());
    let (base, before) = (usage.descriptors(), usage.memory());
    let opened: Vec<(Instant, Stream)> =
        (0..count).map(|n| (Instant::now(), half_open(&ways[n % 2], n))).collect();
    let held = usage.memory();
    let each = held.saturating_sub(before) / count as u64;
    println!("{count} half-open logins: {:.2} MiB, {each} bytes each", grown(before, held));
    let mut times = Vec::new();
    let ended = thread::scope(|scope| {
        let last = opened.last().expect("some").0;
        let watch = scope.spawn(|| opened.into_iter().map(|(at, s)| ended(at, s)).collect());
        while last.elapsed() < LOGIN_TIMEOUT / 2 && times.len() < TRIES {
            times.push(login());
        }
        let ended: Vec<Duration> = watch.join().expect("each of them is closed");
        ended
    });
    let among = report("logins meanwhile", times);
    println!("p99 times {:.1}", among.as_secs_f64() / alone.as_secs_f64());
    let earliest = ended.iter().min().expect("some");
    println!("they ended after {earliest:?} to {:?}", ended.iter().max().expect("some"));
    assert!(*earliest >= LOGIN_TIMEOUT, "none is closed before its time: {earliest:?}");
    assert!(each <= 4 << 10, "{each} bytes for a half-open login");
    let open = usage.descriptors_settle(base);
    assert!(open <= base, "{open} descriptors are open, {base} were");
    assert_calm(pooler.log());
}

/// Reads to the end, which has to come by itself; returns how long it all took.
fn ended(began: Instant, mut stream: Stream) -> Duration {
    let mut said = Vec::new();
    // A close with something unread is a reset.
    let _end = stream.read_to_end(&mut said);
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said == "N" || said.contains("client_login_timeout"), "{said:?}");
    took
}

#[test]
fn whoever_is_one_too_many_hears_so_and_the_console_is_open() {
    let room = wished("HEADPOND_TEST_ROOM", 60);
    let attempts = 20 * room;
    let postgres = Postgres::start();
    let pooler = start(&postgres, &[("max_client_conn", room.to_string())]);
    let usage = Usage::of(pooler.pid());
    let way = Way::unix(pooler.place());
    let before = usage.memory();
    let (inside, refused) = crowd(&way, attempts);
    println!("{} of {attempts} are in", inside.len());
    let slowest = report("refusals", refused.clone());
    println!("{:.2} MiB more, refusals up to {slowest:?}", grown(before, usage.memory()));
    assert_eq!(inside.len(), room, "as many as there is room for");
    assert_eq!(refused.len(), attempts - room);
    // Those inside are served, and who administers gets in beside them.
    let mut inside = inside;
    for client in inside.iter_mut().take(20) {
        client.ask(&Messages::new().query("SELECT 1"));
    }
    let mut admin = Raw::enter_as(&way, SUPERUSER, "pgbouncer").expect("the console is open");
    assert!(admin.ask(&Messages::new().query("SHOW VERSION")) > 20);
    assert!(usage.memory() <= before + 16 * MIB, "{:.2} MiB", grown(before, usage.memory()));
    // Room that somebody leaves is somebody else's.
    drop(inside.pop());
    let deadline = Instant::now() + crate::support::process::PATIENCE;
    while Raw::enter_as(&way, APP, APP).is_err() {
        assert!(Instant::now() < deadline, "there is room again");
        thread::yield_now();
    }
    assert_calm(pooler.log());
}

/// Logs in so many times, several at once, and stays; returns who is in, and how long it took
/// to hear that there is no room.
fn crowd(way: &Way, attempts: usize) -> (Vec<Raw>, Vec<Duration>) {
    let next = AtomicUsize::new(0);
    let attempt = || {
        let (mut inside, mut refused) = (Vec::new(), Vec::new());
        while next.fetch_add(1, Ordering::Relaxed) < attempts {
            let began = Instant::now();
            match Raw::enter_as(way, APP, APP) {
                Ok(raw) => inside.push(raw),
                Err(error) => {
                    refused.push(began.elapsed());
                    let text = "no more connections allowed (max_client_conn)";
                    assert!(error.contains("53300") && error.contains(text), "{error}");
                    assert!(error.contains("FATAL"), "{error}");
                }
            }
        }
        (inside, refused)
    };
    thread::scope(|scope| {
        let several: Vec<_> = (0..8).map(|_| scope.spawn(attempt)).collect();
        let (mut inside, mut refused) = (Vec::new(), Vec::new());
        for one in several {
            let (more, times) = one.join().expect("each hears one or the other");
            inside.extend(more);
            refused.extend(times);
        }
        (inside, refused)
    })
}
