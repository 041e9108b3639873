//! The figures as text: on the terminal while they come, as Markdown in the end.
//!
//! Invariant: in `docs/benchmarks.md` only what stands between the two marks is replaced; what
//! people wrote around it stays.

use std::fmt::Write;
use std::path::Path;

use super::cells::Work;
use super::figures::{Measured, Row, Sample, Spread};
use super::options::Options;
use super::subject::{DIRECT, RIVAL, RIVAL_LARGE, RIVAL_NEW};
use crate::tree;

const BEGIN: &str =
    "<!-- measured: everything down to the next mark is written by `make bench` -->";
const END: &str = "<!-- measured: end -->";
const PAGE: &str = "docs/benchmarks.md";

type Figure = fn(&Sample) -> f64;

/// Returns a few lines about one row, for the terminal.
pub fn text(row: &Row) -> String {
    let mut out = String::new();
    for (key, samples) in &row.samples {
        let show = |figure: Figure| spread(samples, figure);
        let line = match row.cell.work {
            Work::Idle => {
                let sample = &samples[0];
                format!(
                    "base {:.0} KiB, {:.2} KiB per idle client ({:.2} Pss, {:.2} beyond \
                     the first), {:.1} ms CPU per second",
                    sample.base_kib,
                    sample.idle_kib,
                    sample.idle_share_kib,
                    sample.idle_next_kib,
                    sample.idle_cpu_ms_per_s
                )
            }
            Work::Paced => format!(
                "p50 {} µs  p99 {} µs  {}",
                show(|s| s.p50_us),
                show(|s| s.p99_us),
                cpu(samples)
            ),
            Work::Full | Work::Watched => {
                format!("{}  {} /s", cpu(samples), show(|s| s.throughput))
            }
        };
        let versus = match compared(row, key) {
            Some(rival) if row.cell.work != Work::Idle => {
                let ratio = |figure| row.ratio(key, rival, figure).map_or(0.0, |r| r.median);
                format!(
                    "  × {:.2} CPU × {:.2} speed",
                    ratio(Sample::cpu_us),
                    ratio(|s| s.throughput)
                )
            }
            _ => String::new(),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(out, "  {key:18} {line}{versus}");
    }
    out
}

fn cpu(samples: &[Sample]) -> String {
    format!("{} µs CPU", spread(samples, Sample::cpu_us))
}

/// What a subject is compared with: Debian's PgBouncer, or the newer one where that cannot run.
fn compared(row: &Row, key: &str) -> Option<&'static str> {
    if row.cell.work == Work::Watched {
        return row.samples.first().map(|(alone, _)| *alone).filter(|alone| *alone != key);
    }
    let rival = [RIVAL, RIVAL_NEW].into_iter().find(|rival| row.of(rival).is_some())?;
    (rival != key).then_some(rival)
}

fn spread(samples: &[Sample], figure: Figure) -> String {
    let Some(Spread { median, min, max }) = Spread::of(samples.iter().map(figure)) else {
        return "–".to_owned();
    };
    format!("{} ({}–{})", number(median), number(min), number(max))
}

/// Three digits are what the measurement is worth.
fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{:.1} k", v / 1000.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Returns the measured part of the page.
pub fn markdown(measured: &Measured, options: &Options) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{BEGIN}\n");
    let _ = writeln!(out, "{}\n", conditions(measured, options));
    let _ = writeln!(out, "{}", load_table(measured));
    let _ = writeln!(out, "{}", latency_table(measured));
    let _ = writeln!(out, "{}", idle_table(measured));
    let _ = writeln!(out, "{}", watched_table(measured));
    let _ = writeln!(out, "{END}");
    out
}

fn conditions(measured: &Measured, options: &Options) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processor = read("/proc/cpuinfo");
    let processor =
        processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let processor = processor.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let workers = options.workers.map_or("its default".to_owned(), |workers| workers.to_string());
    let titles = measured.subjects.iter().filter(|subject| subject.key != DIRECT);
    let titles: Vec<&str> = titles.map(|subject| subject.title.as_str()).collect();
    format!(
        "Measured on {cores} cores ({processor}), Linux {}, {}. Poolers: {}. Workers of Headpond: \
         {workers}. {} rounds of {} s.",
        read("/proc/sys/kernel/osrelease"),
        measured.server,
        titles.join("; "),
        options.rounds,
        options.seconds,
    )
}

fn load_table(measured: &Measured) -> String {
    let mut out = String::from(
        "| cell | pooler | CPU µs per transaction | user | system | transactions/s | CPU ratio | \
         speed ratio | must | PostgreSQL CPU µs |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in measured.rows.iter().filter(|row| row.cell.work == Work::Full) {
        if row.cell.is_prepared() && row.of(RIVAL).is_none() {
            let _ = writeln!(
                out,
                "| {} | {RIVAL} | not possible: it does not track prepared statements \
                 | | | | | | | |",
                row.cell.title
            );
        }
        for (key, samples) in &row.samples {
            let show = |figure: Figure| spread(samples, figure);
            let median = |figure: Figure| {
                Spread::of(samples.iter().map(figure))
                    .map_or_else(String::new, |s| number(s.median))
            };
            let ratio = |figure: Figure| {
                let ratio = compared(row, key).and_then(|rival| row.ratio(key, rival, figure));
                ratio.map_or_else(String::new, |r| {
                    format!("{:.2} ({:.2}–{:.2})", r.median, r.min, r.max)
                })
            };
            let _ = writeln!(
                out,
                "| {} | {key} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.cell.title,
                show(Sample::cpu_us),
                median(|s| s.user_us),
                median(|s| s.system_us),
                show(|s| s.throughput),
                ratio(Sample::cpu_us),
                ratio(|s| s.throughput),
                verdict(row, key),
                median(|s| s.server_us),
            );
        }
    }
    out
}

