//! The best pool mode and size of a pooler in front of a PostgreSQL, by measured runs.
//!
//! A pooler is started for each measurement and stopped after it, so that no two of them share the
//! server. The clients are always as many; what changes is how the pooler shares servers out.
//!
//! Invariant: whatever was started is stopped and whatever was made is removed, also when a
//! measurement fails; the server is asked how many connections it really had.
//! Left out: how a pooler is started (the caller says), which mode wins (`verdict`).

mod census;
mod suits;
mod text;
mod verdict;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;

use self::census::Census;
pub use self::text::{lines, text};
pub use self::verdict::{Comparison, judge};
use super::fleet::{self, Fleet};
use super::search::{COARSE, Search};
use super::{Point, guard, step, warnings};
use crate::error::Error;
use crate::progress::Observer;
use crate::result::Run;
use crate::run::{self, measure};
use crate::target::{Kind, Target};

/// The version of what `headpond tune --clients --json` writes.
pub const SCHEMA: &str = "headpond-tune-modes/1";
/// A mode in which more than this share of the requests fails is no choice.
pub const ERRORS_MAX: f64 = 0.01;

/// When a server goes back to the pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// When its client leaves.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement; there are no transactions of several.
    Statement,
}

impl Mode {
    /// All of them, from the one that serves every application on.
    pub const ALL: [Self; 3] = [Self::Session, Self::Transaction, Self::Statement];

    /// Returns the word that settings have for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.word() == text);
        found.ok_or_else(|| "expected session, transaction, statement or all".to_owned())
    }
}

/// A mode with a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// Connections to the server at most: the pooler's `default_pool_size`.
    pub servers: u32,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.servers == 1 { "" } else { "s" };
        write!(f, "{} with {} server{s}", self.mode, self.servers)
    }
}

/// What to search.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, what is asked of it, and how long it may take.
    pub base: super::Options,
    /// Clients that share the pool.
    pub clients: u32,
    /// The modes to measure.
    pub modes: Vec<Mode>,
}

/// One mode with one size, measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ModePoint {
    /// The mode.
    pub mode: Mode,
    /// The most connections that the server was seen to have because of the pooler. None other
    /// may have come meanwhile, or it counts them as well.
    pub servers_counted: u32,
    /// The size and its figures.
    #[serde(flatten)]
    pub point: Point,
}

impl ModePoint {
    /// Returns what was measured.
    #[must_use]
    pub const fn choice(&self) -> Choice {
        Choice { mode: self.mode, servers: self.point.size }
    }
}

/// A mode that is no choice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftOut {
    /// Which.
    pub mode: Mode,
    /// Why.
    pub reason: String,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Modes {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Clients that shared the pool.
    pub clients: u32,
    /// Everything that was measured: mode by mode, smallest first.
    pub points: Vec<ModePoint>,
    /// Modes that are no choice, and why.
    pub left_out: Vec<LeftOut>,
    /// The mode and the fewest servers that do not fall behind the best; none if every request
    /// of every mode failed or nothing was measured.
    pub recommended: Option<Choice>,
    /// How that compares with the best of the other modes.
    pub comparisons: Vec<Comparison>,
    /// The arithmetic of the fleet.
    pub fleet: Fleet,
    /// Whether the search was cut short by its budget or by a signal.
    pub cut_short: bool,
    /// What made figures doubtful.
    pub warnings: Vec<String>,
    /// How long it took, in seconds.
    pub took_s: f64,
}

