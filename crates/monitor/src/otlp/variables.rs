//! The variables of OpenTelemetry that are about pushing metrics.
//!
//! Invariant: an empty variable is none; what is said of metrics alone wins over what is said of
//! everything; a program that is told not to be watched pushes nothing.
//! Not here: reading the environment, which is the caller's.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::settings::{Settings, SettingsError, pairs};

/// Every variable that is looked at.
pub const VARIABLES: [&str; 13] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
];

/// What one variable says.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    /// Its name.
    pub variable: &'static str,
    /// What it is about: `enabled`, `protocol`, `endpoint`, `metrics_endpoint`, `headers`,
    /// `interval`, `timeout`, `service_name` or `resource_attributes`.
    pub key: &'static str,
    /// The text; `enabled` is `0`, times have a unit (`500ms`). It may be a secret.
    pub text: String,
}

/// By key, the variables that say it; the first that is set counts.
const SAYING: [(&str, &[&str]); 8] = [
    ("protocol", &["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]),
    ("endpoint", &["OTEL_EXPORTER_OTLP_ENDPOINT"]),
    ("metrics_endpoint", &["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]),
    ("headers", &["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]),
    ("interval", &["OTEL_METRIC_EXPORT_INTERVAL"]),
    ("timeout", &["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]),
    ("service_name", &["OTEL_SERVICE_NAME"]),
    ("resource_attributes", &["OTEL_RESOURCE_ATTRIBUTES"]),
];

/// Returns what the variables say, in no particular order; `get` looks one up.
pub fn standard(get: impl Fn(&str) -> Option<String>) -> Vec<Said> {
    let get = |name: &str| get(name).map(|text| text.trim().to_owned()).filter(|t| !t.is_empty());
    let mut all = Vec::new();
    let is_off = |name: &str, text: &str| match name {
        "OTEL_SDK_DISABLED" => text.eq_ignore_ascii_case("true"),
        _ => !text.split(',').any(|exporter| exporter.trim().eq_ignore_ascii_case("otlp")),
    };
    for variable in ["OTEL_SDK_DISABLED", "OTEL_METRICS_EXPORTER"] {
        if get(variable).is_some_and(|text| is_off(variable, &text)) {
            all.push(Said { variable, key: "enabled", text: "0".to_owned() });
        }
    }
    for (key, variables) in SAYING {
        let found = variables.iter().find_map(|variable| Some((*variable, get(variable)?)));
        let Some((variable, mut text)) = found else { continue };
        if matches!(key, "interval" | "timeout") {
            text.push_str("ms");
        }
        all.push(Said { variable, key, text });
    }
    all
}

impl Settings {
    /// Reads the variables of OpenTelemetry that `get` finds, such as `|name|
    /// std::env::var(name).ok()`; `None` if they name no endpoint, or say that nothing is to be
    /// pushed. `tls` is what `https` uses.
    ///
    /// # Errors
    /// A variable cannot be read as what it is, or an address needs TLS and there is none.
    pub fn from_variables(
        get: impl Fn(&str) -> Option<String>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Option<Self>, SettingsError> {
        let all = standard(get);
        let said = |key: &str| all.iter().find(|said| said.key == key);
        if said("enabled").is_some() {
            return Ok(None);
        }
        let mut settings = match (said("metrics_endpoint"), said("endpoint")) {
            (Some(said), _) => within(said, Self::verbatim(&said.text, tls))?,
            (None, Some(said)) => within(said, Self::new(&said.text, tls))?,
            (None, None) => return Ok(None),
        };
        if let Some(said) = said("protocol").filter(|said| said.text != "http/protobuf") {
            within(said, Err(SettingsError::Protocol))?;
        }
        if let Some(said) = said("headers") {
            settings = within(said, settings.headers(&said.text))?;
        }
        for (key, time) in
            [("interval", &mut settings.interval), ("timeout", &mut settings.timeout)]
        {
            if let Some(said) = said(key) {
                *time = within(said, millis(&said.text))?;
            }
        }
        settings.service_name = said("service_name").map(|said| said.text.clone());
        if let Some(said) = said("resource_attributes") {
            settings.attributes = within(said, pairs(&said.text))?;
        }
        Ok(Some(settings))
    }
}

fn millis(text: &str) -> Result<Duration, SettingsError> {
    let number = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    number.map(Duration::from_millis).ok_or(SettingsError::Time)
}

/// Says which variable is wrong.
fn within<T>(said: &Said, result: Result<T, SettingsError>) -> Result<T, SettingsError> {
    result.map_err(|error| SettingsError::Variable(said.variable, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        Settings::from_variables(get, None)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");

    #[test]
    fn nothing_is_pushed_unasked() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_SERVICE_NAME", "shop"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")],
            &[ENDPOINT, ("OTEL_METRICS_EXPORTER", "prometheus, console")],
        ] {
            assert!(read(variables).expect("all are right").is_none(), "{variables:?}");
        }
        for variables in [
            &[ENDPOINT][..],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "1")],
            &[ENDPOINT, ("OTEL_METRICS_EXPORTER", "prometheus,otlp")],
        ] {
            assert!(read(variables).expect("all are right").is_some(), "{variables:?}");
        }
    }

    #[test]
    fn variables_for_metrics_win_over_those_for_everything() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:1/as/it/is"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "key=all"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "key=a%20b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2500"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,zone=a%2Cb"),
        ]);
        let settings = settings.expect("all are right").expect("there is an endpoint");
        assert_eq!((settings.place().as_str(), settings.path), ("metrics:1", ""));
        assert_eq!(settings.headers["key"], "a b");
        assert_eq!(settings.timeout, Duration::from_millis(2_500));
        assert_eq!(settings.interval, Duration::from_secs(15));
        assert_eq!(settings.service_name.as_deref(), Some("shop"));
        assert_eq!(settings.attributes[1], ("zone".to_owned(), "a,b".to_owned()));
        let settings = read(&[ENDPOINT]).expect("right").expect("there is an endpoint");
        assert_eq!((settings.place().as_str(), settings.path), ("all:4318", "/v1/metrics"));
        assert_eq!(settings.interval, Duration::from_secs(60));
        assert_eq!(settings.timeout, Duration::from_secs(10));
    }

    #[test]
    fn a_wrong_variable_is_named_and_its_text_is_not() {
        for (name, text, error) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "canary:4318", "must begin with http:// or https://"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "canary", "expected a comma list of name=value"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "canary", "expected a whole number of milliseconds"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "expected a whole number of milliseconds"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf is spoken"),
            ("OTEL_RESOURCE_ATTRIBUTES", "canary", "expected a comma list of name=value"),
        ] {
            let variables = match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => vec![(name, text)],
                _ => vec![ENDPOINT, (name, text)],
            };
            let said = read(&variables).expect_err(name).to_string();
            assert!(said.starts_with(&format!("{name}: ")) && said.ends_with(error), "{said}");
        }
    }

    #[test]
    fn every_variable_that_says_something_is_listed() {
        let mut saying: Vec<&str> = SAYING.iter().flat_map(|(_, all)| *all).copied().collect();
        saying.extend(["OTEL_SDK_DISABLED", "OTEL_METRICS_EXPORTER"]);
        saying.sort_unstable();
        assert_eq!(saying, VARIABLES);
    }
}
