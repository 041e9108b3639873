//! The task that pushes.
//!
//! Invariant: each attempt collects anew, so that what arrives late is not old; a receiver that
//! asks for a pause has it; who is told of a failure hears of it once, and once of its end.
//! Not here: the translation (`translate.rs`), the connection (`post.rs`), what an answer means
//! (`outcome.rs`).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use headpond_stats::Snapshot;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use prost::Message;
use tokio::time::{Instant, sleep_until};

use super::outcome::{Again, Outcome, judge, pause, random};
use super::settings::Settings;
use super::translate::Translator;
use crate::health::Status;
use crate::post::{Letter, deliver};
use crate::watch::{Event, Monitor};

/// No interval is shorter.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// No push takes longer, and no receiver is left alone for longer because it asks for that.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long the last push may take: the end of the process waits for it.
const LAST_PUSH_MAX: Duration = Duration::from_secs(2);
/// What a request may be, as the specification recommends.
const BODY_BYTES_MAX: usize = 20 * 1024 * 1024;

/// How pushing goes, as far as anybody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Well,
    Refusing,
    Failing,
}

impl Monitor {
    /// Returns the future that pushes all metrics, as they are at `/metrics`, until `stop` ends;
    /// then it pushes once more, for two seconds at most, and ends. The first push comes after an
    /// interval.
    ///
    /// A failure stands among the events, and so does the recovery; each push is counted in
    /// `headpond_otlp_exports_total`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the pushing without a last push.
    pub fn push_to<F>(
        self: &Arc<Self>,
        settings: Settings,
        stop: F,
    ) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send,
    {
        self.pushes.begin();
        let pusher = Pusher::new(Arc::clone(self), settings);
        async move { pusher.run(stop).await }
    }
}

struct Pusher {
    monitor: Arc<Monitor>,
    settings: Settings,
    translator: Translator,
    told: Told,
    /// Failures in a row.
    failures: u32,
    /// Until when the receiver wants to be left alone.
    held_until: Option<Instant>,
}

impl Pusher {
    fn new(monitor: Arc<Monitor>, settings: Settings) -> Self {
        let process = monitor.source.process();
        let start = nanos(monitor.wall(monitor.now()) - process.uptime_seconds);
        let translator = Translator::new(&attributes(&settings, process.service), start);
        Self { monitor, settings, translator, told: Told::Well, failures: 0, held_until: None }
    }