/// Searches. `start` starts a pooler of this mode and size in front of the server; dropping what
/// it returns stops the pooler.
///
/// # Errors
/// When the server cannot be reached, carries other load or refuses, no mode can be measured, or
/// a pooler does not start.
pub fn tune<P: AsRef<Target>>(
    options: &Options,
    mut start: impl FnMut(Choice) -> Result<P, Error>,
    mut observer: impl FnMut(&str) -> Box<dyn Observer>,
    stop: &AtomicBool,
) -> Result<(Modes, Vec<Run>), Error> {
    let base = &options.base;
    check(options)?;
    let began = Instant::now();
    if !base.yes {
        guard::check(&base.target)?;
    }
    let fleet = fleet::look(&base.target, base.instances)?;
    let census = Census::open(&base.target)?;
    let room = Room { fleet, others: census.count()? };
    let prepared = run::prepare(&base.target, &base.workload)?;
    let mut counted: Vec<(Choice, u32)> = Vec::new();
    let mut search = Search {
        measure: |choice: Choice, nth| {
            let label = choice.to_string();
            let step = run::Options {
                clients: options.clients,
                ..step(base, &label, options.clients, nth)
            };
            let before = census.count()?;
            let pooler = start(choice)?;
            let step = run::Options { target: pooler.as_ref().clone(), ..step };
            let run = || measure(&step, &mut *observer(&label), stop);
            let (run, most) = census.most_during(base.step, run)?;
            drop(pooler);
            census.until_at_most(before)?;
            counted.push((choice, most.saturating_sub(before)));
            run
        },
        stop,
        began,
        budget: base.budget,
        seed: base.seed,
        runs: Vec::new(),
        cut_short: false,
    };
    let mut left_out = Vec::new();
    let searched = go(options, &room, &mut search, &mut left_out);
    // Removed whatever happened; the first error is the one to tell.
    let removed = prepared.remove();
    searched?;
    removed?;
    let sized =
        |mode| search.points(|choice: Choice| (choice.mode == mode).then_some(choice.servers));
    let points: Vec<(Mode, Vec<Point>)> = Mode::ALL.map(|mode| (mode, sized(mode))).into();
    let (cut_short, runs) = (search.cut_short, search.runs);
    let runs: Vec<Run> = runs.into_iter().map(|(_, run)| run).collect();
    let points = gather(points, &counted, &left_out);
    let judged = judge(&points);
    let found = Modes {
        schema: SCHEMA,
        clients: options.clients,
        recommended: judged.as_ref().map(|(choice, _)| *choice),
        comparisons: judged.map(|(_, comparisons)| comparisons).unwrap_or_default(),
        points,
        left_out,
        fleet,
        cut_short,
        warnings: warnings(&runs),
        took_s: began.elapsed().as_secs_f64(),
    };
    Ok((found, runs))
}

fn check(options: &Options) -> Result<(), Error> {
    if options.base.target.kind() != Kind::Postgres {
        let reason = "pool modes are PostgreSQL's; this url is of another kind of server";
        return Err(Error::usage("clients and modes", reason));
    }
    match (options.clients, options.base.repeats, options.modes.is_empty()) {
        (0, ..) => Err(Error::usage("clients", "at least one is needed")),
        (_, 0, _) => Err(Error::usage("repeats", "at least one is needed")),
        (.., true) => Err(Error::usage("modes", "at least one is needed")),
        _ => Ok(()),
    }
}

/// What a server has room for.
struct Room {
    fleet: Fleet,
    /// Connections of others.
    others: u32,
}

impl Room {
    /// Returns how many connections a pooler may have; none if nobody knows.
    fn free(&self) -> Option<u32> {
        // One is ours: it counts the others.
        Some(self.fleet.room()?.saturating_sub(self.others).saturating_sub(1))
    }

