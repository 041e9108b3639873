//! What a rule says of addresses and names, and whether a client is meant by it.
//!
//! Invariant: an IPv4 client that reached an IPv6 socket is an IPv4 client.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Wish;

/// The addresses of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    All,
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

impl Range {
    /// The addresses that share their first bits with `address`.
    pub(super) fn from_prefix(address: IpAddr, bits: u32) -> Option<Range> {
        match address {
            IpAddr::V4(address) if bits <= 32 => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                Some(Range::V4 { network: address.to_bits(), mask })
            }
            IpAddr::V6(address) if bits <= 128 => {
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                Some(Range::V6 { network: address.to_bits(), mask })
            }
            _ => None,
        }
    }

    /// The addresses that agree with `address` where `mask` has ones.
    pub(super) fn from_mask(address: IpAddr, mask: IpAddr) -> Option<Range> {
        match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                Some(Range::V4 { network: address.to_bits(), mask: mask.to_bits() })
            }
            (IpAddr::V6(address), IpAddr::V6(mask)) => {
                Some(Range::V6 { network: address.to_bits(), mask: mask.to_bits() })
            }
            _ => None,
        }
    }

    /// Returns true if the address has ones where the mask has none, which is a mistake.
    pub(super) fn has_host_bits(self) -> bool {
        match self {
            Range::All => false,
            Range::V4 { network, mask } => network & !mask != 0,
            Range::V6 { network, mask } => network & !mask != 0,
        }
    }

    /// Returns true if a client's address is meant. With bits outside its mask a rule lets
    /// nobody in, as in PgBouncer; one that rejects goes on rejecting its whole network.
    pub(super) fn contains(self, address: IpAddr, is_reject: bool) -> bool {
        match (self, address.to_canonical()) {
            (Range::All, _) => true,
            (Range::V4 { network, mask }, IpAddr::V4(address)) => {
                let network = if is_reject { network & mask } else { network };
                address.to_bits() & mask == network
            }
            (Range::V6 { network, mask }, IpAddr::V6(address)) => {
                let network = if is_reject { network & mask } else { network };
                address.to_bits() & mask == network
            }
            (Range::V4 { .. }, IpAddr::V6(_)) | (Range::V6 { .. }, IpAddr::V4(_)) => false,
        }
    }
}

/// The databases or the users of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    keywords: BTreeSet<Keyword>,
    names: BTreeSet<String>,
}

/// A word that means more than the name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keyword {
    All,
    SameUser,
    Replication,
}

impl Names {
    pub(super) fn add_keyword(&mut self, keyword: Keyword) {
        self.keywords.insert(keyword);
    }

    pub(super) fn add(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    pub(super) fn match_name(&self, name: &str) -> bool {
        self.keywords.contains(&Keyword::All) || self.names.contains(name)
    }

    /// As in PostgreSQL, `all` does not mean physical replication.
    pub(super) fn match_wish(&self, wish: Wish<'_>, user: &str) -> bool {
        match wish {
            Wish::Replication => self.keywords.contains(&Keyword::Replication),
            Wish::Database(name) => {
                self.match_name(name)
                    || (self.keywords.contains(&Keyword::SameUser) && name == user)
            }
        }
    }
}
