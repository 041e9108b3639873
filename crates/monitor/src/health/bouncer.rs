//! What one look at a real PgBouncer finds.
//!
//! Invariant: as in `judge.rs`: pure, and the words name the figure and the limit. Who may not
//! look has found nothing: that is advice (`advice/bouncer.rs`), not an illness.
//! Not here: asking it.

use super::{Finding, Limits, Status};
use crate::model::{
    Bouncer, BouncerCheck, BouncerFigures, BouncerOutcome, BouncerState, CheckErrorKind,
};

/// Names that stand in one finding.
const NAMES_MAX: usize = 3;

/// Looks at a PgBouncer.
#[must_use]
pub fn judge_bouncer(bouncer: &Bouncer, limits: &Limits) -> Finding {
    let Some(BouncerCheck { took_seconds, outcome, .. }) = &bouncer.check else {
        return Finding::default();
    };
    match outcome {
        BouncerOutcome::Figures(figures) => judge_figures(figures, *took_seconds, limits),
        BouncerOutcome::Failed(error) => match error.kind {
            CheckErrorKind::NotAllowed => Finding::default(),
            CheckErrorKind::Unreachable | CheckErrorKind::Timeout | CheckErrorKind::StartingUp => {
                Finding::fact(Status::Unhealthy, error.text.clone())
            }
            // It is there, and what it does is not known.
            CheckErrorKind::Refused
            | CheckErrorKind::TooManyConnections
            | CheckErrorKind::Protocol => Finding::fact(Status::Warning, error.text.clone()),
        },
    }
}

fn judge_figures(figures: &BouncerFigures, took: f64, limits: &Limits) -> Finding {
    if figures.state != BouncerState::Active {
        return Finding::fact(Status::Warning, figures.state.word());
    }
    let named = |word: &str, names: Vec<&str>| {
        let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Finding::fact(Status::Warning, format!("{word}: {shown}{more}"))
    };
    let databases = || figures.databases.iter();
    let paused: Vec<&str> = databases().filter(|d| d.paused).map(|d| d.name.as_str()).collect();
    if !paused.is_empty() {
        return named("paused", paused);
    }
    let disabled: Vec<&str> = databases().filter(|d| d.disabled).map(|d| d.name.as_str()).collect();
    if !disabled.is_empty() {
        return named("disabled", disabled);
    }
    if took > limits.check_seconds {
        let text = format!("slow: it took {took:.2} s (more than {} s)", limits.check_seconds);
        return Finding::fact(Status::Warning, text);
    }
    let sum = &figures.sum;
    if sum.cl_waiting > 0 && sum.maxwait_seconds >= limits.wait_seconds {
        let text = format!(
            "{} clients wait there for a server, the first of them for {:.1} s (at least {} s)",
            sum.cl_waiting, sum.maxwait_seconds, limits.wait_seconds
        );
        return Finding::level(Status::Warning, text);
    }
    if figures.used_ratio() > limits.utilization {
        let text = format!("{} of {} clients", figures.clients, figures.clients_max);
        return Finding::level(Status::Warning, text);
    }
    Finding::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Board, Patience, Sort, Weight};
    use crate::model::{BouncerDatabase, BouncerSum, CheckError, Through};

    fn told(figures: BouncerFigures) -> Bouncer {
        asked(BouncerOutcome::Figures(Box::new(figures)), 0.01)
    }

    fn failed(kind: CheckErrorKind) -> Bouncer {
        asked(BouncerOutcome::Failed(CheckError { kind, text: "sorry".into() }), 0.01)
    }

    fn asked(outcome: BouncerOutcome, took_seconds: f64) -> Bouncer {
        let check = BouncerCheck { ago_seconds: 0.0, took_seconds, outcome };
        let through = vec![Through::default()];
        Bouncer { check: Some(check), through, ..Bouncer::default() }
    }

    fn waiting(cl_waiting: u64, maxwait_seconds: f64) -> BouncerFigures {
        let sum = BouncerSum { cl_waiting, maxwait_seconds, ..BouncerSum::default() };
        BouncerFigures { sum, ..BouncerFigures::default() }
    }

    #[test]
    fn a_pgbouncer_is_judged_by_what_its_console_says() {
        let database = |name: &str, paused, disabled| {
            let name = name.into();
            BouncerDatabase { name, paused, disabled, ..BouncerDatabase::default() }
        };
        let with = |databases| BouncerFigures { databases, ..BouncerFigures::default() };
        let many = ["a", "b", "c", "d"].map(|name| database(name, true, false)).to_vec();
        let of = |clients, clients_max| {
            told(BouncerFigures { clients, clients_max, ..BouncerFigures::default() })
        };
        let state = |state| told(BouncerFigures { state, ..BouncerFigures::default() });
        let slow = asked(BouncerOutcome::Figures(Box::default()), 1.5);
        let table = [
            ("never asked", Bouncer::default(), Status::Healthy, ""),
            ("fine", told(BouncerFigures::default()), Status::Healthy, ""),
            ("paused", state(BouncerState::Paused), Status::Warning, "paused"),
            ("suspended", state(BouncerState::Suspended), Status::Warning, "suspended"),
            ("some paused", told(with(many)), Status::Warning, "paused: a, b, c and 1 more"),
            (
                "one disabled",
                told(with(vec![database("x", false, true)])),
                Status::Warning,
                "disabled: x",
            ),
            ("slow", slow, Status::Warning, "1.50 s"),
            ("short waits", told(waiting(9, 9.9)), Status::Healthy, ""),
            ("long waits", told(waiting(9, 10.0)), Status::Warning, "9 clients wait there"),
            ("room", of(90, 100), Status::Healthy, ""),
            ("hardly room", of(91, 100), Status::Warning, "91 of 100 clients"),
            ("no limit told", of(91, 0), Status::Healthy, ""),
            ("down", failed(CheckErrorKind::Unreachable), Status::Unhealthy, "sorry"),
            ("silent", failed(CheckErrorKind::Timeout), Status::Unhealthy, "sorry"),
            ("a stranger", failed(CheckErrorKind::NotAllowed), Status::Healthy, ""),
            ("refused", failed(CheckErrorKind::Refused), Status::Warning, "sorry"),
            ("garbage", failed(CheckErrorKind::Protocol), Status::Warning, "sorry"),
        ];
        for (name, bouncer, status, text) in table {
            let finding = judge_bouncer(&bouncer, &Limits::default());
            assert_eq!(finding.status, status, "{name}: {finding:?}");
            assert!(finding.text.contains(text), "{name}: {finding:?}");
            assert_eq!(finding.text.is_empty(), status == Status::Healthy, "{name}");
        }
        let level = judge_bouncer(&told(waiting(9, 10.0)), &Limits::default());
        assert_eq!(level.weight, Weight::Level, "a queue has to last");
    }

    #[test]
    fn a_neighbour_that_is_down_is_shown_and_makes_nothing_here_unhealthy() {
        let down = failed(CheckErrorKind::Unreachable);
        let neighbour = Bouncer { through: Vec::new(), ..down.clone() };
        for (bouncer, worst) in [(down, Status::Unhealthy), (neighbour, Status::Warning)] {
            let sort = Sort::of_bouncer(&bouncer);
            let mut board = Board::new(Patience::default());
            board.observe(
                0.0,
                [(sort, "x".to_owned(), judge_bouncer(&bouncer, &Limits::default()))],
            );
            assert_eq!(board.of(sort, "x").status(), Status::Unhealthy);
            assert_eq!((board.worst(), board.worst_of(sort)), (worst, worst));
        }
    }
}
