//! The way of an alert to whoever is to know: the log, a webhook, Alertmanager, a command.
//!
//! Invariant: nobody waits for a receiver: what cannot be delivered is tried again a few times and
//! then counted; the line is bounded. Addresses come from the configuration only, redirects are
//! not followed, a reply is read up to a bound, and no address with credentials is ever shown.
//! Not here: what fires (`evaluate.rs`), how it is written (`payload.rs`).

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::payload::{self, Notice};
use super::rule::Severity;
use crate::post::{self, PostError, Target};
use crate::time::wall;

/// Notices that wait: beyond it the oldest news are not worth waiting for.
const LINE: usize = 256;
/// How often a delivery is attempted.
const ATTEMPTS: u32 = 4;
/// How long a command may run.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// How often what still burns is told to Alertmanager again, as its own clients do.
pub(crate) const RESEND_SECONDS: f64 = 60.0;
/// For how long Alertmanager believes it: a few resends may be lost.
const LASTS_SECONDS: f64 = 4.0 * RESEND_SECONDS;

/// Writes an alert to the log.
pub type Logger = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Where alerts go. Each route has a severity below which it is left alone.
#[derive(Clone, Default)]
pub struct Routes {
    /// To the log.
    pub log: Option<Logger>,
    /// To a webhook, and the secret that signs what it gets.
    pub webhook: Option<(Target, Option<Vec<u8>>, Severity)>,
    /// To an Alertmanager: its base address.
    pub alertmanager: Option<(Target, Severity)>,
    /// To a program, which reads the webhook's body from its standard input.
    pub command: Option<(String, Severity)>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let routes = [
            ("log", self.log.is_some()),
            ("webhook", self.webhook.is_some()),
            ("alertmanager", self.alertmanager.is_some()),
            ("command", self.command.is_some()),
        ];
        f.debug_map().entries(routes).finish()
    }
}

/// What became of the deliveries of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The route.
    pub route: &'static str,
    /// Delivered.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Why the last one was given up.
    pub error: Option<String>,
}

#[derive(Default)]
struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
    error: std::sync::Mutex<Option<String>>,
}

const ROUTES: [&str; 4] = ["log", "webhook", "alertmanager", "command"];

/// Why notices are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Something fires or resolves.
    News,
    /// Something still burns; Alertmanager alone wants to hear that again and again.
    Again,
}

/// Delivers notices; cheap to share.
pub(crate) struct Notifier {
    line: mpsc::Sender<(Occasion, Vec<Notice>)>,
    tallies: Arc<[Tally; ROUTES.len()]>,
    dropped: AtomicU64,
}

impl Notifier {
    /// Makes a notifier and the future that does its work.
    pub fn new(routes: Routes) -> (Self, impl Future<Output = ()> + Send) {
        let (line, notices) = mpsc::channel(LINE);
        let tallies: Arc<[Tally; ROUTES.len()]> = Arc::default();
        let work = work(routes, notices, Arc::clone(&tallies));
        (Self { line, tallies, dropped: AtomicU64::new(0) }, work)
    }

    /// Puts notices in line; a full line drops them and counts that.
    pub fn send(&self, occasion: Occasion, notices: Vec<Notice>) {
        let count = notices.len() as u64;
        if count > 0 && self.line.try_send((occasion, notices)).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Returns what became of each route's deliveries.
    pub fn deliveries(&self) -> Vec<Delivery> {
        let routes = ROUTES.iter().zip(self.tallies.iter());
        let delivery = |(route, tally): (&&'static str, &Tally)| Delivery {
            route,
            delivered: tally.delivered.load(Ordering::Relaxed),
            failed: tally.failed.load(Ordering::Relaxed),
            error: tally.error.lock().unwrap_or_else(|e| e.into_inner()).clone(),
        };
        routes.map(delivery).collect()
    }

    /// Returns how many notices found no place in the line.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn work(
    routes: Routes,
    mut notices: mpsc::Receiver<(Occasion, Vec<Notice>)>,
    tallies: Arc<[Tally; ROUTES.len()]>,
) {
    while let Some((occasion, batch)) = notices.recv().await {
        let is_news = occasion == Occasion::News;
        let at_least = |least: Severity| -> Vec<Notice> {
            batch.iter().filter(|notice| notice.severity >= least).cloned().collect()
        };
        let [log, webhook, alertmanager, command] = &*tallies;
        if let Some(write) = routes.log.as_ref().filter(|_| is_news) {
            batch.iter().for_each(|notice| write(notice));
            log.delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        // One slow receiver does not hold up the others.
        tokio::join!(
            async {
                let Some((target, secret, least)) = routes.webhook.as_ref().filter(|_| is_news)
                else {
                    return;
                };
                let batch = at_least(*least);
                let body = payload::webhook(&batch);
                post(webhook, batch.len(), target, "", body, secret.as_deref()).await;
            },
            async {
                let Some((target, least)) = &routes.alertmanager else { return };
                let batch = at_least(*least);
                let body = payload::alertmanager(&batch, wall() + LASTS_SECONDS);
                post(alertmanager, batch.len(), target, "/api/v2/alerts", body, None).await;
            },
            async {
                let Some((program, least)) = routes.command.as_ref().filter(|_| is_news) else {
                    return;
                };
                let batch = at_least(*least);
                if batch.is_empty() {
                    return;
                }
                let told = run(program, payload::webhook(&batch).to_string()).await;
                settle(command, batch.len(), told);
            },
        );
    }
}

async fn post(
    tally: &Tally,
    count: usize,
    target: &Target,
    path: &str,
    body: Value,
    secret: Option<&[u8]>,
) {
    if count == 0 {
        return;
    }
    let body = body.to_string();
    let signature = secret.map(|secret| payload::signature(secret, body.as_bytes()));
    let mut told = Err(String::new());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(Duration::from_millis(250) * 4u32.pow(attempt - 1)).await;
        }
        told = match post::json(target, path, &body, signature.as_deref()).await {
            Ok(()) => Ok(()),
            Err(error @ PostError::Status(400..=499)) => {
                // It will not like it better the next time.
                told = Err(error.to_string());
                break;
            }
            Err(error) => Err(error.to_string()),
        };
        if told.is_ok() {
            break;
        }
    }
    settle(tally, count, told);
}

fn settle(tally: &Tally, count: usize, told: Result<(), String>) {
    let count = count as u64;
    let counter = if told.is_ok() { &tally.delivered } else { &tally.failed };
    counter.fetch_add(count, Ordering::Relaxed);
    *tally.error.lock().unwrap_or_else(|e| e.into_inner()) = told.err();
}

/// Runs a program with the notices on its standard input. No shell, and no text of a notice ever
/// becomes an argument.
async fn run(program: &str, body: String) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let ended = timeout(COMMAND_LIMIT, async {
        if let Some(mut input) = child.stdin.take() {
            // A program that does not read what it is told may still do its work.
            let _ = input.write_all(body.as_bytes()).await;
        }
        child.wait().await
    });
    match ended.await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("took longer than {} s", COMMAND_LIMIT.as_secs())),
    }
}
