//! The page: one file, opens without a network.
//!
//! Invariant: no script, and nothing is loaded from anywhere.

use std::fmt::Write as _;

use super::chart::{Chart, Line, Scale, escape};
use super::text;
use crate::duration::{digits, micros};
use crate::result::{Percentiles, Results, Run};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:960px;\
padding:0 1rem;color:#222;background:#fff}h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .8rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}figure{margin:1rem 0}\
figcaption{font-weight:600}svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}\
.grid{stroke:#e4e4e4}.legend{margin:0;font-size:13px}.warning{background:#fff3cd;padding:.5rem .8rem}\
pre{background:#f6f6f6;padding:.8rem;overflow:auto}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}svg text{fill:#aaa}\
.grid{stroke:#333}td,th{border-color:#333}pre{background:#22252b}.warning{background:#4d3f0a}}";

/// Writes the page.
#[must_use]
pub fn page(results: &Results) -> String {
    let e = &results.environment;
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>headpond bench</title>\
         <style>{STYLE}</style></head><body><h1>headpond bench, {}</h1><p>headpond {}, {}, {} \
         ({} cores, {} MB), load average {} before.</p>",
        escape(&results.created),
        escape(&e.version),
        escape(&e.system),
        escape(&e.processor),
        e.cores,
        e.memory_bytes / 1_048_576,
        digits(e.load_average),
    );
    table(&mut out, results);
    distribution(&mut out, results);
    for run in &results.runs {
        section(&mut out, run);
    }
    let _ = write!(out, "<h2>Summary as text</h2><pre>{}</pre>", escape(&text::summary(results)));
    out.push_str("</body></html>\n");
    out
}

fn table(out: &mut String, results: &Results) {
    out.push_str(
        "<table><tr><th>run</th><th>connections</th><th>requests/s</th><th>p50</th><th>p95</th>\
         <th>p99</th><th>p99.9</th><th>max</th><th>wait p99</th><th>in use</th><th>errors</th></tr>",
    );
    for run in &results.runs {
        let l = &run.latency;
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}%</td></tr>",
            escape(&run.label),
            run.settings.connections,
            digits(run.rate),
            micros(l.at(0.5)),
            micros(l.at(0.95)),
            micros(l.at(0.99)),
            micros(l.at(0.999)),
            micros(l.max_us),
            micros(run.wait.at(0.99)),
            run.utilisation.map_or("–".to_owned(), |of| format!("{}%", digits(of.mean * 100.0))),
            digits(run.error_share * 100.0),
        );
    }
    out.push_str("</table>");
}

/// Latency over "nines": 0 is half of the requests, 1 is p90, 2 is p99, and so on.
fn curve(times: &Percentiles) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut seen = 0;
    for (us, count) in &times.buckets_us {
        seen += count;
        let above = (times.count.saturating_sub(seen)).max(1) as f64 / times.count.max(1) as f64;
        points.push((-above.log10(), *us));
    }
    points
}

fn distribution(out: &mut String, results: &Results) {
    let line = |run: &Run| Line { name: run.label.clone(), points: curve(&run.latency) };
    let chart = Chart {
        title: "Latency by share of requests",
        lines: results.runs.iter().take(6).map(line).collect(),
        scale: Scale::Log,
        value: micros,
        place: |nines| format!("{}%", (1.0 - 10f64.powf(-nines)) * 100.0).chars().take(7).collect(),
    };
    out.push_str(&chart.svg());
}

fn section(out: &mut String, run: &Run) {
    let _ = write!(out, "<h2>{}</h2><p>{}</p>", escape(&run.label), escape(&run.target));
    if let Some(warning) = run.generator.verdict.warning() {
        let _ = write!(out, "<p class=\"warning\">{}</p>", escape(warning));
    }
    let points = |of: fn(&crate::result::Second) -> f64| {
        run.seconds.iter().map(|second| (second.at_s, of(second))).collect()
    };
    let line = |name: &str, points| Line { name: name.to_owned(), points };
    let seconds = |at: f64| format!("{at:.0} s");
    let rate = Chart {
        title: "Requests per second",
        lines: vec![
            line("answered", points(|s| s.completed as f64)),
            line("failed", points(|s| s.errors as f64)),
        ],
        scale: Scale::Linear,
        value: digits,
        place: seconds,
    };
    let latency = Chart {
        title: "Latency",
        lines: vec![
            line("p50", points(|s| s.p50_us)),
            line("p99", points(|s| s.p99_us)),
            line("longest", points(|s| s.max_us)),
        ],
        scale: Scale::Log,
        value: micros,
        place: seconds,
    };
    let connections = Chart {
        title: "Connections in use, and requests that wait for one",
        lines: vec![
            line("in use", points(|s| f64::from(s.in_use))),
            line("waiting", points(|s| f64::from(s.waiting))),
        ],
        scale: Scale::Linear,
        value: digits,
        place: seconds,
    };
    for chart in [rate, latency, connections] {
        out.push_str(&chart.svg());
    }
    if !run.errors.is_empty() {
        out.push_str("<table><tr><th>error</th><th>count</th></tr>");
        for (kind, count) in &run.errors {
            let _ = write!(out, "<tr><td>{}</td><td>{count}</td></tr>", escape(kind));
        }
        out.push_str("</table>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn a_page_loads_nothing_and_runs_nothing() {
        let mut run = example::run("<script>alert(1)</script>", 1000.0, 10.0);
        run.errors.insert("timeout".to_owned(), 3);
        let page = page(&Results { runs: vec![run], ..Results::new() });
        for bad in ["<script", "http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(bad), "{bad}");
        }
        for part in ["Requests per second", "timeout", "&lt;script&gt;", "polyline"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn the_curve_rises_with_the_share() {
        let mut times = crate::measure::Times::default();
        (1..=1000u64).for_each(|n| times.record(n * 1_000_000));
        let curve = curve(&Percentiles::of(&times));
        assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1));
        // Two nines: a hundredth is longer.
        let p99 = curve.iter().find(|(nines, _)| *nines >= 1.99).expect("p99");
        assert!((p99.1 / 990_000.0 - 1.0).abs() < 0.01, "{p99:?}");
    }
}
