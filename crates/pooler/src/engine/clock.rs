//! The clocks of the process: the only place that reads one.
//!
//! Invariant: [`monotonic`] is the same for all threads and never goes back.
//! Not here: wall-clock time for logs, which nothing here decides by.

use std::time::Duration;

use headpond_core::Timestamp;

/// Returns the time since an arbitrary point, the same for all threads of this machine.
pub fn monotonic() -> Timestamp {
    Timestamp::from_nanos(nanos(libc::CLOCK_MONOTONIC))
}

/// Returns how long the calling thread has been running on a processor.
pub fn thread_cpu_time() -> Duration {
    Duration::from_nanos(nanos(libc::CLOCK_THREAD_CPUTIME_ID))
}

fn nanos(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(done, 0, "the kernel knows its own clocks");
    let seconds = u64::try_from(time.tv_sec).expect("clocks count up from zero");
    let nanos = u64::try_from(time.tv_nsec).expect("clocks count up from zero");
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let mut last = monotonic();
        for _ in 0..1_000 {
            let now = monotonic();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_thread_that_works_uses_processor_time() {
        let before = thread_cpu_time();
        let mut spins = 0_u64;
        while thread_cpu_time() == before {
            spins = std::hint::black_box(spins + 1);
        }
        assert!(thread_cpu_time() > before);
    }
}
