//! Our two sides against each other, with every method, in pieces of any size.

use super::*;
use crate::auth::md5;
use crate::auth::scram::{Keys, Secret, salted_password};
use crate::backend::{self, Status};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

const SALT: &[u8] = b"0123456789abcdef";
const DATA: [u8; 32] = [0xab; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Trust,
    Plain,
    Md5,
    Scram,
    ScramPlus,
    ScramPassThrough,
}

const METHODS: [Method; 6] = [
    Method::Trust,
    Method::Plain,
    Method::Md5,
    Method::Scram,
    Method::ScramPlus,
    Method::ScramPassThrough,
];

fn secret() -> Secret {
    Secret::derive_from_salted(salted_password(b"secret", SALT, 2), SALT, 2)
}

fn challenge(method: Method) -> Challenge {
    let scram =
        |binding| Challenge::Scram { secret: secret(), genuine: true, nonce: [5; 18], binding };
    match method {
        Method::Trust => Challenge::Trust,
        Method::Plain => Challenge::Plain,
        Method::Md5 => {
            let stored = md5::digest_password(b"alice", b"secret");
            let digest = md5::digits(stored.as_bytes());
            Challenge::Md5 { salt: [1, 2, 3, 4], digest }
        }
        Method::Scram | Method::ScramPassThrough => scram(None),
        Method::ScramPlus => scram(Some(DATA.to_vec())),
    }
}

fn spec(method: Method, password: &[u8]) -> ConnectSpec {
    let credential = match method {
        Method::Trust => Credential::None,
        Method::ScramPassThrough => {
            Credential::Scram(Keys::from_salted(&salted_password(password, SALT, 2)))
        }
        _ => Credential::Plain(Zeroizing::new(password.to_vec())),
    };
    ConnectSpec {
        params: vec![(b"database".to_vec(), b"shop".to_vec())],
        user: b"alice".to_vec(),
        credential,
        nonce: [9; 18],
        binding: (method == Method::ScramPlus).then(|| DATA.to_vec()),
    }
}

/// One direction: bytes on their way, and bytes that arrived but are not done with.
#[derive(Default)]
struct Pipe {
    coming: Vec<u8>,
    arrived: Vec<u8>,
    /// Everything that was ever sent.
    all: Vec<u8>,
}

impl Pipe {
    fn send(&mut self, bytes: &mut Vec<u8>) {
        self.all.extend_from_slice(bytes);
        self.coming.append(bytes);
    }

    fn arrive(&mut self, count: usize) {
        let count = count.clamp(1, self.coming.len().max(1)).min(self.coming.len());
        self.arrived.extend(self.coming.drain(..count));
    }
}

/// Plays a login; returns what the server asked, how it ended for the client, and all bytes.
fn play(
    method: Method,
    password: &[u8],
    mut piece: impl FnMut() -> usize,
    tamper: impl Fn(&mut Vec<u8>),
) -> (String, String, Vec<u8>, Vec<u8>) {
    let mut server = Accept::new(TlsOffer::Established);
    let mut client = Connect::new(spec(method, password));
    let (mut up, mut down) = (Pipe::default(), Pipe::default());
    let (mut asked, mut ended) = (String::new(), String::new());
    let mut out = Vec::new();
    client.start(&mut out);
    up.send(&mut out);
    while ended.is_empty() && !(up.coming.is_empty() && down.coming.is_empty()) {
        up.arrive(piece());
        let (taken, ask) = server.receive(&up.arrived, &mut out).expect("an honest client");
        up.arrived.drain(..taken);
        // A login that is over says so each time it is asked.
        if !matches!(ask, Ask::NeedInput | Ask::Closed) {
            asked.push_str(&format!("{ask:?};"));
        }
        let ask = match ask {
            Ask::Startup(_) => server.challenge(challenge(method), &mut out),
            Ask::PlainPassword(given) if given.as_slice() == b"secret" => {
                server.accept_plain(&mut out)
            }
            Ask::PlainPassword(_) => Ask::Refused(AuthFailure::Password),
            other => other,
        };
        match ask {
            Ask::Authenticated(keys) => {
                assert!(keys.is_none_or(|keys| secret().matches(&keys)));
                backend::parameter_status(&mut out, b"TimeZone", b"UTC");
                backend::backend_key_data(&mut out, 7, b"key!");
                backend::ready_for_query(&mut out, Status::Idle);
            }
            Ask::Refused(failure) => server.refuse(&failure.notice(), &mut out),
            _ => {}
        }
        tamper(&mut out);
        down.send(&mut out);
        down.arrive(piece());
        let (taken, progress) = match client.receive(&down.arrived, &mut out) {
            Ok(found) => found,
            Err(error) => {
                ended = format!("{error:?}");
                break;
            }
        };
        down.arrived.drain(..taken);
        match progress {
            Progress::NeedInput => {}
            Progress::Derive { password, salt, iterations } => {
                client.derived(salted_password(&password, &salt, iterations), &mut out);
            }
            other => ended = format!("{other:?}"),
        }
        up.send(&mut out);
    }
    (asked, ended, up.all, down.all)
}

