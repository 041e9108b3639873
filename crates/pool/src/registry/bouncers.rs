//! The PgBouncers that databases go through, asked on their consoles what they do.
//!
//! Invariant: one is asked at a time, each for a limited time, by connections of their own that
//! count against no pool: the console is no database. What is not known is never made up.
//! Left out: the protocol (`adapters/postgres/console.rs`), what follows (`headpond_monitor`).

mod find;

use std::time::{Duration, Instant};

use headpond_monitor::model::{
    Bouncer, BouncerCheck, BouncerFigures, BouncerOutcome, CheckError, CheckErrorKind, Through,
};
use parking_lot::Mutex;

use crate::hooks::BoxFuture;

/// How often each is asked: as often as databases are tested.
const PERIOD: Duration = Duration::from_secs(10);
/// How often one is asked that did not answer or is paused: what came back should be known soon.
const PERIOD_FAILED: Duration = Duration::from_secs(2);
/// How long one may take, login included: as long as a database.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a console, as one user.
type Ask = Box<dyn Fn() -> BoxFuture<'static, Result<BouncerFigures, CheckError>> + Send + Sync>;

/// A user that can be tried.
struct Login {
    user: String,
    ask: Ask,
}

/// A PgBouncer.
struct Place {
    name: String,
    /// Those that databases have: one of them may be allowed to look.
    logins: Vec<Login>,
    through: Vec<Through>,
    known: Mutex<Option<Known>>,
}

/// What one said last.
struct Known {
    at: Instant,
    took: Duration,
    user: String,
    outcome: BouncerOutcome,
}

/// Who asks the console of the main database's, if it is not the pool's user.
#[derive(Default)]
pub(super) struct Admin {
    config: Option<crate::postgres::Config>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Bouncers {
    places: Vec<Place>,
}

impl Bouncers {
    /// Asks all of them until the end of days; ends at once if there are none.
    pub(super) async fn ask_again_and_again(&self) {
        while !self.places.is_empty() {
            let mut pause = PERIOD;
            for place in &self.places {
                pause = pause.min(place.ask().await);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns what each said last.
    pub(super) fn rows(&self) -> Vec<Bouncer> {
        self.places.iter().map(Place::row).collect()
    }

    /// Adds a database's way through a PgBouncer.
    fn add(&mut self, name: String, through: Through, login: Login) {
        let place = match self.places.iter_mut().find(|place| place.name == name) {
            Some(place) => place,
            None => {
                let (logins, through, known) = (Vec::new(), Vec::new(), Mutex::new(None));
                self.places.push(Place { name, logins, through, known });
                let last = self.places.len() - 1;
                &mut self.places[last]
            }
        };
        place.through.push(through);
        place.logins.push(login);
    }
}

impl Place {
    /// Asks once and returns after which pause to ask again.
    async fn ask(&self) -> Duration {
        let (mut at, mut outcome, mut user) = (Instant::now(), None, String::new());
        for login in &self.logins {
            at = Instant::now();
            let asked = tokio::time::timeout(LIMIT, (login.ask)()).await;
            let asked = asked.unwrap_or_else(|_| {
                let text = format!("no answer within {LIMIT:?}");
                Err(CheckError { kind: CheckErrorKind::Timeout, text })
            });
            user.clone_from(&login.user);
            let is_stranger =
                matches!(&asked, Err(error) if error.kind == CheckErrorKind::NotAllowed);
            outcome = Some(asked);
            if !is_stranger {
                break;
            }
        }
        let Some(outcome) = outcome else { return PERIOD };
        let outcome = match outcome {
            Ok(figures) => BouncerOutcome::Figures(Box::new(figures)),
            Err(error) => BouncerOutcome::Failed(error),
        };
        let took = at.elapsed();
        let known = Known { at: Instant::now(), took, user, outcome };
        let pause = known.pause();
        let before = self.known.lock().replace(known);
        self.tell(before.as_ref());
        pause
    }

    /// Says once that somebody may not look, and what to do about it: it is no fault.
    fn tell(&self, before: Option<&Known>) {
        let known = self.known.lock();
        let error = |known: Option<&Known>| match known.map(|known| &known.outcome) {
            Some(BouncerOutcome::Failed(error)) if error.kind == CheckErrorKind::NotAllowed => {
                Some(error.text.clone())
            }
            _ => None,
        };
        if let (Some(error), None) = (error(known.as_ref()), error(before)) {
            let user = known.as_ref().map(|known| known.user.as_str());
            tracing::warn!(
                pgbouncer = self.name,
                user,
                error,
                "its figures are not shown: add the user to stats_users, or set PGBOUNCER_ADMIN_URL"
            );
        }
    }

    fn row(&self) -> Bouncer {
        let known = self.known.lock();
        let first = self.logins.first().map(|login| login.user.clone());
        Bouncer {
            name: self.name.clone(),
            user: known.as_ref().map(|known| known.user.clone()).or(first).unwrap_or_default(),
            through: self.through.clone(),
            check: known.as_ref().map(|known| BouncerCheck {
                ago_seconds: known.at.elapsed().as_secs_f64(),
                took_seconds: known.took.as_secs_f64(),
                outcome: known.outcome.clone(),
            }),
        }
    }
}

impl Known {
    fn pause(&self) -> Duration {
        let soon = match &self.outcome {
            BouncerOutcome::Failed(error) => error.kind != CheckErrorKind::NotAllowed,
            BouncerOutcome::Figures(figures) => {
                figures.sum.cl_waiting > 0
                    || figures.databases.iter().any(|database| database.paused)
            }
        };
        if soon { PERIOD_FAILED } else { PERIOD }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn login(user: &str, asked: &Arc<AtomicUsize>, kind: Option<CheckErrorKind>) -> Login {
        let asked = Arc::clone(asked);
        let ask = move || {
            asked.fetch_add(1, SeqCst);
            let text = "said so".to_owned();
            let told = match kind {
                None => Ok(BouncerFigures::default()),
                Some(kind) => Err(CheckError { kind, text }),
            };
            Box::pin(std::future::ready(told)) as _
        };
        Login { user: user.to_owned(), ask: Box::new(ask) }
    }

    #[tokio::test]
    async fn of_several_users_the_first_that_may_look_asks() {
        let counts: [Arc<AtomicUsize>; 3] = Default::default();
        let mut all = Bouncers::default();
        for (user, (count, kind)) in ["a", "b", "c"].iter().zip(counts.iter().zip([
            Some(CheckErrorKind::NotAllowed),
            None,
            None,
        ])) {
            let through = Through { pool: (*user).to_owned(), ..Through::default() };
            all.add("db:6432".to_owned(), through, login(user, count, kind));
        }
        assert!(all.rows()[0].check.is_none());
        assert_eq!(all.places[0].ask().await, PERIOD);
        let rows = all.rows();
        assert_eq!((rows.len(), rows[0].user.as_str(), rows[0].through.len()), (1, "b", 3));
        assert!(rows[0].figures().is_some());
        assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [1, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_console_that_says_nothing_is_given_up_and_asked_again_soon() {
        let mut all = Bouncers::default();
        let ask = || Box::pin(std::future::pending()) as _;
        let login = Login { user: "a".to_owned(), ask: Box::new(ask) };
        all.add("db:6432".to_owned(), Through::default(), login);
        assert_eq!(all.places[0].ask().await, PERIOD_FAILED);
        let error = all.rows()[0].error().cloned().expect("it failed");
        assert_eq!(
            (error.kind, error.text.as_str()),
            (CheckErrorKind::Timeout, "no answer within 5s")
        );
    }
}