    async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let interval = self.settings.interval.max(INTERVAL_MIN);
        let limit = match self.settings.timeout {
            Duration::ZERO => LONGEST,
            limit => limit.min(LONGEST),
        };
        let mut due = Instant::now() + interval;
        loop {
            let began = tokio::select! {
                biased;
                () = &mut stop => break,
                () = sleep_until(due) => Instant::now(),
            };
            let outcome = tokio::select! {
                biased;
                // The last push comes at once and has all that this one has.
                () = &mut stop => break,
                outcome = self.push(limit) => outcome,
            };
            due = self.next(&outcome, began, interval);
            self.note(&outcome);
        }
        if self.held_until.is_none_or(|until| until <= Instant::now()) {
            let outcome = self.push(limit.min(LAST_PUSH_MAX)).await;
            self.note(&outcome);
        }
    }

    /// Pushes the numbers of this moment.
    async fn push(&mut self, limit: Duration) -> Outcome {
        let mut snapshot = Snapshot::new();
        self.monitor.collect(&mut snapshot);
        let now = nanos(self.monitor.wall(self.monitor.now()));
        let body = self.translator.request(&snapshot, now).encode_to_vec();
        let points: usize = snapshot.families().iter().map(|family| family.series().len()).sum();
        drop(snapshot);
        if body.len() > BODY_BYTES_MAX {
            let text = format!("the metrics fill {} bytes, which no receiver takes", body.len());
            return Outcome::Failed(text, Again::NextTime);
        }
        let mut headers = self.settings.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = concat!("headpond/", env!("CARGO_PKG_VERSION"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        let letter = Letter { path: self.settings.path, headers, body: Bytes::from(body) };
        let answer = deliver(&self.settings.target, letter, limit).await;
        match judge(answer, SystemTime::now()) {
            // Nobody can refuse more than there was.
            Outcome::Partial(refused) => Outcome::Partial(refused.min(points as u64)),
            outcome => outcome,
        }
    }

    /// Returns when the next push is due.
    fn next(&mut self, outcome: &Outcome, began: Instant, interval: Duration) -> Instant {
        let (now, regular) = (Instant::now(), began + interval);
        self.held_until = None;
        match outcome {
            Outcome::Delivered | Outcome::Partial(_) | Outcome::Failed(_, Again::NextTime) => {
                self.failures = 0;
                regular.max(now)
            }
            Outcome::Failed(_, Again::Soon) => {
                self.failures = self.failures.saturating_add(1);
                now + pause(self.failures, random(), interval)
            }
            Outcome::Failed(_, Again::After(time)) => {
                self.failures = self.failures.saturating_add(1);
                let until = now + (*time).min(LONGEST);
                self.held_until = Some(until);
                until.max(now + INTERVAL_MIN)
            }
        }
    }

    /// Counts an outcome, and tells what is news.
    fn note(&mut self, outcome: &Outcome) {
        let tally = &self.monitor.pushes;
        let (told, status, text) = match outcome {
            Outcome::Delivered => {
                tally.delivered.fetch_add(1, Relaxed);
                (Told::Well, Status::Healthy, "metrics are delivered again".to_owned())
            }
            Outcome::Partial(rejected) => {
                tally.partial.fetch_add(1, Relaxed);
                tally.rejected.fetch_add(*rejected, Relaxed);
                let text = format!("the receiver of metrics refused {rejected} points");
                (Told::Refusing, Status::Warning, text)
            }
            Outcome::Failed(why, _) => {
                tally.failed.fetch_add(1, Relaxed);
                let text = format!("metrics are not delivered: {why}");
                (Told::Failing, Status::Warning, text)
            }
        };
        if std::mem::replace(&mut self.told, told) == told {
            return;
        }
        let subject = self.settings.place();
        let at = self.monitor.wall(self.monitor.now());
        let event = Event { at, sort: "push", subject, text, status };
        if let Some(listener) = &self.settings.listener {
            listener(&event);
        }
        self.monitor.note_event(event);
    }
}

/// What is said of the process.
fn attributes(settings: &Settings, service: String) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("service.name".to_owned(), service),
        ("service.instance.id".to_owned(), instance()),
    ]);
    all.extend(settings.attributes.iter().cloned());
    if let Some(name) = &settings.service_name {
        all.insert("service.name".to_owned(), name.clone());
    }
    all
}

/// Returns a random UUID (version 4): nothing else tells two processes apart wherever they run.
fn instance() -> String {
    let [a, b] = [RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8)];
    let a = a & !0xF000 | 0x4000;
    let b = b & !(0b11 << 62) | 0b10 << 62;
    let (low, node) = (b >> 48, b & 0xFFFF_FFFF_FFFF);
    format!("{:08x}-{:04x}-{:04x}-{low:04x}-{node:012x}", a >> 32, a >> 16 & 0xFFFF, a & 0xFFFF)
}

/// Seconds since 1970 as nanoseconds; what cannot be is 1970.
fn nanos(wall: f64) -> u64 {
    let since = Duration::try_from_secs_f64(wall).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_random_uuid() {
        let [one, other] = [instance(), instance()];
        assert_ne!(one, other);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }

    #[test]
    fn what_is_said_of_the_process_can_be_said_better() {
        let mut settings = Settings::new("http://x", None).expect("an address");
        let name = |settings: &Settings| attributes(settings, "own".into())["service.name"].clone();
        assert_eq!(name(&settings), "own");
        settings.attributes = vec![
            ("service.name".into(), "by attribute".into()),
            ("service.instance.id".into(), "seven".into()),
        ];
        assert_eq!(name(&settings), "by attribute");
        settings.service_name = Some("by name".into());
        assert_eq!(name(&settings), "by name");
        assert_eq!(attributes(&settings, "own".into())["service.instance.id"], "seven");
    }
}
