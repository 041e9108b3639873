//! What a measured run says about the pool that served it, and the settings to paste.
//!
//! Invariant: a size is recommended only where a formula holds: in an open loop that was not
//! overloaded. A closed loop without pauses keeps every connection busy, whatever their number.
//! Left out: searching for a size; `headpond tune` does that.

use headpond_core::sizing::busy;

use crate::duration::{digits, micros};
use crate::model::theory::Queue;
use crate::result::Run;
use crate::target::Kind;

/// Latency above which users notice: the usual promise for 95 % of requests.
const P95_US: f64 = 200_000.0;
/// The share of requests that may fail.
const ERRORS: f64 = 0.001;
/// Above this share of connections in use, short bursts already make requests wait.
const UTILISATION: f64 = 0.8;
/// How long all but a hundredth may wait for a connection, as a share of their service.
const WAIT: f64 = 1.0;

/// Returns what a run says, one line each.
#[must_use]
pub fn lines(run: &Run) -> Vec<String> {
    let mut lines = vec![promises(run)];
    if run.latency.count == 0 || run.service.count == 0 || run.kind == Kind::Http {
        return lines;
    }
    let service_s = run.service.mean_us / 1e6;
    let at_work = busy(run.rate, service_s);
    let size = run.settings.connections;
    if run.settings.arrival == "closed" {
        lines.push(format!(
            "{} of {size} connections were at work on average; `headpond tune` finds the best size",
            digits(at_work)
        ));
        return lines;
    }
    // Arrivals at random have a variation of one; that of service was measured.
    let cs = run.service.deviation_us / run.service.mean_us.max(1e-9);
    let variation = f64::midpoint(1.0, cs * cs);
    let queue = Queue { rate: run.rate, service_s, servers: size };
    let wanted = queue.fewest(0.99, service_s * WAIT, variation);
    let Some(wanted) = wanted.filter(|_| run.error_share <= ERRORS) else {
        lines.push("overloaded: no number of connections can be read from this run".to_owned());
        return lines;
    };
    lines.push(format!(
        "{} connections were at work on average; {wanted} keep p99 of the wait below {}",
        digits(at_work),
        micros(run.service.mean_us * WAIT)
    ));
    if wanted != size {
        let min = (wanted / 4).max(1);
        lines.push(format!("settings: DB_POOL_MAX={wanted} DB_POOL_MIN={min} (now {size})"));
    }
    lines
}

/// Says which of the usual promises were kept.
fn promises(run: &Run) -> String {
    let timeouts = run.errors.get("timeout").copied().unwrap_or(0);
    let used = run.utilisation.map_or(0.0, |of| of.p90);
    let broken: Vec<&str> = [
        (run.latency.at(0.95) > P95_US, "p95 above 200 ms"),
        (run.error_share > ERRORS, "more than 0.1 % errors"),
        (used > UTILISATION && run.settings.arrival == "open", "more than 80 % of the pool in use"),
        (timeouts > 0, "timeouts"),
    ]
    .into_iter()
    .filter_map(|(is_broken, what)| is_broken.then_some(what))
    .collect();
    match broken.is_empty() {
        true => "promises    kept: p95 below 200 ms, errors below 0.1 %, no timeouts".to_owned(),
        false => format!("promises    NOT kept: {}", broken.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn open(rate: f64, latency_ms: f64) -> Run {
        let mut run = example::run("a", rate, latency_ms);
        run.settings.arrival = "open".to_owned();
        run
    }

    #[test]
    fn an_open_loop_says_how_many_connections_it_needs() {
        // 1000 a second for 10 ms each: ten at work.
        let text = lines(&open(1000.0, 10.0)).join("\n");
        assert!(text.contains("10 connections were at work"), "{text}");
        let size: u32 = text
            .split("DB_POOL_MAX=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .expect("a size");
        assert!((11..=16).contains(&size), "{size}");
    }

    #[test]
    fn a_closed_loop_recommends_nothing() {
        let mut run = example::run("a", 1000.0, 10.0);
        run.settings.arrival = "closed".to_owned();
        assert!(!lines(&run).join("\n").contains("DB_POOL_MAX"));
    }

    #[test]
    fn a_broken_promise_is_named() {
        let mut run = open(100.0, 300.0);
        run.errors.insert("timeout".to_owned(), 2);
        let text = promises(&run);
        assert!(text.contains("NOT kept: p95 above 200 ms, timeouts"), "{text}");
        run.error_share = 0.5;
        assert!(lines(&run).join("\n").contains("overloaded"));
        assert!(promises(&open(100.0, 3.0)).contains("kept: p95"));
    }
}