fn honest(_: &mut Vec<u8>) {}

#[test]
fn every_method_lets_in_who_knows_the_password() {
    for method in METHODS {
        let (asked, ended, ..) = play(method, b"secret", || usize::MAX, honest);
        assert!(asked.starts_with("Startup("), "{method:?}: {asked}");
        assert!(ended.starts_with("Ready("), "{method:?}: {ended}");
    }
}

#[test]
fn every_method_but_trust_refuses_a_wrong_password_the_same_way() {
    for method in METHODS.into_iter().filter(|method| *method != Method::Trust) {
        let (_, ended, ..) = play(method, b"guess", || usize::MAX, honest);
        assert!(ended.starts_with("Failed("), "{method:?}: {ended}");
        // "28P01", as bytes.
        assert!(ended.contains("[50, 56, 80, 48, 49]"), "{method:?}: {ended}");
    }
}

#[test]
fn a_server_signature_bent_anywhere_is_found_out() {
    for method in [Method::Scram, Method::ScramPlus, Method::ScramPassThrough] {
        for at in 0..43 {
            let (_, ended, ..) = play(
                method,
                b"secret",
                || usize::MAX,
                |out| {
                    if let Some(start) = out.windows(2).position(|pair| pair == b"v=") {
                        let byte = &mut out[start + 2 + at];
                        *byte = if *byte == b'A' { b'B' } else { b'A' };
                    }
                },
            );
            assert!(ended.starts_with("Sasl("), "{method:?} byte {at}: {ended}");
        }
    }
}

#[test]
fn salt_and_iterations_changed_on_the_way_end_in_refusal() {
    for (from, to) in [(",i=2", ",i=3"), (",s=MDEy", ",s=MDEz")] {
        let (_, ended, ..) = play(
            Method::Scram,
            b"secret",
            || usize::MAX,
            |out| {
                let from = from.as_bytes();
                if let Some(at) = out.windows(from.len()).position(|found| found == from) {
                    out[at..at + from.len()].copy_from_slice(to.as_bytes());
                }
            },
        );
        assert!(ended.starts_with("Failed("), "{ended}");
    }
}

#[test]
fn hiding_the_bound_mechanism_from_a_client_that_could_bind_is_found_out() {
    let mut server = Accept::new(TlsOffer::Established);
    let mut client = Connect::new(spec(Method::ScramPlus, b"secret"));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    client.start(&mut up);
    let (taken, _) = server.receive(&up, &mut down).unwrap();
    up.drain(..taken);
    server.challenge(challenge(Method::ScramPlus), &mut down);
    down.clear();
    backend::authentication_sasl(&mut down, &[crate::auth::scram::MECHANISM]);
    client.receive(&down, &mut up).unwrap();
    let found = server.receive(&up, &mut down).map(|_| ());
    let downgrade = crate::error::SaslFault::Downgrade;
    assert_eq!(found, Err(crate::ProtocolError::Sasl(downgrade)));
}

#[test]
fn byte_by_byte_a_login_is_the_same_as_in_one_piece() {
    for method in METHODS {
        for password in [&b"secret"[..], b"guess"] {
            let whole = play(method, password, || usize::MAX, honest);
            for size in 1..20 {
                assert_eq!(play(method, password, || size, honest), whole, "{method:?} {size}");
            }
        }
    }
}

proptest! {
    #[test]
    fn in_any_pieces_a_login_is_the_same_as_in_one(
        method in prop::sample::select(METHODS.to_vec()),
        right in any::<bool>(),
        sizes in prop::collection::vec(1usize..80, 1..20),
    ) {
        let password = if right { &b"secret"[..] } else { b"guess" };
        let whole = play(method, password, || usize::MAX, honest);
        let mut sizes = sizes.into_iter().cycle();
        let pieces = play(method, password, || sizes.next().unwrap_or(1), honest);
        prop_assert_eq!(pieces, whole);
    }
}