    /// Returns the sizes to begin with, or why there are none.
    fn sizes(&self, options: &Options, mode: Mode) -> Result<Vec<u32>, String> {
        let (free, clients) = (self.free(), options.clients);
        let fleet = &self.fleet;
        let full = |wanted: String| {
            format!(
                "{wanted}, and the server has room for {}: it lets in {}, {} of them reserved, {} \
                 in use, one for counting",
                free.unwrap_or(0),
                fleet.connections_max.unwrap_or(0),
                fleet.reserved,
                self.others
            )
        };
        if mode == Mode::Session {
            return match free.is_some_and(|free| free < clients) {
                true => Err(full(format!("{clients} clients need a server each"))),
                false => Ok(vec![clients]),
            };
        }
        let most = self.most(options);
        let wanted = if options.base.sizes.is_empty() { &COARSE[..] } else { &options.base.sizes };
        let mut sizes: Vec<u32> =
            wanted.iter().copied().filter(|n| (1..=most).contains(n)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        match sizes.is_empty() {
            true => Err(full(format!("no size is from 1 to {most}"))),
            false => Ok(sizes),
        }
    }

    /// Returns the largest size to try: more servers than clients would only be idle.
    fn most(&self, options: &Options) -> u32 {
        options.clients.min(options.base.size_max).min(self.free().unwrap_or(u32::MAX))
    }
}

/// Goes through all modes; what was measured stays in `search` also when it fails.
fn go<F: FnMut(Choice, u64) -> Result<Run, Error>>(
    options: &Options,
    room: &Room,
    search: &mut Search<'_, Choice, F>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), Error> {
    let base = &options.base;
    let mut reached: Vec<Choice> = Vec::new();
    for mode in Mode::ALL.into_iter().filter(|mode| options.modes.contains(mode)) {
        let found = match suits::refusal(&base.workload, mode) {
            Some(reason) => Err(reason),
            None => match room.sizes(options, mode) {
                Ok(sizes) => first(search, mode, &sizes, base.sizes.is_empty())?,
                Err(reason) => Err(reason),
            },
        };
        match found {
            Ok(choices) => reached.extend(choices),
            Err(reason) => left_out.push(LeftOut { mode, reason }),
        }
    }
    if reached.is_empty() && !search.cut_short {
        let reasons = left_out.iter().map(|out| format!("{}: {}", out.mode, out.reason));
        return Err(Error::usage("modes", reasons.collect::<Vec<_>>().join("; ")));
    }
    search.rounds(&reached, base.repeats - 1)?;
    if !base.sizes.is_empty() {
        return Ok(());
    }
    let mut between = Vec::new();
    for mode in [Mode::Transaction, Mode::Statement] {
        if reached.iter().any(|choice| choice.mode == mode) {
            let size = |choice: Choice| (choice.mode == mode).then_some(choice.servers);
            let sizes = search.around_best(size, room.most(options));
            between.extend(sizes.into_iter().map(|servers| Choice { mode, servers }));
        }
    }
    search.rounds(&between, base.repeats)
}

/// Measures a mode for the first time; says why it is no choice, if it is none.
fn first<F: FnMut(Choice, u64) -> Result<Run, Error>>(
    search: &mut Search<'_, Choice, F>,
    mode: Mode,
    sizes: &[u32],
    climb: bool,
) -> Result<Result<Vec<Choice>, String>, Error> {
    let choices: Vec<Choice> =
        sizes.iter().map(|servers| Choice { mode, servers: *servers }).collect();
    let Some(smallest) = choices.first() else { return Ok(Ok(Vec::new())) };
    match search.one(*smallest) {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(Vec::new())),
        // The pooler, or the server behind it, refuses a statement that the server itself takes.
        Err(Error::Target { reason, .. }) => return Ok(Err(reason)),
        Err(error) => return Err(error),
    }
    if let Some((_, run)) = search.runs.last().filter(|(_, run)| run.error_share > ERRORS_MAX) {
        let kinds: Vec<&str> = run.errors.keys().map(String::as_str).collect();
        let share = run.error_share * 100.0;
        return Ok(Err(format!("{share:.0} % of the requests failed ({})", kinds.join(", "))));
    }
    if climb {
        return search.climb(&choices).map(Ok);
    }
    search.rounds(choices.get(1..).unwrap_or_default(), 1)?;
    Ok(Ok(choices))
}

/// Puts points and counts together; those of modes that are no choice are left out.
fn gather(
    points: Vec<(Mode, Vec<Point>)>,
    counted: &[(Choice, u32)],
    left_out: &[LeftOut],
) -> Vec<ModePoint> {
    let most = |choice: Choice| {
        let of = counted.iter().filter(|(other, _)| *other == choice);
        of.map(|(_, count)| *count).max().unwrap_or(0)
    };
    let mut all = Vec::new();
    for (mode, points) in points {
        if left_out.iter().any(|out| out.mode == mode) {
            continue;
        }
        all.extend(points.into_iter().map(|point| ModePoint {
            mode,
            servers_counted: most(Choice { mode, servers: point.size }),
            point,
        }));
    }
    all
}
