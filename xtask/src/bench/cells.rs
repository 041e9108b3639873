//! What is measured, and the ratio to PgBouncer that each cell must reach.

/// How a cell loads the pooler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// pgbench, as fast as it goes.
    Full,
    /// pgbench at a fixed rate: latency is what counts.
    Paced,
    /// Clients that do nothing.
    Idle,
    /// pgbench as fast as it goes, with and without somebody who watches.
    Watched,
}

/// What CPU and throughput must be, as ratios to PgBouncer in the same round.
#[derive(Clone, Copy, Default)]
pub struct Must {
    /// CPU per transaction, at most.
    pub cpu_max: Option<f64>,
    /// The same, to a PgBouncer with 64 KB buffers.
    pub cpu_max_large_buffers: Option<f64>,
    /// Transactions per second, at least.
    pub throughput_min: Option<f64>,
    /// Memory per idle client in KiB, at most; not a ratio.
    pub idle_kib_max: Option<f64>,
}

/// One line of the table.
pub struct Cell {
    /// Short name for `--cells`.
    pub key: &'static str,
    /// Name in the table.
    pub title: &'static str,
    /// Clients of pgbench.
    pub clients: u32,
    /// Further arguments of pgbench.
    pub arguments: &'static [&'static str],
    /// A script instead of pgbench's own.
    pub script: Option<&'static str>,
    /// How it loads.
    pub work: Work,
    /// What must be reached.
    pub must: Must,
}

const SELECT: &[&str] = &["-S"];
const EXTENDED: &[&str] = &["-S", "-M", "extended"];
/// Servers parse once, clients bind: needs a pooler that tracks prepared statements.
pub const PREPARED: &[&str] = &["-S", "-M", "prepared"];

const fn cell(key: &'static str, title: &'static str, clients: u32) -> Cell {
    let must = Must {
        cpu_max: None,
        cpu_max_large_buffers: None,
        throughput_min: None,
        idle_kib_max: None,
    };
    Cell { key, title, clients, arguments: SELECT, script: None, work: Work::Full, must }
}

/// Returns every cell in the order of the table.
pub fn all() -> Vec<Cell> {
    let cpu = |ratio| Must { cpu_max: Some(ratio), ..Must::default() };
    let both = |ratio, speed| Must { throughput_min: Some(speed), ..cpu(ratio) };
    vec![
        Cell { must: cpu(1.0), ..cell("simple-1", "select, simple, 1 client", 1) },
        Cell { must: cpu(1.0), ..cell("simple-8", "select, simple, 8", 8) },
        Cell { must: both(0.85, 1.1), ..cell("simple-64", "select, simple, 64", 64) },
        cell("simple-256", "select, simple, 256", 256),
        Cell {
            must: Must { throughput_min: Some(1.1), ..Must::default() },
            ..cell("simple-1000", "select, simple, 1000", 1000)
        },
        Cell {
            arguments: EXTENDED,
            must: cpu(1.0),
            ..cell("extended-8", "select, extended, 8", 8)
        },
        Cell {
            arguments: EXTENDED,
            must: cpu(0.85),
            ..cell("extended-64", "select, extended, 64", 64)
        },
        Cell {
            arguments: PREPARED,
            must: cpu(0.85),
            ..cell("prepared-64", "select, prepared, 64", 64)
        },
        Cell {
            arguments: &[],
            script: Some("SELECT 1;\n"),
            ..cell("one-64", "`SELECT 1`, 64", 64)
        },
        Cell { arguments: &[], ..cell("tpcb-64", "TPC-B, 64", 64) },
        Cell {
            arguments: &["-S", "-C"],
            must: cpu(1.0),
            ..cell("connect-16", "connect per transaction, 16", 16)
        },
        Cell {
            arguments: &[],
            script: Some("SELECT repeat('x', 1048576);\n"),
            must: Must { cpu_max_large_buffers: Some(1.0), ..cpu(0.65) },
            ..cell("bulk-8", "1 MB result, 8", 8)
        },
        Cell { work: Work::Paced, ..cell("latency-64", "select, simple, 64, fixed rate", 64) },
        Cell {
            work: Work::Watched,
            must: Must { throughput_min: Some(0.99), ..Must::default() },
            ..cell("watched-64", "select, simple, 64, watched", 64)
        },
        Cell {
            work: Work::Idle,
            must: Must { idle_kib_max: Some(1.0), ..Must::default() },
            ..cell("idle", "idle clients", 0)
        },
    ]
}

impl Cell {
    /// Says whether a transaction is one megabyte.
    pub fn is_bulk(&self) -> bool {
        self.must.cpu_max_large_buffers.is_some()
    }

    /// Says whether only a pooler that tracks prepared statements can run it.
    pub fn is_prepared(&self) -> bool {
        self.arguments == PREPARED
    }
}
