//! Laws of the first packet: lengths, layout, versions, keys, and the `options` grammar.

use super::*;
use crate::frontend;
use alloc::vec;

fn raw(len: u32, rest: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], rest].concat()
}

fn login(params: &[(&[u8], &[u8])]) -> Startup {
    let mut out = Vec::new();
    frontend::startup(&mut out, params);
    match parse_first(&out).unwrap().unwrap() {
        (consumed, First::Startup(startup)) if consumed == out.len() => startup,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_impossible_length_is_refused_from_its_four_bytes_and_without_a_reply() {
    for len in [0, 1, 2, 3, 4, 5, 6, 7, 10_005, 65_535, 65_537, 1 << 30, 1 << 31, u32::MAX] {
        let error = parse_first(&raw(len, b"")).unwrap_err();
        let expected = match len.to_be_bytes() {
            [b'p', ..] => ProtocolError::PasswordBeforeStartup,
            _ => ProtocolError::StartupLength { len },
        };
        assert_eq!(error, expected);
        assert!(error.is_silent());
    }
    for len in [8, 9_999, 10_000, 10_001, 10_004] {
        assert_eq!(parse_first(&raw(len, b"")), Ok(None));
    }
}

#[test]
fn every_prefix_of_a_packet_waits_for_the_rest() {
    let mut out = Vec::new();
    frontend::startup(&mut out, &[(b"user", b"alice"), (b"database", b"shop")]);
    for n in 0..out.len() {
        assert_eq!(parse_first(&out[..n]), Ok(None));
    }
    out.extend_from_slice(b"more");
    assert_eq!(parse_first(&out).unwrap().unwrap().0, out.len() - 4);
}

#[test]
fn requests_for_encryption_are_eight_bytes() {
    for (first, request) in [
        (First::Ssl, frontend::ssl_request as fn(&mut Vec<u8>)),
        (First::Gss, frontend::gss_request),
    ] {
        let mut out = Vec::new();
        request(&mut out);
        assert_eq!(parse_first(&out), Ok(Some((8, first))));
        out[3] = 9;
        out.push(0);
        assert_eq!(parse_first(&out), Err(ProtocolError::StartupLength { len: 9 }));
    }
}

#[test]
fn a_cancel_key_has_4_to_256_bytes() {
    for len in [0usize, 1, 3, 4, 5, 32, 255, 256, 257] {
        let key = vec![7; len];
        let mut out = Vec::new();
        frontend::cancel_request(&mut out, -5, &key);
        let found = parse_first(&out);
        if (4..=256).contains(&len) {
            let first = First::Cancel(CancelRequest { pid: -5, key });
            assert_eq!(found, Ok(Some((out.len(), first))));
        } else {
            assert!(found.unwrap_err().is_silent());
        }
    }
}

#[test]
fn only_protocol_3_is_spoken() {
    let check = |version: u32| parse_first(&raw(9, &version.to_be_bytes()));
    assert_eq!(check(2 << 16), Err(ProtocolError::OldProtocol));
    let unsupported = |major, minor| Err(ProtocolError::UnsupportedProtocol { major, minor });
    assert_eq!(check(4 << 16), unsupported(4, 0));
    assert_eq!(check(0), unsupported(0, 0));
    assert_eq!(check((1234 << 16) + 5681), unsupported(1234, 5681));
    assert_eq!(check((3 << 16) + 9999), Ok(None));
}

#[test]
fn a_newer_minor_version_or_an_unknown_option_is_negotiated_once() {
    let check = |version, params: &[(&[u8], &[u8])]| {
        let mut out = Vec::new();
        frontend::startup_version(&mut out, version, params);
        let (_, First::Startup(mut startup)) = parse_first(&out).unwrap().unwrap() else {
            panic!("not a startup")
        };
        let mut reply = Vec::new();
        startup.negotiate(&mut reply);
        (startup, reply)
    };
    for version in [(3, 0), (3, 1), (3, 2)] {
        let (startup, reply) = check(version, &[(b"user", b"a")]);
        assert_eq!((startup.protocol, reply.len()), (version, 0));
    }
    let (startup, reply) = check((3, 9999), &[(b"_pq_.x", b"1"), (b"user", b"a")]);
    assert_eq!(startup.protocol, (3, 2));
    assert_eq!(startup.params, [(b"user".to_vec(), b"a".to_vec())]);
    assert_eq!(reply, b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0");
    let (startup, reply) = check((3, 0), &[(b"_pq_.x", b"1")]);
    assert_eq!(startup.protocol, (3, 0));
    assert_eq!(reply, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
}

#[test]
fn the_last_of_repeated_parameters_counts_for_everyone() {
    let startup = login(&[(b"user", b"a"), (b"database", b"d"), (b"user", b"b")]);
    assert_eq!(startup.user(), b"b");
    let names: Vec<&[u8]> = startup.params.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, [&b"database"[..], b"user"], "in the order of what was kept");
}

#[test]
fn the_database_defaults_to_the_user() {
    assert_eq!(login(&[(b"user", b"a")]).database(), b"a");
    assert_eq!(login(&[(b"user", b"a"), (b"database", b"")]).database(), b"a");
    assert_eq!(login(&[(b"user", b"a"), (b"database", b"d")]).database(), b"d");
}

#[test]
fn replication_is_a_boolean_or_database() {
    let check = |value: &[u8]| login(&[(b"replication", value)]).replication();
    for on in [&b"true"[..], b"t", b"TRUE", b"1", b"on", b"yes", b"y"] {
        assert_eq!(check(on), Ok(Some(Replication::Physical)));
    }
    for off in [&b"false"[..], b"0", b"off", b"of", b"no", b"n"] {
        assert_eq!(check(off), Ok(None));
    }
    assert_eq!(check(b"database"), Ok(Some(Replication::Logical)));
    for bad in [&b""[..], b"o", b"2", b"databases", b"truex"] {
        assert_eq!(check(bad), Err(ProtocolError::BadReplication));
    }
    assert_eq!(login(&[]).replication(), Ok(None));
}

#[test]
fn parameters_must_end_with_the_empty_name() {
    let version = 196_608u32.to_be_bytes();
    for bad in [&b"user\0a\0"[..], b"user\0a", b"user\0", b"user", b"\0\0", b"user\0a\0\0x", b""] {
        let rest = [&version[..], bad].concat();
        let len = u32::try_from(rest.len() + 4).unwrap();
        let found = parse_first(&raw(len, &rest));
        assert_eq!(found, Err(ProtocolError::StartupLayout), "{bad:?}");
    }
}

#[test]
fn as_many_parameters_as_fit_are_read() {
    let names: Vec<_> = (0..1500u32).map(|n| alloc::format!("{n}").into_bytes()).collect();
    let params: Vec<(&[u8], &[u8])> = names.iter().map(|n| (&n[..], &b""[..])).collect();
    assert_eq!(login(&params).params.len(), 1500);
}

#[test]
fn options_are_read_in_both_spellings_and_nothing_else_is() {
    let check = |text: &str, expected: &[(&str, &str)]| {
        let found = options(text.as_bytes()).unwrap();
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("", &[]);
    check("  \t ", &[]);
    check("-c a=b", &[("a", "b")]);
    check(" -c   a=b  -cc=d --e=f ", &[("a", "b"), ("c", "d"), ("e", "f")]);
    check("--search-path=x", &[("search_path", "x")]);
    check("-c a=b=c", &[("a", "b=c")]);
    check("-c a=", &[("a", "")]);
    check(r"-c a=b\ c\\d\e", &[("a", r"b c\de")]);
    check(r"-c a=b\", &[("a", "b")]);
    check("-c\ta=b\n--c=d", &[("a", "b"), ("c", "d")]);
    let refused =
        ["-c", "-c=", "-c =", "-c =x", "--", "--=", "--a", "-c a", "a=b", "-d a=b", "-", r"\"];
    for bad in refused {
        assert_eq!(options(bad.as_bytes()), Err(ProtocolError::BadOptions), "{bad}");
    }
}
