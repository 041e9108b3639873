//! Entry points for a fuzzer: any bytes of either side, no panic, and the chunking law.
//!
//! Invariant: each function is deterministic and asserts only what is a bug of ours when broken.
//! Not here: a corpus and the loop that makes up bytes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{
    ClientState, Context, Interner, Mode, Parameters, ServerState, Settings, Staged, Statement,
    Step, Tracked, Violation, from_client, from_server, link,
};
use crate::backend::Status;
use crate::frontend::{self, Target};

/// Statements whose number is made from their bytes.
struct Numbered;

impl Interner for Numbered {
    fn intern(&self, parse: &[u8]) -> Arc<Statement> {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let id = parse.iter().fold(0xcbf2_9ce4_8422_2325, mix) >> 1;
        Arc::new(Statement::new(id, parse))
    }
}

/// Which side the bytes are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// What came of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Result {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    ended: bool,
    violation: Option<Violation>,
}

/// Takes the bytes of a client; the first byte chooses the settings.
pub fn session_client(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let settings = settings(*choice);
    let whole = run(&settings, Side::Client, &[], bytes, usize::MAX);
    for cut in [1, 7] {
        let other = run(&settings, Side::Client, &[], bytes, cut);
        assert_eq!(whole, other, "the client's bytes mean something else in pieces of {cut}");
    }
}

/// Takes the bytes of a server that was asked many things; the first byte chooses the settings.
pub fn session_server(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let settings = settings(*choice);
    let asked = questions();
    let whole = run(&settings, Side::Server, &asked, bytes, usize::MAX);
    for cut in [1, 7] {
        let other = run(&settings, Side::Server, &asked, bytes, cut);
        assert_eq!(whole, other, "the server's bytes mean something else in pieces of {cut}");
    }
}

fn settings(choice: u8) -> Settings {
    Settings {
        mode: if choice & 1 == 0 { Mode::Transaction } else { Mode::Statement },
        statements_max: u32::from(choice >> 1 & 3),
        share_unnamed: choice & 8 != 0,
        simple_query_allowed: choice & 16 == 0,
        message_max: if choice & 32 == 0 { 0 } else { 1000 },
        statement_bytes_max: 500,
    }
}

/// Everything that a server answers in a way of its own.
fn questions() -> Vec<u8> {
    let mut out = Vec::new();
    frontend::query(&mut out, b"select 1");
    frontend::parse(&mut out, b"a", b"select 2", &[]);
    frontend::describe(&mut out, Target::Statement, b"a");
    frontend::bind_text(&mut out, b"", b"a", &[Some(b"1")]);
    frontend::describe(&mut out, Target::Portal, b"");
    frontend::execute(&mut out, b"", 0);
    frontend::close(&mut out, Target::Statement, b"a");
    frontend::sync(&mut out);
    frontend::function_call(&mut out, 1, &[]);
    frontend::parse(&mut out, b"", b"copy t from stdin", &[]);
    frontend::bind_text(&mut out, b"", b"", &[]);
    frontend::execute(&mut out, b"", 0);
    frontend::sync(&mut out);
    frontend::copy_data(&mut out, b"data");
    frontend::copy_done(&mut out);
    frontend::sync(&mut out);
    frontend::parse(&mut out, b"b", b"select 3", &[]);
    frontend::sync(&mut out);
    out
}

/// Feeds `first` as the client's bytes, then `bytes` in pieces as those of one side.
fn run(settings: &Settings, side: Side, first: &[u8], bytes: &[u8], cut: usize) -> Result {
    let tracked = Tracked::standard();
    let parameters = [(&b"TimeZone"[..], &b"UTC"[..])];
    let mut c = ClientState::new(Parameters::new(&tracked, parameters));
    let mut s = ServerState::new(&tracked, parameters, Status::Idle);
    let mut result = Result::default();
    let mut linked = false;
    let mut held = Vec::from(first);
    feed(settings, Side::Client, &mut c, &mut s, &mut linked, &mut held, &mut result);
    if result.ended || result.violation.is_some() {
        return result;
    }
    held.clear();
    for piece in bytes.chunks(cut.min(bytes.len()).max(1)) {
        held.extend_from_slice(piece);
        feed(settings, side, &mut c, &mut s, &mut linked, &mut held, &mut result);
        if result.ended || result.violation.is_some() {
            break;
        }
    }
    result
}

/// Consumes what can be consumed.
fn feed(
    settings: &Settings,
    side: Side,
    c: &mut ClientState,
    s: &mut ServerState,
    linked: &mut bool,
    held: &mut Vec<u8>,
    result: &mut Result,
) {
    let mut staged = Staged::default();
    while !held.is_empty() {
        let mut cx = Context { settings, statements: &Numbered, staged: &mut staged };
        let step = match side {
            Side::Client => from_client(c, linked.then_some(&mut *s), held, &mut cx),
            Side::Server => from_server(s, linked.then_some(&mut *c), held, &mut cx),
        };
        let step = match step {
            Ok(step) => step,
            Err(violation) => {
                result.violation = Some(violation);
                return;
            }
        };
        if step == Step::NeedServer {
            assert!(side == Side::Client && !*linked, "a server is needed only once");
            link(c, s, &mut cx);
            *linked = true;
        }
        result.to_server.append(&mut staged.to_server);
        result.to_client.append(&mut staged.to_client);
        match step {
            Step::Forward(bytes) | Step::Swallow(bytes) => {
                assert!(bytes > 0 && bytes <= held.len(), "{bytes} of {}", held.len());
                let tail = held.split_off(bytes);
                let passed = core::mem::replace(held, tail);
                if matches!(step, Step::Forward(_)) {
                    let out = match side {
                        Side::Client => &mut result.to_server,
                        Side::Server => &mut result.to_client,
                    };
                    out.extend_from_slice(&passed);
                }
            }
            Step::NeedInput(bytes) => {
                assert!(bytes > held.len(), "{bytes} are there already");
                return;
            }
            Step::NeedServer => {}
            Step::Full => return,
            Step::End => {
                result.ended = true;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that look like messages, most of them.
    fn messages(tags: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
        let body = proptest::collection::vec(
            prop_oneof![Just(0u8), Just(b'a'), Just(b'S'), Just(b'I'), any::<u8>()],
            0..24,
        );
        let message =
            (prop::sample::select(tags), body, any::<u16>()).prop_map(|(tag, body, odd)| {
                let len = u32::try_from(body.len() + 4).unwrap();
                let len = if odd < 600 { u32::from(odd % 300) } else { len };
                [&[tag][..], &len.to_be_bytes(), &body].concat()
            });
        (any::<u8>(), proptest::collection::vec(message, 0..20))
            .prop_map(|(choice, messages)| [&[choice][..], &messages.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 3000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_clients_bytes_obey_the_chunking_law(
            data in messages(b"QPBDECSHFdcfX?")
        ) {
            session_client(&data);
        }

        #[test]
        fn a_servers_bytes_obey_the_chunking_law(
            data in messages(b"123CDEGHIKNSTVWZZZAcdnstv?")
        ) {
            session_server(&data);
        }
    }
}
