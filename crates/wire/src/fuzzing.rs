//! Entry points for a fuzzer: any bytes in, no panic, and the laws that must hold for all bytes.
//!
//! Invariant: each function is deterministic and asserts only what is a bug of ours when broken.
//! Not here: a corpus and the loop that makes up bytes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::auth::scram::{Keys, MECHANISM, MECHANISM_PLUS, Secret};
use crate::auth::scram_client::{self, Binding};
use crate::auth::scram_server::{Offer, Outcome};
use crate::backend;
use crate::frontend;
use crate::login::{Accept, Ask, Challenge, Connect, ConnectSpec, Credential, Progress, TlsOffer};
use crate::startup::{self, First};

const KEY: [u8; 32] = [7; 32];

/// Reads a first packet and all that is in it.
pub fn first_packet(data: &[u8]) {
    let Ok(Some((taken, first))) = startup::parse_first(data) else {
        return;
    };
    assert!(taken <= data.len(), "more bytes taken than given");
    if let First::Startup(mut startup) = first {
        let mut out = Vec::new();
        startup.negotiate(&mut out);
        assert!(startup.protocol <= startup::PROTOCOL_NEWEST, "a version nobody speaks");
        assert!(startup.replication().is_ok() || startup.get(b"replication").is_some());
        assert!(startup.database().len() <= data.len(), "a name longer than the packet");
        options(startup.get(b"options").unwrap_or_default());
    }
}

/// Reads an `options` parameter.
pub fn options(data: &[u8]) {
    if let Ok(settings) = startup::options(data) {
        assert!(settings.len() <= data.len(), "more settings than bytes");
        assert!(settings.iter().all(|(name, _)| !name.is_empty()), "a setting without a name");
    }
}

/// Plays a client, two messages split at a line feed, against the server side of SCRAM. Nobody
/// gets in, because nobody knows a password for the made-up secret.
pub fn scram_server(data: &[u8]) {
    let (bound, data) = choice(data);
    let mut messages = data.splitn(2, |byte| *byte == b'\n');
    let offer = Offer {
        secret: Secret::mock(&KEY, b"fuzz", 1),
        genuine: true,
        nonce: [5; 18],
        binding: bound.then(|| KEY.to_vec()),
    };
    let mechanism = if bound { MECHANISM_PLUS } else { MECHANISM };
    if let Ok((exchange, _)) = offer.begin(mechanism, messages.next().unwrap_or_default()) {
        let outcome = exchange.finish(messages.next().unwrap_or_default());
        assert!(!matches!(outcome, Ok(Outcome::Proven { .. })), "a proof out of nothing");
    }
}

/// Plays a server, two messages split at a line feed, against the client side of SCRAM. It never
/// signs right, because it does not know the keys.
pub fn scram_client(data: &[u8]) {
    let (bound, data) = choice(data);
    let binding = if bound { Binding::Bound(KEY.to_vec()) } else { Binding::Unsupported };
    let mut messages = data.splitn(2, |byte| *byte == b'\n');
    let (started, _) = scram_client::begin([9; 18], &binding);
    if let Ok(challenged) = started.challenge(messages.next().unwrap_or_default()) {
        assert!(challenged.iterations <= 1_000_000, "unbounded work");
        let (proven, _) = challenged.prove(&Keys::from_salted(&KEY));
        let verified = proven.verify(messages.next().unwrap_or_default());
        assert!(verified.is_err(), "a signature out of nothing");
    }
}

/// Plays a client against [`Accept`], in one piece and in small ones, with the same outcome.
pub fn accept(data: &[u8]) {
    let (how, data) = data.split_first().unwrap_or((&0, &[]));
    let whole = accept_in_pieces(*how, data, usize::MAX);
    // Bytes behind a request for encryption are an error only if they come with it.
    if !whole.contains("DataAfter") {
        for size in [1, 3, 7] {
            let pieces = accept_in_pieces(*how, data, size);
            assert_eq!(whole, pieces, "in pieces of {size} bytes");
        }
    }
}

/// Plays a server against [`Connect`], in one piece and in small ones, with the same outcome.
pub fn connect(data: &[u8]) {
    let (how, data) = data.split_first().unwrap_or((&0, &[]));
    let whole = connect_in_pieces(*how, data, usize::MAX);
    for size in [1, 3, 7] {
        assert_eq!(whole, connect_in_pieces(*how, data, size), "in pieces of {size} bytes");
    }
}

/// Reads a message of a server, the tag first, and walks through all that is in it.
pub fn backend_message(data: &[u8]) {
    let Some((tag, body)) = data.split_first() else {
        return;
    };
    let Ok(message) = backend::Message::decode(*tag, body) else {
        return;
    };
    let walked = match &message {
        backend::Message::Authentication(backend::Authentication::Sasl(names)) => {
            names.iter().count()
        }
        backend::Message::DataRow(row) => {
            assert_eq!(row.values.iter().count(), row.values.len(), "a value lost");
            row.values.iter().flatten().map(<[u8]>::len).fold(0, usize::saturating_add)
        }
        backend::Message::RowDescription(columns) => {
            assert_eq!(columns.iter().count(), columns.len(), "a column lost");
            columns.len()
        }
        backend::Message::ParameterDescription(oids) => oids.iter().count(),
        backend::Message::CopyInResponse(copy)
        | backend::Message::CopyOutResponse(copy)
        | backend::Message::CopyBothResponse(copy) => copy.columns.iter().count(),
        backend::Message::ErrorResponse(fields) | backend::Message::NoticeResponse(fields) => {
            let mut out = Vec::new();
            fields.to_error_response(&mut out);
            fields.message.len()
        }
        backend::Message::NegotiateProtocolVersion(negotiate) => negotiate.unknown.len(),
        _ => 0,
    };
    assert!(walked <= data.len(), "more found than given");
}

