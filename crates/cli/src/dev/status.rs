//! The live status line, from the pooler's own `/metrics`.
//!
//! Invariant: the line shows what the endpoint says; a figure that is not there is left out.
//! Not here: the metrics themselves.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A local endpoint that takes longer is not worth waiting for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reads the endpoint again and again; rates need two looks.
pub struct Status {
    port: u16,
    last: Option<(Instant, f64)>,
}

impl Status {
    /// Reads nothing yet.
    pub fn new(port: u16) -> Self {
        Self { port, last: None }
    }

    /// Returns the line for now, or none if the endpoint does not answer.
    pub async fn line(&mut self) -> Option<String> {
        let text = tokio::time::timeout(PATIENCE, fetch(self.port)).await.ok()?.ok()?;
        let now = Instant::now();
        let mut parts = Vec::new();
        for (label, name, key) in FIGURES {
            if let Some(value) = sum(&text, name, key) {
                parts.push(format!("{label} {value:.0}"));
            }
        }
        let total = sum(&text, TRANSACTIONS, "");
        if let (Some(total), Some((then, before))) = (total, self.last) {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            parts.push(format!("{:.0} transactions/s", (total - before).max(0.0) / seconds));
        }
        self.last = total.map(|total| (now, total));
        (!parts.is_empty()).then(|| parts.join(" · "))
    }
}

/// What the line says, the metric it comes from, and a label that its samples must carry.
const FIGURES: [(&str, &str, &str); 4] = [
    ("clients", "headpond_clients", ""),
    ("waiting", "headpond_pool_waiting_clients", ""),
    ("servers", "headpond_pool_connections", ""),
    ("busy", "headpond_pool_connections", "state=\"used\""),
];

const TRANSACTIONS: &str = "headpond_transactions_total";

/// Adds up the samples of one metric that carry a label.
fn sum(text: &str, name: &str, label: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let value: f64 = value.split(' ').next()?.parse().ok()?;
        labels.contains(label).then_some(value)
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

async fn fetch(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_added_up_by_name_and_label() {
        let text =
            "# TYPE a gauge\na{state=\"active\",d=\"x\"} 2\na{state=\"idle\"} 3\nab 7\nb 4 1.5\n";
        assert_eq!(sum(text, "a", ""), Some(5.0));
        assert_eq!(sum(text, "a", "state=\"active\""), Some(2.0));
        assert_eq!(sum(text, "b", ""), Some(4.0));
        assert_eq!(sum(text, "c", ""), None);
    }
}