/// Says what the row must reach and whether it did; for Headpond only.
fn verdict(row: &Row, key: &str) -> String {
    if !key.starts_with("headpond") {
        return String::new();
    }
    let must = &row.cell.must;
    let mut parts = Vec::new();
    let mut judge = |what: String, met: Option<bool>| {
        let met = met.map_or("no rival", |met| if met { "met" } else { "**missed**" });
        parts.push(format!("{what}: {met}"));
    };
    let median = |rival, figure| row.ratio(key, rival, figure).map(|ratio| ratio.median);
    let rival = compared(row, key).unwrap_or(RIVAL);
    if let Some(max) = must.cpu_max {
        judge(format!("CPU ≤ {max}"), median(rival, Sample::cpu_us).map(|ratio| ratio <= max));
    }
    if let Some(max) = must.cpu_max_large_buffers {
        let ratio = median(RIVAL_LARGE, Sample::cpu_us);
        let shown = ratio.map_or_else(String::new, |ratio| format!(" (is {ratio:.2})"));
        judge(format!("to 64 KB buffers ≤ {max}{shown}"), ratio.map(|ratio| ratio <= max));
    }
    if let Some(min) = must.throughput_min {
        let speed: Figure = |s| s.throughput;
        judge(format!("speed ≥ {min}"), median(rival, speed).map(|ratio| ratio >= min));
    }
    parts.join(", ")
}

fn latency_table(measured: &Measured) -> String {
    let mut out = String::new();
    for row in measured.rows.iter().filter(|row| row.cell.work == Work::Paced) {
        let _ = writeln!(
            out,
            "Latency at {} transactions per second, {} clients:\n\n| pooler | p50 µs | p99 µs \
             | CPU µs per transaction |\n|---|---|---|---|",
            row.rate.unwrap_or(0),
            row.cell.clients
        );
        for (key, samples) in &row.samples {
            let show = |figure: Figure| spread(samples, figure);
            let cpu = if *key == DIRECT { String::new() } else { show(Sample::cpu_us) };
            let _ = writeln!(
                out,
                "| {key} | {} | {} | {cpu} |",
                show(|s| s.p50_us),
                show(|s| s.p99_us)
            );
        }
    }
    out
}

fn idle_table(measured: &Measured) -> String {
    let mut out = String::new();
    for row in measured.rows.iter().filter(|row| row.cell.work == Work::Idle) {
        let clients = row.samples.first().map_or(0.0, |(_, samples)| samples[0].idle_clients);
        let _ = writeln!(
            out,
            "Memory with {clients:.0} idle clients (each logged in and ran one query):\n\n\
             | pooler | base KiB | KiB per client | Pss KiB per client | per further client \
             | CPU ms per second | must |\n|---|---|---|---|---|---|---|"
        );
        for (key, samples) in &row.samples {
            let sample = &samples[0];
            let must = row.cell.must.idle_kib_max.filter(|_| key.starts_with("headpond"));
            let must = must.map_or_else(String::new, |max| {
                let met = if sample.idle_kib <= max { "met" } else { "**missed**" };
                format!("≤ {max} KiB: {met}")
            });
            let _ = writeln!(
                out,
                "| {key} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {must} |",
                sample.base_kib,
                sample.idle_kib,
                sample.idle_share_kib,
                sample.idle_next_kib,
                sample.idle_cpu_ms_per_s
            );
        }
    }
    out
}

fn watched_table(measured: &Measured) -> String {
    let mut out = String::new();
    for row in measured.rows.iter().filter(|row| row.cell.work == Work::Watched) {
        let _ = writeln!(
            out,
            "The same pooler without and with somebody who scrapes `/metrics` every second and has \
             the page open, {} clients:\n\n| | CPU ms per second at rest | transactions/s \
             | CPU µs per transaction | speed ratio \
             | CPU ratio | must |\n|---|---|---|---|---|---|---|",
            row.cell.clients
        );
        for (key, samples) in &row.samples {
            let ratio = |figure: Figure| {
                let ratio = compared(row, key).and_then(|alone| row.ratio(key, alone, figure));
                ratio.map_or_else(String::new, |r| {
                    format!("{:.3} ({:.3}–{:.3})", r.median, r.min, r.max)
                })
            };
            let must = compared(row, key).map_or_else(String::new, |_| verdict(row, key));
            let _ = writeln!(
                out,
                "| {key} | {:.1} | {} | {} | {} | {} | {must} |",
                samples.first().map_or(0.0, |sample| sample.idle_cpu_ms_per_s),
                spread(samples, |s| s.throughput),
                spread(samples, Sample::cpu_us),
                ratio(|s| s.throughput),
                ratio(Sample::cpu_us),
            );
        }
    }
    out
}

/// Replaces the measured part of the page, if this run was a complete one.
pub fn keep(measured: &Measured, options: &Options) -> Result<(), String> {
    if !options.writes() {
        eprintln!("{PAGE} is left as it is: this was not a complete run (--write writes it)");
        return Ok(());
    }
    let page = tree::read(Path::new(PAGE))?;
    let (before, rest) = page.split_once(BEGIN).ok_or(format!("{PAGE}: the first mark is gone"))?;
    let (_, after) = rest.split_once(END).ok_or(format!("{PAGE}: the last mark is gone"))?;
    let text = format!("{before}{}{after}", markdown(measured, options).trim_end());
    std::fs::write(tree::root().join(PAGE), text).map_err(|error| format!("{PAGE}: {error}"))?;
    eprintln!("{PAGE} is written");
    Ok(())
}
