//! What a process uses, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::process::{Log, PATIENCE};

pub const MIB: u64 = 1 << 20;

/// A process to look at.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pid: u32,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Returns the resident memory in bytes.
    pub fn memory(self) -> u64 {
        self.status("VmRSS:")
    }

    /// Returns the most resident memory since [`Usage::forget_peak`].
    pub fn peak(self) -> u64 {
        self.status("VmHWM:")
    }

    /// Lets the peak start again from what is resident now.
    pub fn forget_peak(self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("it is our process");
    }

    /// Returns how many descriptors are open.
    pub fn descriptors(self) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it is our process");
        entries.count()
    }

    /// Waits until not more than `most` descriptors are open; returns how many are.
    pub fn descriptors_settle(self, most: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let open = self.descriptors();
            if open <= most || Instant::now() > deadline {
                return open;
            }
            std::thread::yield_now();
        }
    }

    /// Returns the processor time used so far, in clock ticks (a hundred per second).
    pub fn ticks(self) -> u64 {
        let stat = self.file("stat");
        // The name before the parenthesis may hold anything.
        let numbers = stat.rsplit(')').next().expect("a line").split_whitespace();
        let spent = numbers.skip(11).take(2);
        spent.map(|n| n.parse::<u64>().expect("a number")).sum()
    }

    fn status(self, name: &str) -> u64 {
        let status = self.file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a running one");
        let kib = line.trim().trim_end_matches(" kB");
        kib.parse::<u64>().expect("a number") * 1024
    }

    fn file(self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid)).expect("the process lives")
    }
}

/// Fails if the log says that something went wrong inside the pooler.
pub fn assert_calm(log: &Log) {
    let alarming = |line: &&String| {
        // What follows the level may be a client's own words.
        let level = line.split_once("] ").map_or("", |(_, rest)| rest);
        level.starts_with("ERROR ") || level.starts_with("FATAL ") || line.contains("panicked")
    };
    let lines = log.lines();
    let alarms: Vec<&String> = lines.iter().filter(alarming).take(20).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}

/// Prints how long answers took, and returns the 99th percentile.
pub fn report(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let of = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("{name}: {} answers, median {:?}, p99 {:?}", times.len(), of(50), of(99));
    of(99)
}

/// Returns `after - before` in MiB, for people.
pub fn grown(before: u64, after: u64) -> f64 {
    (after as f64 - before as f64) / MIB as f64
}
