//! What a URL says about the pool.
//!
//! Invariant: what is not said stays as it was.
//! Left out: everything that concerns the server.

use std::time::Duration;

use crate::settings::{Settings, default_min};

/// What was said. Each field has the name of the setting it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PoolOptions {
    pub(crate) max: Option<u32>,
    pub(crate) min: Option<u32>,
    pub(crate) acquire_timeout: Option<Option<Duration>>,
    pub(crate) lifetime: Option<Option<Duration>>,
    pub(crate) lifetime_jitter: Option<Duration>,
    pub(crate) idle_timeout: Option<Option<Duration>>,
    pub(crate) keep_alive: Option<Option<Duration>>,
    pub(crate) check_timeout: Option<Duration>,
}

impl PoolOptions {
    pub(crate) fn apply(&self, mut settings: Settings) -> Settings {
        if let Some(max) = self.max {
            settings.max = max;
            settings.min = self.min.unwrap_or_else(|| default_min(max));
        }
        if let Some(min) = self.min {
            settings.min = min;
        }
        if let Some(acquire_timeout) = self.acquire_timeout {
            settings.acquire_timeout = acquire_timeout;
        }
        if let Some(lifetime) = self.lifetime {
            settings.lifetime = lifetime;
        }
        if let (Some(jitter), Some(lifetime)) = (self.lifetime_jitter, settings.lifetime) {
            let share = jitter.as_millis() * 1000 / lifetime.as_millis().max(1);
            settings.lifetime_jitter = u32::try_from(share.min(1000)).unwrap_or(1000);
        }
        if let Some(idle_timeout) = self.idle_timeout {
            settings.idle_timeout = idle_timeout;
        }
        if let Some(keep_alive) = self.keep_alive {
            settings.keep_alive = keep_alive;
        }
        if let Some(check_timeout) = self.check_timeout {
            settings.check_timeout = check_timeout;
        }
        settings
    }
}

/// Reads a duration as Go writes it (`1h30m`, `250ms`); a bare number is seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" | "min" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}
