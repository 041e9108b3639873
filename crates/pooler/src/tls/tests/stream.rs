//! Bytes in any pieces, in any order, and bytes that are not TLS.

use super::authority::Authority;
use super::{Dice, Pair, only};
use crate::config::tls::SslMode;
use crate::tls::{TlsError, TlsFiles};

const VERSIONS: [&str; 2] = ["tlsv1.2", "tlsv1.3"];

fn pair(version: &str) -> Pair {
    let ca = Authority::new("root");
    let mut server = ca.host(&["db"]).files(SslMode::VerifyCa);
    server.ca = Some(ca.ca());
    server.protocols = only(version);
    let mut client = ca.sign("alice", |_| ()).files(SslMode::VerifyFull);
    client.ca = Some(ca.ca());
    Pair::new(&client, &server, "db")
}

fn ready(version: &str) -> Pair {
    let mut pair = pair(version);
    pair.shake().expect("a good handshake");
    pair
}

/// The chunking law: however the bytes are split, the same bytes arrive.
#[test]
fn any_split_of_the_bytes_gives_the_same_plaintext() {
    for version in VERSIONS {
        for seed in 0..40 {
            let mut dice = Dice::new(seed);
            let mut pair = pair(version);
            let most = [1, 2, 7, 600, 20_000][usize::try_from(seed).expect("small") % 5];
            pair.settle(|| dice.roll(most)).expect("a good handshake");
            assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
            let (mut sent, mut wire) = ([Vec::new(), Vec::new()], Vec::new());
            for _ in 0..20 {
                let message: Vec<u8> = (0..dice.roll(most * 3)).map(|n| n as u8).collect();
                wire.clear();
                if dice.roll(2) == 1 {
                    sent[0].extend_from_slice(&message);
                    pair.client.send(&message, &mut wire).expect("sends");
                    pair.deliver_to_server(&wire, || dice.roll(most)).expect("arrives");
                } else {
                    sent[1].extend_from_slice(&message);
                    pair.server.send(&message, &mut wire).expect("sends");
                    pair.deliver_to_client(&wire, || dice.roll(most)).expect("arrives");
                }
            }
            assert_eq!((pair.at_server, pair.at_client), (sent[0].clone(), sent[1].clone()));
        }
    }
}

#[test]
fn a_hello_split_into_records_of_one_byte_is_understood() {
    for version in VERSIONS {
        for piece in [1, usize::MAX] {
            let mut pair = pair(version);
            let mut hello = Vec::new();
            pair.client.take_output(&mut hello);
            let records: Vec<u8> =
                hello[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
            pair.deliver_to_server(&records, || piece).expect("a strange, but valid hello");
            pair.settle(|| usize::MAX).expect("a good handshake");
            assert!(!pair.server.is_handshaking());
        }
    }
}

#[test]
fn large_data_arrives_unchanged_both_ways() {
    for version in VERSIONS {
        let mut pair = ready(version);
        let data: Vec<u8> = (0..3_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        let mut wire = Vec::new();
        pair.client.send(&data, &mut wire).expect("sends");
        pair.deliver_to_server(&wire, || 16_384).expect("arrives");
        assert!(pair.at_server == data);
        let overhead = wire.len() - data.len();
        assert!(overhead < data.len() / 16_384 * 32 + 32, "{overhead} bytes");
        wire.clear();
        pair.server.send(&data, &mut wire).expect("sends");
        pair.deliver_to_client(&wire, || 100_000).expect("arrives");
        assert!(pair.at_client == data);
    }
}

#[test]
fn what_was_said_before_close_notify_arrives_and_nothing_after_it() {
    for version in VERSIONS {
        let mut pair = ready(version);
        let mut wire = Vec::new();
        pair.client.send(b"last words", &mut wire).expect("sends");
        pair.client.close(&mut wire);
        wire.extend_from_slice(b"\x17\x03\x03\x00\x20 not for anyone");
        pair.deliver_to_server(&wire, || 11).expect("a clean end");
        assert_eq!((&pair.at_server[..], pair.closed[1]), (&b"last words"[..], true));
        // The other direction is still open; ours is not.
        assert!(matches!(pair.client.send(b"more", &mut wire), Err(TlsError::Ended)));
        wire.clear();
        pair.server.send(b"answer", &mut wire).expect("sends");
        pair.server.close(&mut wire);
        pair.deliver_to_client(&wire, || 7).expect("a clean end");
        assert_eq!((&pair.at_client[..], pair.closed[0]), (&b"answer"[..], true));
        wire.clear();
        pair.client.close(&mut wire);
        assert!(wire.is_empty(), "goodbye is said once");
    }
}

#[test]
fn a_peer_that_only_says_goodbye_is_closed_or_an_error_and_never_a_loop() {
    // An alert: warning, close_notify.
    let bye = [21, 3, 3, 0, 2, 1, 0];
    for version in VERSIONS {
        for hellos in [0, 1] {
            let mut pair = pair(version);
            let mut hello = Vec::new();
            pair.client.take_output(&mut hello);
            pair.server.receive(&hello.repeat(hellos), &mut Vec::new()).expect("a hello");
            // TLS 1.2 lets a few warnings pass.
            let ended = (0..10).any(|_| {
                let received = pair.server.receive(&bye, &mut Vec::new());
                received.is_err() || received.is_ok_and(|received| received.closed)
            });
            assert!(ended, "{version} {hellos}");
        }
    }
}

#[test]
fn bytes_that_are_not_tls_end_the_session_with_an_alert() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0xff, 0xff], &[0; 64], &[0xff; 64]]
    {
        let mut pair = pair("secure");
        let mut plaintext = Vec::new();
        let error = pair.server.receive(garbage, &mut plaintext).expect_err("garbage");
        assert!(matches!(error, TlsError::Peer(_)), "{error}");
        let mut alert = Vec::new();
        pair.server.take_output(&mut alert);
        assert_eq!(alert.first(), Some(&21), "{garbage:?}");
        assert!(plaintext.is_empty());
        assert!(matches!(pair.server.receive(garbage, &mut plaintext), Err(TlsError::Ended)));
        assert!(matches!(pair.server.send(b"x", &mut alert), Err(TlsError::Ended)));
    }
}

