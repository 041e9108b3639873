//! Mistakes planted on purpose: a law that never failed proves nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::println;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::laws::compare;
use super::script::any_script;
use super::world::{Mutant, settings};

/// Looks for a script that shows the mistake.
fn is_found(mutant: Mutant) -> bool {
    let scripts = proptest::collection::vec(any_script(), 2..4);
    let mut runner = TestRunner::deterministic();
    for case in 1..3000u64 {
        let scripts = scripts.new_tree(&mut runner).expect("a script").current();
        let run = || compare(&scripts, case % 2 == 0, &settings(), case, Some(mutant)).is_err();
        // A mistake may also break an invariant on the way.
        if catch_unwind(AssertUnwindSafe(run)).unwrap_or(true) {
            println!("{mutant:?}: found after {case} cases");
            return true;
        }
    }
    false
}

fn check(mutant: Mutant) {
    assert!(is_found(mutant), "{mutant:?} was not found");
}

#[test]
fn giving_a_server_away_at_the_first_ready_is_found() {
    check(Mutant::ReleaseAtFirstReady);
}

#[test]
fn giving_a_server_away_inside_a_transaction_is_found() {
    check(Mutant::ReleaseInTransaction);
}

#[test]
fn owing_a_ready_for_a_sync_in_copy_is_found() {
    check(Mutant::OweForSyncInCopy);
}

#[test]
fn skipping_to_a_query_is_found() {
    check(Mutant::SkipToQuery);
}

#[test]
fn not_parsing_the_unnamed_statement_again_is_found() {
    check(Mutant::KeepUnnamed);
}

#[test]
fn not_applying_parameters_is_found() {
    check(Mutant::NoSettle);
}

#[test]
fn believing_that_a_server_has_all_statements_is_found() {
    check(Mutant::TrustCache);
}

#[test]
fn sending_on_what_must_be_dropped_is_found() {
    check(Mutant::ForwardDiscarded);
}

#[test]
fn not_taking_back_what_a_failed_batch_changed_is_found() {
    check(Mutant::NoUndo);
}
