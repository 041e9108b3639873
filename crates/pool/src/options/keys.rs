//! The keys of a pool: how each is read, how it is shown, and why its default is what it is.
//!
//! Invariant: what `show` writes `set` reads; a key that is not in a table does not exist.
//! Left out: keys of databases and of everything together (`config/table.rs`).

use std::marker::PhantomData;
use std::time::Duration;

use headpond_core::{IdleOrder, OnFailing, breaker};

use super::duration::{Bare, parse, parse_optional, show, show_optional};
use super::invalid::Invalid;
use crate::settings::{Check, Nested, Settings};
use crate::sizing::Sizing;

/// One key of a configuration; `T` is what it belongs to.
pub struct Key<T> {
    /// Its path in the file, below `[databases.NAME]` or at the top.
    pub name: &'static str,
    /// What it takes, for people.
    pub takes: &'static str,
    /// Why its default is what it is.
    pub because: &'static str,
    pub(crate) set: fn(&mut T, &str, Bare) -> Result<(), Invalid>,
    pub(crate) show: fn(&T) -> String,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

pub(crate) const COUNT: &str = "a whole number";
pub(crate) const TIME: &str = "a time such as 30s";
pub(crate) const TIME_OR_OFF: &str = "a time such as 30s, or off";
pub(crate) const FLAG: &str = "true or false";

pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Result<N, Invalid> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Invalid::Number);
    }
    text.parse().map_err(|_| Invalid::TooLarge)
}

pub(crate) fn number_or_off<N: std::str::FromStr>(text: &str) -> Result<Option<N>, Invalid> {
    match text.trim() {
        "off" | "none" => Ok(None),
        text => number(text).map(Some),
    }
}

pub(crate) fn flag(text: &str) -> Result<bool, Invalid> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Invalid::Flag),
    }
}

fn word<T: Copy>(text: &str, words: &[(&'static str, T)], all: &'static str) -> Result<T, Invalid> {
    let found = words.iter().find(|(name, _)| text.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value).ok_or(Invalid::Word(all))
}

fn word_of<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> String {
    let found = words.iter().find(|(_, known)| known == value);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

pub(crate) fn or_off<N: ToString>(number: Option<N>) -> String {
    number.map_or_else(|| "off".to_owned(), |number| number.to_string())
}

const CHECKS: [(&str, Check); 2] = [("skip", Check::Skip), ("ping", Check::Ping)];
const NESTED: [(&str, Nested); 3] =
    [("allow", Nested::Allow), ("warn", Nested::Warn), ("refuse", Nested::Refuse)];
const FAILING: [(&str, OnFailing); 2] =
    [("hold", OnFailing::Hold), ("fail_fast", OnFailing::FailFast)];
const ORDERS: [(&str, IdleOrder); 2] = [("lifo", IdleOrder::Lifo), ("fifo", IdleOrder::Fifo)];

macro_rules! keys {
    ($($name:literal, $takes:expr, |$c:ident, $t:ident, $b:ident| $set:expr, |$s:ident| $show:expr,
       $because:literal;)*) => {
        &[$($crate::options::Key {
            name: $name,
            takes: $takes,
            because: $because,
            set: |$c, $t, $b| { let _ = $b; $set; Ok(()) },
            show: |$s| $show,
        }),*]
    };
}
pub(crate) use keys;

/// What is said of a pool before it is put together.
pub(crate) trait Pooled: 'static {
    fn parts(&self) -> Parts<'_>;
    fn parts_mut(&mut self) -> PartsMut<'_>;
}

pub(crate) struct Parts<'a> {
    pub(crate) pool: &'a Settings,
    pub(crate) breaker: &'a breaker::Settings,
    pub(crate) breaks: bool,
}

pub(crate) struct PartsMut<'a> {
    pub(crate) pool: &'a mut Settings,
    /// The breaker's settings, whether there is one or not.
    pub(crate) breaker: &'a mut breaker::Settings,
    pub(crate) breaks: &'a mut bool,
    /// `pool.lifetime_jitter` where it was given as a time.
    pub(crate) jitter: &'a mut Option<Duration>,
}

impl PartsMut<'_> {
    /// Puts together what was said one by one.
    pub(crate) fn settle(&mut self) {
        self.pool.breaker = self.breaks.then_some(*self.breaker);
        if let Some(jitter) = self.jitter.take() {
            self.pool.lifetime_jitter = jitter_share(jitter, self.pool.lifetime);
        }
    }
}

/// The keys of a pool, for whatever has one.
pub(crate) struct PoolKeys<T>(PhantomData<T>);

