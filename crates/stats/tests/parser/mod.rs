//! A strict parser of both text formats, written from their specifications and not from the
//! encoder: every deviation is a panic that names the line.
//!
//! Not here: timestamps, exemplars and the kinds the encoder never writes.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    OpenMetrics,
    Prometheus,
}

pub type Labels = Vec<(String, String)>;

#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub unit: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// Returns the families by declared name; panics at whatever is not strictly legal.
pub fn parse(text: &str, format: Format) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let body = match format {
        Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("OpenMetrics ends with EOF"),
        Format::Prometheus => text,
    };
    assert!(body.is_empty() || body.ends_with('\n'), "the last line is complete");
    for line in body.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name) = (words.next().expect("a word"), words.next().expect("a name"));
            let rest = words.next().unwrap_or("");
            if name != current {
                assert!(!families.contains_key(name), "family torn apart: {line}");
                assert!(is_name(name, true), "family name: {line}");
                current = name.to_owned();
            }
            let family = families.entry(current.clone()).or_default();
            assert!(family.samples.is_empty(), "declared after its samples: {line}");
            declare(family, what, rest, line, format);
        } else {
            let sample = parse_sample(line);
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("no type: {line}"));
            check_suffix(&current, &family.kind, &sample, format);
            family.samples.push(sample);
        }
    }
    families.iter().for_each(|(name, family)| check_family(name, family, format));
    check_name_clashes(&families, format);
    families
}

fn declare(family: &mut Family, what: &str, rest: &str, line: &str, format: Format) {
    match (what, format) {
        ("TYPE", _) => {
            assert!(family.kind.is_empty(), "typed twice: {line}");
            let known: &[&str] = match format {
                Format::OpenMetrics => &["counter", "gauge", "histogram", "info"],
                Format::Prometheus => &["counter", "gauge", "histogram"],
            };
            assert!(known.contains(&rest), "unknown type: {line}");
            family.kind = rest.to_owned();
        }
        ("UNIT", Format::OpenMetrics) => {
            assert!(family.unit.is_empty() && !rest.is_empty(), "unit: {line}");
            family.unit = rest.to_owned();
        }
        ("HELP", _) => {
            assert!(family.help.is_empty(), "helped twice: {line}");
            family.help = unescape(rest, format == Format::OpenMetrics, line);
        }
        _ => panic!("unexpected comment: {line}"),
    }
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let name = line[..end].to_owned();
    assert!(is_name(&name, true), "sample name: {line}");
    let mut labels = Vec::new();
    let mut rest = &line[end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("label: {line}"));
            assert!(is_name(label, false) && !label.starts_with("__"), "label {label}: {line}");
            let close = closing_quote(after).unwrap_or_else(|| panic!("open quote: {line}"));
            labels.push((label.to_owned(), unescape(&after[..close], true, line)));
            rest = &after[close + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("no closing brace: {line}"));
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no space: {line}"));
    let unique: BTreeSet<&String> = labels.iter().map(|(name, _)| name).collect();
    assert_eq!(unique.len(), labels.len(), "label twice: {line}");
    Sample { name, labels, value: parse_value(value, line) }
}

fn parse_value(value: &str, line: &str) -> f64 {
    match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => {
            let legal = |c: char| c.is_ascii_digit() || "+-.e".contains(c);
            assert!(!number.is_empty() && number.chars().all(legal), "value: {line}");
            number.parse().unwrap_or_else(|_| panic!("value: {line}"))
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str, quotes: bool, line: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\\') => out.push('\\'),
                Some('n') => out.push('\n'),
                Some('"') if quotes => out.push('"'),
                other => panic!("escape {other:?}: {line}"),
            },
            '"' if quotes => panic!("unescaped quote: {line}"),
            c => out.push(c),
        }
    }
    out
}

fn is_name(name: &str, metric: bool) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (metric && c == ':');
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn check_suffix(family: &str, kind: &str, sample: &Sample, format: Format) {
    let suffix = sample.name.strip_prefix(family).unwrap_or_else(|| {
        panic!("sample {} within family {family}", sample.name);
    });
    let legal: &[&str] = match (kind, format) {
        ("counter", Format::OpenMetrics) => &["_total"],
        ("info", _) => &["_info"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    assert!(legal.contains(&suffix), "{} in {kind} {family}", sample.name);
}

fn check_family(name: &str, family: &Family, format: Format) {
    assert!(!family.kind.is_empty(), "{name} has no type");
    if !family.unit.is_empty() {
        assert!(name.ends_with(&format!("_{}", family.unit)), "unit of {name}");
    }
    if family.kind == "counter" {
        assert!(format == Format::OpenMetrics || name.ends_with("_total"), "{name}");
        let legal = |s: &Sample| s.value >= 0.0 && s.value.is_finite();
        assert!(family.samples.iter().all(legal), "counter {name}");
    }
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.sort();
        assert!(seen.insert((sample.name.clone(), labels)), "twice: {sample:?}");
    }
    if family.kind == "histogram" {
        check_histogram(name, family);
    }
}

#[derive(Default)]
struct Buckets {
    rising: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

fn check_histogram(name: &str, family: &Family) {
    let mut series: BTreeMap<Labels, Buckets> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let le = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
        let entry = series.entry(labels).or_default();
        match (sample.name.strip_prefix(name), le) {
            (Some("_bucket"), Some(le)) => {
                entry.rising.push((parse_value(&le, name), sample.value));
            }
            (Some("_sum"), None) => entry.sum = Some(sample.value),
            (Some("_count"), None) => entry.count = Some(sample.value),
            other => panic!("{other:?} in histogram {name}"),
        }
    }
    for (labels, buckets) in series {
        let rising = |w: &[(f64, f64)]| w[0].0 < w[1].0 && w[0].1 <= w[1].1;
        assert!(buckets.rising.windows(2).all(rising), "{name} {labels:?}");
        let last = buckets.count.map(|count| (f64::INFINITY, count));
        assert_eq!(buckets.rising.last().copied(), last, "{name} {labels:?}");
        assert!(buckets.sum.is_some_and(|sum| sum >= 0.0), "{name} {labels:?}");
    }
}

/// A family must not be named like a sample of another one.
fn check_name_clashes(families: &BTreeMap<String, Family>, format: Format) {
    for (name, family) in families {
        let suffixes: &[&str] = match (family.kind.as_str(), format) {
            ("counter", Format::OpenMetrics) => &["_total", "_created"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("info", _) => &["_info"],
            _ => &[],
        };
        for suffix in suffixes {
            assert!(!families.contains_key(&format!("{name}{suffix}")), "{name}{suffix} clashes");
        }
    }
}
