//! `headpond check`: reads a configuration and every file that it names, and opens nothing.
//!
//! Not here: what is right and wrong, which the pooler says itself.

use headpond_pooler::catalog::{Lasting, View};
use headpond_pooler::config::{self, Env};
use headpond_pooler::service;

use crate::Failure;
use crate::source::Argument;

/// What `headpond check` can be told.
#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Argument,
}

/// Prints what is doubtful, and fails with everything that is wrong.
///
/// # Errors
/// Exit code 78.
pub fn run(options: &Options) -> Result<(), Failure> {
    let loaded = config::load(&options.source.source(), &Env::from_process());
    let loaded = loaded.map_err(|errors| Failure::config(errors.to_string()))?;
    let mut doubts = loaded.warnings.len();
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    service::history::check(&loaded.config).map_err(Failure::config)?;
    let lasting = Lasting::new(&loaded.config).map_err(Failure::config)?;
    let mut warn = |text: String| {
        doubts += 1;
        eprintln!("warning: {text}");
    };
    View::read(loaded.config, &lasting, &mut warn).map_err(Failure::config)?;
    match doubts {
        0 => println!("ok"),
        1 => println!("ok, 1 warning"),
        doubts => println!("ok, {doubts} warnings"),
    }
    Ok(())
}