macro_rules! pool_keys {
    ($($name:literal, $takes:expr, |$c:ident, $t:ident, $b:ident| $set:expr, |$s:ident| $show:expr,
       $because:literal;)*) => {
        keys! {
            $($name, $takes,
                |$c, $t, $b| {
                    #[allow(unused_mut, reason = "few keys need all of it")]
                    let mut $c = $c.parts_mut();
                    $set
                },
                |$s| { let $s = $s.parts(); $show }, $because;)*
        }
    };
}

impl<T: Pooled> PoolKeys<T> {
    pub(crate) const ALL: &'static [Key<T>] = pool_keys! {
        "pool.max", COUNT, |c, t, b| c.pool.max = number(t)?, |c| c.pool.max.to_string(),
            "a server does no more at once than it has cores and disks for";
        "pool.min", COUNT, |c, t, b| c.pool.min = number(t)?, |c| c.pool.min.to_string(),
            "the first callers after a quiet time should not wait for a login";
        "pool.acquire_timeout", TIME_OR_OFF,
            |c, t, b| c.pool.acquire_timeout = parse_optional(t, b)?,
            |c| show_optional(c.pool.acquire_timeout),
            "that is what HikariCP, bb8 and sqlx wait";
        "pool.connect_timeout", TIME, |c, t, b| c.pool.connect_timeout = parse(t, b)?,
            |c| show(c.pool.connect_timeout),
            "a login takes milliseconds and a lost packet some seconds";
        "pool.check_timeout", TIME, |c, t, b| c.pool.check_timeout = parse(t, b)?,
            |c| show(c.pool.check_timeout),
            "a server that needs longer for a ping is as good as dead";
        "pool.reset_timeout", TIME, |c, t, b| c.pool.reset_timeout = parse(t, b)?,
            |c| show(c.pool.reset_timeout), "a rollback takes longer than a ping";
        "pool.close_timeout", TIME, |c, t, b| c.pool.close_timeout = parse(t, b)?,
            |c| show(c.pool.close_timeout), "the server notices a closed socket by itself";
        "pool.check_after", TIME_OR_OFF, |c, t, b| c.pool.check_after = parse_optional(t, b)?,
            |c| show_optional(c.pool.check_after),
            "a round trip for every loan costs more than it finds";
        "pool.check_on_return", "skip or ping",
            |c, t, b| c.pool.check_on_return = word(t, &CHECKS, "skip, ping")?,
            |c| word_of(&c.pool.check_on_return, &CHECKS),
            "what the adapter sees of the stream tells more than a ping";
        "pool.keep_alive", TIME_OR_OFF, |c, t, b| c.pool.keep_alive = parse_optional(t, b)?,
            |c| show_optional(c.pool.keep_alive),
            "firewalls forget silent connections after a few minutes";
        "pool.idle_timeout", TIME_OR_OFF, |c, t, b| c.pool.idle_timeout = parse_optional(t, b)?,
            |c| show_optional(c.pool.idle_timeout),
            "an idle connection costs the server memory";
        "pool.lifetime", TIME_OR_OFF, |c, t, b| c.pool.lifetime = parse_optional(t, b)?,
            |c| show_optional(c.pool.lifetime), "sessions leak and addresses change";
        "pool.lifetime_jitter", "a share such as 10%, or a time",
            |c, t, b| set_jitter(&mut c, t, b)?, |c| show_jitter(&c),
            "connections opened together must not expire together";
        "pool.uses_max", "a whole number, or off", |c, t, b| c.pool.uses_max = number_or_off(t)?,
            |c| or_off(c.pool.uses_max), "the lifetime replaces connections already";
        "pool.connects_max", COUNT, |c, t, b| c.pool.connects_max = number(t)?,
            |c| c.pool.connects_max.to_string(), "a server that restarts should not be stormed";
        "pool.backoff_first", TIME, |c, t, b| c.pool.backoff_first = parse(t, b)?,
            |c| show(c.pool.backoff_first), "a restarted server is often back within a second";
        "pool.backoff_max", TIME, |c, t, b| c.pool.backoff_max = parse(t, b)?,
            |c| show(c.pool.backoff_max), "nobody wants to wait longer after a recovery";
        "pool.failures_tolerated", COUNT, |c, t, b| c.pool.failures_tolerated = number(t)?,
            |c| c.pool.failures_tolerated.to_string(), "a restarted server refuses a few";
        "pool.on_failing", "hold or fail_fast",
            |c, t, b| c.pool.on_failing = word(t, &FAILING, "hold, fail_fast")?,
            |c| word_of(&c.pool.on_failing, &FAILING),
            "a queue behind a dead server only grows";
        "pool.queue_max", "a whole number, or off", |c, t, b| c.pool.queue_max = number_or_off(t)?,
            |c| or_off(c.pool.queue_max), "deadlines bound the queue already";
        "pool.order", "lifo or fifo", |c, t, b| c.pool.order = word(t, &ORDERS, "lifo, fifo")?,
            |c| word_of(&c.pool.order, &ORDERS), "then a pool that is too large can shrink";
        "pool.leak_after", TIME_OR_OFF, |c, t, b| c.pool.leak_after = parse_optional(t, b)?,
            |c| show_optional(c.pool.leak_after), "shorter thresholds name long jobs";
        "pool.nested", "allow, warn or refuse",
            |c, t, b| c.pool.nested = word(t, &NESTED, "allow, warn, refuse")?,
            |c| word_of(&c.pool.nested, &NESTED),
            "it is a mistake only if many tasks do it at once";
        "pool.priority_step", TIME, |c, t, b| c.pool.priority_step = parse(t, b)?,
            |c| show(c.pool.priority_step),
            "whoever has waited so long is as urgent as the next class";
        "pool.sizing", "advise, or a range such as 5..50", |c, t, b| c.pool.sizing = sizing(t)?,
            |c| show_sizing(c.pool.sizing), "nobody trusts a pool that grows by itself unasked";
        "pool.breaker.enabled", FLAG, |c, t, b| *c.breaks = flag(t)?, |c| c.breaks.to_string(),
            "one prober with a short pause finds a recovery sooner";
        "pool.breaker.window", TIME, |c, t, b| c.breaker.window = parse(t, b)?,
            |c| show(c.breaker.window), "pools make few connects";
        "pool.breaker.calls_min", COUNT, |c, t, b| c.breaker.calls_min = number(t)?,
            |c| c.breaker.calls_min.to_string(), "one failure is no pattern";
        "pool.breaker.failed_percent", COUNT, |c, t, b| c.breaker.failed_percent = number(t)?,
            |c| c.breaker.failed_percent.to_string(), "resilience4j's is";
        "pool.breaker.slow_after", TIME_OR_OFF,
            |c, t, b| c.breaker.slow_after = parse_optional(t, b)?,
            |c| show_optional(c.breaker.slow_after), "a healthy login takes milliseconds";
        "pool.breaker.slow_percent", COUNT, |c, t, b| c.breaker.slow_percent = number(t)?,
            |c| c.breaker.slow_percent.to_string(), "a slow server still serves";
        "pool.breaker.open_first", TIME, |c, t, b| c.breaker.open_first = parse(t, b)?,
            |c| show(c.breaker.open_first), "short outages are the most frequent";
        "pool.breaker.open_max", TIME, |c, t, b| c.breaker.open_max = parse(t, b)?,
            |c| show(c.breaker.open_max), "nobody wants to wait longer after a recovery";
        "pool.breaker.trials", COUNT, |c, t, b| c.breaker.trials = number(t)?,
            |c| c.breaker.trials.to_string(), "one success may be luck";
    };
}

