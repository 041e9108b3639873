//! What a client that is logged in notices of strangers who knock without end.
//!
//! Pooler, database and attackers share the processors of one machine, which they do not where an
//! attack comes over a network. So what the attackers' own work costs is taken out: they are
//! another process, of the lowest priority, that gets what the others leave. Beside it stand
//! attackers that keep to a rate, attackers of equal priority, and, as a control, a process that
//! takes as much processor time as those and sends nothing.
//!
//! ```sh
//! cargo build --release -p headpond-cli
//! HEADPOND_TEST_FLOOD=1000000 HEADPOND_TEST_BINARY=target/release/headpond \
//!     cargo test --release -p headpond-pooler --test hostile flood -- --nocapture
//! ```
//!
//! On a machine with other work to do the lowest priority gets nowhere. Then `chrt --rr 1` before
//! the test binary lifts pooler, database and client above everything, and the attackers are
//! ordinary.
//!
//! From a million connections on, the p99 beside the attackers of lowest priority decides: at
//! most twice what it is without them, by the median of windows that alternate. All other times
//! are printed only.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::malformed::{HEALTHY, Logging, start, strike_once};
use crate::packet::check_answer;
use crate::raw::{Raw, Way};
use crate::support::message::Messages;
use crate::support::pooler::Place;
use crate::support::random::Random;
use crate::support::{Pooler, Postgres};
use crate::usage::{MIB, Usage, assert_calm, grown};
use crate::wished;

/// From here on times decide.
const FULL: usize = 1_000_000;
/// From here on there are enough windows, of enough length, for times to mean something.
const LONG: usize = 100_000;
/// How many attack at once, unless `HEADPOND_TEST_ATTACKERS` says otherwise.
const ATTACKERS: usize = 4;
/// How often the healthy client asks.
const PACE: Duration = Duration::from_millis(1);
/// Where a process of attackers leaves how many connections it made.
const MADE: &str = "made";
/// How a process is told what to do as an attacker.
const ORDER: &str = "HEADPOND_TEST_FLOOD_ORDER";

/// What shares the machine with the healthy client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Nothing.
    Nobody,
    /// Attackers that get the time that nobody else wants.
    Lowest,
    /// Attackers that make so many connections per second.
    Paced(u32),
    /// Attackers that take all they can get.
    Equal,
    /// As many threads that compute, and send nothing.
    Computing,
}

#[test]
fn a_client_is_served_while_strangers_knock() {
    let seed = Random::seed();
    let count = wished("HEADPOND_TEST_FLOOD", 3_000);
    let is_full = count >= FULL;
    let (rounds, quiet) = match count {
        FULL.. => (10, Duration::from_secs(5)),
        LONG.. => (10, Duration::from_secs(2)),
        _ => (3, Duration::from_millis(300)),
    };
    let postgres = Postgres::start();
    let pooler = start(&postgres, Logging::Nothing);
    let usage = Usage::of(pooler.pid());
    let mut healthy = Raw::enter(&Way::unix(pooler.place()), HEALTHY);
    let few = count / 10;
    let mut bench =
        Bench { place: pooler.place(), seed, next: 0, healthy: &mut healthy, quiet, is_full };
    bench.window(Beside::Equal, few.min(5_000));
    let (base, before) = (usage.descriptors(), usage.memory());
    let kinds = [
        (Beside::Lowest, count),
        (Beside::Paced(5_000), few),
        (Beside::Paced(10_000), few),
        (Beside::Equal, few),
        (Beside::Computing, few),
    ];
    println!("median of the windows' p50 and p99, and of p99 to that of the quiet window before:");
    for (beside, count) in kinds {
        if is_real_time() && matches!(beside, Beside::Equal | Beside::Computing) {
            continue;
        }
        let ratio = bench.compare(beside, count, rounds);
        if beside == Beside::Lowest && is_full {
            assert!(ratio <= 2.0, "p99 is {ratio:.2} times its quiet value (seed {seed})");
        }
    }
    let after = usage.memory();
    println!("{:.2} MiB more after all", grown(before, after));
    let open = usage.descriptors_settle(base);
    assert!(open <= base, "{open} descriptors are open, {base} were (seed {seed})");
    assert!(after <= before + 8 * MIB, "{:.2} MiB grown (seed {seed})", grown(before, after));
    assert_calm(pooler.log());
}

struct Bench<'a> {
    place: &'a Place,
    seed: u64,
    /// The number of the next connection: no two are the same.
    next: usize,
    healthy: &'a mut Raw,
    quiet: Duration,
    is_full: bool,
}

/// What a window showed.
#[derive(Clone, Copy, Debug)]
struct Window {
    p50: Duration,
    p99: Duration,
    lasted: Duration,
    made: usize,
}

