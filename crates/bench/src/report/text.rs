//! The summary for the terminal.
//!
//! Invariant: plain text, lines below 100 columns, no colour: it is read in logs as well.

use std::fmt::Write as _;

use super::soak;
use crate::compare::{Basis, Change};
use crate::duration::{digits, micros};
use crate::result::{Percentiles, Results, Run};

/// Writes the summary of all runs.
#[must_use]
pub fn summary(results: &Results) -> String {
    let mut out = String::new();
    for run in &results.runs {
        write_run(&mut out, run);
    }
    if !results.environment.optimised {
        out.push_str("  ! this program was built without optimisation: it is slower than it is\n");
    }
    out
}

fn write_run(out: &mut String, run: &Run) {
    let s = &run.settings;
    let load = match s.rate {
        Some(rate) => format!("{}/s, open loop", digits(rate)),
        None => format!("{} clients, closed loop", s.clients),
    };
    let _ = writeln!(out, "{}  {} {}", run.label, run.kind, run.target);
    let _ = writeln!(
        out,
        "  load        {load}, {} connections, {}% writes, {} s{}",
        s.connections,
        digits(s.write_share * 100.0),
        digits(run.measured_s),
        if run.interrupted { " (interrupted)" } else { "" },
    );
    let _ = writeln!(out, "  throughput  {}/s, {} requests", digits(run.rate), run.completed);
    write_times(out, "latency", &run.latency);
    if run.wait.at(0.99) > 0.0 && run.wait.count > 0 {
        write_times(out, "wait", &run.wait);
        write_times(out, "service", &run.service);
    }
    if let Some(of) = run.utilisation {
        let percent = |share: f64| digits(share * 100.0);
        let _ = writeln!(
            out,
            "  in use      {}% on average, p50 {}%, p90 {}%, p99 {}%, most {}%; {} waited at most",
            percent(of.mean),
            percent(of.p50),
            percent(of.p90),
            percent(of.p99),
            percent(of.max),
            of.waiting_max
        );
    }
    write_errors(out, run);
    let generator = &run.generator;
    if generator.cpu_s > 0.0 {
        let _ = writeln!(
            out,
            "  generator   {} requests per CPU second, {}% busy",
            digits(generator.per_cpu_s),
            digits(generator.busy * 100.0)
        );
    }
    if let Some(warning) = generator.verdict.warning() {
        let _ = writeln!(out, "  ! {warning}");
    }
    for line in soak::lines(run) {
        let _ = writeln!(out, "  {line}");
    }
}

fn write_times(out: &mut String, name: &str, times: &Percentiles) {
    let _ = write!(out, "  {name:<10}");
    for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
        let _ = write!(out, "  {} {}", crate::result::name(q), micros(times.at(q)));
    }
    let _ = writeln!(out, "  max {}", micros(times.max_us));
}

fn write_errors(out: &mut String, run: &Run) {
    if run.errors.is_empty() && run.unfinished == 0 {
        let _ = writeln!(out, "  errors      none");
        return;
    }
    let mut kinds: Vec<String> =
        run.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if run.unfinished > 0 {
        kinds.push(format!("{} never answered", run.unfinished));
    }
    let share = digits(run.error_share * 100.0);
    let _ = writeln!(out, "  errors      {share}%: {}", kinds.join(", "));
}

/// Writes what changed between two results.
#[must_use]
pub fn changes(changes: &[Change]) -> String {
    let mut out = String::new();
    let mut windows = false;
    for change in changes {
        windows |= change.basis == Basis::Windows;
        let shown = |value: f64| match change.figure {
            "rate" => format!("{}/s", digits(value)),
            "errors" => digits(value),
            _ => micros(value),
        };
        let verdict = match change.difference {
            None => "too few values to tell".to_owned(),
            Some(d) => {
                let (percent, margin) = (d.change * 100.0, d.margin * 100.0);
                let word =
                    if d.is_significant() { "significant" } else { "no significant difference" };
                format!("{percent:+.1}% ± {margin:.1}  {word} (p = {:.3})", d.p)
            }
        };
        let _ = writeln!(
            out,
            "{:<24} {:<6} {:>12} → {:<12} {verdict}",
            change.label,
            change.figure,
            shown(change.before.mean),
            shown(change.after.mean),
        );
    }
    if changes.is_empty() {
        out.push_str("the two results have no label in common\n");
    }
    if windows {
        out.push_str(
            "compared by windows of one run each, which depend on each other: repeat the runs \
             (--repeat 5) to be sure\n",
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;
    use crate::result::Verdict;

    #[test]
    fn a_summary_says_what_was_asked_and_what_came_of_it() {
        let mut run = example::run("load", 1234.0, 10.0);
        run.errors.insert("timeout".to_owned(), 3);
        run.unfinished = 2;
        run.generator.verdict = Verdict::Saturated;
        let text = summary(&Results { runs: vec![run], ..Results::new() });
        for part in ["1,234/s", "p99 10ms", "3 timeout", "2 never answered", "saturated"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_comparison_says_whether_it_is_chance() {
        let results = |rates: &[f64]| {
            let runs = rates.iter().map(|rate| example::run("load", *rate, 10.0)).collect();
            Results { runs, ..Results::new() }
        };
        let (a, b) = (results(&[1000.0, 1030.0, 970.0]), results(&[1005.0, 1035.0, 975.0]));
        let text = changes(&crate::compare::compare(&a, &b));
        assert!(text.contains("no significant difference"), "{text}");
        assert!(changes(&[]).contains("no label in common"));
    }
}
