//! One entry of `[peers]`: another pooler that may hold the client a cancel request is for.
//!
//! Invariant: a [`Peer`] has an id and a host.

use super::kind::{Count, Port, Text};
use super::table::overrides;

overrides! {
    /// An entry as it is written.
    PeerEntry;
    host: Text, Identity Honoured, "Where the peer listens", "it must be given";
    port: Port<1>, Identity Honoured, "The peer's port", "6432 is the pooler's own";
    pool_size: Count, Policy Honoured, "Connections to the peer", "default_pool_size applies";
}

/// Another pooler of the same fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's `peer_id`.
    pub id: u16,
    /// Where it listens: a name, an address or a socket directory.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How many connections to it there may be.
    pub pool_size: Option<u32>,
}

impl Peer {
    /// Returns the peer an entry describes, or `None` if it names no host.
    pub(super) fn from_entry(id: u16, entry: &PeerEntry) -> Option<Peer> {
        let host = entry.host.clone()?;
        Some(Peer { id, host, port: entry.port.unwrap_or(6432), pool_size: entry.pool_size })
    }

    /// Returns the text of one key.
    pub(super) fn shown(&self, key: &str) -> Option<String> {
        match key {
            "host" => Some(self.host.clone()),
            "port" => Some(self.port.to_string()),
            "pool_size" => self.pool_size.map(|size| size.to_string()),
            _ => None,
        }
    }
}
