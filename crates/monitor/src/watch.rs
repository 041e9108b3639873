//! The monitor: looks at its source once a second and keeps what follows.
//!
//! Invariant: one look takes every part a step further (figures, history, health, alerts) with
//! the same numbers and the same moment; readers see whole looks only.
//! Not here: answering (`http/`), what the parts do (`figures`, `history`, `health`, `alert`).

mod remember;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::advice::{Advice, Usage, advise};
use crate::alert::{
    Active, Evaluator, Metric, Notice, Notifier, Occasion, Phase, RESEND_SECONDS, Reading, Routes,
    Rule, built_in,
};
use crate::figures::{Figures, Ledger};
use crate::health::{
    self, Board, Sort, judge_bouncer, judge_database, judge_pool, judge_process, memory_ratio,
};
use crate::history::minute::Minutes;
use crate::history::{self, History};
use crate::http::Access;
use crate::metrics::MetricSet;
use crate::model::{Actions, Bouncer, Breaker, Database, Outcome, Pool, Process, Source};
use crate::time::wall;

/// How often it looks: a second, because a queue of two seconds is already a complaint.
const PERIOD: Duration = Duration::from_secs(1);
/// Events that are remembered.
const EVENTS_MAX: usize = 200;
/// How far back advice looks.
const ADVICE_SECONDS: f64 = 2.0 * 3600.0;

/// How to watch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From where on something is unhealthy.
    pub limits: health::Limits,
    /// How long it must last.
    pub patience: health::Patience,
    /// How much is kept in memory.
    pub history: history::Settings,
    /// Who keeps history for longer, and beyond the process. Default: nobody, because nothing is
    /// written to disk unasked.
    pub store: Option<history::Store>,
    /// What is alerted on.
    pub rules: Vec<Rule>,
    /// Where alerts go.
    pub routes: Routes,
    /// Who may read and who may act.
    pub access: Access,
    /// Which metrics there are besides our own.
    pub sets: Vec<MetricSet>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: health::Limits::default(),
            patience: health::Patience::default(),
            history: history::Settings::default(),
            store: None,
            rules: built_in(),
            routes: Routes::default(),
            access: Access::default(),
            sets: Vec::new(),
        }
    }
}

/// What was seen in one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// Which look, counted from one.
    pub number: u64,
    /// When, in monotonic seconds since the monitor was made.
    pub at: f64,
    pub process: Process,
    pub pools: Vec<(Pool, Figures)>,
    pub databases: Vec<Database>,
    pub bouncers: Vec<Bouncer>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When, in seconds since 1970.
    pub at: f64,
    /// What sort: `health`, `alert`, `action`, `history`, `push`.
    pub sort: &'static str,
    /// Whom it is about.
    pub subject: String,
    /// What happened.
    pub text: String,
    /// `healthy`, `warning` or `unhealthy`, for its colour.
    pub status: health::Status,
}

/// What is kept from look to look.
pub(crate) struct State {
    pub look: Arc<Look>,
    pub ledger: Ledger,
    pub history: History,
    /// What was seen in this minute, for the store.
    minutes: Minutes,
    pub board: Board,
    pub alerts: Evaluator,
    pub events: VecDeque<Event>,
    resend_at: f64,
}

/// Watches a source; made once and shared.
pub struct Monitor {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) actions: Option<Arc<dyn Actions>>,
    access: RwLock<Access>,
    pub(crate) limits: health::Limits,
    pub(crate) notifier: Notifier,
    pub(crate) sets: Vec<MetricSet>,
    store: Option<history::Store>,
    state: Mutex<State>,
    begun: Instant,
    /// What turns monotonic seconds into seconds since 1970.
    offset: f64,
    looks: watch::Sender<u64>,
    #[cfg(feature = "otlp")]
    pub(crate) pushes: crate::otlp::Tally,
}

impl Monitor {
    /// Makes a monitor and the future that watches; whoever has no room for that future still gets
    /// answers, from looks made when somebody asks, but no alerts.
    pub fn new(
        source: Arc<dyn Source>,
        actions: Option<Arc<dyn Actions>>,
        settings: Settings,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let (notifier, delivering) = Notifier::new(settings.routes);
        let offset = wall();
        let mut history = History::new(settings.history);
        let recalled = settings.store.as_ref().map(|store| store.0.recall()).unwrap_or_default();
        recalled.iter().for_each(|pool| history.recall(0.0, offset, pool));
        let state = State {
            look: Arc::default(),
            ledger: Ledger::default(),
            history,
            minutes: Minutes::default(),
            board: Board::new(settings.patience),
            alerts: Evaluator::new(settings.rules),
            events: VecDeque::new(),
            resend_at: 0.0,
        };
        let monitor = Arc::new(Self {
            source,
            actions,
            access: RwLock::new(settings.access),
            limits: settings.limits,
            notifier,
            sets: settings.sets,
            store: settings.store,
            state: Mutex::new(state),
            begun: Instant::now(),
            offset,
            looks: watch::Sender::new(0),
            #[cfg(feature = "otlp")]
            pushes: crate::otlp::Tally::default(),
        });
        let watching = Arc::clone(&monitor);
        let work = async move {
            let mut period = tokio::time::interval(PERIOD);
            period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            tokio::pin!(delivering);
            loop {
                tokio::select! {
                    _ = period.tick() => watching.look_now(),
                    () = &mut delivering => break,
                }
            }
        };
        (monitor, work)
    }

