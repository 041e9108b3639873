//! Every state of a client's login against every message: what is allowed, and what ends it.

use super::*;
use crate::auth::scram::{MECHANISM, Secret, salted_password};
use crate::frontend;
use alloc::format;
use alloc::string::String;
use alloc::vec;

const SALT: [u8; 4] = [1, 2, 3, 4];

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

fn startup_of(user: &[u8]) -> Vec<u8> {
    built(|out| frontend::startup(out, &[(b"user", user)]))
}

fn digest(password: &[u8]) -> [u8; 32] {
    md5::digits(md5::digest_password(b"alice", password).as_bytes()).unwrap()
}

fn scram() -> Challenge {
    let secret = Secret::derive_from_salted(salted_password(b"secret", b"salt", 1), b"salt", 1);
    Challenge::Scram { secret, genuine: true, nonce: [5; 18], binding: None }
}

/// The states of a login, each reached the way a client reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    First,
    AfterSslNo,
    AfterGssNo,
    Encrypted,
    TlsAsked,
    TlsHandshake,
    StartupAsked,
    Plain,
    PasswordAsked,
    Md5,
    SaslInitial,
    SaslProof,
    Done,
    Refused,
    Failed,
}

const STATES: [At; 15] = [
    At::First,
    At::AfterSslNo,
    At::AfterGssNo,
    At::Encrypted,
    At::TlsAsked,
    At::TlsHandshake,
    At::StartupAsked,
    At::Plain,
    At::PasswordAsked,
    At::Md5,
    At::SaslInitial,
    At::SaslProof,
    At::Done,
    At::Refused,
    At::Failed,
];

fn reach(at: At) -> Accept {
    let mut out = Vec::new();
    let mut send = |machine: &mut Accept, bytes: &[u8]| {
        let (taken, ask) = machine.receive(bytes, &mut out).unwrap();
        assert_eq!(taken, bytes.len());
        ask
    };
    let mut machine = Accept::new(TlsOffer::Offered);
    let mut out2 = Vec::new();
    match at {
        At::First => {}
        At::AfterSslNo => {
            send(&mut machine, &built(frontend::ssl_request));
            machine.tls_answer(false, &mut out2);
        }
        At::AfterGssNo => {
            send(&mut machine, &built(frontend::gss_request));
        }
        At::TlsAsked | At::TlsHandshake | At::Encrypted => {
            send(&mut machine, &built(frontend::ssl_request));
            if at != At::TlsAsked {
                machine.tls_answer(true, &mut out2);
            }
            if at == At::Encrypted {
                machine.tls_established();
            }
        }
        _ => {
            send(&mut machine, &startup_of(b"alice"));
            let how = match at {
                At::StartupAsked => return machine,
                At::Plain | At::PasswordAsked => Challenge::Plain,
                At::Md5 => Challenge::Md5 { salt: SALT, digest: Some(digest(b"secret")) },
                At::SaslInitial | At::SaslProof => scram(),
                At::Done => Challenge::Trust,
                At::Refused => {
                    machine.refuse(&AuthFailure::Password.notice(), &mut out2);
                    return machine;
                }
                _ => Challenge::Plain,
            };
            machine.challenge(how, &mut out2);
            match at {
                At::PasswordAsked => {
                    send(&mut machine, &built(|out| frontend::password(out, b"secret")));
                }
                At::SaslProof => {
                    let first = b"n,,n=,r=abc";
                    send(&mut machine, &built(|out| frontend::sasl_initial(out, MECHANISM, first)));
                }
                At::Failed => {
                    assert!(machine.receive(b"Q", &mut out2).is_err());
                }
                _ => {}
            }
        }
    }
    machine
}

/// Every kind of message a client can send.
fn messages() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        (String::from("startup"), startup_of(b"mallory")),
        (String::from("ssl"), built(frontend::ssl_request)),
        (String::from("gss"), built(frontend::gss_request)),
        (String::from("cancel"), built(|out| frontend::cancel_request(out, 1, b"1234"))),
    ];
    for byte in 1..=255u8 {
        let name = match FrontendTag::from_byte(byte) {
            Some(tag) => String::from(tag.name()),
            None => String::from("unknown"),
        };
        all.push((name, built(|out| crate::encode::message(out, byte, |_| {}))));
    }
    all
}

