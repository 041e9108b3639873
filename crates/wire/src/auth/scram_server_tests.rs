//! Laws of the server side: who proves the password gets in, and no message bent in any way does.

use super::super::scram::salted_password;
use super::super::scram_client::{self, Binding};
use super::*;
use alloc::string::String;
use alloc::vec;

const SALT: &[u8] = b"0123456789abcdef";
const DATA: &[u8] = &[0xab; 32];

fn secret(password: &[u8]) -> Secret {
    Secret::derive_from_salted(salted_password(password, SALT, 2), SALT, 2)
}

fn offer(binding: Option<&[u8]>) -> Offer {
    let binding = binding.map(<[u8]>::to_vec);
    Offer { secret: secret(b"pencil"), genuine: true, nonce: [5; 18], binding }
}

/// Plays a whole login; the closures may change what the client sends.
fn play(
    offer: Offer,
    binding: Binding,
    password: &[u8],
    first: impl Fn(String) -> String,
    last: impl Fn(String) -> String,
) -> Result<Outcome, ProtocolError> {
    let (started, message) = scram_client::begin([9; 18], &binding);
    let message = first(String::from_utf8(message).unwrap());
    let (exchange, reply) = offer.begin(binding.mechanism(), message.as_bytes())?;
    let challenged = started.challenge(&reply)?;
    let salted = salted_password(password, &challenged.salt, challenged.iterations);
    let (proven, message) = challenged.prove(&Keys::from_salted(&salted));
    let message = last(String::from_utf8(message).unwrap());
    let outcome = exchange.finish(message.as_bytes())?;
    if let Outcome::Proven { reply, .. } = &outcome {
        proven.verify(reply)?;
    }
    Ok(outcome)
}

fn same(message: String) -> String {
    message
}