#[test]
fn a_changed_byte_of_a_record_never_changes_what_is_delivered() {
    for version in VERSIONS {
        let mut wire = Vec::new();
        ready(version).client.send(b"secret", &mut wire).expect("sends");
        for at in 0..wire.len() {
            let mut pair = ready(version);
            let mut wire = Vec::new();
            pair.client.send(b"secret", &mut wire).expect("sends");
            wire[at] ^= 1;
            // A changed length may leave the record incomplete: then nothing happens yet. The
            // kind and the version of a record are not protected, and nothing depends on them.
            let outcome = pair.server.receive(&wire, &mut pair.at_server);
            assert!(outcome.is_err() || pair.at_server.is_empty() || at < 3, "byte {at}");
            assert!(pair.at_server.is_empty() || pair.at_server == b"secret");
        }
    }
}

#[test]
fn random_damage_to_a_handshake_never_panics() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut pair = pair(VERSIONS[dice.roll(2) - 1]);
        for _ in 0..3 {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            pair.client.take_output(&mut up);
            pair.server.take_output(&mut down);
            for bytes in [&mut up, &mut down] {
                if !bytes.is_empty() && dice.roll(3) == 1 {
                    let at = dice.roll(bytes.len()) - 1;
                    bytes[at] ^= 1 << (dice.roll(8) - 1);
                }
            }
            let sizes = dice.roll(500);
            let up = pair.deliver_to_server(&up, || sizes);
            let down = pair.deliver_to_client(&down, || sizes);
            if up.is_err() || down.is_err() {
                break;
            }
        }
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_is_over() {
    let mut pair = pair("secure");
    let mut wire = Vec::new();
    assert!(matches!(pair.server.send(b"x", &mut wire), Err(TlsError::Handshaking)));
    assert!(wire.is_empty());
    assert!(matches!(pair.client.send(b"x", &mut wire), Err(TlsError::Handshaking)));
    assert!(wire.starts_with(&[22]), "the hello alone");
}

#[test]
fn an_idle_session_holds_no_buffer() {
    for version in VERSIONS {
        let mut pair = ready(version);
        let mut wire = Vec::new();
        pair.client.send(&[7; 100_000], &mut wire).expect("sends");
        pair.deliver_to_server(&wire, || 999).expect("arrives");
        for tls in [&pair.client, &pair.server] {
            assert_eq!((tls.incoming.capacity(), tls.outgoing.capacity()), (0, 0));
        }
        // An empty message is not a record.
        wire.clear();
        pair.client.send(b"", &mut wire).expect("nothing to send");
        assert!(wire.is_empty());
    }
}

#[test]
fn a_session_describes_itself_as_openssl_would() {
    let mut pair = ready("tlsv1.3");
    assert_eq!(pair.server.describe(), "TLSv1.3/TLS_AES_256_GCM_SHA384");
    pair = ready("tlsv1.2");
    assert_eq!(pair.client.describe(), "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_eq!(self::pair("secure").server.describe(), "");
}

#[test]
fn sides_without_a_common_protocol_version_do_not_talk() {
    let ca = Authority::new("root");
    let mut client = TlsFiles::new(SslMode::Require);
    client.protocols = only("tlsv1.2");
    let mut server = ca.host(&["db"]).files(SslMode::Require);
    server.protocols = only("tlsv1.3");
    Pair::new(&client, &server, "db").shake().expect_err("nothing in common");
}
