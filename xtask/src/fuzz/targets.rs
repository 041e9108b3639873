//! The parsers and machines under attack, and what each attack starts from.
//!
//! Not here: what they assert, which each crate says itself.

use std::io;
use std::path::Path;

use headpond_core::fuzzing as core;
use headpond_pooler::admin::command;
use headpond_pooler::auth::hba::{IdentMaps, Rules};
use headpond_pooler::auth::secrets::Userlist;
use headpond_pooler::config::fuzzing as config;
use headpond_wire::fuzzing as wire;
use headpond_wire::session::fuzzing as session;

use crate::corpus;
use crate::mutate::Corpus;

/// One entry point.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is called with each input.
    pub run: fn(&[u8]),
    /// What inputs are made of.
    pub corpus: Corpus,
}

/// Returns every target.
pub fn all() -> Vec<Target> {
    let first = [corpus::FIRST, corpus::CLIENT].concat();
    let target = |name, run, corpus| Target { name, run, corpus };
    vec![
        target("first_packet", wire::first_packet, corpus::plain(&first)),
        target("options", wire::options, corpus::plain(corpus::OPTIONS)),
        target("scram_server", wire::scram_server, corpus::plain(corpus::SCRAM_CLIENT_SAYS)),
        target("scram_client", wire::scram_client, corpus::plain(corpus::SCRAM_SERVER_SAYS)),
        target("accept", wire::accept, corpus::chosen(&first, 8)),
        target("connect", wire::connect, corpus::chosen(corpus::SERVER, 4)),
        target("frontend_message", wire::frontend_message, corpus::messages(corpus::CLIENT)),
        target("backend_message", wire::backend_message, corpus::messages(corpus::SERVER)),
        target("session_client", session::session_client, corpus::chosen(&corpus::asked(), 64)),
        target("session_server", session::session_server, corpus::chosen(&corpus::answered(), 64)),
        // Any bytes are a schedule.
        target("verbs", core::verbs, corpus::plain(corpus::CLIENT)),
        target("ini", config::ini, corpus::plain(corpus::INI)),
        target("toml", config::toml, corpus::plain(corpus::TOML)),
        target("userlist", userlist, corpus::plain(corpus::USERLIST)),
        target("hba", hba, corpus::plain(corpus::HBA)),
        target("command", command, corpus::plain(corpus::COMMANDS)),
    ]
}

fn userlist(data: &[u8]) {
    let parsed = Userlist::parse(data);
    assert!(parsed.users.iter().count() <= data.len(), "more users than bytes");
}

fn hba(data: &[u8]) {
    let names = |_: &Path| -> io::Result<Vec<u8>> { Ok(data.to_vec()) };
    let parsed = Rules::parse(data, Path::new("pg_hba.conf"), &IdentMaps::default(), &names);
    assert!(parsed.warnings.len() <= 2 * (data.len() + 1), "more warnings than lines");
}

fn command(data: &[u8]) {
    if let Err(error) = command::parse(&String::from_utf8_lossy(data)) {
        assert!(!error.to_string().is_empty(), "an error without a word");
    }
}