    /// Looks once: takes every part a step further.
    pub fn look_now(&self) {
        let now = self.now();
        let pools = self.source.pools();
        let databases = self.source.databases();
        let bouncers = self.source.bouncers();
        let process = self.source.process();
        let mut state = self.state();
        state.ledger.look(now, now + self.offset, &pools);
        let figures = |pool: Pool| {
            let figures = state.ledger.figures(&pool.name);
            (pool, figures)
        };
        let pools: Vec<(Pool, Figures)> = pools.into_iter().map(figures).collect();
        self.remember(&mut state, now, &pools);
        let number = state.look.number + 1;
        let look = Arc::new(Look { number, at: now, process, pools, databases, bouncers });
        self.judge(&mut state, &look);
        self.alert(&mut state, &look);
        state.look = look;
        drop(state);
        self.looks.send_replace(number);
    }

    fn judge(&self, state: &mut State, look: &Look) {
        let limits = &self.limits;
        let live = |database: &Database| {
            let own = look.pools.iter().filter(|(pool, _)| pool.database == database.name);
            own.map(|(pool, _)| pool.connections.live()).sum()
        };
        let of_process =
            (Sort::Process, look.process.service.clone(), judge_process(&look.process, limits));
        let of_databases = look.databases.iter().map(|database| {
            let finding = judge_database(database, live(database), limits);
            (Sort::Database, database.name.clone(), finding)
        });
        let of_pools = look
            .pools
            .iter()
            .map(|(pool, _)| (Sort::Pool, pool.name.clone(), judge_pool(pool, limits)));
        let of_bouncers = look.bouncers.iter().map(|bouncer| {
            (Sort::of_bouncer(bouncer), bouncer.name.clone(), judge_bouncer(bouncer, limits))
        });
        let findings = std::iter::once(of_process).chain(of_databases).chain(of_pools);
        let findings = findings.chain(of_bouncers);
        for change in state.board.observe(look.at, findings) {
            let reason = if change.text.is_empty() { "" } else { ": " };
            let (before, after) = (change.before.word(), change.after.word());
            let event = Event {
                at: look.at + self.offset,
                sort: "health",
                subject: change.name,
                text: format!("{before} → {after}{reason}{}", change.text),
                status: change.after,
            };
            state.note(event);
        }
    }

    fn alert(&self, state: &mut State, look: &Look) {
        let transitions = state.alerts.evaluate(look.at, &readings(look));
        let notices: Vec<Notice> =
            transitions.iter().map(|t| Notice::of(t, look.at, self.offset)).collect();
        for notice in &notices {
            let word = if notice.is_firing { "fires" } else { "resolved" };
            let status = match (notice.is_firing, notice.severity) {
                (false, _) => health::Status::Healthy,
                (true, crate::alert::Severity::Critical) => health::Status::Unhealthy,
                (true, _) => health::Status::Warning,
            };
            state.note(Event {
                at: look.at + self.offset,
                sort: "alert",
                subject: notice.subject.clone(),
                text: format!("{} {word}: {}", notice.name, notice.description),
                status,
            });
        }
        self.notifier.send(Occasion::News, notices);
        if look.at >= state.resend_at {
            state.resend_at = look.at + RESEND_SECONDS;
            // What began in this look was told just now.
            let is_old = |a: &&Active| a.phase == Phase::Firing && a.fired_at < look.at;
            let burning = state.alerts.active().filter(is_old).filter(|alert| !alert.silenced);
            let notices = burning.map(|alert| Notice::firing(alert, self.offset)).collect();
            self.notifier.send(Occasion::Again, notices);
        }
    }

    /// Returns the last look, made now if nobody looks regularly.
    pub(crate) fn look(&self) -> Arc<Look> {
        let look = Arc::clone(&self.state().look);
        let is_old = look.number == 0 || self.now() - look.at > 2.0 * PERIOD.as_secs_f64();
        if !is_old {
            return look;
        }
        self.look_now();
        Arc::clone(&self.state().look)
    }

