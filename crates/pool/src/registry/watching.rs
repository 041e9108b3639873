//! All databases as a monitor sees them: health, history, alerts, advice, metrics and a page for
//! a program of one's own.
//!
//! Invariant: looking costs a status and the distributions of each pool, once a second; a test
//! borrows a connection like any caller, one at a time of each database. A server that is alive and
//! says nothing of itself is alive.
//! Left out: what follows from the numbers, and the endpoint (`headpond_monitor`).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headpond_monitor::model::{
    self, Action, Actions, CheckError, CheckErrorKind, Checked, Connections, Later, Outcome,
    Process, Setting, Source, Times, Truth,
};
use headpond_monitor::{Check, Monitor, Probe, Settings};
use headpond_stats::Snapshot;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

#[cfg(feature = "postgres")]
use super::bouncers::Bouncers;
use super::health::Said;
use super::{Databases, DynDatabase};
use crate::breaker;
use crate::config::Kind;
use crate::facts::Facts;
use crate::source::Dialect;
use crate::status::Status;

/// How often each database is asked for a sign of life, and what it says of itself.
/// 10 s, because a test is a loan and a few round trips, and an alert waits for two of them.
const PERIOD: Duration = Duration::from_secs(10);

impl Databases {
    /// Returns a monitor of all databases, with the future that watches and tests them; `service`
    /// is what the program is called. Its router can be mounted anywhere, or be served by itself:
    ///
    /// ```
    /// use headpond::config::{Kind, Sources, Vars};
    /// use headpond::monitor;
    /// use headpond::registry::{Databases, Opened, Plan};
    /// use headpond::testing::FakeManager;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let config = Sources::new(Vars::from_iter([("MYSQL_GPS_URL", "mysql://db/gps")])).load()?;
    /// # fn fake(plan: &Plan) -> Opened {
    /// #     Ok(std::sync::Arc::new(plan.builder(FakeManager::default()).build()?))
    /// # }
    /// # let databases = Databases::builder(config)
    /// #     .opener(Kind::Mysql, async |plan: Plan| fake(&plan))
    /// #     .start()
    /// #     .await?;
    /// let (monitor, watching) = databases.monitor("shop", monitor::Settings::default());
    /// tokio::spawn(watching);
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// println!("http://{}", listener.local_addr()?);
    /// # let stop = std::future::ready(());
    /// monitor::serve(listener, monitor.router(), stop).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// `settings.access` says who may act: pause, resume, reconnect and resize; by default nobody.
    /// The monitor keeps the databases alive.
    ///
    /// # Cancel safety
    /// Dropping the future ends the watching; the monitor then answers from looks that are made
    /// when somebody asks.
    pub fn monitor(
        &self,
        service: &str,
        settings: Settings,
    ) -> (Arc<Monitor>, impl Future<Output = ()> + Send + use<>) {
        let watched = Arc::new(Watched {
            service: service.to_owned(),
            started: Instant::now(),
            databases: self.clone(),
            said: Mutex::default(),
            #[cfg(feature = "postgres")]
            bouncers: Bouncers::of(self),
        });
        let source: Arc<dyn Source> = Arc::clone(&watched) as _;
        let hands: Arc<dyn Actions> = Arc::clone(&watched) as _;
        let (monitor, looking) = Monitor::new(source, Some(hands), settings);
        let asking = Arc::clone(&watched);
        let asking = async move { asking.ask_bouncers().await };
        let testing = async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                watched.test().await;
            }
        };
        (monitor, async move { tokio::join!(looking, testing, asking).0 })
    }
}

/// What is done to a database.
type Work<'a> = dyn Fn(&dyn DynDatabase) -> Result<(), String> + 'a;

/// What the monitor looks at.
struct Watched {
    service: String,
    started: Instant,
    databases: Databases,
    /// What each database said last, and when.
    said: Mutex<BTreeMap<String, (Instant, Said)>>,
    /// What PgBouncers on the way say.
    #[cfg(feature = "postgres")]
    bouncers: Bouncers,
}

impl Watched {
    /// Tests the databases whose pools have a connection to spare: a pool that is paused or used up
    /// says nothing about its server, and what was known stays known, with its age.
    async fn test(&self) {
        let said = self.databases.facts_of(|database| has_room(&database.status())).await;
        let now = Instant::now();
        self.said.lock().extend(said.into_iter().map(|(name, said)| (name, (now, said))));
    }

