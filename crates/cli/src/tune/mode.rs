//! `headpond tune --clients`: pool modes, with this program as the pooler.
//!
//! Invariant: one pooler runs at a time, and none afterwards.
//! Not here: the search.

use std::sync::atomic::AtomicBool;

use headpond_bench::Error;
use headpond_bench::target::Kind;
use headpond_bench::tune;
use headpond_bench::tune::mode::{self, Choice, Mode};

use super::{Options, keep, print};
use crate::Failure;
use crate::bench::observer;
use crate::bench::private::{Pooling, Private, Server};

/// Searches modes and sizes.
///
/// # Errors
/// When there is nothing to say; exit code 2 if what was asked makes no sense.
pub fn run(
    options: &Options,
    base: tune::Options,
    clients: u32,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    if base.target.kind() != Kind::Postgres {
        let text = "--clients: pool modes are PostgreSQL's, and the URL is of another server";
        return Err(Failure::usage(text));
    }
    let server = Server::of(&base.target)?;
    let search = mode::Options { base, clients, modes: modes(&options.modes)? };
    let start = |choice: Choice| {
        // Some to spare: clients that were lost are replaced before the pooler has noticed.
        let pooling = Pooling {
            mode: choice.mode.word(),
            size: choice.servers,
            clients: clients.saturating_add(100),
        };
        let started = Private::start("headpond", &server, pooling);
        started.map_err(|failure| Error::Pooler(failure.text().to_owned()))
    };
    let quiet = options.quiet;
    let (found, runs) = mode::tune(&search, start, |label| observer(quiet, label), stop)?;
    keep(options, runs)?;
    print(options.json, &found, || mode::text(&found))
}

fn modes(words: &[String]) -> Result<Vec<Mode>, Failure> {
    if words.iter().any(|word| word == "all") {
        return Ok(Mode::ALL.to_vec());
    }
    let read = |word: &String| {
        word.trim().parse().map_err(|e| Failure::usage(format!("--modes {word:?}: {e}")))
    };
    words.iter().map(read).collect()
}
