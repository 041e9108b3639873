//! Processes: what they used so far, and how they are ended.
//!
//! Invariant: a process that was started here is stopped by its own id when its owner is dropped.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Linux counts process time in ticks of this many microseconds on every platform we build for.
const TICK_US: u64 = 10_000;

/// CPU time in microseconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    /// In the program.
    pub user_us: u64,
    /// In the kernel on its behalf.
    pub system_us: u64,
}

impl Cpu {
    /// Returns what was used since an earlier look.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }

    /// Both together.
    pub fn total_us(self) -> u64 {
        self.user_us + self.system_us
    }
}

/// A child that ends with its owner.
pub struct Running {
    child: Child,
    stop: &'static str,
}

impl Running {
    /// Starts a program; `stop` is the signal that ends it in good order.
    pub fn start(mut command: Command, stop: &'static str) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { child, stop })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says whether it ended by itself, and how.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good as stopped; waiting below says which.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args([self.stop, &id]).stderr(Stdio::null()).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns what a process and all its threads used.
pub fn cpu(id: u32) -> Option<Cpu> {
    let fields = stat(id)?;
    // utime and stime: fields 14 and 15 of the line, 11 and 12 after the name.
    Some(Cpu { user_us: fields.get(11)? * TICK_US, system_us: fields.get(12)? * TICK_US })
}

/// Returns what a process and its children, ended ones too, used together.
pub fn cpu_of_family(id: u32) -> Cpu {
    let mut sum = Cpu::default();
    let mut add = |fields: &[u64], from: usize| {
        if let [user, system] = fields.get(from..from + 2).unwrap_or_default() {
            sum.user_us += user * TICK_US;
            sum.system_us += system * TICK_US;
        }
    };
    if let Some(fields) = stat(id) {
        add(&fields, 11);
        // cutime and cstime: children that were waited for.
        add(&fields, 13);
    }
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let child: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let fields = child.and_then(stat).unwrap_or_default();
        // The parent's id is the first number after the state.
        if fields.get(1) == Some(&u64::from(id)) {
            add(&fields, 11);
        }
    }
    sum
}

/// Returns the numbers of `/proc/<id>/stat` after the name; what is no number counts as 0.
fn stat(id: u32) -> Option<Vec<u64>> {
    let line = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    /// Proportional share: shared pages divided by those who share them.
    pub share: u64,
}

/// Returns the memory of a process.
pub fn memory(id: u32) -> Option<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Memory { resident: field("Rss:")?, share: field("Pss:")? })
}

/// Five thousand clients need as many descriptors, here and in every pooler.
pub fn raise_file_limit() {
    let own = std::process::id().to_string();
    for limit in ["20000:20000", "20000:"] {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &own]).arg(format!("--nofile={limit}")).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return;
        }
    }
}