/// Reads a message of a client, the tag first, and walks through all that is in it.
pub fn frontend_message(data: &[u8]) {
    let Some((tag, body)) = data.split_first() else {
        return;
    };
    let walked = match frontend::Message::decode(*tag, body) {
        Ok(frontend::Message::Bind(bind)) => {
            assert_eq!(bind.values.iter().count(), bind.values.len(), "a value lost");
            bind.formats.iter().count().saturating_add(bind.result_formats.iter().count())
        }
        Ok(frontend::Message::Parse(parse)) => parse.oids.iter().count(),
        Ok(frontend::Message::FunctionCall(call)) => call.arguments.iter().count(),
        Ok(frontend::Message::Password(body)) => {
            let initial = frontend::SaslInitial::read(body).ok();
            initial.and_then(|initial| initial.data).map_or(0, <[u8]>::len)
        }
        Ok(_) | Err(_) => 0,
    };
    assert!(walked <= data.len(), "more found than given");
}

/// Takes a yes or no from the first byte.
fn choice(data: &[u8]) -> (bool, &[u8]) {
    data.split_first().map_or((false, data), |(first, rest)| (first & 1 == 1, rest))
}

/// Bytes that arrived and are not done with.
struct Inbox<'a> {
    buffered: Vec<u8>,
    coming: &'a [u8],
    size: usize,
}

impl Inbox<'_> {
    /// Lets the next piece arrive; false when there is none.
    fn arrive(&mut self) -> bool {
        let (piece, rest) = self.coming.split_at(self.size.min(self.coming.len()));
        self.buffered.extend_from_slice(piece);
        self.coming = rest;
        !piece.is_empty()
    }

    fn take(&mut self, count: usize) {
        assert!(count <= self.buffered.len(), "more bytes taken than given");
        self.buffered.drain(..count);
    }

    fn left(&self) -> usize {
        self.buffered.len().saturating_add(self.coming.len())
    }
}

/// Returns what the machine asked for, how it ended, and what it sent.
fn accept_in_pieces(how: u8, data: &[u8], size: usize) -> String {
    let tls = if how & 1 == 1 { TlsOffer::Offered } else { TlsOffer::Disabled };
    let mut machine = Accept::new(tls);
    let mut inbox = Inbox { buffered: Vec::new(), coming: data, size };
    let (mut out, mut trace) = (Vec::new(), String::new());
    loop {
        let (taken, ask) = match machine.receive(&inbox.buffered, &mut out) {
            Ok(found) => found,
            Err(error) => {
                trace.push_str(&format!("{error:?}"));
                machine.refuse_broken(&error, &mut out);
                return format!("{trace} {out:?}");
            }
        };
        inbox.take(taken);
        if matches!(ask, Ask::NeedInput) {
            if inbox.arrive() {
                continue;
            }
            break;
        }
        trace.push_str(&format!("{ask:?};"));
        match ask {
            Ask::NeedInput => {}
            Ask::Tls => machine.tls_answer(false, &mut out),
            Ask::Startup(startup) => {
                assert_eq!(startup.user(), machine.user(), "two users in one login");
                let ask = machine.challenge(challenge(how >> 1), &mut out);
                trace.push_str(&format!("{ask:?};"));
                if matches!(ask, Ask::Authenticated(_)) {
                    break;
                }
            }
            Ask::PlainPassword(password) if password.first() == Some(&b'y') => {
                machine.accept_plain(&mut out);
                break;
            }
            Ask::Authenticated(_) => break,
            Ask::PlainPassword(_) | Ask::Refused(_) | Ask::Cancel(_) | Ask::Closed => {
                return format!("{trace} {out:?}");
            }
        }
    }
    format!("{trace} {out:?} {}", inbox.left())
}

fn challenge(how: u8) -> Challenge {
    match how & 3 {
        0 => Challenge::Trust,
        1 => Challenge::Plain,
        2 => Challenge::Md5 { salt: [1, 2, 3, 4], digest: (how & 4 == 0).then_some([b'a'; 32]) },
        _ => Challenge::Scram {
            secret: Secret::mock(&KEY, b"fuzz", 1),
            genuine: how & 4 == 0,
            nonce: [5; 18],
            binding: (how & 8 == 0).then(|| KEY.to_vec()),
        },
    }
}

/// Returns what the machine asked for, how it ended, and what it sent.
fn connect_in_pieces(how: u8, data: &[u8], size: usize) -> String {
    let mut machine = Connect::new(ConnectSpec {
        params: Vec::new(),
        user: b"fuzz".to_vec(),
        credential: match how & 3 {
            0 => Credential::None,
            1 => Credential::Plain(Zeroizing::new(b"secret".to_vec())),
            2 => Credential::Md5(crate::auth::md5::digest_password(b"fuzz", b"secret")),
            _ => Credential::Scram(Keys::from_salted(&KEY)),
        },
        nonce: [9; 18],
        binding: (how & 4 == 0).then(|| KEY.to_vec()),
    });
    let mut inbox = Inbox { buffered: Vec::new(), coming: data, size };
    let (mut out, mut trace) = (Vec::new(), String::new());
    machine.start(&mut out);
    loop {
        let (taken, progress) = match machine.receive(&inbox.buffered, &mut out) {
            Ok(found) => found,
            Err(error) => return format!("{trace}{error:?} {out:?}"),
        };
        inbox.take(taken);
        match &progress {
            Progress::NeedInput if inbox.arrive() => continue,
            Progress::NeedInput => break,
            other => trace.push_str(&format!("{other:?};")),
        }
        match progress {
            Progress::Derive { .. } => machine.derived(KEY, &mut out),
            _ => break,
        }
    }
    format!("{trace} {out:?} {}", inbox.left())
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
