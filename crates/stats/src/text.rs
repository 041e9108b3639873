//! Writes a snapshot in the text formats that Prometheus reads.
//!
//! OpenMetrics 1.0.0 names the family in its `# TYPE` line (`served counter`, sample
//! `served_total`), writes units, and ends with `# EOF`. The older format 0.0.4 names the full
//! sample (`served_total counter`), knows no info type and no end mark.
//!
//! Invariant: the output parses strictly, whatever names, labels and help texts hold.
//! Not here: choosing the format (`monitor`), timestamps and exemplars.

use std::fmt::Write;

use crate::distribution::BOUNDS;
use crate::{Distribution, Family, Kind, Number, Series, Snapshot, Value};

/// The content type of [`openmetrics`].
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of [`prometheus`].
pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Prometheus,
}

/// Returns the snapshot as OpenMetrics 1.0.0.
pub fn openmetrics(snapshot: &Snapshot) -> String {
    let mut text = write_all(snapshot, Format::OpenMetrics);
    text.push_str("# EOF\n");
    text
}

/// Returns the snapshot in Prometheus' text format 0.0.4.
pub fn prometheus(snapshot: &Snapshot) -> String {
    write_all(snapshot, Format::Prometheus)
}

fn write_all(snapshot: &Snapshot, format: Format) -> String {
    let lines: usize = snapshot.families().iter().map(lines_of).sum();
    let mut text = Text { out: String::with_capacity(lines * 96), format };
    snapshot.families().iter().for_each(|family| text.family(family));
    text.out
}

fn lines_of(family: &Family) -> usize {
    let per_series = if family.kind() == Kind::Histogram { BOUNDS.len() + 3 } else { 1 };
    3 + family.series().len() * per_series
}

struct Text {
    out: String,
    format: Format,
}

impl Text {
    fn family(&mut self, family: &Family) {
        let sample_suffix = match family.kind() {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let declared_suffix = match self.format {
            Format::OpenMetrics => "",
            Format::Prometheus => sample_suffix,
        };
        let declared = [family.name(), declared_suffix];
        self.line(&["# TYPE ", declared[0], declared[1], " ", self.kind(family.kind())]);
        if self.format == Format::OpenMetrics && !family.unit().is_empty() {
            self.line(&["# UNIT ", family.name(), " ", family.unit()]);
        }
        if !family.help().is_empty() {
            self.push(&["# HELP ", declared[0], declared[1], " "]);
            self.help(family.help());
            self.out.push('\n');
        }
        for series in family.series() {
            self.series(family.name(), sample_suffix, series);
        }
    }

    fn kind(&self, kind: Kind) -> &'static str {
        match (kind, self.format) {
            (Kind::Counter, _) => "counter",
            (Kind::Histogram, _) => "histogram",
            (Kind::Info, Format::OpenMetrics) => "info",
            (Kind::Gauge, _) | (Kind::Info, Format::Prometheus) => "gauge",
        }
    }

    fn series(&mut self, name: &str, suffix: &str, series: &Series) {
        match series.value() {
            Value::Number(number) => {
                self.sample(name, suffix, series, None, *number);
            }
            Value::One => self.sample(name, suffix, series, None, Number::Unsigned(1)),
            Value::Distribution(distribution) => self.distribution(name, series, distribution),
        }
    }

    fn distribution(&mut self, name: &str, series: &Series, distribution: &Distribution) {
        for (bound, count) in BOUNDS.iter().zip(distribution.at_bounds()) {
            self.sample(name, "_bucket", series, Some(*bound), count.into());
        }
        let count = distribution.count();
        self.sample(name, "_bucket", series, Some(f64::INFINITY), count.into());
        let sum = Number::Float(distribution.sum_seconds());
        self.sample(name, "_sum", series, None, sum);
        self.sample(name, "_count", series, None, count.into());
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        series: &Series,
        bound: Option<f64>,
        number: Number,
    ) {
        self.push(&[name, suffix]);
        let mut separator = '{';
        for (label, value) in series.labels() {
            self.out.push(separator);
            self.push(&[label, "=\""]);
            self.escaped(value, true);
            self.out.push('"');
            separator = ',';
        }
        if let Some(bound) = bound {
            self.out.push(separator);
            self.out.push_str("le=\"");
            self.float(bound);
            self.out.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
        self.number(number);
        self.out.push('\n');
    }

    fn number(&mut self, number: Number) {
        match number {
            Number::Unsigned(n) => write!(self.out, "{n}"),
            Number::Signed(n) => write!(self.out, "{n}"),
            Number::Float(n) => return self.float(n),
        }
        .expect("writing to a string cannot fail");
    }

    fn float(&mut self, n: f64) {
        if n.is_nan() {
            self.out.push_str("NaN");
        } else if n.is_infinite() {
            self.out.push_str(if n > 0.0 { "+Inf" } else { "-Inf" });
        } else {
            match self.format {
                // OpenMetrics wants bounds in the form 1.0, not 1.
                Format::OpenMetrics => write!(self.out, "{n:?}"),
                Format::Prometheus => write!(self.out, "{n}"),
            }
            .expect("writing to a string cannot fail");
        }
    }

    /// 0.0.4 leaves quotes in help texts alone; OpenMetrics escapes them.
    fn help(&mut self, help: &str) {
        self.escaped(help, self.format == Format::OpenMetrics);
    }

    fn escaped(&mut self, text: &str, quotes: bool) {
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if quotes => self.out.push_str("\\\""),
                c => self.out.push(c),
            }
        }
    }

    fn line(&mut self, parts: &[&str]) {
        self.push(parts);
        self.out.push('\n');
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.push_str(part));
    }
}
