//! The machine a figure was measured on.
//!
//! Invariant: names neither the machine nor its user; a result may be shown to others.

use serde::{Deserialize, Serialize};

/// The machine a figure was measured on.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// The version of this program.
    pub version: String,
    /// Whether it was built with optimisation.
    pub optimised: bool,
    /// The operating system and its release.
    pub system: String,
    /// The processor.
    pub processor: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Runnable processes in the minute before.
    pub load_average: f64,
}

impl Environment {
    /// Looks around.
    #[must_use]
    pub fn now() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| text(uname.machine()), |(_, name)| name.trim().to_owned());
        let load = read("/proc/loadavg");
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
            system: format!("{} {}", text(uname.sysname()), text(uname.release())),
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
            load_average: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// Returns the resident memory of a process in KiB.
#[must_use]
pub fn memory_kib(pid: u32) -> Option<u64> {
    kib(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(kib("VmPeak:\t 10 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2048));
        assert_eq!(kib("", "VmRSS:"), None);
    }
}
