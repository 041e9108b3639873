//! A server that lies, hurries, repeats itself or asks for too much.

use super::*;
use crate::auth::scram::{MECHANISM, MECHANISM_PLUS};
use crate::backend;
use alloc::format;
use alloc::vec;

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

fn fresh(credential: Credential) -> Connect {
    Connect::new(ConnectSpec {
        params: vec![(b"user".to_vec(), b"mallory".to_vec()), (b"a".to_vec(), b"b".to_vec())],
        user: b"alice".to_vec(),
        credential,
        nonce: [9; 18],
        binding: None,
    })
}

fn machine(credential: Credential) -> Connect {
    let mut machine = fresh(credential);
    machine.start(&mut Vec::new());
    machine
}

fn plain() -> Credential {
    Credential::Plain(Zeroizing::new(b"secret".to_vec()))
}

fn run(credential: Credential, server: &[u8]) -> Result<String, ProtocolError> {
    let mut machine = machine(credential);
    machine.receive(server, &mut Vec::new()).map(|(_, progress)| format!("{progress:?}"))
}

fn unexpected(tag: u8) -> Result<String, ProtocolError> {
    Err(ProtocolError::UnexpectedBackend { tag })
}

fn welcome(out: &mut Vec<u8>) {
    backend::authentication_ok(out);
    backend::parameter_status(out, b"TimeZone", b"UTC");
    backend::parameter_status(out, b"TimeZone", b"GMT");
    backend::backend_key_data(out, 7, b"key!");
    backend::notice_response(out, &backend::Notice::fatal(crate::SqlState::SUCCESS, "hello"));
    backend::ready_for_query(out, Status::Idle);
}

#[test]
fn the_startup_packet_names_our_user_once_and_first() {
    let mut machine = fresh(Credential::None);
    let mut out = Vec::new();
    machine.start(&mut out);
    let expected = built(|out| frontend::startup(out, &[(b"user", b"alice"), (b"a", b"b")]));
    assert_eq!(out, expected);
    machine.start(&mut out);
    assert_eq!(out, expected);
}

#[test]
fn a_trusting_server_lets_us_in_and_its_last_report_counts() {
    let mut machine = machine(Credential::None);
    let stream = [built(welcome), b"more".to_vec()].concat();
    let (taken, progress) = machine.receive(&stream, &mut Vec::new()).unwrap();
    let Progress::Ready(welcome) = progress else { panic!("{progress:?}") };
    assert_eq!(taken, stream.len() - 4);
    assert_eq!(welcome.params, [(b"TimeZone".to_vec(), b"GMT".to_vec())]);
    assert_eq!((welcome.pid, &welcome.key[..], welcome.status), (7, &b"key!"[..], Status::Idle));
}

#[test]
fn an_error_at_any_moment_is_reported_with_its_fields() {
    let error = built(|out| {
        backend::error_response(
            out,
            &backend::Notice::fatal(crate::SqlState::CANNOT_CONNECT_NOW, "starting up"),
        );
    });
    let full = built(welcome);
    for before in [&b""[..], &full[..9], &full[..full.len() - 6]] {
        let mut machine = machine(Credential::None);
        let stream = [before, &error].concat();
        let (taken, progress) = machine.receive(&stream, &mut Vec::new()).unwrap();
        let Progress::Failed(fields) = progress else { panic!("{progress:?}") };
        assert_eq!((taken, &fields.code), (stream.len(), b"57P03"));
    }
}

#[test]
fn nothing_but_the_next_step_is_believed() {
    let ok = built(backend::authentication_ok);
    let ready = built(|out| backend::ready_for_query(out, Status::Idle));
    let sasl = built(|out| backend::authentication_sasl(out, &[MECHANISM]));
    let cleartext = built(backend::authentication_cleartext);
    let first = b"r=CQkJCQkJCQkJCQkJCQkJCQkJxyz,s=AAAA,i=1";
    let next = built(|out| backend::authentication_sasl_continue(out, first));
    let last = built(|out| backend::authentication_sasl_final(out, b"v=AAAA"));
    let row = built(|out| backend::data_row(out, &[]));
    let keys = || Credential::Scram(Keys { client_key: [1; 32], server_key: [2; 32] });
    let check = |parts: &[&[u8]], tag| {
        assert_eq!(run(keys(), &parts.concat()), unexpected(tag), "{parts:?}");
    };
    check(&[&ready], b'Z');
    check(&[&row], b'D');
    check(&[&next], b'R');
    check(&[&last], b'R');
    check(&[&ok, &ok], b'R');
    check(&[&ok, &sasl], b'R');
    check(&[&sasl, &ok], b'R');
    check(&[&sasl, &sasl], b'R');
    check(&[&sasl, &last], b'R');
    // Without its signature a server is not believed, however much it welcomes us.
    check(&[&sasl, &next, &ok], b'R');
    check(&[&sasl, &next, &next], b'R');
    let wrong = run(keys(), &[&sasl[..], &next, &last].concat());
    assert!(matches!(wrong, Err(ProtocolError::Sasl(_))));
    let parts = [&cleartext[..], &cleartext].concat();
    assert_eq!(run(plain(), &parts), unexpected(b'R'));
    let parts =
        [&built(welcome)[..9], &built(|o| backend::backend_key_data(o, 1, b"key!"))].concat();
    let twice = [&parts[..], &built(|o| backend::backend_key_data(o, 1, b"key!"))].concat();
    assert_eq!(run(Credential::None, &twice), unexpected(b'K'));
    let newer = built(|o| backend::negotiate_protocol_version::<&[u8]>(o, (3, 0), &[]));
    assert_eq!(run(Credential::None, &newer), unexpected(b'v'));
}