fn sizing(text: &str) -> Result<Sizing, Invalid> {
    if text.trim() == "advise" {
        return Ok(Sizing::Advise);
    }
    let expected = Invalid::Word("advise, or a range such as 5..50");
    let (min, max) = text.split_once("..").ok_or(expected)?;
    Ok(Sizing::Auto { min: number(min)?, max: number(max)? })
}

fn show_sizing(sizing: Sizing) -> String {
    match sizing {
        Sizing::Advise => "advise".to_owned(),
        Sizing::Auto { min, max } => format!("{min}..{max}"),
    }
}

fn set_jitter(parts: &mut PartsMut<'_>, text: &str, bare: Bare) -> Result<(), Invalid> {
    *parts.jitter = None;
    if let Some(share) = text.trim().strip_suffix('%') {
        let percent: u32 = number(share).map_err(|_| Invalid::Share)?;
        if percent > 100 {
            return Err(Invalid::TooLarge);
        }
        parts.pool.lifetime_jitter = percent * 10;
        return Ok(());
    }
    *parts.jitter = Some(parse(text, bare).map_err(|_| Invalid::Share)?);
    Ok(())
}

fn show_jitter(parts: &Parts<'_>) -> String {
    let per_mille = parts.pool.lifetime_jitter;
    if per_mille.is_multiple_of(10) {
        return format!("{}%", per_mille / 10);
    }
    let lifetime = parts.pool.lifetime.unwrap_or_default();
    show(lifetime.mul_f64(f64::from(per_mille) / 1000.0))
}

/// Returns a jitter given as a time as a share of the lifetime, in per mille.
fn jitter_share(jitter: Duration, lifetime: Option<Duration>) -> u32 {
    let Some(lifetime) = lifetime.filter(|lifetime| !lifetime.is_zero()) else { return 0 };
    let share = jitter.as_nanos().saturating_mul(1000) / lifetime.as_nanos();
    u32::try_from(share).unwrap_or(u32::MAX).min(1000)
}
