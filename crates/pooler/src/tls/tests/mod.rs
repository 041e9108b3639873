//! Both sides of the filter against each other, in memory, over certificates made on the spot.

mod authority;
mod certificates;
mod direct;
mod stream;

use std::sync::Arc;

use rustls_pki_types::ServerName;

use crate::config::kind::Kind;
use crate::config::tls::Protocols;

use super::{ClientTls, ServerTls, Tls, TlsError, client_config, server_config};

/// Pseudo-random numbers from a seed that a failing test prints.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number from 1 to `max`.
    pub(super) fn roll(&mut self, max: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % max + 1
    }
}

/// Both sides, what each has decrypted, and the network between them.
pub(super) struct Pair {
    pub(super) client: Tls,
    pub(super) server: Tls,
    pub(super) at_client: Vec<u8>,
    pub(super) at_server: Vec<u8>,
    pub(super) closed: [bool; 2],
}

#[derive(Debug)]
pub(super) enum Broken {
    AtClient(TlsError),
    AtServer(TlsError),
}

impl Pair {
    pub(super) fn new(client: &ClientTls, server: &ServerTls, host: &str) -> Self {
        let client = client_config(client).expect("usable").expect("tls is on");
        let server = server_config(server).expect("usable").expect("tls is on");
        let name = ServerName::try_from(host.to_owned()).expect("a host");
        Self {
            client: Tls::connect(client, name).expect("starts"),
            server: Tls::accept(server).expect("starts"),
            at_client: Vec::new(),
            at_server: Vec::new(),
            closed: [false; 2],
        }
    }

    /// Carries bytes both ways, in pieces, until nobody has anything to say.
    pub(super) fn settle(&mut self, mut piece: impl FnMut() -> usize) -> Result<(), Broken> {
        loop {
            let mut to_server = Vec::new();
            self.client.take_output(&mut to_server);
            let mut to_client = Vec::new();
            self.server.take_output(&mut to_client);
            if to_server.is_empty() && to_client.is_empty() {
                return Ok(());
            }
            self.deliver_to_server(&to_server, &mut piece).map_err(Broken::AtServer)?;
            self.deliver_to_client(&to_client, &mut piece).map_err(Broken::AtClient)?;
        }
    }

    pub(super) fn deliver_to_server(
        &mut self,
        mut bytes: &[u8],
        mut piece: impl FnMut() -> usize,
    ) -> Result<(), TlsError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(piece().min(bytes.len()));
            self.closed[1] = self.server.receive(now, &mut self.at_server)?.closed;
            bytes = later;
        }
        Ok(())
    }

    pub(super) fn deliver_to_client(
        &mut self,
        mut bytes: &[u8],
        mut piece: impl FnMut() -> usize,
    ) -> Result<(), TlsError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(piece().min(bytes.len()));
            self.closed[0] = self.client.receive(now, &mut self.at_client)?.closed;
            bytes = later;
        }
        Ok(())
    }

    /// Runs the handshake and sends one message each way.
    pub(super) fn shake(&mut self) -> Result<(), Broken> {
        self.settle(|| usize::MAX)?;
        let mut wire = Vec::new();
        self.client.send(b"ping", &mut wire).map_err(Broken::AtClient)?;
        self.deliver_to_server(&wire, || usize::MAX).map_err(Broken::AtServer)?;
        wire.clear();
        self.server.send(b"pong", &mut wire).map_err(Broken::AtServer)?;
        self.deliver_to_client(&wire, || usize::MAX).map_err(Broken::AtClient)?;
        assert_eq!((&self.at_server[..], &self.at_client[..]), (&b"ping"[..], &b"pong"[..]));
        self.at_server.clear();
        self.at_client.clear();
        Ok(())
    }
}

/// Returns the list of protocols that is written so.
pub(super) fn only(list: &str) -> Protocols {
    Protocols::parse(list).expect("a list of protocols")
}

/// Returns the message of the error that ends the handshake.
pub(super) fn refusal(client: &ClientTls, server: &ServerTls, host: &str) -> String {
    match Pair::new(client, server, host).shake() {
        Ok(()) => panic!("the handshake should have been refused"),
        Err(Broken::AtClient(error)) => format!("client: {error}"),
        Err(Broken::AtServer(error)) => format!("server: {error}"),
    }
}

/// The raw library on the client's side, for what our own client never sends.
pub(super) fn raw_client(alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    let config = client_config(&ClientTls::new(crate::config::tls::SslMode::Require));
    let mut config = Arc::unwrap_or_clone(config.expect("usable").expect("tls is on"));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
