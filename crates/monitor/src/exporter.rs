//! Chooses the format in which a snapshot is told.
//!
//! Invariant: whoever does not ask for OpenMetrics 1.0.0 gets Prometheus' text format 0.0.4, which
//! every scraper must understand; an unreadable `Accept` is no reason for an error.
//! Not here: the formats themselves (`headpond_stats::text`), protobuf and compression.

use headpond_stats::{Snapshot, text};

/// A text and its content type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The text itself.
    pub body: String,
}

/// Returns the snapshot in the format that the `Accept` header asks for.
pub fn encode(snapshot: &Snapshot, accept: Option<&str>) -> Exposition {
    if accept.is_some_and(prefers_openmetrics) {
        let body = text::openmetrics(snapshot);
        Exposition { content_type: text::OPENMETRICS_TYPE, body }
    } else {
        let body = text::prometheus(snapshot);
        Exposition { content_type: text::PROMETHEUS_TYPE, body }
    }
}

/// Returns whether OpenMetrics 1.0.0 is accepted, and no other text is liked better.
fn prefers_openmetrics(accept: &str) -> bool {
    let mut openmetrics = 0;
    let mut plain = 0;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or("").to_ascii_lowercase();
        let mut quality = 1000;
        let mut version = None;
        for part in parts {
            match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some((name, value)) if name.eq_ignore_ascii_case("q") => quality = per_mille(value),
                Some((name, value)) if name.eq_ignore_ascii_case("version") => {
                    version = Some(value.trim_matches('"').to_owned());
                }
                _ => {}
            }
        }
        match (media.as_str(), version.as_deref()) {
            ("application/openmetrics-text", None | Some("1.0.0")) => {
                openmetrics = openmetrics.max(quality);
            }
            ("text/plain", None | Some("0.0.4")) => plain = plain.max(quality),
            _ => {}
        }
    }
    openmetrics > 0 && openmetrics >= plain
}

/// Returns a quality in thousandths; what cannot be read counts as refusal.
fn per_mille(quality: &str) -> u32 {
    match quality.parse::<f32>() {
        // Within 0..=1000, so the cast only cuts the fraction.
        Ok(q) if (0.0..=1.0).contains(&q) => (q * 1000.0) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: Option<&str>, openmetrics: bool) {
        let told = encode(&Snapshot::new(), accept);
        let expected = if openmetrics {
            (text::OPENMETRICS_TYPE, "# EOF\n")
        } else {
            (text::PROMETHEUS_TYPE, "")
        };
        assert_eq!((told.content_type, told.body.as_str()), expected, "{accept:?}");
    }

    #[test]
    fn openmetrics_goes_to_those_who_prefer_it() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        check(Some(prometheus_2), true);
        check(Some(prometheus_3), true);
        check(Some("application/openmetrics-text"), true);
        check(Some("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1"), true);
        check(Some("text/plain, application/openmetrics-text; version=1.0.0"), true);
    }

    #[test]
    fn everyone_else_gets_the_older_format() {
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=nonsense",
            "application/openmetrics-text;q=0.3,text/plain;version=0.0.4;q=0.5",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
            ";;;,,,=;q=",
        ] {
            check(Some(accept), false);
        }
        check(None, false);
    }
}