/// What must happen: the whole whitelist.
fn expected(at: At, message: &str) -> &'static str {
    use At::*;
    match (at, message) {
        // While the shell has to act, nothing is even looked at.
        (TlsAsked | TlsHandshake | StartupAsked | PasswordAsked | Done, _) => "untouched",
        (Refused | Failed, _) => "Closed",
        (First | AfterSslNo | AfterGssNo | Encrypted, "startup") => "Startup",
        (First | AfterSslNo | AfterGssNo | Encrypted, "cancel") => "Cancel",
        (First | AfterGssNo, "ssl") => "Tls",
        (First | AfterSslNo, "gss") => "NeedInput",
        (AfterSslNo, "ssl") | (AfterGssNo, "gss") => "UnsupportedProtocol",
        (Encrypted, "ssl") => "SslInsideSsl",
        (Encrypted, "gss") => "GssInsideSsl",
        (First | AfterSslNo | AfterGssNo | Encrypted, "Password") => "PasswordBeforeStartup",
        (First | AfterSslNo | AfterGssNo | Encrypted, _) => "StartupLength",
        (_, "startup" | "ssl" | "gss" | "cancel") => "StartupAgain",
        (_, "Terminate") => "Closed",
        // With an empty body, which is never right.
        (Plain | Md5 | SaslInitial, "Password") => "MissingTerminator",
        (SaslProof, "Password") => "Sasl",
        (_, "unknown") => "UnknownFrontend",
        (_, _) => "UnexpectedFrontend",
    }
}

#[test]
fn every_state_allows_exactly_what_the_table_says() {
    for at in STATES {
        for (name, bytes) in messages() {
            let mut machine = reach(at);
            let user = machine.user().to_vec();
            let mut out = Vec::new();
            let found = match machine.receive(&bytes, &mut out) {
                Ok((0, Ask::NeedInput)) => String::from("untouched"),
                Ok((_, ask)) => format!("{ask:?}"),
                Err(error) => format!("{error:?}"),
            };
            let expected = expected(at, &name);
            assert!(found.starts_with(expected), "{at:?} x {name}: {found}, not {expected}");
            assert!(!out.contains(&b'R'), "{at:?} x {name}: somebody got in");
            // Only a first startup names a user, and nothing ever changes it.
            let now = if expected == "Startup" { b"mallory".to_vec() } else { user };
            assert_eq!(machine.user(), now, "{at:?} x {name}");
        }
    }
}

#[test]
fn after_an_error_nothing_lets_anybody_in() {
    for at in STATES {
        for (name, bytes) in messages() {
            let mut machine = reach(at);
            let mut out = Vec::new();
            if machine.receive(&bytes, &mut out).is_ok() {
                continue;
            }
            assert!(matches!(machine.challenge(Challenge::Trust, &mut out), Ask::Closed));
            assert!(matches!(machine.accept_plain(&mut out), Ask::Closed));
            machine.tls_answer(true, &mut out);
            machine.tls_established();
            let proof = startup_of(b"mallory");
            let again = machine.receive(&proof, &mut out).unwrap();
            assert!(matches!(again, (_, Ask::Closed)), "{at:?} x {name}");
            assert_eq!(out, b"", "{at:?} x {name}");
        }
    }
}

#[test]
fn answers_out_of_turn_end_the_login() {
    for at in STATES {
        let mut out = Vec::new();
        if at != At::StartupAsked {
            let mut machine = reach(at);
            assert!(matches!(machine.challenge(Challenge::Trust, &mut out), Ask::Closed));
            assert!(matches!(machine.receive(b"", &mut out), Ok((0, Ask::Closed))));
        }
        if at != At::PasswordAsked {
            let mut machine = reach(at);
            assert!(matches!(machine.accept_plain(&mut out), Ask::Closed));
        }
        if at != At::TlsAsked {
            let mut machine = reach(at);
            machine.tls_answer(true, &mut out);
            assert!(matches!(machine.receive(b"", &mut out), Ok((0, Ask::Closed))));
        }
        assert_eq!(out, b"", "{at:?}");
    }
}

