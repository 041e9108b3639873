//! Which certificates each mode accepts, and what is read out of them.

use super::authority::{Authority, Identity};
use super::{Pair, only, refusal};
use crate::config::tls::SslMode::{self, Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
use crate::tls::certificate::Certificate;
use crate::tls::{AlternativeName, DerError, TlsError, TlsFiles, client_config, server_config};

const EVERY: [SslMode; 5] = [Allow, Prefer, Require, VerifyCa, VerifyFull];

fn connecting(mode: SslMode, ca: &Authority) -> TlsFiles {
    let mut files = TlsFiles::new(mode);
    files.ca = (mode >= VerifyCa).then(|| ca.ca());
    files
}

/// Connects with every mode; each one in `accepting` works, each other fails with `reason`.
fn check(ca: &Authority, server: &Identity, host: &str, accepting: &[SslMode], reason: &str) {
    for mode in EVERY {
        let client = connecting(mode, ca);
        let server = server.files(Require);
        if accepting.contains(&mode) {
            let mut pair = Pair::new(&client, &server, host);
            pair.shake().unwrap_or_else(|error| panic!("{mode}: {error:?}"));
        } else {
            let refusal = refusal(&client, &server, host);
            assert!(
                refusal.starts_with("client: ") && refusal.contains(reason),
                "{mode}: {refusal}"
            );
        }
    }
}

#[test]
fn a_good_certificate_is_accepted_by_every_mode() {
    let ca = Authority::new("root");
    check(&ca, &ca.host(&["db.example.com"]), "db.example.com", &EVERY, "");
    check(&ca, &ca.host(&["*.example.com"]), "db.example.com", &EVERY, "");
    check(&ca, &ca.host(&["db", "127.0.0.1", "::1"]), "127.0.0.1", &EVERY, "");
    check(&ca, &ca.host(&["db", "127.0.0.1", "::1"]), "::1", &EVERY, "");
}

#[test]
fn a_wrong_name_is_refused_by_verify_full_alone() {
    let ca = Authority::new("root");
    let others = [Allow, Prefer, Require, VerifyCa];
    let other = ca.host(&["other.example.com", "10.0.0.1"]);
    check(&ca, &other, "db.example.com", &others, "not valid for name");
    check(&ca, &other, "10.0.0.2", &others, "not valid for name");
    check(&ca, &ca.host(&[]), "db.example.com", &others, "not valid for name");
}

#[test]
fn a_common_name_counts_only_without_alternative_names() {
    let ca = Authority::new("root");
    check(&ca, &ca.sign("db.example.com", |_| ()), "db.example.com", &EVERY, "");
    check(&ca, &ca.sign("*.example.com", |_| ()), "db.example.com", &EVERY, "");
    let both = ca.sign("db.example.com", |params| {
        params.subject_alt_names.push(rcgen::SanType::DnsName("x".try_into().expect("ascii")));
    });
    check(&ca, &both, "db.example.com", &[Allow, Prefer, Require, VerifyCa], "not valid for name");
}

#[test]
fn a_certificate_of_another_authority_or_of_another_time_is_refused_by_both_verify_modes() {
    let (ca, stranger) = (Authority::new("root"), Authority::new("root"));
    let others = [Allow, Prefer, Require];
    check(&ca, &stranger.host(&["db"]), "db", &others, "invalid peer certificate");
    check(&ca, &ca.self_signed("db"), "db", &others, "invalid peer certificate");
    check(&ca, &ca.expired(&["db"]), "db", &others, "expired");
    let unborn = ca.sign("db", |params| params.not_before = rcgen::date_time_ymd(2150, 1, 1));
    check(&ca, &unborn, "db", &others, "not valid yet");
}

#[test]
fn require_with_a_ca_file_checks_the_chain_as_libpq_does() {
    let (ca, stranger) = (Authority::new("root"), Authority::new("other root"));
    let mut client = TlsFiles::new(Require);
    client.ca = Some(ca.ca());
    let good = ca.host(&["some.other.name"]).files(Require);
    Pair::new(&client, &good, "db").shake().expect("the name does not matter");
    let bad = stranger.host(&["db"]).files(Require);
    assert!(refusal(&client, &bad, "db").contains("UnknownIssuer"));
}

#[test]
fn a_self_signed_certificate_in_the_ca_file_is_trusted_until_it_expires() {
    let ca = Authority::new("root");
    let server = ca.self_signed("db");
    for mode in [VerifyCa, VerifyFull] {
        let mut client = TlsFiles::new(mode);
        client.ca = Some(server.cert.clone());
        Pair::new(&client, &server.files(Require), "db").shake().expect("pinned");
    }
    let old = ca.expired(&["db"]);
    let mut client = TlsFiles::new(VerifyCa);
    client.ca = Some(old.cert.clone());
    assert!(refusal(&client, &old.files(Require), "db").contains("expired"));
}

#[test]
fn a_certificate_of_version_1_is_accepted_if_an_anchor_signed_it() {
    let (ca, stranger) = (Authority::new("root"), Authority::new("root"));
    for protocols in ["tlsv1.2", "tlsv1.3"] {
        let server = ca.version1("db.example.com", "2090");
        let mut files = server.files(Require);
        files.protocols = only(protocols);
        for mode in EVERY {
            let mut pair = Pair::new(&connecting(mode, &ca), &files, "db.example.com");
            pair.shake().unwrap_or_else(|error| panic!("{mode}: {error:?}"));
        }
    }
    let others = [Allow, Prefer, Require];
    check(&ca, &stranger.version1("db", "2090"), "db", &others, "UnknownIssuer");
    check(&ca, &ca.version1("db", "2002"), "db", &others, "expired");
    let unnamed = [Allow, Prefer, Require, VerifyCa];
    check(&ca, &ca.version1("other", "2090"), "db", &unnamed, "not valid for name");
}

#[test]
fn a_client_certificate_is_required_by_both_verify_modes_and_ignored_by_the_others() {
    let (ca, stranger) = (Authority::new("root"), Authority::new("other root"));
    let server = ca.host(&["db"]);
    let alice = ca.sign("alice", |_| ());
    for mode in EVERY {
        let mut accepting = server.files(mode);
        accepting.ca = (mode >= VerifyCa).then(|| ca.ca());
        let mut pair = Pair::new(&alice.files(Require), &accepting, "db");
        pair.shake().expect("a good client");
        let expected = (mode >= VerifyCa).then(|| "alice".to_owned());
        assert_eq!(pair.server.peer_common_name(), expected, "{mode}");
        if mode < VerifyCa {
            Pair::new(&TlsFiles::new(Require), &accepting, "db").shake().expect("no certificate");
            continue;
        }
        for (client, reason) in [
            (TlsFiles::new(Require), "peer sent no certificates"),
            (stranger.sign("alice", |_| ()).files(Require), "UnknownIssuer"),
            (ca.expired(&[]).files(Require), "expired"),
            (ca.version1("alice", "2002").files(Require), "expired"),
            (stranger.version1("alice", "2090").files(Require), "UnknownIssuer"),
            (ca.sign("root\0alice", |_| ()).files(Require), "NulInName"),
        ] {
            let refusal = refusal(&client, &accepting, "db");
            assert!(refusal.contains(reason), "{mode}: {refusal}");
        }
        let mut pair = Pair::new(&ca.version1("bob", "2090").files(Require), &accepting, "db");
        pair.shake().expect("a client with an old kind of certificate");
        assert_eq!(pair.server.peer_common_name().as_deref(), Some("bob"));
    }
}

#[test]
fn the_names_of_the_peer_are_readable_after_the_handshake() {
    let ca = Authority::new("root");
    let alice = ca.sign("ålice", |params| {
        params.subject_alt_names = vec![
            rcgen::SanType::Rfc822Name("alice@example.com".try_into().expect("ascii")),
            rcgen::SanType::URI("spiffe://example.com/alice".try_into().expect("ascii")),
            rcgen::SanType::DnsName("alice.example.com".try_into().expect("ascii")),
            rcgen::SanType::IpAddress([10, 0, 0, 1].into()),
        ];
    });
    let mut accepting = ca.host(&["db"]).files(VerifyFull);
    accepting.ca = Some(ca.ca());
    let mut pair = Pair::new(&alice.files(Prefer), &accepting, "db");
    pair.shake().expect("a good client");
    assert_eq!(pair.server.peer_common_name().as_deref(), Some("ålice"));
    let names = [
        AlternativeName::Mail("alice@example.com".to_owned()),
        AlternativeName::Uri("spiffe://example.com/alice".to_owned()),
        AlternativeName::Dns("alice.example.com".to_owned()),
        AlternativeName::Ip([10, 0, 0, 1].into()),
    ];
    assert_eq!(pair.server.peer_alternative_names(), names);
    assert_eq!(pair.client.peer_common_name().as_deref(), Some("a server"));
}

#[test]
fn both_sides_compute_the_same_channel_binding() {
    let ca = Authority::new("root");
    let server = ca.host(&["db"]);
    let mut pair = Pair::new(&TlsFiles::new(Require), &server.files(Require), "db");
    pair.shake().expect("a good server");
    // The authority signs with SHA-256.
    let digest = pair.server.server_end_point().expect("a digest");
    assert_eq!(digest.len(), 32);
    assert_eq!(pair.client.server_end_point(), Some(digest));
}

#[test]
fn settings_that_cannot_work_are_errors_that_name_the_cause() {
    let ca = Authority::new("root");
    let (server, other) = (ca.host(&["db"]), ca.sign("other", |_| ()));
    let on = |change: fn(&mut TlsFiles)| {
        let mut files = server.files(Require);
        change(&mut files);
        server_config(&files).err()
    };
    assert!(matches!(on(|files| files.cert = None), Some(TlsError::Missing { .. })));
    assert!(matches!(on(|files| files.key = None), Some(TlsError::Missing { .. })));
    assert!(matches!(on(|files| files.mode = VerifyCa), Some(TlsError::Missing { .. })));
    assert!(matches!(on(|files| files.key = Some("no".into())), Some(TlsError::File { .. })));
    assert!(matches!(on(|files| files.key = files.cert.clone()), Some(TlsError::NoKey { .. })));
    let swapped = on(|files| files.cert = files.key.clone());
    assert!(matches!(swapped, Some(TlsError::NoCertificate { .. })));
    let system = on(|files| (files.mode, files.ca) = (VerifyFull, Some("system".into())));
    assert!(matches!(system, Some(TlsError::WeakSystemAnchors)));
    let mut files = server.files(Require);
    files.key = Some(other.key);
    assert!(matches!(server_config(&files), Err(TlsError::KeyMismatch { .. })));

    let mut files = TlsFiles::new(VerifyFull);
    assert!(matches!(client_config(&files), Err(TlsError::Missing { .. })));
    files.ca = Some(ca.write("empty.crt", "nothing here\n"));
    assert!(matches!(client_config(&files), Err(TlsError::NoCertificate { .. })));
    for mode in [Allow, Prefer, Require, VerifyCa] {
        (files.mode, files.ca) = (mode, Some("system".into()));
        assert!(matches!(client_config(&files), Err(TlsError::WeakSystemAnchors)), "{mode}");
    }
    assert!(client_config(&TlsFiles::new(Disable)).expect("fine").is_none());
    assert!(server_config(&TlsFiles::new(Disable)).expect("fine").is_none());
}

#[test]
fn a_damaged_certificate_is_an_error_and_never_a_panic() {
    let ca = Authority::new("root");
    let alice = ca.host(&["alice.example.com", "10.0.0.1"]);
    for len in 0..alice.der.len() {
        Certificate::parse(&alice.der[..len]).expect_err("a part of a certificate");
    }
    for at in 0..alice.der.len() {
        for byte in [0, 1, 0x1f, 0x30, 0x7f, 0x80, 0x84, 0xff, alice.der[at] ^ 1] {
            let mut damaged = alice.der.clone();
            damaged[at] = byte;
            if let Ok(certificate) = Certificate::parse(&damaged) {
                let _names: Result<_, DerError> = certificate.alternative_names();
                let _name: Result<_, DerError> = certificate.common_name();
                crate::tls::binding::server_end_point(&damaged);
            }
        }
    }
    let doubled = [&alice.der[..], &alice.der[..]].concat();
    assert_eq!(Certificate::parse(&doubled).err(), Some(DerError::Trailing));
}
