//! How an alert is written down for others: Alertmanager's API v2, its webhook of version 4.
//!
//! Invariant: the labels of an alert identify it and stay the same while it lasts; what changes
//! (the value, the words) stands in its annotations. Nothing here is a secret.
//! Not here: sending it (`notify.rs`).

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::evaluate::{Active, Transition};
use super::rule::Severity;
use crate::time::rfc3339;

/// An alert on its way to somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The rule.
    pub name: String,
    /// Whom it is about; empty for the process.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// It begins or goes on; else it is over.
    pub is_firing: bool,
    /// What it means.
    pub summary: String,
    /// The figure, and what it is compared with.
    pub description: String,
    /// When it began, in seconds since 1970.
    pub starts_at: f64,
    /// When it ended, if it has.
    pub ends_at: Option<f64>,
}

impl Notice {
    /// Makes a notice of a transition; `offset` is what turns monotonic seconds into seconds
    /// since 1970.
    #[must_use]
    pub fn of(transition: &Transition, now: f64, offset: f64) -> Self {
        let ends_at = (!transition.is_firing).then_some(now + offset);
        Self { is_firing: transition.is_firing, ends_at, ..Self::firing(&transition.alert, offset) }
    }

    /// Makes a notice of an alert that goes on.
    #[must_use]
    pub fn firing(alert: &Active, offset: f64) -> Self {
        let rule = &alert.rule;
        let of = if alert.subject.is_empty() { "the process" } else { &alert.subject };
        let value = (alert.value * 1000.0).round() / 1000.0;
        Self {
            name: rule.name.clone(),
            subject: alert.subject.clone(),
            severity: rule.severity,
            is_firing: true,
            summary: rule.summary.clone(),
            description: format!(
                "{} of {of} is {value} ({} {})",
                rule.metric.name(),
                rule.comparison,
                rule.threshold
            ),
            starts_at: alert.fired_at + offset,
            ends_at: None,
        }
    }

    fn labels(&self) -> Map<String, Value> {
        let mut labels = Map::new();
        let mut add = |name: &str, value: &str| labels.insert(name.into(), value.into());
        add("alertname", &self.name);
        add("service", "headpond");
        add("severity", self.severity.word());
        if !self.subject.is_empty() {
            add("subject", &self.subject);
        }
        labels
    }

    fn annotations(&self) -> Value {
        json!({
            "summary": self.summary,
            "description": self.description,
            "runbook": format!("docs/runbooks/{}.md", self.name),
        })
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.name, &self.subject] {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize()[..8])
    }
}

/// Writes notices for `POST /api/v2/alerts`. Alertmanager takes an alert for over when its end has
/// passed, so one that goes on is given an end in the future, and is sent again before that.
#[must_use]
pub fn alertmanager(notices: &[Notice], lasts_until: f64) -> Value {
    let alert = |notice: &Notice| {
        json!({
            "labels": notice.labels(),
            "annotations": notice.annotations(),
            "startsAt": rfc3339(notice.starts_at),
            "endsAt": rfc3339(notice.ends_at.unwrap_or(lasts_until)),
        })
    };
    notices.iter().map(alert).collect()
}

/// Writes notices in the form of Alertmanager's webhook, version 4, which receivers know.
#[must_use]
pub fn webhook(notices: &[Notice]) -> Value {
    let is_firing = notices.iter().any(|notice| notice.is_firing);
    let word = |firing: bool| if firing { "firing" } else { "resolved" };
    let alert = |notice: &Notice| {
        json!({
            "status": word(notice.is_firing),
            "labels": notice.labels(),
            "annotations": notice.annotations(),
            "startsAt": rfc3339(notice.starts_at),
            // Go's zero time is how it says "not yet".
            "endsAt": notice.ends_at.map_or_else(|| "0001-01-01T00:00:00Z".into(), rfc3339),
            "generatorURL": "",
            "fingerprint": notice.fingerprint(),
        })
    };
    let mut common = notices.first().map(Notice::labels).unwrap_or_default();
    common.retain(|name, value| notices.iter().all(|n| n.labels().get(name) == Some(value)));
    json!({
        "version": "4",
        "groupKey": "{}:{service=\"headpond\"}",
        "truncatedAlerts": 0,
        "status": word(is_firing),
        "receiver": "headpond",
        "groupLabels": { "service": "headpond" },
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": notices.iter().map(alert).collect::<Vec<Value>>(),
    })
}

/// Returns the value of `X-Headpond-Signature`: an HMAC-SHA256 of the body under a shared secret.
#[must_use]
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(subject: &str, is_firing: bool) -> Notice {
        Notice {
            name: "HeadpondPoolQueue".into(),
            subject: subject.into(),
            severity: Severity::Critical,
            is_firing,
            summary: "many wait".into(),
            description: "waiting of p is 12 (> 10)".into(),
            starts_at: 1_000_000.0,
            ends_at: (!is_firing).then_some(1_000_060.0),
        }
    }

    #[test]
    fn the_webhook_is_that_of_alertmanager() {
        let body = webhook(&[notice("a", true), notice("b", false)]);
        assert_eq!(body["version"], "4");
        assert_eq!(body["status"], "firing");
        assert_eq!(body["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(body["alerts"][1]["status"], "resolved");
        assert_eq!(body["alerts"][1]["endsAt"], "1970-01-12T13:47:40.000Z");
        assert_eq!(body["commonLabels"]["alertname"], "HeadpondPoolQueue");
        assert!(body["commonLabels"].get("subject").is_none());
        let print = |n: usize| body["alerts"][n]["fingerprint"].as_str().expect("text").to_owned();
        assert_eq!((print(0).len(), print(0) == print(1)), (16, false));
    }

    #[test]
    fn an_alert_keeps_its_labels_when_it_resolves() {
        let labels = |is_firing| {
            let body = alertmanager(&[notice("a", is_firing)], 2_000_000.0);
            (body[0]["labels"].clone(), body[0]["endsAt"].clone())
        };
        let (firing, resolved) = (labels(true), labels(false));
        assert_eq!(firing.0, resolved.0);
        assert_eq!(firing.1, "1970-01-24T03:33:20.000Z");
        assert_eq!(resolved.1, "1970-01-12T13:47:40.000Z");
    }

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        // Test case 2.
        let told = signature(b"Jefe", b"what do ya want for nothing?");
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(told, expected);
    }
}
