//! Which mode and size to recommend, and how that compares with the others, in words.
//!
//! Invariant: what is recommended never falls behind the best as measured by more than
//! [`BEHIND`](crate::tune::BEHIND), and a mode that restricts applications more is recommended
//! only if it saves connections or is faster.

use serde::Serialize;

use super::{Choice, ERRORS_MAX, Mode, ModePoint};
use crate::duration::{digits, micros};
use crate::statistics::{Difference, welch};
use crate::tune::{BEHIND, Point, judge as smallest};

/// What is recommended beside another choice.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// What is recommended.
    pub recommended: Choice,
    /// The other choice.
    pub than: Choice,
    /// How much more throughput the recommended one has; none from fewer than two repeats.
    pub rate: Option<Difference>,
    /// How much longer its p99 is.
    pub p99: Option<Difference>,
    /// How many connections it saves on the server; below zero if it needs more.
    pub saves: i64,
    /// All of it in words.
    pub text: String,
}

/// Returns what to recommend, and how it compares with the best of each other mode and with the
/// highest throughput; none if nothing was measured in which requests were answered.
#[must_use]
pub fn judge(points: &[ModePoint]) -> Option<(Choice, Vec<Comparison>)> {
    let sound: Vec<&ModePoint> =
        points.iter().filter(|point| point.point.error_share <= ERRORS_MAX).collect();
    let rate = |point: &ModePoint| point.point.rate.mean;
    let best = sound.iter().copied().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let keeps_up = |mode: Mode| {
        let of = sound.iter().copied().filter(|point| point.mode == mode);
        let kept = of.filter(|point| rate(point) >= (1.0 - BEHIND) * rate(best));
        kept.min_by_key(|point| point.point.size)
    };
    // Statement mode forbids transactions: a connection fewer is not worth that.
    let pooled = keeps_up(Mode::Transaction).or_else(|| keeps_up(Mode::Statement));
    let recommended = match (keeps_up(Mode::Session), pooled) {
        (Some(session), Some(pooled)) if pooled.point.size >= session.point.size => session,
        (session, pooled) => pooled.or(session)?,
    };
    let mut others: Vec<&ModePoint> = Vec::new();
    for mode in Mode::ALL.into_iter().filter(|mode| *mode != recommended.mode) {
        let of: Vec<&ModePoint> =
            sound.iter().copied().filter(|point| point.mode == mode).collect();
        let figures: Vec<Point> = of.iter().map(|point| point.point.clone()).collect();
        let (size, _) = smallest(&figures);
        others.extend(of.into_iter().find(|point| point.point.size == size));
    }
    if [recommended].iter().chain(&others).all(|point| point.choice() != best.choice()) {
        others.push(best);
    }
    let compared = others.into_iter().map(|other| compare(recommended, other)).collect();
    Some((recommended.choice(), compared))
}

fn compare(ours: &ModePoint, other: &ModePoint) -> Comparison {
    let (recommended, than) = (ours.choice(), other.choice());
    let rate = welch(&other.point.rates, &ours.point.rates);
    let p99 = welch(&other.point.p99s_us, &ours.point.p99s_us);
    let saves = i64::from(than.servers) - i64::from(recommended.servers);
    let throughput = match rate {
        None => format!("too few repeats to tell it from {than}"),
        Some(rate) if !rate.is_significant() => {
            format!("no significant difference to {than} ({})", share(&rate))
        }
        Some(rate) if rate.change < 0.0 => {
            format!("less throughput than {than} ({})", share(&rate))
        }
        Some(rate) => format!("more throughput than {than} ({})", share(&rate)),
    };
    let s = if saves.abs() == 1 { "" } else { "s" };
    let connections = match saves {
        0 => "with as many connections".to_owned(),
        1.. => format!("with {saves} fewer connection{s}"),
        _ => format!("with {} more connection{s}", -saves),
    };
    let latency = match p99.filter(Difference::is_significant) {
        None => "p99 is no significant difference".to_owned(),
        Some(p99) => format!(
            "p99 is {} ({})",
            if p99.change < 0.0 { "shorter" } else { "longer" },
            share(&p99)
        ),
    };
    let (a, b) = (micros(ours.point.p99_us.mean), micros(other.point.p99_us.mean));
    let text = format!(
        "{recommended}: {throughput}, {connections} on the server; {latency}: {a}, not {b}"
    );
    Comparison { recommended, than, rate, p99, saves, text }
}