fn plain(
    first: impl Fn(String) -> String,
    last: impl Fn(String) -> String,
) -> Result<bool, SaslFault> {
    match play(offer(None), Binding::Unsupported, b"pencil", first, last) {
        Ok(outcome) => Ok(matches!(outcome, Outcome::Proven { .. })),
        Err(ProtocolError::Sasl(fault)) => Err(fault),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_right_password_gets_in_and_gives_keys_that_log_in_elsewhere() {
    let outcome = play(offer(None), Binding::Unsupported, b"pencil", same, same);
    let Ok(Outcome::Proven { keys, .. }) = outcome else { panic!("refused") };
    assert!(secret(b"pencil").matches(&keys));

    let (started, first) = scram_client::begin([3; 18], &Binding::Unsupported);
    let (exchange, reply) = offer(None).begin(MECHANISM, &first).unwrap();
    let (proven, last) = started.challenge(&reply).unwrap().prove(&keys);
    let Ok(Outcome::Proven { reply, .. }) = exchange.finish(&last) else { panic!("refused") };
    proven.verify(&reply).unwrap();
}

#[test]
fn a_wrong_password_and_a_made_up_secret_do_not() {
    let wrong = play(offer(None), Binding::Unsupported, b"pencils", same, same);
    assert!(matches!(wrong, Ok(Outcome::Wrong)));
    let unknown = Offer { genuine: false, ..offer(None) };
    let unknown = play(unknown, Binding::Unsupported, b"pencil", same, same);
    assert!(matches!(unknown, Ok(Outcome::Wrong)));
}

#[test]
fn a_login_can_be_bound_to_its_channel() {
    let bound = Binding::Bound(DATA.to_vec());
    let outcome = play(offer(Some(DATA)), bound, b"pencil", same, same);
    assert!(matches!(outcome, Ok(Outcome::Proven { .. })));
    // Somebody in between has another certificate.
    let bound = Binding::Bound(vec![0xac; 32]);
    let outcome = play(offer(Some(DATA)), bound, b"pencil", same, same);
    let mismatch = ProtocolError::Sasl(SaslFault::BindingMismatch);
    assert_eq!(outcome.err(), Some(mismatch));
}

#[test]
fn flags_that_contradict_the_offer_are_a_downgrade() {
    let check = |binding: Option<&[u8]>, mechanism: &[u8], flag: &str| {
        let first = format!("{flag},,n=,r=abc");
        offer(binding).begin(mechanism, first.as_bytes()).map(|_| ()).err()
    };
    let downgrade = Some(ProtocolError::Sasl(SaslFault::Downgrade));
    let bound = "p=tls-server-end-point";
    assert_eq!(check(None, MECHANISM, "n"), None);
    assert_eq!(check(None, MECHANISM, "y"), None);
    assert_eq!(check(None, MECHANISM, bound), downgrade);
    assert_eq!(check(None, MECHANISM_PLUS, bound), Some(ProtocolError::BadMechanism));
    assert_eq!(check(Some(DATA), MECHANISM, "n"), None);
    assert_eq!(check(Some(DATA), MECHANISM, "y"), downgrade);
    assert_eq!(check(Some(DATA), MECHANISM, bound), downgrade);
    assert_eq!(check(Some(DATA), MECHANISM_PLUS, bound), None);
    assert_eq!(check(Some(DATA), MECHANISM_PLUS, "n"), downgrade);
    assert_eq!(check(Some(DATA), MECHANISM_PLUS, "y"), downgrade);
    let unknown = Some(ProtocolError::Sasl(SaslFault::BindingType));
    assert_eq!(check(Some(DATA), MECHANISM_PLUS, "p=tls-unique"), unknown);
    assert_eq!(check(Some(DATA), MECHANISM_PLUS, "p="), unknown);
}

#[test]
fn the_first_message_follows_its_grammar() {
    let check = |message: &str| match offer(None).begin(MECHANISM, message.as_bytes()) {
        Ok(_) => None,
        Err(ProtocolError::Sasl(fault)) => Some(fault),
        Err(other) => panic!("{other:?}"),
    };
    for good in ["n,,n=,r=x", "n,,n=user,r=x", "y,,n=*,r=x", "n,,n=,r=x,y=1,z=2"] {
        assert_eq!(check(good), None, "{good}");
    }
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=x",
        "N,,n=,r=x",
        "nn,,n=,r=x",
        ",,n=,r=x",
        "n,,r=x,n=",
        "n,,n=",
        "n,,r=x",
        "n,,n=,r=",
        "n,,n=,r=x,",
        "n,,n=,r=x,,",
        "n,,n=,n=,r=x",
        "n,,n=,r=x,r=x",
        "n,,n=,r=x,n=",
        "n,,n=,r=x,y=",
        "n,,n=,r=x,y=1,y=1",
        "n,,n=\0,r=x",
        "n,,n=,r=\x7f",
    ] {
        assert!(check(bad).is_some(), "{bad}");
    }
    assert_eq!(check("n,a=root,n=,r=x"), Some(SaslFault::AuthorizationIdentity));
    assert_eq!(check("n,,m=1,n=,r=x"), Some(SaslFault::MandatoryExtension));
    let long = format!("n,,n=,r={}", "x".repeat(1025));
    assert_eq!(check(&long), Some(SaslFault::NonceTooLong { len: 1025 }));
    assert_eq!(check(&long[..long.len() - 1]), None);
}

#[test]
fn the_last_message_without_any_one_attribute_is_refused() {
    for missing in ["c", "r", "p"] {
        let found = plain(same, |message| {
            let keep = |part: &&str| !part.starts_with(&format!("{missing}="));
            message.split(',').filter(keep).collect::<vec::Vec<_>>().join(",")
        });
        assert!(found.is_err(), "{missing}");
    }
}

#[test]
fn the_last_message_bent_in_any_way_is_refused() {
    let refused = |bend: &dyn Fn(String) -> String| !matches!(plain(same, bend), Ok(true));
    assert!(!refused(&same));
    for part in 0..3 {
        let each = |message: String, f: &dyn Fn(&str) -> String| {
            let parts: vec::Vec<&str> = message.split(',').collect();
            let mut bent: vec::Vec<String> = parts.iter().map(|p| String::from(*p)).collect();
            bent[part] = f(parts[part]);
            bent.join(",")
        };
        assert!(refused(&|m| each(m, &|p| format!("{p},{p}"))));
        assert!(refused(&|m| each(m, &|p| p[..2].into())));
        assert!(refused(&|m| each(m, &|p| p[..p.len() - 1].into())));
        assert!(refused(&|m| each(m, &|p| format!("{p}A"))));
        assert!(refused(&|m| each(m, &|p| format!("{p}\0"))));
        assert!(refused(&|m| each(m, &|p| p.to_uppercase())));
    }
    assert!(refused(&|m| format!("{m},")));
    assert!(refused(&|m| format!("{m},x=1")));
    assert!(refused(&|m| format!("m=1,{m}")));
    assert!(refused(&|m| m.replace("c=biws", "c=eSws")));
    assert!(refused(&|_| String::new()));
    // Extensions before the proof are legal, but they are under the proof, so adding one breaks it.
    assert!(matches!(plain(same, |m| m.replace(",p=", ",x=1,p=")), Ok(false)));
}

#[test]
fn a_proof_of_another_exchange_is_refused() {
    let (started, first) = scram_client::begin([9; 18], &Binding::Unsupported);
    let (_, reply) = offer(None).begin(MECHANISM, &first).unwrap();
    let salted = salted_password(b"pencil", SALT, 2);
    let (_, last) = started.challenge(&reply).unwrap().prove(&Keys::from_salted(&salted));
    let fresh = Offer { nonce: [6; 18], ..offer(None) };
    let (exchange, _) = fresh.begin(MECHANISM, &first).unwrap();
    let mismatch = ProtocolError::Sasl(SaslFault::NonceMismatch);
    assert_eq!(exchange.finish(&last).map(|_| ()), Err(mismatch));
}

#[test]
fn every_single_byte_change_of_the_last_message_is_refused() {
    let len = {
        let seen = core::cell::Cell::new(0);
        plain(same, |message| {
            seen.set(message.len());
            message
        })
        .unwrap();
        seen.get()
    };
    for at in 0..len {
        let found = plain(same, |mut message| {
            let old = message.remove(at);
            message.insert(at, if old == 'A' { 'B' } else { 'A' });
            message
        });
        assert!(!matches!(found, Ok(true)), "byte {at}");
    }
}