impl Bench<'_> {
    /// Lets quiet windows and others take turns; returns the median of the ratios of their p99.
    fn compare(&mut self, beside: Beside, count: usize, rounds: usize) -> f64 {
        let each = count.div_ceil(rounds);
        let (mut alone, mut among, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let before = self.window(Beside::Nobody, 0);
            let window = self.window(beside, each);
            ratios.push(window.p99.as_secs_f64() / before.p99.as_secs_f64());
            alone.push(before);
            among.push(window);
        }
        let ratio = median(ratios.clone());
        let of = |windows: &[Window], value: fn(&Window) -> Duration| {
            Duration::from_secs_f64(median(
                windows.iter().map(|w| value(w).as_secs_f64()).collect(),
            ))
        };
        let lasted: Duration = among.iter().map(|window| window.lasted).sum();
        let made: usize = among.iter().map(|window| window.made).sum();
        let rate = made as f64 / lasted.as_secs_f64();
        println!(
            "{beside:?}: quiet {:?} {:?}, beside {:?} {:?}, ratio {ratio:.2} of {ratios:.2?}, \
             {made} connections, {rate:.0}/s",
            of(&alone, |w| w.p50),
            of(&alone, |w| w.p99),
            of(&among, |w| w.p50),
            of(&among, |w| w.p99),
        );
        ratio
    }

    fn window(&mut self, beside: Beside, count: usize) -> Window {
        let mut other = self.start(beside, count);
        let question = Messages::new().query("SELECT 1");
        let mut times = Vec::new();
        let started = Instant::now();
        let mut next = started;
        loop {
            let asked = Instant::now();
            self.healthy.ask(&question);
            times.push(asked.elapsed());
            let is_over = match &mut other {
                Some(process) => process.try_wait().expect("it is our child").map(|status| {
                    assert!(status.success(), "{beside:?} failed (seed {})", self.seed);
                }),
                None => (started.elapsed() >= self.quiet).then_some(()),
            };
            if is_over.is_some() {
                break;
            }
            next += PACE;
            next = next.max(Instant::now());
            thread::park_timeout(next - Instant::now());
        }
        let lasted = started.elapsed();
        times.sort_unstable();
        let of = |share: usize| times[times.len() * share / 100];
        let made = match beside {
            Beside::Nobody => 0,
            _ => {
                let made = std::fs::read_to_string(self.place.directory.join(MADE));
                made.expect("it was left there").parse().expect("a number")
            }
        };
        Window { p50: of(50), p99: of(99), lasted, made }
    }

    /// Starts the process of these attackers.
    fn start(&mut self, beside: Beside, count: usize) -> Option<Child> {
        if beside == Beside::Nobody {
            return None;
        }
        let (from, to) = (self.next, self.next + count);
        self.next = to;
        let rate = match beside {
            Beside::Paced(rate) => rate,
            _ => 0,
        };
        // A full run is about numbers, a short one about time: on a machine that has none to spare
        // those of lowest priority get nowhere.
        let is_timed = beside == Beside::Computing || !self.is_full;
        let limit = if is_timed { self.quiet.as_millis() } else { 0 };
        let kind = u8::from(beside == Beside::Computing);
        let lifted = u8::from(is_real_time());
        let folder = self.place.directory.display();
        let (port, seed) = (self.place.port, self.seed);
        let order = format!("{port} {seed} {from} {to} {rate} {limit} {kind} {lifted} {folder}");
        let test = std::env::current_exe().expect("a test has a path");
        let mut command = Command::new("setsid");
        // A session of its own, because the kernel shares time out among sessions first.
        match (is_real_time(), beside) {
            (true, _) => command.args(["--wait", "chrt", "--other", "0"]).arg(test),
            (false, Beside::Lowest) => command.args(["--wait", "chrt", "--idle", "0"]).arg(test),
            (false, _) => {
                command = Command::new(test);
                &mut command
            }
        };
        command.args(["--exact", "flood::strangers_of_another_process", "--ignored"]);
        command.env(ORDER, order).stdin(Stdio::null()).stdout(Stdio::null());
        Some(command.spawn().expect("setsid and chrt are there"))
    }
}

/// Whether this process, and so all that it starts but the attackers, goes before ordinary ones.
fn is_real_time() -> bool {
    matches!(policy(), Some(1 | 2))
}

/// Returns the number of this process's scheduling policy.
fn policy() -> Option<u32> {
    let sched = std::fs::read_to_string("/proc/self/sched").ok()?;
    let line = sched.lines().find(|line| line.starts_with("policy"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The attackers' process; started by the test above, and nothing by itself.
#[test]
#[ignore = "it is a part of another test"]
fn strangers_of_another_process() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let mut words = order.splitn(9, ' ');
    let mut number = || words.next().expect("nine").parse::<u64>().expect("a number");
    let (port, seed) = (number() as u16, number());
    let (from, to) = (number() as usize, number() as usize);
    let (rate, limit) = (number() as u32, Duration::from_millis(number()));
    let (computes, is_lifted) = (number() == 1, number() == 1);
    let directory = PathBuf::from(words.next().expect("nine"));
    let made_file = directory.join(MADE);
    let place = Place { port, http_port: 0, directory };
    let made = AtomicUsize::new(0);
    // Where sessions do not count the file is missing, and priority alone does.
    if policy() == Some(5) {
        let _ = std::fs::write("/proc/self/autogroup", "19");
    } else if is_lifted {
        // Not behind whatever else the machine does: they are to press hard.
        let _ = std::fs::write("/proc/self/autogroup", "-10");
    }
    let next = AtomicUsize::new(from);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..wished("HEADPOND_TEST_ATTACKERS", ATTACKERS) {
            scope.spawn(|| {
                let is_over = || !limit.is_zero() && started.elapsed() >= limit;
                while computes && !is_over() {
                    std::hint::spin_loop();
                }
                while !is_over() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        return;
                    }
                    if rate > 0 {
                        let at = started + Duration::from_secs(1) * (number - from) as u32 / rate;
                        thread::park_timeout(at.saturating_duration_since(Instant::now()));
                    }
                    let (attack, answer) = strike_once(&place, seed, number);
                    check_answer(&attack, &answer);
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    std::fs::write(made_file, made.into_inner().to_string()).expect("the directory is there");
}
