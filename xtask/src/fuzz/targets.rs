//! The parsers and machines under attack, and what each attack starts from.
//!
//! Not here: what they assert, which each crate says itself.

use headpond_core::fuzzing as core;
use headpond_wire::fuzzing as wire;

use crate::corpus;

/// One entry point.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is called with each input.
    pub run: fn(&[u8]),
    /// What inputs are made of.
    pub corpus: Vec<Vec<u8>>,
}

/// Returns every target.
pub fn all() -> Vec<Target> {
    let own = |recordings: &[&[u8]]| recordings.iter().map(|bytes| bytes.to_vec()).collect();
    let first = [corpus::FIRST, corpus::CLIENT].concat();
    let target = |name, run, corpus| Target { name, run, corpus };
    vec![
        target("first_packet", wire::first_packet, own(&first)),
        target("options", wire::options, own(corpus::OPTIONS)),
        target("scram_server", wire::scram_server, own(corpus::SCRAM_CLIENT_SAYS)),
        target("scram_client", wire::scram_client, own(corpus::SCRAM_SERVER_SAYS)),
        target("accept", wire::accept, corpus::chosen(&first, 8)),
        target("connect", wire::connect, corpus::chosen(corpus::SERVER, 4)),
        target("frontend_message", wire::frontend_message, corpus::messages(corpus::CLIENT)),
        target("backend_message", wire::backend_message, corpus::messages(corpus::SERVER)),
        // Any bytes are a schedule.
        target("verbs", core::verbs, own(corpus::CLIENT)),
    ]
}
