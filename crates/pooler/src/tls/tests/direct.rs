//! TLS without an `SSLRequest`, and what an application protocol's name decides.

use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::authority::Authority;
use super::{Pair, raw_client};
use crate::config::tls::SslMode::Require;
use crate::tls::{Tls, TlsFiles, is_direct_tls_hello};

fn pair(alpn: &[&[u8]]) -> Pair {
    let ca = Authority::new("root");
    let mut pair = Pair::new(&TlsFiles::new(Require), &ca.host(&["db"]).files(Require), "db");
    let name = ServerName::try_from("db").expect("a host");
    pair.client = Tls::connect(Arc::clone(&raw_client(alpn)), name).expect("starts");
    pair
}

#[test]
fn only_the_first_byte_of_a_handshake_begins_direct_tls() {
    let direct: Vec<u8> = (0..=255).filter(|byte| is_direct_tls_hello(*byte)).collect();
    assert_eq!(direct, [0x16]);
    let mut hello = Vec::new();
    pair(&[]).client.take_output(&mut hello);
    assert!(is_direct_tls_hello(hello[0]));
}

#[test]
fn a_client_that_names_postgresql_speaks_it() {
    for alpn in [&[&b"postgresql"[..]][..], &[b"h2", b"postgresql"]] {
        let mut pair = pair(alpn);
        pair.shake().expect("a common protocol");
        assert!(pair.server.speaks_postgresql() && pair.client.speaks_postgresql());
    }
}

#[test]
fn a_client_that_names_nothing_is_known_as_such() {
    let mut pair = pair(&[]);
    pair.shake().expect("as libpq before version 17");
    assert_eq!(pair.server.alpn(), None);
    assert!(!pair.server.speaks_postgresql());
}

#[test]
fn a_client_that_names_only_something_else_is_refused_with_an_alert() {
    let mut pair = pair(&[b"http/1.1", b"postgresq", b"postgresql2"]);
    pair.shake().expect_err("no common protocol");
    let mut alert = Vec::new();
    pair.server.take_output(&mut alert);
    let told = pair.client.receive(&alert, &mut Vec::new()).expect_err("an alert");
    assert!(told.to_string().contains("NoApplicationProtocol"), "{told}");
}