    /// Asks the PgBouncers on the way, again and again; ends at once if there are none.
    async fn ask_bouncers(&self) {
        #[cfg(feature = "postgres")]
        self.bouncers.ask_again_and_again().await;
    }

    fn check_of(&self, name: &str) -> Option<Checked> {
        let all = self.said.lock();
        let (at, said) = all.get(name)?;
        let (took, outcome) = match said {
            // A sign of life alone says nothing about the server's own limits.
            Ok((took, facts)) => {
                (*took, Outcome::Truth(facts.as_ref().map(truth).unwrap_or_default()))
            }
            Err(text) => {
                let (kind, text) = (CheckErrorKind::Unreachable, text.clone());
                (Duration::ZERO, Outcome::Failed(CheckError { kind, text }))
            }
        };
        let ago_seconds = at.elapsed().as_secs_f64();
        Some(Checked { ago_seconds, took_seconds: took.as_secs_f64(), outcome })
    }

    fn is_closed(&self) -> bool {
        self.databases.iter().any(|(_, _, database)| database.status().closed)
    }

    /// Returns the databases that an action is for.
    fn meant(&self, name: Option<&String>) -> Result<Vec<(&str, &dyn DynDatabase)>, String> {
        let all = self.databases.iter().map(|(name, _, database)| (name, database));
        let Some(wanted) = name else { return Ok(all.collect()) };
        let known: Vec<&str> = self.databases.iter().map(|(name, ..)| name).collect();
        let meant: Vec<_> = all.filter(|(name, _)| name == wanted).collect();
        if meant.is_empty() {
            return Err(format!("there is no database {wanted}; there are {}", known.join(", ")));
        }
        Ok(meant)
    }

    fn carry_out(&self, action: &Action) -> Result<String, String> {
        let (name, work): (_, &Work<'_>) = match action {
            Action::Pause(name) => (name.as_ref(), &|database| {
                database.pause();
                Ok(())
            }),
            Action::Resume(name) => (name.as_ref(), &|database| {
                database.resume();
                Ok(())
            }),
            Action::Reconnect(name) => (name.as_ref(), &|database| {
                database.evict();
                Ok(())
            }),
            Action::Resize { database, size } => (Some(database), &|database| {
                let mut settings = database.settings();
                settings.max = *size;
                settings.min = settings.min.min(*size);
                database.update(settings).map_err(|error| error.to_string())
            }),
            Action::Reload | Action::Kill(_) | Action::Drain => {
                let word = action.word();
                return Err(format!("{word}: the program itself decides about that"));
            }
        };
        let meant = self.meant(name)?;
        for (_, database) in &meant {
            work(*database)?;
        }
        let names: Vec<&str> = meant.iter().map(|(name, _)| *name).collect();
        Ok(format!("{}: {}", action.word(), names.join(", ")))
    }
}

impl Probe for Watched {
    fn live(&self) -> Check {
        Check::all(vec![("process".to_owned(), true, "answers".to_owned())])
    }

    fn ready(&self) -> Check {
        let closed = self.is_closed();
        let words = if closed { "a pool was closed" } else { "serves" };
        Check::all(vec![("pools".to_owned(), !closed, words.to_owned())])
    }

    fn started(&self) -> Check {
        Check::all(vec![("start".to_owned(), true, "done".to_owned())])
    }

    fn collect(&self, into: &mut Snapshot) {
        headpond_stats::Source::collect(&self.databases.source([Dialect::OpenTelemetry]), into);
    }
}

impl Source for Watched {
    fn process(&self) -> Process {
        let memory = model::Memory::now();
        Process {
            service: self.service.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            phase: if self.is_closed() { "draining" } else { "running" },
            memory_bytes: memory.used,
            memory_max_bytes: memory.max,
            ..Process::default()
        }
    }

    fn pools(&self) -> Vec<model::Pool> {
        self.databases.iter().map(|(name, kind, database)| pool(name, kind, database)).collect()
    }

