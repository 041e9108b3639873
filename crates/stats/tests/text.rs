//! Laws of the two text formats: golden texts, and strict parsing of whatever is put in.

mod parser;

use headpond_stats::{Distribution, Snapshot, text};
use parser::{Format, parse};

fn example() -> Snapshot {
    let mut snapshot = Snapshot::new();
    snapshot
        .counter("pgbouncer_stats_totals_queries_duration_seconds_total", "Time of \"queries\".")
        .add(&[("database", "shop")], 1.5);
    snapshot
        .gauge("headpond_pool_connections", "")
        .add(&[("state", "idle"), ("database", "a\\b\"c\nd")], -2i64)
        .add(&[], f64::NEG_INFINITY);
    snapshot.info("headpond_build_info", "Line\none \\ two.").add(&[("version", "1.2")]);
    snapshot
}

#[test]
fn openmetrics_names_families_without_suffix_and_ends_with_eof() {
    let expected = r##"# TYPE pgbouncer_stats_totals_queries_duration_seconds counter
# UNIT pgbouncer_stats_totals_queries_duration_seconds seconds
# HELP pgbouncer_stats_totals_queries_duration_seconds Time of \"queries\".
pgbouncer_stats_totals_queries_duration_seconds_total{database="shop"} 1.5
# TYPE headpond_pool_connections gauge
headpond_pool_connections{database="a\\b\"c\nd",state="idle"} -2
headpond_pool_connections -Inf
# TYPE headpond_build info
# HELP headpond_build Line\none \\ two.
headpond_build_info{version="1.2"} 1
# EOF
"##;
    assert_eq!(text::openmetrics(&example()), expected);
    parse(expected, Format::OpenMetrics);
}

#[test]
fn the_older_format_names_full_samples_and_has_no_end_mark() {
    let expected = r##"# TYPE pgbouncer_stats_totals_queries_duration_seconds_total counter
# HELP pgbouncer_stats_totals_queries_duration_seconds_total Time of "queries".
pgbouncer_stats_totals_queries_duration_seconds_total{database="shop"} 1.5
# TYPE headpond_pool_connections gauge
headpond_pool_connections{database="a\\b\"c\nd",state="idle"} -2
headpond_pool_connections -Inf
# TYPE headpond_build_info gauge
# HELP headpond_build_info Line\none \\ two.
headpond_build_info{version="1.2"} 1
"##;
    assert_eq!(text::prometheus(&example()), expected);
    parse(expected, Format::Prometheus);
}

#[test]
fn a_histogram_is_written_cumulatively_with_canonical_bounds() {
    let mut distribution = Distribution::new();
    for nanos in [100_000, 100_001, 1_000_000_000, 20_000_000_000] {
        distribution.record(nanos);
    }
    let mut snapshot = Snapshot::new();
    snapshot.histogram("headpond_wait_seconds", "").add(&[("pool", "p")], &distribution);
    let openmetrics = text::openmetrics(&snapshot);
    for line in [
        "headpond_wait_seconds_bucket{pool=\"p\",le=\"0.0001\"} 1\n",
        "headpond_wait_seconds_bucket{pool=\"p\",le=\"0.00025\"} 2\n",
        "headpond_wait_seconds_bucket{pool=\"p\",le=\"1.0\"} 3\n",
        "headpond_wait_seconds_bucket{pool=\"p\",le=\"10.0\"} 3\n",
        "headpond_wait_seconds_bucket{pool=\"p\",le=\"+Inf\"} 4\n",
        "headpond_wait_seconds_sum{pool=\"p\"} 21.000200001\n",
        "headpond_wait_seconds_count{pool=\"p\"} 4\n",
    ] {
        assert!(openmetrics.contains(line), "{line} in\n{openmetrics}");
    }
    assert!(text::prometheus(&snapshot).contains("{pool=\"p\",le=\"10\"} 3\n"));
    parse(&openmetrics, Format::OpenMetrics);
    parse(&text::prometheus(&snapshot), Format::Prometheus);
}

#[test]
fn an_empty_snapshot_is_legal() {
    assert_eq!(text::openmetrics(&Snapshot::new()), "# EOF\n");
    assert_eq!(text::prometheus(&Snapshot::new()), "");
}

#[test]
fn hostile_names_values_and_helps_parse_strictly_and_come_back_unchanged() {
    let hostile = [
        "",
        " ",
        "\\",
        "\"",
        "\n",
        "\\n",
        "\\\"",
        "a\"} 1\nevil 2",
        "# EOF",
        "\r\n",
        "\0",
        "\u{7f}",
        "é",
        "日本",
        "\u{202e}x",
        "'; DROP",
        "<img src=x onerror=alert(1)>",
        "{}",
        "=",
        ",",
        "\\\\\n",
    ];
    let mut snapshot = Snapshot::new();
    for name in hostile {
        for value in hostile {
            let odd = [(name, value), ("le", value), ("__name__", value), ("a-b", ""), ("a.b", "")];
            let labels = [&[("n", name), ("v", value)], &odd[..]].concat();
            snapshot.gauge("hostile", name).add(&labels, 1u64);
            snapshot.histogram("took_seconds", value).add(&labels, &Distribution::new());
        }
        snapshot.gauge(&format!("name{name}"), name).add(&[("value", name)], f64::NAN);
    }
    for (text, format) in [
        (text::openmetrics(&snapshot), Format::OpenMetrics),
        (text::prometheus(&snapshot), Format::Prometheus),
    ] {
        let families = parse(&text, format);
        assert_eq!(families["hostile"].samples.len(), hostile.len() * hostile.len());
        for value in hostile {
            let mut found = families["hostile"].samples.iter().flat_map(|s| &s.labels);
            assert!(found.any(|(_, told)| told == value), "{value:?} in {format:?}");
        }
    }
}

#[test]
fn random_text_in_every_place_parses_strictly() {
    for seed in 1..400u64 {
        let mut state = seed;
        let mut word = || {
            let mut word = String::new();
            for _ in 0..state % 7 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let range = if state >> 63 == 0 { 0x80 } else { 0xD000 };
                word.extend(char::from_u32((state >> 33) as u32 % range));
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >>= 1;
            word
        };
        let mut snapshot = Snapshot::new();
        for n in 0..20 {
            let (help, a, b, c, d) = (word(), word(), word(), word(), word());
            snapshot
                .counter(&format!("family{n}{}", word()), &help)
                .add(&[(&a, &b), (&c, &d)], u64::MAX)
                .add(&[(&c, &d)], 0.25);
        }
        for (text, format) in [
            (text::openmetrics(&snapshot), Format::OpenMetrics),
            (text::prometheus(&snapshot), Format::Prometheus),
        ] {
            let result = std::panic::catch_unwind(|| parse(&text, format));
            assert!(result.is_ok(), "seed {seed} {format:?}:\n{text}");
        }
    }
}