#[test]
fn a_startup_packet_slipped_in_at_any_byte_never_changes_the_user() {
    let first = built(|out| frontend::sasl_initial(out, MECHANISM, b"n,,n=,r=abc"));
    for at in 0..=first.len() {
        let mut machine = reach(At::SaslInitial);
        let stream = [&first[..at], &startup_of(b"mallory"), &first[at..]].concat();
        let mut out = Vec::new();
        while let Ok((taken, ask)) = machine.receive(&stream, &mut out) {
            assert!(!matches!(ask, Ask::Authenticated(_) | Ask::Startup(_)), "byte {at}");
            if taken == 0 || matches!(ask, Ask::Closed) {
                break;
            }
        }
        assert_eq!(machine.user(), b"alice");
    }
}

#[test]
fn bytes_behind_a_request_for_encryption_are_refused_however_many() {
    for extra in 1..=600 {
        for tls in [TlsOffer::Disabled, TlsOffer::Offered, TlsOffer::Required] {
            let mut out = Vec::new();
            let mut ssl = built(frontend::ssl_request);
            ssl.resize(8 + extra, 0x16);
            let found = Accept::new(tls).receive(&ssl, &mut out).map(|_| ());
            assert_eq!(found, Err(ProtocolError::DataAfterSslRequest));
            let mut gss = built(frontend::gss_request);
            gss.resize(8 + extra, 0x16);
            let found = Accept::new(tls).receive(&gss, &mut out).map(|_| ());
            assert_eq!(found, Err(ProtocolError::DataAfterGssRequest));
            assert_eq!(out, b"");
        }
    }
}

#[test]
fn encryption_is_asked_for_once_each_way_in_any_order() {
    let (ssl, gss) = (built(frontend::ssl_request), built(frontend::gss_request));
    for order in [[&ssl, &gss], [&gss, &ssl]] {
        let mut machine = Accept::new(TlsOffer::Disabled);
        let mut out = Vec::new();
        for request in order {
            assert!(matches!(machine.receive(request, &mut out), Ok((8, Ask::NeedInput))));
        }
        assert_eq!(out, b"NN");
        for request in order {
            let mut machine = Accept::new(TlsOffer::Disabled);
            machine.receive(request, &mut out).unwrap();
            assert!(machine.receive(request, &mut out).is_err());
        }
    }
}

#[test]
fn a_million_requests_for_encryption_get_two_answers() {
    let mut machine = Accept::new(TlsOffer::Disabled);
    let mut out = Vec::new();
    let requests = [built(frontend::gss_request), built(frontend::ssl_request)];
    let mut refused = 0u32;
    for n in 0..1_000_000usize {
        refused += u32::from(!matches!(
            machine.receive(&requests[n % 2], &mut out),
            Ok((8, Ask::NeedInput))
        ));
    }
    assert_eq!((out.as_slice(), refused), (&b"NN"[..], 999_998));
}

#[test]
fn an_md5_answer_lets_in_who_knows_the_password() {
    let check = |stored: Option<&[u8]>, given: &[u8]| {
        let mut machine = reach(At::StartupAsked);
        let mut out = Vec::new();
        let digest = stored.map(digest);
        machine.challenge(Challenge::Md5 { salt: SALT, digest }, &mut out);
        let secret = md5::digest_password(b"alice", given);
        let answer = md5::respond(secret.as_bytes(), SALT).unwrap();
        let message = built(|out| frontend::password(out, &answer));
        format!("{:?}", machine.receive(&message, &mut out).unwrap().1)
    };
    assert_eq!(check(Some(b"secret"), b"secret"), "Authenticated(..)");
    assert_eq!(check(Some(b"secret"), b"guess"), "Refused(Password)");
    assert_eq!(check(None, b"secret"), "Refused(Password)");
}