    /// Returns a receiver that changes with every look.
    pub(crate) fn looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }

    /// Sends a notice that is no alert along every route, to see whether it arrives.
    pub(crate) fn test_alert(&self) {
        let at = self.now() + self.offset;
        let notice = Notice {
            name: "HeadpondTest".to_owned(),
            subject: String::new(),
            severity: crate::alert::Severity::Critical,
            is_firing: true,
            summary: "this is a test: nothing is wrong".to_owned(),
            description: "somebody asked whether alerts arrive".to_owned(),
            starts_at: at,
            ends_at: None,
        };
        let over = Notice { is_firing: false, ends_at: Some(at), ..notice.clone() };
        self.notifier.send(Occasion::News, vec![notice]);
        self.notifier.send(Occasion::News, vec![over]);
    }

    /// Replaces the rules that are evaluated.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        let now = self.now();
        let over = self.state().alerts.replace(rules);
        let notices = over.iter().map(|t| Notice::of(t, now, self.offset)).collect();
        self.notifier.send(Occasion::News, notices);
    }

    /// Replaces the tokens.
    pub fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = access;
    }

    pub(crate) fn access(&self) -> Access {
        self.access.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Notes what somebody did.
    pub(crate) fn note_action(&self, subject: String, text: String) {
        let at = self.now() + self.offset;
        let status = health::Status::Healthy;
        self.state().note(Event { at, sort: "action", subject, text, status });
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn note_event(&self, event: Event) {
        self.state().note(event);
    }

    /// Returns what to change and why.
    pub(crate) fn advice(&self) -> Vec<Advice> {
        let look = self.look();
        let state = self.state();
        let usage = |(pool, figures): &'_ (Pool, Figures)| {
            let values = |field| state.history.values(&pool.name, field, look.at, ADVICE_SECONDS);
            (values("used"), values("waiting"), *figures)
        };
        let values: Vec<_> = look.pools.iter().map(usage).collect();
        drop(state);
        let usages: Vec<Usage<'_>> = look
            .pools
            .iter()
            .zip(values)
            .map(|((pool, _), (used, waiting, figures))| Usage { pool, figures, used, waiting })
            .collect();
        advise(&usages, &look.databases, &look.bouncers)
    }

    pub(crate) fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub(crate) fn wall(&self, at: f64) -> f64 {
        at + self.offset
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves whole values: every step replaces, none is halfway.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn note(&mut self, event: Event) {
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

/// Turns a look into what rules read.
fn readings(look: &Look) -> Vec<Reading> {
    let mut readings = Vec::new();
    let mut add = |metric, subject: &str, value: f64| {
        readings.push(Reading { metric, subject: subject.to_owned(), value });
    };
    for (pool, figures) in &look.pools {
        let name = &pool.name;
        add(Metric::Utilization, name, pool.utilization());
        add(Metric::Waiting, name, f64::from(pool.waiting));
        add(Metric::OldestWaitSeconds, name, pool.oldest_wait_seconds);
        add(Metric::WaitP99Seconds, name, figures.wait_p99_seconds);
        add(Metric::QueryP99Seconds, name, figures.query_p99_seconds);
        add(Metric::ErrorRatio, name, figures.error_ratio);
        add(Metric::ErrorsPerHour, name, figures.errors_hour);
        add(Metric::Timeouts, name, figures.timeouts_lately);
        add(Metric::Leaks, name, figures.leaks_lately);
        add(Metric::BreakerOpen, name, f64::from(u8::from(pool.breaker == Breaker::Open)));
    }
    for database in &look.databases {
        let Some(check) = &database.check else { continue };
        let name = &database.name;
        let failed = matches!(check.outcome, Outcome::Failed(_));
        add(Metric::CheckFailed, name, f64::from(u8::from(failed)));
        add(Metric::CheckSeconds, name, check.took_seconds);
        let Outcome::Truth(truth) = &check.outcome else { continue };
        if truth.is_silent() {
            continue;
        }
        let read_only = truth.read_only && !truth.in_recovery;
        add(Metric::ReadOnly, name, f64::from(u8::from(read_only)));
        add(Metric::DatabaseActive, name, truth.active as f64);
        if database.backend == "postgresql" {
            add(Metric::DatabaseIdleInTransaction, name, truth.idle_in_transaction as f64);
        }
        if let Some(lag) = truth.replication_lag_seconds {
            add(Metric::ReplicationLagSeconds, name, lag);
        }
        if let Some(lag) = truth.standby_lag_seconds {
            add(Metric::StandbyLagSeconds, name, lag);
        }
        let room = truth.connections_max.saturating_sub(truth.connections_reserved);
        if room > 0 {
            add(Metric::DatabaseConnectionsRatio, name, truth.total as f64 / room as f64);
        }
    }
    let process = &look.process;
    if process.clients_max > 0 {
        add(Metric::ClientsRatio, "", process.clients as f64 / process.clients_max as f64);
    }
    add(Metric::MemoryRatio, "", memory_ratio(process));
    readings
}