    fn databases(&self) -> Vec<model::Database> {
        let database = |(name, kind, database): (&str, Kind, &dyn DynDatabase)| {
            let status = database.status();
            model::Database {
                name: name.to_owned(),
                backend: kind.as_str(),
                paused: status.paused,
                connections: status.size.into(),
                connections_max: status.max.into(),
                clients: status.in_use.into(),
                check: self.check_of(name),
                ..model::Database::default()
            }
        };
        self.databases.iter().map(database).collect()
    }

    fn connections(&self) -> Later<'_, Connections> {
        let mut all = Connections::default();
        for (name, _, database) in self.databases.iter() {
            all.holders.extend(database.holders().into_iter().map(|holder| model::Holder {
                pool: name.to_owned(),
                place: holder.site.to_string(),
                seconds: holder.age.as_secs_f64(),
                state: "in use",
                ..model::Holder::default()
            }));
        }
        all.holders.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Box::pin(std::future::ready(all))
    }

    fn settings(&self) -> Vec<Setting> {
        let defaults = crate::options::shown(&crate::Settings::default());
        let mut all = Vec::new();
        for (name, _, database) in self.databases.iter() {
            let values = crate::options::shown(&database.settings()).into_iter();
            all.extend(values.zip(&defaults).map(|((key, value), (_, default))| Setting {
                section: format!("databases.{name}"),
                key: key.to_owned(),
                value: Some(value),
                default: Some(default.clone()),
                origin: "in force".to_owned(),
                live: true,
            }));
        }
        all
    }

    #[cfg(feature = "postgres")]
    fn bouncers(&self) -> Vec<model::Bouncer> {
        self.bouncers.rows()
    }
}

impl Actions for Watched {
    fn act(&self, action: Action, actor: String) -> Later<'_, Result<String, String>> {
        let done = self.carry_out(&action);
        tracing::info!(action = action.word(), actor, ?done, "an action on the pools");
        Box::pin(std::future::ready(done))
    }
}

/// How much of a text of a server is shown: what it says of itself is no longer than a line.
const TEXT_MAX: usize = 200;

fn truth(facts: &Facts) -> Truth {
    let clipped = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
    let settings = facts.settings.iter();
    Truth {
        version: clipped(&facts.version),
        in_recovery: facts.in_recovery,
        replication_lag_seconds: facts.replication_lag_seconds,
        standbys: facts.standbys,
        standby_lag_seconds: facts.standby_lag_seconds,
        read_only: facts.read_only,
        connections_max: facts.connections_max,
        connections_reserved: facts.connections_reserved,
        active: facts.active,
        idle: facts.idle,
        idle_in_transaction: facts.idle_in_transaction,
        total: facts.total,
        settings: settings.map(|(name, value)| (name.clone(), clipped(value))).collect(),
    }
}

fn has_room(status: &Status) -> bool {
    !status.paused && status.waiting == 0 && status.in_use < status.max
}