fn share(difference: &Difference) -> String {
    let (change, margin) = (difference.change * 100.0, difference.margin * 100.0);
    format!("{change:+.1} % ± {}, p = {:.2}", digits(margin), difference.p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Mean;

    fn point(mode: Mode, size: u32, rates: [f64; 3]) -> ModePoint {
        let p99s = [1000.0, 1010.0, 990.0];
        let point = Point {
            size,
            rates: rates.to_vec(),
            p99s_us: p99s.to_vec(),
            rate: Mean::of(&rates).expect("three"),
            p99_us: Mean::of(&p99s).expect("three"),
            error_share: 0.0,
        };
        ModePoint { mode, servers_counted: size, point }
    }

    fn around(rate: f64) -> [f64; 3] {
        [rate * 0.99, rate, rate * 1.01]
    }

    #[test]
    fn fewer_connections_win_where_throughput_cannot_be_told_apart() {
        let points = [
            point(Mode::Session, 64, around(1000.0)),
            point(Mode::Transaction, 4, around(700.0)),
            point(Mode::Transaction, 8, around(995.0)),
            point(Mode::Transaction, 16, around(1005.0)),
        ];
        let (choice, compared) = judge(&points).expect("a verdict");
        assert_eq!(choice, Choice { mode: Mode::Transaction, servers: 8 });
        let expected = "transaction with 8 servers: no significant difference to session with 64 \
                        servers";
        assert!(compared[0].text.starts_with(expected), "{}", compared[0].text);
        assert!(compared[0].text.contains("with 56 fewer connections on the server"));
        assert_eq!((compared[0].saves, compared[1].than.servers), (56, 16));
    }

    #[test]
    fn session_wins_where_pooling_costs_throughput() {
        let points = [
            point(Mode::Session, 8, around(1000.0)),
            point(Mode::Transaction, 4, around(600.0)),
            point(Mode::Transaction, 8, around(900.0)),
        ];
        let (choice, compared) = judge(&points).expect("a verdict");
        assert_eq!(choice, Choice { mode: Mode::Session, servers: 8 });
        assert!(compared[0].text.contains("more throughput than transaction with 8 servers"));
        assert!(compared[0].text.contains("with as many connections"), "{}", compared[0].text);
    }

    #[test]
    fn with_as_many_servers_the_mode_that_restricts_nothing_wins() {
        let points =
            [point(Mode::Session, 8, around(1000.0)), point(Mode::Transaction, 8, around(1010.0))];
        assert_eq!(judge(&points).expect("a verdict").0.mode, Mode::Session);
    }

    #[test]
    fn statement_mode_wins_only_where_transaction_mode_falls_behind() {
        let transaction = |rate| point(Mode::Transaction, 8, around(rate));
        let statement = point(Mode::Statement, 7, around(1000.0));
        let of = |rate| judge(&[transaction(rate), statement.clone()]).expect("a verdict");
        assert_eq!(of(990.0).0.mode, Mode::Transaction);
        assert_eq!(of(900.0).0.mode, Mode::Statement);
        assert!(of(990.0).1[0].text.contains("with 1 more connection on"));
    }

    #[test]
    fn a_choice_whose_requests_fail_is_none_and_nothing_measured_is_no_verdict() {
        let mut failing = point(Mode::Transaction, 2, around(9000.0));
        failing.point.error_share = 0.2;
        let session = point(Mode::Session, 8, around(1000.0));
        assert_eq!(judge(&[failing.clone(), session]).expect("one").0.mode, Mode::Session);
        assert_eq!(judge(&[failing]), None);
        assert_eq!(judge(&[]), None);
    }

    #[test]
    fn one_repeat_is_too_few_for_a_verdict_in_words() {
        let one = |mode, size| {
            let mut point = point(mode, size, around(1000.0));
            point.point.rates.truncate(1);
            point
        };
        let points = [one(Mode::Session, 8), one(Mode::Transaction, 2)];
        let (choice, compared) = judge(&points).expect("a verdict");
        assert_eq!(choice.mode, Mode::Transaction);
        assert!(compared[0].text.contains("too few repeats"), "{}", compared[0].text);
    }
}
