//! The account of what is owed, by scripts of messages in pieces of every length.

use std::sync::Arc;

use headpond_wire::{Status, backend, frontend};

use super::dirt::Dirt;
use super::follow::Follower;
use super::*;

/// A message, in words: `>` is written, `<` is read.
fn bytes(word: &str) -> (bool, Vec<u8>) {
    let mut out = Vec::new();
    let message = |out: &mut Vec<u8>, tag: u8, body: &[u8]| {
        headpond_wire::encode::message(out, tag, |out| out.extend_from_slice(body));
    };
    match word {
        ">startup" => out.extend_from_slice(b"\0\0\0\x08\0\x03\0\0"),
        ">sync" => frontend::sync(&mut out),
        ">flush" => frontend::flush(&mut out),
        ">query" => message(&mut out, b'Q', b"select 1\0"),
        ">lock" => message(&mut out, b'P', b"s1\0select pg_advisory_lock($1)\0\0\0"),
        ">bind-lock" => message(&mut out, b'B', b"\0s1\0\0\0\0\0\0\0"),
        ">close-lock" => message(&mut out, b'C', b"Ss1\0"),
        ">parse" => message(&mut out, b'P', b"s2\0select 1\0\0\0"),
        ">bind" => message(&mut out, b'B', b"\0s2\0\0\0\0\0\0\0"),
        ">execute" => message(&mut out, b'E', b"\0\0\0\0\0"),
        ">call" => message(&mut out, b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        ">data" => message(&mut out, b'd', b"1\n"),
        ">done" => message(&mut out, b'c', b""),
        ">fail" => message(&mut out, b'f', b"no\0"),
        "<auth" => message(&mut out, b'R', &[0; 4]),
        "<key" => message(&mut out, b'K', b"\0\0\0\x07secret"),
        "<tokyo" => backend::parameter_status(&mut out, b"TimeZone", b"Asia/Tokyo"),
        "<rome" => backend::parameter_status(&mut out, b"TimeZone", b"Europe/Rome"),
        "<idle" => backend::ready_for_query(&mut out, Status::Idle),
        "<open" => backend::ready_for_query(&mut out, Status::Open),
        "<failed" => backend::ready_for_query(&mut out, Status::Failed),
        "<row" => message(&mut out, b'D', b"\0\x01\0\0\0\x01x"),
        "<set" => backend::command_complete(&mut out, b"SET"),
        "<discard" => backend::command_complete(&mut out, b"DISCARD ALL"),
        "<select" => backend::command_complete(&mut out, b"SELECT 1"),
        "<error" => message(&mut out, b'E', b"SERROR\0VERROR\0C40001\0Mno\0\0"),
        "<copy-in" => message(&mut out, b'G', b"\0\0\0"),
        "<copy-both" => message(&mut out, b'W', b"\0\0\0"),
        word => panic!("no such message: {word}"),
    }
    (word.starts_with('>'), out)
}

/// Plays a script, whole and in pieces, and returns what is known at its end.
fn play(script: &str) -> (u32, Status, Dirt, bool) {
    let at = |piece: usize| {
        let watch = Arc::new(Watch::new());
        let mut follower = Follower::new(Arc::clone(&watch));
        let login = ">startup <auth <key <tokyo <idle";
        for word in login.split_whitespace().chain(script.split_whitespace()) {
            let (written, bytes) = bytes(word);
            for piece in bytes.chunks(piece) {
                if written { follower.sent(piece) } else { follower.received(piece) }
            }
        }
        assert_eq!(watch.key().map(|key| key.process), Some(7));
        (watch.owed(), watch.status(), watch.dirt(), watch.is_over())
    };
    let whole = at(usize::MAX);
    for piece in [1, 2, 3, 5, 7] {
        assert_eq!(at(piece), whole, "in pieces of {piece}: {script}");
    }
    whole
}

#[test]
fn each_request_is_owed_until_its_ready() {
    for (script, owed, status) in [
        ("", 0, Status::Idle),
        (">query", 1, Status::Idle),
        (">query <row <select", 1, Status::Idle),
        (">query <row <select <idle", 0, Status::Idle),
        (">query <open", 0, Status::Open),
        (">query <error <failed", 0, Status::Failed),
        (">parse >bind >execute", 1, Status::Idle),
        (">parse >bind >execute >sync", 1, Status::Idle),
        (">parse >sync >query >call <idle", 2, Status::Idle),
        (">parse >bind >execute >sync <error <idle", 0, Status::Idle),
        // COPY: the Sync that comes before the data is ignored.
        (">bind >execute >sync <copy-in", 1, Status::Idle),
        (">bind >execute >sync <copy-in >data >done >sync", 1, Status::Idle),
        (">bind >execute >sync <copy-in >data >done >sync <select <idle", 0, Status::Idle),
        (">bind >execute >sync <copy-in >data >fail >sync <error <idle", 0, Status::Idle),
        // Given up before the server asked for data.
        (">bind >execute >sync >fail >sync <copy-in <error <idle", 0, Status::Idle),
        // The COPY never began: the server answers both.
        (">bind >execute >sync >fail >sync <error <idle", 1, Status::Idle),
        (">bind >execute >sync >fail >sync <error <idle <idle", 0, Status::Idle),
        (">query <copy-in >data >done <select <idle", 0, Status::Idle),
        (">query <copy-in", 2, Status::Idle),
    ] {
        let (got, at, _, over) = play(script);
        assert_eq!((got, at, over), (owed, status, false), "{script}");
    }
}

#[test]
fn what_cannot_be_followed_is_given_up() {
    for script in ["<idle", ">query <idle <idle", ">query <copy-both"] {
        assert!(play(script).3, "{script}");
    }
}

#[test]
fn dirt_is_seen_in_texts_tags_and_reports() {
    for (script, expected) in [
        (">query <select <idle", Dirt::NONE),
        (">query <set <idle", Dirt::SETTINGS),
        (">query <tokyo <idle", Dirt::NONE),
        (">query <rome <idle", Dirt::SETTINGS),
        (">lock >sync <idle", Dirt::LOCK),
        (">parse >bind >execute >sync <idle", Dirt::NONE),
    ] {
        assert_eq!(play(script).2, expected, "{script}");
    }
}

#[test]
fn a_statement_with_dirt_soils_whenever_it_is_bound_until_it_is_closed() {
    let watch = Arc::new(Watch::new());
    let mut follower = Follower::new(Arc::clone(&watch));
    let mut after = |word: &str| {
        watch.cleaned();
        let (written, bytes) = bytes(word);
        if written {
            follower.sent(&bytes)
        } else {
            follower.received(&bytes)
        }
        watch.dirt()
    };
    after(">startup");
    assert_eq!(after(">lock"), Dirt::LOCK);
    assert_eq!(after(">bind-lock"), Dirt::LOCK);
    assert_eq!(after(">bind"), Dirt::NONE);
    assert_eq!(after(">close-lock"), Dirt::NONE);
    assert_eq!(after(">bind-lock"), Dirt::NONE);
}

#[test]
fn prepared_statements_are_worthless_after_discard_all() {
    let watch = Arc::new(Watch::new());
    let mut follower = Follower::new(Arc::clone(&watch));
    let before = watch.generation();
    follower.sent(&bytes(">startup").1);
    follower.received(&bytes("<discard").1);
    assert_ne!(watch.generation(), before);
    follower.received(&bytes("<error").1);
    assert_eq!(watch.error(), Some(*b"40001"));
}
