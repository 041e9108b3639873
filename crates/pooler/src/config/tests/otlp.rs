//! Laws of `[otlp]`: the file, our variables, and those that everybody has.

use std::time::Duration;

use super::*;

/// What `[otlp]` says after a file and these variables, with where it was said.
fn otlp(file: &str, variables: &[(&str, &str)], key: &'static str) -> (Option<String>, String) {
    let env = Env::from_pairs(variables.iter().copied());
    let config = load_files("p.ini", &[("p.ini", file)], &env).expect("valid").config;
    let row = config.rows().into_iter().find(|row| row.key == format!("otlp.{key}"));
    (row.expect(key).value, config.origin(Section::Otlp, "", key).to_string())
}

#[test]
fn the_variables_of_opentelemetry_fill_what_the_file_leaves_open() {
    let interval = ("OTEL_METRIC_EXPORT_INTERVAL", "15000");
    let own = ("HEADPOND_OTLP__INTERVAL", "3");
    let file = "[otlp]\ninterval = 30\n";
    let said = |value: &str, place: &str| (Some(value.to_owned()), place.to_owned());
    for (file, variables, expected) in [
        ("", &[][..], said("60", "default")),
        ("", &[interval], said("15", "environment OTEL_METRIC_EXPORT_INTERVAL")),
        (file, &[interval], said("30", "p.ini:2")),
        ("", &[interval, own], said("3", "environment HEADPOND_OTLP__INTERVAL")),
        (file, &[interval, own], said("3", "environment HEADPOND_OTLP__INTERVAL")),
    ] {
        assert_eq!(otlp(file, variables, "interval"), expected);
    }
    let off = ("OTEL_SDK_DISABLED", "true");
    assert_eq!(otlp("", &[off], "enabled").0.as_deref(), Some("0"));
    assert_eq!(otlp("[otlp]\nenabled = 1\n", &[off], "enabled").0.as_deref(), Some("1"));
    for (variable, text, key, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318", "endpoint", "***"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://h/x", "metrics_endpoint", "***"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b", "headers", "***"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500", "timeout", "2.5"),
        ("OTEL_SERVICE_NAME", "front", "service_name", "front"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone=a", "resource_attributes", "zone=a"),
        ("OTEL_METRICS_EXPORTER", "none", "enabled", "0"),
    ] {
        let expected = said(value, &format!("environment {variable}"));
        assert_eq!(otlp("", &[(variable, text)], key), expected);
    }
}

#[test]
fn a_variable_of_others_that_makes_no_sense_is_named_and_ignored() {
    for (variable, text, why) in [
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "expected a number of seconds"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1", "must not be negative"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "not supported by headpond"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "expected an address such as"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone", "expected a comma list of name=value"),
    ] {
        let env = Env::from_pairs([(variable, text)]);
        let loaded = load_files("p.ini", &[("p.ini", "")], &env).expect("it is no error");
        let doubts: Vec<String> = loaded.warnings.iter().map(Warning::to_string).collect();
        let expected = format!("environment {variable}: ignored: {why}");
        assert!(doubts.len() == 1 && doubts[0].starts_with(&expected), "{doubts:?}");
        assert_eq!(loaded.config.otlp, Otlp::default());
    }
    let errors = ini_errors("[otlp]\nprotocol = grpc\ninterval = soon\nheadrs = a=b\n");
    assert_eq!(
        errors,
        [
            "p.ini:2: invalid value \"grpc\" for protocol: not supported by headpond",
            "p.ini:3: invalid value \"soon\" for interval: expected a number of seconds such as 15 \
             or 0.5, or a time such as 500ms or 2m",
            "p.ini:4: unknown parameter: otlp/headrs (did you mean 'headers'?)",
        ]
    );
}

#[test]
fn an_otlp_section_is_read_from_either_format() {
    let text =
        "[otlp]\nendpoint = \"http://h:4318\"\nheaders = [\"a=1\", \"b=2\"]\ninterval = \"5s\"\n";
    let otlp = load_text("p.toml", text).expect("valid").config.otlp;
    let headers = otlp.headers.as_ref().map(Secret::reveal);
    assert_eq!((headers, otlp.interval), (Some("a=1,b=2"), Duration::from_secs(5)));
    let same = ini("[otlp]\nendpoint = http://h:4318\nheaders = a=1,b=2\ninterval = 5\n").otlp;
    assert_eq!(same, otlp);
}

#[test]
fn other_secrets_of_otlp_wait_for_the_next_start() {
    let running = ini("[otlp]\nendpoint = http://a\nheaders = k=1\ninterval = 5\n");
    let mut new = ini("[otlp]\nendpoint = http://b\nheaders = k=2\ninterval = 6\n");
    let restart = change::Changes::between(&running, &new).restart;
    assert_eq!(restart, ["endpoint", "headers", "interval"]);
    new.retain_until_restart(&running);
    assert_eq!(new.otlp, running.otlp);
}