fn pool(name: &str, kind: Kind, database: &dyn DynDatabase) -> model::Pool {
    let (status, errors, times) = (database.status(), database.errors(), database.distributions());
    let totals = status.totals;
    let breaker = match status.breaker {
        None | Some(breaker::State::Closed) => model::Breaker::Closed,
        Some(breaker::State::Open) => model::Breaker::Open,
        Some(breaker::State::HalfOpen) => model::Breaker::HalfOpen,
    };
    model::Pool {
        name: name.to_owned(),
        backend: kind.as_str(),
        database: name.to_owned(),
        paused: status.paused,
        breaker,
        connections: model::Counts {
            opening: status.connecting,
            idle: status.idle,
            checking: status.validating,
            used: status.in_use,
            resetting: 0,
            closing: status.closing,
        },
        size_max: status.max,
        size_min: status.min,
        waiting: status.waiting,
        oldest_wait_seconds: status.longest_wait.unwrap_or_default().as_secs_f64(),
        error: errors.last.filter(|_| breaker != model::Breaker::Closed),
        totals: model::Totals {
            created: totals.opened,
            destroyed: totals.closed,
            connect_failures: totals.connect_failures,
            assignments: totals.acquired,
            errors: totals.refusals,
            timeouts: totals.timeouts,
            leaks: totals.leaks,
            ..model::Totals::default()
        },
        times: Times {
            waits: vec![("pool_full", times.wait)],
            // A pool sees no queries: what it sees is how long connections are lent.
            transaction: times.usage,
            connect: times.connect,
            ..Times::default()
        },
        ..model::Pool::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;
    use crate::config::{Sources, Vars};
    use crate::manager::{ConnectFailure, Fate, Manager};
    use crate::registry::{Opened, Plan};
    use crate::testing::{FakeConnection, FakeError, FakeManager};

    async fn watched() -> Watched {
        watched_by(FakeManager::default).await
    }

    async fn watched_by<M: Manager>(
        manager: impl Fn() -> M + Copy + Send + Sync + 'static,
    ) -> Watched {
        let vars = Vars::from_iter([("MYSQL_GPS_URL", "mysql://db/gps?pool_max_conns=1")]);
        let config = Sources::new(vars).load().unwrap();
        let open = move |plan: Plan| {
            let built = plan.builder(manager()).build();
            async move { Opened::Ok(Arc::new(built?)) }
        };
        let databases = Databases::builder(config).opener(Kind::Mysql, open).start().await.unwrap();
        let (service, started) = ("test".to_owned(), Instant::now());
        Watched {
            service,
            started,
            #[cfg(feature = "postgres")]
            bouncers: Bouncers::of(&databases),
            databases,
            said: Mutex::default(),
        }
    }

    #[tokio::test]
    async fn a_pool_without_a_connection_to_spare_is_no_dead_database() {
        let watched = watched().await;
        let gps: &Pool<FakeManager> = watched.databases.get("gps").unwrap();
        let only = gps.get().await.unwrap();
        watched.test().await;
        assert!(watched.check_of("gps").is_none(), "it was not asked");
        drop(only);
        gps.pause();
        watched.test().await;
        assert!(watched.check_of("gps").is_none(), "it was not asked");
        gps.resume();
        watched.test().await;
        let answered = |watched: &Watched| {
            matches!(watched.check_of("gps"), Some(Checked { outcome: Outcome::Truth(_), .. }))
        };
        assert!(answered(&watched));
        let _only = gps.get().await.unwrap();
        watched.test().await;
        assert!(answered(&watched), "what was known stays known");
    }

    /// How the server of a test answers when it is asked what it says of itself.
    #[derive(Clone, Copy)]
    enum Says {
        Facts,
        No,
        Hangs,
    }

    struct Talker(FakeManager, Says);

    impl Manager for Talker {
        type Connection = FakeConnection;
        type Error = FakeError;

        async fn connect(&self) -> Result<FakeConnection, FakeError> {
            self.0.connect().await
        }

        async fn ping(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
            self.0.ping(connection).await
        }

        async fn facts(&self, _: &mut FakeConnection) -> Result<Option<Facts>, FakeError> {
            match self.1 {
                Says::Facts => {
                    Ok(Some(Facts { connections_max: 7, read_only: true, ..Facts::default() }))
                }
                Says::No => Err(FakeError(ConnectFailure::Rejected)),
                Says::Hangs => std::future::pending().await,
            }
        }

        async fn reset(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
            self.0.reset(connection).await
        }

        fn fate(&self, connection: &mut FakeConnection) -> Fate {
            self.0.fate(connection)
        }
    }

    async fn said(manager: impl Fn() -> Talker + Copy + Send + Sync + 'static) -> (Truth, u64) {
        let watched = watched_by(manager).await;
        watched.test().await;
        let Some(Checked { outcome: Outcome::Truth(truth), .. }) = watched.check_of("gps") else {
            panic!("a server that gives a sign of life is alive");
        };
        watched.test().await;
        let gps: &Pool<Talker> = watched.databases.get("gps").unwrap();
        (truth, gps.status().totals.opened)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_will_not_speak_of_itself_is_alive() {
        let (truth, opened) = said(|| Talker(FakeManager::default(), Says::Facts)).await;
        assert_eq!((truth.connections_max, truth.read_only, opened), (7, true, 1));
        let (truth, opened) = said(|| Talker(FakeManager::default(), Says::No)).await;
        assert_eq!((truth, opened), (Truth::default(), 1), "the connection is kept");
        let (truth, opened) = said(|| Talker(FakeManager::default(), Says::Hangs)).await;
        // Whether another is open in the place of the second one already is the pool's affair.
        assert_eq!(truth, Truth::default());
        assert!(opened >= 2, "whose reply is under way is not: {opened}");
    }
}