#[test]
fn nonsense_is_an_error() {
    let ok = built(backend::authentication_ok);
    let status = [&ok[..], b"Z\0\0\0\x05X"].concat();
    let found = run(Credential::None, &status);
    assert_eq!(found, Err(ProtocolError::BadStatus { status: b'X' }));
    for len in [0usize, 3, 257] {
        let key = built(|out| backend::backend_key_data(out, 1, &vec![1; len]));
        let found = run(Credential::None, &[&ok[..], &key].concat());
        assert_eq!(found, Err(ProtocolError::BadLength), "{len}");
    }
    assert_eq!(run(Credential::None, b"R\0\0\0\x08\0\0\0\x63"), Err(ProtocolError::BadValue));
    let found = run(Credential::None, b"R\0\0\0\x08\0\0\0\x07");
    assert_eq!(found, Err(ProtocolError::UnsupportedAuthentication { code: 7 }));
    let found = run(Credential::None, b"?\0\0\0\x04");
    assert_eq!(found, Err(ProtocolError::UnknownBackend { tag: b'?' }));
    let found = run(Credential::None, b"R\0\x10\0\0");
    assert!(matches!(found, Err(ProtocolError::FrameTooLong { .. })));
    let found = run(Credential::None, b"E\0\0\0\x04").unwrap();
    assert!(found.starts_with("Failed("), "an error without any field is still an error");
}

#[test]
fn a_method_without_a_credential_for_it_is_refused() {
    let cleartext = built(backend::authentication_cleartext);
    let md5 = built(|out| backend::authentication_md5(out, [1; 4]));
    let sasl = built(|out| backend::authentication_sasl(out, &[MECHANISM]));
    let keys = || Credential::Scram(Keys { client_key: [1; 32], server_key: [2; 32] });
    let stored = || Credential::Md5(md5::digest_password(b"alice", b"secret"));
    let check = |credential, request: &[u8], works| {
        let found = run(credential, request);
        let expected =
            if works { Ok("NeedInput".into()) } else { Err(ProtocolError::NoCredential) };
        assert_eq!(found, expected);
    };
    check(Credential::None, &cleartext, false);
    check(Credential::None, &md5, false);
    check(Credential::None, &sasl, false);
    check(plain(), &cleartext, true);
    check(plain(), &md5, true);
    check(plain(), &sasl, true);
    check(stored(), &cleartext, false);
    check(stored(), &md5, true);
    check(stored(), &sasl, false);
    check(keys(), &cleartext, false);
    check(keys(), &md5, false);
    check(keys(), &sasl, true);
    let plus = built(|out| backend::authentication_sasl(out, &[MECHANISM_PLUS]));
    assert!(matches!(run(plain(), &plus), Err(ProtocolError::Sasl(_))));
}

#[test]
fn what_a_server_may_report_is_bounded() {
    let report = |count: usize, len: usize| {
        let mut out = built(backend::authentication_ok);
        for n in 0..count {
            let name = format!("p{n}");
            backend::parameter_status(&mut out, name.as_bytes(), &vec![b'x'; len]);
        }
        run(Credential::None, &out)
    };
    assert!(report(256, 1).is_ok());
    assert_eq!(report(257, 1), Err(ProtocolError::TooManyParameters));
    assert_eq!(report(5, 60_000), Err(ProtocolError::TooManyParameters));
}

#[test]
fn after_an_error_nothing_is_read_any_more() {
    let mut machine = machine(Credential::None);
    assert!(machine.receive(b"?\0\0\0\x04", &mut Vec::new()).is_err());
    let found = machine.receive(&built(welcome), &mut Vec::new());
    assert!(matches!(found, Ok((0, Progress::NeedInput))));
    let mut out = Vec::new();
    machine.derived([1; 32], &mut out);
    assert_eq!(out, b"");
}

#[test]
fn the_answer_to_a_request_for_encryption_is_one_byte() {
    assert_eq!(ssl_answer(b""), Ok(None));
    assert_eq!(ssl_answer(b"S"), Ok(Some(TlsAnswer::Yes)));
    assert_eq!(ssl_answer(b"N"), Ok(Some(TlsAnswer::No)));
    for extra in 1..=600 {
        for answer in [b'S', b'N'] {
            let mut input = vec![answer];
            input.resize(1 + extra, b'R');
            assert_eq!(ssl_answer(&input), Err(ProtocolError::DataAfterSslResponse));
        }
    }
    assert_eq!(ssl_answer(b"EFATAL: trust me"), Err(ProtocolError::TlsRefused));
    assert_eq!(ssl_answer(b"R"), Err(ProtocolError::UnknownBackend { tag: b'R' }));
}
