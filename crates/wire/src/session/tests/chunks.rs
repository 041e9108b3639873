//! The chunking law, and damaged input: how bytes are cut never matters, and no bytes break it.

use std::println;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::backend::Backend;
use super::laws::{show, times};
use super::pair::{CLIENT, Cut, Pair, SERVER};
use super::script::{Op, any_script, write};
use super::world::{DEFAULTS, settings};
use crate::session::Settings;

/// Runs a script in turns: some of the client's bytes, then all that the server answers.
fn run(ops: &[Op], settings: &Settings, cut: Cut) -> (Vec<u8>, Vec<u8>, Option<String>) {
    let seed = if let Cut::Chance(seed) = cut { seed } else { 0 };
    let mut pair = Pair::new(settings.clone(), seed);
    let mut backend = Backend::new(&DEFAULTS);
    let (bytes, _) = write(ops);
    let mut seen = 0;
    for turn in bytes.chunks(97) {
        pair.feed(CLIENT, turn, cut);
        loop {
            backend.receive(&pair.out[0][seen..]);
            seen = pair.out[0].len();
            let answer = std::mem::take(&mut backend.output);
            if answer.is_empty() || pair.broken.is_some() {
                break;
            }
            pair.feed(SERVER, &answer, cut);
            pair.rest();
            pair.pump(CLIENT);
        }
        pair.rest();
    }
    let [to_server, to_client] = pair.out;
    (to_server, to_client, pair.broken)
}

#[test]
fn any_cut_gives_the_same_bytes_in_both_directions() {
    let cases = times(300);
    let mut compared = 0u32;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let variants = [
        settings(),
        Settings { share_unnamed: true, ..settings() },
        Settings { statements_max: 0, ..settings() },
    ];
    let outcome = runner.run(&(any_script(), any::<u64>()), |(ops, seed)| {
        for settings in &variants {
            let whole = run(&ops, settings, Cut::Whole);
            let cuts = [1, 2, 3, 5, 7, 64].map(Cut::Bytes);
            for cut in cuts.into_iter().chain([Cut::Chance(seed), Cut::Chance(seed ^ 1)]) {
                let other = run(&ops, settings, cut);
                prop_assert_eq!(&whole.2, &other.2, "{:?}", cut);
                let pairs = [(&whole.0, &other.0), (&whole.1, &other.1)];
                for (whole, other) in pairs {
                    prop_assert!(
                        whole == other,
                        "{cut:?}\n  whole {}\n  cut   {}",
                        show(whole),
                        show(other)
                    );
                }
            }
        }
        Ok(())
    });
    compared += cases * 8 * 3;
    println!("chunks: {cases} scripts, {compared} comparisons");
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Both directions of a session, as they would be recorded on the wire.
fn recorded() -> Vec<(Vec<u8>, Vec<u8>)> {
    let sessions: [&[Op]; 6] = [
        &[Op::Query("select x"), Op::Query("begin"), Op::Query("fail"), Op::Query("rollback")],
        &[
            Op::Parse("a", "rows 3"),
            Op::DescribeStatement("a"),
            Op::Sync,
            Op::Bind("", "a", 1),
            Op::DescribePortal(""),
            Op::Execute("", 2),
            Op::Execute("", 0),
            Op::Sync,
            Op::CloseStatement("a"),
            Op::Sync,
        ],
        &[
            Op::Parse("", "select 1"),
            Op::Bind("", "", 1),
            Op::Execute("", 0),
            Op::Sync,
            Op::Call(1),
            Op::Query("set TimeZone UTC"),
            Op::Query("notice"),
            Op::Query("notify"),
        ],
        &[Op::Query("copyin 2"), Op::Data, Op::Data, Op::Data, Op::Done, Op::Query("copyout")],
        &[
            Op::Parse("", "copyin"),
            Op::Bind("", "", 0),
            Op::Execute("", 0),
            Op::Sync,
            Op::Data,
            Op::Done,
            Op::Sync,
        ],
        &[
            Op::Parse("b", "syntax"),
            Op::Bind("", "b", 0),
            Op::Sync,
            Op::Query("deallocate all"),
            Op::Query("crash"),
        ],
    ];
    sessions
        .iter()
        .map(|ops| {
            let (bytes, _) = write(ops);
            let (_, replies, _) = run(ops, &settings(), Cut::Whole);
            (bytes, replies)
        })
        .collect()
}

/// Feeds a session with one of its directions replaced; whatever happens, it happens in order.
fn survive(client: &[u8], server: &[u8]) {
    for settings in [settings(), Settings { statements_max: 0, ..settings() }] {
        let mut pair = Pair::new(settings, 0);
        for (to, from) in client.chunks(40).zip(server.chunks(40)) {
            pair.feed(CLIENT, to, Cut::Whole);
            pair.feed(SERVER, from, Cut::Whole);
            pair.rest();
        }
        let longer = client.len().min(server.len()) / 40 * 40;
        pair.feed(CLIENT, client.get(longer + 40..).unwrap_or_default(), Cut::Whole);
        pair.feed(SERVER, server.get(longer + 40..).unwrap_or_default(), Cut::Whole);
    }
}

#[test]
fn a_truncated_or_changed_byte_is_an_answer_or_an_error_never_a_panic() {
    let mut cases = 0u32;
    for (client, server) in recorded() {
        for end in 0..client.len() {
            survive(&client[..end], &server);
            cases += 1;
        }
        for end in 0..server.len() {
            survive(&client, &server[..end]);
            cases += 1;
        }
        for at in 0..client.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut changed = client.clone();
                changed[at] ^= bit;
                survive(&changed, &server);
                cases += 1;
            }
        }
        for at in 0..server.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut changed = server.clone();
                changed[at] ^= bit;
                survive(&client, &changed);
                cases += 1;
            }
        }
    }
    println!("damage: {cases} cases");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_an_answer_or_an_error_never_a_panic(
        client in proptest::collection::vec(any::<u8>(), 0..200),
        server in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        survive(&client, &server);
    }
}
