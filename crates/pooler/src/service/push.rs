//! Metrics pushed to a receiver of OTLP, as `[otlp]` says.
//!
//! Invariant: without an address nothing is sent; the log says host, port and how often.
//! Not here: the pushing itself (`headpond_monitor::otlp`), the keys (`config/otlp.rs`).

use std::sync::Arc;
use std::time::Duration;

use headpond_monitor::health::Status;
use headpond_monitor::{Event, Monitor, otlp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
use super::observe::tls_for;
use crate::config::Config;
use crate::engine::Engine;
use crate::log::{Level, Log};
use crate::worker::Shared;

/// No push comes sooner after the other: a push costs what a scrape costs.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Begins to push metrics, if the configuration says where to; the task ends after a last push once
/// `stopped` says so.
pub(super) fn start<E: Engine>(
    shared: &Shared<E>,
    monitor: &Arc<Monitor>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Option<JoinHandle<()>>, StartError> {
    let log = &shared.log;
    let Some(settings) = settings(&shared.catalog.view().config, log)? else { return Ok(None) };
    let (place, interval) = (settings.place(), settings.interval.as_secs_f64());
    log.line(Level::Log, &format!("metrics are pushed to {place} every {interval} s"));
    let stop = async move {
        // An error means that the sender is gone: stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    Ok(Some(tokio::spawn(monitor.push_to(settings, stop))))
}

fn settings(config: &Config, log: &Log) -> Result<Option<otlp::Settings>, StartError> {
    let otlp = &config.otlp;
    let made = match (&otlp.metrics_endpoint, &otlp.endpoint) {
        _ if !otlp.enabled => return Ok(None),
        (Some(url), _) => otlp::Settings::verbatim(url.reveal(), tls_for(url.reveal())),
        (None, Some(url)) => otlp::Settings::new(url.reveal(), tls_for(url.reveal())),
        (None, None) => return Ok(None),
    };
    let headers = otlp.headers.as_ref().map_or("", |headers| headers.reveal());
    let made = made.and_then(|settings| settings.headers(headers));
    let mut settings = made.map_err(wrong)?;
    let version = ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    settings.attributes.push(version);
    settings.attributes.extend(otlp::pairs(&otlp.resource_attributes).map_err(wrong)?);
    settings.interval = otlp.interval.max(INTERVAL_MIN);
    settings.timeout = otlp.timeout;
    settings.service_name.clone_from(&otlp.service_name);
    let log = log.clone();
    settings.listener = Some(Arc::new(move |event: &Event| {
        let is_well = event.status == Status::Healthy;
        let level = if is_well { Level::Log } else { Level::Warning };
        log.line(level, &format!("otlp {}: {}", event.subject, event.text));
    }));
    Ok(Some(settings))
}

fn wrong(error: otlp::SettingsError) -> StartError {
    StartError::File(format!("otlp: {error}"))
}
