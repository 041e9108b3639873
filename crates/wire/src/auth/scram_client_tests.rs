//! Laws of the client side: the vectors of RFC 7677, and everything a hostile server can send.

use super::super::scram::salted_password;
use super::*;
use alloc::string::String;
use alloc::vec;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

fn started() -> Started {
    begin_with(b"user", NONCE.as_bytes().to_vec(), &Binding::Unsupported).0
}

fn fault(message: &str) -> Option<SaslFault> {
    match started().challenge(message.as_bytes()) {
        Ok(_) => None,
        Err(ProtocolError::Sasl(fault)) => Some(fault),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_exchange_of_rfc_7677_is_reproduced() {
    let (started, first) = begin_with(b"user", NONCE.as_bytes().to_vec(), &Binding::Unsupported);
    assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let challenged = started.challenge(SERVER_FIRST.as_bytes()).unwrap();
    assert_eq!(challenged.iterations, 4096);
    let salted = salted_password(b"pencil", &challenged.salt, challenged.iterations);
    let (proven, last) = challenged.prove(&Keys::from_salted(&salted));
    assert_eq!(
        String::from_utf8(last).unwrap(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    proven.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
}

#[test]
fn our_own_first_message_names_no_user_and_encodes_the_nonce() {
    let (_, first) = begin([0; 18], &Binding::NotOffered);
    assert_eq!(first, b"y,,n=,r=AAAAAAAAAAAAAAAAAAAAAAAA");
    let (_, first) = begin([0; 18], &Binding::Bound(vec![1]));
    assert_eq!(first, b"p=tls-server-end-point,,n=,r=AAAAAAAAAAAAAAAAAAAAAAAA");
}

#[test]
fn hashing_is_capped_before_it_starts() {
    for (count, legal) in [
        ("1", true),
        ("4095", true),
        ("1000000", true),
        ("1000001", false),
        ("2147483648", false),
        ("9223372036854775808", false),
        ("0", false),
        ("-1", false),
        ("04096", false),
        ("", false),
        ("4096 ", false),
    ] {
        let found = fault(&SERVER_FIRST.replace("i=4096", &format!("i={count}")));
        let expected = match count {
            _ if legal => None,
            "" => Some(SaslFault::Attribute('i')),
            _ => Some(SaslFault::Iterations),
        };
        assert_eq!(found, expected, "{count}");
    }
}

#[test]
fn a_nonce_of_any_length_is_judged_without_harm() {
    for len in [0usize, 1, 18, 24, 255, 256, 1003, 1004, 1005, 1023, 1024, 4096, 65_535, 1 << 20] {
        let found = fault(&format!("r={NONCE}{},s=W22Z,i=1", "x".repeat(len)));
        let expected = match len {
            0 => Some(SaslFault::NonceMismatch),
            1..=1004 => None,
            _ => Some(SaslFault::NonceTooLong { len: len + 20 }),
        };
        assert_eq!(found, expected, "{len}");
    }
}

#[test]
fn a_nonce_that_does_not_extend_ours_is_refused() {
    for nonce in ["x", "rOprNGfwEbeRWgbNEkqP1234", "Xr0prNGfwEbeRWgbNEkqO1234"] {
        assert_eq!(fault(&format!("r={nonce},s=W22Z,i=1")), Some(SaslFault::NonceMismatch));
    }
    let control = format!("r={NONCE}\x01,s=W22Z,i=1");
    assert_eq!(fault(&control), Some(SaslFault::Attribute('r')));
}

#[test]
fn every_attribute_is_there_once_in_order_and_with_a_value() {
    let parts: vec::Vec<&str> = SERVER_FIRST.split(',').collect();
    for missing in 0..3 {
        let mut rest = parts.clone();
        rest.remove(missing);
        assert!(fault(&rest.join(",")).is_some());
    }
    for doubled in 0..3 {
        let mut more = parts.clone();
        more.insert(doubled, parts[doubled]);
        assert!(fault(&more.join(",")).is_some());
        let mut empty = parts.clone();
        empty[doubled] = &parts[doubled][..2];
        assert!(fault(&empty.join(",")).is_some());
    }
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert!(fault(&order.map(|n| parts[n]).join(",")).is_some());
    }
    assert_eq!(fault(&format!("m=x,{SERVER_FIRST}")), Some(SaslFault::MandatoryExtension));
    assert!(fault(&format!("{SERVER_FIRST},")).is_some());
    assert_eq!(fault(&format!("{SERVER_FIRST},x=ignored")), None);
}

#[test]
fn a_server_that_does_not_know_the_secret_is_found_out() {
    let verify = |message: &str| {
        let challenged = started().challenge(SERVER_FIRST.as_bytes()).unwrap();
        let salted = salted_password(b"pencil", &challenged.salt, challenged.iterations);
        challenged.prove(&Keys::from_salted(&salted)).0.verify(message.as_bytes())
    };
    let check = |message, fault| assert_eq!(verify(message), Err(ProtocolError::Sasl(fault)));
    check("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", SaslFault::WrongSignature);
    check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95A==", SaslFault::Malformed);
    check("v=", SaslFault::Attribute('v'));
    check("", SaslFault::Attribute('v'));
    check("e=invalid-proof", SaslFault::ServerError);
    check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,", SaslFault::Malformed);
}

#[test]
fn the_strongest_usable_mechanism_is_chosen() {
    let check = |offered: &[&[u8]], data: Option<Vec<u8>>| {
        Binding::choose(offered.iter().copied(), data).ok().map(|b| b.header())
    };
    let plus = b"p=tls-server-end-point,,".to_vec();
    assert_eq!(check(&[MECHANISM], None), Some(b"n,,".to_vec()));
    assert_eq!(check(&[MECHANISM], Some(vec![1])), Some(b"y,,".to_vec()));
    assert_eq!(check(&[MECHANISM_PLUS, MECHANISM], Some(vec![1])), Some(plus.clone()));
    assert_eq!(check(&[MECHANISM_PLUS, MECHANISM], None), Some(b"n,,".to_vec()));
    assert_eq!(check(&[MECHANISM_PLUS], Some(vec![1])), Some(plus));
    assert_eq!(check(&[MECHANISM_PLUS], None), None);
    assert_eq!(check(&[b"GSSAPI"], None), None);
    assert_eq!(check(&[], Some(vec![1])), None);
}
