//! Asks a real PgBouncer beside this process what it does: while both run, who moves from one to
//! the other sees both in one place.
//!
//! Invariant: one question at a time, by a connection that is limited in time and takes no place
//! in any pool; the password of `http.pgbouncer_url` is in no text. What it says decides nothing
//! here.
//! Not here: the connection (`ask.rs`), what the answers mean (`headpond_monitor::bouncer`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headpond_monitor::bouncer::{self, Console, Table};
use headpond_monitor::model::{
    Bouncer, BouncerCheck, BouncerFigures, BouncerOutcome, CheckError, CheckErrorKind,
};
use headpond_wire::login::connect::Credential;
use headpond_wire::table::Answer;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::ask::Line;
use crate::catalog::{Place, View};
use crate::config::{Database, Host};
use crate::engine::{Address, Engine};
use crate::log::Level;
use crate::worker::Shared;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(500);
/// How often one is asked that did not answer: what came back should be known soon.
const PERIOD_FAILED: Duration = Duration::from_secs(2);

/// What the PgBouncers said last, by where they are.
#[derive(Default)]
pub(super) struct Neighbours {
    known: Mutex<BTreeMap<String, Known>>,
}

struct Known {
    at: Instant,
    took: Duration,
    user: String,
    outcome: BouncerOutcome,
}

impl Known {
    fn error(&self) -> Option<&CheckError> {
        match &self.outcome {
            BouncerOutcome::Figures(_) => None,
            BouncerOutcome::Failed(error) => Some(error),
        }
    }

    fn is_stranger(&self) -> bool {
        self.error().is_some_and(|error| error.kind == CheckErrorKind::NotAllowed)
    }
}

impl Neighbours {
    /// What each said last.
    pub fn rows(&self) -> Vec<Bouncer> {
        let row = |(name, known): (&String, &Known)| Bouncer {
            name: name.clone(),
            user: known.user.clone(),
            through: Vec::new(),
            check: Some(BouncerCheck {
                ago_seconds: known.at.elapsed().as_secs_f64(),
                took_seconds: known.took.as_secs_f64(),
                outcome: known.outcome.clone(),
            }),
        };
        self.known.lock().iter().map(row).collect()
    }

    fn is_due(&self, name: &str, user: &str, period: Duration) -> bool {
        let known = self.known.lock();
        let Some(known) = known.get(name).filter(|known| known.user == user) else { return true };
        let is_bad = known.error().is_some() && !known.is_stranger();
        let period = if is_bad { period.min(PERIOD_FAILED) } else { period };
        known.at.elapsed() >= period
    }
}

/// Asks until the process ends, as far as one is configured.
pub(super) async fn run<E: Engine>(shared: Arc<Shared<E>>, neighbours: Arc<Neighbours>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let view = shared.catalog.view();
        let http = &view.config.http;
        let spec = http.pgbouncer_url.as_ref().filter(|_| !http.check_period.is_zero());
        let hosts = spec.and_then(|spec| spec.host.as_deref()).unwrap_or_default();
        let name = |host: &Host| name(host, spec.map_or(0, Database::server_port));
        neighbours.known.lock().retain(|known, _| hosts.iter().any(|host| name(host) == *known));
        let Some(spec) = spec else { continue };
        let user = spec.user.as_deref().unwrap_or_default();
        for host in hosts {
            let name = name(host);
            if !neighbours.is_due(&name, user, http.check_period) {
                continue;
            }
            let begun = Instant::now();
            let limit = http.check_timeout.max(Duration::from_millis(1));
            let outcome = match tokio::time::timeout(limit, ask(&view, spec, host)).await {
                Ok(Ok(figures)) => BouncerOutcome::Figures(Box::new(figures)),
                Ok(Err(error)) => BouncerOutcome::Failed(error),
                Err(_) => BouncerOutcome::Failed(CheckError {
                    kind: CheckErrorKind::Timeout,
                    text: format!("did not answer within {} s", limit.as_secs_f64()),
                }),
            };
            let (at, took, user) = (Instant::now(), begun.elapsed(), user.to_owned());
            let known = Known { at, took, user, outcome };
            let told = known.is_stranger().then(|| warning(&name, &known));
            let before = neighbours.known.lock().insert(name, known);
            // It is no fault, and is said once.
            if let Some(text) = told.filter(|_| !before.is_some_and(|before| before.is_stranger()))
            {
                shared.log.line(Level::Warning, &text);
            }
        }
    }
}

fn warning(name: &str, known: &Known) -> String {
    let text = known.error().map(|error| error.text.as_str()).unwrap_or_default();
    format!("pgbouncer {name}: {text}; add {} to its stats_users", known.user)
}

/// Where it is, as people write it.
fn name(host: &Host, port: u16) -> String {
    match host {
        Host::Ip(ip) => SocketAddr::new(*ip, port).to_string(),
        Host::Name(name) => format!("{name}:{port}"),
        Host::Unix(directory) => format!("{directory}/.s.PGSQL.{port}"),
    }
}

async fn ask(view: &View, spec: &Database, host: &Host) -> Result<BouncerFigures, CheckError> {
    let unreachable = |text: String| CheckError { kind: CheckErrorKind::Unreachable, text };
    let port = spec.server_port();
    let address = match host {
        Host::Ip(ip) => Address::Tcp(SocketAddr::new(*ip, port)),
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            let mut found = found.map_err(|error| unreachable(format!("{name}: {error}")))?;
            let first = found.next();
            Address::Tcp(first.ok_or_else(|| unreachable(format!("{name}: no address found")))?)
        }
        Host::Unix(_) => match host.socket_path(port) {
            Some(path) => Address::Unix(path),
            None => return Err(unreachable(format!("{host}: no socket"))),
        },
    };
    let place = Place { address, name: host.to_string() };
    let credential = match &spec.password {
        Some(text) => Credential::Plain(Zeroizing::new(text.reveal().as_bytes().to_vec())),
        None => Credential::None,
    };
    let tls = (view.config.server_sslmode(spec), view.server_tls(&spec.name));
    let user = spec.user.as_deref().unwrap_or_default();
    let mut line = Line::open(&place).await?;
    let entered = line.enter_console(&place, tls, user, credential).await;
    entered.map_err(bouncer::login_error)?;
    let figures = bouncer::figures(&mut line).await?;
    line.leave().await;
    Ok(figures)
}

impl Console for Line {
    async fn ask(&mut self, question: &'static str) -> Result<bouncer::Answer, CheckError> {
        Ok(match Line::ask(self, question, bouncer::ANSWER_MAX).await? {
            Answer::Table(table) => Ok(Table { columns: table.columns, rows: table.rows }),
            Answer::Refused(fields) => Err(fields.text().into_owned()),
        })
    }
}
