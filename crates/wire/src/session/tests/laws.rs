//! What must hold for every client, whatever chance does.

use std::format;
use std::println;
use std::string::String;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Vec;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::script::{Op, any_script, write};
use super::world::{Mutant, World, settings};
use crate::frame;
use crate::session::{Mode, Settings};

/// Says what is in a stream, for messages of failed tests.
pub fn show(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while let Ok(Some(found)) = frame::whole(bytes, u32::MAX) {
        let body = String::from_utf8_lossy(found.body).replace(|c: char| c.is_control(), " ");
        let words: Vec<&str> = body.split_whitespace().collect();
        out.push_str(&format!("{}[{}] ", char::from(found.tag), words.join(" ")));
        bytes = &bytes[found.total..];
    }
    if !bytes.is_empty() {
        out.push_str(&format!("+{bytes:?}"));
    }
    out
}

/// Leaves out each ParseComplete right before an error that says that the transaction has failed.
///
/// A Parse of a statement that the server has is answered at once; PostgreSQL would refuse it if
/// something sent before, and not answered yet, makes the transaction fail. The use of it fails.
fn normal(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Ok(Some(found)) = frame::whole(bytes, u32::MAX) {
        let (message, rest) = bytes.split_at(found.total);
        let aborted = found.body.windows(6).any(|code| code == b"C25P02");
        if found.tag == b'E' && aborted && out.ends_with(b"1\0\0\0\x04") {
            out.truncate(out.len() - 5);
        }
        out.extend_from_slice(message);
        bytes = rest;
    }
    out.extend_from_slice(bytes);
    out
}

/// Runs scripts against a pool and against backends of their own.
pub fn compare(
    scripts: &[Vec<Op>],
    vanishes: bool,
    settings: &Settings,
    seed: u64,
    mutant: Option<Mutant>,
) -> Result<World, String> {
    let servers = if settings.mode == Mode::Session { scripts.len() } else { 2 };
    let mut world = World::new(settings.clone(), servers, seed, mutant);
    for (i, script) in scripts.iter().enumerate() {
        let (mut bytes, mut stops) = write(script);
        let gone = vanishes && i == 0;
        if gone {
            bytes.truncate(usize::try_from(seed).unwrap_or(0) % bytes.len());
            stops.retain(|stop| *stop <= bytes.len());
        }
        world.add_client(&format!("client {i}"), bytes, stops, gone);
    }
    world.run()?;
    for (i, client) in world.clients.iter().enumerate() {
        let mut alone = World::dedicated(&format!("client {i}"), &client.script);
        let same = if vanishes && i == 0 {
            // It cannot know what the server would have kept to itself until the next Sync.
            alone.flush();
            alone.output.starts_with(&client.output)
                || normal(&alone.output).starts_with(&normal(&client.output))
        } else if client.interrupted {
            alone.output.starts_with(&client.output)
        } else {
            normal(&alone.output) == normal(&client.output)
        };
        if !same {
            return Err(format!(
                "client {i} sent {}\n  should get {}\n  but got    {}",
                show(&client.script),
                show(&alone.output),
                show(&client.output)
            ));
        }
    }
    Ok(world)
}

fn check(name: &str, cases: u32, vanishes: bool, settings: &Settings) {
    let totals: [AtomicUsize; 4] = Default::default();
    let scripts = proptest::collection::vec(any_script(), 1..4);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(scripts, any::<u64>()), |(scripts, seed)| {
        let world =
            compare(&scripts, vanishes, settings, seed, None).map_err(TestCaseError::fail)?;
        for (total, n) in
            totals.iter().zip([world.switches, world.settled, world.drained, world.closed])
        {
            total.fetch_add(n, Ordering::Relaxed);
        }
        Ok(())
    });
    let [switches, settled, drained, closed] = totals.map(AtomicUsize::into_inner);
    println!(
        "{name}: {cases} cases, {switches} links, {settled} settled first, \
         {drained} drained, {closed} closed"
    );
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (scripts, seed))) => {
            panic!("{name}: seed {seed}: {}\n{scripts:?}", reason.message());
        }
        Err(error) => panic!("{error}"),
    }
}

/// More cases on demand: `HEADPOND_CASES=50` runs fifty times as many.
pub fn times(cases: u32) -> u32 {
    let factor = std::env::var("HEADPOND_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    cases.saturating_mul(factor)
}

#[test]
fn a_pooled_client_hears_what_it_would_hear_from_a_server_of_its_own() {
    check("pooled", times(1500), false, &settings());
}

#[test]
fn it_hears_the_same_when_each_server_keeps_one_statement() {
    let settings = Settings { statements_max: 1, ..settings() };
    check("one statement", times(700), false, &settings);
}

#[test]
fn it_hears_the_same_when_each_server_keeps_many_statements() {
    let settings = Settings { statements_max: 100, ..settings() };
    check("many statements", times(700), false, &settings);
}

#[test]
fn it_hears_the_same_when_unnamed_statements_are_shared() {
    let settings = Settings { share_unnamed: true, ..settings() };
    check("shared unnamed", times(700), false, &settings);
}

#[test]
fn it_hears_the_same_in_statement_mode_until_it_opens_a_transaction() {
    let settings = Settings { mode: Mode::Statement, ..settings() };
    check("statement mode", times(700), false, &settings);
}

#[test]
fn it_hears_the_same_when_it_keeps_its_server() {
    for settings in [
        Settings { mode: Mode::Session, ..settings() },
        Settings { mode: Mode::Session, statements_max: 0, ..settings() },
    ] {
        check("session", times(300), false, &settings);
    }
}

#[test]
fn a_client_that_vanishes_changes_nothing_for_the_others() {
    check("vanishing", times(1500), true, &settings());
}
