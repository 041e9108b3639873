//! A search of modes for the terminal, and the lines to paste.
//!
//! Invariant: the recommendation stands beside its evidence, and every mode that was asked for is
//! in the table or named with the reason why not.

use std::fmt::Write as _;

use super::{Choice, Mode, Modes};
use crate::duration::{digits, micros};

/// Writes what was found.
#[must_use]
pub fn text(modes: &Modes) -> String {
    let mut out = format!(
        "{} clients\n{:<12} {:>7} {:>9} {:>24} {:>25}  errors\n",
        modes.clients, "mode", "servers", "(counted)", "throughput (95 %)", "p99 (95 %)"
    );
    for point in &modes.points {
        let mark = match Some(point.choice()) == modes.recommended {
            true => "  ← recommended",
            false => "",
        };
        let (rate, p99) = (&point.point.rate, &point.point.p99_us);
        let margin = |margin: f64, text: fn(f64) -> String| match margin.is_finite() {
            true => text(margin),
            false => "?".to_owned(),
        };
        let _ = writeln!(
            out,
            "{:<12} {:>7} {:>9} {:>13}/s ± {:<8} {:>14} ± {:<8} {:>5}%{mark}",
            point.mode.word(),
            point.point.size,
            format!("({})", point.servers_counted),
            digits(rate.mean),
            margin(rate.margin, digits),
            micros(p99.mean),
            margin(p99.margin, micros),
            digits(point.point.error_share * 100.0),
        );
    }
    for left in &modes.left_out {
        let _ = writeln!(out, "{:<12} left out: {}", left.mode.word(), left.reason);
    }
    out.push('\n');
    match modes.recommended {
        Some(choice) => {
            let _ = writeln!(out, "{choice}: the fewest connections that keep up.");
            for comparison in &modes.comparisons {
                let _ = writeln!(out, "  {}", comparison.text);
            }
            fleet(&mut out, modes, choice);
            out.push_str(&lines(modes, choice));
            caution(&mut out, choice.mode);
        }
        None => out.push_str("nothing to recommend: no mode answered its requests\n"),
    }
    for warning in &modes.warnings {
        let _ = writeln!(out, "! {warning}");
    }
    if modes.cut_short {
        out.push_str(
            "! the search was cut short: fewer modes, sizes and repeats than it would have had\n",
        );
    }
    out
}

fn fleet(out: &mut String, modes: &Modes, choice: Choice) {
    let (fleet, size) = (&modes.fleet, modes.fleet.split(choice.servers));
    let Some(max) = fleet.connections_max else { return };
    let all = fleet.instances.saturating_mul(size);
    let s = if fleet.instances == 1 { "" } else { "s" };
    let _ = writeln!(
        out,
        "  {} pooler{s} × {size} = {all} of {max} connections, {} reserved: {}",
        fleet.instances,
        fleet.reserved,
        match fleet.room() {
            Some(room) if all > room => "does NOT fit",
            _ => "fits",
        }
    );
}

/// What a measurement cannot see.
fn caution(out: &mut String, mode: Mode) {
    out.push_str(match mode {
        Mode::Session => "",
        Mode::Transaction => {
            "! transaction mode is for applications that keep nothing on a connection between \
             transactions: no SET, LISTEN, temporary tables or advisory locks of the session\n"
        }
        Mode::Statement => {
            "! statement mode is for applications without transactions of several statements, and \
             that keep nothing on a connection\n"
        }
    });
}

/// Returns the lines to paste.
#[must_use]
pub fn lines(modes: &Modes, choice: Choice) -> String {
    let (mode, size) = (choice.mode, modes.fleet.split(choice.servers));
    format!(
        "\n# pgbouncer.ini, section [pgbouncer]\npool_mode = {mode}\ndefault_pool_size = {size}\n\
         \n# headpond.toml\n[pooler]\npool_mode = \"{mode}\"\ndefault_pool_size = {size}\n\
         \n# environment of the pooler\nHEADPOND_POOL_MODE={mode}\n\
         HEADPOND_DEFAULT_POOL_SIZE={size}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::{LeftOut, ModePoint, SCHEMA, judge};
    use super::*;
    use crate::statistics::Mean;
    use crate::tune::Point;
    use crate::tune::fleet::Fleet;

    fn modes() -> Modes {
        let point = |mode, size: u32, rates: [f64; 3]| ModePoint {
            mode,
            servers_counted: size,
            point: Point {
                size,
                rates: rates.to_vec(),
                p99s_us: vec![900.0, 910.0, 905.0],
                rate: Mean::of(&rates).expect("three"),
                p99_us: Mean::of(&[900.0, 910.0, 905.0]).expect("three"),
                error_share: 0.0,
            },
        };
        let points = vec![
            point(Mode::Session, 64, [1000.0, 1010.0, 990.0]),
            point(Mode::Transaction, 8, [1001.0, 1005.0, 995.0]),
        ];
        let (choice, comparisons) = judge(&points).expect("a verdict");
        let reason = "statement \"pay\": BEGIN makes a transaction".to_owned();
        Modes {
            schema: SCHEMA,
            clients: 64,
            points,
            left_out: vec![LeftOut { mode: Mode::Statement, reason }],
            recommended: Some(choice),
            comparisons,
            fleet: Fleet { connections_max: Some(100), reserved: 3, instances: 1 },
            cut_short: false,
            warnings: vec![],
            took_s: 60.0,
        }
    }

    #[test]
    fn the_recommendation_has_its_evidence_and_its_lines() {
        let text = text(&modes());
        for part in [
            "transaction with 8 servers: the fewest connections that keep up",
            "no significant difference to session with 64 servers",
            "with 56 fewer connections on the server",
            "pool_mode = transaction\ndefault_pool_size = 8\n",
            "[pooler]\npool_mode = \"transaction\"\ndefault_pool_size = 8\n",
            "HEADPOND_POOL_MODE=transaction\nHEADPOND_DEFAULT_POOL_SIZE=8\n",
            "statement    left out: statement \"pay\"",
            "1 pooler × 8 = 8 of 100",
            "keep nothing on a connection between transactions",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_search_without_a_verdict_says_so() {
        let none = Modes { points: vec![], comparisons: vec![], recommended: None, ..modes() };
        let none = text(&Modes { cut_short: true, ..none });
        assert!(none.contains("nothing to recommend") && none.contains("cut short"), "{none}");
    }

    #[test]
    fn json_names_its_schema_and_flattens_figures() {
        let json = serde_json::to_value(modes()).expect("JSON");
        assert_eq!(json["schema"], "headpond-tune-modes/1");
        assert_eq!(
            (&json["points"][1]["mode"], &json["points"][1]["size"]),
            (&"transaction".into(), &8.into())
        );
        assert_eq!(json["recommended"]["servers"], 8);
        assert_eq!(json["comparisons"][0]["saves"], 56);
    }
}
