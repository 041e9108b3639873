//! Every entry point with every truncation and every single-byte change of valid input, and with
//! bytes made up by a seeded generator.

use super::*;
use crate::backend::{Column, Notice, Status};
use crate::frontend::Target;
use crate::sqlstate::SqlState;
use alloc::vec;
use proptest::prelude::*;

/// Feeds the message whole, cut short everywhere, and with each byte changed in several ways.
fn bend(message: &[u8], feed: impl Fn(&[u8])) {
    feed(message);
    for len in 0..message.len() {
        feed(&message[..len]);
    }
    let mut bent = message.to_vec();
    for at in 0..message.len() {
        let old = message[at];
        let near = [old ^ 1, old ^ 0x80, old.wrapping_add(1), old.wrapping_sub(1)];
        for new in near.into_iter().chain([0, 1, 0x7f, 0x80, 0xff, b',', b'=', b'\\']) {
            bent[at] = new;
            feed(&bent);
        }
        bent[at] = old;
    }
    for at in 0..=message.len() {
        for extra in [0, b'x', 0xff] {
            let mut longer = message.to_vec();
            longer.insert(at, extra);
            feed(&longer);
        }
    }
}

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

/// The tag and the body of a message, without its length.
fn tagged(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = built(build);
    out.drain(1..5);
    out
}

pub(super) fn frontend_messages() -> Vec<Vec<u8>> {
    let value: Option<&[u8]> = Some(b"abc");
    vec![
        tagged(|o| frontend::query(o, b"select 1")),
        tagged(|o| frontend::parse(o, b"s1", b"select $1, $2", &[23, 0])),
        tagged(|o| frontend::bind(o, b"p", b"s1", &[0, 1], &[value, None], &[1])),
        tagged(|o| frontend::bind_text(o, b"", b"", &[])),
        tagged(|o| frontend::describe(o, Target::Statement, b"s1")),
        tagged(|o| frontend::describe(o, Target::Portal, b"")),
        tagged(|o| frontend::close(o, Target::Portal, b"p")),
        tagged(|o| frontend::execute(o, b"p", 100)),
        tagged(frontend::sync),
        tagged(frontend::flush),
        tagged(frontend::terminate),
        tagged(|o| frontend::copy_data(o, b"1\t2\n")),
        tagged(frontend::copy_done),
        tagged(|o| frontend::copy_fail(o, b"why")),
        tagged(|o| frontend::function_call(o, 42, &[value, None])),
        tagged(|o| frontend::password(o, b"secret")),
        tagged(|o| frontend::sasl_initial(o, MECHANISM, b"n,,n=,r=abc")),
        tagged(|o| frontend::sasl_response(o, b"c=biws,r=abcdef,p=AAAA")),
    ]
}

pub(super) fn backend_messages() -> Vec<Vec<u8>> {
    let value: Option<&[u8]> = Some(b"abc");
    let notice = Notice::fatal(SqlState::INTERNAL_ERROR, "bad").with_detail("d").with_hint("h");
    vec![
        tagged(backend::authentication_ok),
        tagged(backend::authentication_cleartext),
        tagged(|o| backend::authentication_md5(o, [1, 2, 3, 4])),
        tagged(|o| backend::authentication_sasl(o, &[MECHANISM_PLUS, MECHANISM])),
        tagged(|o| backend::authentication_sasl_continue(o, b"r=abc,s=AAAA,i=1")),
        tagged(|o| backend::authentication_sasl_final(o, b"v=AAAA")),
        tagged(|o| backend::backend_key_data(o, 7, b"key!")),
        tagged(|o| backend::parameter_status(o, b"TimeZone", b"UTC")),
        tagged(|o| backend::ready_for_query(o, Status::Open)),
        tagged(|o| backend::error_response(o, &notice)),
        tagged(|o| backend::notice_response(o, &notice)),
        tagged(|o| backend::notification_response(o, 7, b"channel", b"payload")),
        tagged(|o| backend::negotiate_protocol_version(o, (3, 2), &[b"_pq_.a", b"_pq_.b"])),
        tagged(|o| backend::row_description(o, &[Column::text(b"a"), Column::int8(b"b")])),
        tagged(|o| backend::data_row(o, &[value, None])),
        tagged(|o| backend::parameter_description(o, &[23, 25])),
        tagged(|o| backend::command_complete(o, b"SELECT 1")),
        tagged(|o| backend::copy_in_response(o, 2)),
        tagged(|o| backend::copy_out_response(o, 0)),
        tagged(|o| backend::copy_both_response(o, 1)),
        tagged(|o| backend::copy_data(o, b"1\t2\n")),
        tagged(backend::copy_done),
        tagged(backend::parse_complete),
        tagged(backend::bind_complete),
        tagged(backend::close_complete),
        tagged(backend::no_data),
        tagged(backend::portal_suspended),
        tagged(backend::empty_query_response),
        tagged(|o| backend::function_call_response(o, value)),
    ]
}

#[test]
fn what_a_builder_writes_is_read_back() {
    for message in frontend_messages() {
        assert!(frontend::Message::decode(message[0], &message[1..]).is_ok(), "{message:?}");
    }
    for message in backend_messages() {
        assert!(backend::Message::decode(message[0], &message[1..]).is_ok(), "{message:?}");
    }
}

#[test]
fn every_message_of_both_directions_is_among_the_bent_ones() {
    let has = |messages: &[Vec<u8>], tag: u8| messages.iter().any(|message| message[0] == tag);
    let found = frontend_messages();
    assert!(crate::FrontendTag::ALL.iter().all(|tag| has(&found, tag.byte())));
    let found = backend_messages();
    assert!(crate::BackendTag::ALL.iter().all(|tag| has(&found, tag.byte())));
}

