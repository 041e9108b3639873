//! Laws of the state machine.

use super::*;

const PATIENCE: Patience = Patience { worsen_seconds: 2.0, improve_seconds: 5.0 };

fn level(status: Status) -> Finding {
    Finding::level(status, if status == Status::Healthy { "" } else { "busy" })
}

/// Feeds findings, one a second from 0 on, and returns how it looked after each.
fn run(findings: &[Finding]) -> Vec<Status> {
    let mut machine = Machine::default();
    let steps = findings.iter().enumerate();
    steps
        .map(|(second, finding)| {
            machine.observe(second as f64, finding, PATIENCE);
            machine.status()
        })
        .collect()
}

use Status::{Healthy, Unhealthy, Warning};

#[test]
fn a_fact_counts_at_once() {
    let down = Finding::fact(Unhealthy, "no route to host");
    assert_eq!(run(&[level(Healthy), down]), [Healthy, Unhealthy]);
}

#[test]
fn a_level_counts_once_it_has_lasted() {
    let busy = level(Warning);
    assert_eq!(run(&[busy.clone(), busy.clone(), busy]), [Healthy, Healthy, Warning]);
}

#[test]
fn a_burst_is_not_a_warning() {
    let (busy, calm) = (level(Warning), level(Healthy));
    let findings = [busy.clone(), busy.clone(), calm.clone(), busy.clone(), busy, calm];
    assert_eq!(run(&findings), [Healthy; 6]);
}

#[test]
fn what_improves_has_to_last() {
    let down = Finding::fact(Unhealthy, "down");
    let calm = level(Healthy);
    let mut findings = vec![down.clone(), calm.clone(), down];
    findings.extend(vec![calm; 6]);
    let mut expected = vec![Unhealthy; 8];
    expected.push(Healthy);
    assert_eq!(run(&findings), expected);
}

#[test]
fn what_gets_worse_on_its_way_counts_from_its_first_sign() {
    let findings = [level(Warning), level(Warning), level(Unhealthy)];
    assert_eq!(run(&findings), [Healthy, Healthy, Unhealthy]);
}

#[test]
fn the_board_forgets_what_is_gone_and_tells_what_changed() {
    let mut board = Board::new(PATIENCE);
    let down = |name: &str| (Sort::Pool, name.to_owned(), Finding::fact(Unhealthy, "down"));
    let changes = board.observe(0.0, [down("a"), down("b")]);
    assert_eq!(changes.len(), 2);
    assert_eq!((changes[0].before, changes[0].after), (Healthy, Unhealthy));
    assert_eq!(board.worst(), Unhealthy);
    assert_eq!(board.worst_of(Sort::Database), Healthy);
    assert!(board.observe(1.0, []).is_empty());
    assert_eq!((board.worst(), board.all().count()), (Healthy, 0));
}
