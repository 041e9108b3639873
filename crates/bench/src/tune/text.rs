//! A tuning for the terminal, and the lines to paste.
//!
//! Invariant: the recommendation stands beside its evidence and whatever makes it doubtful.

use std::fmt::Write as _;

use super::Tuning;
use crate::duration::{digits, micros};
use crate::target::Kind;

/// Writes what was found.
#[must_use]
pub fn text(tuning: &Tuning, kind: Kind) -> String {
    let mut out =
        String::from("size         throughput (95 %)                 p99 (95 %)  errors\n");
    for point in &tuning.points {
        let mark = match point.size {
            size if size == tuning.recommended => "  ← recommended",
            size if size == tuning.best => "  highest",
            _ => "",
        };
        let margin = |margin: f64| match margin.is_finite() {
            true => digits(margin),
            false => "?".to_owned(),
        };
        let _ = writeln!(
            out,
            "{:>4} {:>12}/s ± {:<8} {:>14} ± {:<8} {:>5}%{mark}",
            point.size,
            digits(point.rate.mean),
            margin(point.rate.margin),
            micros(point.p99_us.mean),
            if point.p99_us.margin.is_finite() { micros(point.p99_us.margin) } else { "?".into() },
            digits(point.error_share * 100.0),
        );
    }
    out.push('\n');
    evidence(&mut out, tuning);
    fleet(&mut out, tuning);
    out.push_str(&lines(tuning, kind));
    for warning in &tuning.warnings {
        let _ = writeln!(out, "! {warning}");
    }
    if tuning.cut_short {
        out.push_str(
            "! the search was cut short: fewer sizes and repeats than it would have had\n",
        );
    }
    out
}

fn evidence(out: &mut String, tuning: &Tuning) {
    let _ = writeln!(out, "{} connections: the smallest size that keeps up.", tuning.recommended);
    for tie in &tuning.ties {
        let _ = writeln!(
            out,
            "  no significant difference between {} and {}: {:+.1}% ± {:.1} (p = {:.2})",
            tuning.recommended,
            tie.size,
            tie.change * 100.0,
            tie.margin * 100.0,
            tie.p
        );
    }
    match (tuning.usl, tuning.usl_knee) {
        (Some((gamma, sigma, kappa)), knee) => {
            let knee = knee.map_or("more is always better".to_owned(), |at| {
                format!("its maximum is at {}", digits(at))
            });
            let _ = writeln!(
                out,
                "  scalability (USL): gamma {}, sigma {sigma:.4}, kappa {kappa:.6}, R² {:.2}; {knee}",
                digits(gamma),
                tuning.usl_r2.unwrap_or(0.0)
            );
        }
        (None, _) => out.push_str("  scalability (USL): too few sizes for a fit\n"),
    }
    let _ = writeln!(
        out,
        "  knee by p99: {}; beyond it waiting grows faster than throughput",
        tuning.p99_knee
    );
}

fn fleet(out: &mut String, tuning: &Tuning) {
    let fleet = &tuning.fleet;
    let size = fleet.split(tuning.recommended);
    let Some(max) = fleet.connections_max else { return };
    let _ = writeln!(
        out,
        "  {} instances × {size} = {} of {max} connections, {} reserved: {}",
        fleet.instances,
        fleet.instances * size,
        fleet.reserved,
        match fleet.room() {
            Some(room) if fleet.instances * size > room => "does NOT fit",
            _ => "fits",
        }
    );
}

/// Returns the lines to paste.
#[must_use]
pub fn lines(tuning: &Tuning, kind: Kind) -> String {
    let size = tuning.fleet.split(tuning.recommended);
    let min = (size / 4).max(1);
    let library = match kind {
        Kind::Sqlite => return format!("\n# sqlite: {size} readers beside the one writer\n"),
        Kind::Http => return format!("\n# http: max_per_origin = {size}\n"),
        Kind::Redis => format!("pool.max = {size}\npool.min = {min}\n"),
        Kind::Postgres | Kind::MySql => {
            format!(
                "pool.max = {size}\npool.min = {min}\n\n# environment of a service\n\
                 DB_POOL_MAX={size}\nDB_POOL_MIN={min}\n"
            )
        }
    };
    let pooler = match kind {
        Kind::Postgres => format!(
            "\n# pgbouncer.ini, section [pgbouncer]\ndefault_pool_size = {size}\n\
             min_pool_size = {min}\n\n# environment of the pooler\n\
             HEADPOND_DEFAULT_POOL_SIZE={size}\n"
        ),
        _ => String::new(),
    };
    format!("{pooler}\n# headpond.toml, below [databases.NAME]\n{library}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Mean;
    use crate::tune::fleet::Fleet;
    use crate::tune::{Point, Tie};

    fn tuning() -> Tuning {
        let mean = |mean: f64| Mean { mean, margin: mean / 50.0, count: 3 };
        let point = |size: u32, rate: f64| Point {
            size,
            rates: vec![rate; 3],
            p99s_us: vec![900.0; 3],
            rate: mean(rate),
            p99_us: mean(900.0),
            error_share: 0.0,
        };
        Tuning {
            points: vec![point(8, 900.0), point(16, 1000.0), point(24, 1005.0)],
            best: 24,
            recommended: 16,
            ties: vec![Tie { size: 24, change: 0.005, margin: 0.02, p: 0.6 }],
            usl: Some((120.0, 0.02, 0.001)),
            usl_knee: Some(31.3),
            usl_r2: Some(0.98),
            p99_knee: 16,
            fleet: Fleet { connections_max: Some(100), reserved: 3, instances: 1 },
            cut_short: false,
            warnings: vec![],
            took_s: 60.0,
        }
    }

    #[test]
    fn a_tuning_says_what_cannot_be_told_apart_and_what_to_paste() {
        let text = text(&tuning(), Kind::Postgres);
        for part in [
            "no significant difference between 16 and 24",
            "default_pool_size = 16",
            "pool.max = 16",
            "DB_POOL_MAX=16",
            "1 instances × 16 = 16 of 100",
            "its maximum is at 31.3",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn each_kind_of_server_has_its_own_lines() {
        assert!(!lines(&tuning(), Kind::Redis).contains("default_pool_size"));
        assert!(lines(&tuning(), Kind::Sqlite).contains("readers"));
    }
}