#[test]
fn a_bent_message_is_a_value_or_an_error_but_never_a_panic() {
    for message in frontend_messages() {
        bend(&message, frontend_message);
    }
    for message in backend_messages() {
        bend(&message, backend_message);
    }
}

#[test]
fn a_bent_first_packet_is_a_value_or_an_error_but_never_a_panic() {
    let params: &[(&[u8], &[u8])] =
        &[(b"user", b"alice"), (b"options", b"-c a=b --c=d\\ e"), (b"_pq_.x", b"1")];
    bend(&built(|o| frontend::startup_version(o, (3, 9), params)), first_packet);
    bend(&built(frontend::ssl_request), first_packet);
    bend(&built(|o| frontend::cancel_request(o, 1, b"12345678")), first_packet);
    bend(b"-c a=b --c=d\\ e -cx=", options);
}

#[test]
fn a_bent_scram_message_is_a_value_or_an_error_but_never_a_panic() {
    bend(b"\0n,,n=,r=abc\nc=biws,r=abcBQUFBQUFBQUFBQUFBQUFBQUF,p=AAAA", scram_server);
    bend(b"\x01p=tls-server-end-point,,n=,r=abc\nc=biws,r=abc,p=AAAA", scram_server);
    bend(b"\0r=CQkJCQkJCQkJCQkJCQkJCQkJxyz,s=AAAA,i=1\nv=AAAA", scram_client);
}

/// Whole logins of a client, one for each way to prove who it is.
fn client_streams() -> Vec<Vec<u8>> {
    let start = |rest: &[u8]| {
        let params: &[(&[u8], &[u8])] = &[(b"user", b"alice")];
        let mut out = built(|o| frontend::startup(o, params));
        out.extend_from_slice(rest);
        out
    };
    let sasl = built(|o| {
        frontend::sasl_initial(o, MECHANISM, b"n,,n=,r=abc");
        frontend::sasl_response(o, b"c=biws,r=abcBQUFBQUFBQUFBQUFBQUFBQUF,p=AAAA");
    });
    vec![
        start(b""),
        start(&built(|o| frontend::query(o, b"select 1"))),
        start(&built(|o| frontend::password(o, b"yes"))),
        start(&sasl),
        start(&built(frontend::terminate)),
        start(&start(b"")),
        [built(frontend::gss_request), start(b"")].concat(),
        built(|o| frontend::cancel_request(o, 1, b"12345678")),
    ]
}

#[test]
fn a_bent_login_of_a_client_ends_the_same_in_any_pieces() {
    for how in (0..32).chain([6 | 16]) {
        for stream in client_streams() {
            bend_lightly(how, &stream, accept);
        }
    }
}

#[test]
fn a_bent_login_at_a_server_ends_the_same_in_any_pieces() {
    let welcome = built(|o| {
        backend::authentication_ok(o);
        backend::parameter_status(o, b"TimeZone", b"UTC");
        backend::backend_key_data(o, 7, b"key!");
        backend::ready_for_query(o, Status::Idle);
    });
    let first = b"r=CQkJCQkJCQkJCQkJCQkJCQkJxyz,s=AAAA,i=1";
    let sasl = built(|o| {
        backend::authentication_sasl(o, &[MECHANISM_PLUS, MECHANISM]);
        backend::authentication_sasl_continue(o, first);
        backend::authentication_sasl_final(o, b"v=AAAA");
    });
    let streams = [
        welcome.clone(),
        [built(backend::authentication_cleartext), welcome.clone()].concat(),
        [built(|o| backend::authentication_md5(o, [1; 4])), welcome.clone()].concat(),
        [sasl, welcome].concat(),
    ];
    for how in 0..8 {
        for stream in &streams {
            bend_lightly(how, stream, connect);
        }
    }
}

/// As [`bend`], with fewer changes, for streams that are fed several times each.
fn bend_lightly(how: u8, stream: &[u8], feed: impl Fn(&[u8])) {
    let mut data = [&[how][..], stream].concat();
    for len in 1..=data.len() {
        feed(&data[..len]);
    }
    for at in 1..data.len() {
        let old = data[at];
        for new in [old ^ 1, 0, 0xff] {
            data[at] = new;
            feed(&data);
        }
        data[at] = old;
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        first_packet(&data);
        options(&data);
        scram_server(&data);
        scram_client(&data);
        accept(&data);
        connect(&data);
        backend_message(&data);
        frontend_message(&data);
    }

    #[test]
    fn random_options_are_read_in_as_many_steps_as_bytes(text in "[-c= a\\\\]{0,60}") {
        options(text.as_bytes());
    }

    #[test]
    fn random_scram_grammar_never_gets_in(
        first in "[nyp]?,?,?([a-zA-Z]=[a-zA-Z0-9+/=]{0,6},?){0,5}",
        last in "([cprx]=[a-zA-Z0-9+/=]{0,6},?){0,5}",
    ) {
        let text = format!("{first}\n{last}");
        scram_server(&[&[0], text.as_bytes()].concat());
        scram_server(&[&[1], text.as_bytes()].concat());
        scram_client(&[&[0], text.as_bytes()].concat());
    }

    #[test]
    fn random_frames_behind_a_startup_never_panic(
        how in any::<u8>(),
        frames in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let tags = b"pQPXdRSKZENvC\0\x01";
        let params: &[(&[u8], &[u8])] = &[(b"user", b"alice")];
        let mut client = vec![how];
        frontend::startup(&mut client, params);
        let mut server = vec![how];
        for (tag, body) in &frames {
            let build = |out: &mut Vec<u8>| {
                crate::encode::message(out, tags[tag.index(tags.len())], |out| out.extend(body));
            };
            build(&mut client);
            build(&mut server);
        }
        accept(&client);
        connect(&server);
    }
}