#[test]
fn a_password_in_clear_is_judged_by_the_shell() {
    let mut machine = reach(At::Plain);
    let mut out = Vec::new();
    let message = built(|out| frontend::password(out, b"secret"));
    let (taken, ask) = machine.receive(&message, &mut out).unwrap();
    assert_eq!(taken, message.len());
    assert!(matches!(ask, Ask::PlainPassword(password) if password.as_slice() == b"secret"));
    assert!(matches!(machine.accept_plain(&mut out), Ask::Authenticated(None)));
    assert_eq!(out, built(backend::authentication_ok));
    let message = built(|out| frontend::password(out, b""));
    let found = reach(At::Plain).receive(&message, &mut out).map(|_| ());
    assert_eq!(found, Err(ProtocolError::EmptyPassword));
}

#[test]
fn a_proof_over_the_limit_is_refused_from_its_header() {
    for at in [At::Plain, At::Md5, At::SaslInitial, At::SaslProof] {
        for (len, legal) in [
            (0u32, false),
            (3, false),
            (4, true),
            (9_999, true),
            (65_535, true),
            (65_539, true),
            (65_540, false),
            (1 << 30, false),
            (i32::MAX as u32, false),
            (1 << 31, false),
            (u32::MAX, false),
        ] {
            let header = [&b"p"[..], &len.to_be_bytes()].concat();
            let found = reach(at).receive(&header, &mut Vec::new()).map(|_| ());
            match found {
                Ok(()) => assert!(legal, "{at:?} {len}"),
                Err(ProtocolError::BadHeader { .. } | ProtocolError::FrameTooLong { .. }) => {
                    assert!(!legal, "{at:?} {len}");
                }
                Err(_) => assert_eq!(len, 4, "{at:?}: an empty body is read and refused"),
            }
        }
    }
}

#[test]
fn the_user_must_have_a_name_of_reasonable_length() {
    for (len, expected) in [
        (0, Err(ProtocolError::NoUser)),
        (62, Ok(())),
        (63, Ok(())),
        (64, Ok(())),
        (127, Ok(())),
        (128, Err(ProtocolError::UserTooLong)),
        (255, Err(ProtocolError::UserTooLong)),
        (9_900, Err(ProtocolError::UserTooLong)),
    ] {
        let packet = startup_of(&vec![b'u'; len]);
        let found = Accept::new(TlsOffer::Disabled).receive(&packet, &mut Vec::new());
        assert_eq!(found.map(|_| ()), expected, "{len}");
    }
    let nobody = built(|out| frontend::startup(out, &[(b"database", b"d")]));
    let found = Accept::new(TlsOffer::Disabled).receive(&nobody, &mut Vec::new());
    assert_eq!(found.map(|_| ()), Err(ProtocolError::NoUser));
}

#[test]
fn a_newer_version_is_negotiated_before_anything_is_asked() {
    let packet = built(|out| frontend::startup_version(out, (3, 9999), &[(b"user", b"a")]));
    let mut out = Vec::new();
    let mut machine = Accept::new(TlsOffer::Disabled);
    machine.receive(&packet, &mut out).unwrap();
    machine.challenge(Challenge::Trust, &mut out);
    let expected = built(|out| {
        backend::negotiate_protocol_version::<&[u8]>(out, (3, 2), &[]);
        backend::authentication_ok(out);
    });
    assert_eq!(out, expected);
}

#[test]
fn a_silent_error_sends_nothing_and_any_other_says_why() {
    let mut out = Vec::new();
    let error = ProtocolError::StartupLength { len: 7 };
    Accept::new(TlsOffer::Disabled).refuse_broken(&error, &mut out);
    assert_eq!(out, b"");
    Accept::new(TlsOffer::Disabled).refuse_broken(&ProtocolError::StartupAgain, &mut out);
    let fields = backend::ErrorFields::parse(&out[5..]);
    assert_eq!(fields.message, b"client re-sent startup pkt");
}
